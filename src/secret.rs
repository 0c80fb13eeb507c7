//! Keeps keys out of text: no `Display`, a `Debug` that tells nothing, wiped on drop.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A pre-shared key, password or passphrase.
///
/// INVARIANT: nothing in this crate prints, serialises or logs what [`Secret::expose`] returns,
/// but `playbook` (the files meant for it), `resource::vpn_connection` (the request to AWS),
/// `transport` (the login) and `ui` under `--show-secrets`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes a text over as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text; whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_neither_text_nor_length() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert_eq!(shown, "Secret(…)");
        assert_eq!(shown, format!("{:?}", Secret::new("another, longer one")));
    }
}
