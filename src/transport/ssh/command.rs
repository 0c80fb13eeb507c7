//! Runs a command on a server that has logged us in.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use ssh2::{Channel, Session};

use super::Worker;
use crate::time;
use crate::transport::{Allowance, Error, Exit, Lines, Step, Tail, UsedUp};

/// What keeps a command from being followed to its end.
enum Broken {
    Wire(io::Error),
    Flood,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Wire(error)
    }
}

impl From<UsedUp> for Broken {
    fn from(_: UsedUp) -> Self {
        Self::Flood
    }
}

impl Worker {
    /// Starts the command and follows it until the other end has closed the channel.
    pub(super) fn execute(&self, session: &Session) -> Result<Exit, Error> {
        let at = || self.ssh.describe();
        let failed = |error| self.failed(Step::Command, error);
        let mut channel = session.channel_session().map_err(failed)?;
        channel.exec(&self.call.program).map_err(failed)?;
        session.set_blocking(false);
        let stderr = self.follow(&mut channel).map_err(|broken| match broken {
            Broken::Wire(error) => {
                Error::Lost { at: at(), step: Step::Command, source: error.into() }
            }
            Broken::Flood => Error::flood(at()),
        })?;
        if let Some(signal) = channel.exit_signal().map_err(failed)?.exit_signal {
            return Err(Error::Signal { at: at(), signal });
        }
        let code = channel.exit_status().map_err(failed)?;
        Ok(Exit { code, stderr: stderr.text() })
    }

    /// Moves all three streams by turns, so that none can fill up and stop the others.
    ///
    /// INVARIANT: `Ok` only after `wait_close`, which needs the other end's own close message.
    fn follow(&self, channel: &mut Channel) -> Result<Tail, Broken> {
        let (mut stdin, mut lines, mut tail) =
            (Stdin::new(&self.call.stdin), Lines::default(), Tail::default());
        let mut allowance = Allowance::default();
        // A receiver that is gone has cut the wire too: the next read ends the loop.
        let mut hand_over = |line| drop(self.lines.blocking_send(line));
        let mut rest = REST;
        loop {
            let wrote = stdin.write_to(channel)?;
            let read = drain(&mut channel.stream(0), &mut |new| {
                lines.feed(new, &mut hand_over);
                allowance.take(new)
            })?;
            let read_stderr = drain(&mut channel.stderr(), &mut |new| {
                tail.feed(new);
                allowance.take(new)
            })?;
            if wrote || read || read_stderr {
                rest = REST;
            } else if channel.eof()
                && ready(channel.wait_close().map_err(io::Error::from))?.is_some()
            {
                lines.end(&mut hand_over);
                return Ok(tail);
            } else {
                time::pause_thread(rest);
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
}

const REST: Duration = Duration::from_millis(1);
const LONGEST_REST: Duration = Duration::from_millis(20);

/// What is still to be sent.
struct Stdin<'a> {
    unsent: &'a [u8],
    is_ended: bool,
}

impl<'a> Stdin<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { unsent: bytes, is_ended: false }
    }

    /// Sends as much as the other end takes now, at last the end of file; says if any went.
    fn write_to(&mut self, channel: &mut Channel) -> io::Result<bool> {
        if self.is_ended {
            return Ok(false);
        }
        if self.unsent.is_empty() {
            self.is_ended = ready(channel.send_eof().map_err(io::Error::from))?.is_some();
            return Ok(self.is_ended);
        }
        let sent = ready(channel.write(self.unsent))?.unwrap_or(0);
        self.unsent = &self.unsent[sent..];
        Ok(sent > 0)
    }
}

/// Takes all that has arrived on one stream; says if there was any.
fn drain(
    stream: &mut impl Read,
    take: &mut dyn FnMut(&[u8]) -> Result<(), UsedUp>,
) -> Result<bool, Broken> {
    let mut buffer = [0; 16 << 10];
    let mut any = false;
    while let Some(length @ 1..) = ready(stream.read(&mut buffer))? {
        take(&buffer[..length])?;
        any = true;
    }
    Ok(any)
}

/// Turns «not now» into `None`.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
