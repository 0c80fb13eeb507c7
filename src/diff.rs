//! Says in which fields a declaration and the real thing differ; pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::address::Address;

/// A value that is known now, or only once another node exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want<T> {
    /// Known now.
    Is(T),
    /// Known after that node is made: AWS chooses it.
    KnownAfter(Address),
}

impl<T> Want<T> {
    /// Applies `f` to what is known.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Want<U> {
        match self {
            Self::Is(value) => Want::Is(f(value)),
            Self::KnownAfter(address) => Want::KnownAfter(address),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Want<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => value.fmt(f),
            Self::KnownAfter(address) => write!(f, "(known after {address})"),
        }
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// What it is.
    pub was: String,
    /// What it should be.
    pub now: String,
    /// Whether only a new object can have the new value.
    pub replaces: bool,
}

/// All fields that differ; empty when the real thing is as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diff(pub Vec<Field>);

impl Diff {
    /// Begins a comparison.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares one field that can be changed in place.
    #[must_use]
    pub fn field(self, name: &'static str, was: impl fmt::Display, now: impl fmt::Display) -> Self {
        self.push(name, &was.to_string(), &now.to_string(), false)
    }

    /// Compares one field that only a new object can have otherwise.
    #[must_use]
    pub fn fixed(self, name: &'static str, was: impl fmt::Display, now: impl fmt::Display) -> Self {
        self.push(name, &was.to_string(), &now.to_string(), true)
    }

    /// Compares two sets; what differs shows only what is missing and what is too much.
    #[must_use]
    pub fn set<T: Ord + fmt::Display>(
        self,
        name: &'static str,
        was: &BTreeSet<T>,
        now: &BTreeSet<T>,
    ) -> Self {
        let list = |a: &BTreeSet<T>, b: &BTreeSet<T>| {
            a.difference(b).map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        self.push(name, &list(was, now), &list(now, was), false)
    }

    fn push(mut self, name: &'static str, was: &str, now: &str, replaces: bool) -> Self {
        if was != now {
            self.0.push(Field { name, was: was.to_owned(), now: now.to_owned(), replaces });
        }
        self
    }

    /// Says whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether only a new object can have the new values.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.0.iter().any(|field| field.replaces)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, field) in self.0.iter().enumerate() {
            let (was, now) = (none_if_empty(&field.was), none_if_empty(&field.now));
            let comma = if n == 0 { "" } else { "; " };
            write!(f, "{comma}{}: {was} → {now}", field.name)?;
        }
        Ok(())
    }
}

fn none_if_empty(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_fields_make_no_difference() {
        assert!(Diff::new().field("a", 1, 1).fixed("b", "x", "x").is_empty());
    }

    #[test]
    fn a_fixed_field_that_differs_replaces() {
        let diff = Diff::new().field("a", 1, 2);
        assert!(!diff.replaces());
        let diff = diff.fixed("b", "x", "y");
        assert!(diff.replaces());
        assert_eq!(diff.to_string(), "a: 1 → 2; b: x → y");
    }

    #[test]
    fn sets_show_only_what_is_missing_and_what_is_too_much() {
        let (was, now) = (BTreeSet::from([1, 2]), BTreeSet::from([2, 3]));
        assert_eq!(Diff::new().set("rules", &was, &now).to_string(), "rules: 1 → 3");
    }
}
