//! The route table of the private subnet that cgw makes.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::ResourceType;
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, tagged};
use super::{Error, Hands, RouteTableAssociation};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Source};
use crate::diff::Diff;
use crate::world::World;

/// A route table.
#[derive(Debug)]
pub struct RouteTable;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The VPC.
    pub vpc: AwsId,
}

/// What is seen of it.
pub(super) type State = Spec;

impl Kind for RouteTable {
    const NAME: &'static str = "route-table";
    const READS: &'static [Source] = &[Source::RouteTables];
    type Spec = Spec;
    type State = State;

    fn needs(_: &Spec) -> Vec<Address> {
        Vec::new()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        tagged(world, stack, Self::NAME, |r| &r.route_tables, |_, o| State { vpc: o.vpc.clone() })
    }

    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let mut tables = world.regions.iter().flat_map(|r| &r.route_tables);
        let table = tables.find(|t| &t.id == id.owner() && !t.associations.is_empty());
        table.map(|t| Id::link(&t.id, RouteTableAssociation::NAME)).into_iter().collect()
    }

    fn diff(spec: &Spec, state: &State, _: &Deps<'_>) -> Diff {
        Diff::new().fixed("vpc", &state.vpc, &spec.vpc)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        _: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let tags = aws::specification(ResourceType::RouteTable, at.address, &BTreeMap::new());
        let reply = at
            .writer(hands)?
            .call(Action::CreateRouteTable, |ec2| {
                ec2.create_route_table()
                    .vpc_id(spec.vpc.as_str())
                    .tag_specifications(tags.clone())
                    .send()
            })
            .await?;
        let id = reply.route_table().and_then(|t| t.route_table_id()).map(AwsId::new);
        let id = id.ok_or(Error::Reply { action: Action::CreateRouteTable, lacks: "table id" })?;
        Ok(Made { id: id.into(), state: Some(spec.clone()) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        let id = id.owner().as_str();
        gone_is_fine(
            at.writer(hands)?
                .call(Action::DeleteRouteTable, |ec2| {
                    ec2.delete_route_table().route_table_id(id).send()
                })
                .await,
        )?;
        Ok(Next::Nothing)
    }
}
