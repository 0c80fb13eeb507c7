//! Whether the server is up, and what restarts it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sandbox::{Draws, Moment};

/// The boots of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Power {
    /// When it started, by its own word.
    pub(super) boot: Moment,
    /// From when on it lets people in.
    pub(super) up: Moment,
    /// From when on its services run and its policy is in force.
    pub(super) settled: Moment,
    /// The restart that is ordered.
    pub(super) order: Option<Order>,
}

/// A restart that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) at: Moment,
    spans: Spans,
}

/// How long the parts of a restart take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spans {
    down: Duration,
    start: Duration,
    /// In the place of `start` where roles are completed.
    roles: Duration,
    settle: Duration,
}

impl Spans {
    /// Draws those of one restart.
    pub(super) fn draw(draws: &mut Draws) -> Self {
        let mut span = |what: &str, from: u64, to: u64| {
            draws.span(what, Duration::from_secs(from)..=Duration::from_secs(to))
        };
        Self {
            down: span("host down", 10, 40),
            start: span("host start", 20, 90),
            roles: span("host roles complete", 120, 600),
            settle: span("host settles", 0, 60),
        }
    }
}

impl Power {
    /// Begins with a server that has been up since then.
    pub(super) fn new(booted: Moment) -> Self {
        Self { boot: booted, up: booted, settled: booted, order: None }
    }

    /// Orders a restart, unless one is ordered already.
    pub(super) fn order(&mut self, at: Moment, spans: Spans) {
        self.order.get_or_insert(Order { at, spans });
    }

    /// Restarts: says when the new boot begins.
    pub(super) fn restart(&mut self, order: Order, completes_roles: bool) {
        let Order { at, spans } = order;
        self.boot = at.after(spans.down);
        self.up = self.boot.after(if completes_roles { spans.roles } else { spans.start });
        self.settled = self.up.after(spans.settle);
        self.order = None;
    }
}
