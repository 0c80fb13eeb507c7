//! VPCs, their subnets, and the gateways to the Internet.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::{Answer, Call, done, routes};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{Tree, list, map};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Vpc {
    pub(super) cidr: Ipv4Net,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Subnet {
    pub(super) vpc: String,
    pub(super) cidr: Ipv4Net,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InternetGateway {
    pub(super) vpc: Option<String>,
}

/// Reads a network; AWS takes away the bits of a host.
pub(super) fn network(call: &Call<'_>, name: &str) -> Result<Ipv4Net, Refusal> {
    let net: Option<Ipv4Net> = call.query.read(name)?;
    net.map(|net| net.trunc()).ok_or_else(|| Refusal::missing(name))
}

pub(super) fn create_vpc(call: &mut Call<'_>) -> Answer {
    let cidr = network(call, "CidrBlock")?;
    if !(16..=28).contains(&cidr.prefix_len()) {
        return Err(Refusal::new("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    let id = call.new_id("vpc");
    call.tag(&id)?;
    let vpc = Vpc { cidr };
    let tree = vpc_tree(call, &id, &vpc);
    call.region.vpcs.put(&id, call.now, vpc);
    routes::make_main(call, &id, cidr);
    super::groups::make_default(call, &id);
    Ok(map([("vpc", tree)]))
}

fn vpc_tree(call: &Call<'_>, id: &str, vpc: &Vpc) -> Tree {
    let association = map([
        ("associationId", format!("vpc-cidr-assoc-{}", id.trim_start_matches("vpc-")).into()),
        ("cidrBlock", vpc.cidr.into()),
        ("cidrBlockState", map([("state", "associated".into())])),
    ]);
    map([
        ("vpcId", id.into()),
        ("ownerId", call.account.into()),
        ("state", "available".into()),
        ("cidrBlock", vpc.cidr.into()),
        ("cidrBlockAssociationSet", list([association])),
        ("instanceTenancy", "default".into()),
        ("isDefault", false.into()),
        ("tagSet", call.tag_set(id)),
    ])
}

pub(super) fn describe_vpcs(call: &mut Call<'_>) -> Answer {
    let all = call.region.vpcs.all_at(call.seen);
    let items = all.map(|(id, vpc)| vpc_tree(call, id, vpc)).collect();
    let what = Describe {
        set: "vpcSet",
        ids: ("VpcId", &["vpcId"]),
        unknown: "InvalidVpcID.NotFound",
        filters: &[("cidr", &["cidrBlock"])],
        is_paged: true,
    };
    call.describe(&what, items)
}

fn subnet_tree(call: &Call<'_>, id: &str, subnet: &Subnet) -> Tree {
    map([
        ("subnetId", id.into()),
        ("state", "available".into()),
        ("vpcId", (&subnet.vpc).into()),
        ("ownerId", call.account.into()),
        ("cidrBlock", subnet.cidr.into()),
        ("availableIpAddressCount", (subnet.cidr.hosts().count().saturating_sub(3)).into()),
        ("availabilityZone", "a".into()),
        ("defaultForAz", false.into()),
        ("mapPublicIpOnLaunch", false.into()),
        ("tagSet", call.tag_set(id)),
    ])
}

pub(super) fn create_subnet(call: &mut Call<'_>) -> Answer {
    let vpc = call.query.must("VpcId")?.to_owned();
    let cidr = network(call, "CidrBlock")?;
    let within = call.known(|r| &r.vpcs, &vpc, "InvalidVpcID.NotFound")?;
    if !within.cidr.contains(&cidr) || !(16..=28).contains(&cidr.prefix_len()) {
        return Err(Refusal::new("InvalidSubnet.Range", format!("The CIDR '{cidr}' is invalid.")));
    }
    let overlaps = |other: &Subnet| {
        other.vpc == vpc && (other.cidr.contains(&cidr) || cidr.contains(&other.cidr))
    };
    if call.region.subnets.all().any(|(_, other)| overlaps(other)) {
        let text = format!("The CIDR '{cidr}' conflicts with another subnet");
        return Err(Refusal::new("InvalidSubnet.Conflict", text));
    }
    let id = call.new_id("subnet");
    call.tag(&id)?;
    let subnet = Subnet { vpc, cidr };
    call.region.subnets.put(&id, call.now, subnet.clone());
    call.seen = call.now;
    Ok(map([("subnet", subnet_tree(call, &id, &subnet))]))
}

pub(super) fn describe_subnets(call: &mut Call<'_>) -> Answer {
    let all = call.region.subnets.all_at(call.seen);
    let items = all.map(|(id, subnet)| subnet_tree(call, id, subnet)).collect();
    let what = Describe {
        set: "subnetSet",
        ids: ("SubnetId", &["subnetId"]),
        unknown: "InvalidSubnetID.NotFound",
        filters: &[("cidr", &["cidrBlock"])],
        is_paged: true,
    };
    call.describe(&what, items)
}

pub(super) fn delete_subnet(call: &mut Call<'_>) -> Answer {
    let id = call.query.must("SubnetId")?.to_owned();
    call.known(|r| &r.subnets, &id, "InvalidSubnetID.NotFound")?;
    if call.region.interfaces.all().any(|(_, interface)| interface.subnet == id) {
        let text = format!("The subnet '{id}' has dependencies and cannot be deleted.");
        return Err(Refusal::new("DependencyViolation", text));
    }
    call.region.subnets.remove(&id, call.now);
    call.untag(&id);
    routes::forget_subnet(call, &id);
    done()
}

/// Returns an address of a subnet that nobody has; AWS keeps the first four.
pub(super) fn free_address(
    call: &Call<'_>,
    id: &str,
    subnet: &Subnet,
) -> Result<Ipv4Addr, Refusal> {
    let is_taken = |ip: &Ipv4Addr| {
        let mut all = call.region.interfaces.all();
        all.any(|(_, other)| other.subnet == id && other.private_ip == *ip)
    };
    subnet.cidr.hosts().skip(3).find(|ip| !is_taken(ip)).ok_or_else(|| {
        Refusal::new("InsufficientFreeAddressesInSubnet", format!("{id} has no free address"))
    })
}

pub(super) fn create_internet_gateway(call: &mut Call<'_>) -> Answer {
    let id = call.new_id("igw");
    call.tag(&id)?;
    call.region.internet_gateways.put(&id, call.now, InternetGateway { vpc: None });
    Ok(map([("internetGateway", map([("internetGatewayId", id.into())]))]))
}

pub(super) fn attach_internet_gateway(call: &mut Call<'_>) -> Answer {
    let id = call.query.must("InternetGatewayId")?.to_owned();
    let vpc = call.query.must("VpcId")?.to_owned();
    call.known(|r| &r.internet_gateways, &id, "InvalidInternetGatewayID.NotFound")?;
    call.known(|r| &r.vpcs, &vpc, "InvalidVpcID.NotFound")?;
    call.region.internet_gateways.change(&id, call.now, |gateway| gateway.vpc = Some(vpc));
    done()
}

pub(super) fn describe_internet_gateways(call: &mut Call<'_>) -> Answer {
    let attachment = |vpc: &String| map([("vpcId", vpc.into()), ("state", "available".into())]);
    let all = call.region.internet_gateways.all_at(call.seen);
    let items = all.map(|(id, gateway)| {
        map([
            ("internetGatewayId", id.into()),
            ("ownerId", call.account.into()),
            ("attachmentSet", list(gateway.vpc.iter().map(attachment))),
            ("tagSet", call.tag_set(id)),
        ])
    });
    let what = Describe {
        set: "internetGatewaySet",
        ids: ("InternetGatewayId", &["internetGatewayId"]),
        unknown: "InvalidInternetGatewayID.NotFound",
        filters: &[("attachment.vpc-id", &["attachmentSet", "vpcId"])],
        is_paged: true,
    };
    call.describe(&what, items.collect())
}

/// There is no transit gateway here.
#[expect(clippy::unnecessary_wraps, reason = "it is one of many actions")]
pub(super) fn describe_transit(_: &mut Call<'_>) -> Answer {
    Ok(map([("transitGatewayVpcAttachments", list([]))]))
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of many actions")]
pub(super) fn describe_regions(_: &mut Call<'_>) -> Answer {
    let region = |name: &str| {
        map([("regionName", name.into()), ("optInStatus", "opt-in-not-required".into())])
    };
    Ok(map([("regionInfo", list(["eu-central-1", "eu-west-1", "us-east-1"].map(region)))]))
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of many actions")]
pub(super) fn describe_zones(_: &mut Call<'_>) -> Answer {
    let zone = map([("zoneName", "a".into()), ("zoneState", "available".into())]);
    Ok(map([("availabilityZoneInfo", list([zone]))]))
}
