//! A Windows Server as the playbook treats it.
//!
//! The scripts themselves are proven on a real PowerShell; this answers as they would: a journal, a
//! guard that fires, restarts, rules, and pings through them. It is plain data that knows no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Draws, Moment};
use crate::address::Stack;

mod confirm;
mod document;
mod failover;
mod folder;
mod guard;
mod kept;
mod machine;
mod parameters;
mod perform;
mod pings;
mod power;
mod rule;
mod run;
mod scripts;
#[cfg(test)]
mod stand;
mod step;
mod tamper;
mod tunnels;

use perform::Server;
pub use pings::Outside;
use power::{Power, Spans};
pub use rule::Rule;
use run::Run;
pub use tamper::Tamper;

/// A server at a moment, with all that is under way on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    now: Moment,
    power: Power,
    server: Server,
    /// Who holds the lock.
    run: Option<Run>,
    /// Until when the firewall lets nobody in.
    shut_out: Option<Moment>,
    troubles: Vec<Trouble>,
    alarms: Vec<String>,
}

/// What is said to a session, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// The lines in their order, each with its moment.
    pub lines: Vec<(Moment, String)>,
    /// When the session ends.
    pub at: Moment,
    /// How it ends.
    pub end: End,
}

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With an exit code.
    Exit {
        /// The code.
        code: i32,
        /// What was said on standard error.
        stderr: String,
    },
    /// With the connection: nobody is let in, or the server restarts.
    Lost,
}

/// What goes wrong in the next run, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// A step fails: its id, or how many steps come up to it.
    StepFails(String),
    /// The server restarts while a step is under way.
    RestartDuring(String),
    /// Nobody is let in for six minutes after the tunnels' step, so that the guard fires.
    GuardFires,
    /// Roles that are installed are complete only after a restart.
    RolesPend,
}

impl Trouble {
    fn fails(&self) -> Option<&str> {
        match self {
            Self::StepFails(step) => Some(step),
            Self::RestartDuring(_) | Self::GuardFires | Self::RolesPend => None,
        }
    }

    fn restarts_during(&self) -> Option<&str> {
        match self {
            Self::RestartDuring(step) => Some(step),
            Self::StepFails(_) | Self::GuardFires | Self::RolesPend => None,
        }
    }
}

/// What comes next on the server by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Restart,
    Guard(Stack),
    Enable(Stack),
    Run,
    Leave(Stack),
}

/// What may be lost by what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loses {
    /// All rules of a stack.
    Rules,
    /// Not all of them.
    Nothing,
}

impl Talk {
    /// A session that comes to nothing.
    fn lost(at: Moment) -> Self {
        Self { lines: Vec::new(), at, end: End::Lost }
    }

    /// Loses the session at a moment.
    fn cut(&mut self, at: Moment) {
        self.lines.retain(|(said, _)| *said < at);
        (self.at, self.end) = (at, End::Lost);
    }
}

impl Host {
    /// Begins with a fresh server that has been up since then: no roles, no rules.
    #[must_use]
    pub fn new(booted: Moment) -> Self {
        Self {
            now: booted,
            power: Power::new(booted),
            server: Server::default(),
            run: None,
            shut_out: None,
            troubles: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// Gives its adapter this private address: the first step refuses another one.
    #[must_use]
    pub fn with_address(mut self, address: Ipv4Addr) -> Self {
        self.server.address = Some(address);
        self
    }

    /// Makes true what was due until then.
    pub fn advance(&mut self, now: Moment) {
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= now) {
            self.happen(at, due);
        }
        self.now = self.now.max(now);
    }

    /// Takes a document in, and says what the session hears.
    ///
    /// The run that it may begin goes on as a task, even if nobody listens on.
    pub fn answer(
        &mut self,
        document: &[u8],
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Talk {
        self.advance(now);
        self.take_in(self.lets_in(now), document, now, draws, outside)
    }

    /// Takes in what Systems Manager's agent has fetched: nobody has to be let in for that.
    pub fn answer_agent(
        &mut self,
        document: &[u8],
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Talk {
        self.advance(now);
        self.take_in(self.is_up(now), document, now, draws, outside)
    }

    fn take_in(
        &mut self,
        is_reached: bool,
        document: &[u8],
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Talk {
        if !is_reached {
            return Talk::lost(now);
        }
        let before = self.carrying();
        let talk = self.bootstrap(document, now, draws, outside);
        self.watch(&before, Loses::Nothing);
        talk
    }

    /// Says that the session of a stack is lost: what that would have done at its end is not done.
    pub fn hang_up(&mut self, stack: &Stack) {
        self.server.folder(stack).leaving = None;
    }

    /// Says whether the server runs, as of the moment to which it was advanced; sessions end when
    /// it does not.
    #[must_use]
    pub fn is_up(&self, now: Moment) -> bool {
        now >= self.power.up
    }

    /// Says whether a new connection gets in.
    #[must_use]
    pub fn lets_in(&self, now: Moment) -> bool {
        self.is_up(now) && self.shut_out.is_none_or(|until| now >= until)
    }

    /// Returns when the server started, by its own word; while it is down that is yet to come.
    #[must_use]
    pub fn boot(&self) -> Moment {
        self.power.boot
    }

    /// Restarts the server at once.
    pub fn restart(&mut self, now: Moment, draws: &mut Draws) {
        self.advance(now);
        self.power.order = None;
        self.power.order(now, Spans::draw(draws));
        self.advance(now);
    }

    /// Returns the rules of all stacks, switched on or off, in the order in which Windows has them.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.server.machine.rules().iter()
    }

    /// Says what differs from a fresh server, but for the roles; no key is in it.
    #[must_use]
    pub fn traces(&self) -> Vec<String> {
        let mut found = self.server.machine.traces();
        found.extend(self.server.traces().map(str::to_owned));
        for (stack, folder) in &self.server.folders {
            found.extend(folder.traces().iter().map(|what| format!("{stack}: {what}")));
        }
        found
    }

    /// Returns the roles that are installed: an undo leaves them unless they are to go.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        self.server.machine.roles()
    }

    /// Lets nothing more go wrong.
    pub fn calm(&mut self) {
        self.troubles.clear();
    }

    /// Sees to it that something goes wrong in the next run.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.troubles.push(trouble);
    }

    /// Says what should never have been.
    #[must_use]
    pub fn alarms(&self) -> &[String] {
        &self.alarms
    }

    /// Takes out what goes wrong in the run that begins; what only a setup meets waits for one.
    fn troubles_for(&mut self, is_set_up: bool) -> Vec<Trouble> {
        let is_for_all = |one: &Trouble| one.fails().or(one.restarts_during()).is_some();
        let all = std::mem::take(&mut self.troubles);
        let (now, later): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| is_set_up || is_for_all(one));
        self.troubles = later;
        self.server.machine.is_install_pending |= now.contains(&Trouble::RolesPend);
        now
    }

    fn next_due(&self) -> Option<(Moment, Due)> {
        let restart = self.power.order.map(|order| (order.at, Due::Restart));
        let run = self.run.as_ref().map(|run| (run.next, Due::Run));
        let tasks = self.server.folders.iter().flat_map(|(stack, folder)| {
            let guard = folder.guard.as_ref().map(|guard| guard.timer.at);
            let restore = folder.restore.map(|timer| timer.at);
            [
                guard.map(|at| (at, Due::Guard(stack.clone()))),
                restore.map(|at| (at, Due::Enable(stack.clone()))),
                folder.leaving.map(|at| (at, Due::Leave(stack.clone()))),
            ]
        });
        tasks.flatten().chain(restart).chain(run).min()
    }

    fn happen(&mut self, at: Moment, due: Due) {
        self.now = self.now.max(at);
        let before = self.carrying();
        let is_undo = due == Due::Run && self.run.as_ref().is_some_and(Run::is_undo);
        let may = match due {
            Due::Guard(_) => Loses::Rules,
            Due::Run if is_undo => Loses::Rules,
            Due::Run | Due::Restart | Due::Enable(_) | Due::Leave(_) => Loses::Nothing,
        };
        match due {
            Due::Restart => self.begin_boot(),
            Due::Guard(stack) => self.fire(&stack, at),
            Due::Enable(stack) => self.enable_again(&stack, at),
            Due::Run => self.go_on(),
            Due::Leave(stack) => {
                self.server.folders.remove(&stack);
            }
        }
        self.watch(&before, may);
    }

    fn begin_boot(&mut self) {
        let Some(order) = self.power.order else { return };
        self.run = None;
        self.power.restart(order, self.server.machine.is_install_pending);
        self.server.machine.start();
        let boot = self.power.boot;
        for folder in self.server.folders.values_mut() {
            let guard = folder.guard.as_mut().map(|guard| &mut guard.timer);
            for timer in guard.into_iter().chain(folder.restore.as_mut()) {
                timer.start(boot);
            }
            folder.leaving = None;
        }
    }

    /// The stacks that have a rule that is switched on.
    fn carrying(&self) -> BTreeSet<Stack> {
        self.rules().filter(|rule| rule.is_enabled).map(|rule| rule.stack.clone()).collect()
    }

    /// INVARIANT: a tunnel has one key at a time, and no stack loses both its rules but by an undo
    /// or by its guard.
    fn watch(&mut self, before: &BTreeSet<Stack>, may: Loses) {
        let mut keys: BTreeMap<Ipv4Addr, BTreeSet<&str>> = BTreeMap::new();
        for rule in self.rules().filter(|rule| rule.is_enabled) {
            keys.entry(rule.remote).or_default().insert(rule.key.expose());
        }
        let several = keys.iter().filter(|(_, keys)| keys.len() > 1);
        let mut found: Vec<String> = several
            .map(|(remote, _)| format!("the tunnel to {remote} has several keys in force"))
            .collect();
        if may == Loses::Nothing {
            let after = self.carrying();
            let lost = before.difference(&after);
            found.extend(lost.map(|stack| format!("both rules of {stack} are off at once")));
        }
        found.retain(|alarm| !self.alarms.contains(alarm));
        self.alarms.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use super::stand::tests::{Setup, Stand};
    use super::*;
    use crate::playbook::Request;

    #[test]
    fn a_server_that_is_down_lets_nobody_in() {
        let mut stand = Setup::default().ready();
        let boot = stand.host.boot();
        stand.host.restart(stand.now, &mut stand.draws);
        assert!(!stand.host.is_up(stand.now));
        assert!(stand.host.boot() > boot);
        assert_eq!(stand.set_up().code, None);
        stand.wait_for_start();
        assert_eq!(stand.set_up().code, Some(0));
    }

    #[test]
    fn a_host_that_was_kept_in_a_file_goes_on_where_it_was() {
        let mut stand = Setup::default().ready();
        let document = Request::Run(&stand.setup.bundle()).document();
        let talk = stand.host.answer(&document, stand.now, &mut stand.draws, &stand.outside);
        let half = stand.now.after(talk.at.since(stand.now) / 2);
        stand.host.advance(half);
        let text = serde_json::to_string(&stand.host).unwrap();
        let mut other: Host = serde_json::from_str(&text).unwrap();
        assert_eq!(other, stand.host);
        other.advance(talk.at);
        stand.host.advance(talk.at);
        assert_eq!(other, stand.host);
        assert_eq!(other.rules().count(), 2);
    }

    #[test]
    fn documents_of_all_kinds_are_answered_with_a_reason() {
        let mut stand = Setup::default().ready();
        let mut documents: Vec<Vec<u8>> =
            ["", "{", "[]", "{}", "null"].map(|text| text.as_bytes().to_vec()).into();
        let whole = Request::Run(&stand.setup.bundle()).document();
        documents.extend((0..whole.len()).step_by(997).map(|n| whole[..n].to_vec()));
        documents.push(vec![0xff; 40]);
        for document in documents {
            let Stand { host, draws, now, outside, .. } = &mut stand;
            let talk = host.answer(&document, *now, draws, outside);
            let End::Exit { code, stderr } = talk.end else { panic!("lost") };
            assert_eq!(code, 1);
            assert!(stderr.starts_with("cgw: "), "{stderr}");
        }
    }
}
