//! What a run keeps others from while it changes something: its stack, and what that shares.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::OwnedMutexGuard;

use super::change::Change;
use super::session::Session;
use super::{Code, Stopped};
use crate::address::{AwsId, Stack};
use crate::aws::{Place, Tags};
use crate::lease::{Force, Lease, Lock, Wanted};
use crate::plan::Plan;
use crate::resource::{ElasticIpAssociation, Hands, Kind as _, SourceDestCheck};
use crate::world::{Customer, Interface, Region, World};

/// The locks that a run holds, the stack's own first.
#[derive(Default)]
pub(super) struct Locks {
    held: Vec<(Lease, Option<Turn>)>,
    /// Whether somebody was at work on the stack when the world was read.
    is_met: bool,
}

/// What keeps the other stacks of this process waiting, in their order and for as long as it takes.
type Turn = OwnedMutexGuard<()>;

impl Locks {
    /// Takes the lock of the stack, and those of what others use as well, if something of it is given
    /// up: of two that give it up at once, each would leave it to the other.
    pub(super) async fn take(
        &mut self,
        session: &Session,
        plan: &Plan,
        hands: &Hands,
        change: &Change<'_>,
    ) -> Result<(), Stopped> {
        let (stack, vpc) = (session.stack.clone(), change.vpc.clone());
        let own = (session.cloud.clone(), Lock { vpc, shared: None, stack });
        self.add(session, hands, change, &own, None).await?;
        let shared = if plan.gives_up_shared() {
            shared(&session.world, &session.stack)
        } else {
            BTreeSet::new()
        };
        for lock in &shared {
            let name = lock.1.shared.as_ref().expect("these locks are of what is shared");
            let turn = self.during(async { Ok(session.shared.turn(name).await) }).await?;
            self.add(session, hands, change, lock, Some(turn)).await?;
        }
        // A run that was killed has left others: one that saw no record, and so knew no VPC, has
        // locked the stack in another one.
        for lock in of_stack(&session.world, &session.stack) {
            self.is_met = true;
            if lock != own && !shared.contains(&lock) {
                self.add(session, hands, change, &lock, None).await?;
            }
        }
        Ok(())
    }

    async fn add(
        &mut self,
        session: &Session,
        hands: &Hands,
        change: &Change<'_>,
        (place, lock): &(Place, Lock),
        turn: Option<Turn>,
    ) -> Result<(), Stopped> {
        let writer =
            hands.at(place).map_err(|error| Stopped::with(Code::Failed, error.to_string(), ""))?;
        let wanted = Wanted {
            holder: session.outside.holder(),
            lock,
            force: if change.options.force_unlock { Force::Yes } else { Force::No },
            patience: Duration::from_secs(change.options.lock_timeout),
            renewals: &session.shared.renewals,
        };
        let taking = Box::pin(Lease::take(writer, wanted));
        let lease = self.during(async { Ok(taking.await?) }).await?;
        self.held.push((lease, turn));
        Ok(())
    }

    /// Does something as long as the locks that are held are not lost.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, Stopped>>,
    ) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            done = work => done,
            why = self.keep() => Err(Stopped::with(Code::Locked, why, "run the same command again")),
        }
    }

    /// Says again and again that they are held; ends with the reason when one is lost.
    pub(super) async fn keep(&self) -> String {
        if self.held.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.held.iter().map(|(lease, _)| Box::pin(lease.keep()))).await.0
    }

    /// Says that they are held.
    pub(super) async fn renew(&self) -> Result<(), Stopped> {
        for (lease, _) in &self.held {
            lease.renew().await.map_err(|error| {
                let text = format!("the lock is lost: {error}");
                Stopped::with(Code::Locked, text, "run the same command again")
            })?;
        }
        Ok(())
    }

    /// Says whether reads may lag behind what somebody did who held one of them until now, or may have.
    pub(super) fn follow_another(&self) -> bool {
        self.is_met
            || self.held.len() > 1
            || self.held.iter().any(|(lease, _)| lease.follows_another)
    }

    /// Lets go of all.
    pub(super) async fn release(self, session: &Session) {
        for (lease, _turn) in self.held.into_iter().rev() {
            if let Err(error) = lease.release().await {
                session.events.warn(format!("a lock stays: {error}"));
            }
        }
    }
}

/// Returns the locks of a stack that were seen, and where each is.
fn of_stack(world: &World, stack: &Stack) -> Vec<(Place, Lock)> {
    let groups = world.regions.iter().flat_map(|r| r.groups.iter().map(|g| (&r.place, g)));
    let locks = groups
        .filter_map(|(place, group)| Some((place.clone(), Lock::read(&group.vpc, &group.tags)?)));
    locks.filter(|(_, lock)| &lock.stack == stack).collect()
}

/// Returns the locks of what other stacks of the server use as well: its interface, and the customer
/// gateway.
///
/// INVARIANT: as long as two stacks share anything, both name the lock of it, whatever else they have
/// given up already.
fn shared(world: &World, stack: &Stack) -> BTreeSet<(Place, Lock)> {
    let mut locks = BTreeSet::new();
    for region in &world.regions {
        let lock = |vpc: &AwsId, shared: &AwsId| {
            let (vpc, shared) = (vpc.clone(), Some(shared.clone()));
            (region.place.clone(), Lock { vpc, shared, stack: stack.clone() })
        };
        let interfaces = region.interfaces.iter();
        let shared = interfaces.filter(|o| is_one_of(stack, &users(region, o)));
        locks.extend(shared.map(|o| lock(&o.vpc, &o.id)));
        // A customer gateway is in no VPC: the first one of the region serves.
        let Some(first) = region.vpcs.iter().map(|vpc| &vpc.id).min() else { continue };
        let gateways = region.customer_gateways.iter();
        let shared = gateways.filter(|o| is_one_of(stack, &users_of_gateway(region, o)));
        locks.extend(shared.map(|o| lock(first, &o.id)));
    }
    locks
}

/// The stacks that have changed an interface, or use the address that serves it.
fn users<'a>(region: &'a Region, interface: &'a Interface) -> BTreeSet<&'a str> {
    let addresses = region.addresses.iter();
    let serving = addresses.filter(|o| o.interface.as_ref() == Some(&interface.id));
    let mut users = interface.tags.users(SourceDestCheck::NAME);
    users.extend(serving.flat_map(|o| o.tags.users(ElasticIpAssociation::NAME)));
    users
}

/// The stack that has made a customer gateway, and those that have a connection to it.
fn users_of_gateway<'a>(region: &'a Region, gateway: &'a Customer) -> BTreeSet<&'a str> {
    let connections = region.connections.iter().filter(|o| o.customer == gateway.id);
    connections.map(|o| &o.tags).chain([&gateway.tags]).filter_map(Tags::stack).collect()
}

fn is_one_of(stack: &Stack, users: &BTreeSet<&str>) -> bool {
    users.len() > 1 && users.contains(stack.as_str())
}
