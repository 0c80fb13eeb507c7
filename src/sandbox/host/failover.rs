//! Switches the rule of a tunnel off until the other one carries the traffic.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Host;
use super::document::Failover;
use super::folder::{Folder, Timer};
use super::parameters::Parameters;
use super::pings::Outside;
use super::run::{Run, Work};
use super::scripts::{BUSY, Said};
use crate::address::Stack;
use crate::sandbox::{Draws, Moment};

/// A rule that is being switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Switching {
    rule: String,
    /// Whether it is off by now.
    is_off: bool,
    /// When it is told what came of it.
    end: Moment,
    /// Whether it stays off then.
    stays_off: bool,
}

/// After how long a rule is switched on again, whatever comes.
const RESTORE: Duration = Duration::from_mins(5);
/// The same where it was to stay off.
const KEPT: Duration = Duration::from_hours(1);
/// When that is done after a start.
const STARTED: Duration = Duration::from_mins(1);
/// How long 60 pings in vain take: a second each, and one between two of them.
pub(super) const IN_VAIN: Duration = Duration::from_secs(119);
/// How long switching on waits for the end of a run.
const TURN: Duration = Duration::from_mins(4);

impl Host {
    /// Answers `failover.ps1`.
    pub(super) fn fail_over(
        &mut self,
        stack: &Stack,
        asked: &Failover,
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Said {
        let Some(parameters) = self.server.folder(stack).read() else {
            return Said::failed(now, "nothing is set up from this folder");
        };
        let parameters = match parameters {
            Ok(parameters) => parameters,
            Err(why) => return Said::failed(now, &why),
        };
        if asked.enable {
            // What may be about to switch a rule off has its end first.
            let at = self.clone().until_idle(None).unwrap_or_else(|restart| restart);
            let at = at.max(now).min(now.after(TURN));
            self.server.folder(stack).restore = Some(Timer::new(at, Duration::ZERO, STARTED));
            return Said { at, ..Said::new(now) };
        }
        if let Some(why) = self.busy(stack) {
            return Said::ended(now, BUSY, &why);
        }
        // Whoever comes over a new connection says that the server can be reached.
        self.server.folder(stack).disarm();
        self.switch_off(&parameters, asked, now, draws, outside).unwrap_or_else(|said| said)
    }

    fn switch_off(
        &mut self,
        parameters: &Parameters,
        asked: &Failover,
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Result<Said, Said> {
        let (from_asked, stack) = (asked.from, &parameters.stack);
        let ping = asked.ping.filter(|ping| parameters.cloud_cidr.contains(ping));
        let ping = ping.ok_or_else(|| Said::failed(now, "that is not in the VPC's network"))?;
        let refuse = |at: Moment, why: String| Said::failed(at, &why);
        let carrier = self.carrier(outside, ping, None).filter(|_| outside.answers(ping));
        let carrier = carrier.ok_or_else(|| {
            let why = format!("{ping} does not answer: there is nothing to fail over");
            refuse(now.after(IN_VAIN), why)
        })?;
        let off_at = now.after(first_reply(draws));
        if carrier.rule.stack != *stack {
            return Err(refuse(off_at, format!("{ping} answers, but not through a tunnel")));
        }
        let from = from_asked.unwrap_or(carrier.rule.remote);
        let is_from = |rule: &&super::parameters::TunnelTo| rule.outside_ip == from;
        let rule = parameters.tunnels.iter().find(is_from).map(|tunnel| tunnel.name.clone());
        let rule = rule.ok_or_else(|| refuse(off_at, format!("there is no tunnel to {from}")))?;
        for other in parameters.tunnels.iter().filter(|tunnel| tunnel.outside_ip != from) {
            if !self.is_on(&other.name) {
                let name = &other.name;
                let why =
                    format!("the rule of the other tunnel, {name}, is not on: both would be off");
                return Err(refuse(off_at, why));
            }
        }
        let after = self.carrier(outside, ping, Some(&rule)).map(|carrier| carrier.rule.remote);
        let took = match after {
            Some(_) if carrier.rule.name == rule => takes_over(draws),
            Some(_) => Duration::from_millis(100),
            None => IN_VAIN,
        };
        let end = off_at.after(took);
        let line = told(from, after, took);
        let stays_off = asked.keep && after.is_some();
        let work = Work::Switching(Switching { rule, is_off: false, end, stays_off });
        self.run = Some(Run { stack: stack.clone(), next: off_at, work });
        Ok(Said { lines: vec![(end, line)], at: end, ..Said::new(now) })
    }

    /// Switches the rule off, and later on again; says when it goes on.
    pub(super) fn switch_on(
        &mut self,
        stack: &Stack,
        switching: &mut Switching,
        now: Moment,
    ) -> Option<Moment> {
        let Switching { rule, is_off, end, stays_off } = switching;
        if *is_off {
            if *stays_off {
                self.server.folder(stack).restore = Some(Timer::new(now, KEPT, STARTED));
            } else {
                self.enable_rules(stack);
            }
            return None;
        }
        self.server.folder(stack).restore = Some(Timer::new(now, RESTORE, STARTED));
        self.server.machine.switch(rule, false);
        *is_off = true;
        Some(*end)
    }

    /// Switches all rules of a stack on, and removes the task that would.
    pub(super) fn enable_rules(&mut self, stack: &Stack) {
        let folder = self.server.folder(stack);
        folder.restore = None;
        let names = rule_names(folder);
        for name in names {
            self.server.machine.switch(&name, true);
        }
    }

    /// Does what the task does that switches rules on: the guard of another stack would put them back
    /// as they were, so it looks again.
    pub(super) fn enable_again(&mut self, stack: &Stack, now: Moment) {
        self.enable_rules(stack);
        if !self.guarded(stack).is_empty() {
            self.server.folder(stack).restore = Some(Timer::new(now, RESTORE, STARTED));
        }
    }

    fn is_on(&self, name: &str) -> bool {
        self.server.machine.rules().iter().any(|rule| rule.name == name && rule.is_enabled)
    }
}

fn rule_names(folder: &Folder) -> Vec<String> {
    let declared = folder.read().and_then(Result::ok).map(|p| p.tunnels).unwrap_or_default();
    let names = declared.into_iter().map(|tunnel| tunnel.name);
    names.chain(folder.memory.keys().cloned()).collect()
}

fn told(from: Ipv4Addr, to: Option<Ipv4Addr>, took: Duration) -> String {
    // One decimal, as the script rounds.
    let seconds = to.map(|_| (took.as_secs_f64() * 10.0).round() / 10.0);
    let line = json!({ "from": from, "to": to, "seconds": seconds, "received": to.is_some() });
    format!("cgw-failover {line}")
}

/// Draws how long the first reply takes: what brings a tunnel up takes some seconds.
pub(super) fn first_reply(draws: &mut Draws) -> Duration {
    draws.span("host first reply", Duration::from_millis(200)..=Duration::from_secs(8))
}

fn takes_over(draws: &mut Draws) -> Duration {
    draws.span("host failover", Duration::from_secs(3)..=Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::{Off, Request};
    use crate::sandbox::host::Tamper;
    use crate::sandbox::host::stand::tests::{Heard, Setup, Stand};

    fn ready() -> Stand {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.confirm(crate::playbook::Then::Nothing);
        stand
    }

    fn fail_over(stand: &mut Stand, off: Off) -> Heard {
        let (stack, ping) = (stand.setup.stack(), stand.setup.target());
        stand.ask(&Request::Failover { stack: &stack, ping, off })
    }

    fn on(stand: &Stand) -> Vec<bool> {
        stand.host.rules().map(|rule| rule.is_enabled).collect()
    }

    #[test]
    fn the_other_tunnel_takes_over_and_the_first_is_on_again() {
        let mut stand = ready();
        let told = fail_over(&mut stand, Off::Carrier).told("cgw-failover ");
        assert_eq!((&told["from"], &told["to"]), (&json!("203.0.113.1"), &json!("203.0.113.2")));
        assert!(told["seconds"].as_f64().unwrap() >= 3.0, "{told}");
        assert_eq!(on(&stand), [true, true]);
        stand.outside.broken = vec![stand.setup.peer(2)];
        let told = fail_over(&mut stand, Off::Carrier).told("cgw-failover ");
        assert_eq!((&told["to"], &told["received"]), (&json!(null), &json!(false)));
        assert_eq!(on(&stand), [true, true]);
    }

    #[test]
    fn a_rule_that_is_kept_off_is_on_again_after_an_hour_a_start_or_when_asked() {
        let mut stand = ready();
        let keep = Off::Kept(stand.setup.peer(1));
        fail_over(&mut stand, keep);
        assert_eq!(on(&stand), [false, true]);
        let mut other = stand.clone();
        stand.pass(Duration::from_mins(59));
        assert_eq!(on(&stand), [false, true]);
        stand.pass(Duration::from_mins(1));
        assert_eq!(on(&stand), [true, true]);
        let mut asked = other.clone();
        other.host.restart(other.now, &mut other.draws);
        other.wait_for_start();
        other.pass(STARTED);
        assert_eq!(on(&other), [true, true]);
        let stack = asked.setup.stack();
        assert_eq!(asked.ask(&Request::SwitchOn { stack: &stack }).code, Some(0));
        assert_eq!(on(&asked), [true, true]);
    }

    #[test]
    fn nothing_is_switched_off_while_the_other_rule_is_off() {
        let mut stand = ready();
        stand.host.tamper(&Tamper::RuleDisabled(stand.setup.peer(2)));
        let refused = fail_over(&mut stand, Off::Carrier);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("both would be off"), "{}", refused.stderr);
        assert_eq!(on(&stand), [true, false]);
        stand.host.tamper(&Tamper::RuleDisabled(stand.setup.peer(1)));
        let refused = fail_over(&mut stand, Off::Carrier);
        assert!(refused.stderr.contains("does not answer"), "{}", refused.stderr);
    }

    #[test]
    fn a_restart_in_between_leaves_no_rule_off() {
        let mut stand = ready();
        let (stack, ping) = (stand.setup.stack(), stand.setup.target());
        let document = Request::Failover { stack: &stack, ping, off: Off::Carrier }.document();
        let talk = stand.host.answer(&document, stand.now, &mut stand.draws, &stand.outside);
        stand.pass(talk.at.before(Duration::from_secs(1)).since(stand.now));
        assert_eq!(on(&stand), [false, true]);
        stand.host.restart(stand.now, &mut stand.draws);
        stand.wait_for_start();
        stand.pass(STARTED);
        assert_eq!(on(&stand), [true, true]);
    }
}
