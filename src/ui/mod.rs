//! Shows events and plans: data on standard output, talk on standard error.

mod bars;
mod json;
mod lines;
mod plan;

use std::io::{IsTerminal as _, Write as _};

use crate::event::Events;

pub use json::{line as json_line, value as json_value};
pub use plan::tell as tell_plan;

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

/// Prints data; a reader that went away is no error.
pub fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!(target: "cgw", "nobody reads standard output");
    }
}

/// Prints talk, one line.
pub fn talk(text: &str) {
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
    if !can_ask() {
        return None;
    }
    // One key alone is pressed too easily.
    let ask = dialoguer::Confirm::new().with_prompt(question).default(false).wait_for_newline(true);
    ask.interact().ok()
}

/// Asks which of several, by number; returns `None` when nobody can be asked.
#[must_use]
pub fn choose(question: &str, items: &[String]) -> Option<usize> {
    if !can_ask() {
        return None;
    }
    for (n, item) in items.iter().enumerate() {
        talk(&format!("{:>3}  {item}", n + 1));
    }
    let is_one = |number: &usize| match number {
        1.. if *number <= items.len() => Ok(()),
        _ => Err(format!("a number from 1 to {}", items.len())),
    };
    let number =
        dialoguer::Input::new().with_prompt(question).validate_with(is_one).interact_text();
    number.ok().map(|number: usize| number - 1)
}

/// Asks for a password without showing it.
#[must_use]
pub fn password(question: &str) -> Option<String> {
    if !can_ask() {
        return None;
    }
    dialoguer::Password::new().with_prompt(question).interact().ok()
}

/// Says whether a person sits at the other end.
#[must_use]
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
