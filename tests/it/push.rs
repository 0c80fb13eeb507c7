//! Scripts pushed over SSH to a real sshd with a stand-in for Windows PowerShell.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cloud::{Cloud, Run};
use crate::sshd::{Setup, Sshd};

/// A server to push to.
pub(crate) struct Windows {
    sshd: Sshd,
    folder: tempfile::TempDir,
}

impl Windows {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let python =
            std::env::var("CGW_PYTHON").expect("tests/run names the Python that has the grammar");
        let stand_in = format!("{}/localstack/windows/powershell.exe", env!("CARGO_MANIFEST_DIR"));
        let launcher = folder.path().join("powershell.exe");
        fs::write(&launcher, format!("#!/bin/sh\nexec '{python}' '{stand_in}' \"$@\"\n")).unwrap();
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let sshd = Sshd::with(&Setup {
            path_first: Some(folder.path().to_owned()),
            windows_state: Some(state),
            ..Setup::default()
        });
        Self { sshd, folder }
    }

    pub(crate) fn state(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.folder.path().join("state").join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn faults(&self, faults: &Value) {
        fs::write(self.folder.path().join("state/faults.json"), faults.to_string()).unwrap();
    }

    /// The flags that lead there.
    pub(crate) fn flags(&self) -> Vec<String> {
        let login = self.sshd.ssh();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (port, user) = (login.port.to_string(), login.user);
        let known = text(&self.folder.path().join("known_hosts"));
        let key = text(&self.sshd.key());
        [
            "--via",
            "ssh",
            "--accept-no-guard",
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--user",
            &user,
        ]
        .into_iter()
        .chain(["--identity", &key, "--known-hosts", &known])
        .map(str::to_owned)
        .collect()
    }

    pub(crate) fn up(&self, cloud: &Cloud, more: &[&str]) -> Run {
        let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
        let flags = self.flags();
        let mut words =
            vec!["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--instance", &instance];
        words.extend(flags.iter().map(String::as_str));
        words.extend(more);
        cloud.cgw(&words)
    }
}

#[test]
fn the_server_gets_what_aws_has_and_a_second_push_changes_nothing() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    let run = windows.up(&cloud, &[]).ok();
    assert!(run.err.contains("the server's host key is new: SHA256:"), "{}", run.err);
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    let told = windows.state("last-parameters.json");
    let nodes = cloud.nodes();
    assert_eq!(told["connection"], nodes["vpn-connection"][0].as_str());
    assert_eq!(told["privateIp"], cloud.id("private_ip"));
    assert_eq!(told["siteCidr"], "172.31.0.0/16");
    assert_eq!(told["cloudCidr"], "10.0.0.0/16");
    let again = windows.up(&cloud, &[]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
    // As if nobody had said what was pushed.
    let record = &nodes["stack-record"][0];
    let tag = json!({ "Resources": [record], "Tags": [{ "Key": "cgw:windows-setup" }] });
    cloud.stranger("delete_tags", &tag);
    let pushed = windows.up(&cloud, &[]).ok();
    assert!(pushed.err.contains("no change on the server"), "{}", pushed.err);
}

#[test]
fn without_the_guard_nothing_is_pushed_unless_that_is_accepted() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    let before = cloud.dump();
    let mut flags = windows.flags();
    flags.retain(|flag| flag != "--accept-no-guard");
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let mut words = vec!["up", "--yes", "--vpc", &vpc, "--instance", &instance];
    words.extend(flags.iter().map(String::as_str));
    let run = cloud.cgw(&words);
    assert_eq!(run.code(), Some(2));
    assert!(run.err.contains("--accept-no-guard"), "{}", run.err);
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_step_that_fails_is_named_and_the_next_run_goes_on() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    windows.faults(&json!({ "fail": "routing", "once": true }));
    let run = windows.up(&cloud, &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.err.contains("step routing failed on the server"), "{}", run.err);
    windows.up(&cloud, &[]).ok();
}

#[test]
fn scripts_that_end_without_their_last_line_are_no_success() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    windows.faults(&json!({ "no-marker": true, "once": true }));
    let run = windows.up(&cloud, &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.err.contains("without their last line"), "{}", run.err);
    windows.faults(&json!({ "die": "tunnels", "once": true }));
    let run = windows.up(&cloud, &[]);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    windows.up(&cloud, &[]).ok();
}

#[test]
fn a_restart_that_must_come_first_is_told_and_the_push_comes_again() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    windows.faults(&json!({ "restart-first": true, "once": true }));
    let run = windows.up(&cloud, &[]);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("a restart must come first"), "{}", run.err);
    windows.up(&cloud, &[]).ok();
}

#[test]
fn scripts_that_a_person_was_to_run_are_pushed_when_that_is_asked_and_forgotten_when_not() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let up = ["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--instance", &instance];
    let via = |way: &str| cloud.cgw(&[&up[..], &["--via", way]].concat()).ok();
    via("files");
    let folder = cloud.home.path().join(format!("cgw-{}", cloud.id("cloud_vpc")));
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(fs::read_to_string(folder.join("parameters.json")).unwrap().contains("presharedKey"));
    assert!(via("files").out.contains("nothing to change"));
    let pushed = windows.up(&cloud, &[]).ok();
    assert!(pushed.err.contains("windows-setup: tunnels: changed"), "{}", pushed.err);
    let forgotten = via("none");
    assert!(forgotten.out.contains("delete  windows-setup"), "{}", forgotten.out);
    assert!(via("none").out.contains("nothing to change"));
    assert!(!cloud.nodes().contains_key("windows-setup"));
}

#[test]
fn what_is_wrong_with_the_login_is_said_before_anything_is_made() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    let before = cloud.dump();
    let key = windows.flags().iter().position(|flag| flag == "--identity").unwrap() + 1;
    for (flags, sentence) in [
        (vec!["--host-key".to_owned(), "foo".to_owned()], "is no fingerprint of a host key"),
        (vec![], "cannot read the private key"),
    ] {
        let mut all = windows.flags();
        if flags.is_empty() {
            all[key] = "/nope".to_owned();
        }
        all.extend(flags);
        let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
        let mut words = vec!["up", "--yes", "--vpc", &vpc, "--instance", &instance];
        words.extend(all.iter().map(String::as_str));
        let run = cloud.cgw(&words);
        assert_eq!(run.code(), Some(2), "{}", run.err);
        assert!(run.err.contains(sentence), "{}", run.err);
    }
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_step_that_hangs_is_left_by_interrupting_twice_and_the_next_run_goes_on() {
    let (cloud, windows) = (Cloud::new(), Windows::start());
    windows.faults(&json!({ "hang": "routing" }));
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let flags = windows.flags();
    let mut words =
        vec!["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--instance", &instance];
    words.extend(flags.iter().map(String::as_str));
    let mut command = cloud.command(&crate::cloud::endpoint(), &words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id().to_string();
    let interrupt = || {
        assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    };
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        // The step before the one that hangs; then what the first interrupt brings.
        if line.contains("windows-setup: roles:") || line.contains("finishing what is in flight") {
            interrupt();
        }
        said.push_str(&line);
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
    windows.faults(&json!({}));
    windows.up(&cloud, &[]).ok();
}
