//! Tells events in plain lines: for logs, and wherever there is no terminal.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::event::{Event, Listener};
use crate::time::{self, Instant};

#[derive(Default)]
pub(super) struct Lines(Teller);

impl Listener for Lines {
    fn hear(&self, event: &Event) {
        if let Some(text) = self.0.tell(event) {
            super::talk(&text);
        }
    }
}

/// How long the same reason for trying again is not told anew.
const SAME: Duration = Duration::from_mins(1);

/// Tells what lasts, and why something is tried again and again once a minute.
#[derive(Default)]
pub(super) struct Teller {
    told: Mutex<BTreeMap<(&'static str, String), Instant>>,
}

impl Teller {
    /// Returns an event in one line, unless it says nothing new.
    pub(super) fn tell(&self, event: &Event) -> Option<String> {
        if let Event::Retrying { action, why } = event {
            let mut told = self.told.lock().expect("no holder of this lock can panic");
            let (key, now) = ((*action, why.clone()), time::now());
            if told.get(&key).is_some_and(|last| now - *last < SAME) {
                return None;
            }
            told.insert(key, now);
        }
        tell(event)
    }
}

/// Returns an event in words; public as a door for `tests/fuzz`.
#[must_use]
pub fn tell(event: &Event) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_reason_is_told_once_a_minute() {
        let (teller, mut told) = (Teller::default(), Vec::new());
        for why in ["slow down", "slow down", "pending"] {
            told.push(teller.tell(&Event::Retrying { action: "CreateTags", why: why.to_owned() }));
        }
        assert_eq!(told.iter().filter(|text| text.is_some()).count(), 2, "{told:?}");
        time::sleep(SAME).await;
        let again = Event::Retrying { action: "CreateTags", why: "slow down".to_owned() };
        assert!(teller.tell(&again).is_some());
    }
}
