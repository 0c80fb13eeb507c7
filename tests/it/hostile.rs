//! What others can send: cgw stays within its memory and its time, says clearly what is wrong, and
//! passes nothing to the terminal that the terminal would obey.

#![expect(clippy::unwrap_used, reason = "a helper fails like the test that uses it")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cgw::preflight::Stop;
use cgw::spec::Declared;
use cgw::transport::ssh::{Auth, HostKeys, Ssh};
use cgw::transport::winrm::{Login, Winrm};
use cgw::transport::{Call, Error, Transport};
use serde_json::json;
use zeroize::Zeroizing;

use crate::contract;
use crate::model;
use crate::sshd::{Setup, Sshd};
use crate::winrmd::{Winrmd, script, stand_in};

mod aws;
mod own_process;

use aws::Aws;
use own_process::OwnProcess;

/// Sets a window's title, clears the screen, begins a colour, rings, goes back, and turns the order
/// of the text; the second half has them as single characters (C1).
const OBEYED: &str =
    "\u{1b}]0;gotcha\u{7}\u{1b}[2J\u{1b}[31mred\rover\u{8}\u{9b}2J\u{85}\u{202e}dlrow\u{7f}";

/// No test comes near it; it only ends a test that hangs.
const LONG: Duration = Duration::from_mins(2);

fn is_harmless(text: &str) {
    let obeyed = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{2028}'..='\u{202e}')
    };
    assert!(!text.contains(obeyed), "{text:?}");
}

/// A server that only talks, to whoever connects.
fn that_says(first: &'static str, then: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = move |mut tcp: TcpStream| {
        // What it hears is of no interest to it, but must not fill the way.
        let mut ears = tcp.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut ears, &mut std::io::sink()));
        if tcp.write_all(first.as_bytes()).is_err() {
            return;
        }
        match then.map(|then| then.repeat(1 + (64 << 10) / then.len())) {
            Some(then) => while tcp.write_all(then.as_bytes()).is_ok() {},
            None => drop(tcp.read(&mut [0])),
        }
    };
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            std::thread::spawn(move || talk(tcp));
        }
    });
    port
}

fn call(text: &str) -> Call {
    Call { program: script(text), stdin: Zeroizing::default(), deadline: LONG }
}

#[tokio::test]
async fn what_speaks_no_ssh_is_left_within_the_time_for_connecting() {
    for (first, then) in [
        ("", Some("x")),
        ("", Some("no banner\r\n")),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", None),
        ("SSH-2.0-x\r\n", Some("garbage")),
        ("SSH-2.0-x\r\n", Some("\0\0\0\u{c}\u{a}\u{2}\0\0\0\0\0\0\0\0\0\0")),
        ("SSH-2.0-\u{1b}[31m\r\n\0\0\0\u{7}", None),
    ] {
        let ssh = Ssh {
            host: "127.0.0.1".to_owned(),
            port: that_says(first, then),
            user: "x".to_owned(),
            auth: vec![Auth::Agent(Some("/nowhere".into()))],
            host_keys: HostKeys::Pinned(format!("SHA256:{}", "A".repeat(43))),
            connect_timeout: Duration::from_millis(500),
        };
        let error = contract::exec(&Transport::Ssh(ssh), &call("true")).await.0.unwrap_err();
        let is_clear =
            matches!(error, Error::Silent { .. } | Error::Handshake { .. } | Error::Lost { .. });
        assert!(is_clear, "{first:?} {then:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_speaks_no_winrm_is_left_within_the_time_for_connecting() {
    let service = Winrmd::start(&json!({}));
    for (first, then) in [
        ("", Some("x")),
        ("", Some("no status\r\n")),
        ("HTTP/1.1 200 OK\r\nX: ", Some("x")),
        ("HTTP/1.1 200 OK\r\n", Some("X: y\r\n")),
        ("HTTP/1.1 401 No\r\n\r\n", Some("x")),
        ("HTTP/1.1 401 No\r\nContent-Length: 9999999999\r\n\r\n", Some("x")),
        ("HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n", Some("1\r\nx\r\n")),
        ("HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate eHh4\r\nContent-Length: 0\r\n\r\n", None),
    ] {
        let winrm = Winrm {
            port: that_says(first, then),
            connect_timeout: Duration::from_millis(500),
            ..service.sealed()
        };
        let error = contract::exec(&Transport::Winrm(winrm), &call("true")).await.0.unwrap_err();
        let is_clear =
            matches!(error, Error::Silent { .. } | Error::Handshake { .. } | Error::Lost { .. });
        assert!(is_clear, "{first:?} {then:?}: {error:?}");
    }
}

/// A real sshd whose PowerShell is this script of `sh`.
fn sshd(text: &str) -> (Sshd, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    stand_in(folder.path(), text);
    let path_first = Some(folder.path().to_owned());
    (Sshd::with(&Setup { path_first, ..Setup::default() }), folder)
}

#[test]
fn a_server_that_never_ends_is_left_over_ssh() {
    for (text, words) in [
        ("exec cat /dev/zero", "wrote more than 64 MB"),
        ("exec cat /dev/zero >&2", "wrote more than 64 MB"),
        ("yes | tr -d '\\n' | head -c 1000000000", "wrote more than 64 MB"),
        ("exec yes '{\"id\":\"x\"'", "wrote more than 64 MB"),
        ("head -c 60000000 /dev/zero", "ended with exit code 0 and without their last line"),
    ] {
        let (sshd, _folder) = sshd(text);
        let seen = OwnProcess::set_up(&sshd.ssh());
        seen.failed_with(words);
        assert!(seen.peak < 150 << 10, "{text}: {} kB", seen.peak);
    }
}

/// What a server says goes to the terminal in the steps' lines, in warnings and in the last error.
#[test]
fn what_a_server_says_reaches_the_terminal_as_text() {
    let escaped = serde_json::to_string(OBEYED).unwrap();
    let long = "🏳️‍🌈".repeat(255);
    let text = format!(
        "cat <<'EOF'\n\
         {OBEYED}\n\
         {{\"id\":{escaped},\"changed\":true}}\n\
         {{\"id\":\"a\",\"changed\":true,\"kept\":[{escaped},\"{long}\"]}}\n\
         {{\"id\":\"b\",\"error\":\"no\\nerror: not of cgw\\r\\n  hint: run this\"}}\n\
         EOF\n\
         printf '%s' 'so {OBEYED}' >&2; exit 9\n"
    );
    let (sshd, _folder) = sshd(&text);
    let seen = OwnProcess::set_up(&sshd.ssh());
    seen.failed_with("ended with exit code 9");
    is_harmless(&seen.said);
    let shown = "\\u{1b}]0;gotcha\\u{7}\\u{1b}[2J\\u{1b}[31mred\\u{d}over\\u{8}\\u{9b}2J\\u{85}\
                 \\u{202e}dlrow\\u{7f}";
    assert_eq!(seen.said.matches(shown).count(), 3, "{}", seen.said);
    assert!(seen.said.contains(&long), "what is harmless stays as it is");
    // What looks like lines of cgw is not at their place.
    assert!(seen.said.contains("\n    error: not of cgw\n      hint: run this\n"), "{}", seen.said);
    let seen = OwnProcess::set_up_telling_json(&sshd.ssh());
    is_harmless(&seen.said);
    let told = seen.said.lines().filter_map(|l| serde_json::from_str(l).ok());
    let steps = told.filter(|line: &serde_json::Value| line["event"] == "step");
    assert_eq!(steps.map(|step| step["id"].clone()).next().unwrap(), OBEYED, "nothing is lost");
}

#[test]
fn a_host_that_is_told_in_terminal_commands_is_text() {
    let ssh = Ssh {
        host: "127.0.0.1".to_owned(),
        port: 1,
        user: OBEYED.to_owned(),
        auth: Vec::new(),
        host_keys: HostKeys::KnownHosts(PathBuf::from(OBEYED)),
        connect_timeout: LONG,
    };
    let seen = OwnProcess::set_up(&ssh);
    seen.failed_with("refused the connection");
    is_harmless(&seen.said);
}

#[test]
fn a_server_that_never_ends_or_answers_garbage_is_left_over_winrm() {
    let service = Winrmd::start(&json!({ "tls": "self-signed", "offers": ["Basic"] }));
    let winrm = service.pinned(Login::Basic);
    let seen = OwnProcess::run(&winrm, "exec cat /dev/zero");
    seen.failed_with("wrote more than 64 MB");
    assert!(seen.peak < 150 << 10, "{} kB", seen.peak);

    let megabyte = "x".repeat(1 << 20);
    let deep = "<a>".repeat(200_000);
    let attributes: Vec<String> = (0..90_000).map(|n| format!(" a{n}=\"\"")).collect();
    let attributes = format!("<a{}/>", attributes.concat());
    let namespaces: Vec<String> = (0..9_000).map(|n| format!("<a xmlns:b{n}=\"\">")).collect();
    let namespaces = namespaces.concat();
    let laughs = "<!DOCTYPE a [<!ENTITY b \"ha\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
    for (answer, times, words) in [
        (megabyte.as_str(), 1000, "length limit exceeded"),
        (deep.as_str(), 1, "nodes limit reached"),
        (attributes.as_str(), 1, "more attributes"),
        (namespaces.as_str(), 1, "more namespaces"),
        (laughs, 1, "DTD"),
        ("garbage", 1, "the answer cannot be read"),
        ("<a/>", 1, ""),
    ] {
        for action in ["Create", "Command", "Receive"] {
            service.order(
                &json!({ "do": "garble", "action": action, "text": answer, "times": times }),
            );
            let seen = OwnProcess::run(&winrm, "exit 0");
            // An answer that says nothing of the command is one of no output; then comes the end.
            if (answer, action) == ("<a/>", "Receive") {
                continue;
            }
            seen.failed_with(words);
            assert!(seen.peak < 150 << 10, "{action}: {} kB", seen.peak);
        }
    }
}

/// What AWS answers is passed on to people: with names that others have given.
#[test]
fn what_aws_says_reaches_the_terminal_as_text() {
    let hostile =
        "no&#x9b;2J&#x85;&#x202e;dlrow&#x7f;\u{9b}31m\nerror: not of cgw\n  hint: run this";
    let aws = Aws::new(move |_| {
        let error = format!(
            "<Response><Errors><Error><Code>Strange{hostile}</Code><Message>{hostile}</Message>\
             </Error></Errors><RequestID>1</RequestID></Response>"
        );
        (400, error)
    });
    for words in [&["status"][..], &["status", "--json"], &["status", "--log", "trace"]] {
        let run = aws.cgw(words);
        assert_eq!(run.code(), Some(2), "{}", run.err);
        assert!(run.err.contains("no\\u{9b}2J"), "{}", run.err);
        is_harmless(&run.out);
        is_harmless(&run.err);
        assert!(!run.err.contains("\nerror: not of cgw"), "{}", run.err);
    }
}

#[test]
fn what_aws_says_that_is_no_answer_is_told_clearly() {
    let deep = "<a>".repeat(200_000);
    for answer in ["garbage", "", "\u{1b}[31m", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", &deep]
    {
        let answer = answer.to_owned();
        let aws = Aws::new(move |_| (400, answer.clone()));
        let run = aws.cgw(&["status"]);
        assert_eq!(run.code(), Some(2), "{}", run.err);
        assert!(run.err.contains("error: Describe"), "{}", run.err);
        is_harmless(&run.err);
    }
}

#[test]
fn names_that_others_have_given_are_shown_as_text_in_one_line() {
    let flags = "🏳️‍🌈".repeat(42);
    for (name, shown) in [
        ("a&#x9b;2J&#x202e;b", "a\\u{9b}2J\\u{202e}b".to_owned()),
        ("a\n  \nerror: b", "a error: b".to_owned()),
        (&flags, flags.clone()),
        (&"ü".repeat(255), "ü".repeat(255)),
    ] {
        let name = name.to_owned();
        let aws = Aws::new(move |action| match action {
            "DescribeInstances" => (200, aws::instance(&name)),
            "DescribeVpcs" => (200, aws::vpc(&name)),
            _ => (200, aws::nothing(action)),
        });
        let run = aws.cgw(&["plan", "--vpc", aws::VPC, "--instance", aws::INSTANCE]);
        assert_eq!(run.code(), Some(2), "{}", run.err);
        let said = format!("{} ({shown}) does not run Windows", aws::INSTANCE);
        assert!(run.err.contains(&said), "{said}\n{}", run.err);
        is_harmless(&run.out);
        is_harmless(&run.err);
    }
}

#[test]
fn what_is_declared_with_control_characters_is_refused() {
    let declared = Declared {
        user: Some(OBEYED.to_owned()),
        host: Some("a b".to_owned()),
        ..model::declared()
    };
    let Err(Stop::Refused(refusals)) = model::situation(&model::base(), &declared) else {
        panic!("it is taken");
    };
    let texts: Vec<&str> = refusals.iter().map(|refusal| refusal.text.as_str()).collect();
    assert_eq!(texts, ["--user has a control character"]);
    let long = Declared { user: Some("🏳️‍🌈".repeat(255)), ..model::declared() };
    assert!(model::situation(&model::base(), &long).is_ok());
}

#[test]
fn a_file_without_an_end_declares_no_stacks() {
    let aws = Aws::new(|action| (200, aws::nothing(action)));
    let run = aws.cgw(&["status", "--config", "/dev/zero"]);
    assert_eq!(run.code(), Some(2));
    assert!(run.err.contains("/dev/zero has more than 1048576 bytes"), "{}", run.err);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("a = {}", "[".repeat(100_000))).unwrap();
    let run = aws.cgw(&["status", "--config", file.path().to_str().unwrap()]);
    assert_eq!(run.code(), Some(2));
    assert!(run.err.contains("recursion"), "{}", run.err);
}

/// Nothing that a server says is run here: it is text to every one of its readers.
#[test]
fn nothing_is_executed_here() {
    let (sshd, folder) = sshd(
        "printf '%s\\n' '$(touch ran)' '`touch ran`' '{\"id\":\"$(touch ran)\",\"error\":\"; touch ran\"}'\n\
         exit 1",
    );
    let seen = OwnProcess::set_up(&sshd.ssh());
    seen.failed_with("without their last line");
    assert!(seen.said.contains("$(touch ran): FAILED: ; touch ran"), "{}", seen.said);
    let found = Command::new("find").arg(folder.path()).arg(seen.home.path()).output().unwrap();
    assert!(!String::from_utf8(found.stdout).unwrap().contains("ran"));
}
