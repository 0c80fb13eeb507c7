//! Shows what runs as bars on a terminal; what lasts scrolls above them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::Teller;
use super::{plain, speaker};
use crate::address::Address;
use crate::event::{Event, Listener};

pub(super) struct Bars {
    all: MultiProgress,
    running: Mutex<HashMap<Address, ProgressBar>>,
    teller: Teller,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::new(), running: Mutex::default(), teller: Teller::default() }
    }

    fn begin(&self, node: &Address, change: &str) {
        let bar = self.all.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}");
        bar.set_style(style.expect("the template is one that indicatif knows"));
        bar.set_message(said(&format!("{node}: {change}")));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running().insert(node.clone(), bar);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Address, ProgressBar>> {
        self.running.lock().expect("no holder of this lock can panic")
    }
}

/// What stands in a bar, which indicatif prints as it is.
fn said(text: &str) -> String {
    speaker::talk(&plain::saying(text))
}

impl Listener for Bars {
    fn hear(&self, event: &Event) {
        match event {
            Event::Started { node, change } => return self.begin(node, change),
            Event::Waiting { node, until, usually, .. } => {
                if let Some(bar) = self.running().get(node) {
                    let text = format!("{node}: until it is {until} (usually {usually})");
                    bar.set_message(said(&text));
                }
                return;
            }
            Event::Done { node, .. } | Event::Failed { node, .. } | Event::Skipped { node, .. } => {
                if let Some(bar) = self.running().remove(node) {
                    bar.finish_and_clear();
                }
            }
            Event::Observing { .. }
            | Event::Retrying { .. }
            | Event::Lock { .. }
            | Event::Applying { .. }
            | Event::Step { .. }
            | Event::Note { .. }
            | Event::Warning { .. } => {}
        }
        if let Some(text) = self.teller.tell(event) {
            self.all.suspend(|| super::talk(&text));
        }
    }
}
