//! The steps that write the rules of the tunnels and switch off those of others.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde_json::json;

use super::folder::Folder;
use super::machine::{Machine, Texts};
use super::parameters::{Parameters, TunnelTo};
use super::perform::{Job, Mode, Outcome, Server};
use super::rule::Rule;
use super::step::Step;
use crate::address::Stack;

/// A rule that this stack has not made and that would match its traffic.
#[derive(Debug)]
pub(super) struct Foreign<'a> {
    pub(super) rule: &'a Rule,
    /// It carries more than that, to somewhere else.
    pub(super) is_beyond: bool,
    /// The other stack on the server that has made it, if one has.
    pub(super) stack: Option<&'a Stack>,
}

impl Foreign<'_> {
    /// Says whether it may be switched off where that was allowed.
    pub(super) fn may_be_replaced(&self) -> bool {
        !self.is_beyond && self.stack.is_none()
    }
}

/// Finds those that lead to the addresses of these tunnels, or these networks through another one.
pub(super) fn foreign<'a>(
    machine: &'a Machine,
    folders: &'a BTreeMap<Stack, Folder>,
    parameters: &Parameters,
) -> Vec<Foreign<'a>> {
    let maker = |rule: &Rule| {
        let made = folders.iter().find(|(_, folder)| folder.memory.contains_key(&rule.name));
        made.map(|(stack, _)| stack)
    };
    let is_own = |rule: &Rule| {
        parameters.tunnels.iter().any(|tunnel| tunnel.name == rule.name)
            || maker(rule) == Some(&parameters.stack)
    };
    let judge = |rule: &'a Rule| {
        let touches = |one: Ipv4Net, other: Ipv4Net| one.contains(&other) || other.contains(&one);
        let is_to_ours = parameters.peers().any(|peer| peer == rule.remote);
        let (site, cloud) = (parameters.site_cidr, parameters.cloud_cidr);
        let is_met = touches(site, rule.endpoint1) && touches(cloud, rule.endpoint2);
        let is_within = site.contains(&rule.endpoint1) && cloud.contains(&rule.endpoint2);
        let (is_beyond, stack) = (!is_to_ours && !is_within, maker(rule));
        (is_to_ours || is_met).then_some(Foreign { rule, is_beyond, stack })
    };
    machine.rules().iter().filter(|rule| !is_own(rule)).filter_map(judge).collect()
}

impl Server {
    /// Gives each tunnel its rule, the first `limit` of them; an undo leaves none.
    pub(super) fn tunnels(&mut self, job: &Job, limit: usize) -> Outcome {
        let (parameters, mut outcome) = (&job.parameters, Outcome::default());
        let (mut was, mut now) = (Texts::new(), Texts::new());
        let tunnels: &[TunnelTo] = match job.mode {
            Mode::SetUp => &parameters.tunnels,
            Mode::Undo { .. } => &[],
        };
        let Self { machine, folders, .. } = self;
        let folder = folders.entry(parameters.stack.clone()).or_default();
        if let Mode::Undo { .. } = job.mode {
            for tunnel in &parameters.tunnels {
                folder.memory.entry(tunnel.name.clone()).or_default();
            }
        }
        let is_old = |name: &&String| !tunnels.iter().any(|tunnel| tunnel.name == **name);
        let old: Vec<String> = folder.memory.keys().filter(is_old).cloned().collect();
        for name in old {
            folder.memory.remove(&name);
            if machine.remove_rule(&name) {
                outcome.changed = true;
                was.insert(name.clone(), "there".to_owned());
                now.insert(name, "absent".to_owned());
            }
        }
        for tunnel in tunnels.iter().take(limit) {
            let key = job.keys.get(&tunnel.outside_ip).expect("each tunnel's key has been read");
            let rule = Rule::of(parameters, tunnel, key);
            let state = state(machine, folder, &rule);
            was.insert(rule.name.clone(), state.to_owned());
            now.insert(rule.name.clone(), "right".to_owned());
            if state != "right" {
                outcome.changed = true;
                machine.put_rule(rule.clone());
                folder.memory.insert(rule.name.clone(), Some(rule));
            }
        }
        Outcome { was: json!(was), now: json!(now), ..outcome }
    }

    /// Switches off the rules of others, if that was allowed; an undo switches them on again.
    pub(super) fn foreign_rules(&mut self, job: &Job) -> Outcome {
        let (parameters, id) = (&job.parameters, Step::ForeignRules.id());
        let Self { machine, folders, .. } = self;
        let found = foreign(machine, folders, parameters).into_iter();
        let found = found.filter(Foreign::may_be_replaced);
        let wanted: Texts = found.map(|one| (one.rule.name.clone(), "False".to_owned())).collect();
        let kept = &mut folders.entry(parameters.stack.clone()).or_default().kept;
        let saved = kept.saved(id);
        let is_known =
            |rule: &&Rule| wanted.contains_key(&rule.name) || saved.contains_key(&rule.name);
        let text = |is_enabled: bool| if is_enabled { "True" } else { "False" }.to_owned();
        let known = machine.rules().iter().filter(is_known);
        let was: Texts = known.map(|rule| (rule.name.clone(), text(rule.is_enabled))).collect();
        let (put, kept) = match job.mode {
            Mode::SetUp if parameters.replace_rules => {
                (kept.put(id, &was, &wanted, false), Vec::new())
            }
            Mode::SetUp => (Texts::new(), Vec::new()),
            Mode::Undo { .. } => {
                // A rule that its owner has deleted since is nobody's matter any more.
                let (mut put, mut kept) = kept.put_back(id, &was, &saved, false);
                put.retain(|name, _| was.contains_key(name));
                kept.retain(|name| was.contains_key(name));
                (put, kept)
            }
        };
        for (name, is_enabled) in &put {
            machine.switch(name, is_enabled == "True");
        }
        let mut now = was.clone();
        let changed = !put.is_empty();
        now.extend(put);
        Outcome { was: json!(was), now: json!(now), changed, kept, ..Outcome::default() }
    }
}

/// How the rule that is there stands to the one that is wanted.
fn state(machine: &Machine, folder: &Folder, wanted: &Rule) -> &'static str {
    let Some(is) = machine.rules().iter().find(|rule| rule.name == wanted.name) else {
        return "absent";
    };
    let ends = |rule: &Rule| (rule.local, rule.remote);
    let networks = |rule: &Rule| (rule.endpoint1, rule.endpoint2);
    let remembered = folder.memory.get(&wanted.name).and_then(Option::as_ref);
    let judged = [
        (!is.is_enabled, "disabled"),
        (ends(is) != ends(wanted), "for another endpoint"),
        (networks(is) != networks(wanted), "for other networks"),
        (!is.reads_like(wanted) || remembered != Some(wanted), "different"),
    ];
    judged.iter().find(|(is_so, _)| *is_so).map_or("right", |(_, state)| state)
}
