//! Whether the two networks can be told apart, and whether other routes lead there already.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Cloud, Refusal, Request, Site};
use crate::address::AwsId;
use crate::aws::Place;
use crate::spec::Cidr;
use crate::tunnel::CidrPair;
use crate::world::{Region, Route};

/// Says whether two networks have an address in common.
pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Returns the smallest network that holds all of several.
pub(super) fn supernet(nets: &[Ipv4Net]) -> Ipv4Net {
    let holds = |net: &Ipv4Net| nets.iter().all(|n| net.contains(n));
    let mut net = nets.first().copied().unwrap_or_default();
    while !holds(&net) {
        net = net.supernet().unwrap_or_default();
    }
    net
}

/// Networks that no host of the Internet has an address in (RFC 1918, RFC 6598).
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];

/// Says whether a network holds no address of the Internet.
pub(super) fn is_private(net: Ipv4Net) -> bool {
    PRIVATE.iter().any(|(first, length)| {
        Ipv4Net::new(*first, *length).expect("they are prefix lengths").contains(&net)
    })
}

/// Says how several networks can be one pair's: one of them, or all in one where that is private.
pub(super) fn one_of(nets: &[Ipv4Net], flag: &str) -> String {
    let all = supernet(nets);
    if is_private(all) {
        format!("give one of them, or all as {flag} {all}")
    } else {
        format!("give one of them with {flag}")
    }
}

/// Lists networks.
pub(super) fn list(nets: &[Ipv4Net]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Link-local addresses: the tunnels' inside, the instance's metadata (RFC 3927).
fn link_local() -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(169, 254, 0, 0), 16).expect("16 is a prefix length")
}

pub(super) fn examine(
    request: &Request<'_>,
    cloud_region: &Region,
    cloud: &Cloud,
    site: &Site,
    pair: CidrPair,
) -> Vec<Refusal> {
    let mut refusals = endpoint2(request, cloud, site, pair);
    let mut refuse = |text: String, hint: &str| refusals.push(Refusal::new(text, hint));
    let vpc_cidrs = cloud_region.vpc(&cloud.vpc).map(|v| v.cidrs.clone()).unwrap_or_default();
    for other in
        vpc_cidrs.into_iter().chain([pair.cloud]).filter(|o| overlap(*o, pair.site)).take(1)
    {
        refuse(
            format!("the site's network {} overlaps the VPC's {other}", pair.site),
            "the two ends of a VPN need different networks: give a part with --site-cidr or \
             --cloud-cidr, or renumber one end",
        );
    }
    if pair.site.prefix_len() < 8 {
        refuse(
            format!("{} as the site's network reaches into the Internet", pair.site),
            "give the network that is really behind the server with --site-cidr",
        );
    }
    if overlap(pair.site, link_local()) {
        refuse(
            format!("the site's network {} overlaps 169.254.0.0/16", pair.site),
            "give another with --site-cidr",
        );
    }
    if !pair.site.contains(&site.private_ip()) {
        refuse(
            format!(
                "the server's private address {} lies outside the site's network {}: its traffic \
                 would never enter the tunnel",
                site.private_ip(),
                pair.site
            ),
            "give a network that holds it with --site-cidr",
        );
    }
    let own_gateways: Vec<AwsId> = cloud_region
        .vpn_gateways
        .iter()
        .filter(|g| g.tags.belongs_to(request.stack))
        .map(|g| g.id.clone())
        .collect();
    for id in &cloud.tables {
        let flag = "--route-tables";
        refusals.extend(foreign_routes(request, cloud_region, id, pair.site, &own_gateways, flag));
    }
    if let (Site::Instance(server), Some(region)) = (site, request.world.region(request.site)) {
        let flag = "--site-route-tables";
        for id in &server.tables {
            refusals.extend(foreign_routes(request, region, id, pair.cloud, &[], flag));
        }
    }
    refusals
}

/// The networks of a VPC.
fn vpc_cidrs<'a>(
    request: &Request<'a>,
    place: &Place,
    vpc: &AwsId,
) -> impl Iterator<Item = &'a Ipv4Net> {
    let vpc = request.world.region(place).and_then(|region| region.vpc(vpc));
    vpc.into_iter().flat_map(|vpc| &vpc.cidrs)
}

/// The networks of the server's own VPC; none for an own server.
fn own_cidrs<'a>(request: &Request<'a>, site: &Site) -> impl Iterator<Item = &'a Ipv4Net> {
    let server = match site {
        Site::Instance(server) => Some(server),
        Site::Own { .. } => None,
    };
    server.into_iter().flat_map(|server| vpc_cidrs(request, request.site, &server.vpc))
}

/// The rule requires security for all that comes from Endpoint 2: whoever administers the server
/// from there is locked out.
fn endpoint2(request: &Request<'_>, cloud: &Cloud, site: &Site, pair: CidrPair) -> Vec<Refusal> {
    let hint = "give the VPC's network, or a part of it, with --cloud-cidr";
    let mut refusals = Vec::new();
    if !vpc_cidrs(request, request.cloud, &cloud.vpc).any(|own| own.contains(&pair.cloud))
        && !is_private(pair.cloud)
    {
        let text = format!(
            "{} as the VPC's network reaches into the Internet: rules and routes would cut the \
             server off from it",
            pair.cloud
        );
        refusals.push(Refusal::new(text, hint));
    }
    if overlap(pair.cloud, link_local()) {
        refusals.push(Refusal::new(
            format!("the VPC's network {} overlaps 169.254.0.0/16", pair.cloud),
            hint,
        ));
    }
    for own in own_cidrs(request, site).filter(|own| overlap(**own, pair.cloud)).take(1) {
        let text = format!(
            "the VPC's network {} overlaps {own} of the server's own VPC: whoever is there would be \
             cut off",
            pair.cloud
        );
        refusals.push(Refusal::new(text, hint));
    }
    let admins = request.declared.admin_cidr.iter().flat_map(|list| &list.0);
    for Cidr(admin) in admins.filter(|admin| pair.cloud.contains(&admin.0)) {
        let text = format!(
            "administrators in {admin} would be cut off: the tunnel rules want IPsec of {}",
            pair.cloud
        );
        refusals.push(Refusal::new(text, "name other networks with --admin-cidr"));
    }
    if let Some(own) = request.operator.filter(|ip| pair.cloud.contains(ip)) {
        refusals.push(Refusal::new(
            format!(
                "this machine ({own}) is inside the VPC's network {}: the tunnel rule would cut \
                 it off from the server",
                pair.cloud
            ),
            "run cgw from a machine outside the VPC, or give a part of the network with --cloud-cidr",
        ));
    }
    refusals
}

/// What a person should know of the networks.
pub(super) fn notes(request: &Request<'_>, site: &Site, pair: CidrPair) -> Vec<String> {
    let mut notes = Vec::new();
    let admins = request.declared.admin_cidr.iter().flat_map(|list| &list.0);
    for Cidr(admin) in admins.filter(|admin| admin.0.contains(&pair.cloud)) {
        notes.push(format!(
            "administrators may come from {admin}, but not from {} in it: the tunnel rules want \
             IPsec of that",
            pair.cloud
        ));
    }
    let is_own = own_cidrs(request, site).any(|own| own.contains(&pair.site));
    if !is_private(pair.site) && !is_own {
        notes.push(format!(
            "the site's network {} holds addresses of the Internet: the VPC will reach those through \
             the tunnel only",
            pair.site
        ));
    }
    notes
}

/// Routes to the network, or to a part of it, that are somebody else's.
fn foreign_routes(
    request: &Request<'_>,
    region: &Region,
    table: &AwsId,
    cidr: Ipv4Net,
    own_gateways: &[AwsId],
    flag: &str,
) -> Vec<Refusal> {
    let Some(table) = region.route_table(table) else {
        return Vec::new();
    };
    // One that somebody led elsewhere is put right if it is still declared, and else is theirs.
    let ours = |route: &Route| {
        let announced = table.tags.announcement(request.stack, &format!("route/{}", route.cidr));
        announced.is_some_and(|to| to == route.target.as_str() || route.cidr == cidr)
    };
    let foreign = table.routes.iter().filter(|r| {
        let is_own = ours(r) || (r.is_propagated && own_gateways.contains(&r.target));
        cidr.contains(&r.cidr) && r.target.as_str() != "local" && !is_own
    });
    foreign
        .map(|r| {
            Refusal::new(
                format!("{} has a route to {} through {} already", table.id, r.cidr, r.target),
                format!("remove that route, or leave the table out with {flag}"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supernet_is_the_smallest_that_holds_all() {
        let nets: Vec<Ipv4Net> =
            ["10.0.0.0/24", "10.0.3.0/24"].iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(supernet(&nets).to_string(), "10.0.0.0/22");
        assert_eq!(supernet(&nets[..1]).to_string(), "10.0.0.0/24");
    }
}
