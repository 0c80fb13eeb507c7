//! What lies on the server in the folder of a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::kept::Kept;
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
    /// Of what is this stack's own.
    pub(super) kept: Kept,
    /// `used.json`: the settings of the server that this stack needs, by step.
    pub(super) used: BTreeMap<String, Texts>,
    /// `rules.json`: the rules of this stack, as they were written if that is known.
    pub(super) memory: BTreeMap<String, Option<Rule>>,
    /// `journal.jsonl`.
    pub(super) journal: Journal,
    pub(super) guard: Option<Guard>,
    /// `restored.json`: the guard has put the policy back, or all that was set.
    pub(super) is_restored: bool,
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
