//! A private subnet for instances in the VPC, made only when asked.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::ResourceType;
use ipnet::Ipv4Net;
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, tagged};
use super::{Error, Hands, RouteTableAssociation, probe_instance};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Source};
use crate::diff::Diff;
use crate::world::World;

/// A subnet.
#[derive(Debug)]
pub struct Subnet;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The VPC.
    pub vpc: AwsId,
    /// Its CIDR.
    pub cidr: Ipv4Net,
}

/// What is seen of it.
pub(super) type State = Spec;

impl Kind for Subnet {
    const NAME: &'static str = "subnet";
    const READS: &'static [Source] = &[Source::Subnets];
    type Spec = Spec;
    type State = State;

    fn needs(_: &Spec) -> Vec<Address> {
        Vec::new()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        tagged(
            world,
            stack,
            Self::NAME,
            |r| &r.subnets,
            |_, o| State { vpc: o.vpc.clone(), cidr: o.cidr },
        )
    }

    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let interfaces = world.regions.iter().flat_map(|r| &r.interfaces);
        let inside = interfaces.filter(|i| &i.subnet == id.owner());
        let tables = world.regions.iter().flat_map(|r| &r.route_tables);
        let serves = |(_, subnet): &(AwsId, Option<AwsId>)| subnet.as_ref() == Some(id.owner());
        let associated = tables.filter(|t| t.associations.iter().any(serves));
        inside
            .map(|i| probe_instance::of_interface(world, i).unwrap_or_else(|| i.id.clone().into()))
            .chain(associated.map(|t| Id::link(&t.id, RouteTableAssociation::NAME)))
            .collect()
    }

    fn diff(spec: &Spec, state: &State, _: &Deps<'_>) -> Diff {
        Diff::new().fixed("vpc", &state.vpc, &spec.vpc).fixed("cidr", state.cidr, spec.cidr)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        _: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let tags = aws::specification(ResourceType::Subnet, at.address, &BTreeMap::new());
        let reply = at
            .writer(hands)?
            .call(Action::CreateSubnet, |ec2| {
                ec2.create_subnet()
                    .vpc_id(spec.vpc.as_str())
                    .cidr_block(spec.cidr.to_string())
                    .tag_specifications(tags.clone())
                    .send()
            })
            .await?;
        let id = reply.subnet().and_then(|s| s.subnet_id()).map(AwsId::new);
        let id = id.ok_or(Error::Reply { action: Action::CreateSubnet, lacks: "subnet id" })?;
        Ok(Made { id: id.into(), state: Some(spec.clone()) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        let id = id.owner().as_str();
        gone_is_fine(
            at.writer(hands)?
                .call(Action::DeleteSubnet, |ec2| ec2.delete_subnet().subnet_id(id).send())
                .await,
        )?;
        Ok(Next::Nothing)
    }
}
