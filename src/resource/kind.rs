//! What a kind of node is to the rest: a declaration, a state, and what can be done about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use super::hands::retract;
use super::{Error, Hands, State};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Place, Source, Writer};
use crate::diff::{Diff, Want};
use crate::world::{Object, Region, World};

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It can be used.
    Ready,
    /// AWS still works on it.
    Pending,
    /// It will never be ready, for this reason.
    Failed(String),
    /// It is on its way out.
    Going,
}

/// A node as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live<S> {
    /// Which node it is.
    pub address: Address,
    /// What AWS calls it.
    pub id: Id,
    /// Where it is.
    pub place: Place,
    /// What was seen of it.
    pub state: S,
}

impl<S> Live<S> {
    pub(super) fn map<T>(self, f: impl FnOnce(S) -> T) -> Live<T> {
        let Self { address, id, place, state } = self;
        Live { address, id, place, state: f(state) }
    }
}

/// Finds the objects of a place that a stack has tagged as its nodes of a kind.
pub(super) fn tagged<O: Object, S>(
    world: &World,
    stack: &Stack,
    kind: &'static str,
    all: impl Fn(&Region) -> &[O],
    state: impl Fn(&Region, &O) -> S,
) -> Vec<Live<S>> {
    let mut found = Vec::new();
    for region in &world.regions {
        found.extend(all(region).iter().filter_map(|object| {
            let address = Address::new(stack, kind, object.tags().node_key(stack, kind)?);
            let (id, place) = (object.id().clone().into(), region.place.clone());
            Some(Live { address, id, place, state: state(region, object) })
        }));
    }
    found
}

/// What became of a create call.
#[derive(Debug)]
pub struct Made<S> {
    /// What AWS calls it.
    pub id: Id,
    /// What the reply said of it; `None`: look for it.
    pub state: Option<S>,
}

impl<S> Made<S> {
    pub(super) fn map<T>(self, f: impl FnOnce(S) -> T) -> Made<T> {
        Made { id: self.id, state: self.state.map(f) }
    }
}

/// What follows an accepted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the reply said that it is done.
    Nothing,
    /// Looking, until it is so.
    Look,
}

/// Where a node is worked on.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Which node.
    pub address: &'a Address,
    /// In which place.
    pub place: &'a Place,
}

impl At<'_> {
    /// Returns the stack that the node belongs to.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.address.stack
    }

    /// Returns the hands for this place.
    pub(super) fn writer<'h>(&self, hands: &'h Hands) -> Result<&'h Writer, Error> {
        hands.at(self.place)
    }
}

/// What a file under `resource/` writes, and nothing more.
pub trait Kind: Sized {
    /// AWS's own word for it.
    const NAME: &'static str;
    /// The reads that show such a node.
    const READS: &'static [Source];
    /// The reads that show whether another stack uses it; none: no other can.
    const SHARED: &'static [Source] = &[];
    /// Whether it ends together with its owner.
    const GOES_WITH_OWNER: bool = false;
    /// Whether the server may be out of reach once it is gone: what is still to be done there comes
    /// before.
    const LEADS_TO_SERVER: bool = false;
    /// Whether taking it away puts an earlier value back.
    const RESTORES: bool = false;
    /// What is declared.
    type Spec;
    /// What is seen.
    type State;

    /// Returns what the declaration hangs from.
    fn needs(spec: &Self::Spec) -> Vec<Address>;
    /// Finds all of a stack's nodes of this kind.
    fn find(world: &World, stack: &Stack) -> Vec<Live<Self::State>>;
    /// Looks at somebody else's object that is to serve as this node.
    #[must_use]
    fn adopted(_world: &World, _id: &Id) -> Option<Self::State> {
        None
    }
    /// Returns what must be gone before this can be, ours or not.
    #[must_use]
    fn removed_after(_world: &World, _id: &Id) -> Vec<Id> {
        Vec::new()
    }
    /// Returns what a removal leaves as it is because somebody else changed it.
    #[must_use]
    fn left_alone(_state: &Self::State) -> Option<String> {
        None
    }
    /// Returns the other stacks that use it: it stays for them.
    #[must_use]
    fn others(_world: &World, _id: &Id, _stack: &Stack) -> BTreeSet<Stack> {
        BTreeSet::new()
    }
    /// Returns how much is lost with it: of several that serve as one node, the one that is worth
    /// most stays.
    fn worth(_state: &Self::State) -> usize {
        0
    }
    /// Returns how far it is.
    fn phase(_state: &Self::State) -> Phase {
        Phase::Ready
    }
    /// Compares.
    fn diff(spec: &Self::Spec, state: &Self::State, deps: &Deps<'_>) -> Diff;
    /// Starts making it, tagged in the same call.
    fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Self::Spec,
        deps: &Deps<'_>,
    ) -> impl Future<Output = Result<Made<Self::State>, Error>>;
    /// Starts changing it so that it differs no more; what has only fixed fields is never changed.
    fn update(
        _hands: &Hands,
        _at: &At<'_>,
        _id: &Id,
        _spec: &Self::Spec,
        _state: &Self::State,
        _deps: &Deps<'_>,
    ) -> impl Future<Output = Result<Next, Error>> {
        std::future::ready(Ok(Next::Nothing))
    }
    /// Starts removing it; removing what is gone succeeds.
    fn delete(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        state: &Self::State,
    ) -> impl Future<Output = Result<Next, Error>>;
    /// Leaves it to another stack that uses it: whoever is the last removes it.
    fn hand_over(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        _to: &Stack,
    ) -> impl Future<Output = Result<(), Error>> {
        async move { retract(at.writer(hands)?, id.owner(), at.stack(), Self::NAME).await }
    }
}

/// A kind whose state can be told from the others'.
pub trait Stated: Kind<State: 'static> {
    /// Returns the state if it is of this kind.
    fn among(state: &State) -> Option<&Self::State>;
}

/// A typed reference to another node: asking a subnet for a VPN's field does not compile.
pub struct Ref<K>(pub Address, PhantomData<fn() -> K>);

impl<K: Kind> Ref<K> {
    /// Refers to the stack's only node of the kind.
    #[must_use]
    pub fn only(stack: &Stack) -> Self {
        Self(Address::new(stack, K::NAME, ""), PhantomData)
    }
}

impl<K> Clone for Ref<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K> PartialEq for Ref<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K> Eq for Ref<K> {}

impl<K> fmt::Debug for Ref<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "→{}", self.0)
    }
}

impl<K> Serialize for Ref<K> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

/// The nodes that exist so far: those that will be made or replaced are not among them yet.
#[derive(Debug, Clone, Copy)]
pub struct Deps<'a>(pub &'a BTreeMap<Address, (Id, State)>);

impl<'a> Deps<'a> {
    /// Returns what another node is, or that it is known only after that node is made.
    #[must_use]
    pub fn look<K: Stated>(&self, of: &Ref<K>) -> Want<(&'a AwsId, &'a K::State)> {
        match self.0.get(&of.0).and_then(|(id, state)| Some((id.owner(), K::among(state)?))) {
            Some(found) => Want::Is(found),
            None => Want::KnownAfter(of.0.clone()),
        }
    }

    /// Returns another node's id, or that it is known only after that node is made.
    #[must_use]
    pub fn id<K: Stated>(&self, of: &Ref<K>) -> Want<&'a AwsId> {
        self.look(of).map(|(id, _)| id)
    }

    /// Returns what another node is, while applying: it exists, because this one waits for it.
    pub fn must<K: Stated>(&self, of: &Ref<K>) -> Result<(&'a AwsId, &'a K::State), Error> {
        match self.look(of) {
            Want::Is(found) => Ok(found),
            Want::KnownAfter(address) => Err(Error::Missing(address)),
        }
    }
}
