//! Sees a run on the server through: reconnects, confirms, restarts, and waits.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::journal::{Journal, Last};
use super::{Error, Failover, Proof, Report, Restart, Restarted, Way};
use crate::address::Stack;
use crate::event::{Event, Events};
use crate::playbook::{self, Bundle, Off, Request, Then};
use crate::time::{self, Backoff};
use crate::transport::{self, Call, Exit, Transport};

/// How long a run may take: installing roles is the slowest.
const LIMIT: Duration = Duration::from_mins(45);
/// How long a question may take that is answered at once.
const PROMPT: Duration = Duration::from_mins(2);
/// How long pings may take: a minute until the first is answered, a second each, and a start.
const PINGS: Duration = Duration::from_mins(5);
/// How long a failover may take: two minutes until the first ping is answered and two until one is
/// back, and what the server restores after five; and switching on again waits for the end of one.
const FAILOVER: Duration = Duration::from_mins(8);
/// How long a server that had been reached may be away without having been told to restart.
const AWAY: Duration = Duration::from_mins(10);
/// The guard's five minutes, and some more: until then it either can be reached or has restored
/// itself.
const GUARD: Duration = Duration::from_mins(8);
/// How long a restart may take: one that completes roles takes some minutes.
const RESTART: Duration = Duration::from_mins(30);
/// How long services and policies may take to come up after a start.
const START: Duration = Duration::from_mins(5);
/// How often a run is begun in vain, or a restart comes in between.
const ROUNDS: usize = 3;
/// The exit code with which the bootstrap says that another run is under way.
const BUSY: i32 = 3;
/// The exit code with which it says that nothing was ever pushed there.
const NOTHING: i32 = 4;

/// The server's side of a job, over as many connections as it takes.
pub(super) struct Session<'a> {
    pub(super) transport: Transport,
    pub(super) way: &'a Way,
    pub(super) events: &'a Events,
}

/// What is left of the patience with a server: while nobody reaches it, and while another run holds
/// it.
struct Patience {
    span: Duration,
    unreached: Backoff,
    /// Set once such a wait has begun.
    busy: Option<Backoff>,
}

impl Patience {
    /// Begins with all of it.
    fn new(span: Duration) -> Self {
        Self { span, unreached: rests_within(span), busy: None }
    }
}

/// How a run has ended.
struct Ended {
    last: Last,
    failed: Option<(String, String)>,
    waits: Option<String>,
}

/// How the server is: the `cgw-state` line of `confirm.ps1`.
#[derive(Debug, Deserialize)]
struct State {
    boot: i64,
    /// The state of the service RemoteAccess.
    routing: String,
    /// How often each rule of a tunnel is in force.
    rules: BTreeMap<String, usize>,
    guard: Guard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Guard {
    None,
    Armed,
    Restored,
}

impl State {
    /// What is not as the steps have set it.
    fn wrong(&self) -> Option<String> {
        if self.routing != "Running" {
            return Some(format!("the service RemoteAccess is {}", self.routing));
        }
        let wrong = self.rules.iter().find(|(_, count)| **count != 1);
        wrong.map(|(name, count)| format!("the rule {name} is in force {count} times"))
    }
}

impl Session<'_> {
    /// Brings the steps of a bundle to their end, restarts included.
    pub(super) async fn set_up(&self, bundle: &Bundle) -> Result<Report, Error> {
        let mut changed = 0;
        let mut first = None;
        for _ in 0..ROUNDS {
            let Ended { last, failed, waits } = self.run(&Request::Run(bundle)).await?;
            changed += last.changed;
            let wants_restart = last.reboot && failed.is_none();
            let then = match &self.way.restart {
                Restart::Now if wants_restart => Then::Restart,
                Restart::At(time) if wants_restart => Then::RestartAt(time),
                Restart::Now | Restart::At(_) | Restart::Never => Then::Nothing,
            };
            if last.is_guarded || then != Then::Nothing {
                self.confirm(&bundle.stack, then).await?;
            }
            if let Some((id, error)) = failed {
                return Err(Error::Step { id, error });
            }
            let restart = match then {
                Then::Restart => {
                    self.wait_for_start(&bundle.stack, last.boot, waits.is_none()).await?;
                    Restarted::Done
                }
                Then::RestartAt(time) => Restarted::At(time.to_owned()),
                Then::Nothing | Then::After(_) if last.reboot => Restarted::Due,
                Then::Nothing | Then::After(_) => Restarted::NotNeeded,
            };
            match waits {
                None => return Ok(Report { changed, restart }),
                Some(id) if restart != Restarted::Done => return Err(Error::RestartFirst { id }),
                Some(id) => first = Some(id),
            }
        }
        Err(Error::RestartFirst { id: first.unwrap_or_default() })
    }

    /// Takes back what the steps have set. What that needs of a restart is left to a person.
    pub(super) async fn undo(&self, request: &Request<'_>) -> Result<Report, Error> {
        let Ended { last, failed, .. } = match self.run(request).await {
            Err(Error::Unfinished { code: NOTHING, .. }) => {
                return Ok(Report { changed: 0, restart: Restarted::NotNeeded });
            }
            ended => ended?,
        };
        let restart = if last.reboot { Restarted::Due } else { Restarted::NotNeeded };
        match failed {
            Some((id, error)) => Err(Error::Step { id, error }),
            None => Ok(Report { changed: last.changed, restart }),
        }
    }

    /// Begins a run and follows it to its last line, whatever becomes of the connection.
    async fn run(&self, begin: &Request<'_>) -> Result<Ended, Error> {
        let name = begin.run().expect("it begins a run");
        let follow = Request::Follow { stack: begin.stack(), run: name };
        let mut journal = Journal::new(name, self.events);
        let mut is_following = false;
        let mut tries = 0;
        let mut patience = Patience::new(self.way.patience);
        loop {
            journal.again();
            let request = if is_following { &follow } else { begin };
            let heard = self.exec(request, LIMIT, &mut |line| journal.hear(line)).await;
            let exit = match heard {
                Ok(exit) => exit,
                Err(error) if error.may_pass() => {
                    if error.had_begun() && !is_following {
                        (is_following, patience) = (true, Patience::new(AWAY));
                    }
                    self.rest(&mut patience, error).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match journal.last {
                Some(last) if (exit.code == 0) == (last.failed == 0) => {
                    return Ok(Ended { last, failed: journal.failed, waits: journal.waits });
                }
                None if exit.code == BUSY && !is_following => {
                    self.wait_for_turn(&mut patience).await?;
                }
                // The run was lost with the connection, as when the server has restarted.
                None if is_following && tries < ROUNDS => {
                    (is_following, patience, tries) = (false, Patience::new(AWAY), tries + 1);
                    journal = Journal::new(name, self.events);
                }
                Some(_) | None => {
                    return Err(Error::Unfinished { code: exit.code, stderr: exit.stderr });
                }
            }
        }
    }

    /// Says over a new connection that the server can be reached.
    ///
    /// Not even an interrupt ends this: what the guard restores would have to be set again.
    async fn confirm(&self, stack: &Stack, then: Then<'_>) -> Result<(), Error> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), GUARD);
        loop {
            let error = match self.state(stack, then).await {
                Ok(state) if state.guard == Guard::Restored => return Err(Error::PutBack),
                Ok(_) => return Ok(()),
                Err(error) if !error.comes_of_a_restart() => return Err(error),
                Err(error) => error,
            };
            // It restarts perhaps; to ask for that twice would restart it twice.
            if then == Then::Restart && error.is_reached() {
                return Ok(());
            }
            self.say_again(&error);
            time::sleep(backoff.next_rest().ok_or(error)?).await;
        }
    }

    /// Waits for another boot than `before`, confirms it, and has all come up that was set.
    async fn wait_for_start(&self, stack: &Stack, before: i64, all: bool) -> Result<(), Error> {
        self.events.note("the server restarts, which takes 2–10 minutes; waiting for it");
        let too_long = || Error::NotBack { minutes: RESTART.as_secs() / 60 };
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(15));
        let mut backoff = Backoff::new(short, long, RESTART);
        let mut state = loop {
            let rest = backoff.next_rest().ok_or_else(too_long)?;
            self.way.interrupt.sleep(rest).await.map_err(|_| Error::Restarting)?;
            match self.state(stack, Then::After(before)).await {
                Ok(state) if state.guard == Guard::Restored => return Err(Error::PutBack),
                // The boot time is worked out from the clock, which may be set meanwhile.
                Ok(state) if (state.boot - before).abs() >= 120 => break state,
                Ok(_) => {}
                Err(error) if error.comes_of_a_restart() => self.say_again(&error),
                Err(error) => return Err(error),
            }
        };
        let mut backoff = Backoff::new(short, long, START);
        while let (true, Some(what)) = (all, state.wrong()) {
            let rest = backoff.next_rest().ok_or(Error::NotReady { what })?;
            self.way.interrupt.sleep(rest).await.map_err(|_| Error::Restarting)?;
            match self.state(stack, Then::Nothing).await {
                Ok(now) => state = now,
                Err(error) if error.comes_of_a_restart() => self.say_again(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn state(&self, stack: &Stack, then: Then<'_>) -> Result<State, Error> {
        self.ask(&Request::Confirm { stack, then }, "cgw-state ", PROMPT).await
    }

    /// Has a host in the VPC pinged.
    pub(super) async fn prove(&self, stack: &Stack, ping: Ipv4Addr) -> Result<Proof, Error> {
        // It changes nothing, so it can be asked again.
        let request = Request::Prove { stack, ping };
        self.ask_again(&request, Proof::WORD, PINGS, transport::Error::may_pass).await
    }

    /// Has a tunnel switched off until the other one carries the traffic.
    pub(super) async fn fail_over(
        &self,
        stack: &Stack,
        ping: Ipv4Addr,
        off: Off,
    ) -> Result<Failover, Error> {
        // As long as nothing has begun there it can be asked again.
        let may_again = |error: &transport::Error| error.may_pass() && !error.had_begun();
        let request = Request::Failover { stack, ping, off };
        self.ask_again(&request, "cgw-failover ", FAILOVER, may_again).await
    }

    /// Has the tunnels switched on again.
    pub(super) async fn switch_on(&self, stack: &Stack) -> Result<(), Error> {
        let mut patience = Patience::new(self.way.patience);
        loop {
            match self.exec(&Request::SwitchOn { stack }, FAILOVER, &mut |_| {}).await {
                Ok(Exit { code: 0, .. }) => return Ok(()),
                Ok(Exit { code, stderr }) => return Err(Error::Unfinished { code, stderr }),
                Err(error) if error.may_pass() => self.rest(&mut patience, error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks like [`Session::ask`], again while the patience lasts where `may_again` says so.
    async fn ask_again<T: DeserializeOwned + Send>(
        &self,
        request: &Request<'_>,
        word: &str,
        limit: Duration,
        may_again: impl Fn(&transport::Error) -> bool,
    ) -> Result<T, Error> {
        let mut patience = Patience::new(self.way.patience);
        loop {
            match self.ask(request, word, limit).await {
                Err(Error::Transport(error)) if may_again(&error) => {
                    self.rest(&mut patience, error).await?;
                }
                // Nothing has begun there.
                Err(Error::Unfinished { code: BUSY, .. }) => {
                    self.wait_for_turn(&mut patience).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Asks for one line that begins with `word` and goes on as JSON.
    async fn ask<T: DeserializeOwned + Send>(
        &self,
        request: &Request<'_>,
        word: &str,
        limit: Duration,
    ) -> Result<T, Error> {
        let mut answer = None;
        let mut hear = |line: &str| {
            let told = line.strip_prefix(word).map(serde_json::from_str);
            answer = told.and_then(Result::ok).or(answer.take());
        };
        let Exit { code, stderr } = self.exec(request, limit, &mut hear).await?;
        answer.filter(|_| code == 0).ok_or(Error::Unfinished { code, stderr })
    }

    /// Has the bootstrap do something, and hears all but its last line.
    ///
    /// That line says the exit code, which does not survive every shell on the way: where Windows'
    /// sshd starts PowerShell, each code but 0 arrives as 1.
    async fn exec(
        &self,
        request: &Request<'_>,
        deadline: Duration,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, transport::Error> {
        let call = Call { program: playbook::command(), stdin: request.document(), deadline };
        let mut told = None;
        let mut hear_or_end = |line: &str| match exit_code(line) {
            Some(code) => told = Some(code),
            None => hear(line),
        };
        let exit = self.transport.exec(call, &mut hear_or_end).await?;
        Ok(Exit { code: told.unwrap_or(exit.code), ..exit })
    }

    /// Rests before another try, unless it has been tried for long enough.
    async fn rest(&self, patience: &mut Patience, error: transport::Error) -> Result<(), Error> {
        let Some(rest) = patience.unreached.next_rest() else {
            return Err(error.into());
        };
        let error = Error::from(error);
        self.say_again(&error);
        self.way.interrupt.sleep(rest).await.map_err(|_| Error::Interrupted)
    }

    /// Rests before another try, unless another run has held the server for too long.
    async fn wait_for_turn(&self, patience: &mut Patience) -> Result<(), Error> {
        let busy = patience.busy.get_or_insert_with(|| {
            self.events.note("another run is under way on the server; waiting for its end");
            rests_within(LIMIT)
        });
        let rest = busy.next_rest().ok_or(Error::Busy)?;
        // It has been reached.
        patience.unreached = rests_within(patience.span);
        self.way.interrupt.sleep(rest).await.map_err(|_| Error::Interrupted)
    }

    fn say_again(&self, error: &Error) {
        self.events.say(&Event::Retrying { action: self.transport.name(), why: error.to_string() });
    }
}

/// Reads the last line of the bootstrap.
fn exit_code(line: &str) -> Option<i32> {
    let (word, code) = line.split_once(' ')?;
    code.parse().ok().filter(|_| word == playbook::END)
}

fn rests_within(limit: Duration) -> Backoff {
    Backoff::new(Duration::from_secs(2), Duration::from_secs(10), limit)
}
