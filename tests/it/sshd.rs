//! A real OpenSSH server on a loopback port, for this process alone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture fails like the test that uses it"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use cgw::transport::ssh::{Auth, HostKeys, Ssh};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// How the server is set up; the default lets the user of this process in, with its key.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// A folder that comes first in the PATH of each session.
    pub(crate) path_first: Option<PathBuf>,
    /// The value of `CGW_WINDOWS_STATE` in each session.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Further lines of `sshd_config`; the first line that sets an option wins.
    pub(crate) config: Vec<&'static str>,
}

/// A server; dropping it ends it and all of its connections.
///
/// The fixture itself listens, and starts an `sshd -i` for each connection: the port is never
/// free for somebody else to take, and there is no moment at which the server is not yet ready.
pub(crate) struct Sshd {
    port: u16,
    folder: TempDir,
    is_ending: Arc<AtomicBool>,
    connections: Arc<Connections>,
    acceptor: Option<JoinHandle<()>>,
}

impl Sshd {
    /// Starts a server with the default setup.
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// Starts a server.
    pub(crate) fn with(setup: &Setup) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "these tests need {SSHD}: install openssh-server (tests/run does)"
        );
        if is_root() {
            fs::create_dir_all("/run/sshd").expect("root may make the folder that sshd insists on");
        }
        let folder = TempDir::new().unwrap();
        let at = folder.path();
        for (name, kind) in [("host_ed25519", "ed25519"), ("host_rsa", "rsa"), ("id", "ed25519")] {
            make_key(&at.join(name), &["-t", kind]);
        }
        fs::copy(at.join("id.pub"), at.join("authorized_keys")).unwrap();
        fs::create_dir(at.join("home")).unwrap();
        fs::write(at.join("sshd_config"), config(at, setup)).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_ending, connections) = (Arc::default(), Arc::default());
        let acceptor = Acceptor {
            listener,
            config: at.join("sshd_config"),
            log: at.join("log"),
            is_ending: Arc::clone(&is_ending),
            connections: Arc::clone(&connections),
        };
        let acceptor = Some(std::thread::spawn(move || acceptor.run()));
        Self { port, folder, is_ending, connections, acceptor }
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A path in the server's own folder, which lives as long as the server.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The private key that is let in.
    pub(crate) fn key(&self) -> PathBuf {
        self.path("id")
    }

    /// Makes a key of its own kind that is let in too.
    pub(crate) fn another_key(&self, name: &str, options: &[&str]) -> PathBuf {
        let key = self.stranger(name, options);
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let mut list =
            fs::OpenOptions::new().append(true).open(self.path("authorized_keys")).unwrap();
        list.write_all(public.as_bytes()).unwrap();
        key
    }

    /// Makes a key that is not let in.
    pub(crate) fn stranger(&self, name: &str, options: &[&str]) -> PathBuf {
        let key = self.path(name);
        make_key(&key, options);
        key
    }

    /// Writes a file of known host keys with the line of one of the host's keys, or of any key.
    pub(crate) fn known_hosts(&self, key: &str) -> PathBuf {
        let file = self.path(&format!("known_by_{key}"));
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        fs::write(&file, format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
        file
    }

    /// The fingerprint of the host's `ed25519` or `rsa` key, as ssh-keygen shows it.
    pub(crate) fn fingerprint(&self, kind: &str) -> String {
        let key = self.path(&format!("host_{kind}.pub"));
        let shown = output(Command::new("ssh-keygen").arg("-lf").arg(key));
        shown.split(' ').nth(1).unwrap().to_owned()
    }

    /// A connection that logs in with the right key and knows the host.
    pub(crate) fn ssh(&self) -> Ssh {
        Ssh {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: output(Command::new("id").arg("-un")),
            auth: vec![Auth::Key { path: self.key(), passphrase: None }],
            host_keys: HostKeys::KnownHosts(self.known_hosts("host_ed25519")),
            connect_timeout: Duration::from_mins(1),
        }
    }

    /// Kills the server's side of all connections, as when the machine vanishes.
    pub(crate) fn kill_connections(&self) {
        self.connections.kill();
    }

    /// What the server has logged, for the message of a test that fails.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor ends when it is told to");
        }
        self.connections.kill();
    }
}

/// `PATH` and `HOME` are set here, and the shell's own start-up files thereby left out.
fn config(at: &Path, setup: &Setup) -> String {
    let mut session = vec![
        format!("HOME={}", at.join("home").display()),
        match &setup.path_first {
            Some(first) => format!("PATH={}:/usr/local/bin:/usr/bin:/bin", first.display()),
            None => "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        },
    ];
    session.extend(setup.environment.iter().map(|(name, value)| format!("{name}={value}")));
    let mut lines: Vec<String> = setup.config.iter().map(|line| (*line).to_owned()).collect();
    lines.extend([
        format!("HostKey {}", at.join("host_ed25519").display()),
        format!("HostKey {}", at.join("host_rsa").display()),
        format!("AuthorizedKeysFile {}", at.join("authorized_keys").display()),
        format!("SetEnv {}", session.join(" ")),
        "PermitRootLogin yes".to_owned(),
        "PasswordAuthentication no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "UsePAM no".to_owned(),
        "StrictModes no".to_owned(),
        "UseDNS no".to_owned(),
        "LogLevel DEBUG1".to_owned(),
    ]);
    lines.join("\n") + "\n"
}

struct Acceptor {
    listener: TcpListener,
    config: PathBuf,
    log: PathBuf,
    is_ending: Arc<AtomicBool>,
    connections: Arc<Connections>,
}

impl Acceptor {
    fn run(self) {
        while let Ok((tcp, _)) = self.listener.accept() {
            if self.is_ending.load(Ordering::SeqCst) {
                return;
            }
            let also: OwnedFd = tcp.try_clone().unwrap().into();
            let child = Command::new(SSHD)
                .arg("-i")
                .arg("-f")
                .arg(&self.config)
                .arg("-E")
                .arg(&self.log)
                .stdin(OwnedFd::from(tcp))
                .stdout(also)
                .stderr(Stdio::null())
                // A group of its own, so that all of its processes can be killed together.
                .process_group(0)
                .spawn();
            self.connections.list().push(child.expect("sshd starts"));
        }
    }
}

#[derive(Default)]
struct Connections(Mutex<Vec<Child>>);

impl Connections {
    fn list(&self) -> MutexGuard<'_, Vec<Child>> {
        self.0.lock().unwrap()
    }

    fn kill(&self) {
        for mut child in self.list().drain(..) {
            // The group exists until its first process has been waited for.
            let kill = format!("kill -s KILL -- -{}", child.id());
            run(Command::new("sh").arg("-c").arg(kill));
            child.wait().unwrap();
        }
    }
}

/// An agent that holds one key; dropping it ends it.
pub(crate) struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where it listens.
    pub(crate) socket: PathBuf,
}

impl Agent {
    /// Starts an agent whose socket is in the server's folder.
    pub(crate) fn start(sshd: &Sshd, key: &Path) -> Self {
        let socket = sshd.path("agent");
        let mut child = Command::new("ssh-agent")
            .arg("-a")
            .arg(&socket)
            // The agent lives as long as this command, which lives as long as its stdin.
            .args(["sh", "-c", "ssh-add -q \"$0\" && echo ready && cat"])
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert_eq!(first, "ready\n", "the agent takes the key");
        Self { stdin: child.stdin.take(), child, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stdin.take();
        self.child.wait().expect("the agent ends with its stdin");
    }
}

/// A user of this system with a password; dropping it removes the user. Needs root.
pub(crate) struct SystemUser {
    /// Its name.
    pub(crate) name: String,
}

impl SystemUser {
    /// Makes the user.
    pub(crate) fn with_password(password: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(is_root(), "this test makes a system user: run it as root");
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("cgw{}-{count}", std::process::id());
        let _turn = turn();
        run(Command::new("useradd").args(["--no-create-home", "--shell", "/bin/sh", &name]));
        let user = Self { name };
        let mut child = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        let line = format!("{}:{password}\n", user.name);
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "chpasswd sets the password");
        user
    }
}

impl Drop for SystemUser {
    fn drop(&mut self) {
        let _turn = turn();
        run(Command::new("userdel").arg("--force").arg(&self.name).stderr(Stdio::null()));
    }
}

/// useradd and userdel give up when another one holds the lock of /etc/passwd.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")) == "0"
}

/// Makes a key pair without a passphrase, unless `options` name one.
fn make_key(file: &Path, options: &[&str]) {
    let passphrase: &[&str] = if options.contains(&"-N") { &[] } else { &["-N", ""] };
    run(Command::new("ssh-keygen").arg("-q").arg("-f").arg(file).args(options).args(passphrase));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
