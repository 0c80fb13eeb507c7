//! What a run on the server says: it is the same however the connection cuts it, and nothing of it
//! reaches the terminal that the terminal would obey.

#![no_main]

use std::sync::{Arc, Mutex};

use cgw::event::{Event, Events, Listener};
use cgw::server::{Proof, hear};
use cgw::transport::lines;
use cgw::ui;
use cgw_fuzz::{halves, is_harmless, is_one_saying};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const RUN: &str = "0a1b";

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((before, after)) = halves(input) else { return };
    let whole = [before, after].concat();
    assert_eq!(lines(&[before, after]), lines(&[&whole]));
    check(&lines(&[&whole]), lines(&[before]).len());
    let steps: Vec<String> = whole.split(|byte| *byte == b'\n').filter_map(step).collect();
    check(&steps, before.len());
});

/// Writes a step's line as its script would: the first byte says what it has, the rest is its words.
fn step(told: &[u8]) -> Option<String> {
    let (has, words) = told.split_first()?;
    let words = String::from_utf8_lossy(words);
    let mut words = words.split('|');
    let id = words.next()?;
    let error = words.next().filter(|_| has & 8 != 0);
    let step = json!({
        "id": id, "changed": has & 1 != 0, "reboot": has & 2 != 0, "skipped": has & 4 != 0,
        "error": error, "kept": words.collect::<Vec<_>>(),
    });
    Some(step.to_string())
}

/// Hears lines over one connection, and over one that was lost while it brought the line of this
/// number and another one.
fn check(lines: &[String], cut: usize) {
    let (once, ended) = heard(&[lines]);
    let brought = &lines[..cut.saturating_sub(1).min(lines.len())];
    assert_eq!(heard(&[brought, lines]), (once.clone(), ended));
    for event in &once {
        is_harmless(&ui::json_line("event", event));
        ui::tell_event(event).iter().for_each(|words| is_one_saying(words));
    }
    for line in lines {
        if let Ok(proof) = Proof::read(line) {
            let again = format!("cgw-proof {}", serde_json::to_string(&proof).unwrap());
            assert_eq!(Proof::read(&again), Ok(proof));
        }
    }
}

fn heard(connections: &[&[String]]) -> (Vec<Event>, bool) {
    let heard = Heard::default();
    let ended = hear(RUN, connections, &Events::new(heard.clone()));
    let events = heard.0.lock().unwrap().clone();
    (events, ended)
}
