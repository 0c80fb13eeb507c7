//! Desired × live → changes and their order; `approve()`; pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::address::{Address, Id, Stack};
use crate::aws::{Place, Reader, Writer};
use crate::diff::Diff;
use crate::event::Events;
use crate::resource::{
    Deps, Dice, Hands, Kind as _, Live, NAMES, Phase, Spec, StackRecord, State, WindowsSetup,
};
use crate::server::Reach;
use crate::topology::Node;
use crate::world::World;

/// What is to become of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is as declared.
    Keep,
    /// It is somebody else's and serves as it is.
    Adopt,
    /// It is as declared, but AWS still works on it.
    Check,
    /// It is made.
    Create,
    /// It is changed in place.
    Update(Diff),
    /// It is removed and made anew.
    Replace(Diff),
    /// It is removed.
    Delete,
    /// The value that it had before is put back.
    Restore,
    /// It stays for other stacks that use it.
    HandOver(BTreeSet<Stack>),
}

impl Change {
    /// Returns the word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Adopt => "adopt",
            Self::Check => "wait for",
            Self::Create => "create",
            Self::Update(_) => "update",
            Self::Replace(_) => "replace",
            Self::Delete => "delete",
            Self::Restore => "restore",
            Self::HandOver(_) => "hand over",
        }
    }

    /// Returns the word for it once it is done.
    #[must_use]
    pub fn done(&self) -> &'static str {
        match self {
            Self::Keep => "kept",
            Self::Adopt => "adopted",
            Self::Check => "ready",
            Self::Create => "created",
            Self::Update(_) => "updated",
            Self::Replace(_) => "replaced",
            Self::Delete => "deleted",
            Self::Restore => "restored",
            Self::HandOver(_) => "handed over",
        }
    }

    /// Says whether it changes anything.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self {
            Self::Keep | Self::Adopt | Self::Check => false,
            Self::Create
            | Self::Update(_)
            | Self::Replace(_)
            | Self::Delete
            | Self::Restore
            | Self::HandOver(_) => true,
        }
    }
}

/// Tells steps apart: a node that is replaced has two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Bringing a node to what is declared.
    Make(Address),
    /// Removing one object.
    Remove(Address, Id),
}

impl Key {
    /// Returns the node.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Make(address) | Self::Remove(address, _) => address,
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which step.
    pub key: Key,
    /// Where.
    pub place: Place,
    /// What is to be done.
    pub change: Change,
    /// What AWS calls the object, where there is one.
    pub id: Option<Id>,
    /// What is declared; `None` when it is removed.
    #[serde(skip)]
    pub spec: Option<Spec>,
    /// What is seen; `None` when there is nothing yet.
    #[serde(skip)]
    pub state: Option<State>,
    /// Which steps come first.
    pub after: Vec<Key>,
    /// What a person should know of it.
    pub note: Option<String>,
}

/// Something that is the stack's and stays, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The node.
    pub address: Address,
    /// What AWS calls it.
    pub id: Id,
    /// Why it stays.
    pub because: String,
}

/// What is to be done, in which order; plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The stack.
    pub stack: Stack,
    /// One step for each declared node, and one for each object that goes.
    pub steps: Vec<Step>,
    /// What stays although it should go.
    pub left: Vec<Left>,
}

impl Plan {
    /// Says whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }

    /// Returns the steps that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.change.is_change())
    }

    /// Returns the steps that the engine has to take: those that change something, and those that
    /// wait for AWS.
    pub fn work(&self) -> impl Iterator<Item = &Step> {
        let idle = |change: &Change| matches!(change, Change::Keep | Change::Adopt);
        self.steps.iter().filter(move |step| !idle(&step.change))
    }

    /// Says whether another plan does nothing that this one does not: whoever approved this one
    /// approved that one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let counts = |step: &&Step| step.change.is_change() || step.change == Change::Adopt;
        let is_same = |a: &Step, b: &Step| (&a.key, &a.change, &a.id) == (&b.key, &b.change, &b.id);
        let mut all = other.steps.iter().filter(counts);
        all.all(|theirs| self.steps.iter().any(|own| is_same(own, theirs)))
    }

    /// Returns what would have to be replaced but cannot be removed: such a plan leads nowhere.
    pub fn stuck(&self) -> impl Iterator<Item = &Left> {
        let is_replaced = |left: &&Left| {
            self.steps.iter().any(|step| {
                matches!(step.change, Change::Replace(_))
                    && (step.key.address(), step.id.as_ref()) == (&left.address, Some(&left.id))
            })
        };
        self.left.iter().filter(is_replaced)
    }

    /// Says whether it does nothing but remove what was seen, and put values back: what it does not
    /// know of it cannot harm but for a value that somebody has changed since.
    #[must_use]
    pub fn only_removes(&self) -> bool {
        self.work().all(|step| step.spec.is_none())
    }

    /// Says whether something goes that other stacks may use as well.
    #[must_use]
    pub fn gives_up_shared(&self) -> bool {
        let is_shared = |state: &State| !state.shared().is_empty();
        self.changes().any(|step| step.spec.is_none() && step.state.as_ref().is_some_and(is_shared))
    }

    /// Says whether it makes anything.
    #[must_use]
    pub fn makes(&self) -> bool {
        self.work().any(|step| matches!(step.change, Change::Create | Change::Replace(_)))
    }

    /// Splits it into all else, and what becomes of the record.
    #[must_use]
    pub fn split_record(&self) -> (Self, Self) {
        let (record, rest) =
            self.steps.iter().cloned().partition(|step| is_record(step.key.address()));
        let part = |steps| Self { stack: self.stack.clone(), steps, left: self.left.clone() };
        (part(rest), part(record))
    }

    /// Leaves of it what is done to nodes of some kinds; all else stays as it is.
    #[must_use]
    pub fn only(mut self, kinds: &[&str]) -> Self {
        for step in &mut self.steps {
            let is_seen = matches!(step.change, Change::Update(_) | Change::Check);
            if is_seen && !kinds.contains(&step.key.address().kind) {
                step.change = Change::Keep;
            }
        }
        self.steps
            .retain(|step| kinds.contains(&step.key.address().kind) || !step.change.is_change());
        let stays: BTreeSet<Key> = self.steps.iter().map(|step| step.key.clone()).collect();
        for step in &mut self.steps {
            step.after.retain(|key| stays.contains(key));
        }
        self.left.retain(|left| kinds.contains(&left.address.kind));
        self
    }

    /// Returns the nodes that exist before anything is done.
    #[must_use]
    pub fn known(&self) -> BTreeMap<Address, (Id, State)> {
        let stays = |change: &Change| {
            matches!(change, Change::Keep | Change::Adopt | Change::Check | Change::Update(_))
        };
        self.steps
            .iter()
            .filter(|step| stays(&step.change))
            .filter_map(|step| {
                Some((step.key.address().clone(), (step.id.clone()?, step.state.clone()?)))
            })
            .collect()
    }

    /// Approves the plan: whoever calls this has asked, or was told not to ask.
    #[must_use]
    pub fn approve(self) -> Approved {
        Approved(self)
    }
}

/// A plan that may be carried out.
#[derive(Debug, Clone)]
pub struct Approved(Plan);

impl Approved {
    /// Returns the plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.0
    }

    /// Returns the plan, and nothing else of it stays.
    #[must_use]
    pub fn into_plan(self) -> Plan {
        self.0
    }

    /// Turns readers into what can change things.
    ///
    /// INVARIANT: the only caller of `Writer::new`.
    #[must_use]
    pub fn hands(
        &self,
        readers: Vec<Reader>,
        server: Option<Reach>,
        dice: Dice,
        events: Events,
    ) -> Hands {
        Hands::new(readers.into_iter().map(Writer::new), server, dice, events)
    }
}

/// Plans: what is desired against what is live.
///
/// Deterministic: the same input gives the same plan, whatever the order of what was found.
#[must_use]
pub fn plan(stack: &Stack, desired: &[Node], live: &[Live<State>], world: &World) -> Plan {
    let mut planner = Planner {
        stack,
        world,
        adopted: desired.iter().filter_map(|node| node.adopt.clone()).collect(),
        live: sorted(live),
        going: BTreeMap::new(),
        steps: Vec::new(),
        known: BTreeMap::new(),
    };
    for node in desired {
        planner.make(node);
    }
    let declared: BTreeSet<&Address> = desired.iter().map(|node| &node.address).collect();
    for n in 0..planner.live.len() {
        let address = planner.live[n].address.clone();
        if !declared.contains(&address) {
            planner.remove(n);
        }
    }
    let left = planner.leave_what_is_used();
    let (going, mut steps) = (planner.going, planner.steps);
    let removals = order_removals(stack, world, &going, &steps);
    steps.extend(removals);
    steps.sort_by_key(|step| rank(&step.key));
    // A fleet holds a plan for each stack.
    steps.shrink_to_fit();
    Plan { stack: stack.clone(), steps, left }
}

fn sorted(live: &[Live<State>]) -> Vec<Live<State>> {
    let mut live = live.to_vec();
    live.sort_by(|a, b| (&a.address, &a.id).cmp(&(&b.address, &b.id)));
    live.dedup_by(|a, b| a.address == b.address && a.id == b.id);
    live
}

/// Steps are told in the order of the kinds; what is removed after what is made.
fn rank(key: &Key) -> (bool, usize, Key) {
    let kind = NAMES.iter().position(|name| *name == key.address().kind).unwrap_or(NAMES.len());
    (matches!(key, Key::Remove(..)), kind, key.clone())
}

struct Planner<'a> {
    stack: &'a Stack,
    world: &'a World,
    /// What serves although it is somebody else's. INVARIANT: nothing of it goes, whatever its tags
    /// say.
    adopted: BTreeSet<Id>,
    live: Vec<Live<State>>,
    /// What goes.
    going: BTreeMap<(Address, Id), Live<State>>,
    steps: Vec<Step>,
    known: BTreeMap<Address, (Id, State)>,
}

impl Planner<'_> {
    /// Plans one declared node; what it needs was planned before.
    fn make(&mut self, node: &Node) {
        let found: Vec<usize> =
            (0..self.live.len()).filter(|n| self.live[*n].address == node.address).collect();
        let adopted = node
            .adopt
            .as_ref()
            .and_then(|id| Some((id.clone(), node.spec.adopted(self.world, id)?)));
        let keep = if adopted.is_some() { None } else { self.one_to_keep(node, &found) };
        for n in found {
            if Some(n) != keep {
                self.remove(n);
            }
        }
        let deps = Deps(&self.known);
        let (change, existing) = match (adopted, keep.map(|n| &self.live[n])) {
            (Some(adopted), _) => (Change::Adopt, Some(adopted)),
            (None, None) => (Change::Create, None),
            (None, Some(live)) => {
                let diff = node.spec.diff(&live.state, &deps);
                let change = if diff.is_empty() {
                    match live.state.phase() {
                        Phase::Pending => Change::Check,
                        Phase::Ready | Phase::Failed(_) | Phase::Going => Change::Keep,
                    }
                } else if diff.replaces() {
                    Change::Replace(diff)
                } else {
                    Change::Update(diff)
                };
                (change, Some((live.id.clone(), live.state.clone())))
            }
        };
        let mut after: Vec<Key> = node.needs.iter().cloned().map(Key::Make).collect();
        if let (Change::Replace(_), Some(n)) = (&change, keep) {
            after.push(Key::Remove(node.address.clone(), self.live[n].id.clone()));
            self.remove(n);
        } else if let Some((id, state)) = &existing {
            self.known.insert(node.address.clone(), (id.clone(), state.clone()));
        }
        // One that is on its way out has to be gone first, and so has a link: there is room for one.
        if matches!(change, Change::Create | Change::Replace(_)) {
            let in_the_way = |address: &Address, id: &Id, live: &Live<State>| {
                let is_link = matches!(id, Id::Link { .. });
                address == &node.address && (is_link || live.state.phase() == Phase::Going)
            };
            let leaving = self.going.iter().filter(|((a, id), live)| in_the_way(a, id, live));
            after.extend(leaving.map(|((a, id), _)| Key::Remove(a.clone(), id.clone())));
            after.sort();
            after.dedup();
        }
        let (id, state) = existing.unzip();
        let spec = Some(node.spec.clone());
        let key = Key::Make(node.address.clone());
        let place = node.place.clone();
        self.steps.push(Step { key, place, change, id, spec, state, after, note: None });
    }

    /// Of several that were found for one node, keeps the one that can stay as it is, is worth
    /// most, and is most in use.
    fn one_to_keep(&self, node: &Node, found: &[usize]) -> Option<usize> {
        let stays = |n: &&usize| {
            let live = &self.live[**n];
            let owner_goes = match &live.id {
                Id::Aws(_) => false,
                Id::Link { owner, .. } => {
                    self.going.keys().any(|(_, id)| *id == Id::Aws(owner.clone()))
                }
            };
            // By two profiles the same region is still the same.
            let is_here = live.place.region == node.place.region;
            is_here && live.state.phase() != Phase::Going && !owner_goes
        };
        let merit = |n: &usize| {
            let live = &self.live[*n];
            let is_fit = !node.spec.diff(&live.state, &Deps(&self.known)).replaces();
            let uses = live.state.removed_after(self.world, &live.id).len();
            (is_fit, live.state.worth(), uses)
        };
        found.iter().filter(stays).rev().max_by_key(|n| merit(n)).copied()
    }

    fn remove(&mut self, n: usize) {
        let live = self.live[n].clone();
        if !self.adopted.contains(&live.id) {
            self.going.insert((live.address.clone(), live.id.clone()), live);
        }
    }

    /// Takes out of what goes all that others use; what then cannot go either follows.
    fn leave_what_is_used(&mut self) -> Vec<Left> {
        let mut left = Vec::new();
        loop {
            let ids: BTreeSet<&Id> = self.going.keys().map(|(_, id)| id).collect();
            let made: BTreeSet<&Id> = self
                .steps
                .iter()
                .filter(|step| matches!(step.change, Change::Update(_) | Change::Replace(_)))
                .filter_map(|step| step.id.as_ref())
                .collect();
            let stuck = self.going.iter().find_map(|(key, live)| {
                if !live.state.others(self.world, &live.id, self.stack).is_empty() {
                    return None;
                }
                let users = live.state.removed_after(self.world, &live.id);
                let user = users.into_iter().find(|u| !ids.contains(u) && !made.contains(u))?;
                Some((key.clone(), format!("{user} uses it and is not this stack's to remove")))
            });
            let Some((key, because)) = stuck else { break };
            self.going.remove(&key);
            left.push(Left { address: key.0, id: key.1, because });
        }
        if !left.is_empty() {
            let records: Vec<_> =
                self.going.keys().filter(|(a, _)| is_record(a)).cloned().collect();
            for (address, id) in records {
                self.going.remove(&(address.clone(), id.clone()));
                let because = "the record stays as long as anything else does".to_owned();
                left.push(Left { address, id, because });
            }
        }
        left
    }
}

/// Returns the removal with which an object or a link ends: its own, or its owner's.
fn ends_with(by_itself: &BTreeMap<&Id, Key>, id: &Id) -> Option<Key> {
    let owner = Id::Aws(id.owner().clone());
    by_itself.get(id).or_else(|| by_itself.get(&owner)).cloned()
}

/// Says whether a node is the stack's record: it comes first and goes last.
///
/// INVARIANT: whatever cgw makes of a stack, its record is there or its lock is. So if nothing of the
/// stack was seen, and its record could be made in that VPC under the lock, nobody has made anything
/// of it there since.
pub(crate) fn is_record(address: &Address) -> bool {
    address.kind == StackRecord::NAME
}

/// Orders what goes by the links that are live; what ends with its owner is not removed by itself.
fn order_removals(
    stack: &Stack,
    world: &World,
    going: &BTreeMap<(Address, Id), Live<State>>,
    made: &[Step],
) -> Vec<Step> {
    let gone_with_owner = |live: &Live<State>| {
        live.state.goes_with_owner()
            && going.keys().any(|(_, id)| *id == Id::Aws(live.id.owner().clone()))
    };
    let by_itself: BTreeMap<&Id, Key> = going
        .values()
        .filter(|live| !gone_with_owner(live))
        .map(|live| (&live.id, Key::Remove(live.address.clone(), live.id.clone())))
        .collect();
    let mut steps = Vec::new();
    for live in going.values().filter(|live| !gone_with_owner(live)) {
        let key = Key::Remove(live.address.clone(), live.id.clone());
        let users = live.state.removed_after(world, &live.id);
        let mut after: Vec<Key> = users.iter().filter_map(|id| ends_with(&by_itself, id)).collect();
        // What uses it and is changed lets go of it by that change.
        let changed = made.iter().filter(|step| {
            matches!(step.change, Change::Update(_))
                && step.id.as_ref().is_some_and(|id| users.contains(id))
        });
        after.extend(changed.map(|step| step.key.clone()));
        if live.state.leads_to_server() {
            let is_setup = |key: &&Key| key.address().kind == WindowsSetup::NAME;
            after.extend(by_itself.values().filter(is_setup).cloned());
        }
        if is_record(&live.address) {
            after.extend(by_itself.values().filter(|other| !is_record(other.address())).cloned());
        }
        after.sort();
        after.dedup();
        let others = live.state.others(world, &live.id, stack);
        let change = if !others.is_empty() {
            Change::HandOver(others)
        } else if live.state.is_restored() {
            Change::Restore
        } else {
            Change::Delete
        };
        steps.push(Step {
            key,
            place: live.place.clone(),
            change,
            id: Some(live.id.clone()),
            spec: None,
            state: Some(live.state.clone()),
            after,
            note: live.state.left_alone(),
        });
    }
    steps
}
