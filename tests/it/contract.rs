//! What every transport keeps: the same cases over SSH and over WinRM.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cgw::transport::winrm::Login;
use cgw::transport::{Call, Error, Exit, Step, Transport};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::sshd::{Setup, Sshd};
use crate::winrmd::{Winrmd, script, stand_in};

/// No test comes near it; it only ends a test that hangs.
const LONG: Duration = Duration::from_mins(2);

/// Some of them are more than any transport sends at once, and than a window of SSH holds.
const MEGABYTE: usize = 1_000_000;

/// A machine that runs scripts of `sh` where a server runs PowerShell.
trait Machine: Sync {
    fn transport(&self) -> Transport;
    fn path(&self, name: &str) -> PathBuf;
    /// Ends all connections from the other side.
    fn break_connections(&self);
}

struct OverSsh(Sshd);

impl Machine for OverSsh {
    fn transport(&self) -> Transport {
        Transport::Ssh(self.0.ssh())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn break_connections(&self) {
        self.0.kill_connections();
    }
}

struct OverWinrm(Winrmd, Transport);

impl Machine for OverWinrm {
    fn transport(&self) -> Transport {
        self.1.clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn break_connections(&self) {
        self.0.restart();
    }
}

#[tokio::test]
async fn ssh_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    stand_in(folder.path(), "exec sh -c \"$(printf %s \"$2\" | base64 -d)\"");
    let path_first = Some(folder.path().to_owned());
    keeps(&OverSsh(Sshd::with(&Setup { path_first, ..Setup::default() }))).await;
}

#[tokio::test]
async fn winrm_keeps_the_contract_over_http() {
    let service = Winrmd::start(&json!({}));
    let transport = Transport::Winrm(service.sealed());
    keeps(&OverWinrm(service, transport)).await;
}

#[tokio::test]
async fn winrm_keeps_the_contract_over_https() {
    let service = Winrmd::start(&json!({ "tls": "self-signed" }));
    let transport = Transport::Winrm(service.pinned(Login::Ntlm));
    keeps(&OverWinrm(service, transport)).await;
}

async fn keeps(machine: &impl Machine) {
    gives_exit_code_lines_and_stderr(machine).await;
    hands_lines_over_while_the_command_runs(machine).await;
    carries_a_megabyte_either_way(machine).await;
    lets_no_full_stream_stop_the_other(machine).await;
    ends_with_a_command_that_does_not_read(machine).await;
    feeds_a_command_that_closed_its_output(machine).await;
    takes_a_long_command_line(machine).await;
    tells_a_lost_connection_from_an_end(machine).await;
    ends_at_the_deadline(machine).await;
}

fn call(text: &str, stdin: Vec<u8>) -> Call {
    Call { program: script(text), stdin: Zeroizing::new(stdin), deadline: LONG }
}

/// Runs a call and returns the lines beside the result.
pub(crate) async fn exec(transport: &Transport, call: &Call) -> (Result<Exit, Error>, Vec<String>) {
    let mut lines = Vec::new();
    let exit = transport.exec(call.clone(), &mut |line| lines.push(line.to_owned())).await;
    (exit, lines)
}

async fn run(machine: &impl Machine, call: &Call) -> (Result<Exit, Error>, Vec<String>) {
    exec(&machine.transport(), call).await
}

async fn gives_exit_code_lines_and_stderr(machine: &impl Machine) {
    let text = r"printf 'one\r\ntwo\n\nümlaut last'; echo oops >&2; exit 3";
    let (exit, lines) = run(machine, &call(text, Vec::new())).await;
    assert_eq!(exit.unwrap(), Exit { code: 3, stderr: "oops\n".to_owned() });
    assert_eq!(lines, ["one", "two", "", "ümlaut last"]);
}

/// The command waits at a gate, which only its own first line opens.
async fn hands_lines_over_while_the_command_runs(machine: &impl Machine) {
    let gate = machine.path("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let call = call(&format!("echo started; cat {}", gate.display()), Vec::new());
    let mut lines = Vec::new();
    let mut on_line = |line: &str| {
        if line == "started" {
            fs::write(&gate, "opened\n").unwrap();
        }
        lines.push(line.to_owned());
    };
    let exit = machine.transport().exec(call, &mut on_line).await.unwrap();
    assert_eq!((exit.code, lines), (0, vec!["started".to_owned(), "opened".to_owned()]));
}

async fn carries_a_megabyte_either_way(machine: &impl Machine) {
    let numbers: String = (0..MEGABYTE / 8).fold(String::new(), |mut all, number| {
        writeln!(all, "{:07}", number * 7919 % 9_999_991).unwrap();
        all
    });
    let there = call("sha256sum; cat", numbers.clone().into_bytes());
    let hash = format!("{:x}  -", HexOf(&Sha256::digest(&numbers)));
    let (exit, lines) = run(machine, &there).await;
    assert_eq!((exit.unwrap().code, lines), (0, vec![hash]));
    let (exit, lines) = run(machine, &call("cat", numbers.clone().into_bytes())).await;
    assert_eq!(exit.unwrap().code, 0);
    assert!(lines.join("\n") + "\n" == numbers, "{} lines arrived otherwise", lines.len());
}

/// Shows bytes as `sha256sum` does.
struct HexOf<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

async fn lets_no_full_stream_stop_the_other(machine: &impl Machine) {
    const LARGE: usize = 3 * MEGABYTE;
    let stderr = format!("head -c {LARGE} /dev/zero | tr '\\0' e >&2");
    let stdout = format!("yes 0123456 | head -c {LARGE}");
    for text in [format!("{stderr}; {stdout}"), format!("{stdout}; {stderr}")] {
        let (exit, lines) = run(machine, &call(&text, Vec::new())).await;
        assert_eq!(exit.unwrap(), Exit { code: 0, stderr: "e".repeat(8 << 10) });
        assert_eq!(lines.len(), LARGE / 8);
        assert!(lines.iter().all(|line| line == "0123456"));
    }
}

async fn ends_with_a_command_that_does_not_read(machine: &impl Machine) {
    let call = call("exit 5", vec![b'x'; 5 * MEGABYTE]);
    assert_eq!(run(machine, &call).await.0.unwrap().code, 5);
}

async fn feeds_a_command_that_closed_its_output(machine: &impl Machine) {
    let length = 5 * MEGABYTE;
    let text = format!("exec >&- 2>&-; test $(wc -c) = {length} || exit 1; exit 7");
    assert_eq!(run(machine, &call(&text, vec![b'x'; length])).await.0.unwrap().code, 7);
}

/// Longer than `cmd` would take.
async fn takes_a_long_command_line(machine: &impl Machine) {
    let (exit, lines) = run(machine, &call(&format!("echo {}", "y".repeat(15_000)), vec![])).await;
    assert_eq!((exit.unwrap().code, lines), (0, vec!["y".repeat(15_000)]));
}

async fn tells_a_lost_connection_from_an_end(machine: &impl Machine) {
    let mut on_line = |_: &str| machine.break_connections();
    let call = call("echo begun; exec cat /dev/zero", Vec::new());
    let error = machine.transport().exec(call, &mut on_line).await.unwrap_err();
    assert!(matches!(error, Error::Lost { step: Step::Command, .. }), "{error:?}");
    assert!(error.may_pass() && error.had_begun());
}

async fn ends_at_the_deadline(machine: &impl Machine) {
    let late =
        Call { deadline: Duration::from_secs(1), ..call("echo $$; exec sleep 600", Vec::new()) };
    let (exit, lines) = run(machine, &late).await;
    let error = exit.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    // Over SSH a command that neither reads nor writes outlives its connection.
    for process in lines {
        drop(Command::new("kill").args(["-s", "KILL", &process]).output());
    }
}
