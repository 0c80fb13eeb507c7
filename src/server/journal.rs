//! Reads what a run on the server says.

use serde::Deserialize;

use crate::event::{Event, Events};

/// One line that a step writes.
#[derive(Debug, Deserialize)]
struct StepLine {
    id: String,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    reboot: bool,
    #[serde(default)]
    skipped: bool,
    error: Option<String>,
    #[serde(default)]
    kept: Vec<String>,
}

/// The last line of a run: `cgw-done <run> changed=… reboot=… failed=… guard=… boot=…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) changed: usize,
    pub(super) reboot: bool,
    pub(super) failed: usize,
    pub(super) is_guarded: bool,
    /// Seconds since 1970.
    pub(super) boot: i64,
}

impl Last {
    fn read(line: &str, run: &str) -> Option<Self> {
        let rest = line.strip_prefix("cgw-done ")?.strip_prefix(run)?;
        let told = |name: &str| {
            let mut words = rest.split_whitespace().filter_map(|word| word.split_once('='));
            words.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        Some(Self {
            changed: told("changed")?.parse().ok()?,
            reboot: told("reboot")?.parse().ok()?,
            failed: told("failed")?.parse().ok()?,
            is_guarded: told("guard")? == "armed",
            boot: told("boot")?.parse().ok()?,
        })
    }
}

/// What has been heard of a run, over as many connections as it takes.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    run: &'a str,
    events: &'a Events,
    /// How many lines were heard, and how many of them over this connection.
    heard: usize,
    here: usize,
    /// The first step that failed, and why.
    pub(super) failed: Option<(String, String)>,
    /// The first step that waits for a restart.
    pub(super) waits: Option<String>,
    pub(super) last: Option<Last>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(run: &'a str, events: &'a Events) -> Self {
        Self { run, events, heard: 0, here: 0, failed: None, waits: None, last: None }
    }

    /// Says that it is told from its beginning again.
    pub(super) fn again(&mut self) {
        self.here = 0;
    }

    /// Takes a line in; one that was heard over another connection says nothing new.
    pub(super) fn hear(&mut self, line: &str) {
        self.here += 1;
        if self.here <= self.heard {
            return;
        }
        self.heard = self.here;
        if let Some(last) = Last::read(line, self.run) {
            self.last = Some(last);
        } else if let Ok(step) = serde_json::from_str::<StepLine>(line) {
            self.hear_step(step);
        }
    }

    fn hear_step(&mut self, step: StepLine) {
        let StepLine { id, changed, reboot, skipped, error, kept } = step;
        // A skipped step says why: an earlier one failed, or a restart comes first.
        match (&error, skipped) {
            (Some(error), false) if self.failed.is_none() => {
                self.failed = Some((id.clone(), error.clone()));
            }
            (Some(_), true) if self.waits.is_none() => self.waits = Some(id.clone()),
            (Some(_) | None, _) => {}
        }
        if !kept.is_empty() {
            self.events.warn(format!(
                "{id}: left as it is, because somebody has changed it since: {}",
                kept.join(", ")
            ));
        }
        self.events.say(&Event::Step { id, changed, reboot, error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = "cgw-done 0a1b changed=2 reboot=true failed=0 guard=armed boot=1767225600";

    #[test]
    fn only_the_last_line_of_this_run_counts() {
        let last = Last::read(DONE, "0a1b").unwrap();
        let boot = 1_767_225_600;
        assert_eq!(last, Last { changed: 2, reboot: true, failed: 0, is_guarded: true, boot });
        assert_eq!(Last::read(DONE, "0a1c"), None);
        assert_eq!(Last::read("cgw-done 0a1b changed=2 reboot=true failed=0", "0a1b"), None);
    }

    #[test]
    fn a_run_that_is_told_from_the_beginning_is_heard_once() {
        let events = Events::silent();
        let mut journal = Journal::new("0a1b", &events);
        journal.hear(r#"{"id":"roles","changed":true,"reboot":false,"error":null}"#);
        journal.hear(r#"{"id":"routing","error":"no","changed":false,"reboot":false}"#);
        journal.again();
        journal.hear(r#"{"id":"roles","changed":true,"reboot":false,"error":null}"#);
        assert_eq!(journal.last, None);
        journal.hear(r#"{"id":"routing","error":"no","changed":false,"reboot":false}"#);
        journal.hear(r#"{"id":"tunnels","error":"not run","skipped":true}"#);
        journal.hear(DONE);
        assert_eq!(journal.failed, Some(("routing".to_owned(), "no".to_owned())));
        assert_eq!(journal.waits.as_deref(), Some("tunnels"));
        assert!(journal.last.is_some());
    }
}
