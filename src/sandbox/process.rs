//! A process that runs cgw in a sandbox: what comes over it, and what it has asked for.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::Moment;
use super::region::{Effect, effect};

/// A process; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// It is killed.
    pub killed: Arc<Notify>,
    /// Somebody presses Ctrl-C at its keyboard.
    pub interrupted: Arc<Notify>,
    /// Somebody else starts a run beside it.
    pub joined: Arc<Notify>,
    asked: Arc<Mutex<Vec<Asking>>>,
}

/// One call or session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// When.
    pub at: Moment,
    /// The API action, or `session`.
    pub what: String,
    /// What became of it.
    pub fate: String,
}

impl Asking {
    /// Says whether it was about to change something in AWS.
    #[must_use]
    pub fn changes(&self) -> bool {
        effect(&self.what) == Some(Effect::Changes)
    }
}

impl Process {
    /// Returns all calls and sessions, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asking> {
        self.asked.lock().expect("no holder of this lock can panic").clone()
    }

    pub(super) fn note(&self, at: Moment, what: &str, fate: String) {
        let asking = Asking { at, what: what.to_owned(), fate };
        self.asked.lock().expect("no holder of this lock can panic").push(asking);
    }
}
