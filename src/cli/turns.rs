//! Changes both tunnels one at a time: while one is changed, the other carries the traffic.

use std::net::Ipv4Addr;

use serde_json::json;

use super::change::{self, Carried, ask, interruptible, locked_after};
use super::planned::{show, situation};
use super::session::Session;
use super::{Changing, Code, Common, Stopped};
use crate::address::Stack;
use crate::check;
use crate::event::Events;
use crate::plan::Plan;
use crate::playbook::Off;
use crate::preflight::Situation;
use crate::resource::{self, Dice, Phase, State};
use crate::secret::Secret;
use crate::server::{Failover, Reach, Restart, Way};
use crate::topology;
use crate::tunnel::{Tunnel, Turn};
use crate::ui;

/// What is changed of both tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Their keys.
    Keys,
    /// Their suites.
    Suites,
}

/// How both tunnels are changed.
pub(super) struct Turns<'a> {
    pub(super) what: What,
    pub(super) common: &'a Common,
    pub(super) changing: &'a Changing,
    /// The way to the server, which both ends of a tunnel need.
    pub(super) way: Way,
    /// The host whose answers tell which tunnel carries the traffic.
    pub(super) ping: Ipv4Addr,
    /// Refuses a plan that does what it may not.
    pub(super) allowed: &'a dyn Fn(Plan) -> Result<Plan, Stopped>,
    /// The command that goes on with what is left.
    pub(super) again: &'a str,
}

impl Turns<'_> {
    /// Changes the tunnel that carries nothing, then the other one.
    ///
    /// INVARIANT: a tunnel is changed only while its rule is off and a ping comes back through the
    /// other one. So both are never down at once because of us.
    pub(super) async fn take(self, session: &mut Session) -> Result<Code, Stopped> {
        let tunnels = tunnels(session);
        if tunnels.iter().any(|tunnel| tunnel.key.is_none()) {
            return Err(Stopped::refused(
                "AWS does not tell the pre-shared keys of the tunnels",
                "they are in Secrets Manager: cgw only works with keys that EC2 tells",
            ));
        }
        let carrier = self.carrier(session).await?;
        let (last, first): (Vec<_>, Vec<_>) =
            tunnels.into_iter().partition(|tunnel| tunnel.outside == carrier);
        let mut dice = session.outside.dice();
        let mut turns = first.into_iter().chain(last).map(|tunnel| self.turn(&tunnel, &mut dice));
        let (Some(first), Some(second), None) = (turns.next(), turns.next(), turns.next()) else {
            return Err(Stopped::refused("the connection has not two tunnels", ""));
        };
        let (situation, plan) = self.plan(session, &first)?;
        show(self.common, &situation, &plan);
        session.events.note(format!(
            "then the same for the tunnel {}; while one is changed, the other carries the traffic",
            second.outside
        ));
        ask(session, self.changing, "Change both, one after the other?").await?;
        let trigger = session.trigger.clone();
        interruptible(&trigger, Box::pin(self.both(session, &[first, second]))).await
    }

    async fn both(&self, session: &mut Session, turns: &[Turn; 2]) -> Result<Code, Stopped> {
        let [first, second] = turns;
        let mut seconds = 0.0;
        for (this, other) in [(first, second), (second, first)] {
            let taken = self.one(session, this, other.outside).await;
            match taken.map_err(|stopped| stopped.half_way(self.again))? {
                Ok(gap) => seconds += gap,
                Err(code) => return Ok(code),
            }
        }
        if self.common.json {
            ui::data(&ui::json_line("turns", &json!({ "seconds": seconds })));
        } else {
            ui::data(&format!("both tunnels are changed; {seconds:.1} s without a ping in all\n"));
        }
        Ok(Code::Done)
    }

    fn turn(&self, tunnel: &Tunnel, dice: &mut Dice) -> Turn {
        let key: Option<Secret> = match self.what {
            What::Keys => Some(dice.key()),
            What::Suites => None,
        };
        Turn { outside: tunnel.outside, key }
    }

    /// The tunnel that carries the traffic: without one nothing is changed.
    async fn carrier(&self, session: &Session) -> Result<Ipv4Addr, Stopped> {
        session.events.note(format!("pinging {} to see which tunnel carries it", self.ping));
        let proof = self.way.prove(&session.stack, self.ping, &session.events).await?;
        let crypto = session.declared.crypto.unwrap_or_default();
        check::judge(&proof, crypto)
            .map_err(|fault| Stopped::refused(fault.to_string(), self.hint(fault.hint())))?;
        Ok(proof.quick_mode[0].peer)
    }

    /// Both suites can also be changed at once, where neither tunnel carries anything.
    fn hint(&self, hint: impl std::fmt::Display) -> String {
        match self.what {
            What::Keys => hint.to_string(),
            What::Suites => {
                format!("{hint}; or have both tunnels changed at once, with --allow-replace")
            }
        }
    }

    fn plan(&self, session: &Session, turn: &Turn) -> Result<(Situation, Plan), Stopped> {
        let situation = Situation { turn: Some(turn.clone()), ..situation(session)? };
        let plan = (self.allowed)(session.plan(&topology::desired(&situation)))?;
        Ok((situation, plan))
    }

    /// Changes one tunnel on both ends and proves it; returns for how long no ping came back.
    async fn one(
        &self,
        session: &mut Session,
        turn: &Turn,
        other: Ipv4Addr,
    ) -> Result<Result<f64, Code>, Stopped> {
        let Turn { outside, .. } = *turn;
        let before = tunnels(session).into_iter().find(|tunnel| tunnel.outside == outside);
        let seconds = match self.change(session, turn, other).await {
            Ok(Ok(seconds)) => seconds,
            failed => {
                session.go_on();
                self.switch_on(session, outside, before.as_ref()).await;
                return failed;
            }
        };
        let (stack, events) = (&session.stack, &session.events);
        let proven = match session.must_go_on() {
            Ok(()) => self.fail_over(stack, events, Off::Tunnel(other), outside).await,
            Err(stopped) => Err(stopped),
        };
        if proven.is_err() {
            session.go_on();
            // Both ends are alike, so whatever is off may be on.
            self.switch_all_on(session, outside).await;
        }
        let seconds = seconds + proven?;
        if self.common.json {
            let told = json!({ "tunnel": outside, "seconds": seconds });
            ui::data(&ui::json_line("turn", &told));
        } else {
            ui::data(&format!(
                "tunnel {outside}: changed, and a ping came back through it; {seconds:.1} s without \
                 one\n"
            ));
        }
        session.observe_again().await?;
        Ok(Ok(seconds))
    }

    /// Changes one tunnel on both ends while the other carries the traffic.
    async fn change(
        &self,
        session: &mut Session,
        turn: &Turn,
        other: Ipv4Addr,
    ) -> Result<Result<f64, Code>, Stopped> {
        let Turn { outside, .. } = *turn;
        session.events.note(format!("changing the tunnel {outside}; {other} carries the traffic"));
        session.must_go_on()?;
        let (situation, plan) = self.plan(session, turn)?;
        let (stack, events, mut seconds) = (session.stack.clone(), session.events.clone(), 0.0);
        // Under the lock: else somebody may switch this tunnel on again, and the other one off.
        let first = async {
            seconds = self.fail_over(&stack, &events, Off::Kept(outside), other).await?;
            Ok(())
        };
        let way = Way { restart: Restart::Never, ..self.way.clone() };
        let change = change::Change {
            options: self.changing,
            vpc: situation.cloud.vpc.clone(),
            planner: &|session| Ok(self.plan(session, turn)?.1),
            reach: Some(Reach::Remote(Box::new(way))),
            again: self.again.to_owned(),
        };
        let Carried { code, .. } = locked_after(session, plan.approve(), change, first).await?;
        Ok(if code == Code::Done { Ok(seconds) } else { Err(code) })
    }

    /// Switches a tunnel on again that AWS has as it was before: with another key there its rule
    /// would only negotiate in vain.
    async fn switch_on(&self, session: &mut Session, outside: Ipv4Addr, before: Option<&Tunnel>) {
        let seen = session.observe_again().await;
        let now = tunnels(session).into_iter().find(|tunnel| tunnel.outside == outside);
        // While AWS works on a change it may still show what was before.
        let is_as_before = seen.is_ok() && now.as_ref() == before && is_ready(session);
        if is_as_before {
            self.switch_all_on(session, outside).await;
        } else {
            stays_off(session, outside, "its two ends differ, or it is not known whether");
        }
    }

    async fn switch_all_on(&self, session: &Session, outside: Ipv4Addr) {
        let interrupt = session.cloud_reader().interrupt().clone();
        let way = Way { interrupt, ..self.way.clone() };
        if let Err(error) = way.switch_on(&session.stack, &session.events).await {
            stays_off(session, outside, &error.to_string());
        }
    }

    /// Has a tunnel switched off, and a ping come back through the other one.
    async fn fail_over(
        &self,
        stack: &Stack,
        events: &Events,
        off: Off,
        onto: Ipv4Addr,
    ) -> Result<f64, Stopped> {
        let failover = self.way.fail_over(stack, self.ping, off, events).await?;
        match failover {
            Failover { to: Some(to), seconds: Some(seconds), .. } if to == onto => Ok(seconds),
            Failover { from, .. } => Err(Stopped::with(
                Code::Failed,
                format!("with the tunnel {from} switched off no ping came back through {onto}"),
                format!(
                    "{from} carries the traffic as before; look with `cgw test`, then {}",
                    self.again
                ),
            )),
        }
    }
}

fn tunnels(session: &Session) -> Vec<Tunnel> {
    let live = resource::find(&session.world, &session.stack);
    let connections = live.into_iter().filter_map(|node| {
        let State::VpnConnection(state) = node.state else { return None };
        Some(state.tunnels)
    });
    connections.flatten().collect()
}

/// Says whether AWS is done with whatever it was asked to do to the connection.
fn is_ready(session: &Session) -> bool {
    let live = resource::find(&session.world, &session.stack);
    let mut connections = live.iter().filter(|node| matches!(node.state, State::VpnConnection(_)));
    connections.all(|node| node.state.phase() == Phase::Ready)
}

fn stays_off(session: &Session, outside: Ipv4Addr, because: &str) {
    session.events.warn(format!(
        "the rule of the tunnel {outside} may stay off for an hour, and the other one carries the \
         traffic: {because}"
    ));
}
