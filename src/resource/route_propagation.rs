//! Lets a route table take the site's prefixes over from the VPN gateway.

use serde::Serialize;

use super::hands::{announce, gone_is_fine, retract};
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{Error, Hands, Table, VpnGateway, VpnGatewayAttachment};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source, Writer};
use crate::diff::{Diff, Want};
use crate::world::World;

/// Route propagation; announced by a tag on the table, whose value is the gateway.
#[derive(Debug)]
pub struct RoutePropagation;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The table.
    pub table: Table,
    /// The gateway.
    pub gateway: Ref<VpnGateway>,
    /// The gateway's attachment: AWS refuses before it is attached.
    pub attachment: Ref<VpnGatewayAttachment>,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The gateway that was announced.
    pub gateway: AwsId,
    /// Whether the table takes routes over from it.
    pub is_on: bool,
}

impl Kind for RoutePropagation {
    const NAME: &'static str = "route-propagation";
    const READS: &'static [Source] = &[Source::RouteTables];
    const GOES_WITH_OWNER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        let ends = [spec.gateway.0.clone(), spec.attachment.0.clone()];
        spec.table.needs().into_iter().chain(ends).collect()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            found.extend(region.route_tables.iter().filter_map(|o| {
                let gateway = AwsId::new(o.tags.announcement(stack, Self::NAME)?);
                let is_on = o.propagating.contains(&gateway);
                Some(Live {
                    address: Address::new(stack, Self::NAME, Table::found(o, stack)),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State { gateway, is_on },
                })
            }));
        }
        found
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let was = if state.is_on { state.gateway.to_string() } else { String::new() };
        match deps.id(&spec.gateway) {
            Want::Is(gateway) => Diff::new().field("gateway", was, gateway),
            Want::KnownAfter(address) => {
                Diff::new().field("gateway", was, Want::<String>::KnownAfter(address))
            }
        }
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let table = spec.table.must(*deps)?;
        let (gateway, _) = deps.must(&spec.gateway)?;
        switch_on(at.writer(hands)?, at.stack(), table, gateway).await?;
        let state = State { gateway: gateway.clone(), is_on: true };
        Ok(Made { id: Id::link(table, Self::NAME), state: Some(state) })
    }

    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        _: &State,
        deps: &Deps<'_>,
    ) -> Result<Next, Error> {
        let (gateway, _) = deps.must(&spec.gateway)?;
        switch_on(at.writer(hands)?, at.stack(), id.owner(), gateway).await?;
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        if state.is_on {
            let table = id.owner().as_str();
            gone_is_fine(
                writer
                    .call(Action::DisableVgwRoutePropagation, |ec2| {
                        ec2.disable_vgw_route_propagation()
                            .route_table_id(table)
                            .gateway_id(state.gateway.as_str())
                            .send()
                    })
                    .await,
            )?;
        }
        retract(writer, id.owner(), at.stack(), Self::NAME).await?;
        Ok(Next::Nothing)
    }
}

async fn switch_on(
    writer: &Writer,
    stack: &Stack,
    table: &AwsId,
    gateway: &AwsId,
) -> Result<(), Error> {
    announce(writer, table, stack, RoutePropagation::NAME, gateway.as_str()).await?;
    writer
        .call(Action::EnableVgwRoutePropagation, |ec2| {
            ec2.enable_vgw_route_propagation()
                .route_table_id(table.as_str())
                .gateway_id(gateway.as_str())
                .send()
        })
        .await?;
    Ok(())
}
