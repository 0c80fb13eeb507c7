//! Runs one command over SSH; the only user of `ssh2`, with the files beneath it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use socket2::{SockRef, TcpKeepalive};
use ssh2::{CheckResult, ErrorCode, HashType, KnownHostFileKind, MethodType, Session};
use tokio::sync::{mpsc, watch};

use super::known_hosts::{self, Entry, Verdict};
use super::{Call, Error, Exit, Step, place};
use crate::secret::Secret;
use crate::time::{self, TimedOut};

mod command;
mod login;
mod wire;

use wire::{CutOnDrop, Wire};

/// How long the other end may say nothing at all, not even that it is there.
const SILENCE: Duration = Duration::from_mins(1);

/// A machine that is reached over SSH.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// A name or an address.
    pub host: String,
    /// Mostly 22.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The ways to log in, tried in this order.
    pub auth: Vec<Auth>,
    /// How the host proves that it is the right one.
    pub host_keys: HostKeys,
    /// The time for each of connection, handshake and every way to log in.
    pub connect_timeout: Duration,
}

/// A way to log in.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A private key in a file: OpenSSH's form, PKCS#1 (EC2's `.pem`) or PKCS#8.
    Key {
        /// The file.
        path: PathBuf,
        /// Opens the file if it is encrypted.
        passphrase: Option<Secret>,
    },
    /// An agent: the one of the environment (`SSH_AUTH_SOCK`), or the one at a socket.
    Agent(Option<PathBuf>),
    /// A password, also as the answer to a keyboard-interactive question.
    Password(Secret),
}

/// How a host proves that it is the right one.
#[derive(Debug, Clone)]
pub enum HostKeys {
    /// Its key stands in this file.
    KnownHosts(PathBuf),
    /// Its key stands in this file, or is written there when the host is met for the first time.
    AcceptNew {
        /// The file.
        file: PathBuf,
        /// Hears of each key that is accepted.
        tell: Tell,
    },
    /// Its key has this fingerprint, as in `SHA256:…`.
    Pinned(String),
}

/// Hears the fingerprint of a host key that was new, before anything secret is sent there.
#[derive(Clone)]
pub struct Tell(Arc<dyn Fn(&str) + Send + Sync>);

impl Tell {
    /// Makes a listener of a function; it is called on the connection's own thread.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell(…)")
    }
}

impl Ssh {
    /// Checks what can be known without a connection: that the keys in files can be used.
    pub fn check(&self) -> Result<(), Error> {
        for way in &self.auth {
            if let Auth::Key { path, passphrase } = way {
                login::readable(path, passphrase.as_ref())?;
            }
        }
        Ok(())
    }

    /// Says where it connects, as in `ssh Administrator@203.0.113.5:22`.
    pub(super) fn describe(&self) -> String {
        place("ssh", &self.user, &self.host, self.port)
    }

    /// Runs `call`; [`super::Transport::exec`] says the rest.
    pub(super) async fn exec(
        &self,
        call: Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let wire = Arc::new(Wire::default());
        let _cut = CutOnDrop(Arc::clone(&wire));
        let (lines, mut arrived) = mpsc::channel(1024);
        let (begun, step) = watch::channel(Step::Connect);
        let limit = call.deadline;
        let worker = Worker { ssh: self.clone(), call, wire, begun, lines };
        let work = async {
            let worker = tokio::task::spawn_blocking(move || worker.run());
            while let Some(line) = arrived.recv().await {
                on_line(&line);
            }
            worker.await.map_err(|source| Error::Worker { source })?
        };
        let late = |TimedOut| Err(Error::Deadline { at: self.describe(), limit });
        let work = time::within(limit, work);
        tokio::select! {
            biased;
            exit = work => exit.unwrap_or_else(late),
            stuck = self.too_long(step) => Err(stuck),
        }
    }

    /// Ends when the handshake or the login takes longer than it may.
    ///
    /// The library has a limit for each of its waits only: a server that says something of no meaning
    /// again and again would keep it waiting for ever.
    async fn too_long(&self, mut step: watch::Receiver<Step>) -> Error {
        // What the server offers is asked for first; a password is tried in two ways.
        let ways = u32::try_from(1 + 2 * self.auth.len()).unwrap_or(u32::MAX);
        loop {
            let now = *step.borrow_and_update();
            let limit = match now {
                Step::Handshake => self.connect_timeout,
                Step::Login => self.connect_timeout.saturating_mul(ways),
                // These have limits of their own.
                Step::Connect | Step::Command => Duration::MAX,
            };
            match time::within(limit, step.changed()).await {
                Ok(Ok(())) => {}
                // The worker has ended: so has the work.
                Ok(Err(_)) => std::future::pending().await,
                Err(TimedOut) => {
                    return Error::Silent { at: self.describe(), step: now, limit };
                }
            }
        }
    }
}

/// What runs on a thread of its own, because libssh2 blocks.
struct Worker {
    ssh: Ssh,
    call: Call,
    wire: Arc<Wire>,
    /// Says which part of the call has begun.
    begun: watch::Sender<Step>,
    lines: mpsc::Sender<String>,
}

impl Worker {
    fn run(&self) -> Result<Exit, Error> {
        let mut session = Session::new().map_err(|error| self.failed(Step::Handshake, error))?;
        let known = self.greet(&mut session)?;
        self.check_host(&session, &known)?;
        self.begun.send_replace(Step::Login);
        self.log_in(&session)?;
        self.begun.send_replace(Step::Command);
        let exit = self.execute(&session);
        session.set_blocking(true);
        if exit.is_ok() {
            // A farewell for the server's log; nothing depends on it any more.
            session.disconnect(None, "done", None).ok();
        }
        // INVARIANT: cut before the session is freed, which otherwise waits for the other end.
        self.wire.cut();
        exit
    }

    /// Connects and agrees on encryption; returns what is known of the host.
    fn greet(&self, session: &mut Session) -> Result<Vec<Entry>, Error> {
        let tcp = self.dial()?;
        self.begun.send_replace(Step::Handshake);
        let limit = self.ssh.connect_timeout.as_millis();
        session.set_timeout(u32::try_from(limit).unwrap_or(u32::MAX).max(1));
        let known = self.known(session)?;
        let failed = |error| self.failed(Step::Handshake, error);
        let supported = session.supported_algs(MethodType::HostKey).map_err(failed)?;
        let order = known_hosts::preferred(&known, &supported);
        session.method_pref(MethodType::HostKey, &order).map_err(failed)?;
        session.set_tcp_stream(tcp);
        session.handshake().map_err(failed)?;
        Ok(known)
    }

    /// Opens the network connection to the first address that answers.
    fn dial(&self) -> Result<TcpStream, Error> {
        let Ssh { host, port, connect_timeout: limit, .. } = &self.ssh;
        let resolve = |source| Error::Resolve { host: host.clone(), source };
        let mut last = resolve(ErrorKind::NotFound.into());
        for address in (host.as_str(), *port).to_socket_addrs().map_err(resolve)? {
            let tcp = TcpStream::connect_timeout(&address, *limit).and_then(|tcp| {
                self.wire.open(&tcp)?;
                tcp.set_nodelay(true)?;
                notice_silence(&tcp)?;
                Ok(tcp)
            });
            match tcp {
                Ok(tcp) => return Ok(tcp),
                Err(source) => last = self.not_connected(source),
            }
        }
        Err(last)
    }

    fn not_connected(&self, source: io::Error) -> Error {
        let at = self.ssh.describe();
        if source.kind() == ErrorKind::ConnectionRefused {
            Error::Refused { at, source }
        } else if source.kind() == ErrorKind::TimedOut {
            Error::Silent { at, step: Step::Connect, limit: self.ssh.connect_timeout }
        } else {
            Error::Connect { at, source }
        }
    }

    /// Reads what is known of the host, which also decides which of its keys it is asked for.
    fn known(&self, session: &Session) -> Result<Vec<Entry>, Error> {
        let (HostKeys::KnownHosts(file) | HostKeys::AcceptNew { file, .. }) = &self.ssh.host_keys
        else {
            return Ok(Vec::new());
        };
        let text = known_hosts::read(file)
            .map_err(|source| Error::ReadHostKeys { file: file.clone(), source })?;
        let names = |field: &str, name: &str| is_named(session, field, name);
        Ok(known_hosts::entries(&text, &self.ssh.host, self.ssh.port, names))
    }

    /// Refuses a host that does not prove to be the right one.
    fn check_host(&self, session: &Session, known: &[Entry]) -> Result<(), Error> {
        let (at, ssh) = (self.ssh.describe(), &self.ssh);
        let hash = session.host_key_hash(HashType::Sha256).expect("the handshake showed a key");
        let (key, _) = session.host_key().expect("the handshake showed a key");
        let fingerprint = format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(hash));
        let kind = known_hosts::key_kind(key).to_owned();
        let (file, tell) = match &ssh.host_keys {
            HostKeys::Pinned(pin) if pin.trim_end_matches('=') == fingerprint => return Ok(()),
            HostKeys::Pinned(pin) => {
                let expected = format!("the pinned {pin}");
                return Err(Error::HostKeyChanged { at, kind, fingerprint, expected });
            }
            HostKeys::KnownHosts(file) => (file, None),
            HostKeys::AcceptNew { file, tell } => (file, Some(tell)),
        };
        let place = |line| format!("{} line {line}", file.display());
        match (known_hosts::judge(known, key), tell) {
            (Verdict::Known, _) => Ok(()),
            (Verdict::Changed(line), _) => {
                let expected = format!("the key in {}", place(line));
                Err(Error::HostKeyChanged { at, kind, fingerprint, expected })
            }
            (Verdict::Revoked(line), _) => {
                Err(Error::HostKeyRevoked { at, kind, fingerprint, by: place(line) })
            }
            (Verdict::Unknown, None) => Err(Error::HostKeyUnknown { at, kind, fingerprint }),
            (Verdict::Unknown, Some(tell)) => {
                known_hosts::append(file, &ssh.host, ssh.port, key)
                    .map_err(|source| Error::RecordHostKey { file: file.clone(), source })?;
                (tell.0)(&fingerprint);
                Ok(())
            }
        }
    }

    fn failed(&self, step: Step, error: ssh2::Error) -> Error {
        let (at, limit) = (self.ssh.describe(), self.ssh.connect_timeout);
        match (meaning(&error), step) {
            (Meaning::Silent, _) => Error::Silent { at, step, limit },
            (Meaning::Lost, _) => Error::Lost { at, step, source: error.into() },
            (Meaning::Refused | Meaning::Other, Step::Command) => {
                Error::Start { at, source: error.into() }
            }
            (Meaning::Refused | Meaning::Other, Step::Connect | Step::Handshake | Step::Login) => {
                Error::Handshake { at, step, source: error.into() }
            }
        }
    }
}

/// What an error of libssh2 means for us.
enum Meaning {
    Refused,
    Silent,
    Lost,
    Other,
}

/// Reads the codes of `libssh2.h`, which `ssh2` does not name.
fn meaning(error: &ssh2::Error) -> Meaning {
    match error.code() {
        // AUTHENTICATION_FAILED, PUBLICKEY_UNVERIFIED
        ErrorCode::Session(-18 | -19) => Meaning::Refused,
        // TIMEOUT, SOCKET_TIMEOUT
        ErrorCode::Session(-9 | -30) => Meaning::Silent,
        // BANNER_RECV, BANNER_SEND, SOCKET_SEND, SOCKET_DISCONNECT, SOCKET_RECV, BAD_SOCKET
        ErrorCode::Session(-2 | -3 | -7 | -13 | -43 | -45) => Meaning::Lost,
        ErrorCode::Session(_) | ErrorCode::SFTP(_) => Meaning::Other,
    }
}

/// Says whether the first field of a line of known hosts, which may be hashed, means `name`.
fn is_named(session: &Session, field: &str, name: &str) -> bool {
    let Ok(mut hosts) = session.known_hosts() else {
        return false;
    };
    // Only the names count here: no host has this key, of which libssh2 wants 20 characters.
    let line = format!("{field} ssh-ed25519 AAAAAAAAAAAAAAAAAAAA");
    hosts.read_str(&line, KnownHostFileKind::OpenSSH).is_ok()
        && match hosts.check(name, b"another") {
            CheckResult::Match | CheckResult::Mismatch => true,
            CheckResult::NotFound | CheckResult::Failure => false,
        }
}

/// Lets a connection end when the other end is not heard of for a minute: a server that has locked
/// everybody out, this session included, says nothing any more.
fn notice_silence(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    let probes =
        TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 6).with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(SILENCE))
}
