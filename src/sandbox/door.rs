//! The way into a simulated server: a transport that leads to no network.

use std::io;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::faults::{Amid, Visit};
use super::host::{End, Talk};
use super::{Error as Unkept, Moment, Sandbox};
use crate::address::Stack;
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
        call: Call,
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
        call: Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let at = || self.describe();
        let kept = |source: Unkept| Error::Connect { at: at(), source: io::Error::other(source) };
        let silent = || Error::Silent { at: at(), step: Step::Connect, limit: CONNECT };
        let fate = self.sandbox.with(|account, now| {
            let fate = account.visit();
            self.sandbox.process.note(now, "session", format!("{fate:?}"));
            fate
        });
        let fate = fate.map_err(kept)?;
        if fate == Visit::Unreachable {
            time::sleep(CONNECT).await;
            return Err(silent());
        }
        let address: Option<Ipv4Addr> = self.host.parse().ok();
        let talk = self
            .sandbox
            .with(|account, now| account.converse(address?, &call.stdin, now))
            .map_err(kept)?;
        // What was sent is not held for as long as the server talks.
        drop(call);
        let Some(Conversation { server, stack, boot, talk }) = talk else {
            time::sleep(CONNECT).await;
            return Err(silent());
        };
        let lost = || {
            let source = io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer");
            Error::Lost { at: at(), step: Step::Command, source: source.into() }
        };
        let Talk { lines, at: end, end: how } = talk;
        let open = Open { sandbox: &self.sandbox, server: &server, stack: stack.as_ref() };
        for (n, (said, line)) in lines.iter().enumerate() {
            self.meet(fate, n..=n).await.map_err(|Gone| lost())?;
            time::sleep(said.since(self.sandbox.now())).await;
            let is_there = |account: &mut super::Account, now| account.is_up(&server, boot, now);
            if !self.sandbox.with(is_there).map_err(kept)? {
                return Err(lost());
            }
            on_line(line);
        }
        self.meet(fate, lines.len()..=usize::MAX).await.map_err(|Gone| lost())?;
        time::sleep(end.since(self.sandbox.now())).await;
        open.close();
        match how {
            // Nobody is let in, or the server goes down before it has said anything.
            End::Lost if lines.is_empty() => Err(silent()),
            End::Lost => Err(lost()),
            End::Exit { code, stderr } => Ok(Exit { code, stderr }),
        }
    }

    /// Lets happen what a fate has for the midst of a session, after so many lines of it.
    async fn meet(&self, fate: Visit, lines: RangeInclusive<usize>) -> Result<(), Gone> {
        let process = &self.sandbox.process;
        match fate {
            Visit::After(n, amid) if lines.contains(&n) => match amid {
                Amid::Lost => return Err(Gone),
                Amid::Killed => {
                    process.killed.notify_one();
                    std::future::pending::<()>().await;
                }
                Amid::Interrupted => process.interrupted.notify_one(),
                Amid::Joined => process.joined.notify_one(),
            },
            Visit::After(..) | Visit::Normal | Visit::Unreachable => {}
        }
        Ok(())
    }
}

/// The connection is lost.
struct Gone;

/// A session that is open: the server notices when it is lost, also with its process.
struct Open<'a> {
    sandbox: &'a Sandbox,
    server: &'a str,
    stack: Option<&'a Stack>,
}

impl Open<'_> {
    /// Ends it as the server does.
    fn close(self) {
        std::mem::forget(self);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(stack) = self.stack else { return };
        let hang_up = self.sandbox.with(|account, _| account.hang_up(self.server, stack));
        if let Err(error) = hang_up {
            tracing::debug!(target: "cgw", %error, "the sandbox's folder is gone");
        }
    }
}

/// What a server answers.
pub(super) struct Conversation {
    /// Which one it is.
    pub(super) server: String,
    /// Whose document it has taken in, if it was anybody's.
    pub(super) stack: Option<Stack>,
    /// When it had started.
    pub(super) boot: Moment,
    pub(super) talk: Talk,
}
