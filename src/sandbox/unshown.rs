//! A secret of the sandbox's own world: saved with it, never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that `Debug` does not tell.
///
/// It is saved with the sandbox, as AWS and Windows keep what they are given; the real keys of real
/// tunnels are a `Secret`, which cannot be.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unshown(String);

impl Unshown {
    /// Keeps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unshown")
    }
}
