//! The VPC's end of the VPN.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{GatewayType, ResourceType};
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, tagged};
use super::{Error, Hands, VpnGatewayAttachment};
use crate::address::{Address, Id, Stack};
use crate::aws::{self, Action, Source};
use crate::diff::Diff;
use crate::world::{self, Gateway, World};

/// A virtual private gateway; one that the VPC has already is adopted and never deleted.
///
/// A pending one can be used: where AWS refuses it, the call that uses it is sent again.
#[derive(Debug)]
pub struct VpnGateway;

/// Nothing is chosen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spec;

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// `pending`, `available`, `deleting`.
    pub state: String,
    /// AWS's autonomous system number.
    pub asn: i64,
}

impl From<&Gateway> for State {
    fn from(o: &Gateway) -> Self {
        Self { state: o.state.clone(), asn: o.asn }
    }
}

impl Kind for VpnGateway {
    const NAME: &'static str = "vpn-gateway";
    const READS: &'static [Source] = &[Source::VpnGateways];
    type Spec = Spec;
    type State = State;

    fn needs(_: &Spec) -> Vec<Address> {
        Vec::new()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        tagged(world, stack, Self::NAME, |r| &r.vpn_gateways, |_, o| o.into())
    }

    fn adopted(world: &World, id: &Id) -> Option<State> {
        by_id(world, id).map(State::from)
    }

    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let all = world.regions.iter().flat_map(|r| &r.connections);
        let connections = all.filter(|c| c.gateway.as_ref() == Some(id.owner()));
        let attachment = by_id(world, id).filter(|g| g.attachment.is_some());
        connections
            .map(|c| c.id.clone().into())
            .chain(attachment.map(|g| Id::link(&g.id, VpnGatewayAttachment::NAME)))
            .collect()
    }

    fn diff(_: &Spec, _: &State, _: &Deps<'_>) -> Diff {
        Diff::new()
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        _: &Spec,
        _: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let tags = aws::specification(ResourceType::VpnGateway, at.address, &BTreeMap::new());
        let reply = at
            .writer(hands)?
            .call(Action::CreateVpnGateway, |ec2| {
                ec2.create_vpn_gateway()
                    .r#type(GatewayType::Ipsec1)
                    .tag_specifications(tags.clone())
                    .send()
            })
            .await?;
        let made = reply.vpn_gateway().and_then(world::gateway);
        let made =
            made.ok_or(Error::Reply { action: Action::CreateVpnGateway, lacks: "gateway" })?;
        Ok(Made { id: made.id.clone().into(), state: Some((&made).into()) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        let id = id.owner().as_str();
        gone_is_fine(
            at.writer(hands)?
                .call(Action::DeleteVpnGateway, |ec2| {
                    ec2.delete_vpn_gateway().vpn_gateway_id(id).send()
                })
                .await,
        )?;
        Ok(Next::Nothing)
    }
}

/// Returns the VPN gateway with an id, or the owner of a link.
pub(super) fn by_id<'a>(world: &'a World, id: &Id) -> Option<&'a Gateway> {
    world.regions.iter().flat_map(|r| &r.vpn_gateways).find(|o| &o.id == id.owner())
}
