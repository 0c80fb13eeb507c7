//! VPN connections: their two tunnels, static routes and telemetry.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::networks::network;
use super::tunnels::Tunnel;
use super::{Answer, Call, configuration, done, gateways};
use crate::sandbox::manners::Work;
use crate::sandbox::query::Query;
use crate::sandbox::refusal::Refusal;
use crate::sandbox::stages::Stages;
use crate::sandbox::tree::{Tree, list, map};
use crate::sandbox::unshown::Unshown;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) gateway: String,
    pub(super) customer: String,
    pub(super) customer_ip: Ipv4Addr,
    pub(super) is_static: bool,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) stages: Stages,
    pub(super) prefixes: BTreeMap<Ipv4Net, Stages>,
    /// Neither the XML nor the options promise an order, nor the same one: each connection draws both.
    pub(super) is_swapped: [bool; 2],
}

/// The ends of tunnels that are not AWS's: what is in force at each public address, the rule that is
/// used first coming first.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Ends(pub(in crate::sandbox) BTreeMap<Ipv4Addr, Vec<End>>);

/// A rule for a tunnel at the far end.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct End {
    pub(in crate::sandbox) outside: Ipv4Addr,
    pub(in crate::sandbox) key: Unshown,
}

impl Connection {
    /// The tunnel that the far end uses, of those that both ends can speak through.
    fn carrier(&self, call: &Call<'_>) -> Option<Ipv4Addr> {
        let state = self.stages.at(call.now);
        let can = |end: &&End| {
            let mut all = self.tunnels.iter();
            all.any(|t| t.outside == end.outside && t.key == end.key && t.replaced <= call.now)
        };
        let ends = call.ends.0.get(&self.customer_ip)?;
        let found = ends.iter().find(can).map(|end| end.outside);
        found.filter(|_| matches!(state, "available" | "modifying"))
    }

    fn is_there(&self, call: &Call<'_>) -> bool {
        self.stages.at(call.now) != "deleted"
    }
}

/// Returns the connections that carry traffic.
pub(in crate::sandbox) fn carrying(call: &Call<'_>) -> BTreeSet<String> {
    let all = call.region.connections.all().filter(|(_, one)| one.carrier(call).is_some());
    all.map(|(id, _)| id.clone()).collect()
}

/// Returns those of which any read shows it by now.
pub(in crate::sandbox) fn seen_carrying(call: &Call<'_>) -> BTreeSet<String> {
    let seen = call.now.before(call.manners.lag);
    let is_seen = |one: &Connection| {
        let carrier = one.carrier(call);
        let mut all = one.tunnels.iter().filter(|tunnel| Some(tunnel.outside) == carrier);
        all.any(|tunnel| tunnel.up_since.is_some_and(|since| since <= seen))
    };
    let all = call.region.connections.all().filter(|(_, one)| is_seen(one));
    all.map(|(id, _)| id.clone()).collect()
}

/// Notices which tunnels have come up or gone down.
pub(in crate::sandbox) fn notice(call: &mut Call<'_>) {
    let mut changed = Vec::new();
    for (id, connection) in call.region.connections.all() {
        let carrier = connection.carrier(call);
        let differs = |t: &Tunnel| t.up_since.is_some() != (carrier == Some(t.outside));
        if connection.tunnels.iter().any(differs) {
            changed.push((id.clone(), carrier));
        }
    }
    for (id, carrier) in changed {
        call.region.connections.change(&id, call.now, |connection| {
            for tunnel in &mut connection.tunnels {
                let is_up = carrier == Some(tunnel.outside);
                tunnel.up_since = is_up.then(|| tunnel.up_since.unwrap_or(call.now));
            }
        });
    }
}

/// Says whether a gateway has connections that AWS works on.
pub(super) fn is_under_way(call: &Call<'_>, gateway: &str) -> bool {
    let works =
        |c: &Connection| matches!(c.stages.at(call.now), "pending" | "modifying" | "deleting");
    call.region.connections.all().any(|(_, c)| c.gateway == gateway && works(c))
}

/// Says whether a VPN gateway has connections.
pub(super) fn are_on(call: &Call<'_>, gateway: &str) -> bool {
    call.region.connections.all().any(|(_, c)| c.gateway == gateway && c.is_there(call))
}

/// Says whether a customer gateway has connections.
pub(super) fn are_of(call: &Call<'_>, customer: &str) -> bool {
    call.region.connections.all().any(|(_, c)| c.customer == customer && c.is_there(call))
}

/// Returns the static routes of a gateway's connections that carry traffic.
pub(super) fn prefixes_that_are_up(call: &Call<'_>, gateway: &str) -> Vec<Ipv4Net> {
    let all = call.region.connections.all_at(call.seen);
    let up =
        all.filter(|(_, c)| c.gateway == gateway && c.tunnels.iter().any(|t| t.up_since.is_some()));
    up.flat_map(|(_, c)| c.prefixes.keys().copied()).collect()
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let (customer, at) = gateways::available_customer(call)?;
    let (gateway, on) = gateways::available(call)?;
    if at.asn == on.asn {
        return Err(Refusal::new("AsnConflict", "Both gateways have the same ASN."));
    }
    let all = &call.region.connections;
    // One customer gateway can lead to several VPCs (AWS, «Connecting a Single Customer Router to
    // Multiple VPCs»).
    let joins = |c: &Connection| c.customer == customer && c.gateway == gateway;
    if let Some(id) = all.find(|c| c.stages.last() != "deleted" && joins(c)) {
        let same = all.now(&id).cloned().expect("it was just found");
        // The same pair is the same connection (terraform #17631).
        return Ok(map([("vpnConnection", tree(call, &id, &same))]));
    }
    let quotas = call.manners.quotas;
    let is_on = |c: &Connection| c.is_there(call) && c.gateway == gateway;
    let (of_gateway, count) = (all.count(is_on), all.count(|c| c.is_there(call)));
    Call::within(quotas.connections, count, "VpnConnectionLimitExceeded")?;
    Call::within(quotas.connections_of_gateway, of_gateway, "VpnConnectionLimitExceeded")?;
    let asked = call.query.part("Options");
    let mut options = asked.items("TunnelOptions");
    options.resize(2, Query::default());
    let others = all.all().filter(|(_, c)| is_on(c));
    let mut taken: Vec<Ipv4Net> =
        others.flat_map(|(_, c)| c.tunnels.iter().map(|t| t.inside)).collect();
    let mut tunnels = Vec::new();
    for option in &options {
        let tunnel = Tunnel::make(call, option, &taken)?;
        taken.push(tunnel.inside);
        tunnels.push(tunnel);
    }
    let id = call.new_id("vpn");
    call.tag(&id)?;
    let made = Connection {
        gateway,
        customer,
        customer_ip: at.ip,
        is_static: asked.is("StaticRoutesOnly"),
        tunnels,
        stages: call.stages(Work::Connect, "pending", "available"),
        prefixes: BTreeMap::new(),
        is_swapped: [call.draws.percent("swap", 50), call.draws.percent("swap", 50)],
    };
    call.region.connections.put(&id, call.now, made.clone());
    call.seen = call.now;
    Ok(map([("vpnConnection", tree(call, &id, &made))]))
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let all = call.region.connections.all_at(call.seen);
    let is_asked = |id: &String| call.lets_through("vpn-connection-id", id);
    let listed =
        all.filter(|(id, one)| gateways::is_listed(&one.stages, call.seen) && is_asked(id));
    let items = listed.map(|(id, one)| tree(call, id, one)).collect();
    let what = Describe {
        set: "vpnConnectionSet",
        ids: ("VpnConnectionId", &["vpnConnectionId"]),
        unknown: "InvalidVpnConnectionID.NotFound",
        filters: &[
            ("option.static-routes-only", &["options", "staticRoutesOnly"]),
            ("route.destination-cidr-block", &["routes", "destinationCidrBlock"]),
        ],
        is_paged: false,
    };
    call.describe(&what, items)
}

fn tree(call: &Call<'_>, id: &str, one: &Connection) -> Tree {
    let state = one.stages.at(call.seen);
    let mut tunnels: Vec<Tree> = one.tunnels.iter().map(Tunnel::tree).collect();
    if one.is_swapped[0] {
        tunnels.reverse();
    }
    let options =
        map([("staticRoutesOnly", one.is_static.into()), ("tunnelOptionSet", list(tunnels))]);
    let prefix = |(cidr, stages): (&Ipv4Net, &Stages)| {
        map([
            ("destinationCidrBlock", (*cidr).into()),
            ("source", "Static".into()),
            ("state", stages.at(call.seen).into()),
        ])
    };
    let telemetry = |tunnel: &Tunnel| {
        let is_up = tunnel.up_since.is_some();
        map([
            ("outsideIpAddress", tunnel.outside.into()),
            ("status", if is_up { "UP" } else { "DOWN" }.into()),
            ("lastStatusChange", tunnel.up_since.unwrap_or(one.stages.end()).into()),
            ("acceptedRouteCount", if is_up { one.prefixes.len() } else { 0 }.into()),
        ])
    };
    // EC2 API, «VpnConnection»: only while it is of use.
    let is_of_use = matches!(state, "pending" | "available");
    map([
        ("vpnConnectionId", id.into()),
        ("state", state.into()),
        ("type", "ipsec.1".into()),
        ("category", "VPN".into()),
        ("customerGatewayId", (&one.customer).into()),
        ("vpnGatewayId", (&one.gateway).into()),
        ("gatewayAssociationState", "associated".into()),
        ("customerGatewayConfiguration", is_of_use.then(|| configuration::xml(id, one)).into()),
        ("options", options),
        ("routes", list(one.prefixes.iter().map(prefix))),
        ("vgwTelemetry", list(one.tunnels.iter().map(telemetry))),
        ("tagSet", call.tag_set(id)),
    ])
}

pub(super) fn connection(call: &Call<'_>) -> Result<(String, Connection), Refusal> {
    let id = call.query.must("VpnConnectionId")?.to_owned();
    let code = "InvalidVpnConnectionID.NotFound";
    let one = call.known(|r| &r.connections, &id, code)?;
    if one.is_there(call) { Ok((id, one)) } else { Err(Refusal::not_found(code, &id)) }
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let (id, one) = connection(call)?;
    if one.stages.last() != "deleted" {
        let stages = call.stages(Work::Disconnect, "deleting", "deleted");
        call.region.connections.change(&id, call.now, |one| one.stages = stages);
    }
    done()
}

/// Finds a connection whose static routes can be changed.
fn with_prefixes(call: &Call<'_>) -> Result<(String, Connection, Ipv4Net), Refusal> {
    let (id, one) = connection(call)?;
    let cidr = network(call, "DestinationCidrBlock")?;
    if !one.is_static {
        let text = "The VPN connection has no static routes.";
        return Err(Refusal::new("InvalidVpnConnection.InvalidType", text));
    }
    if one.stages.at(call.now) != "available" {
        let text = "The VPN connection must be in the available state.";
        return Err(Refusal::new("InvalidVpnConnection.InvalidState", text));
    }
    Ok((id, one, cidr))
}

pub(super) fn create_prefix(call: &mut Call<'_>) -> Answer {
    let (id, one, cidr) = with_prefixes(call)?;
    if !one.prefixes.contains_key(&cidr) {
        let stages = call.stages(Work::Prefix, "pending", "available");
        call.region.connections.change(&id, call.now, |one| {
            one.prefixes.insert(cidr, stages);
        });
    }
    done()
}

pub(super) fn delete_prefix(call: &mut Call<'_>) -> Answer {
    let (id, one, cidr) = with_prefixes(call)?;
    if !one.prefixes.contains_key(&cidr) {
        let text = format!("no route to {cidr}");
        return Err(Refusal::new("InvalidRoute.NotFound", text));
    }
    call.region.connections.change(&id, call.now, |one| {
        one.prefixes.remove(&cidr);
    });
    done()
}

fn tunnel_of<'a>(call: &Call<'_>, one: &'a Connection) -> Result<&'a Tunnel, Refusal> {
    let outside = call.query.must("VpnTunnelOutsideIpAddress")?;
    let mut all = one.tunnels.iter();
    all.find(|t| t.outside.to_string() == outside)
        .ok_or_else(|| Refusal::invalid("vpnTunnelOutsideIpAddress", outside))
}

pub(super) fn modify_tunnel(call: &mut Call<'_>) -> Answer {
    let (id, one) = connection(call)?;
    let mut tunnel = tunnel_of(call, &one)?.clone();
    if one.stages.at(call.now) != "available" {
        let text = "The VPN connection must be in the available state.";
        return Err(Refusal::new("IncorrectState", text));
    }
    tunnel.set(&call.query.part("TunnelOptions"))?;
    let stages = call.stages(Work::Modify, "modifying", "available");
    // The end is replaced, and the tunnel down meanwhile.
    tunnel.replaced = stages.end();
    tunnel.up_since = None;
    call.region.connections.change(&id, call.now, |one| {
        one.stages = stages;
        let own = one.tunnels.iter_mut().find(|t| t.outside == tunnel.outside);
        if let Some(own) = own {
            *own = tunnel;
        }
    });
    call.seen = call.now;
    let one = call.region.connections.now(&id).map(|one| tree(call, &id, one));
    Ok(map([("vpnConnection", one.into())]))
}

pub(super) fn active_status(call: &mut Call<'_>) -> Answer {
    let (_, one) = connection(call)?;
    let tunnel = tunnel_of(call, &one)?;
    let is_up = tunnel.up_since.is_some();
    let settled = |name: &str| Tree::from(is_up.then(|| tunnel.settled(name)));
    let status = map([
        ("provisioningStatus", "available".into()),
        ("ikeVersion", settled("IKEVersion")),
        ("phase1EncryptionAlgorithm", settled("Phase1EncryptionAlgorithm")),
        ("phase1IntegrityAlgorithm", settled("Phase1IntegrityAlgorithm")),
        ("phase1DHGroup", settled("Phase1DHGroupNumber")),
        ("phase2EncryptionAlgorithm", settled("Phase2EncryptionAlgorithm")),
        ("phase2IntegrityAlgorithm", settled("Phase2IntegrityAlgorithm")),
        ("phase2DHGroup", settled("Phase2DHGroupNumber")),
    ]);
    Ok(map([("activeVpnTunnelStatus", status)]))
}
