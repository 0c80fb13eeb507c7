//! Runs one command on one machine.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

mod known_hosts;
pub mod ssh;
pub mod ssm;
pub mod winrm;

/// One command for the machine at the other end.
#[derive(Clone)]
pub struct Call {
    /// The command line as it is sent; never holds a secret, since others see it over there.
    pub program: String,
    /// What the command reads, then end of file; may hold secrets.
    pub stdin: Zeroizing<Vec<u8>>,
    /// The time for everything: name, connection, login and command.
    pub deadline: Duration,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("program", &self.program)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// How a command ended that ran to its own end.
///
/// INVARIANT: exists only after the other end has closed the stream in order and named no signal,
/// or has written the last line of its output; what is lost or cut is an [`Error`], never code 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Exit {
    /// The exit code; a Windows code such as 3010 arrives whole.
    pub code: i32,
    /// The end of what it wrote to stderr, at most 8 kB.
    pub stderr: String,
}

/// A machine that stands in for a real one.
pub trait Machine: fmt::Debug + Send + Sync {
    /// Does what [`Transport::exec`] does.
    fn exec<'a>(
        &'a self,
        call: Call,
        on_line: &'a mut (dyn FnMut(&str) + Send),
    ) -> BoxFuture<'a, Result<Exit, Error>>;
    /// Does what [`Transport::at`] does.
    fn at(&self, host: &str) -> Arc<dyn Machine>;
    /// Does what [`Transport::describe`] does.
    fn describe(&self) -> String;
}

/// The ways to reach a machine.
#[derive(Debug, Clone)]
pub enum Transport {
    /// None at all: what the machine says is simulated.
    Simulated(Arc<dyn Machine>),
    /// SSH, with keys, an agent or a password.
    Ssh(ssh::Ssh),
    /// Systems Manager's Run Command, with AWS's own permissions.
    Ssm(ssm::Ssm),
    /// WinRM, with a password.
    Winrm(winrm::Winrm),
}

impl Transport {
    /// Runs `call` and hands over each line of stdout as it arrives, without its line end.
    ///
    /// Dropping the future closes the connection. Bytes that are not UTF-8 are replaced. A transport
    /// that carries no stream hands all lines over at the end.
    pub async fn exec(
        &self,
        call: Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        match self {
            Self::Simulated(machine) => machine.exec(call, on_line).await,
            Self::Ssh(ssh) => ssh.exec(call, on_line).await,
            // The SDK's futures are large.
            Self::Ssm(ssm) => Box::pin(ssm.exec(call, on_line)).await,
            Self::Winrm(winrm) => winrm.exec(call, on_line).await,
        }
    }

    /// Checks what can be known without a connection.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Ssh(ssh) => ssh.check(),
            Self::Simulated(_) | Self::Ssm(_) => Ok(()),
            Self::Winrm(winrm) => winrm.check(),
        }
    }

    /// Returns the same way to another host.
    #[must_use]
    pub fn at(&self, host: &str) -> Self {
        match self {
            Self::Simulated(machine) => Self::Simulated(machine.at(host)),
            Self::Ssh(ssh) => Self::Ssh(ssh::Ssh { host: host.to_owned(), ..ssh.clone() }),
            // An instance is found by its id, whatever its address.
            Self::Ssm(ssm) => Self::Ssm(ssm.clone()),
            Self::Winrm(winrm) => {
                Self::Winrm(winrm::Winrm { host: host.to_owned(), ..winrm.clone() })
            }
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Simulated(_) => "sandbox",
            Self::Ssh(_) => "SSH",
            Self::Ssm(_) => "SSM",
            Self::Winrm(_) => "WinRM",
        }
    }

    /// Says how and where it connects, as in `ssh Administrator@203.0.113.5:22`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Simulated(machine) => machine.describe(),
            Self::Ssh(ssh) => ssh.describe(),
            Self::Ssm(ssm) => ssm.describe(),
            Self::Winrm(winrm) => winrm.describe(),
        }
    }
}

/// Names a machine and the way to it, as in `ssh Administrator@203.0.113.5:22`.
fn place(way: &str, user: &str, host: &str, port: u16) -> String {
    format!("{way} {user}@{}", authority(host, port))
}

/// Joins a host and a port; an IPv6 address has colons of its own.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The parts of a call, for a person who wants to know how far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The network connection.
    Connect,
    /// The agreement on encryption.
    Handshake,
    /// The proof of who we are.
    Login,
    /// The command itself.
    Command,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Handshake => "the handshake",
            Self::Login => "the login",
            Self::Command => "the command",
        })
    }
}

/// An error of the library beneath a transport.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What kept a command from running to its own end.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts beside them show")]
pub enum Error {
    /// The name of the host has no address.
    #[error("cannot find the address of {host}")]
    Resolve { host: String, source: io::Error },
    /// The machine answers, but nothing listens on the port.
    #[error("{at} refused the connection")]
    Refused { at: String, source: io::Error },
    /// The network does not lead there.
    #[error("cannot connect to {at}")]
    Connect { at: String, source: io::Error },
    /// No answer within the time for connecting.
    #[error("{at} did not answer within {limit:?} ({step})")]
    Silent { at: String, step: Step, limit: Duration },
    /// Both ends speak, but do not agree.
    #[error("{step} with {at} failed")]
    Handshake { at: String, step: Step, source: Cause },
    /// The file of known host keys could not be read.
    #[error("cannot read the known host keys in {}", .file.display())]
    ReadHostKeys { file: PathBuf, source: io::Error },
    /// A new host key could not be recorded.
    #[error("cannot record the host key in {}", .file.display())]
    RecordHostKey { file: PathBuf, source: io::Error },
    /// The host was never seen before.
    #[error("the host key of {at} is not known: {kind} {fingerprint}")]
    HostKeyUnknown { at: String, kind: String, fingerprint: String },
    /// The host shows another key than before.
    #[error("THE HOST KEY OF {at} HAS CHANGED: it shows {kind} {fingerprint}, not {expected}")]
    HostKeyChanged { at: String, kind: String, fingerprint: String, expected: String },
    /// The host shows a key that is marked as revoked.
    #[error("the host key of {at} is revoked by {by}: {kind} {fingerprint}")]
    HostKeyRevoked { at: String, kind: String, fingerprint: String, by: String },
    /// The certificates of authorities could not be read.
    #[error("cannot read the certificates in {}", .file.display())]
    ReadCertificates { file: PathBuf, source: Cause },
    /// Nobody vouches for the server's certificate.
    #[error("the certificate of {at} is not trusted ({why}): SHA-256 {fingerprint}")]
    CertificateUnknown { at: String, fingerprint: String, why: String },
    /// The server's certificate is not the one that was pinned.
    #[error("THE CERTIFICATE OF {at} IS ANOTHER: SHA-256 {fingerprint}, not the pinned {expected}")]
    CertificateChanged { at: String, fingerprint: String, expected: String },
    /// The private key could not be read.
    #[error("cannot read the private key {}", .file.display())]
    ReadKey { file: PathBuf, source: io::Error },
    /// The private key is encrypted, and no passphrase was given.
    #[error("the private key {} needs its passphrase", .file.display())]
    PassphraseMissing { file: PathBuf },
    /// The passphrase does not open the private key.
    #[error("the passphrase does not open the private key {}", .file.display())]
    PassphraseWrong { file: PathBuf },
    /// The file holds no private key that can be used.
    #[error("{} holds no private key of a known form", .file.display())]
    KeyUnusable { file: PathBuf, source: Cause },
    /// Every way to log in was tried in vain.
    #[error("{at} refused the login; tried: {}; the server offers: {offered}", .tried.join(", "))]
    LoginRefused { at: String, tried: Vec<String>, offered: String },
    /// The user or the password is wrong, or may not log in this way.
    #[error("{at} refused the user or the password; the server offers: {offered}")]
    PasswordRefused { at: String, offered: String },
    /// The server does not even begin a login by NTLM.
    #[error("{at} does not let anybody in by NTLM")]
    NtlmBlocked { at: String },
    /// The server logged us in, but the user may run nothing there.
    #[error("{at} logged the user in, but does not let it run a command")]
    AccessDenied { at: String },
    /// The server logged us in, but would not start the command.
    #[error("{at} did not start the command")]
    Start { at: String, source: Cause },
    /// The command was ended from outside.
    #[error("the command on {at} was ended by signal {signal}")]
    Signal { at: String, signal: String },
    /// The connection broke; the command may go on over there.
    #[error("lost the connection to {at} ({step})")]
    Lost { at: String, step: Step, source: Cause },
    /// The time for the whole call has passed; the command may go on over there.
    #[error("{at} did not finish within {limit:?}")]
    Deadline { at: String, limit: Duration },
    /// More came than any command of ours writes; it may go on over there.
    #[error("{at} wrote more than {limit} MB, and no more is read")]
    Flood { at: String, limit: usize },
    /// What only Systems Manager can do wrong.
    #[error(transparent)]
    Ssm(#[from] ssm::Error),
    /// The thread that drives the connection ended early.
    #[error("the connection's own thread ended early")]
    Worker { source: tokio::task::JoinError },
}

impl Error {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let advice = match self {
            Self::Resolve { .. } => "check the spelling of the host, or give its address",
            Self::Refused { .. } => {
                "check that the service runs there (Get-Service sshd, WinRM) and that the port is \
                 right: SSH mostly has 22, WinRM 5985 for HTTP and 5986 for HTTPS"
            }
            Self::Connect { .. } | Self::Silent { step: Step::Connect, .. } => {
                "check that the machine runs and that its firewall and its security group let \
                 your address in"
            }
            Self::Silent { .. } => "check that what listens on this port is what you ask for",
            Self::Handshake { .. } => {
                "check that what listens on this port is what you ask for (SSH, WinRM over HTTP or \
                 over HTTPS), and that it is up to date"
            }
            Self::ReadHostKeys { .. } | Self::RecordHostKey { .. } => {
                "check the path and its permissions"
            }
            Self::HostKeyUnknown { .. } => {
                "compare the fingerprint with the server's own (ssh-keygen -lf on its \
                 ssh_host_*_key.pub), then pin it or accept new host keys"
            }
            Self::HostKeyChanged { .. } => {
                "somebody may be listening in; only if the server was installed anew, or shows \
                 another of its keys, replace the recorded key"
            }
            Self::HostKeyRevoked { .. } => "do not connect before the server has a new host key",
            Self::ReadCertificates { .. } => "give a file with certificates in PEM form",
            Self::CertificateUnknown { .. } => {
                "compare the fingerprint with the server's own: Get-ChildItem Cert:\\LocalMachine\\My \
                 | ForEach-Object { [BitConverter]::ToString([Security.Cryptography.SHA256]::\
                 Create().ComputeHash($_.RawData)) }; then pin it, or give its authority's certificate"
            }
            Self::CertificateChanged { .. } => {
                "somebody may be listening in; only if the server got a new certificate, pin that one"
            }
            Self::ReadKey { .. } => "check the path of the private key and its permissions",
            Self::PassphraseMissing { .. } => "load the key into an agent: ssh-add <file>",
            Self::PassphraseWrong { .. } => "try the passphrase with ssh-keygen -y -f <file>",
            Self::KeyUnusable { .. } => {
                "give the private key, not the .pub file; a PuTTY key is converted with \
                 puttygen <file> -O private-openssh"
            }
            Self::LoginRefused { .. } => {
                "check the user; an administrator's keys belong into \
                 C:\\ProgramData\\ssh\\administrators_authorized_keys on the server"
            }
            Self::PasswordRefused { .. } => {
                "check the user (COMPUTER\\user or DOMAIN\\user) and the password; an account that \
                 its domain keeps from NTLM (as all in Protected Users) is refused in the same way"
            }
            Self::NtlmBlocked { .. } => {
                "the server's policy «Restrict NTLM: Incoming NTLM traffic» is the likely reason; \
                 reach it another way, as over SSH"
            }
            Self::AccessDenied { .. } => {
                "take a member of Administrators; a local one other than the built-in Administrator \
                 also needs LocalAccountTokenFilterPolicy=1 in the server's registry"
            }
            Self::Lost { step: Step::Login, .. } => {
                "a server ends the login after too many keys, or when it does not let the user \
                 in; its log says why"
            }
            Self::Deadline { .. } => "the command may still run there; look before trying again",
            Self::Flood { .. } => {
                "no script of cgw writes as much: look at what answers there, and at what the \
                 user's profile there runs"
            }
            Self::Ssm(error) => return error.hint(),
            Self::Lost { .. } => {
                "run the same command again; where that does not help, look at what cuts connections \
                 on the way, or whether the machine restarts"
            }
            Self::Start { .. } | Self::Signal { .. } | Self::Worker { .. } => {
                return None;
            }
        };
        Some(Cow::Borrowed(advice))
    }

    /// Says whether the machine does not prove to be the right one.
    #[must_use]
    pub fn is_another_host(&self) -> bool {
        matches!(
            self,
            Self::HostKeyUnknown { .. }
                | Self::HostKeyChanged { .. }
                | Self::HostKeyRevoked { .. }
                | Self::CertificateUnknown { .. }
                | Self::CertificateChanged { .. }
        )
    }

    /// Says whether the call had perhaps begun on the machine.
    #[must_use]
    pub fn had_begun(&self) -> bool {
        if let Self::Ssm(error) = self {
            return error.had_begun();
        }
        matches!(self, Self::Lost { .. } | Self::Deadline { .. } | Self::Flood { .. })
    }

    /// Says whether the same call may succeed later, as while a machine starts anew.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Refused { .. }
            | Self::Connect { .. }
            | Self::Silent { .. }
            | Self::Lost { .. }
            | Self::Deadline { .. } => true,
            Self::Ssm(error) => error.may_pass(),
            Self::Handshake { .. }
            | Self::ReadHostKeys { .. }
            | Self::RecordHostKey { .. }
            | Self::HostKeyUnknown { .. }
            | Self::HostKeyChanged { .. }
            | Self::HostKeyRevoked { .. }
            | Self::ReadCertificates { .. }
            | Self::CertificateUnknown { .. }
            | Self::CertificateChanged { .. }
            | Self::ReadKey { .. }
            | Self::PassphraseMissing { .. }
            | Self::PassphraseWrong { .. }
            | Self::KeyUnusable { .. }
            | Self::LoginRefused { .. }
            | Self::PasswordRefused { .. }
            | Self::NtlmBlocked { .. }
            | Self::AccessDenied { .. }
            | Self::Start { .. }
            | Self::Signal { .. }
            | Self::Flood { .. }
            | Self::Worker { .. } => false,
        }
    }
}

/// The most that a command may write to both streams: a run of the playbook writes some 10 kB, and
/// what never ends would be read until the deadline.
const MOST_OUTPUT: usize = 64 << 20;

/// How much a command may still write.
#[derive(Debug)]
struct Allowance(usize);

impl Default for Allowance {
    fn default() -> Self {
        Self(MOST_OUTPUT)
    }
}

/// More came than any command of ours writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more came than any command of ours writes")]
struct UsedUp;

impl Allowance {
    /// Counts what has come.
    fn take(&mut self, bytes: &[u8]) -> Result<(), UsedUp> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(UsedUp)?;
        Ok(())
    }
}

impl Error {
    fn flood(at: String) -> Self {
        Self::Flood { at, limit: MOST_OUTPUT >> 20 }
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The length at which a line is handed over in pieces, so that no server fills our memory: a
    /// thousand of them may wait to be heard. Ours have some kilobytes at most.
    const LONGEST: usize = 64 << 10;

    /// Takes the next bytes and hands over each line that they complete.
    fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(String)) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in line.chunks(Self::LONGEST) {
                self.rest.extend_from_slice(piece);
                if piece.ends_with(b"\n") || self.rest.len() >= Self::LONGEST {
                    self.end(each);
                }
            }
        }
    }

    /// Hands over what is left when the stream has ended.
    fn end(&mut self, each: &mut dyn FnMut(String)) {
        if self.rest.is_empty() {
            return;
        }
        let line = self.rest.strip_suffix(b"\n").unwrap_or(&self.rest);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        each(String::from_utf8_lossy(line).into_owned());
        self.rest.clear();
    }
}

/// Cuts what comes in pieces into lines; a door for `tests/fuzz`.
#[doc(hidden)]
#[must_use]
pub fn lines(pieces: &[&[u8]]) -> Vec<String> {
    let (mut lines, mut seen) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.feed(piece, &mut |line| seen.push(line));
    }
    lines.end(&mut |line| seen.push(line));
    seen
}

/// Keeps the end of a stream of bytes.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    const LONGEST: usize = 8 << 10;

    /// Takes the next bytes and lets the oldest go.
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(Self::LONGEST);
        self.bytes.drain(..surplus);
    }

    /// Returns what was kept; bytes that are not UTF-8 are replaced.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_cut_and_either_line_end() {
        assert_eq!(lines(&[b"a\r\nb\n\nc"]), ["a", "b", "", "c"]);
        assert_eq!(lines(&[b"a\r", b"\nb", b"\n", b"\n", b"c"]), ["a", "b", "", "c"]);
        assert_eq!(lines(&["ü".as_bytes().split_at(1).0, "ü\n".as_bytes().split_at(1).1]), ["ü"]);
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_line_without_end_is_handed_over_in_pieces() {
        let long = vec![b'x'; Lines::LONGEST];
        let seen = lines(&[&long, b"y\n"]);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [Lines::LONGEST, 1]);
        let seen = lines(&[&vec![b'x'; 10 * Lines::LONGEST]]);
        assert!(seen.len() == 10 && seen.iter().all(|piece| piece.len() == Lines::LONGEST));
    }

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = Tail::default();
        tail.feed(&vec![b'x'; 2 * Tail::LONGEST]);
        tail.feed(b"end");
        assert_eq!(tail.text().len(), Tail::LONGEST);
        assert!(tail.text().ends_with("xend"));
    }

    #[test]
    fn debug_of_a_call_does_not_show_its_stdin() {
        let call = Call {
            program: "cmd".into(),
            stdin: Zeroizing::new(b"hunter2".to_vec()),
            deadline: Duration::from_secs(1),
        };
        assert_eq!(format!("{call:?}"), "Call { program: \"cmd\", deadline: 1s, .. }");
    }
}
