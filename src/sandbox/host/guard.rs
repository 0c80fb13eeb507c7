//! The guard: puts the firewall's policy back unless somebody comes over a new connection.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Host;
use super::folder::{Folder, Timer};
use super::machine::Policy;
use super::perform::{Job, Mode, Server};
use super::step::Step;
use crate::address::Stack;
use crate::sandbox::Moment;

/// A guard that is armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guard {
    pub(super) timer: Timer,
    /// The policy as it was before the first change; none where a restart alone is watched.
    policy: Option<Policy>,
    /// The names of the stack's rules then.
    names: BTreeSet<String>,
    /// It has fired, and could not take back what was set.
    is_firing: bool,
}

/// What is known of a guard: the words of `cgw-state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    None,
    Armed,
    Restored,
}

impl State {
    /// Returns the word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Armed => "armed",
            Self::Restored => "restored",
        }
    }
}

/// How long somebody has for coming over a new connection, and after a start.
const GIVEN: Duration = Duration::from_mins(5);
/// The same, once a restart was ordered that does not come.
const RESTART: Duration = Duration::from_hours(1);
/// The same, once the ordered restart has come.
const RESTARTED: Duration = Duration::from_mins(15);
/// When it tries again to take back what was set.
const AGAIN: Duration = Duration::from_mins(2);

impl Folder {
    /// Says what is known of the guard.
    pub(super) fn guard_state(&self) -> State {
        match &self.guard {
            Some(guard) if guard.is_firing => State::Restored,
            Some(_) | None if self.is_restored => State::Restored,
            Some(_) => State::Armed,
            None => State::None,
        }
    }

    /// Disarms the guard; `false` where it has fired.
    pub(super) fn disarm(&mut self) -> bool {
        if self.guard_state() == State::Restored {
            return false;
        }
        self.guard = None;
        true
    }

    /// Arms the guard for a restart that is being ordered.
    pub(super) fn guard_restart(&mut self, now: Moment) {
        let timer = Timer::new(now, RESTART, RESTARTED);
        let fresh = Guard { timer, policy: None, names: BTreeSet::new(), is_firing: false };
        self.guard.get_or_insert(fresh).timer = timer;
    }
}

impl Server {
    /// Arms the guard before a change, with the policy as it is; if it is armed, its time begins
    /// anew.
    pub(super) fn arm(&mut self, stack: &Stack, now: Moment) {
        let policy = self.machine.policy.clone();
        let folder = self.folder(stack);
        let timer = Timer::new(now, GIVEN, GIVEN);
        let names = folder.memory.keys().cloned().collect();
        let fresh = Guard { timer, policy: Some(policy), names, is_firing: false };
        folder.guard.get_or_insert(fresh).timer = timer;
    }

    /// Undoes all steps of a stack, as `undo.ps1` does where nobody looks on.
    fn undo_all(&mut self, stack: &Stack) {
        let Some(Ok(parameters)) = self.folder(stack).read() else { return };
        let steps = self.folder(stack).steps().unwrap_or_default();
        let mode = Mode::Undo { remove_roles: false };
        let job = Job { parameters, keys: <_>::default(), mode };
        for listed in steps.iter().rev().filter(|s| s.on.contains(&job.parameters.device)) {
            self.perform(Step::of(&listed.id), &job, usize::MAX)
                .expect("only what is set up can fail beforehand");
        }
        self.forget(stack);
    }
}

impl Host {
    /// Says why a stack cannot have the server now: another run is under way, which the run of
    /// another stack is until it is confirmed.
    pub(super) fn busy(&self, stack: &Stack) -> Option<String> {
        const BUSY: &str = "another run is under way";
        if self.run.is_some() {
            return Some(BUSY.to_owned());
        }
        let guarded = self.guarded(stack);
        let names: Vec<&str> = guarded.iter().map(|stack| stack.as_str()).collect();
        let names = names.join(", ");
        (!names.is_empty()).then(|| format!("{BUSY}: that of {names} is not confirmed yet"))
    }

    /// The other stacks whose guard has a policy to put back.
    pub(super) fn guarded(&self, stack: &Stack) -> Vec<&Stack> {
        let holds =
            |folder: &Folder| folder.guard.as_ref().is_some_and(|guard| guard.policy.is_some());
        let others = self.server.folders.iter().filter(|(other, _)| *other != stack);
        others.filter(|(_, folder)| holds(folder)).map(|(other, _)| other).collect()
    }

    /// Does what the guard's task does.
    pub(super) fn fire(&mut self, stack: &Stack, now: Moment) {
        // A run that goes on would set again what is put back here.
        if self.run.as_ref().is_some_and(|run| run.is_task_of(stack)) {
            self.run = None;
        }
        let is_busy = self.busy(stack).is_some();
        let folder = self.server.folder(stack);
        let Some(mut guard) = folder.guard.take() else { return };
        match guard.policy.take() {
            Some(policy) => {
                // The rules come back as they were then, and nobody knows what they are.
                let names: BTreeSet<_> = folder.memory.keys().cloned().chain(guard.names).collect();
                folder.memory = names.into_iter().map(|name| (name, None)).collect();
                self.server.machine.policy = policy;
            }
            None if is_busy => {
                let timer = Timer::new(now, AGAIN, AGAIN);
                folder.guard = Some(Guard { timer, is_firing: true, ..guard });
                return;
            }
            None => self.server.undo_all(stack),
        }
        self.server.folder(stack).is_restored = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::{Request, Then};
    use crate::sandbox::host::stand::tests::Setup;
    use crate::sandbox::host::{Tamper, Trouble};

    #[test]
    fn a_guard_that_nobody_disarms_puts_the_policy_back() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.pass(Duration::from_mins(4));
        assert_eq!(stand.host.rules().count(), 2);
        stand.pass(Duration::from_mins(1));
        assert_eq!(stand.host.rules().count(), 0);
        let state = stand.confirm(Then::Restart);
        assert_eq!(state["guard"], "restored");
        assert_eq!(state["rules"]["vpn-0 Tunnel 1"], 0);
        let boot = stand.host.boot();
        stand.pass(GIVEN);
        assert_eq!(stand.host.boot(), boot, "no restart was ordered");
        // The next run sets again what the policy held, and no more.
        let again = stand.set_up();
        let policy = ["ipsec-settings", "main-mode", "quick-mode", "firewall", "tunnels"];
        assert_eq!(again.changed(), policy);
        assert_eq!(stand.confirm(Then::Nothing)["guard"], "armed");
        stand.pass(GIVEN);
        assert_eq!(stand.host.rules().count(), 2);
    }

    #[test]
    fn a_policy_comes_back_with_the_rules_that_it_had() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.confirm(Then::Nothing);
        let before: Vec<_> = stand.host.rules().cloned().collect();
        stand.setup.keys[1] = "c";
        assert_eq!(stand.set_up().changed(), ["tunnels"]);
        assert_ne!(stand.host.rules().cloned().collect::<Vec<_>>(), before);
        stand.pass(GIVEN);
        assert_eq!(stand.host.rules().cloned().collect::<Vec<_>>(), before);
        let again = stand.set_up();
        assert_eq!(again.step("tunnels")["was"]["vpn-0 Tunnel 1"], "different");
    }

    #[test]
    fn where_nobody_is_let_in_the_guard_fires() {
        let mut stand = Setup::default().ready();
        stand.host.trouble(Trouble::GuardFires);
        assert_eq!(stand.set_up().code, Some(0), "who is connected stays");
        let stack = stand.setup.stack();
        let confirm = Request::Confirm { stack: &stack, then: Then::Nothing };
        assert_eq!(stand.ask(&confirm).code, None);
        assert!(stand.host.is_up(stand.now) && !stand.host.lets_in(stand.now));
        stand.pass(GIVEN + Duration::from_mins(1));
        assert_eq!(stand.confirm(Then::Nothing)["guard"], "restored");
        assert_eq!(stand.host.rules().count(), 0);
    }

    #[test]
    fn a_restart_after_which_nobody_comes_is_undone() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.confirm(Then::Nothing);
        stand.confirm(Then::Restart);
        stand.pass(Duration::from_secs(5));
        stand.wait_for_start();
        assert_eq!(stand.host.rules().count(), 2);
        stand.pass(RESTARTED);
        assert_eq!(stand.host.rules().count(), 0);
        assert_eq!(stand.host.traces(), ["office: its scripts are there"]);
        assert_eq!(stand.confirm(Then::Nothing)["guard"], "restored");
        assert_eq!(stand.set_up().code, Some(0));
    }

    #[test]
    fn a_restart_in_between_leaves_the_guard_five_minutes_after_the_start() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.host.restart(stand.now, &mut stand.draws);
        let fires = stand.host.boot().after(GIVEN);
        stand.pass(fires.before(Duration::from_secs(1)).since(stand.now));
        let is_there = stand.host.rules().count() == 2;
        stand.pass(Duration::from_secs(1));
        assert_eq!(stand.host.rules().count(), 0);
        // Its time was over before only where it came back soon enough for that.
        assert!(is_there || stand.host.is_up(stand.now));
    }

    #[test]
    fn a_rule_that_somebody_changed_is_written_again_under_a_guard() {
        for (n, was) in [(1, "absent"), (2, "disabled")] {
            let mut stand = Setup::default().ready();
            stand.set_up();
            stand.confirm(Then::Nothing);
            let peer = stand.setup.peer(1);
            let what = if n == 1 { Tamper::RuleDeleted(peer) } else { Tamper::RuleDisabled(peer) };
            stand.host.tamper(&what);
            let again = stand.set_up();
            assert_eq!(again.changed(), ["tunnels"]);
            assert_eq!(again.step("tunnels")["was"]["vpn-0 Tunnel 1"], was);
            assert_eq!(again.step("tunnels")["was"]["vpn-0 Tunnel 2"], "right");
            assert!(again.done().contains(" guard=armed "));
        }
    }
}
