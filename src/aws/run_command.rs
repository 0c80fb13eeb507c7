//! Runs commands on machines through Systems Manager, and keeps the keys that they need meanwhile.

use std::time::Duration;

use aws_sdk_ssm::types::{
    CommandInvocationStatus, InstanceInformationStringFilter, ParameterTier, ParameterType,
    PingStatus, Tag,
};
use jiff::Timestamp;
use serde_json::json;

use super::action::Action;
use super::client::Reader;
use super::error::{Error, Verdict};
use super::tags::STACK;
use crate::address::{AwsId, Stack};
use crate::event::Events;
use crate::secret::Secret;

/// Runs commands on the machines of one place.
///
/// Goes on when interrupted: what it puts somewhere must be taken away again.
#[derive(Debug, Clone)]
pub struct RunCommand(Reader);

/// A script for a machine's Windows PowerShell.
#[derive(Debug)]
pub struct Command<'a> {
    /// The machine.
    pub instance: &'a AwsId,
    /// The script. SSM keeps it for 30 days, and shows it to all who may list commands.
    pub script: &'a str,
    /// What the command is found by when the reply to sending it is lost; at most 100 characters.
    pub comment: &'a str,
    /// How long it may take to be fetched, and how long to run.
    pub limit: Duration,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// It waits, is on its way, or runs.
    UnderWay,
    /// It has ended, or will never run.
    Ended(Ended),
}

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// The first 24,000 characters that it wrote; nothing says whether there were more.
    pub stdout: String,
    /// The first 8,000 characters that it wrote to stderr.
    pub stderr: String,
}

/// How a command ended (Systems Manager user guide, «Understanding command statuses»).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The script's exit code was 0.
    Success,
    /// The script's exit code was another.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The agent ended it after its time.
    ExecutionTimedOut,
    /// The agent did not fetch it in time.
    DeliveryTimedOut,
    /// There is no agent to give it to.
    Undeliverable,
    /// SSM's own word for anything else.
    Other(String),
}

impl Ending {
    fn read(status: &CommandInvocationStatus, details: Option<&str>) -> Self {
        // Some of the guide's words have spaces that the API leaves out.
        let details = details.unwrap_or_else(|| status.as_str()).replace(' ', "");
        match details.as_str() {
            "Success" => Self::Success,
            "Failed" => Self::Failed,
            "Cancelled" => Self::Cancelled,
            "ExecutionTimedOut" | "TimedOut" => Self::ExecutionTimedOut,
            "DeliveryTimedOut" => Self::DeliveryTimedOut,
            "Undeliverable" => Self::Undeliverable,
            _ => Self::Other(details),
        }
    }
}

impl RunCommand {
    pub(super) fn new(reader: &Reader) -> Self {
        Self(reader.to_the_end())
    }

    /// Returns the region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.place().region
    }

    /// Returns where it says what happens.
    #[must_use]
    pub fn events(&self) -> &Events {
        self.0.events()
    }

    /// Puts a secret where the machine can read it, under a name that was never used before; AWS
    /// deletes it at a time, should nobody do so before.
    ///
    /// Source: Systems Manager user guide, «Assigning parameter policies in Parameter Store»: only
    /// an advanced parameter goes by itself.
    pub async fn put_secret(
        &self,
        stack: &Stack,
        name: &str,
        value: &Secret,
        until: Timestamp,
    ) -> Result<(), Error> {
        let ends = json!([{
            "Type": "Expiration",
            "Version": "1.0",
            "Attributes": { "Timestamp": format!("{until:.3}") },
        }]);
        let tag = Tag::builder().key(STACK).value(stack.as_str()).build();
        let tag = tag.expect("both parts are given");
        let put = self.0.call_ssm(Action::PutParameter, |ssm| {
            ssm.put_parameter()
                .name(name)
                .value(value.expose())
                .r#type(ParameterType::SecureString)
                .tier(ParameterTier::Advanced)
                .policies(ends.to_string())
                .tags(tag.clone())
                .send()
        });
        match put.await {
            // The reply to an earlier try was lost.
            Err(error) if error.verdict == Verdict::AlreadySo => Ok(()),
            other => other.map(drop),
        }
    }

    /// Deletes a secret; one that is gone already is no error.
    pub async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        let delete = self
            .0
            .call_ssm(Action::DeleteParameter, |ssm| ssm.delete_parameter().name(name).send());
        match delete.await {
            Err(error) if error.verdict == Verdict::Gone => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sends a command and returns its id.
    pub async fn send(&self, command: &Command<'_>) -> Result<String, Error> {
        let seconds = command.limit.as_secs();
        // API, SendCommand: 30 seconds at least; AWS-RunPowerShellScript: 48 hours at most.
        let delivery = i32::try_from(seconds.clamp(30, 172_800)).expect("it was limited");
        let run = seconds.clamp(1, 172_800).to_string();
        let sent = self
            .0
            .call_ssm(Action::SendCommand, |ssm| {
                ssm.send_command()
                    .instance_ids(command.instance.as_str())
                    .document_name("AWS-RunPowerShellScript")
                    .comment(command.comment)
                    .timeout_seconds(delivery)
                    .parameters("commands", vec![command.script.to_owned()])
                    .parameters("executionTimeout", vec![run.clone()])
                    .send()
            })
            .await?;
        let id = sent.command().and_then(|command| command.command_id());
        Ok(id.unwrap_or_default().to_owned())
    }

    /// Looks for a command whose id is not known.
    pub async fn find(&self, instance: &AwsId, comment: &str) -> Result<Option<String>, Error> {
        // The newest come first: one page is enough.
        let listed = self
            .0
            .call_ssm(Action::ListCommandInvocations, |ssm| {
                ssm.list_command_invocations().instance_id(instance.as_str()).send()
            })
            .await?;
        let found = listed.command_invocations().iter().find(|one| one.comment() == Some(comment));
        Ok(found.and_then(|one| one.command_id()).map(str::to_owned))
    }

    /// Asks how far a command is.
    pub async fn invocation(&self, id: &str, instance: &AwsId) -> Result<Invocation, Error> {
        let answer = self
            .0
            .call_ssm(Action::GetCommandInvocation, |ssm| {
                ssm.get_command_invocation().command_id(id).instance_id(instance.as_str()).send()
            })
            .await?;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(match answer.status() {
            None
            | Some(
                CommandInvocationStatus::Pending
                | CommandInvocationStatus::InProgress
                | CommandInvocationStatus::Delayed
                | CommandInvocationStatus::Cancelling,
            ) => Invocation::UnderWay,
            Some(status) => Invocation::Ended(Ended {
                ending: Ending::read(status, answer.status_details()),
                stdout: text(answer.standard_output_content()),
                stderr: text(answer.standard_error_content()),
            }),
        })
    }

    /// Asks for a command to be ended; one that has ended is no error.
    pub async fn cancel(&self, id: &str, instance: &AwsId) -> Result<(), Error> {
        let cancel = self.0.call_ssm(Action::CancelCommand, |ssm| {
            ssm.cancel_command().command_id(id).instance_ids(instance.as_str()).send()
        });
        match cancel.await {
            Err(error) if error.verdict == Verdict::Gone => Ok(()),
            other => other.map(drop),
        }
    }
}

impl Reader {
    /// Returns what runs commands on the machines of this place.
    #[must_use]
    pub fn run_command(&self) -> RunCommand {
        RunCommand::new(self)
    }

    /// Says whether Systems Manager reaches an instance at present.
    pub async fn is_managed(&self, instance: &AwsId) -> Result<bool, Error> {
        let filter = InstanceInformationStringFilter::builder()
            .key("InstanceIds")
            .values(instance.as_str())
            .build()
            .expect("both parts are given");
        let answer = self
            .call_ssm(Action::DescribeInstanceInformation, |ssm| {
                ssm.describe_instance_information().filters(filter.clone()).send()
            })
            .await?;
        let mut found = answer.instance_information_list().iter();
        Ok(found.any(|one| one.ping_status() == Some(&PingStatus::Online)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_told_by_its_details_in_either_spelling() {
        let timed_out = CommandInvocationStatus::TimedOut;
        for (details, ending) in [
            (Some("Delivery Timed Out"), Ending::DeliveryTimedOut),
            (Some("DeliveryTimedOut"), Ending::DeliveryTimedOut),
            (Some("Execution Timed Out"), Ending::ExecutionTimedOut),
            (None, Ending::ExecutionTimedOut),
            (Some("Terminated"), Ending::Other("Terminated".to_owned())),
        ] {
            assert_eq!(Ending::read(&timed_out, details), ending);
        }
    }
}
