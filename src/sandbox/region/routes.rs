//! Route tables: routes, associations, and what VPN gateways propagate.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::networks::network;
use super::{Answer, Call, connections, done};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{Tree, list, map};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RouteTable {
    pub(super) vpc: String,
    /// The network of the VPC itself.
    local: Ipv4Net,
    /// Where routes lead, by network: `igw-…`, `vgw-…`, `eni-…`.
    pub(super) routes: BTreeMap<Ipv4Net, String>,
    /// The subnet of each association; `None`: those that have no other table.
    associations: BTreeMap<String, Option<String>>,
    propagating: BTreeSet<String>,
}

impl RouteTable {
    pub(super) fn has_association(&self, id: &str) -> bool {
        self.associations.contains_key(id)
    }
}

pub(super) fn make_main(call: &mut Call<'_>, vpc: &str, local: Ipv4Net) {
    let (id, association) = (call.new_id("rtb"), call.new_id("rtbassoc"));
    call.region.tags.put(&id, call.now, BTreeMap::new());
    let associations = BTreeMap::from([(association, None)]);
    call.region.route_tables.put(&id, call.now, empty(vpc, local, associations));
}

fn empty(vpc: &str, local: Ipv4Net, associations: BTreeMap<String, Option<String>>) -> RouteTable {
    let (routes, propagating) = (BTreeMap::new(), BTreeSet::new());
    RouteTable { vpc: vpc.to_owned(), local, routes, associations, propagating }
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let vpc = call.query.must("VpcId")?.to_owned();
    let local = call.known(|r| &r.vpcs, &vpc, "InvalidVpcID.NotFound")?.cidr;
    let id = call.once(|call| {
        let id = call.new_id("rtb");
        call.tag(&id)?;
        call.region.route_tables.put(&id, call.now, empty(&vpc, local, BTreeMap::new()));
        Ok(id)
    })?;
    call.seen = call.now;
    let table = call.region.route_tables.now(&id).map(|table| tree(call, &id, table));
    Ok(map([("routeTable", table.into())]))
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let all = call.page_of(&call.region.route_tables, "RouteTableId");
    let items = all.map(|(id, table)| tree(call, id, table)).collect();
    let what = Describe {
        set: "routeTableSet",
        ids: ("RouteTableId", &["routeTableId"]),
        unknown: "InvalidRouteTableID.NotFound",
        filters: &[
            ("association.main", &["associationSet", "main"]),
            ("association.subnet-id", &["associationSet", "subnetId"]),
            ("route.destination-cidr-block", &["routeSet", "destinationCidrBlock"]),
            ("route.gateway-id", &["routeSet", "gatewayId"]),
            ("route.state", &["routeSet", "state"]),
        ],
        is_paged: true,
    };
    call.describe(&what, items)
}

fn tree(call: &Call<'_>, id: &str, table: &RouteTable) -> Tree {
    let local = map([
        ("destinationCidrBlock", table.local.into()),
        ("gatewayId", "local".into()),
        ("state", "active".into()),
        ("origin", "CreateRouteTable".into()),
    ]);
    let made = table.routes.iter().map(|(cidr, target)| {
        let kind = if target.starts_with("eni-") { "networkInterfaceId" } else { "gatewayId" };
        let instance =
            call.region.interfaces.at(target, call.seen).and_then(|i| i.instance.clone());
        Tree::Map(vec![
            ("destinationCidrBlock", (*cidr).into()),
            (kind, target.into()),
            ("instanceId", instance.into()),
            ("state", if leads(call, table, target) { "active" } else { "blackhole" }.into()),
            ("origin", "CreateRoute".into()),
        ])
    });
    let propagated = propagated(call, table).into_iter().map(|(cidr, gateway)| {
        map([
            ("destinationCidrBlock", cidr.into()),
            ("gatewayId", gateway.into()),
            ("state", "active".into()),
            ("origin", "EnableVgwRoutePropagation".into()),
        ])
    });
    let association = |(own, subnet): (&String, &Option<String>)| {
        map([
            ("routeTableAssociationId", own.into()),
            ("routeTableId", id.into()),
            ("subnetId", subnet.as_ref().into()),
            ("main", subnet.is_none().into()),
            ("associationState", map([("state", "associated".into())])),
        ])
    };
    map([
        ("routeTableId", id.into()),
        ("vpcId", (&table.vpc).into()),
        ("ownerId", call.account.into()),
        ("routeSet", list([local].into_iter().chain(made).chain(propagated))),
        ("associationSet", list(table.associations.iter().map(association))),
        (
            "propagatingVgwSet",
            list(table.propagating.iter().map(|id| map([("gatewayId", id.into())]))),
        ),
        ("tagSet", call.tag_set(id)),
    ])
}

/// Says whether a route leads anywhere (EC2 API, «Route»: blackhole).
fn leads(call: &Call<'_>, table: &RouteTable, target: &str) -> bool {
    let at = call.seen;
    match target.split_once('-').map(|(kind, _)| kind) {
        Some("vgw") => {
            let gateway = call.region.vpn_gateways.at(target, at);
            gateway.is_some_and(|gateway| gateway.is_attached_to(&table.vpc, at))
        }
        Some("igw") => {
            let gateway = call.region.internet_gateways.at(target, at);
            gateway.is_some_and(|gateway| gateway.vpc.as_ref() == Some(&table.vpc))
        }
        _ => call.region.interfaces.at(target, at).is_some_and(|i| i.instance.is_some()),
    }
}

/// Prefixes of connections that are up; a route that was made to the same network comes first
/// (VPC user guide, «Route priority»).
fn propagated(call: &Call<'_>, table: &RouteTable) -> BTreeMap<Ipv4Net, String> {
    let mut found = BTreeMap::new();
    for gateway in &table.propagating {
        for cidr in connections::prefixes_that_are_up(call, gateway) {
            if !table.routes.contains_key(&cidr) {
                found.insert(cidr, gateway.clone());
            }
        }
    }
    found
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let (id, table) = table(call)?;
    if !table.associations.is_empty() {
        let text = format!("The routeTable '{id}' has dependencies and cannot be deleted.");
        return Err(Refusal::new("DependencyViolation", text));
    }
    call.region.route_tables.remove(&id, call.now);
    call.untag(&id);
    done()
}

fn table(call: &Call<'_>) -> Result<(String, RouteTable), Refusal> {
    let id = call.query.must("RouteTableId")?.to_owned();
    let table = call.known(|r| &r.route_tables, &id, "InvalidRouteTableID.NotFound")?;
    Ok((id, table))
}

/// Returns where the route leads that is asked for, if it can.
fn target(call: &Call<'_>, table: &RouteTable) -> Result<String, Refusal> {
    let query = call.query;
    if let Some(id) = query.text("NetworkInterfaceId") {
        let code = "InvalidNetworkInterfaceID.NotFound";
        let interface = call.known(|r| &r.interfaces, id, code)?;
        if interface.vpc != table.vpc {
            let text = format!("the route table and {id} belong to different networks");
            return Err(Refusal::new("InvalidParameterValue", text));
        }
        return Ok(id.to_owned());
    }
    let id = query.must("GatewayId")?;
    let vpc = if id.starts_with("igw-") {
        call.known(|r| &r.internet_gateways, id, "InvalidGatewayID.NotFound")?.vpc
    } else {
        let gateway = call.known(|r| &r.vpn_gateways, id, "InvalidGatewayID.NotFound")?;
        Some(table.vpc.clone()).filter(|vpc| gateway.is_attached_to(vpc, call.now))
    };
    if vpc.as_ref() != Some(&table.vpc) {
        return Err(not_attached(id, &table.vpc));
    }
    Ok(id.to_owned())
}

fn not_attached(gateway: &str, vpc: &str) -> Refusal {
    let text = format!("resource {gateway} is not attached to network {vpc}");
    Refusal::new("Gateway.NotAttached", text)
}

pub(super) fn create_route(call: &mut Call<'_>) -> Answer {
    let (id, table) = table(call)?;
    let cidr = network(call, "DestinationCidrBlock")?;
    if table.routes.contains_key(&cidr) {
        let text = format!("The route identified by {cidr} already exists.");
        return Err(Refusal::new("RouteAlreadyExists", text));
    }
    if cidr == table.local {
        return Err(Refusal::invalid("destinationCidrBlock", &cidr.to_string()));
    }
    let target = target(call, &table)?;
    call.region.route_tables.change(&id, call.now, |table| {
        table.routes.insert(cidr, target);
    });
    done()
}

pub(super) fn replace_route(call: &mut Call<'_>) -> Answer {
    let (id, table) = table(call)?;
    let cidr = network(call, "DestinationCidrBlock")?;
    let target = target(call, &table)?;
    if !table.routes.contains_key(&cidr) {
        // The real service says this, and not InvalidRoute.NotFound (moto, `replace_route`).
        let text = format!("There is no route defined for '{cidr}' in the route table.");
        return Err(Refusal::new("InvalidParameterValue", text));
    }
    call.region.route_tables.change(&id, call.now, |table| {
        table.routes.insert(cidr, target);
    });
    done()
}

pub(super) fn delete_route(call: &mut Call<'_>) -> Answer {
    let (id, table) = table(call)?;
    let cidr = network(call, "DestinationCidrBlock")?;
    if !table.routes.contains_key(&cidr) {
        let text = format!("no route with destination-cidr-block {cidr} in route table {id}");
        return Err(Refusal::new("InvalidRoute.NotFound", text));
    }
    call.region.route_tables.change(&id, call.now, |table| {
        table.routes.remove(&cidr);
    });
    done()
}

pub(super) fn associate(call: &mut Call<'_>) -> Answer {
    let (id, table) = table(call)?;
    let subnet = call.query.must("SubnetId")?.to_owned();
    let of = call.known(|r| &r.subnets, &subnet, "InvalidSubnetID.NotFound")?;
    if of.vpc != table.vpc {
        return Err(Refusal::new("InvalidParameterValue", "they belong to different networks"));
    }
    let has_one = |(_, other): (&String, &RouteTable)| {
        other.associations.values().any(|own| own.as_ref() == Some(&subnet))
    };
    if call.region.route_tables.all().any(has_one) {
        let text = "the specified association conflicts with an existing association";
        return Err(Refusal::new("Resource.AlreadyAssociated", text));
    }
    let association = call.new_id("rtbassoc");
    call.region.route_tables.change(&id, call.now, |table| {
        table.associations.insert(association.clone(), Some(subnet));
    });
    let state = map([("state", "associated".into())]);
    Ok(map([("associationId", association.into()), ("associationState", state)]))
}

pub(super) fn disassociate(call: &mut Call<'_>) -> Answer {
    let association = call.query.must("AssociationId")?.to_owned();
    let id = call.region.route_tables.find(|table| table.has_association(&association));
    let id = id.ok_or_else(|| Refusal::not_found("InvalidAssociationID.NotFound", &association))?;
    let is_main = |t: &RouteTable| t.associations.get(&association) == Some(&None);
    if call.region.route_tables.now(&id).is_some_and(is_main) {
        return Err(Refusal::new("InvalidParameterValue", "the main association stays"));
    }
    call.region.route_tables.change(&id, call.now, |table| {
        table.associations.remove(&association);
    });
    done()
}

pub(super) fn forget_subnet(call: &mut Call<'_>, subnet: &str) {
    let serves = |own: &Option<String>| own.as_deref() == Some(subnet);
    for id in call.region.route_tables.ids(|table| table.associations.values().any(serves)) {
        call.region.route_tables.change(&id, call.now, |table| {
            table.associations.retain(|_, own| !serves(own));
        });
    }
}

pub(super) fn enable_propagation(call: &mut Call<'_>) -> Answer {
    let (id, table) = table(call)?;
    let gateway = call.query.must("GatewayId")?.to_owned();
    let found = call.known(|r| &r.vpn_gateways, &gateway, "InvalidGatewayID.NotFound")?;
    // API: the gateway must be attached to the table's VPC; attaching is not enough.
    if !found.is_attached_to(&table.vpc, call.now) {
        return Err(not_attached(&gateway, &table.vpc));
    }
    call.region.route_tables.change(&id, call.now, |table| {
        table.propagating.insert(gateway);
    });
    done()
}

pub(super) fn disable_propagation(call: &mut Call<'_>) -> Answer {
    let (id, _) = table(call)?;
    let gateway = call.query.must("GatewayId")?.to_owned();
    call.region.route_tables.change(&id, call.now, |table| {
        table.propagating.remove(&gateway);
    });
    done()
}

/// Takes a gateway that is no longer attached out of all tables.
pub(super) fn forget_gateway(call: &mut Call<'_>, gateway: &str) {
    for id in call.region.route_tables.ids(|table| table.propagating.contains(gateway)) {
        call.region.route_tables.change(&id, call.now, |table| {
            table.propagating.remove(gateway);
        });
    }
}
