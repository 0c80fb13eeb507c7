//! The only randomness.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::secret::Secret;
use crate::tunnel::KEY_ALPHABET;

/// How long the keys are that cgw makes: 48 characters of 6 bits each.
const KEY_LENGTH: usize = 48;

/// Draws random things; from the operating system's entropy, or from a seed in tests.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// Takes its seed from the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self(rand::make_rng())
    }

    /// Draws the same things again for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Draws what tells one request from all others: 32 hexadecimal digits.
    pub fn token(&mut self) -> String {
        format!("{:032x}", self.0.random::<u128>())
    }

    /// Draws a pre-shared key.
    pub fn key(&mut self) -> Secret {
        loop {
            let text: String = (0..KEY_LENGTH)
                .map(|_| char::from(KEY_ALPHABET[self.0.random_range(0..KEY_ALPHABET.len())]))
                .collect();
            // AWS refuses a key that begins with 0.
            if !text.starts_with('0') {
                return Secret::new(text);
            }
        }
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::is_valid_key;

    #[test]
    fn every_key_is_one_that_aws_takes_and_no_two_are_equal() {
        let mut dice = Dice::seeded(7);
        let keys: Vec<_> = (0..500).map(|_| dice.key()).collect();
        assert!(keys.iter().all(is_valid_key));
        assert!((1..keys.len()).all(|n| keys[n] != keys[n - 1]));
    }
}
