//! The tags that cgw writes and finds its objects by.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use serde::Serialize;

use crate::address::{Address, Stack};

/// The tag that names the stack an object belongs to.
pub const STACK: &str = "cgw:stack";
/// The tag that names the node an object is.
pub const NODE: &str = "cgw:node";

/// An object's tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tags(pub BTreeMap<String, String>);

impl Tags {
    /// Reads the SDK's list.
    #[must_use]
    pub fn read(tags: &[Tag]) -> Self {
        let pair = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or("").to_owned()));
        Self(tags.iter().filter_map(pair).collect())
    }

    /// Returns the value of a tag.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Returns the key part of the node's address if the object is this stack's node of the kind.
    #[must_use]
    pub fn node_key(&self, stack: &Stack, kind: &str) -> Option<&str> {
        if self.value(STACK) != Some(stack.as_str()) {
            return None;
        }
        let node = self.value(NODE)?;
        match node.split_once('/') {
            Some((named, key)) => (named == kind).then_some(key),
            None => (node == kind).then_some(""),
        }
    }

    /// Returns the tags that a stack put on somebody else's object, without their prefix.
    pub fn announced<'a>(&'a self, stack: &'a Stack) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| {
            let key = key.strip_prefix("cgw:")?.strip_prefix(stack.as_str())?.strip_prefix(':')?;
            Some((key, value.as_str()))
        })
    }

    /// Returns what a stack has put on the object about one of its nodes.
    #[must_use]
    pub fn announcement(&self, stack: &Stack, what: &str) -> Option<&str> {
        self.value(&announcement(stack, what))
    }

    /// Returns the stack whose node the object is, whichever it is.
    #[must_use]
    pub fn stack(&self) -> Option<&str> {
        self.value(STACK)
    }

    /// Says whether the object is a node of this stack.
    #[must_use]
    pub fn belongs_to(&self, stack: &Stack) -> bool {
        self.stack() == Some(stack.as_str())
    }

    /// Returns the other stacks that have put a tag on the object about a node of theirs.
    pub fn other_announcers(&self, stack: &Stack, what: &str) -> impl Iterator<Item = Stack> {
        let others = self.announcers().filter(move |other| *other != stack.as_str());
        let parsed = others.filter_map(|other| other.parse().ok());
        parsed.filter(move |other| self.announcement(other, what).is_some())
    }

    /// Returns the stack whose the object is, and all that have put a tag on it about a node of theirs.
    #[must_use]
    pub fn users(&self, what: &str) -> BTreeSet<&str> {
        let is_of = |stack: &&str| self.0.contains_key(&format!("cgw:{stack}:{what}"));
        self.announcers().filter(is_of).chain(self.stack()).collect()
    }

    /// Returns the stacks that have put a tag on somebody else's object.
    pub fn announcers(&self) -> impl Iterator<Item = &str> {
        let keys = self.0.keys();
        keys.filter_map(|key| Some(key.strip_prefix("cgw:")?.split_once(':')?.0))
    }
}

/// Returns the key of the tag that a stack puts on somebody's object about one of its nodes.
#[must_use]
pub fn announcement(stack: &Stack, what: &str) -> String {
    format!("cgw:{stack}:{what}")
}

/// Returns the tags of a node, to be sent in the call that makes it.
///
/// `more` are further tags, such as those of the stack's record.
#[must_use]
pub fn specification(
    kind: ResourceType,
    at: &Address,
    more: &BTreeMap<String, String>,
) -> TagSpecification {
    let specification = TagSpecification::builder().resource_type(kind);
    let more = more.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    specification.set_tags(Some(owner(at).into_iter().chain(more).collect())).build()
}

/// Returns the tags that say whose node an object is.
#[must_use]
pub fn owner(at: &Address) -> [Tag; 3] {
    let node = at.node();
    let name = format!("cgw-{}-{}", at.stack, node.replace('/', "-"));
    [(STACK, at.stack.as_str()), (NODE, &node), ("Name", &name)]
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        Tags(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_node_is_known_by_its_stack_and_kind() {
        let (office, other) = ("office".parse().unwrap(), "other".parse().unwrap());
        let found = tags(&[(STACK, "office"), (NODE, "route/rtb-1")]);
        assert_eq!(found.node_key(&office, "route"), Some("rtb-1"));
        assert_eq!(found.node_key(&office, "route-table"), None);
        assert_eq!(found.node_key(&other, "route"), None);
        assert_eq!(tags(&[(NODE, "route")]).node_key(&office, "route"), None);
    }

    #[test]
    fn what_is_announced_names_its_stack_wholly() {
        let found =
            tags(&[("cgw:a:source-dest-check", "true"), ("cgw:ab:x", "1"), ("cgw:stack", "a")]);
        let stack = "a".parse().unwrap();
        assert_eq!(found.announced(&stack).collect::<Vec<_>>(), [("source-dest-check", "true")]);
        assert_eq!(found.announcement(&stack, "source-dest-check"), Some("true"));
        assert_eq!(found.announcers().collect::<Vec<_>>(), ["a", "ab"]);
        assert_eq!(found.users("x"), BTreeSet::from(["a", "ab"]));
        assert_eq!(found.users("y"), BTreeSet::from(["a"]));
    }
}
