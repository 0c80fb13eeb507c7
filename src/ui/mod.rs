//! Shows events and plans: data on standard output, talk on standard error.

mod bars;
mod json;
mod lines;
mod live;
mod plain;
mod plan;
mod speaker;
mod table;

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};

use crate::event::Events;

pub use json::{line as json_line, value as json_value};
#[doc(hidden)]
pub use lines::tell as tell_event;
pub use live::Live;
pub use plain::saying;
pub use plan::tell as tell_plan;
pub use speaker::spoken_by;
pub use table::tell as tell_table;

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs: one event a line on standard output.
    Json,
}

/// Returns where events go: bars on a terminal, lines elsewhere, JSON when asked.
#[must_use]
pub fn events(form: Form) -> Events {
    match form {
        Form::Json => Events::new(json::Json),
        Form::Text if std::io::stderr().is_terminal() => Events::new(bars::Bars::new()),
        Form::Text => Events::new(lines::Lines::default()),
    }
}

thread_local! {
    /// What is heard instead of printed on this thread, while somebody listens.
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what is printed on this thread from now on, instead of printing it.
pub fn listen() {
    HEARD.set(Some(String::new()));
}

/// Returns what was heard since [`listen`], and goes on listening.
#[must_use]
pub fn heard() -> String {
    HEARD.with_borrow_mut(|heard| heard.as_mut().map(std::mem::take)).unwrap_or_default()
}

/// Says whether what is printed is kept instead.
fn is_listened_to() -> bool {
    HEARD.with_borrow(Option::is_some)
}

/// Keeps a text if somebody listens.
fn is_heard(text: &str) -> bool {
    HEARD.with_borrow_mut(|heard| heard.as_mut().map(|all| all.push_str(text)).is_some())
}

/// Prints data; a reader that went away is no error.
pub fn data(text: &str) {
    let text = speaker::data(&plain::text(text));
    if is_heard(&text) {
        return;
    }
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!(target: "cgw", "nobody reads standard output");
    }
}

/// Prints talk: one thing that is said, mostly one line.
pub fn talk(text: &str) {
    let text = speaker::talk(&saying(text));
    if is_heard(&format!("{text}\n")) {
        return;
    }
    let mut err = std::io::stderr().lock();
    if writeln!(err, "{text}").is_err() {
        tracing::debug!(target: "cgw", "nobody reads standard error");
    }
}

/// Asks a question that is answered with yes or no.
///
/// Returns `None` when nobody can be asked.
#[must_use]
pub fn confirm(question: &str) -> Option<bool> {
    // A whole word and Enter: one key alone is pressed too easily.
    line(&format!("{question} [y/N]")).map(|answer| is_yes(&answer))
}

/// Asks for a line, which may be empty; returns `None` when nobody can be asked.
#[must_use]
pub fn line(question: &str) -> Option<String> {
    if !can_ask() {
        return None;
    }
    let prompt = prompt(question);
    let ask = dialoguer::Input::<String>::new().with_prompt(prompt).allow_empty(true);
    ask.interact_text().ok()
}

/// Only a plain yes is one.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Asks for a line, which is what is proposed if nothing is entered, until it is right.
#[must_use]
pub fn entry<T>(
    question: &str,
    proposed: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    if !can_ask() {
        return None;
    }
    let mut ask = dialoguer::Input::<String>::new().with_prompt(prompt(question));
    if let Some(proposed) = proposed {
        ask = ask.default(proposed.to_owned());
    }
    let ask = ask.validate_with(|answer: &String| read(answer.trim()).map(drop));
    ask.interact_text().ok().and_then(|answer| read(answer.trim()).ok())
}

/// Asks which of several, by number; returns `None` when nobody can be asked.
#[must_use]
pub fn choose(question: &str, items: &[String]) -> Option<usize> {
    choose_from(question, items, None)
}

/// Asks like [`choose`]; if nothing is entered, it is what is proposed.
#[must_use]
pub fn choose_from(question: &str, items: &[String], proposed: Option<usize>) -> Option<usize> {
    if !can_ask() {
        return None;
    }
    for (n, item) in items.iter().enumerate() {
        talk(&format!("{:>3}  {item}", n + 1));
    }
    let wrong = format!("a number from 1 to {}", items.len());
    let proposed = proposed.map(|n| (n + 1).to_string());
    entry(question, proposed.as_deref(), |answer| {
        let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        number.filter(|n| *n < items.len()).ok_or_else(|| wrong.clone())
    })
}

/// Asks for a password without showing it.
#[must_use]
pub fn password(question: &str) -> Option<String> {
    if !can_ask() {
        return None;
    }
    dialoguer::Password::new().with_prompt(prompt(question)).interact().ok()
}

fn prompt(question: &str) -> String {
    speaker::talk(&saying(question))
}

/// Says whether a person sits at the other end.
#[must_use]
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        assert!(["y", "Y", " yes "].iter().all(|answer| is_yes(answer)));
        assert!(!["", "n", "no", "maybe", "yesterday"].iter().any(|answer| is_yes(answer)));
    }
}
