//! What a ping through the tunnels finds, and what was negotiated for it.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Host;
use super::document::Prove;
use super::failover::{IN_VAIN, first_reply};
use super::rule::Rule;
use super::scripts::Said;
use crate::address::Stack;
use crate::playbook::Suite;
use crate::sandbox::{Draws, Moment};

/// How many pings a proof counts, and how many bytes each sends through the tunnel.
const PINGS: usize = 5;
const PING_BYTES: usize = 120;

/// What lies between the server and AWS.
pub trait Outside {
    /// Says whether traffic through this rule reaches the VPC and comes back at present: the other
    /// end exists, has the same key and the same suite of quick mode, and knows this server.
    fn carries(&self, rule: &Rule) -> bool;

    /// Says whether this host in the VPC answers a ping at all.
    fn answers(&self, host: Ipv4Addr) -> bool;

    /// Returns the suite of main mode that the other end of this rule takes of those that are
    /// offered, the best first; `None` where it takes none.
    fn main_mode(&self, _rule: &Rule, offered: &[Suite]) -> Option<Suite> {
        offered.first().cloned()
    }
}

/// The rule that carries the traffic to a host.
#[derive(Debug)]
pub(super) struct Carrier<'a> {
    pub(super) rule: &'a Rule,
    main_mode: Suite,
}

impl Host {
    /// Answers `prove.ps1`.
    pub(super) fn prove(
        &mut self,
        stack: &Stack,
        asked: &Prove,
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Said {
        if self.server.folder(stack).parameters.is_none() {
            return Said::failed(now, "nothing is set up from this folder");
        }
        let carrier = self.carrier(outside, asked.ping, None);
        let is_answered = carrier.is_some() && outside.answers(asked.ping);
        let received = if is_answered { PINGS } else { 0 };
        let sent_bytes = if carrier.is_some() { PINGS * PING_BYTES } else { 0 };
        let [main_mode, quick_mode] = Self::associations(carrier.as_ref(), stack);
        let proof = json!({ "sent": PINGS, "received": received,
            "tunnelBytes": { "sent": sent_bytes, "received": received * PING_BYTES },
            "mainMode": main_mode, "quickMode": quick_mode });
        // A ping in vain takes its second.
        let first = if is_answered { first_reply(draws) } else { IN_VAIN };
        let rest = Duration::from_secs(if is_answered { 0 } else { 5 });
        let at = now.after(first).after(rest);
        Said { lines: vec![(at, format!("cgw-proof {proof}"))], ..Said::new(at) }
    }

    /// Finds the first rule that carries traffic to a host, but for one that is off by then.
    pub(super) fn carrier(
        &self,
        outside: &dyn Outside,
        host: Ipv4Addr,
        off: Option<&str>,
    ) -> Option<Carrier<'_>> {
        let takes = |rule: &&Rule| {
            rule.is_enabled && rule.endpoint2.contains(&host) && Some(rule.name.as_str()) != off
        };
        let tried = self.server.machine.rules().iter().filter(takes);
        let negotiated = tried.filter_map(|rule| {
            let offered = self.server.machine.main_mode(&rule.stack);
            let main_mode = outside.main_mode(rule, &offered)?;
            outside.carries(rule).then_some(Carrier { rule, main_mode })
        });
        negotiated.take(1).next()
    }

    /// Returns the security associations with a stack's tunnels: those of main mode and of quick
    /// mode, as `cgw-proof` tells them.
    fn associations(carrier: Option<&Carrier<'_>>, stack: &Stack) -> [Vec<Value>; 2] {
        let Some(Carrier { rule, main_mode }) = carrier.filter(|c| c.rule.stack == *stack) else {
            return [Vec::new(), Vec::new()];
        };
        let told = |kind: &str, suite: &Suite| {
            let Suite { key_exchange, encryption, hash } = suite;
            json!({ "kind": kind, "peer": rule.remote, "encryption": encryption, "hash": hash,
                "keyExchange": key_exchange })
        };
        [vec![told("main", main_mode)], vec![told("quick", &rule.suite())]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::Request;
    use crate::sandbox::host::stand::tests::Setup;

    #[test]
    fn a_ping_proves_a_tunnel_and_how_far_it_came() {
        let mut stand = Setup::default().ready();
        let (stack, ping) = (stand.setup.stack(), stand.setup.target());
        let prove = Request::Prove { stack: &stack, ping };
        assert_eq!(stand.ask(&prove).code, Some(4));
        stand.set_up();
        let proof = stand.ask(&prove).told("cgw-proof ");
        assert_eq!((&proof["sent"], &proof["received"]), (&json!(5), &json!(5)));
        assert!(proof["tunnelBytes"]["received"].as_u64().unwrap() > 0);
        let suite = json!({ "kind": "quick", "peer": "203.0.113.1", "encryption": "AES256",
            "hash": "SHA256", "keyExchange": "DH14" });
        assert_eq!(proof["quickMode"], json!([suite]));
        assert_eq!(proof["mainMode"][0]["keyExchange"], "DH14");
        stand.outside.silent = true;
        let (from, proof) = (stand.now, stand.ask(&prove).told("cgw-proof "));
        assert_eq!((&proof["received"], &proof["quickMode"]), (&json!(0), &json!([suite])));
        assert!(stand.now.since(from) > Duration::from_mins(1));
        stand.outside.broken = vec![stand.setup.peer(1), stand.setup.peer(2)];
        let proof = stand.ask(&prove).told("cgw-proof ");
        assert_eq!(proof["mainMode"], json!([]));
    }
}
