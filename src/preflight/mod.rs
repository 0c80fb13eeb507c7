//! Decides from what was asked for and what is there what the VPN is to be, or refuses; pure.

mod cidrs;
mod cloud;
mod launch;
mod neighbours;
pub mod propose;
mod site;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::address::{AwsId, Stack};
use crate::aws::Place;
use crate::playbook::Own;
use crate::spec::{Declared, List, Via};
use crate::tunnel::{CidrPair, Crypto, Turn};
use crate::world::{Connection, Customer, Region, World};

pub use cloud::Cloud;
pub use launch::{Launching, imagine, is_to_launch, launch};
pub use site::{Ec2Server, Link, PublicIp, Site};

/// Why nothing will be done, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// One sentence.
    pub text: String,
    /// What a person can do, naming the flag.
    pub hint: String,
}

impl Refusal {
    fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { text: text.into(), hint: hint.into() }
    }
}

/// A server that could be the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its id.
    pub id: AwsId,
    /// Its id and name.
    pub label: String,
}

/// What keeps a plan from being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Something is wrong.
    Refused(Vec<Refusal>),
    /// Several servers could be the gateway: somebody has to choose.
    Choose(Vec<Candidate>),
}

/// What is asked for and what it is asked of.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// What was declared, by whomever.
    pub declared: &'a Declared,
    /// All that was observed.
    pub world: &'a World,
    /// The VPC's side.
    pub cloud: &'a Place,
    /// The instance's side.
    pub site: &'a Place,
    /// The address from which this machine reaches the server, if it is known.
    pub operator: Option<Ipv4Addr>,
    /// Whether the account's quotas are known to be higher than AWS's defaults.
    pub quota_raised: bool,
    /// Whether Systems Manager reaches the instance.
    pub is_managed: bool,
    /// The steps of the user's own folder.
    pub own: &'a Own,
}

/// All that planning needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Situation {
    /// The stack.
    pub stack: Stack,
    /// What was declared, with the server that was found for it.
    pub declared: Declared,
    /// The VPC's side.
    pub cloud: Cloud,
    /// The server's side.
    pub site: Site,
    /// What the tunnels carry.
    pub pair: CidrPair,
    /// Which suites both ends are set to.
    pub crypto: Crypto,
    /// The only tunnel that is changed now.
    pub turn: Option<Turn>,
    /// Whether the tunnels may be changed though that cuts the traffic off.
    pub may_cut_off: bool,
    /// Whether there is to be a host in the VPC that answers pings.
    pub probe: bool,
    /// How the scripts reach the server.
    pub via: Via,
    /// Steps that replace or join those of the playbook.
    pub own: Own,
    /// TCP ports of instances in the VPC that the site may reach.
    pub workload_ports: Vec<u16>,
    /// Networks that may administer the server.
    pub admin_cidrs: Vec<Ipv4Net>,
    /// The customer gateway's autonomous system number.
    pub asn: i32,
    /// A customer gateway with the same address that is somebody else's: adopted.
    pub customer: Option<AwsId>,
    /// What a person should know before approving.
    pub notes: Vec<String>,
}

/// Examines a request.
pub fn examine(request: &Request<'_>) -> Result<Situation, Stop> {
    let region = |place| request.world.region(place).ok_or_else(|| Stop::Refused(unseen(place)));
    let cloud_region = region(request.cloud)?;
    let cloud = cloud::examine(request, cloud_region);
    let site = match (&request.declared.gateway_ip, &request.declared.private_ip) {
        (None, None) => site::instance(request, region(request.site)?),
        (None, Some(_)) if request.declared.instance.is_some() => {
            site::instance(request, region(request.site)?)
        }
        _ => site::own(request),
    };
    let (cloud, (site, site_cidr)) = match (cloud, site) {
        (Ok(cloud), Ok(site)) => (cloud, site),
        (Err(refusals), Err(Stop::Refused(more))) => {
            return Err(Stop::Refused([refusals, more].concat()));
        }
        (Err(refusals), Err(Stop::Choose(_)) | Ok(_)) => return Err(Stop::Refused(refusals)),
        (Ok(_), Err(stop)) => return Err(stop),
    };
    let pair = CidrPair { site: site_cidr, cloud: cloud.cidr };
    let mut refusals = cidrs::examine(request, cloud_region, &cloud, &site, pair);
    let crypto = request.declared.crypto.unwrap_or_default();
    if crypto == Crypto::Guide && request.cloud.region.starts_with("us-gov-") {
        refusals.push(Refusal::new(
            "AWS GovCloud does not accept the guide's suites",
            "choose --crypto strict or --crypto strong",
        ));
    }
    if let Some(ping) = request.declared.ping.filter(|ping| !pair.cloud.contains(ping)) {
        refusals.push(Refusal::new(
            format!("{ping} is not in the VPC's network {}", pair.cloud),
            "name a host in the VPC with --ping: only what is behind the tunnels proves them",
        ));
    }
    refusals.extend(neighbours::examine(request, &site, pair));
    refusals.extend(unprintable(request));
    let via = way(request);
    let gateway_asn = cloud
        .gateway
        .as_ref()
        .and_then(|id| cloud_region.vpn_gateways.iter().find(|g| &g.id == id).map(|g| g.asn));
    // AWS refuses two ends with one number.
    let asn = if gateway_asn == Some(65_000) { 65_001 } else { 65_000 };
    let customer = equal_customer(request, cloud_region, &site, asn);
    refusals.extend(taken_names(request, &cloud, &site));
    refusals.extend(cloud::used_up(request, cloud_region, &cloud.vpc, customer.as_ref()));
    if !refusals.is_empty() {
        return Err(Stop::Refused(refusals));
    }
    if let (Some(customer), Some(gateway)) = (&customer, &cloud.gateway) {
        let joined = joined_already(request, cloud_region, [customer, gateway]);
        joined.map_or(Ok(()), |refusal| Err(Stop::Refused(vec![refusal])))?;
    }
    let mut declared = request.declared.clone();
    declared.via = Some(via);
    if let (Site::Instance(server), None) = (&site, &declared.instance) {
        declared.instance = server.instance.as_str().parse().ok();
    }
    let is_nobodys = |id: &&AwsId| {
        let found = cloud_region.customer_gateways.iter().find(|c| &&c.id == id);
        found.is_some_and(|c| c.tags.stack().is_none())
    };
    let mut notes = notes(&cloud, &site, customer.as_ref().filter(is_nobodys), via);
    notes.extend(idle(&declared, via));
    notes.extend(cidrs::notes(request, &site, pair));
    notes.extend(neighbours::notes(request, &site));
    Ok(Situation {
        stack: request.stack.clone(),
        workload_ports: match &declared.workload_ports {
            Some(List(ports)) => ports.iter().map(|port| port.get()).collect(),
            None => vec![22, 3389],
        },
        admin_cidrs: declared
            .admin_cidr
            .iter()
            .flat_map(|list| &list.0)
            .map(|cidr| cidr.0)
            .collect(),
        declared,
        cloud,
        site,
        pair,
        crypto,
        turn: None,
        may_cut_off: false,
        probe: false,
        via,
        own: request.own.clone(),
        asn,
        customer,
        notes,
    })
}

/// What goes into tags, into files and over to the server has to be text.
fn unprintable(request: &Request<'_>) -> impl Iterator<Item = Refusal> {
    let hint = "give it without; what the stack's record says is forgotten with --unset";
    let refusal = move |flag| Refusal::new(format!("--{flag} has a control character"), hint);
    request.declared.unprintable().into_iter().map(refusal)
}

fn unseen(place: &Place) -> Vec<Refusal> {
    let hint = "name the region with --region or --site-region";
    vec![Refusal::new(format!("{place} was not observed"), hint)]
}

/// A security group's name is unique in its VPC: somebody may have one that the stack needs.
fn taken_names(request: &Request<'_>, cloud: &Cloud, site: &Site) -> Vec<Refusal> {
    let mut names: Vec<(&Place, &AwsId, &str)> =
        ["", "lock", "workload"].map(|of| (request.cloud, &cloud.vpc, of)).to_vec();
    if let Site::Instance(server) = site {
        names.push((request.site, &server.vpc, "gateway"));
    }
    let taken = names.into_iter().filter_map(|(place, vpc, of)| {
        let name = request.stack.group_name(of);
        let mut groups = request.world.region(place)?.groups.iter();
        let other = groups
            .find(|g| &g.vpc == vpc && g.name == name && !g.tags.belongs_to(request.stack))?;
        Some(Refusal::new(
            format!("{} in {vpc} is named {name}, and is not this stack's", other.id),
            "choose another name for the stack with --stack",
        ))
    });
    taken.collect()
}

/// AWS allows one customer gateway for an address and a number: one that exists has to serve.
fn equal_customer(request: &Request<'_>, region: &Region, site: &Site, asn: i32) -> Option<AwsId> {
    let (ip, asn) = (site.known_public_ip()?, asn.to_string());
    let equal = |c: &&Customer| c.ip == Some(ip) && c.asn == asn && c.state == "available";
    let mut all = region.customer_gateways.iter().filter(equal);
    let has_own = all.clone().any(|c| c.tags.belongs_to(request.stack));
    all.find(|_| !has_own).map(|c| c.id.clone())
}

/// AWS allows one connection between two gateways: whoever has it is left alone.
fn joined_already(request: &Request<'_>, region: &Region, ends: [&AwsId; 2]) -> Option<Refusal> {
    let joins = |c: &&Connection| [Some(&c.customer), c.gateway.as_ref()] == ends.map(Some);
    let mut all = region.connections.iter().filter(joins);
    let other = all.find(|c| !c.tags.belongs_to(request.stack) && c.state != "deleting")?;
    Some(Refusal::new(
        format!("{} joins {} and {} already, and is not this stack's", other.id, ends[0], ends[1]),
        "one connection to a server is enough; to make it cgw's, delete that one first",
    ))
}

fn notes(cloud: &Cloud, site: &Site, customer: Option<&AwsId>, via: Via) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(gateway) = &cloud.gateway {
        notes.push(format!(
            "the VPC has the VPN gateway {gateway} already, which is not this stack's: it is used \
             and never deleted; routes are not propagated from it"
        ));
    }
    if let Some(customer) = customer {
        notes.push(format!(
            "the customer gateway {customer} has the same address: it is used and never deleted"
        ));
    }
    match site {
        Site::Instance(server) => match (&server.public_ip, server.public_ip_now) {
            (PublicIp::New, Some(now)) => notes.push(format!(
                "the new Elastic IP replaces the server's public address {now}: whoever is \
                     connected to it is cut off and has to use the new one"
            )),
            (PublicIp::Adopted { ip, link: Link::Own, .. }, Some(now)) if *ip != now => {
                notes.push(format!(
                    "the Elastic IP {ip} replaces the server's public address {now}: whoever is \
                     connected to it is cut off"
                ));
            }
            (PublicIp::Adopted { ip, link: Link::Users, .. }, _) => {
                notes.push(format!("the server's own Elastic IP {ip} is used and never released"));
            }
            (PublicIp::New | PublicIp::Ours { .. } | PublicIp::Adopted { .. }, _) => {}
        },
        Site::Own { .. } => {}
    }
    if via == Via::Files {
        notes.push(
            "the scripts will be in a folder here, for a person to run on the server".to_owned(),
        );
    }
    if via.is_remote() {
        notes.push(format!("the scripts go to the server by {via}; --via names another way"));
        notes.push("the server restarts when the steps on it ask for it".to_owned());
        notes.push("the first step on the server refuses if it is a domain controller".to_owned());
    }
    notes
}

/// A tunnel that carries nothing goes down, and only a host that is pinged keeps one busy.
fn idle(declared: &Declared, via: Via) -> Option<String> {
    (via != Via::None && declared.ping.is_none()).then(|| {
        "without --ping nothing keeps a tunnel up: one that is idle goes down until the site sends \
         something again; with --ping ADDRESS a task on the server pings that host in the VPC"
            .to_owned()
    })
}

/// How the scripts reach the server, if that is not said.
fn way(request: &Request<'_>) -> Via {
    let Request { declared, is_managed, .. } = request;
    match declared.via {
        Some(via) => via,
        None if *is_managed => Via::Ssm,
        None if declared.identity.is_some() => Via::Ssh,
        None => Via::Winrm,
    }
}
