//! What must be so before a server is launched: it costs money from then on.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cloud, Refusal, Request, Site, Situation, Stop, examine, unseen, way};
use crate::address::{AwsId, SubnetId};
use crate::aws::{NODE, Place, STACK, Tags};
use crate::spec::{Declared, Via};
use crate::world::{Instance, Interface, RouteTable, Subnet, World};

/// A server that is to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launching {
    /// The VPC's side.
    pub cloud: Cloud,
    /// Where the server will be.
    pub place: Place,
    /// Such as `t3.large`.
    pub size: String,
    /// Its subnet.
    pub subnet: AwsId,
    /// The key pair that logs in.
    pub key_pair: Option<String>,
    /// How the scripts will reach it.
    pub via: Via,
}

/// What a stack says of the server that it has launched.
pub(super) const SERVER: &str = "gateway-instance";
/// The server that is not there yet, as an id of the usual form.
const NEW: &str = "i-00000000000000000";

/// Says whether a server is to be launched: one is asked for, and there is none yet.
#[must_use]
pub fn is_to_launch(request: &Request<'_>) -> bool {
    let declared = request.declared;
    declared.launch.is_some() && declared.instance.is_none() && declared.gateway_ip.is_none()
}

/// Examines what is asked of a server that does not exist yet: whatever would be refused once it
/// runs is refused now.
pub fn launch(request: &Request<'_>) -> Result<Launching, Vec<Refusal>> {
    let situation = situation(request, unreachable(request))?;
    let (Site::Instance(server), Some(size)) = (&situation.site, &request.declared.launch) else {
        return Err(Vec::new());
    };
    Ok(Launching {
        place: request.site.clone(),
        size: size.clone(),
        subnet: server.subnet.clone(),
        key_pair: request.declared.key_pair.clone(),
        cloud: situation.cloud,
        via: situation.via,
    })
}

/// Examines the same as if the server ran already, however it would be reached.
pub fn imagine(request: &Request<'_>) -> Result<Situation, Vec<Refusal>> {
    situation(request, Vec::new())
}

fn situation(request: &Request<'_>, mut refusals: Vec<Refusal>) -> Result<Situation, Vec<Refusal>> {
    let subnet = subnet(request);
    refusals.extend(subnet.as_ref().err().cloned());
    let (Ok(subnet), true) = (subnet, refusals.is_empty()) else {
        return Err(refusals);
    };
    let (world, declared) = imagined(request, subnet);
    let request = Request { declared: &declared, world: &world, ..*request };
    match examine(&request) {
        Ok(situation) => Ok(situation),
        Err(Stop::Refused(refusals)) => Err(refusals),
        // One is named.
        Err(Stop::Choose(_)) => Err(Vec::new()),
    }
}

/// Why nobody could log in to the new server.
fn unreachable(request: &Request<'_>) -> Vec<Refusal> {
    let declared = request.declared;
    let via = way(request);
    let has_admins = declared.admin_cidr.as_ref().is_some_and(|list| !list.0.is_empty());
    let table = [
        (
            via != Via::None && declared.key_pair.is_none(),
            "no key pair is named, so nobody could log in to the new server",
            "name one with --key-pair, and its private key with --identity",
        ),
        (
            via != Via::None && !has_admins,
            "no network is named from which the new server is administered",
            "name yours with --admin-cidr",
        ),
        (
            via == Via::Winrm && declared.identity.is_none(),
            "without its key pair's private key the new server's password cannot be read",
            "name the private key with --identity, or choose --via ssh",
        ),
        (
            via == Via::WinrmHttp,
            "a new server is opened to WinRM over TLS only",
            "choose --via winrm or ssh",
        ),
        (
            via == Via::Ssm,
            "a new server has no role that lets Systems Manager reach it",
            "choose --via ssh or winrm",
        ),
    ];
    let wrong = table.into_iter().filter(|(is_wrong, ..)| *is_wrong);
    wrong.map(|(_, text, hint)| Refusal::new(text, hint)).collect()
}

/// The subnet that was named, if a gateway can be in it.
fn subnet<'a>(request: &Request<'a>) -> Result<&'a Subnet, Refusal> {
    let hint = "name a public subnet of the site's VPC with --launch-subnet";
    let refuse = |text: String| Err(Refusal::new(text, hint));
    let Some(site) = request.world.region(request.site) else {
        return Err(unseen(request.site).remove(0));
    };
    let Some(id) = request.declared.launch_subnet.as_ref().map(SubnetId::id) else {
        return refuse("no subnet is named for the new server".to_owned());
    };
    let Some(subnet) = site.subnets.iter().find(|subnet| &subnet.id == id) else {
        return Err(Refusal::new(
            format!("{id} does not exist in {}", site.place),
            "name another with --launch-subnet, or its region with --site-region",
        ));
    };
    if request.declared.vpc.as_ref().is_some_and(|cloud| cloud.id() == &subnet.vpc) {
        return refuse(format!("{id} is in {}, the VPC that the VPN leads to", subnet.vpc));
    }
    if !site.table_of(id, &subnet.vpc).is_some_and(RouteTable::is_public) {
        return refuse(format!(
            "{id} has no route to an Internet gateway, so AWS could not be reached from it"
        ));
    }
    Ok(subnet)
}

/// The world as it will be once the server runs, and what is declared then.
fn imagined(request: &Request<'_>, subnet: &Subnet) -> (World, Declared) {
    let (mut world, mut declared) = (request.world.clone(), request.declared.clone());
    let id = AwsId::new(NEW);
    let tags = [(STACK, request.stack.as_str()), (NODE, SERVER), ("Name", "the new server")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    if let Some(region) = world.region_mut(request.site) {
        region.instances.push(Instance {
            id: id.clone(),
            vpc: Some(subnet.vpc.clone()),
            subnet: Some(subnet.id.clone()),
            state: "running".to_owned(),
            is_windows: true,
            public_ip: None,
            tags: Tags(BTreeMap::from(tags.clone())),
        });
        region.interfaces.push(Interface {
            id: AwsId::new("eni-00000000000000000"),
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            instance: Some(id.clone()),
            device: 0,
            // AWS keeps the first four addresses of a subnet to itself.
            private_ip: subnet.cidr.hosts().nth(3),
            groups: BTreeSet::new(),
            source_dest_check: true,
            tags: Tags::default(),
        });
    }
    declared.instance = NEW.parse().ok();
    (world, declared)
}
