//! What a kind works with: writers, the server, dice.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Dice;
use crate::address::{Address, AwsId, Stack};
use crate::aws::{self, Action, Place, Verdict, Writer, announcement};
use crate::event::Events;
use crate::server::{self, Reach};

/// What a kind works with.
#[derive(Debug)]
pub struct Hands {
    writers: BTreeMap<Place, Writer>,
    /// The Windows Server, if scripts are to be pushed.
    pub server: Option<Reach>,
    /// The only randomness.
    pub dice: RefCell<Dice>,
    tokens: RefCell<BTreeMap<Address, String>>,
    /// Where to say what happens.
    pub events: Events,
}

impl Hands {
    /// Joins the writers of all places with the server and the dice.
    #[must_use]
    pub fn new(
        writers: impl IntoIterator<Item = Writer>,
        server: Option<Reach>,
        dice: Dice,
        events: Events,
    ) -> Self {
        let by_place = |writer: Writer| (writer.reader().place().clone(), writer);
        Self {
            writers: writers.into_iter().map(by_place).collect(),
            server,
            dice: RefCell::new(dice),
            tokens: RefCell::default(),
            events,
        }
    }

    /// Returns what makes AWS take a request for a node for the one that was sent before, should its
    /// reply have been lost: the same one as long as these hands work.
    pub(super) fn token(&self, of: &Address) -> String {
        let mut tokens = self.tokens.borrow_mut();
        tokens.entry(of.clone()).or_insert_with(|| self.dice.borrow_mut().token()).clone()
    }

    /// Returns the writer of a place.
    pub fn at(&self, place: &Place) -> Result<&Writer, Error> {
        self.writers.get(place).ok_or_else(|| Error::NoWriter(place.clone()))
    }
}

/// Why a node could not be made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EC2 refused a call.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// The server refused the scripts.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// A node that this one needs does not exist.
    #[error("{0} does not exist")]
    Missing(Address),
    /// AWS answered without what every such answer has.
    #[error("the reply to {} has no {lacks}", action.name())]
    Reply {
        /// What was asked for.
        action: Action,
        /// What the reply lacks.
        lacks: &'static str,
    },
    /// Somebody else has made the same thing meanwhile.
    #[error("{0} is somebody else's and was made meanwhile; run again to take it into account")]
    Taken(AwsId),
    /// The stack's record is there, although it was not seen.
    #[error("it is there already, although it was not seen")]
    Outdated,
    /// A change would take the last tunnel down that carries traffic.
    #[error("the tunnel {0} carries the traffic by now, and the other one does not")]
    Carries(Ipv4Addr),
    /// AWS says that the node failed.
    #[error("AWS gives it up: {0}")]
    GivenUp(String),
    /// AWS did not get there in time.
    #[error("not {until} after {minutes} minutes")]
    TooLong {
        /// What was waited for.
        until: &'static str,
        /// For how long.
        minutes: u64,
    },
    /// The run was interrupted while it waited.
    #[error("AWS is still working on it")]
    Interrupted,
    /// No writer was approved for that place.
    #[error("nothing was approved for {0}")]
    NoWriter(Place),
    /// A declaration was held against another kind's state.
    #[error("a {0} was compared with another kind of node")]
    Mixed(&'static str),
    /// What AWS has cannot be turned into scripts.
    #[error(transparent)]
    Playbook(#[from] crate::playbook::Error),
    /// The scripts do not carry what AWS has.
    #[error("the scripts do not carry what AWS has: {0}")]
    Scripts(String),
}

impl Error {
    /// Says whether nobody knows if the call was carried out.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Aws(error) if matches!(error.verdict, Verdict::Lost | Verdict::AlreadySo))
    }

    /// Says whether it was only an interrupt that ended the wait for it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Aws(error) => matches!(error.verdict, Verdict::NotYet(_) | Verdict::Again),
            Self::Server(error) => error.may_pass(),
            Self::Missing(_)
            | Self::Reply { .. }
            | Self::Taken(_)
            | Self::Outdated
            | Self::Carries(_)
            | Self::GivenUp(_)
            | Self::TooLong { .. }
            | Self::NoWriter(_)
            | Self::Mixed(_)
            | Self::Playbook(_)
            | Self::Scripts(_) => false,
        }
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Aws(error) => error.hint().map(Cow::into_owned),
            Self::Outdated => {
                Some("somebody made the stack just now: run the same command again".to_owned())
            }
            Self::Carries(_) => Some(
                "run the same command again, either with --ping ADDRESS, which goes on one tunnel \
                 after the other where cgw logs in to the server, or with --allow-replace, which \
                 cuts the traffic off until the server has the new suites"
                    .to_owned(),
            ),
            Self::Server(error) => error.hint(),
            Self::Missing(_)
            | Self::Reply { .. }
            | Self::Taken(_)
            | Self::GivenUp(_)
            | Self::TooLong { .. }
            | Self::Interrupted
            | Self::NoWriter(_)
            | Self::Mixed(_)
            | Self::Playbook(_)
            | Self::Scripts(_) => None,
        }
    }
}

/// Takes «it is gone already» as success.
pub(super) fn gone_is_fine<T>(result: Result<T, aws::Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.verdict == Verdict::Gone => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes a tag on an object that is not ours alone.
pub(super) async fn announce(
    writer: &Writer,
    on: &AwsId,
    stack: &Stack,
    what: &str,
    value: &str,
) -> Result<(), Error> {
    let tag =
        aws_sdk_ec2::types::Tag::builder().key(announcement(stack, what)).value(value).build();
    writer
        .call(Action::CreateTags, |ec2| {
            ec2.create_tags().resources(on.as_str()).tags(tag.clone()).send()
        })
        .await?;
    Ok(())
}

/// Makes an object another stack's.
pub(super) async fn make_over(writer: &Writer, object: &AwsId, to: &Address) -> Result<(), Error> {
    let tags = aws::owner(to).to_vec();
    writer
        .call(Action::CreateTags, |ec2| {
            ec2.create_tags().resources(object.as_str()).set_tags(Some(tags.clone())).send()
        })
        .await?;
    Ok(())
}

/// Takes such a tag away.
pub(super) async fn retract(
    writer: &Writer,
    on: &AwsId,
    stack: &Stack,
    what: &str,
) -> Result<(), Error> {
    let tag = aws_sdk_ec2::types::Tag::builder().key(announcement(stack, what)).build();
    gone_is_fine(
        writer
            .call(Action::DeleteTags, |ec2| {
                ec2.delete_tags().resources(on.as_str()).tags(tag.clone()).send()
            })
            .await,
    )
}
