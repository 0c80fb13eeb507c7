//! A static prefix of the VPN connection: what AWS sends into the tunnels.

use ipnet::Ipv4Net;
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{Error, Hands, VpnConnection};
use crate::address::{Address, Id, Stack};
use crate::aws::{Action, Source};
use crate::diff::Diff;
use crate::world::World;

/// A static prefix; ends with its connection.
#[derive(Debug)]
pub struct VpnConnectionRoute;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The connection.
    pub connection: Ref<VpnConnection>,
    /// The site's network.
    pub cidr: Ipv4Net,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The network.
    pub cidr: Ipv4Net,
}

impl Kind for VpnConnectionRoute {
    const NAME: &'static str = "vpn-connection-route";
    const READS: &'static [Source] = &[Source::VpnConnections];
    const GOES_WITH_OWNER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.connection.0.clone()]
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            for o in &region.connections {
                if o.tags.node_key(stack, VpnConnection::NAME).is_none() {
                    continue;
                }
                found.extend(o.prefixes.iter().map(|cidr| Live {
                    address: Address::new(stack, Self::NAME, cidr.to_string()),
                    id: Id::link(&o.id, format!("{} {cidr}", Self::NAME)),
                    place: region.place.clone(),
                    state: State { cidr: *cidr },
                }));
            }
        }
        found
    }

    fn diff(spec: &Spec, state: &State, _: &Deps<'_>) -> Diff {
        Diff::new().fixed("cidr", state.cidr, spec.cidr)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let (connection, _) = deps.must(&spec.connection)?;
        at.writer(hands)?
            .call(Action::CreateVpnConnectionRoute, |ec2| {
                ec2.create_vpn_connection_route()
                    .vpn_connection_id(connection.as_str())
                    .destination_cidr_block(spec.cidr.to_string())
                    .send()
            })
            .await?;
        let id = Id::link(connection, format!("{} {}", Self::NAME, spec.cidr));
        Ok(Made { id, state: Some(State { cidr: spec.cidr }) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let connection = id.owner().as_str();
        gone_is_fine(
            at.writer(hands)?
                .call(Action::DeleteVpnConnectionRoute, |ec2| {
                    ec2.delete_vpn_connection_route()
                        .vpn_connection_id(connection)
                        .destination_cidr_block(state.cidr.to_string())
                        .send()
                })
                .await,
        )?;
        Ok(Next::Nothing)
    }
}
