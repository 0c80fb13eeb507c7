//! The server's public address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{DomainType, ResourceType};
use serde::Serialize;

use super::hands::{gone_is_fine, make_over, retract};
use super::kind::{At, Deps, Kind, Live, Made, Next, tagged};
use super::{ElasticIpAssociation, Error, Hands};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Source};
use crate::diff::Diff;
use crate::world::{ElasticAddress, World};

/// An Elastic IP; the server's own, or the one given, is adopted and never released.
#[derive(Debug)]
pub struct ElasticIp;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The interface it is made for: a tag says so, and whoever moves it elsewhere keeps it.
    pub interface: AwsId,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The address.
    pub ip: Ipv4Addr,
}

impl Kind for ElasticIp {
    const NAME: &'static str = "elastic-ip";
    const READS: &'static [Source] = &[Source::Addresses];
    const SHARED: &'static [Source] = &[Source::Addresses];
    type Spec = Spec;
    type State = State;

    fn needs(_: &Spec) -> Vec<Address> {
        Vec::new()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        tagged(world, stack, Self::NAME, |r| &r.addresses, |_, o| State { ip: o.ip })
    }

    fn adopted(world: &World, id: &Id) -> Option<State> {
        by_id(world, id.owner()).map(|o| State { ip: o.ip })
    }

    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let Some(address) = by_id(world, id.owner()) else { return Vec::new() };
        // An interface that somebody moved it to is nobody's to take it from.
        let association = match (moved_to(address), &address.association) {
            (Some(interface), _) => Some(Id::Aws(interface.clone())),
            (None, Some(_)) => Some(Id::link(&address.id, ElasticIpAssociation::NAME)),
            (None, None) => None,
        };
        let named = world.regions.iter().flat_map(|r| &r.customer_gateways);
        let ours =
            named.filter(|c| c.ip == Some(address.ip) && c.tags.stack() == address.tags.stack());
        association.into_iter().chain(ours.map(|c| c.id.clone().into())).collect()
    }

    fn others(world: &World, id: &Id, stack: &Stack) -> BTreeSet<Stack> {
        ElasticIpAssociation::others(world, id, stack)
    }

    /// Which interface it serves is its association's matter.
    fn diff(_: &Spec, _: &State, _: &Deps<'_>) -> Diff {
        Diff::new()
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        _: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let key = aws::announcement(at.stack(), ElasticIpAssociation::NAME);
        let serves = BTreeMap::from([(key, spec.interface.to_string())]);
        let tags = aws::specification(ResourceType::ElasticIp, at.address, &serves);
        let reply = at
            .writer(hands)?
            .call(Action::AllocateAddress, |ec2| {
                ec2.allocate_address()
                    .domain(DomainType::Vpc)
                    .tag_specifications(tags.clone())
                    .send()
            })
            .await?;
        let lacks = |lacks| Error::Reply { action: Action::AllocateAddress, lacks };
        let id = reply.allocation_id().map(AwsId::new).ok_or(lacks("allocation id"))?;
        let ip = reply.public_ip().and_then(|ip| ip.parse().ok()).ok_or(lacks("public address"))?;
        Ok(Made { id: id.into(), state: Some(State { ip }) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        let id = id.owner().as_str();
        gone_is_fine(
            at.writer(hands)?
                .call(Action::ReleaseAddress, |ec2| ec2.release_address().allocation_id(id).send())
                .await,
        )?;
        Ok(Next::Nothing)
    }

    async fn hand_over(hands: &Hands, at: &At<'_>, id: &Id, to: &Stack) -> Result<(), Error> {
        let writer = at.writer(hands)?;
        make_over(writer, id.owner(), &Address::new(to, Self::NAME, "")).await?;
        // Where nothing is associated any more, nobody else takes that away.
        retract(writer, id.owner(), at.stack(), ElasticIpAssociation::NAME).await
    }
}

/// Returns the Elastic IP with an allocation id.
pub(super) fn by_id<'a>(world: &'a World, id: &AwsId) -> Option<&'a ElasticAddress> {
    world.regions.iter().flat_map(|r| &r.addresses).find(|o| &o.id == id)
}

/// Returns the interface that somebody moved a stack's own address to.
pub(super) fn moved_to(address: &ElasticAddress) -> Option<&AwsId> {
    let stack: Stack = address.tags.stack()?.parse().ok()?;
    let announced = address.tags.announcement(&stack, ElasticIpAssociation::NAME)?;
    address.interface.as_ref().filter(|interface| interface.as_str() != announced)
}
