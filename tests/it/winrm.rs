//! `transport::winrm` against a service whose NTLM, TLS and sealing are others' work.

#![expect(clippy::unwrap_used, reason = "a helper fails like the test that uses it")]

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cgw::transport::winrm::{Login, Winrm};
use cgw::transport::{Call, Error, Exit, Step, Transport};
use serde_json::{Value, json};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::contract;
use crate::winrmd::{Winrmd, script};

mod login;
mod push;

/// No test comes near it; it only ends a test that hangs.
const LONG: Duration = Duration::from_mins(2);

fn call(text: &str) -> Call {
    Call { program: script(text), stdin: Zeroizing::default(), deadline: LONG }
}

/// Runs a call and returns the lines beside the result.
async fn exec(winrm: &Winrm, call: &Call) -> (Result<Exit, Error>, Vec<String>) {
    contract::exec(&Transport::Winrm(winrm.clone()), call).await
}

/// Logs in and runs a command of no interest.
async fn greet(winrm: &Winrm) -> Result<Exit, Error> {
    exec(winrm, &call("true")).await.0
}

#[tokio::test]
async fn a_command_may_be_silent_for_longer_than_the_server_waits() {
    let service = Arc::new(Winrmd::start(&json!({ "max_timeout": 0.02 })));
    let gate = service.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let call = call(&format!("echo begun; cat {}", gate.display()));
    let opener = std::thread::spawn({
        let service = Arc::clone(&service);
        move || {
            service.order(&json!({ "do": "await", "count": "w:TimedOut", "value": 3 }));
            std::fs::write(gate, "at last\n").unwrap();
        }
    });
    let (exit, lines) = exec(&service.sealed(), &call).await;
    // Before the opener is waited for: at a gate that nobody enters it would stand for ever.
    assert_eq!((exit.unwrap().code, lines), (0, vec!["begun".to_owned(), "at last".to_owned()]));
    opener.join().unwrap();
    assert_eq!(service.stats().count("Create"), 1);
}

#[tokio::test]
async fn every_end_of_a_call_leaves_no_shell() {
    let service = Winrmd::start(&json!({ "max_shells": 1 }));
    let winrm = service.sealed();
    assert_eq!(greet(&winrm).await.unwrap().code, 0);
    let late = Call { deadline: Duration::from_secs(1), ..call("exec sleep 600") };
    let error = exec(&winrm, &late).await.0.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    assert_eq!((service.stats().shells(), service.stats().commands()), (0, 0));
    for action in ["Receive", "Command", "Send"] {
        let order = json!({ "do": "fault", "action": action, "code": "1", "subcode": "w:Odd",
                            "text": "on purpose" });
        service.order(&order);
        // A command that has ended needs no stdin.
        assert_eq!(greet(&winrm).await.is_ok(), action == "Send", "{action}");
        assert_eq!((service.stats().shells(), service.stats().commands()), (0, 0), "{action}");
    }
    assert_eq!(greet(&winrm).await.unwrap().code, 0);
}

#[tokio::test]
async fn what_lost_its_answer_is_not_sent_again() {
    for action in ["Command", "Send", "Receive"] {
        let service = Winrmd::start(&json!({}));
        service.order(&json!({ "do": "lose", "action": action }));
        let mut call = call("cat");
        call.stdin = Zeroizing::new(b"once".to_vec());
        let error = exec(&service.sealed(), &call).await.0.unwrap_err();
        assert!(matches!(error, Error::Lost { step: Step::Command, .. }), "{action}: {error:?}");
        assert!(error.had_begun());
        let stats = service.stats();
        assert_eq!(stats.count(action), 1, "{action}");
        assert_eq!((stats.shells(), stats.commands()), (0, 0), "{action}");
    }
}

#[tokio::test]
async fn a_command_that_is_left_without_its_stdin_does_not_keep_us_waiting() {
    let service = Winrmd::start(&json!({ "max_timeout": 0.02 }));
    let trouble = json!({ "do": "fault", "action": "Send", "code": "1", "subcode": "w:Odd",
                          "text": "no room" });
    service.order(&trouble);
    let mut call = call("cat");
    call.stdin = Zeroizing::new(b"never".to_vec());
    let error = exec(&service.sealed(), &call).await.0.unwrap_err();
    let Error::Lost { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "no room (w:Odd, code 1)");
    assert_eq!(service.stats().shells(), 0);
}

#[tokio::test]
async fn dropping_the_future_closes_the_connection() {
    let service = Winrmd::start(&json!({ "max_timeout": 0.02 }));
    let begun = Notify::new();
    let mut on_line = |_: &str| begun.notify_one();
    let transport = Transport::Winrm(service.sealed());
    let call = call("echo begun; exec sleep 600");
    tokio::select! {
        exit = transport.exec(call, &mut on_line) => panic!("it ended by itself: {exit:?}"),
        () = begun.notified() => {}
    }
    service.order(&json!({ "do": "await", "count": "closed", "value": 1 }));
}

#[tokio::test]
async fn a_code_that_windows_tells_without_its_sign_has_one() {
    let service = Winrmd::start(&json!({}));
    // The service tells 3221225786, as Windows does of a command that was ended by Ctrl-C.
    let exit = exec(&service.sealed(), &call("kill -KILL $$")).await.0.unwrap();
    assert_eq!(exit.code, -1_073_741_510);
}

#[tokio::test]
async fn errors_of_powershell_become_text() {
    let service = Winrmd::start(&json!({}));
    let xml = "#< CLIXML\r\n<Objs><S S=\"Error\">no such thing_x000D__x000A_</S></Objs>";
    let exit = exec(&service.sealed(), &call(&format!("printf '%s' '{xml}' >&2"))).await.0;
    assert_eq!(exit.unwrap().stderr, "no such thing\r\n");
}

#[tokio::test]
async fn two_hundred_sessions_in_a_row_all_log_in() {
    let service = Winrmd::start(&json!({ "tls": "self-signed", "max_shells": 1 }));
    let winrm = service.pinned(Login::Ntlm);
    for number in 0..200 {
        let exit = greet(&winrm).await.unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(exit.code, 0, "{number}");
    }
    let stats = service.stats();
    assert_eq!((stats.count("login"), stats.count("login refused"), stats.shells()), (200, 0, 0));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_not_started() {
    let service = Winrmd::start(&json!({}));
    let absent = Call { program: r"C:\absent.exe -x".to_owned(), ..call("") };
    let error = exec(&service.sealed(), &absent).await.0.unwrap_err();
    let Error::Start { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("cannot find the file"), "{source}");
    assert!(!error.had_begun() && !error.may_pass());
}

#[tokio::test]
async fn a_port_without_service_refuses_the_connection() {
    let service = Winrmd::start(&json!({}));
    // Nobody serves tcpmux any more.
    let error = greet(&Winrm { port: 1, ..service.sealed() }).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert_eq!(error.to_string(), "winrm Administrator@127.0.0.1:1 refused the connection");
    assert!(error.hint().unwrap().contains("WinRM") && error.may_pass());
}

#[tokio::test]
async fn a_service_that_says_nothing_or_hangs_up_is_told_apart() {
    let service = Winrmd::start(&json!({ "tls": "self-signed" }));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, limit) = (silent.local_addr().unwrap().port(), Duration::from_millis(200));
    for (winrm, expected) in
        [(service.sealed(), Step::Login), (service.pinned(Login::Ntlm), Step::Handshake)]
    {
        let winrm = Winrm { port, connect_timeout: limit, ..winrm };
        let error = greet(&winrm).await.unwrap_err();
        assert!(matches!(error, Error::Silent { step, .. } if step == expected), "{error:?}");
        let late = Call { deadline: limit, ..call("true") };
        let error = exec(&Winrm { connect_timeout: LONG, ..winrm }, &late).await.0.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    }
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = rude.local_addr().unwrap().port();
    let acceptor = std::thread::spawn(move || drop(rude.accept().unwrap()));
    let error = greet(&Winrm { port, ..service.sealed() }).await.unwrap_err();
    acceptor.join().unwrap();
    assert!(matches!(error, Error::Lost { step: Step::Login, .. }), "{error:?}");
}

#[tokio::test]
async fn http_and_https_are_not_taken_for_each_other() {
    let (plain, tls) = (Winrmd::start(&json!({})), Winrmd::start(&json!({ "tls": "self-signed" })));
    let wrong = Winrm { port: plain.sealed().port, ..tls.pinned(Login::Ntlm) };
    let error = greet(&wrong).await.unwrap_err();
    assert!(matches!(error, Error::Handshake { step: Step::Handshake, .. }), "{error:?}");
    let error = greet(&tls.sealed()).await.unwrap_err();
    assert!(matches!(error, Error::Lost { step: Step::Login, .. }), "{error:?}");
}

/// A service with Basic alone, and so on.
fn offering(offers: &[&str], more: &Value) -> Winrmd {
    let mut setup = json!({ "offers": offers });
    setup.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Winrmd::start(&setup)
}
