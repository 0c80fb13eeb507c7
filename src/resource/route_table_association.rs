//! The link between the private subnet that cgw makes and its route table.

use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{Error, Hands, RouteTable, Subnet};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source};
use crate::diff::Diff;
use crate::world::World;

/// A route table's association with a subnet.
#[derive(Debug)]
pub struct RouteTableAssociation;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The table.
    pub table: Ref<RouteTable>,
    /// The subnet.
    pub subnet: Ref<Subnet>,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// AWS's ids of the associations.
    pub associations: Vec<AwsId>,
    /// The subnets that the table serves.
    pub subnets: Vec<AwsId>,
}

impl Kind for RouteTableAssociation {
    const NAME: &'static str = "route-table-association";
    const READS: &'static [Source] = &[Source::RouteTables];
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.table.0.clone(), spec.subnet.0.clone()]
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            found.extend(region.route_tables.iter().filter_map(|o| {
                o.tags.node_key(stack, RouteTable::NAME)?;
                (!o.associations.is_empty()).then(|| Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State {
                        associations: o.associations.iter().map(|(id, _)| id.clone()).collect(),
                        subnets: o.associations.iter().filter_map(|(_, s)| s.clone()).collect(),
                    },
                })
            }));
        }
        found
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let was = state.subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Diff::new().fixed("subnet", was, deps.id(&spec.subnet))
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let (table, _) = deps.must(&spec.table)?;
        let (subnet, _) = deps.must(&spec.subnet)?;
        let reply = at
            .writer(hands)?
            .call(Action::AssociateRouteTable, |ec2| {
                ec2.associate_route_table()
                    .route_table_id(table.as_str())
                    .subnet_id(subnet.as_str())
                    .send()
            })
            .await?;
        let associations = reply.association_id().map(AwsId::new).into_iter().collect();
        let state = State { associations, subnets: vec![subnet.clone()] };
        Ok(Made { id: Id::link(table, Self::NAME), state: Some(state) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, _: &Id, state: &State) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        for association in &state.associations {
            let association = association.as_str();
            gone_is_fine(
                writer
                    .call(Action::DisassociateRouteTable, |ec2| {
                        ec2.disassociate_route_table().association_id(association).send()
                    })
                    .await,
            )?;
        }
        Ok(Next::Nothing)
    }
}
