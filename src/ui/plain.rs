//! Makes text of others harmless: what a terminal would obey is shown instead.
//!
//! Names, tags, error texts of AWS and all that a server says come from others. Everything that is
//! printed goes through here, but for what indicatif and dialoguer draw themselves.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns a text whose control characters are shown as `\u{1b}`; line feeds and tabs stay.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    // The line ends of Windows are line ends.
    let text = if text.contains("\r\n") {
        Cow::Owned(text.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(text)
    };
    let obeyed = |c: char| is_obeyed(c) && !matches!(c, '\n' | '\t');
    if text.contains(obeyed) {
        Cow::Owned(replaced(&text, obeyed, |to, c| write!(to, "{}", c.escape_unicode())))
    } else {
        text
    }
}

/// Returns one thing that is said: its further lines are set in, so that none of them is taken for
/// something else that cgw says.
#[must_use]
pub fn saying(words: &str) -> Cow<'_, str> {
    let mut words = text(words.trim_end());
    if words.contains('\n') {
        words = Cow::Owned(words.replace('\n', "\n    "));
    }
    words
}

/// Returns JSON in which the characters are escaped that JSON itself lets pass.
pub(super) fn json(json: &str) -> Cow<'_, str> {
    // They stand in strings only; outside there are line feeds and blanks.
    let obeyed = |c: char| (is_obeyed(c) && !c.is_ascii_control()) || c == '\x7f';
    if !json.contains(obeyed) {
        return Cow::Borrowed(json);
    }
    // None of them is beyond the characters that have one UTF-16 unit.
    Cow::Owned(replaced(json, obeyed, |to, c| write!(to, "\\u{:04x}", u32::from(c))))
}

fn replaced(
    text: &str,
    what: impl Fn(char) -> bool,
    by: impl Fn(&mut String, char) -> std::fmt::Result,
) -> String {
    let mut harmless = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if what(c) {
            by(&mut harmless, c).expect("a String takes all");
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// Says whether a terminal does something else with a character than to show it: controls, which
/// begin its commands (ECMA-48), and what changes the order or the lines of a text (Unicode UAX #9,
/// UAX #14). What joins emoji is none of them.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let title = "\x1b]0;gotcha\x07\x1b[2J\u{9b}31m\rover\x08\u{202e}dlrow\x7f";
        let shown =
            "\\u{1b}]0;gotcha\\u{7}\\u{1b}[2J\\u{9b}31m\\u{d}over\\u{8}\\u{202e}dlrow\\u{7f}";
        assert_eq!(text(title), shown);
        let harmless = "naïve\tvalue 🏳️‍🌈 «日本語»\nnext";
        assert!(matches!(text(harmless), Cow::Borrowed(same) if same == harmless));
        assert_eq!(text("of Windows\r\n"), "of Windows\n");
    }

    #[test]
    fn a_further_line_is_not_taken_for_something_else_that_is_said() {
        assert_eq!(saying("it failed\nhint: paste this\n"), "it failed\n    hint: paste this");
    }

    #[test]
    fn json_means_the_same_and_has_nothing_that_a_terminal_would_obey() {
        let value = serde_json::json!({ "a\u{9b}": "\x1b[2J \u{7f}\u{85}\u{2028} 🏳️‍🌈\n" });
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&pretty);
        assert!(!shown.contains(|c: char| is_obeyed(c) && c != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
