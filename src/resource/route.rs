//! A route in somebody's route table: to the VPN gateway in the VPC, to the server at the site.

use ipnet::Ipv4Net;
use serde::Serialize;

use super::hands::{announce, gone_is_fine, retract};
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{Error, Hands, RouteTable, VpnGateway, VpnGatewayAttachment};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source, Writer};
use crate::diff::{Diff, Want};
use crate::world::World;

/// A route; announced by a tag on its table, whose value is its target.
#[derive(Debug)]
pub struct Route;

/// The table a route is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    /// A user's table.
    Given(AwsId),
    /// The table that the stack makes.
    Made(Ref<RouteTable>),
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// To the VPN gateway, once it is attached.
    Gateway(Ref<VpnGateway>, Ref<VpnGatewayAttachment>),
    /// To the server's interface.
    Interface(AwsId),
}

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The table.
    pub table: Table,
    /// The network at the other end.
    pub cidr: Ipv4Net,
    /// Where it leads.
    pub target: Target,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The network.
    pub cidr: Ipv4Net,
    /// Where it leads; `None`: announced, but not made yet or removed already.
    pub target: Option<AwsId>,
    /// Where it was announced to lead.
    pub announced: AwsId,
}

/// Names the route of a table to a network.
pub(super) fn id(table: &AwsId, cidr: Ipv4Net) -> Id {
    Id::link(table, what(cidr))
}

fn what(cidr: Ipv4Net) -> String {
    format!("{}/{cidr}", Route::NAME)
}

impl Table {
    /// Returns the part of the node's address that names the table.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Given(id) => id.as_str(),
            Self::Made(_) => "own",
        }
    }

    pub(super) fn needs(&self) -> Option<Address> {
        match self {
            Self::Given(_) => None,
            Self::Made(table) => Some(table.0.clone()),
        }
    }

    pub(super) fn must<'a>(&'a self, deps: Deps<'a>) -> Result<&'a AwsId, Error> {
        match self {
            Self::Given(id) => Ok(id),
            Self::Made(table) => Ok(deps.must(table)?.0),
        }
    }

    /// Names the table as it is found again: one that the stack made is «own».
    pub(super) fn found(table: &crate::world::RouteTable, stack: &Stack) -> String {
        let is_own = table.tags.node_key(stack, <RouteTable as Kind>::NAME).is_some();
        if is_own { "own".to_owned() } else { table.id.to_string() }
    }
}

impl Kind for Route {
    const NAME: &'static str = "route";
    const READS: &'static [Source] = &[Source::RouteTables];
    const GOES_WITH_OWNER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        let mut needs: Vec<Address> = spec.table.needs().into_iter().collect();
        if let Target::Gateway(gateway, attachment) = &spec.target {
            needs.extend([gateway.0.clone(), attachment.0.clone()]);
        }
        needs
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            for table in &region.route_tables {
                for (key, value) in table.tags.announced(stack) {
                    let cidr = key.strip_prefix("route/").and_then(|c| c.parse::<Ipv4Net>().ok());
                    let Some(cidr) = cidr else { continue };
                    let made = |r: &&crate::world::Route| r.cidr == cidr && !r.is_propagated;
                    let target = table.routes.iter().find(made).map(|r| r.target.clone());
                    let key = format!("{}/{cidr}", Table::found(table, stack));
                    found.push(Live {
                        address: Address::new(stack, Self::NAME, key),
                        id: id(&table.id, cidr),
                        place: region.place.clone(),
                        state: State { cidr, target, announced: AwsId::new(value) },
                    });
                }
            }
        }
        found
    }

    fn left_alone(state: &State) -> Option<String> {
        let target = state.target.as_ref()?;
        (target != &state.announced).then(|| format!("the route now leads to {target}"))
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let want = match &spec.target {
            Target::Gateway(gateway, _) => deps.id(gateway),
            Target::Interface(id) => Want::Is(id),
        };
        let was = state.target.as_ref().map(ToString::to_string).unwrap_or_default();
        Diff::new().field("target", was, want)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let writer = at.writer(hands)?;
        let table = spec.table.must(*deps)?;
        let target = target(spec, *deps)?;
        announce(writer, table, at.stack(), &what(spec.cidr), target.as_str()).await?;
        make(writer, table, spec, target).await?;
        let state =
            State { cidr: spec.cidr, target: Some(target.clone()), announced: target.clone() };
        Ok(Made { id: id(table, spec.cidr), state: Some(state) })
    }

    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        state: &State,
        deps: &Deps<'_>,
    ) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        let (table, target) = (id.owner(), target(spec, *deps)?);
        // A read that lags behind may have shown a tag of before that is gone.
        announce(writer, table, at.stack(), &what(spec.cidr), target.as_str()).await?;
        if state.target.is_none() {
            make(writer, table, spec, target).await?;
            return Ok(Next::Nothing);
        }
        let by = through(target);
        writer
            .call(Action::ReplaceRoute, |ec2| {
                ec2.replace_route()
                    .route_table_id(table.as_str())
                    .destination_cidr_block(spec.cidr.to_string())
                    .set_gateway_id(by.gateway.clone())
                    .set_network_interface_id(by.interface.clone())
                    .send()
            })
            .await?;
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        if state.target.is_some() && Self::left_alone(state).is_none() {
            let table = id.owner().as_str();
            gone_is_fine(
                writer
                    .call(Action::DeleteRoute, |ec2| {
                        ec2.delete_route()
                            .route_table_id(table)
                            .destination_cidr_block(state.cidr.to_string())
                            .send()
                    })
                    .await,
            )?;
        }
        retract(writer, id.owner(), at.stack(), &what(state.cidr)).await?;
        Ok(Next::Nothing)
    }
}

fn target<'a>(spec: &'a Spec, deps: Deps<'a>) -> Result<&'a AwsId, Error> {
    match &spec.target {
        Target::Gateway(gateway, _) => Ok(deps.must(gateway)?.0),
        Target::Interface(id) => Ok(id),
    }
}

/// The two parameters that a target can go into.
struct Through {
    gateway: Option<String>,
    interface: Option<String>,
}

fn through(target: &AwsId) -> Through {
    let text = target.to_string();
    if text.starts_with("eni-") {
        Through { gateway: None, interface: Some(text) }
    } else {
        Through { gateway: Some(text), interface: None }
    }
}

async fn make(writer: &Writer, table: &AwsId, spec: &Spec, target: &AwsId) -> Result<(), Error> {
    let by = through(target);
    writer
        .call(Action::CreateRoute, |ec2| {
            ec2.create_route()
                .route_table_id(table.as_str())
                .destination_cidr_block(spec.cidr.to_string())
                .set_gateway_id(by.gateway.clone())
                .set_network_interface_id(by.interface.clone())
                .send()
        })
        .await?;
    Ok(())
}
