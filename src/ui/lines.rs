//! Tells events in plain lines: for logs, and wherever there is no terminal.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::event::{Event, Listener};

#[derive(Default)]
pub(super) struct Lines(Teller);

impl Listener for Lines {
    fn hear(&self, event: &Event) {
        if let Some(text) = self.0.tell(event) {
            super::talk(&text);
        }
    }
}

/// Tells what lasts, and the reason of many retries once.
#[derive(Default)]
pub(super) struct Teller {
    reasons: Mutex<BTreeSet<String>>,
}

impl Teller {
    /// Returns an event in one line, unless it says nothing new.
    pub(super) fn tell(&self, event: &Event) -> Option<String> {
        if let Event::Retrying { why, .. } = event {
            let mut reasons = self.reasons.lock().expect("no holder of this lock can panic");
            if !reasons.insert(why.clone()) {
                return None;
            }
        }
        tell(event)
    }
}

fn tell(event: &Event) -> Option<String> {
    Some(match event {
        Event::Observing { place } => format!("reading {place}"),
        Event::Retrying { action, why, .. } => {
            format!("{action}: {why}; trying again until it works")
        }
        Event::Lock { what } => what.clone(),
        Event::Applying { steps: 1 } => "1 change".to_owned(),
        Event::Applying { steps } => format!("{steps} changes"),
        // What is ready within moments is no wait.
        Event::Started { .. } | Event::Waiting { seconds: ..5, .. } => return None,
        Event::Waiting { node, until, usually, seconds } => {
            format!("{node}: waiting until it is {until}, {seconds} s so far (usually {usually})")
        }
        Event::Done { node, change, id } => format!("{node}: {change} {id}"),
        Event::Failed { node, error } => format!("{node}: FAILED: {error}"),
        Event::Skipped { node, because } => format!("{node}: left out: {because}"),
        Event::Step { id, changed, reboot, error } => {
            let what = match (error, changed) {
                (Some(error), _) => format!("FAILED: {error}"),
                (None, true) => "changed".to_owned(),
                (None, false) => "no change".to_owned(),
            };
            let restart = if *reboot { " (takes a restart)" } else { "" };
            format!("windows-setup: {id}: {what}{restart}")
        }
        Event::Note { text } => text.clone(),
        Event::Warning { text } => format!("warning: {text}"),
    })
}
