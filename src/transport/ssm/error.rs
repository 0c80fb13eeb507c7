//! What can go wrong between Systems Manager and a command.

use std::borrow::Cow;

use crate::aws::{self, Ending, Verdict};

/// What kept a command from running to its own end, beside what every transport has.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts beside them show")]
pub enum Error {
    /// AWS refused a call, or its reply is missing; the command has not begun.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// Systems Manager does not know the machine, or has not heard of it for a while.
    #[error("Systems Manager does not reach {at}")]
    NotManaged { at: String, source: aws::Error },
    /// More is to be sent than can be.
    #[error("what is to be sent to {at} has {size} bytes when packed, and {largest} can be sent")]
    TooLarge { at: String, size: usize, largest: usize },
    /// Nobody knows whether Systems Manager took the command.
    #[error("lost the reply to sending the command to {at}, and it is not listed")]
    Unheard { at: String, source: aws::Error },
    /// AWS does not tell how the command goes on.
    #[error("cannot see how the command on {at} goes on, so it was cancelled")]
    Unwatched { at: String, source: aws::Error },
    /// The command's output has no end.
    #[error("the command on {at} wrote more than the {kept} characters that Systems Manager keeps")]
    OutputCut { at: String, kept: usize },
    /// Systems Manager says how the command ended, the command itself does not.
    #[error("the command on {at} {}{}", told(.ending), quoted(.said))]
    Ended { at: String, ending: Ending, said: String },
}

fn told(ending: &Ending) -> String {
    match ending {
        Ending::Success => "ended without its last line".to_owned(),
        Ending::Failed => "was broken off on the server".to_owned(),
        Ending::Cancelled => "was cancelled".to_owned(),
        Ending::ExecutionTimedOut => "was ended by the server's agent: its time was up".to_owned(),
        Ending::DeliveryTimedOut => "was not fetched by the server's agent in time".to_owned(),
        Ending::Undeliverable => "could not be delivered: no agent answers there".to_owned(),
        Ending::Other(word) => format!("ended as Systems Manager calls {word}"),
    }
}

fn quoted(said: &str) -> String {
    let last = said.lines().next_back().map(|line| format!("; it said: {line}"));
    last.unwrap_or_default()
}

fn is_undelivered(ending: &Ending) -> bool {
    matches!(ending, Ending::DeliveryTimedOut | Ending::Undeliverable)
}

/// What helps where nobody knows how far a command has come.
const AGAIN: &str = "run the same command again; where that does not help, look whether the server \
                     restarts, or somebody ends commands there";

impl Error {
    /// Says what a person can do about it.
    pub(in crate::transport) fn hint(&self) -> Option<Cow<'static, str>> {
        let advice = match self {
            Self::Aws(error) => return error.hint(),
            Self::Unwatched { source, .. } => return source.hint().or(Some(AGAIN.into())),
            Self::TooLarge { .. } => Some("send it over SSH or WinRM"),
            Self::OutputCut { .. } => {
                Some("run it over SSH or WinRM, which carry the whole output")
            }
            Self::Ended { ending, .. } if !is_undelivered(ending) => Some(AGAIN),
            Self::NotManaged { .. } | Self::Ended { .. } => Some(
                "check that the instance runs, that its SSM Agent does (Get-Service \
                 AmazonSSMAgent), that its instance profile has the policy \
                 AmazonSSMManagedInstanceCore, and that it may open connections to port 443",
            ),
            Self::Unheard { .. } => {
                Some("the command may still run there; look before trying again")
            }
        };
        advice.map(Cow::Borrowed)
    }

    /// Says whether the command had perhaps begun on the machine.
    pub(in crate::transport) fn had_begun(&self) -> bool {
        match self {
            Self::Unheard { .. } | Self::Unwatched { .. } | Self::OutputCut { .. } => true,
            Self::Ended { ending, .. } => !is_undelivered(ending),
            Self::Aws(_) | Self::NotManaged { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Says whether the same call may succeed later, as while a machine starts anew.
    pub(in crate::transport) fn may_pass(&self) -> bool {
        match self {
            Self::NotManaged { .. } | Self::Unheard { .. } => true,
            Self::Aws(error) => matches!(error.verdict, Verdict::Again | Verdict::Lost),
            // A restart breaks a command off.
            Self::Ended { ending, .. } => *ending == Ending::Failed || is_undelivered(ending),
            Self::TooLarge { .. } | Self::Unwatched { .. } | Self::OutputCut { .. } => false,
        }
    }
}
