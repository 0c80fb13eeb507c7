//! `transport::ssh` against a real OpenSSH server: what `contract` does not ask of every transport.

#![expect(clippy::unwrap_used, reason = "a helper fails like the test that uses it")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use cgw::transport::ssh::Ssh;
use cgw::transport::{Call, Error, Exit, Step, Transport};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::contract;
use crate::sshd::{Setup, Sshd};

mod host_keys;
mod login;

/// No test comes near it; it only ends a test that hangs.
const LONG: Duration = Duration::from_mins(2);

fn call(program: &str) -> Call {
    Call { program: program.to_owned(), stdin: Zeroizing::default(), deadline: LONG }
}

/// Runs a call and returns the lines beside the result.
async fn exec(ssh: &Ssh, call: &Call) -> (Result<Exit, Error>, Vec<String>) {
    contract::exec(&Transport::Ssh(ssh.clone()), call).await
}

/// Logs in and runs a command of no interest.
async fn greet(ssh: &Ssh) -> Result<Exit, Error> {
    exec(ssh, &call("true")).await.0
}

#[tokio::test]
async fn a_session_finds_the_folder_and_the_state_of_its_setup() {
    let folder = tempfile::TempDir::new().unwrap();
    let fake = folder.path().join("powershell.exe");
    fs::write(&fake, "#!/bin/sh\necho \"fake $1 $CGW_WINDOWS_STATE\"\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&fake).status().unwrap().success());
    let sshd = Sshd::with(&Setup {
        path_first: Some(folder.path().to_path_buf()),
        environment: vec![("CGW_WINDOWS_STATE", "a-state".to_owned())],
        config: Vec::new(),
    });
    let (exit, lines) = exec(&sshd.ssh(), &call("powershell.exe -NoProfile")).await;
    let exit = exit.unwrap_or_else(|error| panic!("{error:?}\n{}", sshd.log()));
    assert_eq!(exit.code, 0);
    assert_eq!(lines, ["fake -NoProfile a-state"]);
}

#[tokio::test]
async fn a_long_stdin_goes_over_while_the_command_talks() {
    let sshd = Sshd::start();
    // It reads nothing before it has said more than any window holds.
    let mut call = call("yes talk | head -c 5000000; cat");
    call.stdin = Zeroizing::new("send\n".repeat(1_000_000).into_bytes());
    let (exit, lines) = exec(&sshd.ssh(), &call).await;
    assert_eq!(exit.unwrap().code, 0);
    let count = |word: &str| lines.iter().filter(|line| *line == word).count();
    assert_eq!((count("talk"), count("send"), lines.len()), (1_000_000, 1_000_000, 2_000_000));
}

#[tokio::test]
async fn a_command_that_a_signal_ended_is_an_error() {
    let sshd = Sshd::start();
    let error = exec(&sshd.ssh(), &call("echo begun; kill -TERM $$")).await.0.unwrap_err();
    assert!(matches!(&error, Error::Signal { signal, .. } if signal == "TERM"), "{error:?}");
}

/// Returns what tells when all processes that hold the pipe have ended.
fn ended(pipe: &Path) -> Receiver<String> {
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let (tell, ended) = mpsc::channel();
    let pipe = pipe.to_path_buf();
    std::thread::spawn(move || tell.send(fs::read_to_string(pipe).unwrap()));
    ended
}

#[tokio::test]
async fn dropping_the_future_closes_the_connection() {
    let sshd = Sshd::start();
    let pipe = sshd.path("pipe");
    let ended = ended(&pipe);
    // It ends only when nobody takes what it says, at the latest on its own.
    let talk = "for i in $(seq 1000); do echo $i || exit; sleep 0.1; done";
    let call = call(&format!("exec 9>{}; {talk}; echo undisturbed >&9", pipe.display()));
    let begun = Notify::new();
    let mut on_line = |_: &str| begun.notify_one();
    let transport = Transport::Ssh(sshd.ssh());
    tokio::select! {
        exit = transport.exec(call, &mut on_line) => panic!("it ended by itself: {exit:?}"),
        () = begun.notified() => {}
    }
    assert_eq!(ended.recv_timeout(LONG).unwrap(), "");
}

#[tokio::test]
async fn a_server_that_says_nothing_runs_into_the_time_for_connecting() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let limit = Duration::from_millis(200);
    let ssh = Ssh { port, connect_timeout: limit, ..sshd.ssh() };
    let error = greet(&ssh).await.unwrap_err();
    assert!(matches!(error, Error::Silent { step: Step::Handshake, .. }), "{error:?}");
    let late = Call { deadline: limit, ..call("true") };
    let error = exec(&Ssh { connect_timeout: LONG, ..ssh }, &late).await.0.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hangs_up_at_once_is_a_lost_connection() {
    let sshd = Sshd::start();
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = rude.local_addr().unwrap().port();
    let acceptor = std::thread::spawn(move || drop(rude.accept().unwrap()));
    let error = greet(&Ssh { port, ..sshd.ssh() }).await.unwrap_err();
    acceptor.join().unwrap();
    assert!(matches!(error, Error::Lost { step: Step::Handshake, .. }), "{error:?}");
}

#[tokio::test]
async fn a_port_without_server_refuses_the_connection() {
    let sshd = Sshd::start();
    // Nobody serves tcpmux any more.
    let ssh = Ssh { port: 1, ..sshd.ssh() };
    let error = greet(&ssh).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("ssh {}@127.0.0.1:1 refused the connection", ssh.user));
    assert!(error.hint().is_some() && error.may_pass());
}

#[tokio::test]
async fn a_name_without_address_says_so() {
    let sshd = Sshd::start();
    // A label of more than 63 characters fails without any question to a name server.
    let ssh = Ssh { host: "x".repeat(64), ..sshd.ssh() };
    let error = greet(&ssh).await.unwrap_err();
    assert!(matches!(error, Error::Resolve { .. }), "{error:?}");
}
