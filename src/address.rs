//! Names things: a stack, a node of it, and what AWS calls the real object.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One VPN that cgw looks after: its name stands in the tag `cgw:stack` of all that it owns.
///
/// 1–48 characters of `a-z`, `0-9` and `-`, beginning with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stack(Arc<str>);

/// A text that does not name what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {rule}")]
pub struct Malformed {
    /// What was given.
    pub text: String,
    /// What it should have been, with its article.
    pub what: &'static str,
    /// What such a thing looks like.
    pub rule: &'static str,
}

impl Stack {
    /// Returns the name as it stands in tags.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of one of its security groups, unique in a VPC: `cgw-STACK-OF`, and without
    /// `of` that of its record.
    #[must_use]
    pub fn group_name(&self, of: &str) -> String {
        let dash = if of.is_empty() { "" } else { "-" };
        format!("cgw-{}{dash}{of}", self.0)
    }
}

impl FromStr for Stack {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=48).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(Malformed {
                text: text.to_owned(),
                what: "a stack's name",
                rule: "1 to 48 of a-z, 0-9 and -, not beginning with -",
            })
        }
    }
}

impl TryFrom<String> for Stack {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Stack> for String {
    fn from(stack: Stack) -> Self {
        stack.as_str().to_owned()
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node of a stack: its kind and, where a stack has several of the kind, a key.
///
/// Printed as `vpn-gateway` or `route/rtb-0abc`; that text is the value of the tag `cgw:node`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Whose node it is.
    pub stack: Stack,
    /// The kind's name, AWS's own word.
    pub kind: &'static str,
    /// Tells nodes of one kind apart; empty where a stack has just one.
    pub key: Arc<str>,
}

impl Address {
    /// Names the stack's node of a kind; `key` is empty where there is just one.
    #[must_use]
    pub fn new(stack: &Stack, kind: &'static str, key: impl Into<Arc<str>>) -> Self {
        Self { stack: stack.clone(), kind, key: key.into() }
    }

    /// Returns the text that stands in the tag `cgw:node`.
    #[must_use]
    pub fn node(&self) -> String {
        if self.key.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}/{}", self.kind, self.key)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node())
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The id that AWS gave an object, such as `vgw-0a1b2c3d4e5f60003`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AwsId(Arc<str>);

impl AwsId {
    /// Wraps an id that AWS itself gave.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// Returns the id as AWS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AwsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! given_ids {
    ($($name:ident, $prefix:literal, $what:literal, $rule:literal;)*) => {$(
        #[doc = concat!("An id that a person gave: ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(AwsId);

        impl $name {
            /// Returns the id among those that AWS gave.
            #[must_use]
            pub fn id(&self) -> &AwsId {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;
            fn from_str(text: &str) -> Result<Self, Malformed> {
                let digits = text.strip_prefix($prefix).unwrap_or_default();
                let fits = matches!(digits.len(), 8 | 17)
                    && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if fits {
                    Ok(Self(AwsId::new(text)))
                } else {
                    Err(Malformed { text: text.to_owned(), what: $what, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;
            fn try_from(text: String) -> Result<Self, Malformed> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

given_ids! {
    VpcId, "vpc-", "a VPC's id", "vpc- and 8 or 17 hexadecimal digits";
    InstanceId, "i-", "an instance's id", "i- and 8 or 17 hexadecimal digits";
    SubnetId, "subnet-", "a subnet's id", "subnet- and 8 or 17 hexadecimal digits";
    RouteTableId, "rtb-", "a route table's id", "rtb- and 8 or 17 hexadecimal digits";
    AllocationId, "eipalloc-", "an Elastic IP's allocation id",
        "eipalloc- and 8 or 17 hexadecimal digits";
}

/// What AWS calls the real thing behind a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// An object with an id of its own.
    Aws(AwsId),
    /// A link (attachment, route, membership, …): it has no id, its owner has.
    Link {
        /// The object on which the link is found again.
        owner: AwsId,
        /// Tells the owner's links apart, kind first.
        key: String,
    },
}

impl Id {
    /// Returns the id of the object itself, or of the link's owner.
    #[must_use]
    pub fn owner(&self) -> &AwsId {
        match self {
            Self::Aws(id) | Self::Link { owner: id, .. } => id,
        }
    }

    /// Names a link of `owner`.
    #[must_use]
    pub fn link(owner: &AwsId, key: impl Into<String>) -> Self {
        Self::Link { owner: owner.clone(), key: key.into() }
    }
}

impl From<AwsId> for Id {
    fn from(id: AwsId) -> Self {
        Self::Aws(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(id) => id.fmt(f),
            Self::Link { owner, key } => write!(f, "{owner} {key}"),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_its_tag() {
        let stack: Stack = "office".parse().unwrap();
        assert_eq!(Address::new(&stack, "vpn-gateway", "").node(), "vpn-gateway");
        assert_eq!(Address::new(&stack, "route", "rtb-1").node(), "route/rtb-1");
    }

    #[test]
    fn a_stack_name_that_no_tag_or_folder_could_hold_is_refused() {
        for bad in ["", "-a", "Office", "a b", "a/b", "ä", &"a".repeat(49)] {
            assert!(bad.parse::<Stack>().is_err(), "{bad:?}");
        }
        assert!("vpc-0a1b2c3d4e5f60003".parse::<Stack>().is_ok());
    }

    #[test]
    fn an_id_of_another_kind_is_refused_with_the_rule() {
        let error = "subnet-0a1b2c3d".parse::<VpcId>().unwrap_err();
        assert!(error.to_string().contains("is not a VPC's id: vpc- and 8 or 17"), "{error}");
        assert!("vpc-0a1b2c3d4e5f6000".parse::<VpcId>().is_err(), "16 digits");
        assert_eq!("vpc-0a1b2c3d".parse::<VpcId>().unwrap().to_string(), "vpc-0a1b2c3d");
    }
}
