//! The VPC's side.

use ipnet::Ipv4Net;
use serde::Serialize;

use super::cidrs::{list, one_of, overlap};
use super::{Refusal, Request};
use crate::address::AwsId;
use crate::aws::{Place, Tags};
use crate::spec::Cidr;
use crate::world::{Connection, Gateway, Region, RouteTable, Subnet, Vpc};

/// The VPC's side, as it will be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cloud {
    /// Where it is.
    pub place: Place,
    /// The VPC.
    pub vpc: AwsId,
    /// The account that owns it.
    pub account: String,
    /// Its network behind the tunnels (Endpoint 2).
    pub cidr: Ipv4Net,
    /// Its route tables that get a route to the site.
    pub tables: Vec<AwsId>,
    /// The VPN gateway that it has already and that is not this stack's.
    pub gateway: Option<AwsId>,
    /// The private subnet to make.
    pub subnet_cidr: Option<Ipv4Net>,
    /// A subnet of the VPC that gets a route to the site.
    pub subnet: Option<AwsId>,
}

/// Says which of AWS's default quotas stand in the way (AWS VPN guide, «Site-to-Site VPN quotas») of
/// what has to be made.
///
/// A number beside the default means that the quota was raised.
pub(super) fn used_up(
    request: &Request<'_>,
    region: &Region,
    vpc: &AwsId,
    customer: Option<&AwsId>,
) -> Vec<Refusal> {
    let attached = attached(region, vpc);
    let through = |c: &&Connection| attached.is_some_and(|g| c.gateway.as_ref() == Some(&g.id));
    let through = region.connections.iter().filter(through);
    let gateways = region.vpn_gateways.iter().filter(|_| attached.is_none());
    let customers = region.customer_gateways.iter().filter(|_| customer.is_none());
    let connections = region.connections.iter();
    let is_free = region.vpn_gateways.iter().any(|g| g.attachment.is_none());
    let some = "remove one";
    let one = if is_free { "attach one of them to the VPC, or remove one" } else { some };
    // What is counted, those there are, how many there may be, the quota's code, and what helps.
    let quotas: [(&str, Vec<&Tags>, usize, &str, &str); 4] = [
        ("VPN gateways", gateways.map(|o| &o.tags).collect(), 5, "L-7029FAB6", one),
        ("customer gateways", customers.map(|o| &o.tags).collect(), 50, "L-4FB7FF5D", some),
        ("VPN connections", connections.map(|o| &o.tags).collect(), 50, "L-3E6EC3A3", some),
        (
            "VPN connections to one gateway",
            through.map(|o| &o.tags).collect(),
            10,
            "L-B91E5754",
            some,
        ),
    ];
    let mut refusals = Vec::new();
    for (of, found, limit, code, helps) in quotas {
        let has_own = found.iter().any(|tags| tags.belongs_to(request.stack));
        if found.len() == limit && !has_own && !request.quota_raised {
            refusals.push(Refusal::new(
                format!("{} has {limit} {of}, AWS's default quota", region.place),
                format!("{helps}; or raise the quota {code} and say --quota-raised"),
            ));
        }
    }
    refusals
}

/// The VPN gateway that a VPC has already.
fn attached<'a>(region: &'a Region, vpc: &AwsId) -> Option<&'a Gateway> {
    let holds = |(of, state): &(AwsId, String)| of == vpc && state != "detaching";
    region.vpn_gateways.iter().find(|g| g.attachment.as_ref().is_some_and(holds))
}

pub(super) fn examine(request: &Request<'_>, region: &Region) -> Result<Cloud, Vec<Refusal>> {
    let Some(vpc_id) = &request.declared.vpc else {
        return Err(vec![Refusal::new("no VPC is named", "name it with --vpc")]);
    };
    let Some(vpc) = region.vpc(vpc_id.id()) else {
        return Err(vec![Refusal::new(
            format!("{vpc_id} does not exist in {}", region.place),
            "name another with --vpc, or its region with --region",
        )]);
    };
    let mut refusals = Vec::new();
    if let Some(transit) = region.transit.get(&vpc.id) {
        refusals.push(Refusal::new(
            format!("{vpc_id} hangs on the transit gateway {transit}, which cgw does not support"),
            "choose another VPC with --vpc, or attach the VPN to the transit gateway by hand",
        ));
    }
    let is_ours = |tags: &Tags| tags.belongs_to(request.stack);
    let gateway = attached(region, &vpc.id).filter(|g| !is_ours(&g.tags)).map(|g| g.id.clone());
    let subnet_cidr = request.declared.subnet_cidr.map(|cidr| cidr.0);
    let tables = tables(request, region, vpc).unwrap_or_else(|more| {
        refusals.extend(more);
        Vec::new()
    });
    if let Some(cidr) = subnet_cidr {
        refusals.extend(bad_subnet(request, region, vpc, cidr));
    }
    let cidr = cidr(request, vpc).map_err(|more| {
        refusals.push(more);
    });
    match cidr {
        Ok(cidr) if refusals.is_empty() => Ok(Cloud {
            place: request.cloud.clone(),
            vpc: vpc.id.clone(),
            account: vpc.account.clone(),
            cidr,
            subnet: served_subnet(region, &vpc.id, cidr, &tables),
            tables,
            gateway,
            subnet_cidr,
        }),
        Ok(_) | Err(()) => Err(refusals),
    }
}

/// The tunnels carry one network: the VPC's, unless another is asked for.
fn cidr(request: &Request<'_>, vpc: &Vpc) -> Result<Ipv4Net, Refusal> {
    if let Some(Cidr(cidr)) = request.declared.cloud_cidr {
        if vpc.cidrs.iter().any(|own| overlap(*own, cidr)) {
            return Ok(cidr);
        }
        return Err(Refusal::new(
            format!("{cidr} has nothing in common with the networks of {}", vpc.id),
            "give the VPC's CIDR, a subnet's, or a supernet with --cloud-cidr",
        ));
    }
    match vpc.cidrs.as_slice() {
        [one] => Ok(*one),
        [] => Err(Refusal::new(
            format!("{} has no IPv4 network", vpc.id),
            "name another VPC with --vpc",
        )),
        several => Err(Refusal::new(
            format!(
                "{} has several networks ({}), and a tunnel carries one pair",
                vpc.id,
                list(several)
            ),
            one_of(several, "--cloud-cidr"),
        )),
    }
}

fn tables(request: &Request<'_>, region: &Region, vpc: &Vpc) -> Result<Vec<AwsId>, Vec<Refusal>> {
    if let Some(named) = &request.declared.route_tables {
        let ids: Vec<AwsId> = named.0.iter().map(|id| id.id().clone()).collect();
        return named_tables(region, &vpc.id, &ids, "--route-tables");
    }
    let is_made = |t: &&RouteTable| t.tags.belongs_to(request.stack);
    let private = |t: &&RouteTable| t.vpc == vpc.id && !t.is_public() && !is_made(t);
    let all: Vec<AwsId> =
        region.route_tables.iter().filter(private).map(|t| t.id.clone()).collect();
    if all.is_empty() && request.declared.subnet_cidr.is_none() {
        return Err(vec![Refusal::new(
            format!("every route table of {} leads to an Internet gateway", vpc.id),
            "make a private subnet with --subnet-cidr, or name tables with --route-tables",
        )]);
    }
    Ok(all)
}

/// The first subnet inside the tunnels' network that one of the tables serves.
fn served_subnet(region: &Region, vpc: &AwsId, cidr: Ipv4Net, tables: &[AwsId]) -> Option<AwsId> {
    let is_served = |subnet: &&Subnet| {
        region.table_of(&subnet.id, vpc).is_some_and(|table| tables.contains(&table.id))
    };
    let mut inside: Vec<&Subnet> =
        region.subnets.iter().filter(|s| &s.vpc == vpc && cidr.contains(&s.cidr)).collect();
    inside.sort_by(|a, b| a.id.cmp(&b.id));
    inside.into_iter().find(is_served).map(|subnet| subnet.id.clone())
}

/// Checks route tables that were named.
pub(super) fn named_tables(
    region: &Region,
    vpc: &AwsId,
    ids: &[AwsId],
    flag: &str,
) -> Result<Vec<AwsId>, Vec<Refusal>> {
    let wrong = |id: &AwsId| {
        let hint = format!("name others with {flag}");
        match region.route_table(id) {
            None => Some(Refusal::new(format!("{id} does not exist in {}", region.place), hint)),
            Some(table) if &table.vpc != vpc => {
                Some(Refusal::new(format!("{id} is in {}, not in {vpc}", table.vpc), hint))
            }
            Some(_) => None,
        }
    };
    let refusals: Vec<Refusal> = ids.iter().filter_map(wrong).collect();
    if refusals.is_empty() { Ok(ids.to_vec()) } else { Err(refusals) }
}

fn bad_subnet(request: &Request<'_>, region: &Region, vpc: &Vpc, cidr: Ipv4Net) -> Option<Refusal> {
    if !(16..=28).contains(&cidr.prefix_len()) {
        let text = format!("AWS makes no subnet {cidr}: its length is 16 to 28");
        return Some(Refusal::new(text, "give another with --subnet-cidr"));
    }
    if !vpc.cidrs.iter().any(|own| own.contains(&cidr)) {
        let text = format!("the subnet {cidr} lies outside the networks of {}", vpc.id);
        return Some(Refusal::new(text, "give another with --subnet-cidr"));
    }
    let is_ours = |tags: &Tags| tags.belongs_to(request.stack);
    let mut others = region.subnets.iter().filter(|s| s.vpc == vpc.id && !is_ours(&s.tags));
    let taken = others.find(|s| overlap(s.cidr, cidr))?;
    Some(Refusal::new(
        format!("the subnet {cidr} overlaps {} ({})", taken.id, taken.cidr),
        "give another with --subnet-cidr",
    ))
}
