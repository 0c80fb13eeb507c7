//! The link between the VPN gateway and its VPC.

use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, Phase, Ref};
use super::vpn_gateway::by_id;
use super::{Error, Hands, RoutePropagation, VpnGateway, route};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source};
use crate::diff::Diff;
use crate::world::{Gateway, World};

/// The attachment of the stack's own VPN gateway; an adopted gateway's is adopted with it.
#[derive(Debug)]
pub struct VpnGatewayAttachment;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The gateway.
    pub gateway: Ref<VpnGateway>,
    /// The VPC.
    pub vpc: AwsId,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The VPC.
    pub vpc: AwsId,
    /// `attaching`, `attached`, `detaching`.
    pub state: String,
}

impl State {
    fn of(gateway: &Gateway) -> Option<Self> {
        let (vpc, state) = gateway.attachment.clone()?;
        Some(Self { vpc, state })
    }
}

impl Kind for VpnGatewayAttachment {
    const NAME: &'static str = "vpn-gateway-attachment";
    const READS: &'static [Source] = &[Source::VpnGateways];
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.gateway.0.clone()]
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            found.extend(region.vpn_gateways.iter().filter_map(|o| {
                o.tags.node_key(stack, VpnGateway::NAME)?;
                Some(Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State::of(o)?,
                })
            }));
        }
        found
    }

    fn adopted(world: &World, id: &Id) -> Option<State> {
        by_id(world, id).and_then(State::of)
    }

    /// AWS refuses to detach a gateway while a connection of it is being deleted, other people's
    /// connections would lose their VPC, and routes through it would become black holes.
    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let all = world.regions.iter().flat_map(|r| &r.connections);
        let connections = all.filter(|c| c.gateway.as_ref() == Some(id.owner()));
        let mut before: Vec<Id> = connections.map(|c| c.id.clone().into()).collect();
        for table in world.regions.iter().flat_map(|r| &r.route_tables) {
            if table.propagating.contains(id.owner()) {
                before.push(Id::link(&table.id, RoutePropagation::NAME));
            }
            let through = |r: &&crate::world::Route| !r.is_propagated && &r.target == id.owner();
            let routes = table.routes.iter().filter(through);
            before.extend(routes.map(|r| route::id(&table.id, r.cidr)));
        }
        before
    }

    /// `detached` right after the call is not final: the attachment is then not found, and
    /// is waited for.
    fn phase(state: &State) -> Phase {
        match state.state.as_str() {
            "attaching" => Phase::Pending,
            "detaching" => Phase::Going,
            _ => Phase::Ready,
        }
    }

    fn diff(spec: &Spec, state: &State, _: &Deps<'_>) -> Diff {
        Diff::new().fixed("vpc", &state.vpc, &spec.vpc)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let (gateway, _) = deps.must(&spec.gateway)?;
        at.writer(hands)?
            .call(Action::AttachVpnGateway, |ec2| {
                ec2.attach_vpn_gateway()
                    .vpn_gateway_id(gateway.as_str())
                    .vpc_id(spec.vpc.as_str())
                    .send()
            })
            .await?;
        Ok(Made { id: Id::link(gateway, Self::NAME), state: None })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let gateway = id.owner().as_str();
        if Self::phase(state) != Phase::Going {
            gone_is_fine(
                at.writer(hands)?
                    .call(Action::DetachVpnGateway, |ec2| {
                        ec2.detach_vpn_gateway()
                            .vpn_gateway_id(gateway)
                            .vpc_id(state.vpc.as_str())
                            .send()
                    })
                    .await,
            )?;
        }
        Ok(Next::Look)
    }
}
