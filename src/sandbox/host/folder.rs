//! What lies on the server in the folder of a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::machine::Texts;
use super::parameters::{Listed, Parameters, manifest};
use super::rule::Rule;
use crate::playbook::PARAMETERS;
use crate::sandbox::Moment;
use crate::sandbox::Unshown;

/// The files of a stack, and the scheduled tasks that run its scripts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Folder {
    scripts: BTreeSet<String>,
    manifest: String,
    /// `parameters.json`, until an undo has succeeded.
    pub(super) parameters: Option<String>,
    /// `keys.txt`, until a run reads it.
    pub(super) keys: Option<Unshown>,
    /// `saved.json`: settings as they were before this stack changed them, by step and field.
    pub(super) saved: BTreeMap<String, Texts>,
    /// `set.json`: all texts that this stack has set of each field.
    set: BTreeMap<String, BTreeSet<String>>,
    /// `rules.json`: the rules of this stack, as they were written if that is known.
    pub(super) memory: BTreeMap<String, Option<Rule>>,
    /// `journal.jsonl`.
    pub(super) journal: Journal,
    pub(super) guard: Option<Guard>,
    /// `restored.json`: the guard has put the policy back, or all that was set.
    pub(super) is_restored: bool,
    /// `pending.json`: in which boot a restart became necessary.
    pub(super) pending: Option<i64>,
    /// The task that switches rules on again.
    pub(super) restore: Option<Timer>,
    /// The task that pings: what, and from where.
    pub(super) keepalive: Option<String>,
    /// When the session that follows an undo removes the folder.
    pub(super) leaving: Option<Moment>,
}

/// The lines of the last run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) digest: String,
    pub(super) lines: Vec<(Moment, String)>,
}

/// When a scheduled task runs: at a moment, and after every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    pub(super) at: Moment,
    after_start: Duration,
}

impl Timer {
    /// Sets one.
    pub(super) fn new(now: Moment, once: Duration, after_start: Duration) -> Self {
        Self { at: now.after(once), after_start }
    }

    /// Sets it for a boot: a moment that passed while the server was down is missed.
    pub(super) fn start(&mut self, boot: Moment) {
        let started = boot.after(self.after_start);
        self.at = if self.at > boot { self.at.min(started) } else { started };
    }
}

/// What an undo finds of another stack that needs a step's setting too.
#[derive(Debug)]
pub(super) struct Heir {
    /// What it wants.
    pub(super) wanted: Texts,
}

impl Folder {
    /// Takes in what is pushed.
    pub(super) fn take(&mut self, files: BTreeMap<String, String>, keys: Option<Unshown>) {
        for (name, contents) in files {
            match name.as_str() {
                PARAMETERS => self.parameters = Some(contents),
                "manifest.json" => self.manifest = contents,
                _ => {
                    self.scripts.insert(name);
                }
            }
        }
        self.keys = keys.or(self.keys.take());
        self.leaving = None;
    }

    /// Says whether a script is there.
    pub(super) fn has(&self, script: &str) -> bool {
        self.scripts.contains(script)
    }

    /// Reads the parameters, if there are any.
    pub(super) fn read(&self) -> Option<Result<Parameters, String>> {
        self.parameters.as_deref().map(Parameters::read)
    }

    /// Reads the list of steps.
    pub(super) fn steps(&self) -> Result<Vec<Listed>, String> {
        manifest(&self.manifest)
    }

    /// Returns what a step has to put, and keeps how it was before the first change.
    pub(super) fn put(&mut self, step: &str, was: &Texts, wanted: &Texts, whole: bool) -> Texts {
        let differs = |(field, text): &(&String, &String)| was.get(*field) != Some(*text);
        let put: Texts =
            wanted.iter().filter(differs).map(|(f, t)| (f.clone(), t.clone())).collect();
        if put.is_empty() {
            return put;
        }
        let saved = self.saved.entry(step.to_owned()).or_default();
        for field in if whole { was.keys() } else { put.keys() } {
            saved.entry(field.clone()).or_insert(was.get(field).cloned().unwrap_or_default());
        }
        for (field, text) in &put {
            self.set.entry(format!("{step} {field}")).or_default().insert(text.clone());
        }
        put
    }

    /// Returns what an undo has to put back for a step, and the fields that are somebody else's by
    /// now.
    ///
    /// What other stacks need stays as they want it.
    pub(super) fn put_back(
        &self,
        step: &str,
        was: &Texts,
        heirs: &[Heir],
        whole: bool,
    ) -> (Texts, Vec<String>) {
        let (mut put, mut kept) = (Texts::new(), Vec::new());
        for (field, before) in self.saved.get(step).into_iter().flatten() {
            let is = was.get(field).cloned().unwrap_or_default();
            let mut wants = heirs.iter().filter_map(|heir| heir.wanted.get(field));
            let target = match wants.clone().find(|text| **text == is).or_else(|| wants.next()) {
                Some(text) => text,
                None if heirs.is_empty() => before,
                // A field that the others do not set stays with them too.
                None => &is,
            };
            if *target == is {
                continue;
            }
            if self.has_set(step, field, &is) {
                put.insert(field.clone(), target.clone());
            } else {
                kept.push(field.clone());
            }
        }
        if whole && !kept.is_empty() {
            put.clear();
        }
        (put, kept)
    }

    fn has_set(&self, step: &str, field: &str, text: &str) -> bool {
        self.set.get(&format!("{step} {field}")).is_some_and(|texts| texts.contains(text))
    }

    /// Takes over what another stack saved of a step: the last one to leave puts that back.
    pub(super) fn inherit(&mut self, step: &str, leaving: &Self) {
        for (field, before) in leaving.saved.get(step).into_iter().flatten() {
            let own = self.saved.get(step).and_then(|saved| saved.get(field));
            // What the other one had set is nothing to go back to.
            if own.is_none_or(|text| leaving.has_set(step, field, text)) {
                self.saved
                    .entry(step.to_owned())
                    .or_default()
                    .insert(field.clone(), before.clone());
            }
            let name = format!("{step} {field}");
            let texts = leaving.set.get(&name).cloned().unwrap_or_default();
            self.set.entry(name).or_default().extend(texts);
        }
    }

    /// Says whether a restart is due that became necessary in this boot.
    pub(super) fn is_restart_pending(&self, boot: Moment) -> bool {
        self.pending.is_some_and(|pending| is_same_boot(pending, boot.second()))
    }

    /// Forgets what was set: an undo has taken it back.
    pub(super) fn clear(&mut self) {
        let Self { scripts, manifest, journal, leaving, .. } = std::mem::take(self);
        *self = Self { scripts, manifest, journal, leaving, ..Self::default() };
    }

    /// Says what is left of the stack on the server.
    pub(super) fn traces(&self) -> Vec<&'static str> {
        let left = [
            (!self.scripts.is_empty(), "its scripts are there"),
            (self.parameters.is_some(), "its parameters are there"),
            (self.keys.is_some(), "its keys are there"),
            (self.guard.is_some(), "its guard is armed"),
            (self.restore.is_some(), "a task will switch its rules on"),
            (self.keepalive.is_some(), "a task pings"),
        ];
        left.iter().filter(|(is_so, _)| *is_so).map(|(_, what)| *what).collect()
    }
}

/// The boot time is worked out from the clock, which may be set meanwhile.
pub(super) fn is_same_boot(one: i64, other: i64) -> bool {
    (one - other).abs() < 120
}
