//! What a person changes on the server by hand.

use std::net::Ipv4Addr;

use super::Host;
use super::machine::Texts;
use super::step::Step;

/// One such change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tamper {
    /// What a step sets is set otherwise; the step's id.
    Setting(String),
    /// The rule of the tunnel to this address is deleted.
    RuleDeleted(Ipv4Addr),
    /// It is switched off.
    RuleDisabled(Ipv4Addr),
}

/// What a person sets in the place of what a step has set.
const BY_HAND: [(Step, &str, &str); 9] = [
    (Step::ChecksumOffload, "tcp4", "RxEnabled"),
    (Step::Routing, "forwarding", "Disabled"),
    (Step::IpsecSettings, "idleSeconds", "1200"),
    (Step::UdpEncapsulation, "AssumeUDPEncapsulationContextOnSendRule", "1"),
    (Step::MainMode, "suites", "DH19-AES256-SHA256"),
    (Step::QuickMode, "proposals", "ESP:SHA1-AES192+60min+100000kb"),
    (Step::Firewall, "ping", "Inbound Block True Any ICMPv4 8 from Any"),
    (Step::Mtu, "mtu", "1400"),
    (Step::DeadGateway, "EnableDeadGWDetect", "0"),
];

impl Host {
    /// Does what a person does by hand.
    pub fn tamper(&mut self, what: &Tamper) {
        let peer = match what {
            Tamper::Setting(id) => return self.set_by_hand(id),
            Tamper::RuleDeleted(peer) | Tamper::RuleDisabled(peer) => *peer,
        };
        let names: Vec<String> =
            self.rules().filter(|rule| rule.remote == peer).map(|rule| rule.name.clone()).collect();
        for name in names {
            match what {
                Tamper::RuleDeleted(_) => {
                    self.server.machine.remove_rule(&name);
                }
                Tamper::RuleDisabled(_) | Tamper::Setting(_) => {
                    self.server.machine.switch(&name, false);
                }
            }
        }
    }

    fn set_by_hand(&mut self, id: &str) {
        let found = BY_HAND.iter().find(|(step, _, _)| step.id() == id);
        let stacks: Vec<_> = self.server.folders.keys().cloned().collect();
        for stack in stacks {
            match found {
                Some((step, field, text)) => {
                    let put = Texts::from([((*field).to_owned(), (*text).to_owned())]);
                    self.server.machine.write(*step, &stack, put);
                }
                None if id == Step::Keepalive.id() => {
                    self.server.folder(&stack).keepalive = Some("something else".to_owned());
                }
                None => {}
            }
        }
    }
}
