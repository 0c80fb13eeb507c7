//! What was there before cgw changed it, and what cgw has set: `saved.json` and `set.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::machine::Texts;

/// The server's, or those of a stack for what is its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Settings as they were before a stack changed them for the first time, by step and field.
    saved: BTreeMap<String, Texts>,
    /// All texts that were set of each field of a step.
    set: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Kept {
    /// Returns how a step's settings were.
    pub(super) fn saved(&self, step: &str) -> Texts {
        self.saved.get(step).cloned().unwrap_or_default()
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
        self.note(step, &put);
        put
    }

    /// Keeps what is being set.
    pub(super) fn note(&mut self, step: &str, put: &Texts) {
        let set = self.set.entry(step.to_owned()).or_default();
        for (field, text) in put {
            set.entry(field.clone()).or_default().insert(text.clone());
        }
    }

    /// Returns what an undo has to put so that a step's texts are these again, and the fields that are
    /// somebody else's by now.
    pub(super) fn put_back(
        &self,
        step: &str,
        was: &Texts,
        before: &Texts,
        whole: bool,
    ) -> (Texts, Vec<String>) {
        let (mut put, mut kept) = (Texts::new(), Vec::new());
        for (field, before) in before {
            let is = was.get(field).cloned().unwrap_or_default();
            if is == *before {
                continue;
            }
            let set = self.set.get(step).and_then(|fields| fields.get(field));
            if set.is_some_and(|texts| texts.contains(&is)) {
                put.insert(field.clone(), before.clone());
            } else {
                kept.push(field.clone());
            }
        }
        if whole && !kept.is_empty() {
            put.clear();
        }
        (put, kept)
    }

    /// Forgets all steps but these.
    pub(super) fn retain(&mut self, is_used: impl Fn(&str) -> bool) {
        self.saved.retain(|step, _| is_used(step));
        self.set.retain(|step, _| is_used(step));
    }

    /// Says whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.saved.is_empty() && self.set.is_empty()
    }
}
