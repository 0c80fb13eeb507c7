//! Drives the scripts on the server: sends them, follows them, confirms and restarts; or leaves them
//! for a person.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::address::Stack;
use crate::event::Events;
use crate::interrupt::Interrupt;
use crate::playbook::{Bundle, Off, Request};
use crate::transport::{self, Transport};

mod folder;
mod journal;
mod proof;
mod session;

pub use folder::{scripts_in, write_folder};
pub use proof::{Associated, Failover, Proof, TunnelBytes, Unread};
use session::Session;

/// How the server is reached.
#[derive(Debug, Clone)]
pub enum Reach {
    /// By a transport.
    Remote(Box<Way>),
    /// By a person, from this folder.
    ByHand(PathBuf),
}

/// A way to run commands on the server.
#[derive(Debug, Clone)]
pub struct Way {
    /// How to log in there; where is known once the server's address is.
    pub transport: Transport,
    /// The host key that was new.
    pub met: FirstMet,
    /// Another host than the public address.
    pub host: Option<String>,
    /// How long to go on while the server cannot be reached: its address may be a new one.
    pub patience: Duration,
    /// What becomes of a restart that the steps need.
    pub restart: Restart,
    /// Whether an undo removes the roles too.
    pub remove_roles: bool,
    /// Ends the waits that may be ended.
    pub interrupt: Interrupt,
}

/// The fingerprint of a host key that was met for the first time, once it was.
#[derive(Debug, Clone, Default)]
pub struct FirstMet(Arc<OnceLock<String>>);

impl FirstMet {
    /// Keeps the first.
    pub fn keep(&self, fingerprint: &str) {
        self.0.get_or_init(|| fingerprint.to_owned());
    }

    /// Returns it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// What becomes of a restart that the steps need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// The server restarts at once, and is waited for.
    Now,
    /// Somebody restarts it another time.
    Never,
    /// It restarts at this time of its own clock: `HH:MM`.
    At(String),
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str, below: u32| {
            let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            is_plain && part.parse::<u32>().is_ok_and(|number| number < below)
        };
        match text {
            "now" => Ok(Self::Now),
            "never" => Ok(Self::Never),
            _ => match text.split_once(':') {
                Some((hour, minute)) if number(hour, 24) && number(minute, 60) => {
                    Ok(Self::At(text.to_owned()))
                }
                _ => {
                    Err("give now, never, or a time of the server's clock such as 03:30".to_owned())
                }
            },
        }
    }
}

/// Why the scripts did not run, or not to their end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, or the connection broke.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// A step failed; those after it did not run.
    #[error("step {id} failed on the server: {error}")]
    Step {
        /// The step's id in the playbook.
        id: String,
        /// What the step said.
        error: String,
    },
    /// The steps after this one come only after a restart.
    #[error("a restart of the server must come first, before step {id}")]
    RestartFirst {
        /// The first step that was not run.
        id: String,
    },
    /// The scripts ended without saying so.
    #[error("the scripts ended with exit code {code} and without their last line{}", said(stderr))]
    Unfinished {
        /// The exit code.
        code: i32,
        /// The last that the server said on standard error.
        stderr: String,
    },
    /// Another run held the server all the time.
    #[error("another run is under way on the server, and does not end")]
    Busy,
    /// The guard has restored the firewall.
    #[error(
        "the server could not be reached over a new connection, so it has put its firewall back as \
         it was before"
    )]
    PutBack,
    /// The wait for a connection, or for another run's end, was interrupted.
    #[error("interrupted while the server was waited for")]
    Interrupted,
    /// The wait for the restart was interrupted.
    #[error("interrupted while the server restarts")]
    Restarting,
    /// The server has not come back.
    #[error("the server has not come back {minutes} minutes after it was told to restart")]
    NotBack {
        /// How long it was waited for.
        minutes: u64,
    },
    /// After the restart something is not as it was set.
    #[error("after the restart the server is not as it was set: {what}")]
    NotReady {
        /// What is wrong.
        what: String,
    },
    /// The folder holds other things than scripts.
    #[error("{} is not a folder of scripts: it holds {name}", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// One of the other things.
        name: String,
    },
    /// A folder or file could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Says whether a run has told its end, after hearing it over some connections; a door for
/// `tests/fuzz`.
#[doc(hidden)]
#[must_use]
pub fn hear(run: &str, connections: &[&[String]], events: &Events) -> bool {
    let mut journal = journal::Journal::new(run, events);
    for lines in connections {
        journal.again();
        lines.iter().for_each(|line| journal.hear(line));
    }
    journal.last.is_some()
}

fn said(stderr: &str) -> String {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| format!("; it said: {}", line.trim())).unwrap_or_default()
}

impl Error {
    /// Says whether the same may succeed later without anything being mended.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Transport(_) => self.is_unreachable(),
            Self::Restarting | Self::Interrupted => true,
            Self::Step { .. }
            | Self::RestartFirst { .. }
            | Self::Unfinished { .. }
            | Self::Busy
            | Self::PutBack
            | Self::NotBack { .. }
            | Self::NotReady { .. }
            | Self::Occupied { .. }
            | Self::Write { .. } => false,
        }
    }

    /// Says whether the server was reached, whatever came then.
    fn is_reached(&self) -> bool {
        match self {
            Self::Transport(error) => error.had_begun(),
            Self::Interrupted | Self::Occupied { .. } | Self::Write { .. } => false,
            Self::Step { .. }
            | Self::RestartFirst { .. }
            | Self::Unfinished { .. }
            | Self::Busy
            | Self::PutBack
            | Self::Restarting
            | Self::NotBack { .. }
            | Self::NotReady { .. } => true,
        }
    }

    /// Says whether nobody answers there at all: a login that is refused is an answer.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport(error) if error.may_pass() && !error.had_begun())
    }

    /// Says whether a server that restarts answers like that: it ends what runs, and lets nobody in
    /// before it is up. What it proves to be does not change.
    fn comes_of_a_restart(&self) -> bool {
        match self {
            Self::Transport(error) => !error.is_another_host(),
            Self::Unfinished { .. } => true,
            Self::Step { .. }
            | Self::RestartFirst { .. }
            | Self::Busy
            | Self::PutBack
            | Self::Interrupted
            | Self::Restarting
            | Self::NotBack { .. }
            | Self::NotReady { .. }
            | Self::Occupied { .. }
            | Self::Write { .. } => false,
        }
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Transport(error) => return error.hint().map(Cow::into_owned),
            Self::RestartFirst { .. } => {
                "restart the server, or let it restart with --reboot now; then run the same command \
                 again"
            }
            Self::Step { .. } | Self::Unfinished { .. } | Self::NotReady { .. } => {
                "all steps can be run again: mend what is named, then run the same command"
            }
            Self::Busy => "look at the scheduled tasks on the server whose name begins with cgw",
            Self::PutBack => {
                "find out what the new rules shut out (the address that you come from, a proxy, a \
                 jump host), or use --via ssm, then run the same command again"
            }
            Self::Restarting | Self::NotBack { .. } => {
                "run the same command again when the server is back; it takes the tunnels' rules \
                 back 15 minutes after its start unless that is done before"
            }
            Self::Interrupted => "run the same command again",
            Self::Write { .. } | Self::Occupied { .. } => {
                "take a folder that is empty or not there yet, or move that one away"
            }
        };
        Some(text.to_owned())
    }
}

/// What the scripts did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many steps changed the server.
    pub changed: usize,
    /// What is still to be said about a restart.
    pub restart: Restarted,
}

/// What has become of the restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restarted {
    /// None was needed.
    NotNeeded,
    /// The server has restarted and is as it was set.
    Done,
    /// It is still due.
    Due,
    /// It comes at this time.
    At(String),
}

/// How a person takes back what the steps have set.
#[must_use]
pub fn undo_by_hand(stack: &Stack) -> String {
    format!(
        "take it back by running undo.ps1 there as Administrator, in C:\\ProgramData\\cgw\\{stack}"
    )
}

impl Reach {
    /// Runs the bundle on the server with a public address, or leaves it for a person.
    pub async fn set_up(
        &self,
        public_ip: Ipv4Addr,
        bundle: &Bundle,
        events: &Events,
    ) -> Result<Report, Error> {
        match self {
            Self::Remote(way) => way.session(&public_ip.to_string(), events).set_up(bundle).await,
            Self::ByHand(folder) => {
                write_folder(folder, bundle.all())?;
                events.note(format!(
                    "the scripts are in {}: copy the folder to the server, run run.ps1 there as \
                     Administrator, and then confirm.ps1 from a new session; keys.txt holds \
                     the keys, delete it afterwards",
                    folder.display()
                ));
                Ok(Report { changed: 0, restart: Restarted::NotNeeded })
            }
        }
    }
}

impl Way {
    /// Takes back what the steps of a stack have set.
    pub async fn undo(&self, stack: &Stack, events: &Events) -> Result<Report, Error> {
        let session = self.session("", events);
        session.undo(&Request::Undo { stack, remove_roles: self.remove_roles }).await
    }

    /// Switches a tunnel off until the other one carries the traffic, and on again unless it is to
    /// stay off.
    pub async fn fail_over(
        &self,
        stack: &Stack,
        ping: Ipv4Addr,
        off: Off,
        events: &Events,
    ) -> Result<Failover, Error> {
        self.session("", events).fail_over(stack, ping, off).await
    }

    /// Switches the tunnels of a stack on again.
    pub async fn switch_on(&self, stack: &Stack, events: &Events) -> Result<(), Error> {
        self.session("", events).switch_on(stack).await
    }

    /// Pings a host in the VPC from the server, which brings a tunnel up.
    pub async fn prove(
        &self,
        stack: &Stack,
        ping: Ipv4Addr,
        events: &Events,
    ) -> Result<Proof, Error> {
        self.session("", events).prove(stack, ping).await
    }

    fn session<'a>(&'a self, public_ip: &str, events: &'a Events) -> Session<'a> {
        let host = self.host.as_deref().unwrap_or(public_ip);
        Session { transport: self.transport.at(host), way: self, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_said_last_is_told() {
        let error = Error::Unfinished { code: 1, stderr: "first\nno such command\n\n".to_owned() };
        assert!(error.to_string().ends_with("; it said: no such command"), "{error}");
    }

    #[test]
    fn a_restart_is_now_never_or_at_a_time() {
        assert_eq!("now".parse(), Ok(Restart::Now));
        assert_eq!("23:59".parse(), Ok(Restart::At("23:59".to_owned())));
        for wrong in ["", "24:00", "1:30", "12:60", "later", "+1:30"] {
            assert!(wrong.parse::<Restart>().is_err(), "{wrong}");
        }
    }
}
