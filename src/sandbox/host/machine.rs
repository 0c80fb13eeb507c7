//! What of a Windows Server the steps read and set, as texts by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use super::step::{Setting, Step};
use crate::address::Stack;
use crate::playbook::Suite;

/// What one step reads or sets, by field.
pub(super) type Texts = BTreeMap<String, String>;

/// The settings of the machine; what is not in it is as on a fresh server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// What an export of the firewall's policy holds.
    pub(super) policy: Policy,
    settings: BTreeMap<String, Texts>,
    /// Roles that are installed now are only complete after a restart.
    pub(super) is_install_pending: bool,
}

/// The policy of Windows Firewall with its rules for IPsec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    settings: BTreeMap<String, Texts>,
    rules: Vec<Rule>,
}

/// The name under which the machine keeps what a step sets; an opening of the firewall is a stack's.
fn place(step: Step, stack: &Stack) -> String {
    match step {
        Step::Firewall => format!("{} of {stack}", step.id()),
        Step::Preflight
        | Step::ChecksumOffload
        | Step::Roles
        | Step::Routing
        | Step::IpsecSettings
        | Step::UdpEncapsulation
        | Step::MainMode
        | Step::QuickMode
        | Step::Mtu
        | Step::ForeignRules
        | Step::Tunnels
        | Step::Keepalive
        | Step::DeadGateway => step.id().to_owned(),
    }
}

impl Machine {
    fn settings(&mut self, setting: &Setting) -> &mut BTreeMap<String, Texts> {
        if setting.is_in_policy { &mut self.policy.settings } else { &mut self.settings }
    }

    /// Reads what a step sets.
    pub(super) fn read(&self, step: Step, stack: &Stack) -> Texts {
        let setting = step.setting();
        let all = if setting.is_in_policy { &self.policy.settings } else { &self.settings };
        all.get(&place(step, stack)).cloned().unwrap_or_else(|| setting.fresh())
    }

    /// Sets some fields.
    pub(super) fn write(&mut self, step: Step, stack: &Stack, put: Texts) {
        let (setting, mut texts) = (step.setting(), self.read(step, stack));
        texts.extend(put);
        let is_fresh = texts == setting.fresh();
        let all = self.settings(&setting);
        all.insert(place(step, stack), texts);
        if is_fresh {
            all.remove(&place(step, stack));
        }
    }

    /// Returns the rules in the order in which Windows has them.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.policy.rules
    }

    /// Writes a rule in the place of that with its name.
    pub(super) fn put_rule(&mut self, rule: Rule) {
        self.remove_rule(&rule.name);
        self.policy.rules.push(rule);
        self.policy.rules.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Removes a rule; says whether there was one.
    pub(super) fn remove_rule(&mut self, name: &str) -> bool {
        let before = self.policy.rules.len();
        self.policy.rules.retain(|rule| rule.name != name);
        self.policy.rules.len() < before
    }

    /// Switches a rule on or off, if it is there.
    pub(super) fn switch(&mut self, name: &str, on: bool) {
        for rule in self.policy.rules.iter_mut().filter(|rule| rule.name == name) {
            rule.is_enabled = on;
        }
    }

    /// Returns what main mode offers, the best first.
    pub(super) fn main_mode(&self, stack: &Stack) -> Vec<Suite> {
        let texts = self.read(Step::MainMode, stack);
        let suite = |text: &str| {
            let mut words = text.split('-').map(str::to_owned);
            Some(Suite {
                key_exchange: words.next()?,
                encryption: words.next()?,
                hash: words.next()?,
            })
        };
        texts["suites"].split(',').filter_map(suite).collect()
    }

    /// Completes what a restart completes.
    pub(super) fn start(&mut self) {
        self.is_install_pending = false;
        let roles = self.settings.get_mut(Step::Roles.id());
        for text in roles.into_iter().flat_map(Texts::values_mut) {
            if text == "InstallPending" {
                "Installed".clone_into(text);
            }
        }
        if let Some(routing) = self.settings.get_mut(Step::Routing.id()) {
            let state = if routing["start"] == "Auto" { "Running" } else { "Stopped" };
            routing.insert("state".to_owned(), state.to_owned());
        }
    }

    /// Returns the roles that are installed, or will be with a restart.
    pub(super) fn roles(&self) -> Vec<String> {
        let roles = self.settings.get(Step::Roles.id()).into_iter().flatten();
        roles.filter(|(_, is)| *is != "Available").map(|(role, _)| role.clone()).collect()
    }

    /// Says what differs from a fresh server, but for the roles.
    pub(super) fn traces(&self) -> Vec<String> {
        let mut found = Vec::new();
        let all = self.policy.settings.iter().chain(&self.settings);
        for (place, texts) in all.filter(|(place, _)| *place != Step::Roles.id()) {
            let fresh = Step::of(place.split(' ').next().unwrap_or_default());
            let fresh = fresh.map(|step| step.setting().fresh()).unwrap_or_default();
            let differs = |(field, text): &(&String, &String)| fresh.get(*field) != Some(*text);
            for (field, text) in texts.iter().filter(differs) {
                found.push(format!("{place}: {field} is '{text}'"));
            }
        }
        for rule in &self.policy.rules {
            let how = if rule.is_enabled { "is there" } else { "is there, switched off" };
            found.push(format!("the rule {} of {} {how}", rule.name, rule.stack));
        }
        found
    }
}
