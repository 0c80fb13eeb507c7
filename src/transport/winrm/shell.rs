//! A shell on the server, in which one command runs.

use super::clixml;
use super::envelope::{self, Channel, Fault, Request, Unreadable};
use super::session::Session;
use crate::transport::{Allowance, Cause, Error, Exit, Lines, Step, Tail};

/// How much of stdin goes into one message: 90,000 characters of base64, so that the message stays
/// below the smallest limit that a server may have (150 kB).
const CHUNK: usize = 67_500;

/// A shell that exists on the server.
pub(super) struct Shell {
    session: Session,
    id: String,
    command: Option<String>,
}

/// Why a request was not answered as it should be.
enum Failed {
    /// The server says no.
    Fault(Fault),
    /// There is no answer.
    Session(Error),
    /// The answer cannot be read.
    Unreadable(Unreadable),
}

impl Failed {
    /// What it means while the command has certainly not begun.
    fn before(self, at: String) -> Error {
        match self {
            Self::Fault(fault) if fault.is_access_denied() => Error::AccessDenied { at },
            Self::Fault(fault) => Error::Start { at, source: fault.into() },
            Self::Session(error) => error,
            Self::Unreadable(source) => Error::Start { at, source: source.into() },
        }
    }

    /// What it means while the command may run.
    fn amid(self, at: String) -> Error {
        match self {
            Self::Fault(fault) => lost(at, fault),
            Self::Session(error) => error,
            Self::Unreadable(source) => lost(at, source),
        }
    }
}

impl From<Unreadable> for Failed {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

fn lost(at: String, source: impl Into<Cause>) -> Error {
    Error::Lost { at, step: Step::Command, source: source.into() }
}

impl Shell {
    /// Makes a shell on the server.
    pub(super) async fn create(mut session: Session) -> Result<Self, Error> {
        let answer = ask(&mut session, None, &Request::Create).await;
        let id = answer.and_then(|answer| Ok(envelope::shell_id(&answer)?));
        match id {
            Ok(id) => Ok(Self { session, id, command: None }),
            Err(failed) => Err(failed.before(session.at().to_owned())),
        }
    }

    /// Goes on over another connection.
    pub(super) fn over(self, session: Session) -> Self {
        Self { session, ..self }
    }

    /// Starts the command.
    pub(super) async fn start(&mut self, line: &str) -> Result<(), Error> {
        let answer = self.ask(&Request::Command { line }).await;
        match answer.and_then(|answer| Ok(envelope::command_id(&answer)?)) {
            Ok(id) => self.command = Some(id),
            Err(failed) => return Err(failed.before(self.at())),
        }
        Ok(())
    }

    /// Sends all of stdin and its end; returns what the server said if it took not all of it.
    ///
    /// INVARIANT: nothing is sent twice, whatever becomes of the answer.
    pub(super) async fn feed(&mut self, stdin: &[u8]) -> Result<Option<Fault>, Error> {
        let last = stdin.len().saturating_sub(1) / CHUNK;
        for number in 0..=last {
            let chunk = stdin.chunks(CHUNK).nth(number).unwrap_or_default();
            let command = self.command().to_owned();
            let request = Request::Send { command: &command, chunk, is_last: number == last };
            match self.ask(&request).await {
                Ok(_) => {}
                Err(Failed::Fault(fault)) => return Ok(Some(fault)),
                Err(failed) => return Err(failed.amid(self.at())),
            }
        }
        Ok(None)
    }

    /// Asks for output until the command has ended.
    ///
    /// A command that did not take all of its stdin has mostly ended by then; if it has not, it
    /// waits for what never comes, and `refused` is the end of the call.
    pub(super) async fn follow(
        &mut self,
        mut refused: Option<Fault>,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let (mut lines, mut tail) = (Lines::default(), Tail::default());
        let mut allowance = Allowance::default();
        let mut hand_over = |line: String| on_line(&line);
        let command = self.command().to_owned();
        loop {
            let answer = self.ask(&Request::Receive { command: &command }).await;
            let output = match answer.and_then(|xml| Ok(envelope::output(&xml, &command)?)) {
                Ok(output) => output,
                // It has nothing to say for the moment.
                Err(Failed::Fault(fault)) if fault.is_timeout() => match refused.take() {
                    None => continue,
                    Some(refused) => return Err(lost(self.at(), refused)),
                },
                Err(failed) => return Err(failed.amid(self.at())),
            };
            for (channel, bytes) in output.pieces {
                allowance.take(&bytes).map_err(|_| Error::flood(self.at()))?;
                match channel {
                    Channel::Stdout => lines.feed(&bytes, &mut hand_over),
                    Channel::Stderr => tail.feed(&bytes),
                }
            }
            if let Some(code) = output.exit {
                lines.end(&mut hand_over);
                return Ok(Exit { code, stderr: clixml::plain(&tail.text()) });
            }
        }
    }

    /// Ends the command, if there is one.
    pub(super) async fn terminate(&mut self) -> Result<(), Error> {
        let Some(command) = self.command.clone() else { return Ok(()) };
        match self.ask(&Request::Terminate { command: &command }).await {
            // A command that the server does not know any more has ended.
            Ok(_) | Err(Failed::Fault(_)) => Ok(()),
            Err(failed) => Err(failed.amid(self.at())),
        }
    }

    /// Deletes the shell on the server.
    pub(super) async fn delete(mut self) -> Result<(), Error> {
        let deleted = self.ask(&Request::Delete).await;
        deleted.map(drop).map_err(|failed| failed.amid(self.at()))
    }

    fn at(&self) -> String {
        self.session.at().to_owned()
    }

    fn command(&self) -> &str {
        self.command.as_deref().expect("a command is fed and followed only after its start")
    }

    async fn ask(&mut self, request: &Request<'_>) -> Result<String, Failed> {
        ask(&mut self.session, Some(&self.id), request).await
    }
}

async fn ask(
    session: &mut Session,
    shell: Option<&str>,
    request: &Request<'_>,
) -> Result<String, Failed> {
    let envelope = request.envelope(session.url(), session.id(), shell);
    let answer = session.ask(envelope).await.map_err(Failed::Session)?;
    match envelope::fault(&answer)? {
        None => Ok(answer),
        Some(fault) => Err(Failed::Fault(fault)),
    }
}
