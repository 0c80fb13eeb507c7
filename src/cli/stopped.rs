//! Why a command ended early: printed once, here, with its hint and exit code.

use std::process::ExitCode;

use serde_json::json;

use crate::aws;
use crate::lease;
use crate::preflight::Refusal;
use crate::sandbox;
use crate::server;
use crate::ui;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Usage, or refused before anything was changed.
    Refused = 2,
    /// There is something to change.
    Changes = 3,
    /// Somebody else holds the lock.
    Locked = 4,
    /// Both tunnels are down.
    TunnelsDown = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub struct Stopped {
    /// The exit code.
    pub code: Code,
    /// What is wrong, each with a hint.
    pub refusals: Vec<Refusal>,
}

impl Stopped {
    /// Refuses before anything was changed.
    pub fn refused(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(Code::Refused, text, hint)
    }

    /// Ends with an exit code, a sentence and a hint.
    pub fn with(code: Code, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, refusals: vec![Refusal { text: text.into(), hint: hint.into() }] }
    }

    /// Says that something was changed before, and how to go on.
    #[must_use]
    pub fn half_way(mut self, again: &str) -> Self {
        if self.code == Code::Refused {
            self.code = Code::Failed;
        }
        let (text, hint) = ("not all is done".to_owned(), again.to_owned());
        self.refusals.push(Refusal { text, hint });
        self
    }

    /// Says that it is so only since the plan was shown.
    #[must_use]
    pub fn meanwhile(mut self) -> Self {
        let text = "that was not so when the plan was shown".to_owned();
        self.refusals.push(Refusal { text, hint: "run the same command again".to_owned() });
        self
    }

    /// Returns the reasons as one text.
    pub(super) fn text(&self) -> String {
        let texts: Vec<&str> = self.refusals.iter().map(|refusal| refusal.text.as_str()).collect();
        texts.join("; ")
    }

    /// Prints the reasons.
    pub fn print(&self, json: bool) {
        for Refusal { text, hint } in &self.refusals {
            if json {
                ui::data(&ui::json_line("error", &json!({ "text": text, "hint": hint })));
            }
            ui::talk(&format!("error: {text}"));
            if !hint.is_empty() {
                ui::talk(&format!("  hint: {hint}"));
            }
        }
    }
}

impl From<aws::Error> for Stopped {
    /// An error of a read: nothing was changed yet.
    fn from(error: aws::Error) -> Self {
        Self::refused(error.to_string(), error.hint().unwrap_or_default())
    }
}

impl From<server::Error> for Stopped {
    fn from(error: server::Error) -> Self {
        let first = std::error::Error::source(&error);
        let causes = std::iter::successors(first, |cause| cause.source());
        let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        Self::refused(text, error.hint().unwrap_or_default())
    }
}

impl From<lease::Error> for Stopped {
    fn from(error: lease::Error) -> Self {
        match &error {
            lease::Error::Aws(aws) => {
                Self::with(Code::Failed, error.to_string(), aws.hint().unwrap_or_default())
            }
            lease::Error::Interrupted(_) => {
                Self::with(Code::Interrupted, error.to_string(), "nothing was changed")
            }
            lease::Error::Misnamed { .. } => Self::refused(
                error.to_string(),
                "it is never taken over: remove it, or wait for it to go",
            ),
            lease::Error::Held { .. } => Self::with(
                Code::Locked,
                error.to_string(),
                "wait for it to end; if it is certainly dead, take the lock with --force-unlock",
            ),
        }
    }
}

impl From<sandbox::Error> for Stopped {
    fn from(error: sandbox::Error) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let text = format!("{error}{}", cause.unwrap_or_default());
        Self::refused(text, "name another folder with --sandbox=FOLDER, or remove this one")
    }
}

impl From<Vec<Refusal>> for Stopped {
    fn from(refusals: Vec<Refusal>) -> Self {
        Self { code: Code::Refused, refusals }
    }
}
