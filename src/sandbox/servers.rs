//! The servers of the account: where each is reached, and what its tunnels lead to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::account::Account;
use super::door::Conversation;
use super::faults::Visit;
use super::host::{Host, Outside, Rule, Talk, Trouble};
use super::region::{End, Ends, Region};
use super::{Draws, Moment};
use crate::address::Stack;

/// How long after its launch a Windows instance lets somebody log in: 4 minutes or more (EC2 user
/// guide, «Windows instances take longer to start»).
const FIRST_START: Duration = Duration::from_mins(5);

impl Account {
    /// Puts a server of its owner's own somewhere in the world.
    pub(super) fn add_server(&mut self, public: Ipv4Addr, private: Ipv4Addr) {
        let host = Host::new(Moment::EARLIEST).with_address(private);
        self.hosts.insert(public.to_string(), host);
        self.changes += 1;
    }

    /// Draws what becomes of a session.
    pub(super) fn visit(&mut self) -> Visit {
        self.faults.as_mut().map_or(Visit::Normal, super::Faults::visit)
    }

    /// Has the server at an address take a document in.
    pub(super) fn converse(
        &mut self,
        address: Ipv4Addr,
        document: &[u8],
        now: Moment,
    ) -> Option<Conversation> {
        self.talk(address, document, now, Host::answer)
    }

    /// Has the agent of Systems Manager on the server at an address take a document in.
    pub(super) fn deliver(
        &mut self,
        address: Ipv4Addr,
        document: &[u8],
        now: Moment,
    ) -> Option<Conversation> {
        self.talk(address, document, now, Host::answer_agent)
    }

    fn talk(
        &mut self,
        address: Ipv4Addr,
        document: &[u8],
        now: Moment,
        answer: fn(&mut Host, &[u8], Moment, &mut Draws, &dyn Outside) -> Talk,
    ) -> Option<Conversation> {
        let stack = whose(document);
        let server = self.server_at(address, now)?;
        let mut host = self.hosts.remove(&server)?;
        let talk = {
            let reach = Reach { publics: self.publics(&server), regions: &self.regions, now };
            answer(&mut host, document, now, &mut self.draws, &reach)
        };
        let boot = host.boot();
        self.note_alarms(&host);
        self.hosts.insert(server.clone(), host);
        self.changes += 1;
        Some(Conversation { server, stack, boot, talk })
    }

    /// Tells a server that a session is lost.
    pub(super) fn hang_up(&mut self, server: &str, stack: &Stack) {
        if let Some(host) = self.hosts.get_mut(server) {
            host.hang_up(stack);
            self.changes += 1;
        }
    }

    /// Says whether a server runs, still since the same start.
    pub(super) fn is_up(&mut self, server: &str, boot: Moment, now: Moment) -> bool {
        let Some(host) = self.hosts.get_mut(server) else { return false };
        host.advance(now);
        host.is_up(now) && host.boot() == boot
    }

    /// Has something go wrong on a server.
    pub(super) fn trouble(&mut self, server: &str, trouble: Trouble) {
        if let Some(host) = self.hosts.get_mut(server) {
            host.trouble(trouble);
        }
    }

    /// Returns the far ends of all tunnels.
    pub(super) fn ends(&mut self, now: Moment) -> Ends {
        let mut ends = BTreeMap::new();
        let mut publics: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        for (instance, public) in self.regions.values().flat_map(Region::publics) {
            publics.entry(instance.to_owned()).or_default().push(public);
        }
        for (server, host) in &mut self.hosts {
            let publics = match server.parse() {
                Ok(own) => vec![own],
                Err(_) => publics.remove(server).unwrap_or_default(),
            };
            host.advance(now);
            if publics.is_empty() || !host.is_up(now) {
                continue;
            }
            let end = |rule: &Rule| End { outside: rule.remote, key: rule.key.clone() };
            let rules: Vec<End> = host.rules().filter(|rule| rule.is_enabled).map(end).collect();
            for public in publics {
                ends.insert(public, rules.clone());
            }
        }
        Ends(ends)
    }

    /// Finds the server that answers at an address; a Windows instance that was launched is one as
    /// soon as it has started.
    pub(super) fn server_at(&mut self, address: Ipv4Addr, now: Moment) -> Option<String> {
        if self.hosts.contains_key(&address.to_string()) {
            return Some(address.to_string());
        }
        let machine = self.regions.values().find_map(|region| region.machine_at(address, now))?;
        if !self.hosts.contains_key(&machine.id) {
            let booted = machine.launched.after(FIRST_START);
            if !machine.is_windows || now < booted {
                return None;
            }
            let host = Host::new(booted).with_address(machine.private_ip);
            self.hosts.insert(machine.id.clone(), host);
        }
        Some(machine.id)
    }

    /// Returns the public addresses of a server.
    fn publics(&self, server: &str) -> Vec<Ipv4Addr> {
        if let Ok(own) = server.parse() {
            return vec![own];
        }
        let all = self.regions.values().flat_map(Region::publics);
        all.filter(|(instance, _)| *instance == server).map(|(_, public)| public).collect()
    }

    fn note_alarms(&mut self, host: &Host) {
        for alarm in host.alarms() {
            if !self.alarms.contains(alarm) {
                self.alarms.push(alarm.clone());
            }
        }
    }
}

/// Whose document it is; `None` if it is none.
fn whose(document: &[u8]) -> Option<Stack> {
    #[derive(serde::Deserialize)]
    struct Whose {
        stack: Stack,
    }
    let line = document.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok().map(|Whose { stack }| stack)
}

/// What lies between a server and AWS.
struct Reach<'a> {
    publics: Vec<Ipv4Addr>,
    regions: &'a BTreeMap<String, Region>,
    now: Moment,
}

impl Outside for Reach<'_> {
    fn carries(&self, rule: &Rule) -> bool {
        self.regions.values().any(|region| {
            region.takes(&self.publics, (rule.remote, rule.key.expose()), rule.endpoint1, self.now)
        })
    }

    fn answers(&self, host: Ipv4Addr) -> bool {
        self.regions.values().any(|region| region.has_host(host, self.now))
    }
}
