//! AWS's record of the server: its public address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{GatewayType, ResourceType};
use serde::Serialize;

use super::hands::{gone_is_fine, make_over};
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref, tagged};
use super::{ElasticIp, Error, Hands};
use crate::address::{Address, Id, Stack};
use crate::aws::{self, Action, Source};
use crate::diff::{Diff, Want};
use crate::world::{self, Customer, World};

/// A customer gateway; an equal one that is somebody else's is adopted.
///
/// A pending one can be used: where AWS refuses it, the call that uses it is sent again.
#[derive(Debug)]
pub struct CustomerGateway;

/// The server's public address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicAddress {
    /// That of an Elastic IP of the stack.
    Elastic(Ref<ElasticIp>),
    /// A given one: an own server's, or its NAT's.
    Given(Ipv4Addr),
}

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The public address.
    pub address: PublicAddress,
    /// The autonomous system number: AWS wants one even with static routes.
    pub asn: i32,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The public address.
    pub ip: Option<Ipv4Addr>,
    /// The autonomous system number.
    pub asn: String,
    /// `pending`, `available`, `deleting`.
    pub status: String,
}

impl From<&Customer> for State {
    fn from(o: &Customer) -> Self {
        Self { ip: o.ip, asn: o.asn.clone(), status: o.state.clone() }
    }
}

impl Kind for CustomerGateway {
    const NAME: &'static str = "customer-gateway";
    const READS: &'static [Source] = &[Source::CustomerGateways];
    const SHARED: &'static [Source] = &[Source::VpnConnections];
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        match &spec.address {
            PublicAddress::Elastic(address) => vec![address.0.clone()],
            PublicAddress::Given(_) => Vec::new(),
        }
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        tagged(world, stack, Self::NAME, |r| &r.customer_gateways, |_, o| o.into())
    }

    fn adopted(world: &World, id: &Id) -> Option<State> {
        let mut all = world.regions.iter().flat_map(|r| &r.customer_gateways);
        all.find(|o| &o.id == id.owner()).map(State::from)
    }

    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let all = world.regions.iter().flat_map(|r| &r.connections);
        all.filter(|c| &c.customer == id.owner()).map(|c| c.id.clone().into()).collect()
    }

    fn others(world: &World, id: &Id, stack: &Stack) -> BTreeSet<Stack> {
        let all = world.regions.iter().flat_map(|r| &r.connections);
        let users = all.filter(|c| &c.customer == id.owner() && c.state != "deleting");
        let stacks = users.filter_map(|c| c.tags.stack()?.parse().ok());
        stacks.filter(|other| other != stack).collect()
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let want = match &spec.address {
            PublicAddress::Elastic(address) => deps.look(address).map(|(_, a)| a.ip),
            PublicAddress::Given(ip) => Want::Is(*ip),
        };
        let was = state.ip.map(|ip| ip.to_string()).unwrap_or_default();
        Diff::new().fixed("address", was, want).fixed("asn", &state.asn, spec.asn)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let ip = match &spec.address {
            PublicAddress::Elastic(address) => deps.must(address)?.1.ip,
            PublicAddress::Given(ip) => *ip,
        };
        let tags = aws::specification(ResourceType::CustomerGateway, at.address, &BTreeMap::new());
        let reply = at
            .writer(hands)?
            .call(Action::CreateCustomerGateway, |ec2| {
                ec2.create_customer_gateway()
                    .r#type(GatewayType::Ipsec1)
                    .ip_address(ip.to_string())
                    .bgp_asn(spec.asn)
                    .tag_specifications(tags.clone())
                    .send()
            })
            .await?;
        let made = reply.customer_gateway().and_then(world::customer);
        let lacks =
            Error::Reply { action: Action::CreateCustomerGateway, lacks: "customer gateway" };
        let made = made.ok_or(lacks)?;
        // AWS answers an identical request with the gateway that exists, whoever made it.
        if made.tags.stack() != Some(at.stack().as_str()) {
            return Err(Error::Taken(made.id));
        }
        Ok(Made { id: made.id.clone().into(), state: Some((&made).into()) })
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        let id = id.owner().as_str();
        gone_is_fine(
            at.writer(hands)?
                .call(Action::DeleteCustomerGateway, |ec2| {
                    ec2.delete_customer_gateway().customer_gateway_id(id).send()
                })
                .await,
        )?;
        Ok(Next::Nothing)
    }

    async fn hand_over(hands: &Hands, at: &At<'_>, id: &Id, to: &Stack) -> Result<(), Error> {
        make_over(at.writer(hands)?, id.owner(), &Address::new(to, Self::NAME, "")).await
    }
}
