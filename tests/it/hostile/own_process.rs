//! Runs a call in a process of its own, whose memory is measured and whose words are seen.

#![expect(clippy::panic, reason = "a fixture fails like the test that uses it")]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use cgw::cli::Stopped;
use cgw::secret::Secret;
use cgw::server;
use cgw::transport::ssh::{Auth, HostKeys, Ssh};
use cgw::transport::winrm::{Login, Security, Trust, Winrm};
use cgw::transport::{Call, Transport};
use cgw::ui::{self, Form};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::push;
use crate::winrmd::{PASSWORD, USER, script};

/// The variable that tells the process what it is to do.
const TASK: &str = "CGW_HOSTILE_TASK";

/// What a process has said and taken.
pub(super) struct Seen {
    /// What it printed.
    pub(super) said: String,
    /// The most memory that it had, in kB.
    pub(super) peak: usize,
    /// Its home, and where it ran.
    pub(super) home: tempfile::TempDir,
}

impl Seen {
    /// Asserts that it ended with an error that says so.
    pub(super) fn failed_with(&self, words: &str) {
        let error = self.said.split_once("\nerror: ").unwrap_or_else(|| panic!("{}", self.said)).1;
        assert!(error.contains(words), "no {words:?} in {}", self.said);
    }
}

/// A process of its own: this program again, with one test that does what it is told.
pub(super) struct OwnProcess;

impl OwnProcess {
    /// Sets a server up over SSH.
    pub(super) fn set_up(ssh: &Ssh) -> Seen {
        Self::begin(&json!({ "ssh": described(ssh) }))
    }

    /// The same, where events are told as JSON.
    pub(super) fn set_up_telling_json(ssh: &Ssh) -> Seen {
        Self::begin(&json!({ "ssh": described(ssh), "json": true }))
    }

    /// Runs a script over WinRM.
    pub(super) fn run(winrm: &Winrm, text: &str) -> Seen {
        let Security::Tls { trust: Trust::Pinned(pin), .. } = &winrm.security else {
            panic!("only a certificate that is pinned can be told");
        };
        Self::begin(&json!({ "winrm": winrm.port, "pin": pin.to_string(), "script": text }))
    }

    fn begin(task: &Value) -> Seen {
        let home = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hostile::own_process::does_what_it_is_told", "--ignored"])
            .args(["--nocapture", "--test-threads", "1"])
            .env(TASK, task.to_string())
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let peak = said.split_once("peak: ").and_then(|(_, rest)| rest.split_once(" kB"));
        let peak = peak.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
        Seen { said, peak, home }
    }
}

fn described(ssh: &Ssh) -> Value {
    let key = ssh.auth.iter().find_map(|way| match way {
        Auth::Key { path, .. } => Some(path),
        Auth::Agent(_) | Auth::Password(_) => None,
    });
    let HostKeys::KnownHosts(known) = &ssh.host_keys else { panic!("the host is known") };
    json!({ "port": ssh.port, "user": ssh.user, "key": key, "known": known })
}

#[tokio::test]
#[ignore = "it is a process of its own for the tests of this module"]
async fn does_what_it_is_told() {
    let task: Value = serde_json::from_str(&std::env::var(TASK).unwrap()).unwrap();
    // After what the harness has begun to say.
    println!();
    let is_json = task["json"].as_bool().unwrap_or(false);
    let result = match task["ssh"].as_object() {
        Some(_) => set_up(&task["ssh"], if is_json { Form::Json } else { Form::Text }).await,
        None => run(&task).await,
    };
    if let Err(error) = result {
        println!();
        Stopped::from(error).print(is_json);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak: {}", peak.trim());
}

async fn set_up(told: &Value, form: Form) -> Result<(), server::Error> {
    let text = |name: &str| told[name].as_str().map(str::to_owned);
    let transport = Transport::Ssh(Ssh {
        host: "127.0.0.1".to_owned(),
        port: port(&told["port"]),
        user: text("user").unwrap(),
        auth: text("key")
            .map(|key| Auth::Key { path: key.into(), passphrase: None })
            .into_iter()
            .collect(),
        host_keys: HostKeys::KnownHosts(PathBuf::from(text("known").unwrap())),
        connect_timeout: Duration::from_mins(1),
    });
    let bundle = push::bundle("172.31.0.10");
    let reach = push::remote(transport, None);
    reach.set_up(Ipv4Addr::LOCALHOST, &bundle, &ui::events(form)).await.map(drop)
}

async fn run(task: &Value) -> Result<(), server::Error> {
    let trust = Trust::Pinned(task["pin"].as_str().unwrap().parse().unwrap());
    let transport = Transport::Winrm(Winrm {
        host: "127.0.0.1".to_owned(),
        port: port(&task["winrm"]),
        user: USER.to_owned(),
        password: Secret::new(PASSWORD),
        security: Security::Tls { trust, login: Login::Basic },
        connect_timeout: Duration::from_mins(1),
    });
    let call = Call {
        program: script(task["script"].as_str().unwrap()),
        stdin: Zeroizing::default(),
        deadline: Duration::from_mins(2),
    };
    Ok(transport.exec(call, &mut |_| {}).await.map(drop)?)
}

fn port(told: &Value) -> u16 {
    told.as_u64().unwrap().try_into().unwrap()
}
