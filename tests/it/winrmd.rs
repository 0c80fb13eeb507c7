//! A WinRM service on a loopback port, for one test alone; `tests/winrm/server.py` says what it can.

#![expect(clippy::unwrap_used, reason = "a fixture fails like the test that uses it")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cgw::secret::Secret;
use cgw::transport::winrm::{Login, Security, Trust, Winrm};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const USER: &str = "Administrator";
pub(crate) const PASSWORD: &str = "P@ss w0rd!";

/// A service; dropping it ends it and all that runs in it.
pub(crate) struct Winrmd {
    child: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    told: Value,
    folder: TempDir,
}

impl Winrmd {
    /// Starts a service that seals, or one with TLS, and so on: members of the set-up.
    pub(crate) fn start(setup: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::create_dir(folder.path().join("programs")).unwrap();
        stand_in(&folder.path().join("programs"), "exec sh -c \"$(printf %s \"$2\" | base64 -d)\"");
        let mut all = json!({
            "state": folder.path().join("state"),
            "path_first": folder.path().join("programs"),
            "user": USER,
            "password": PASSWORD,
        });
        all.as_object_mut().unwrap().extend(setup.as_object().unwrap().clone());
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/winrm/server.py"))
            .env("CGW_WINDOWS_STATE", folder.path().join("windows"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut pipes = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let told = ask(&mut pipes, &all);
        Self { child, pipes: Mutex::new(Some(pipes)), told, folder }
    }

    /// Tells the service to do something and returns what it says.
    pub(crate) fn order(&self, order: &Value) -> Value {
        ask(self.pipes.lock().unwrap().as_mut().unwrap(), order)
    }

    /// How many shells it has, and how often it has done what.
    pub(crate) fn stats(&self) -> Stats {
        Stats(self.order(&json!({ "do": "stats" })))
    }

    /// A path in the service's own folder, which lives as long as the service.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The fingerprint of its certificate.
    pub(crate) fn fingerprint(&self) -> String {
        self.told["fingerprint"].as_str().unwrap().to_uppercase()
    }

    /// The right user with the right password, over a certificate that is pinned.
    pub(crate) fn pinned(&self, login: Login) -> Winrm {
        self.trusting(Trust::Pinned(self.fingerprint().parse().unwrap()), login)
    }

    /// The same, over one that its authority has signed.
    pub(crate) fn signed(&self, login: Login) -> Winrm {
        self.trusting(Trust::CaFile(self.told["ca"].as_str().unwrap().into()), login)
    }

    /// The same, with any trust.
    pub(crate) fn trusting(&self, trust: Trust, login: Login) -> Winrm {
        Winrm { security: Security::Tls { trust, login }, ..self.sealed() }
    }

    /// The right user with the right password, over HTTP.
    pub(crate) fn sealed(&self) -> Winrm {
        Winrm {
            host: "127.0.0.1".to_owned(),
            port: self.told["port"].as_u64().unwrap().try_into().unwrap(),
            user: USER.to_owned(),
            password: Secret::new(PASSWORD),
            security: Security::Sealed,
            connect_timeout: Duration::from_mins(1),
        }
    }

    /// Ends all connections, shells and commands, as when the service is started anew.
    pub(crate) fn restart(&self) {
        self.order(&json!({ "do": "restart" }));
    }
}

impl Drop for Winrmd {
    fn drop(&mut self) {
        // It ends with its stdin.
        drop(self.pipes.get_mut().unwrap().take());
        self.child.wait().expect("the service ends when it is told to");
    }
}

/// What a service has done.
pub(crate) struct Stats(Value);

impl Stats {
    pub(crate) fn shells(&self) -> u64 {
        self.0["shells"].as_u64().unwrap()
    }

    pub(crate) fn commands(&self) -> u64 {
        self.0["commands"].as_u64().unwrap()
    }

    pub(crate) fn count(&self, what: &str) -> u64 {
        self.0["counts"][what].as_u64().unwrap_or(0)
    }
}

/// The command line that runs a script of `sh` where `stand_in` stands for PowerShell.
pub(crate) fn script(text: &str) -> String {
    format!("powershell.exe -EncodedCommand {}", BASE64_STANDARD.encode(text))
}

/// Puts a `powershell.exe` into a folder.
pub(crate) fn stand_in(folder: &Path, text: &str) {
    let file = folder.join("powershell.exe");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The Python that has what the tests need.
pub(crate) fn python() -> String {
    std::env::var("CGW_PYTHON").expect("tests/run names the Python that has the packages")
}

fn ask((stdin, stdout): &mut (ChildStdin, BufReader<ChildStdout>), order: &Value) -> Value {
    writeln!(stdin, "{order}").unwrap();
    let mut answer = String::new();
    stdout.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).expect("the service answers; what went wrong stands above")
}
