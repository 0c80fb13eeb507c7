//! Takes away what a command leaves in AWS, also where nobody waits for the command any more.

use std::time::Duration;

use super::Ssm;
use crate::aws::Error;
use crate::time::{self, Backoff};

/// How long a command may take to be listed.
const LISTED: Duration = Duration::from_secs(10);

/// What there is of one command in AWS.
///
/// INVARIANT: what may be there is noted before the call that makes it.
#[derive(Debug)]
pub(super) struct Traces {
    ssm: Ssm,
    /// The name of this run: random, and no secret.
    pub(super) id: String,
    /// Whether the parameter with the keys may be there.
    pub(super) key: bool,
    /// Whether a command may run.
    pub(super) sent: Sent,
    /// How many commands there were.
    count: usize,
    /// Whether nobody waits for it any more.
    is_given_up: bool,
}

/// What is known of a command that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// There is none.
    No,
    /// Nobody has said whether it was sent.
    Perhaps,
    /// It has this id.
    As(String),
}

impl Traces {
    pub(super) fn new(ssm: Ssm, id: String) -> Self {
        Self { ssm, id, key: false, sent: Sent::No, count: 0, is_given_up: false }
    }

    /// The parameter that the keys are in.
    pub(super) fn parameter(&self) -> String {
        format!("/cgw/{}", self.id)
    }

    /// Notes that a command is about to be sent, and returns the comment that it is found by.
    pub(super) fn begin(&mut self) -> String {
        self.count += 1;
        self.sent = Sent::Perhaps;
        self.comment()
    }

    fn comment(&self) -> String {
        format!("cgw {} {}", self.id, self.count)
    }

    /// Looks for the command when the reply to sending it was lost.
    pub(super) async fn find(&self) -> Result<Option<String>, Error> {
        let mut rests = Backoff::new(Duration::from_secs(1), Duration::from_secs(3), LISTED);
        loop {
            let found = self.ssm.carrier.find(&self.ssm.instance, &self.comment()).await?;
            match (found, rests.next_rest()) {
                (None, Some(rest)) => time::sleep(rest).await,
                (found, _) => return Ok(found),
            }
        }
    }

    /// Deletes the keys, then cancels the command; says what cannot be taken away.
    pub(super) async fn remove(&mut self) {
        if self.key {
            if let Err(error) = self.ssm.carrier.delete_secret(&self.parameter()).await {
                self.tell(&format!("the key of a command is left in AWS ({error})"));
            }
            self.key = false;
        }
        let id = match std::mem::replace(&mut self.sent, Sent::No) {
            Sent::No => return,
            Sent::As(id) => Ok(Some(id)),
            Sent::Perhaps => self.find().await,
        };
        let cancelled = match id {
            Ok(None) => return,
            Ok(Some(id)) => self.ssm.carrier.cancel(&id, &self.ssm.instance).await,
            Err(error) => Err(error),
        };
        if let Err(error) = cancelled {
            let at = self.ssm.describe();
            self.ssm.carrier.events().warn(format!("the command on {at} may go on ({error})"));
        }
    }

    fn tell(&self, what: &str) {
        let (name, region) = (self.parameter(), self.ssm.carrier.region());
        self.ssm.carrier.events().warn(format!(
            "{what}; delete it: aws ssm delete-parameter --region {region} --name {name}"
        ));
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // Once only: a runtime that ends drops at once what it is given.
        if self.is_given_up || (!self.key && self.sent == Sent::No) {
            return;
        }
        self.tell("a command was given up; if cgw ends at once, its key is left in AWS");
        let (ssm, id, sent) = (self.ssm.clone(), self.id.clone(), self.sent.clone());
        let (key, count) = (self.key, self.count);
        let mut traces = Self { ssm, id, key, sent, count, is_given_up: true };
        // Who drops a future waits for nothing more: this goes on by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move { traces.remove().await }));
        }
    }
}
