//! Parses XML that others have written, in bounded time and memory.

use roxmltree::{Document, ParsingOptions};

/// The longest document in bytes: AWS's configuration file has 5 kB, and a server is asked for
/// answers of 150 kB at most.
pub const LONGEST: usize = 1 << 20;
/// The most elements, texts and comments: each takes some 70 bytes, however short it is written.
const MOST_NODES: u32 = 100_000;
/// The most signs that an attribute needs: each attribute of an element is compared with all before
/// it, so that a megabyte of them takes half a minute.
const MOST_EQUALS: usize = 10_000;
/// The most declarations of namespaces: each element that has one copies all that it inherits, one
/// compared with the other, so that some hundred kilobytes of them take minutes.
const MOST_NAMESPACES: usize = 500;

/// Why a document is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is longer than anything that is asked for.
    #[error("it has {length} bytes, and at most {LONGEST} are read")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It holds more than anything that is asked for.
    #[error("it has more {what} than anything that was asked for")]
    Crowded {
        /// What there are too many of.
        what: &'static str,
    },
    /// It is not well-formed, declares entities, or has too many nodes.
    #[error(transparent)]
    Syntax(#[from] roxmltree::Error),
}

/// Parses a document; one that declares entities, or is larger than any that is asked for, is
/// refused.
pub fn parse(text: &str) -> Result<Document<'_>, Error> {
    if text.len() > LONGEST {
        return Err(Error::TooLong { length: text.len() });
    }
    let has_more = |what: &str, most| text.matches(what).nth(most).is_some();
    if has_more("=", MOST_EQUALS) {
        return Err(Error::Crowded { what: "attributes" });
    }
    if has_more("xmlns", MOST_NAMESPACES) {
        return Err(Error::Crowded { what: "namespaces" });
    }
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    Ok(Document::parse_with_options(text, options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_not_even_declared() {
        let laughs = "<!DOCTYPE a [<!ENTITY b \"ha\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        let file = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>";
        for text in [laughs, file] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, Error::Syntax(roxmltree::Error::DtdDetected)), "{error:?}");
        }
    }

    #[test]
    fn what_is_nested_deeply_neither_ends_the_process_nor_passes() {
        let deep = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(parse(&deep(99_000)).is_ok());
        let error = parse(&deep(110_000)).unwrap_err();
        assert!(matches!(error, Error::Syntax(roxmltree::Error::NodesLimitReached)), "{error:?}");
    }

    #[test]
    fn what_takes_more_memory_or_time_than_its_length_says_is_refused() {
        let attributes: Vec<String> = (0..60_000).map(|n| format!(" a{n}=\"\"")).collect();
        let inherited: Vec<String> = (0..1_000).map(|n| format!("<a xmlns:b{n}=\"\">")).collect();
        for text in [format!("<a{}/>", attributes.concat()), inherited.concat()] {
            assert!(matches!(parse(&text), Err(Error::Crowded { .. })));
        }
        let long = format!("<a>{}</a>", " ".repeat(100 << 20));
        assert!(matches!(parse(&long), Err(Error::TooLong { .. })));
    }
}
