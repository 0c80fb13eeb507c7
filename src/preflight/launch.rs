//! What must be so before a server is launched: it costs money from then on.

use super::cidrs::overlap;
use super::{Cloud, Refusal, Request, cloud, unseen, way};
use crate::address::{AwsId, SubnetId};
use crate::aws::Place;
use crate::spec::Via;
use crate::world::{RouteTable, Subnet};

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

/// Says whether a server is to be launched: one is asked for, and there is none yet.
#[must_use]
pub fn is_to_launch(request: &Request<'_>) -> bool {
    let declared = request.declared;
    declared.launch.is_some() && declared.instance.is_none() && declared.gateway_ip.is_none()
}

/// Examines what is asked of a server that does not exist yet.
pub fn launch(request: &Request<'_>) -> Result<Launching, Vec<Refusal>> {
    let declared = request.declared;
    let region = |place| request.world.region(place).ok_or_else(|| unseen(place));
    let cloud = cloud::examine(request, region(request.cloud)?)?;
    let site = region(request.site)?;
    let via = way(request);
    let mut refusals = Vec::new();
    let mut refuse = |text: String, hint: &str| refusals.push(Refusal::new(text, hint));
    let logs_in = matches!(via, Via::Ssh | Via::Winrm | Via::WinrmHttp);
    if logs_in && declared.key_pair.is_none() {
        refuse(
            "no key pair is named, so nobody could log in to the new server".to_owned(),
            "name one with --key-pair, and its private key with --identity",
        );
    }
    if logs_in && declared.admin_cidr.as_ref().is_none_or(|list| list.0.is_empty()) {
        refuse(
            "no network is named from which the new server is administered".to_owned(),
            "name yours with --admin-cidr",
        );
    }
    if via == Via::WinrmHttp {
        refuse(
            "a new server is opened to WinRM over TLS only".to_owned(),
            "choose --via winrm or ssh",
        );
    }
    let subnet = declared.launch_subnet.as_ref().map(SubnetId::id);
    let is_public =
        |subnet: &Subnet| site.table_of(&subnet.id, &subnet.vpc).is_some_and(RouteTable::is_public);
    let found = subnet.and_then(|id| site.subnets.iter().find(|subnet| &subnet.id == id));
    match (subnet, found) {
        (None, _) => refuse(
            "no subnet is named for the new server".to_owned(),
            "name a public one in the site's VPC with --launch-subnet",
        ),
        (Some(id), None) => refuse(
            format!("{id} does not exist in {}", site.place),
            "name another with --launch-subnet, or its region with --site-region",
        ),
        (Some(id), Some(subnet)) if !is_public(subnet) => refuse(
            format!(
                "{id} has no route to an Internet gateway, so AWS could not be reached from it"
            ),
            "name a public subnet with --launch-subnet",
        ),
        (Some(id), Some(subnet)) if subnet.vpc == cloud.vpc => refuse(
            format!("{id} is in {}, the VPC that the VPN leads to", cloud.vpc),
            "name a subnet of another VPC with --launch-subnet",
        ),
        (Some(id), Some(subnet)) => {
            let networks = site.vpc(&subnet.vpc).map_or(&[][..], |vpc| &vpc.cidrs);
            if let Some(own) = networks.iter().find(|own| overlap(**own, cloud.cidr)) {
                refuse(
                    format!("{own}, where {id} is, overlaps the VPC's network {}", cloud.cidr),
                    "the two ends of a VPN need networks of their own",
                );
            }
        }
    }
    match (found, &declared.launch) {
        (Some(found), Some(kind)) if refusals.is_empty() => Ok(Launching {
            cloud,
            place: request.site.clone(),
            size: kind.clone(),
            subnet: found.id.clone(),
            key_pair: declared.key_pair.clone(),
            via,
        }),
        _ => Err(refusals),
    }
}
