//! Runs one command over WinRM; the only user of `hyper`, `tokio_rustls` and `sspi`, with the files
//! beneath it.
//!
//! A call is one TCP connection, because NTLM logs in a connection and not a request. Within it a
//! shell is made, one command runs in it, and the shell is deleted (MS-WSMV 3.1.4).

use std::time::Duration;

use super::{Call, Error, Exit, place};
use crate::secret::Secret;
use crate::time::{self, TimedOut};

mod clixml;
mod envelope;
#[cfg(feature = "ntlm")]
mod ntlm;
#[cfg(not(feature = "ntlm"))]
#[path = "winrm/ntlm_absent.rs"]
mod ntlm;
mod sealed;
mod session;
mod shell;
mod trust;

use session::Session;
use shell::Shell;
pub use trust::{Fingerprint, NoFingerprint, Trust};

/// How long taking leave of the server may take when the call itself has come to its end.
const FAREWELL: Duration = Duration::from_secs(10);

/// A machine that is reached over WinRM.
#[derive(Debug, Clone)]
pub struct Winrm {
    /// A name or an address.
    pub host: String,
    /// Mostly 5986 for HTTPS, 5985 for HTTP.
    pub port: u16,
    /// Who logs in: `user`, `DOMAIN\user` or `user@domain`.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// What keeps others from reading along.
    pub security: Security,
    /// The time for each of connection, handshake and every step of the login.
    pub connect_timeout: Duration,
}

/// What keeps others from reading along.
///
/// INVARIANT: there is no way to say Basic, or a message in the clear, over HTTP.
#[derive(Debug, Clone)]
pub enum Security {
    /// HTTP, with NTLM, which seals every message. The way to Server 2012 R2, whose HTTPS knows no
    /// cipher suite that is still thought safe.
    Sealed,
    /// HTTPS.
    Tls {
        /// How the server proves that it is the right one.
        trust: Trust,
        /// How we prove who we are.
        login: Login,
    },
}

/// How we prove who we are, where TLS protects the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// NTLM, bound to the server's certificate, so that nobody in between can pass it on.
    Ntlm,
    /// The password itself; Windows takes it for local accounts only, and not unless told to.
    Basic,
}

/// What a server says that a command has written, and its exit code once it has ended.
#[doc(hidden)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit: Option<i32>,
}

/// Reads an answer, whatever it answers; a door for `tests/fuzz`.
#[doc(hidden)]
pub fn read_answer(xml: &str, command: &str) -> Result<Written, super::Cause> {
    if let Some(fault) = envelope::fault(xml)? {
        return Err(fault.into());
    }
    drop((envelope::shell_id(xml), envelope::command_id(xml)));
    let envelope::Output { pieces, exit } = envelope::output(xml, command)?;
    let mut written = Written { exit, ..Written::default() };
    for (channel, bytes) in pieces {
        match channel {
            envelope::Channel::Stdout => written.stdout.extend(bytes),
            envelope::Channel::Stderr => written.stderr.extend(bytes),
        }
    }
    Ok(written)
}

/// Makes text of what PowerShell writes to stderr; a door for `tests/fuzz`.
#[doc(hidden)]
#[must_use]
pub fn read_errors(stderr: &str) -> String {
    clixml::plain(stderr)
}

impl Winrm {
    /// Checks what can be known without a connection: that the file of certificates can be used.
    pub fn check(&self) -> Result<(), Error> {
        match &self.security {
            Security::Tls { trust, .. } => trust::config(trust).map(drop),
            Security::Sealed => Ok(()),
        }
    }

    /// Says where it connects, as in `winrm Administrator@203.0.113.5:5986`.
    pub(super) fn describe(&self) -> String {
        place("winrm", &self.user, &self.host, self.port)
    }

    /// Runs `call`; [`super::Transport::exec`] says the rest.
    ///
    /// The command reads before it writes: what it says meanwhile waits over there, and Windows
    /// keeps only so much of it. The shell is deleted in every case but two, a future that is
    /// dropped and a server that is gone; then it is idle, and the server deletes it by itself.
    pub(super) async fn exec(
        &self,
        call: Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let (mut shell, limit) = (None, call.deadline);
        let work = Box::pin(self.run(call, on_line, &mut shell));
        let late = |TimedOut| Err(Error::Deadline { at: self.describe(), limit });
        let exit = time::within(limit, work).await.unwrap_or_else(late);
        if let Some(shell) = shell {
            // What is known of the command does not depend on it.
            let farewell = Box::pin(self.leave(shell, exit.is_ok()));
            time::within(FAREWELL, farewell).await.ok();
        }
        exit
    }

    async fn run(
        &self,
        call: Call,
        on_line: &mut (dyn FnMut(&str) + Send),
        place: &mut Option<Shell>,
    ) -> Result<Exit, Error> {
        let session = Session::open(self).await?;
        let shell = place.insert(Shell::create(session).await?);
        shell.start(&call.program).await?;
        let refused = shell.feed(&call.stdin).await?;
        drop(call);
        shell.follow(refused, on_line).await
    }

    /// Deletes a shell, and ends what may still run in it.
    ///
    /// A connection that a call was cut off from may wait for an answer: then a new one is made.
    async fn leave(&self, mut shell: Shell, has_ended: bool) -> Result<(), Error> {
        if !has_ended {
            shell = shell.over(Session::open(self).await?);
            shell.terminate().await?;
        }
        shell.delete().await
    }
}
