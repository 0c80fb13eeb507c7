//! What chance decides in a sandbox: the same things again for the same seed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Draws by name: the third draw of one name is the same whatever was drawn of the others between.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Draws {
    seed: u64,
    drawn: BTreeMap<String, u64>,
}

impl Draws {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: BTreeMap::new() }
    }

    /// Returns the dice for the next draw of a name.
    pub fn next(&mut self, what: &str) -> StdRng {
        let count = self.drawn.entry(what.to_owned()).or_default();
        *count += 1;
        let text = format!("{}/{what}/{count}", self.seed);
        StdRng::from_seed(Sha256::digest(text.as_bytes()).into())
    }

    /// Draws a span.
    pub fn span(&mut self, what: &str, range: RangeInclusive<Duration>) -> Duration {
        let millis = |span: &Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let range = millis(range.start())..=millis(range.end());
        Duration::from_millis(self.next(what).random_range(range))
    }

    /// Says yes so often of a hundred times.
    pub fn percent(&mut self, what: &str, percent: u32) -> bool {
        self.next(what).random_range(0..100) < percent
    }

    /// Draws a number.
    pub fn number(&mut self, what: &str) -> u32 {
        self.next(what).random()
    }

    /// Draws the digits of an id: 17 hexadecimal ones.
    pub fn digits(&mut self, what: &str) -> String {
        format!("{:017x}", self.next(what).random::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_the_seed_and_on_what_was_drawn_of_its_name() {
        let mut one = Draws::new(7);
        let first = one.digits("vgw");
        assert_ne!(one.digits("vgw"), first);
        let mut other = Draws::new(7);
        other.digits("cgw");
        assert_eq!(other.digits("vgw"), first);
        assert_ne!(Draws::new(8).digits("vgw"), first);
    }
}
