//! Other stacks whose gateway the same server is.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::cidrs::overlap;
use super::site::CHECK;
use super::{Refusal, Request, Site};
use crate::aws::NODE;
use crate::spec::Declared;
use crate::tunnel::CidrPair;
use crate::world::{Group, Region};

/// What a stack says of the group that is its record.
pub(super) const RECORD: &str = "stack-record";

/// A stack of the same server, as its record says.
struct Neighbour<'a> {
    stack: &'a str,
    /// The networks at the far ends of its tunnels.
    nets: Vec<Ipv4Net>,
}

/// Finds them in all that was observed.
fn neighbours<'a>(request: &Request<'a>, site: &Site) -> impl Iterator<Item = Neighbour<'a>> {
    let server = match site {
        Site::Instance(server) => server.instance.to_string(),
        Site::Own { gateway_ip, .. } => gateway_ip.to_string(),
    };
    let own = request.stack;
    let all = request.world.regions.iter().flat_map(|r| r.groups.iter().map(move |g| (r, g)));
    all.filter_map(move |(region, record): (&Arc<Region>, &Group)| {
        let stack = record.tags.stack().filter(|stack| *stack != own.as_str())?;
        let names_it = || record.tags.0.values().any(|value| *value == server);
        (record.tags.value(NODE) == Some(RECORD) && names_it()).then_some(())?;
        let declared = Declared::from_tags(&record.tags.0);
        (declared.server().as_ref() == Some(&server)).then_some(())?;
        let nets = match declared.cloud_cidr {
            Some(cidr) => vec![cidr.0],
            None => region.vpc(&record.vpc).map(|vpc| vpc.cidrs.clone()).unwrap_or_default(),
        };
        Some(Neighbour { stack, nets })
    })
}

/// The server tells its tunnels apart by the networks that they lead to.
pub(super) fn examine(request: &Request<'_>, site: &Site, pair: CidrPair) -> Vec<Refusal> {
    let refuse = |neighbour: Neighbour<'_>| {
        let Neighbour { stack, nets } = neighbour;
        let net = nets.into_iter().find(|net| overlap(*net, pair.cloud))?;
        Some(Refusal::new(
            format!(
                "the server leads to {net} for the stack {stack}, and {} overlaps that",
                pair.cloud
            ),
            "name another server with --instance, or give a part of the VPC's network with --cloud-cidr",
        ))
    };
    neighbours(request, site).filter_map(refuse).collect()
}

/// Says what the stacks have in common.
pub(super) fn notes(request: &Request<'_>, site: &Site) -> Option<String> {
    let seen = neighbours(request, site).map(|one| one.stack.to_owned());
    let mut stacks: BTreeSet<String> = seen.collect();
    // Those whose records are in other regions or accounts.
    if let (Site::Instance(server), Some(region)) = (site, request.world.region(request.site)) {
        let interface = region.interface(&server.interface).into_iter();
        let others = interface.flat_map(|i| i.tags.other_announcers(request.stack, CHECK));
        stacks.extend(others.map(|stack| stack.to_string()));
    }
    let stacks: Vec<String> = stacks.into_iter().collect();
    (!stacks.is_empty()).then(|| {
        format!(
            "the server is the gateway of {} too: its public address and its settings are shared, \
             and the last of these stacks that goes puts them back",
            stacks.join(", ")
        )
    })
}
