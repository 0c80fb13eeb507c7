//! All that cgw ever says while it works.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::address::Address;

/// One thing that happened. Holds no secret and nothing that only a terminal could show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A region is being read.
    Observing {
        /// Region and, where there is one, profile.
        place: String,
    },
    /// A call will be sent again after a rest.
    Retrying {
        /// The API action.
        action: &'static str,
        /// What AWS answered, or what happened to the connection.
        why: String,
    },
    /// Somebody holds the stack's lock; cgw waits or takes it over.
    Lock {
        /// What is done about it, in a sentence.
        what: String,
    },
    /// How many steps there are to do.
    Applying {
        /// Steps that change something.
        steps: usize,
    },
    /// A step began.
    Started {
        /// The node it changes.
        node: Address,
        /// What is done to it: «create», «delete», ….
        change: &'static str,
    },
    /// A step waits for AWS.
    Waiting {
        /// The node that is waited for.
        node: Address,
        /// What is waited for.
        until: &'static str,
        /// How long that usually takes.
        usually: &'static str,
        /// Seconds waited so far.
        seconds: u64,
    },
    /// A step is done.
    Done {
        /// The node.
        node: Address,
        /// What was done to it: «created», «deleted», ….
        change: &'static str,
        /// What AWS calls it.
        id: String,
    },
    /// A step failed.
    Failed {
        /// The node.
        node: Address,
        /// Why, with the chain of causes.
        error: String,
    },
    /// A step was left out because another failed, or because of an interrupt.
    Skipped {
        /// The node.
        node: Address,
        /// Why it was left out.
        because: String,
    },
    /// A step of the playbook ran on the server.
    Step {
        /// The step's id in the playbook.
        id: String,
        /// Whether it changed the server.
        changed: bool,
        /// Whether it takes effect only after a restart.
        reboot: bool,
        /// What went wrong.
        error: Option<String>,
    },
    /// Something that a person should know.
    Note {
        /// A sentence.
        text: String,
    },
    /// Something that a person should look at.
    Warning {
        /// A sentence.
        text: String,
    },
}

/// Takes events in as they happen: bars, lines, JSON, or a test.
pub trait Listener: Send + Sync {
    /// Takes one event in; must not block for long.
    fn hear(&self, event: &Event);
}

/// Where events go to.
#[derive(Clone)]
pub struct Events(Arc<dyn Listener>);

impl Events {
    /// Sends all events to one listener.
    pub fn new(listener: impl Listener + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Sends all events nowhere.
    #[must_use]
    pub fn silent() -> Self {
        struct Silent;
        impl Listener for Silent {
            fn hear(&self, _: &Event) {}
        }
        Self::new(Silent)
    }

    /// Says that something happened.
    pub fn say(&self, event: &Event) {
        tracing::debug!(target: "cgw", ?event);
        self.0.hear(event);
    }

    /// Says a sentence that a person should know.
    pub fn note(&self, text: impl Into<String>) {
        self.say(&Event::Note { text: text.into() });
    }

    /// Says a sentence about something that a person should look at.
    pub fn warn(&self, text: impl Into<String>) {
        self.say(&Event::Warning { text: text.into() });
    }
}

/// Passes on what another listener has heard.
impl Listener for Events {
    fn hear(&self, event: &Event) {
        self.0.hear(event);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
