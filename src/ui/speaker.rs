//! Whose saying it is, where many stacks speak at once.

use std::future::Future;

use super::Form;
use crate::address::Stack;

tokio::task_local! {
    /// The stack that is worked on, and in which form data is printed.
    static SPEAKER: (Stack, Form);
}

/// Does some work; what it prints meanwhile says of which stack it is.
pub async fn spoken_by<T>(stack: &Stack, form: Form, work: impl Future<Output = T>) -> T {
    SPEAKER.scope((stack.clone(), form), work).await
}

/// Returns the stack that speaks, where several may.
pub(super) fn stack() -> Option<Stack> {
    SPEAKER.try_with(|(stack, _)| stack.clone()).ok()
}

/// Marks each line of talk.
pub(super) fn talk(text: &str) -> String {
    stack().map_or_else(|| text.to_owned(), |stack| marked(&stack, text))
}

/// Marks each line of data, but for JSON: that says it in a field of its own.
pub(super) fn data(text: &str) -> String {
    match SPEAKER.try_with(|(stack, form)| (*form == Form::Text).then(|| marked(stack, text))) {
        Ok(Some(text)) => text,
        Ok(None) | Err(_) => text.to_owned(),
    }
}

fn marked(stack: &Stack, text: &str) -> String {
    text.split_inclusive('\n').fold(String::new(), |text, line| format!("{text}{stack} | {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_line_says_of_which_stack_it_is() {
        let office: Stack = "office".parse().expect("a name");
        assert_eq!(talk("one"), "one");
        let said = spoken_by(&office, Form::Text, async { (talk("one"), data("a\nb\n")) }).await;
        assert_eq!(said, ("office | one".to_owned(), "office | a\noffice | b\n".to_owned()));
        let told = spoken_by(&office, Form::Json, async { (talk("one"), data("{}\n")) }).await;
        assert_eq!(told, ("office | one".to_owned(), "{}\n".to_owned()));
    }
}
