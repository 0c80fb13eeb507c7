//! The way into a simulated server: a transport that leads to no network.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::faults::Visit;
use super::host::{End, Talk};
use super::{Error as Unkept, Moment, Sandbox};
use crate::time;
use crate::transport::{Call, Error, Exit, Machine, Step};

/// How long a connection to a machine that does not answer is tried.
const CONNECT: Duration = Duration::from_secs(15);

/// A way to a server of a sandbox.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) sandbox: Sandbox,
    /// The way that it stands for, such as `ssh`.
    pub(super) way: &'static str,
    /// Where it leads.
    pub(super) host: String,
}

impl Machine for Door {
    fn exec<'a>(
        &'a self,
        call: &'a Call,
        on_line: &'a mut (dyn FnMut(&str) + Send),
    ) -> BoxFuture<'a, Result<Exit, Error>> {
        let limit = call.deadline;
        let visit = async move {
            let visit = time::within(limit, self.visit(call, on_line)).await;
            visit.unwrap_or_else(|_| Err(Error::Deadline { at: self.describe(), limit }))
        };
        visit.boxed()
    }

    fn at(&self, host: &str) -> Arc<dyn Machine> {
        Arc::new(Self { host: host.to_owned(), ..self.clone() })
    }

    fn describe(&self) -> String {
        format!("{} sandbox {}", self.way, self.host)
    }
}

impl Door {
    async fn visit(
        &self,
        call: &Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let at = || self.describe();
        let kept = |source: Unkept| Error::Connect { at: at(), source: io::Error::other(source) };
        let silent = || Error::Silent { at: at(), step: Step::Connect, limit: CONNECT };
        let fate = self.sandbox.with(|account, _| account.visit()).map_err(kept)?;
        if fate == Visit::Unreachable {
            time::sleep(CONNECT).await;
            return Err(silent());
        }
        let address: Option<Ipv4Addr> = self.host.parse().ok();
        let talk = self
            .sandbox
            .with(|account, now| account.converse(address?, &call.stdin, now))
            .map_err(kept)?;
        let Some(Conversation { server, boot, talk }) = talk else {
            time::sleep(CONNECT).await;
            return Err(silent());
        };
        let lost = || {
            let source = io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer");
            Error::Lost { at: at(), step: Step::Command, source: source.into() }
        };
        let Talk { lines, at: end, end: how } = talk;
        for (n, (said, line)) in lines.iter().enumerate() {
            if fate == Visit::LostAfter(n) {
                self.sandbox
                    .with(|account, _| account.hang_up(&server, &call.stdin))
                    .map_err(kept)?;
                return Err(lost());
            }
            time::sleep(said.since(self.sandbox.now())).await;
            let is_there = |account: &mut super::Account, now| account.is_up(&server, boot, now);
            if !self.sandbox.with(is_there).map_err(kept)? {
                return Err(lost());
            }
            on_line(line);
        }
        time::sleep(end.since(self.sandbox.now())).await;
        match how {
            // Nobody is let in, or the server goes down before it has said anything.
            End::Lost if lines.is_empty() => Err(silent()),
            End::Lost => Err(lost()),
            End::Exit { code, stderr } => Ok(Exit { code, stderr }),
        }
    }
}

/// What a server answers.
pub(super) struct Conversation {
    /// Which one it is.
    pub(super) server: String,
    /// When it had started.
    pub(super) boot: Moment,
    pub(super) talk: Talk,
}
