//! What an object of AWS goes through: states by the moment at which each begins.

use serde::{Deserialize, Serialize};

use super::Moment;

/// States in the order in which they come; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Stages(Vec<(Moment, String)>);

impl Stages {
    /// Goes through states; the first is that of before, too.
    pub(super) fn through(stages: &[(Moment, &str)]) -> Self {
        Self(stages.iter().map(|(at, state)| (*at, (*state).to_owned())).collect())
    }

    /// Returns the state at a moment.
    pub(super) fn at(&self, moment: Moment) -> &str {
        let current = self.0.iter().rev().find(|(at, _)| *at <= moment);
        &current.unwrap_or(&self.0[0]).1
    }

    /// Returns the state that it comes to in the end.
    pub(super) fn last(&self) -> &str {
        &self.0[self.0.len() - 1].1
    }

    /// Says whether it comes, or has come, to its end.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.last(), "deleted" | "terminated")
    }

    /// Returns when the last state begins.
    pub(super) fn end(&self) -> Moment {
        self.0[self.0.len() - 1].0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_lasts_until_the_next_begins() {
        let at = |n| Moment::EARLIEST.after(Duration::from_secs(n));
        let stages = Stages::through(&[(at(5), "pending"), (at(9), "available")]);
        let seen: Vec<_> = [0, 5, 8, 9, 99].map(|n| stages.at(at(n))).into();
        assert_eq!(seen, ["pending", "pending", "pending", "available", "available"]);
        assert_eq!((stages.last(), stages.end()), ("available", at(9)));
    }
}
