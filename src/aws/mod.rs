//! Talks to AWS: clients, the table of actions, the table of errors, reads and writes.

mod action;
mod bucket;
mod client;
mod error;
pub mod password;
mod run_command;
mod source;
mod tags;

pub use action::{Action, Effect};
pub use client::{Clients, Place, Reader, Writer};
pub use error::{Error, Verdict};
pub use run_command::{Command, Ended, Ending, Invocation, RunCommand};
pub use source::{Batch, Only, Source};
pub use tags::{NODE, STACK, Tags, announcement, owner, specification};
