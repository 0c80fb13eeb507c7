//! The server's side: an EC2 instance, or somebody's own machine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use super::cidrs::{list, one_of};
use super::cloud::named_tables;
use super::launch::SERVER;
use super::{Candidate, Refusal, Request, Stop};
use crate::address::{AwsId, Stack};
use crate::aws::Place;
use crate::spec::{Choice, Cidr};
use crate::world::{ElasticAddress, Instance, Interface, Region, RouteTable};

/// The server's side, as it will be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// An EC2 instance.
    Instance(Box<Ec2Server>),
    /// Somebody's own machine: only addresses are known.
    Own {
        /// Its public address, or its NAT's.
        gateway_ip: Ipv4Addr,
        /// Its private address.
        private_ip: Ipv4Addr,
    },
}

/// An EC2 instance as the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ec2Server {
    /// Where it is.
    pub place: Place,
    /// The account that owns its VPC.
    pub account: String,
    /// Its id.
    pub instance: AwsId,
    /// Its id and name.
    pub label: String,
    /// Whether this stack has launched it.
    pub is_launched: bool,
    /// The interface that the tunnels use.
    pub interface: AwsId,
    /// That interface's private address.
    pub private_ip: Ipv4Addr,
    /// The VPC it is in.
    pub vpc: AwsId,
    /// The subnet it is in.
    pub subnet: AwsId,
    /// The groups that the interface has, but for this stack's.
    pub groups: BTreeSet<AwsId>,
    /// Whether the interface checks source and destination where no stack has it switched off.
    pub source_dest_check: bool,
    /// Where its public address comes from.
    pub public_ip: PublicIp,
    /// Its public address now.
    pub public_ip_now: Option<Ipv4Addr>,
    /// The route tables of its VPC that get a route to the cloud's VPC.
    pub tables: Vec<AwsId>,
}

/// Where the server's public address comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicIp {
    /// A new Elastic IP.
    New,
    /// The stack's Elastic IP, which exists.
    Ours {
        /// The address.
        ip: Ipv4Addr,
        /// The interface that it is for, as its tag says.
        announced: Option<AwsId>,
    },
    /// An Elastic IP of the user's: used, never released.
    Adopted {
        /// Its allocation id.
        id: AwsId,
        /// The address.
        ip: Ipv4Addr,
        /// Whose its association with the interface is.
        link: Link,
    },
}

/// Whose the association of an adopted Elastic IP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// The stack's: it makes it, or has made it.
    Own,
    /// Made by other stacks of the same server: the last of them undoes it.
    Shared,
    /// Made by the user: it stays.
    Users,
}

impl Site {
    /// Returns the server's private address.
    #[must_use]
    pub fn private_ip(&self) -> Ipv4Addr {
        match self {
            Self::Instance(server) => server.private_ip,
            Self::Own { private_ip, .. } => *private_ip,
        }
    }

    /// Returns the public address, if it is known beforehand.
    #[must_use]
    pub fn known_public_ip(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Own { gateway_ip, .. } => Some(*gateway_ip),
            Self::Instance(server) => match &server.public_ip {
                PublicIp::Ours { ip, .. } | PublicIp::Adopted { ip, .. } => Some(*ip),
                PublicIp::New => None,
            },
        }
    }
}

/// What a stack says of an address that it associates.
const ASSOCIATION: &str = "elastic-ip-association";
/// What a stack says of an interface that forwards.
pub(super) const CHECK: &str = "source-dest-check";
/// AWS's default quota of Elastic IPs in a region.
const ELASTIC_IPS: usize = 5;
/// AWS's default quota of security groups of an interface.
const GROUPS: usize = 5;

/// An own server.
pub(super) fn own(request: &Request<'_>) -> Result<(Site, Ipv4Net), Stop> {
    let declared = request.declared;
    let mut refusals = Vec::new();
    let mut missing = |what: &str, flag: &str| {
        let text = format!("{what} of the own server is not given");
        refusals.push(Refusal::new(text, format!("give it with {flag}")));
    };
    if declared.gateway_ip.is_none() {
        missing("the public address", "--gateway-ip");
    }
    if declared.private_ip.is_none() {
        missing("the private address", "--private-ip");
    }
    if declared.site_cidr.is_none() {
        missing("the network", "--site-cidr");
    }
    if declared.instance.is_some() {
        refusals.push(Refusal::new(
            "the server cannot be an EC2 instance and an own machine at once",
            "give either --instance, or --gateway-ip and --private-ip",
        ));
    }
    if let Some(eip) = &declared.eip {
        refusals.push(Refusal::new(
            format!("{eip} cannot be the address of a server outside EC2"),
            "leave --eip out, or name the server with --instance",
        ));
    }
    if let Some(ip) = declared.gateway_ip.filter(|ip| !is_public(*ip)) {
        refusals.push(Refusal::new(
            format!("{ip} is no public address"),
            "give the server's public address, or that of its NAT, with --gateway-ip",
        ));
    }
    match (declared.gateway_ip, declared.private_ip, declared.site_cidr) {
        (Some(gateway_ip), Some(private_ip), Some(Cidr(cidr))) if refusals.is_empty() => {
            Ok((Site::Own { gateway_ip, private_ip }, cidr))
        }
        _ => Err(Stop::Refused(refusals)),
    }
}

/// Says whether an address can be one of the Internet's hosts (RFC 1122, RFC 1918, RFC 5771).
fn is_public(ip: Ipv4Addr) -> bool {
    let special = ip.is_unspecified() || ip.is_multicast() || ip.octets()[0] >= 240;
    !(special || ip.is_private() || ip.is_link_local() || ip.is_loopback())
}

/// An EC2 instance.
pub(super) fn instance(request: &Request<'_>, region: &Region) -> Result<(Site, Ipv4Net), Stop> {
    let instance = choose(request, region)?;
    let refused = |refusal| Stop::Refused(vec![refusal]);
    if let Some(refusal) = unfit(request, region, instance) {
        return Err(refused(refusal));
    }
    let is_launched = instance.tags.node_key(request.stack, SERVER).is_some();
    if request.declared.launch.is_some() && !is_launched {
        return Err(refused(Refusal::new(
            format!(
                "{} was not launched by this stack, and --launch asks for a new server",
                instance.label()
            ),
            "leave --launch out, or forget the other server with --unset instance",
        )));
    }
    let interface = interface(request, region, instance).map_err(refused)?;
    let mut refusals = Vec::new();
    let address = public_ip(request, region, interface).unwrap_or_else(|refusal| {
        refusals.push(refusal);
        PublicIp::New
    });
    let site_cidr = cidr(request, region, &interface.vpc).map_err(|refusal| refusals.push(refusal));
    let tables = tables(request, region, interface).unwrap_or_else(|more| {
        refusals.extend(more);
        Vec::new()
    });
    let (Ok(site_cidr), true) = (site_cidr, refusals.is_empty()) else {
        return Err(Stop::Refused(refusals));
    };
    let is_ours = |id: &&AwsId| {
        let group = region.groups.iter().find(|g| &g.id == *id);
        group.is_some_and(|g| g.tags.belongs_to(request.stack))
    };
    let is_full = interface.groups.len() >= GROUPS && !interface.groups.iter().any(|g| is_ours(&g));
    if is_full && !request.quota_raised {
        return Err(refused(Refusal::new(
            format!("{} has {GROUPS} security groups, AWS's default quota", interface.id),
            "take one from it; or raise the quota L-2AFB9258 and say --quota-raised",
        )));
    }
    let server = Ec2Server {
        place: region.place.clone(),
        account: region.vpc(&interface.vpc).map(|v| v.account.clone()).unwrap_or_default(),
        instance: instance.id.clone(),
        label: instance.label(),
        is_launched,
        interface: interface.id.clone(),
        private_ip: interface.private_ip.expect("`interface` chose one with an address"),
        vpc: interface.vpc.clone(),
        subnet: interface.subnet.clone(),
        groups: interface.groups.iter().filter(|id| !is_ours(id)).cloned().collect(),
        source_dest_check: check_before(interface),
        public_ip: address,
        public_ip_now: instance.public_ip,
        tables,
    };
    Ok((Site::Instance(Box::new(server)), site_cidr))
}

/// The instance that was named; else the one that is this stack's gateway; else the only one that
/// could be.
fn choose<'a>(request: &Request<'_>, region: &'a Region) -> Result<&'a Instance, Stop> {
    let refused = |text: String, hint: &str| Stop::Refused(vec![Refusal::new(text, hint)]);
    if let Some(id) = &request.declared.instance {
        let missing = || {
            refused(
                format!("{id} does not exist in {}", region.place),
                "name another with --instance, or its region with --site-region; where --launch \
                 is declared, --unset instance has a new one launched",
            )
        };
        return region.instance(id.id()).ok_or_else(missing);
    }
    let is_own = |i: &&Instance| {
        let mut own = region.interfaces.iter().filter(|nic| nic.instance.as_ref() == Some(&i.id));
        own.any(|nic| nic.tags.announcement(request.stack, CHECK).is_some())
    };
    if let Some(own) = region.instances.iter().find(is_own) {
        return Ok(own);
    }
    let could = |i: &&Instance| unfit(request, region, i).is_none();
    let fit: Vec<&Instance> = region.instances.iter().filter(could).collect();
    match fit.as_slice() {
        [one] => Ok(one),
        [] => Err(refused(
            format!("no running Windows instance in {} can be the gateway", region.place),
            "name one with --instance (and its region with --site-region), or an own server with \
             --gateway-ip, --private-ip and --site-cidr",
        )),
        several => Err(Stop::Choose(
            several.iter().map(|i| Candidate { id: i.id.clone(), label: i.label() }).collect(),
        )),
    }
}

/// Says why an instance cannot be the gateway.
pub(super) fn unfit(
    request: &Request<'_>,
    region: &Region,
    instance: &Instance,
) -> Option<Refusal> {
    let label = instance.label();
    let refuse = |text: String, hint: &str| Some(Refusal::new(text, hint));
    if !instance.is_windows {
        return refuse(format!("{label} does not run Windows"), "name another with --instance");
    }
    if instance.state != "running" {
        let text = format!("{label} is {}", instance.state);
        return refuse(text, "start it, or name another with --instance");
    }
    let Some(vpc) = &instance.vpc else {
        return refuse(format!("{label} is in no VPC"), "name another with --instance");
    };
    if request.declared.vpc.as_ref().is_some_and(|cloud| cloud.id() == vpc) {
        let text = format!("{label} is inside {vpc}, the VPC that the VPN leads to");
        return refuse(text, "name a server outside it with --instance, or another VPC with --vpc");
    }
    let subnet = match interface(request, region, instance) {
        Ok(interface) => &interface.subnet,
        Err(refusal) => return Some(refusal),
    };
    if !region.table_of(subnet, vpc).is_some_and(RouteTable::is_public) {
        let text =
            format!("{label} has no route to the Internet: {subnet} has no Internet gateway");
        return refuse(text, "give its subnet such a route, or name another with --instance");
    }
    None
}

/// Whether an interface checked source and destination before any stack: the first has said so, and
/// each that came later says the same.
fn check_before(interface: &Interface) -> bool {
    let mut stacks = interface.tags.announcers().filter_map(|stack| stack.parse().ok());
    let said = stacks.find_map(|stack: Stack| interface.tags.announcement(&stack, CHECK));
    said.map_or(interface.source_dest_check, |before| before == "true")
}

/// The primary interface, or the one with the private address that was named.
fn interface<'a>(
    request: &Request<'_>,
    region: &'a Region,
    instance: &Instance,
) -> Result<&'a Interface, Refusal> {
    let own = |i: &&Interface| i.instance.as_ref() == Some(&instance.id) && i.private_ip.is_some();
    let own = region.interfaces.iter().filter(own);
    let found = match request.declared.private_ip {
        Some(ip) => own.into_iter().find(|i| i.private_ip == Some(ip)),
        None => own.into_iter().min_by_key(|i| i.device),
    };
    found.ok_or_else(|| {
        Refusal::new(
            format!("{} has no interface with that private address", instance.label()),
            "leave --private-ip out, or give the address of one of its interfaces",
        )
    })
}

fn public_ip(
    request: &Request<'_>,
    region: &Region,
    interface: &Interface,
) -> Result<PublicIp, Refusal> {
    let is_ours = |o: &&ElasticAddress| o.tags.belongs_to(request.stack);
    let serving = region.addresses.iter().find(|o| o.interface.as_ref() == Some(&interface.id));
    if let Some(eip) = &request.declared.eip {
        let Some(named) = region.addresses.iter().find(|o| &o.id == eip.id()) else {
            let text = format!("{eip} does not exist in {}", region.place);
            return Err(Refusal::new(text, "name another with --eip"));
        };
        let stays = |o: &&ElasticAddress| !is_ours(o) || other_stack(request, o).is_some();
        if let Some(other) = serving.filter(|o| o.id != named.id && stays(o)) {
            let text = format!("the server has the Elastic IP {} already", other.ip);
            let hint = format!("leave --eip out, or give --eip {}", other.id);
            return Err(Refusal::new(text, hint));
        }
        return usable(request, interface, named);
    }
    let own = || region.addresses.iter().find(is_ours);
    // Another stack's that served this one too until its server was replaced.
    let is_announced = |o: &&ElasticAddress| {
        o.interface.is_none() && o.tags.announcement(request.stack, ASSOCIATION).is_some()
    };
    let announced = || region.addresses.iter().find(is_announced);
    match serving.filter(|o| !is_ours(o)).or_else(own).or_else(announced) {
        Some(found) => usable(request, interface, found),
        None if region.addresses.len() == ELASTIC_IPS && !request.quota_raised => {
            Err(Refusal::new(
                format!("{} has {ELASTIC_IPS} Elastic IPs, AWS's default quota", region.place),
                "use one that exists with --eip; or raise the quota L-0263D0A3 and say \
                 --quota-raised",
            ))
        }
        None => Ok(PublicIp::New),
    }
}

/// Says how an address that exists can be the server's, unless it is somebody's who needs it.
fn usable(
    request: &Request<'_>,
    interface: &Interface,
    address: &ElasticAddress,
) -> Result<PublicIp, Refusal> {
    let (id, ip) = (address.id.clone(), address.ip);
    let announced = address.tags.announcement(request.stack, ASSOCIATION);
    let other_stack = other_stack(request, address);
    // Where the stack itself has put it, it can be taken away from, unless others use it there.
    let is_own = |at: &AwsId| announced == Some(at.as_str()) && other_stack.is_none();
    let is_elsewhere = |at: &&AwsId| **at != interface.id && !is_own(at);
    if let Some(other) = address.interface.as_ref().filter(is_elsewhere) {
        let hint = match other_stack {
            Some(stack) => format!("the stack {stack} uses it there: name another with --eip"),
            None => "disassociate it there, or name another with --eip".to_owned(),
        };
        return Err(Refusal::new(format!("{ip} ({id}) serves {other}"), hint));
    }
    if address.tags.belongs_to(request.stack) {
        return Ok(PublicIp::Ours { ip, announced: announced.map(AwsId::new) });
    }
    let link = match (announced, other_stack, &address.interface) {
        (Some(_), _, _) | (None, None, None) => Link::Own,
        (None, Some(_), Some(_)) => Link::Shared,
        (None, None, Some(_)) => Link::Users,
        (None, Some(other), None) => {
            return Err(Refusal::new(
                format!("{ip} ({id}) belongs to the stack {other}"),
                "name another with --eip, or take that stack down first (--stack)",
            ));
        }
    };
    Ok(PublicIp::Adopted { id, ip, link })
}

fn other_stack<'a>(request: &Request<'_>, address: &'a ElasticAddress) -> Option<&'a str> {
    let mut all = address.tags.stack().into_iter().chain(address.tags.announcers());
    all.find(|stack| *stack != request.stack.as_str())
}

fn cidr(request: &Request<'_>, region: &Region, vpc: &AwsId) -> Result<Ipv4Net, Refusal> {
    if let Some(Cidr(cidr)) = request.declared.site_cidr {
        return Ok(cidr);
    }
    match region.vpc(vpc).map(|v| v.cidrs.as_slice()) {
        Some([one]) => Ok(*one),
        Some([]) | None => Err(Refusal::new(
            format!("the network of {vpc} is not known"),
            "give it with --site-cidr",
        )),
        Some(several) => Err(Refusal::new(
            format!(
                "the server's {vpc} has several networks ({}), and a tunnel carries one pair",
                list(several)
            ),
            one_of(several, "--site-cidr"),
        )),
    }
}

fn tables(
    request: &Request<'_>,
    region: &Region,
    interface: &Interface,
) -> Result<Vec<AwsId>, Vec<Refusal>> {
    match &request.declared.site_route_tables {
        Some(Choice::None) => Ok(Vec::new()),
        Some(Choice::These(ids)) => {
            let ids: Vec<AwsId> = ids.iter().map(|id| id.id().clone()).collect();
            named_tables(region, &interface.vpc, &ids, "--site-route-tables")
        }
        Some(Choice::All) | None => {
            let own = region.route_tables.iter().filter(|t| t.vpc == interface.vpc);
            Ok(own.map(|t| t.id.clone()).collect())
        }
    }
}
