//! The link between the public address and the server's interface.

use std::collections::BTreeSet;

use serde::Serialize;

use super::elastic_ip::by_id;
use super::hands::{announce, gone_is_fine, retract};
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{ElasticIp, Error, Hands};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source};
use crate::diff::Diff;
use crate::world::World;

/// An Elastic IP's association; a tag on the address says which interface it is for.
#[derive(Debug)]
pub struct ElasticIpAssociation;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The address.
    pub address: Ref<ElasticIp>,
    /// The interface.
    pub interface: AwsId,
    /// Whether the address's tag says so already.
    pub is_announced: bool,
    /// Whether another stack has made it: it is announced, and is there.
    pub is_shared: bool,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The interface; `None`: announced, but not made yet or undone already.
    pub interface: Option<AwsId>,
    /// AWS's id of the association.
    pub association: Option<AwsId>,
    /// The interface that the tag names, on an address that is somebody else's.
    pub announced: Option<String>,
}

impl Kind for ElasticIpAssociation {
    const NAME: &'static str = "elastic-ip-association";
    const READS: &'static [Source] = &[Source::Addresses];
    const SHARED: &'static [Source] = &[Source::Addresses];
    const LEADS_TO_SERVER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.address.0.clone()]
    }

    /// On the stack's own address it is found while it is as announced: the address may be moved
    /// by anybody, and goes with its tags.
    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            for o in &region.addresses {
                let Some(announced) = o.tags.announcement(stack, Self::NAME) else { continue };
                let is_so = o.interface.as_ref().is_some_and(|i| i.as_str() == announced);
                let is_own = o.tags.belongs_to(stack);
                if is_own && !is_so {
                    continue;
                }
                found.push(Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State {
                        interface: o.interface.clone(),
                        association: o.association.clone(),
                        announced: (!is_own).then(|| announced.to_owned()),
                    },
                });
            }
        }
        found
    }

    fn adopted(world: &World, id: &Id) -> Option<State> {
        by_id(world, id.owner()).map(|o| State {
            interface: o.interface.clone(),
            association: o.association.clone(),
            announced: None,
        })
    }

    fn others(world: &World, id: &Id, stack: &Stack) -> BTreeSet<Stack> {
        let address = by_id(world, id.owner());
        address.into_iter().flat_map(|o| o.tags.other_announcers(stack, Self::NAME)).collect()
    }

    fn left_alone(state: &State) -> Option<String> {
        let (announced, now) = (state.announced.as_ref()?, state.interface.as_ref()?);
        (now.as_str() != announced).then(|| format!("the address now serves {now}"))
    }

    fn diff(spec: &Spec, state: &State, _: &Deps<'_>) -> Diff {
        let diff = match &state.interface {
            Some(was) => Diff::new().fixed("interface", was, &spec.interface),
            None => Diff::new().field("interface", "", &spec.interface),
        };
        match &state.announced {
            Some(announced) => diff.field("announced", announced, &spec.interface),
            None => diff,
        }
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let writer = at.writer(hands)?;
        let (address, _) = deps.must(&spec.address)?;
        if !spec.is_announced {
            announce(writer, address, at.stack(), Self::NAME, spec.interface.as_str()).await?;
        }
        let association = if spec.is_shared {
            None
        } else {
            associate(hands, at, address, &spec.interface).await?
        };
        let state = State { interface: Some(spec.interface.clone()), association, announced: None };
        Ok(Made { id: Id::link(address, Self::NAME), state: Some(state) })
    }

    /// It was announced and is not made: the tag may name an interface of before.
    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        state: &State,
        _: &Deps<'_>,
    ) -> Result<Next, Error> {
        if !spec.is_announced {
            let interface = spec.interface.as_str();
            announce(at.writer(hands)?, id.owner(), at.stack(), Self::NAME, interface).await?;
        }
        if state.interface.is_none() {
            associate(hands, at, id.owner(), &spec.interface).await?;
        }
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        if let (Some(association), None) = (&state.association, Self::left_alone(state)) {
            let association = association.as_str();
            gone_is_fine(
                writer
                    .call(Action::DisassociateAddress, |ec2| {
                        ec2.disassociate_address().association_id(association).send()
                    })
                    .await,
            )?;
        }
        if state.announced.is_some() {
            retract(writer, id.owner(), at.stack(), Self::NAME).await?;
        }
        Ok(Next::Nothing)
    }
}

/// Associates without taking the address away from another interface, or another address from
/// this one.
async fn associate(
    hands: &Hands,
    at: &At<'_>,
    address: &AwsId,
    interface: &AwsId,
) -> Result<Option<AwsId>, Error> {
    let reply = at
        .writer(hands)?
        .call(Action::AssociateAddress, |ec2| {
            ec2.associate_address()
                .allocation_id(address.as_str())
                .network_interface_id(interface.as_str())
                .allow_reassociation(false)
                .send()
        })
        .await?;
    Ok(reply.association_id().map(AwsId::new))
}
