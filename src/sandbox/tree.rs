//! What the simulated AWS answers, before it is written as XML.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Moment;

/// A value of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    /// Nothing is written.
    Nothing,
    /// Text.
    Text(String),
    /// Values, each written as an `item`.
    List(Vec<Tree>),
    /// Values by name, in the order in which they are written.
    Map(Vec<(&'static str, Tree)>),
}

/// Joins values by name.
pub(super) fn map<const N: usize>(parts: [(&'static str, Tree); N]) -> Tree {
    Tree::Map(parts.into())
}

/// Joins values.
pub(super) fn list(items: impl IntoIterator<Item = Tree>) -> Tree {
    Tree::List(items.into_iter().collect())
}

impl Tree {
    /// Writes it as an element's content.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Nothing => {}
            Self::Text(text) => escape(text, out),
            Self::List(items) => items.iter().for_each(|item| element("item", item, out)),
            Self::Map(parts) => parts.iter().for_each(|(name, part)| element(name, part, out)),
        }
    }

    /// Returns a part.
    pub(super) fn part(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(parts) => parts.iter().find(|(own, _)| *own == name).map(|(_, part)| part),
            Self::Nothing | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Returns the texts at a path, through all items of the lists on it.
    pub(super) fn texts(&self, path: &[&str]) -> Vec<&str> {
        match (self, path) {
            (Self::Text(text), []) => vec![text],
            (Self::List(items), _) => items.iter().flat_map(|item| item.texts(path)).collect(),
            (Self::Map(_), [first, rest @ ..]) => {
                self.part(first).map(|part| part.texts(rest)).unwrap_or_default()
            }
            (Self::Nothing | Self::Text(_) | Self::Map(_), _) => Vec::new(),
        }
    }
}

fn element(name: &str, content: &Tree, out: &mut String) {
    if *content == Tree::Nothing {
        return;
    }
    out.push('<');
    out.push_str(name);
    out.push('>');
    content.write(out);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Writes text so that it stays text.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

impl<T: Into<Tree>> From<Option<T>> for Tree {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

macro_rules! from_text {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Tree {
            fn from(value: $kind) -> Self {
                Self::Text(value.to_string())
            }
        }
    )*};
}

from_text!(&str, String, &String, bool, i32, i64, u32, u64, usize, Ipv4Addr, Ipv4Net);

impl From<Moment> for Tree {
    fn from(at: Moment) -> Self {
        Self::Text(at.timestamp().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_escaped_and_what_is_nothing_is_not_there() {
        let tree = map([
            ("a", "1 < 2 & \"3\"".into()),
            ("none", None::<&str>.into()),
            ("set", list([map([("b", true.into())]), "x".into()])),
        ]);
        let mut out = String::new();
        tree.write(&mut out);
        assert_eq!(
            out,
            "<a>1 &lt; 2 &amp; &quot;3&quot;</a><set><item><b>true</b></item><item>x</item></set>"
        );
        assert_eq!(tree.texts(&["set", "b"]), ["true"]);
    }
}
