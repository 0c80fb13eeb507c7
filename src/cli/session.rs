//! What every command begins with: whose stack, where, what was declared, what is there.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use super::{Common, Stopped};
use crate::address::Stack;
use crate::aws::{Clients, Place, Reader, Tags};
use crate::engine::{observe, observe_again};
use crate::event::Events;
use crate::preflight::Request;
use crate::resource::{Kind as _, StackRecord};
use crate::spec::{Declared, File};
use crate::ui;
use crate::world::World;

/// A stack that is looked at.
pub(super) struct Session {
    pub(super) stack: Stack,
    pub(super) declared: Declared,
    pub(super) cloud: Place,
    pub(super) site: Place,
    pub(super) readers: Vec<Reader>,
    pub(super) world: World,
    pub(super) events: Events,
    /// Whether a record or anything else of the stack exists.
    pub(super) exists: bool,
    operator: Option<Ipv4Addr>,
}

/// Which stack is meant when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// The one whose record names the VPC, else a new one of the VPC's name.
    MayBeNew,
    /// The only one that exists.
    MustExist,
}

impl Session {
    /// Reads the file, the flags, the world and the record.
    pub(super) async fn open(
        common: &Common,
        declared: &Declared,
        unnamed: Unnamed,
    ) -> Result<Self, Stopped> {
        let events = ui::events(common.form());
        let path = common.config.clone().unwrap_or_else(|| PathBuf::from("cgw.toml"));
        let file = File::read(&path, common.config.is_some()).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let text = format!("{error}: {}", cause.unwrap_or_default().trim());
            Stopped::refused(
                text.trim_end_matches(": "),
                "mend the file, or name another with --config",
            )
        })?;
        let table = file.stack(common.stack.as_ref());
        if table.is_none() && common.stack.is_none() && !file.stacks.is_empty() {
            let names: Vec<&str> = file.stacks.iter().map(|table| table.name.as_str()).collect();
            let text = format!("{} declares several stacks: {}", path.display(), names.join(", "));
            return Err(Stopped::refused(text, "name one with --stack"));
        }
        let said = match table {
            Some(table) => declared.clone().or(table.declared.clone()),
            None => declared.clone(),
        };
        let mut clients = Clients::new(events.clone());
        let cloud = cloud(&said).await?;
        let mut site = site(&said, &cloud);
        let mut readers = vec![clients.reader(&cloud).await];
        if site != cloud {
            readers.push(clients.reader(&site).await);
        }
        let mut world = observe(&readers, &events).await?;
        let named = common.stack.clone().or_else(|| table.map(|table| table.name.clone()));
        let stack = stack(named, &said, &world, unnamed)?;
        let record = record(&world, &stack);
        let declared = match record {
            Some(tags) => said.or(Declared::from_tags(&tags.0)),
            None => said,
        };
        let account = record.and_then(|tags| tags.value("cgw:declared:site-account"));
        let account = account.map(str::to_owned);
        // The record may say that the site is elsewhere.
        let recorded = self::site(&declared, &cloud);
        if recorded != site {
            site = recorded;
            let reader = clients.reader(&site).await;
            world.regions.extend(observe(std::slice::from_ref(&reader), &events).await?.regions);
            readers.push(reader);
        }
        if let Some(account) = account {
            check_account(&world, &site, &account)?;
        }
        let exists = world.stacks().contains(stack.as_str());
        let operator = operator(&declared);
        Ok(Self { stack, declared, cloud, site, readers, world, events, exists, operator })
    }

    /// Reads the world anew.
    pub(super) async fn observe_again(&mut self) -> Result<(), Stopped> {
        self.world = observe_again(&self.world, &self.readers).await?;
        Ok(())
    }

    /// Returns what is asked for.
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            stack: &self.stack,
            declared: &self.declared,
            world: &self.world,
            cloud: &self.cloud,
            site: &self.site,
            operator: self.operator,
        }
    }

    /// Returns the reader of the VPC's side.
    pub(super) fn cloud_reader(&self) -> &Reader {
        &self.readers[0]
    }
}

async fn cloud(declared: &Declared) -> Result<Place, Stopped> {
    let region = match &declared.region {
        Some(region) => Some(region.clone()),
        None => Clients::default_region(declared.profile.as_deref()).await,
    };
    let hint = "name it with --region, or set AWS_REGION";
    let region = region.ok_or_else(|| Stopped::refused("no region is named", hint))?;
    let is_region = region.split('-').count() >= 3
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_region {
        let hint = "name one such as eu-west-1 with --region";
        return Err(Stopped::refused(format!("{region:?} is no AWS region"), hint));
    }
    let (profile, endpoint) = (declared.profile.clone(), declared.endpoint_url.clone());
    Ok(Place { profile, region, endpoint })
}

fn site(declared: &Declared, cloud: &Place) -> Place {
    Place {
        profile: declared.site_profile.clone().or_else(|| cloud.profile.clone()),
        region: declared.site_region.clone().unwrap_or_else(|| cloud.region.clone()),
        endpoint: cloud.endpoint.clone(),
    }
}

fn stack(
    named: Option<Stack>,
    said: &Declared,
    world: &World,
    unnamed: Unnamed,
) -> Result<Stack, Stopped> {
    if let Some(named) = named {
        return Ok(named);
    }
    let all: BTreeSet<Stack> = match (&said.vpc, unnamed) {
        (Some(vpc), _) => of_vpc(world, vpc.id().as_str()),
        (None, _) => world.stacks().iter().filter_map(|name| name.parse().ok()).collect(),
    };
    let mut several = all.iter();
    match (several.next(), several.next(), unnamed, &said.vpc) {
        (Some(one), None, _, _) => Ok(one.clone()),
        (Some(_), Some(_), _, _) => {
            let stacks: Vec<String> = all.iter().map(ToString::to_string).collect();
            let text = format!("there are several stacks: {}", stacks.join(", "));
            Err(Stopped::refused(text, "name one with --stack"))
        }
        (None, _, Unnamed::MayBeNew, Some(vpc)) => vpc
            .to_string()
            .parse()
            .map_err(|_| Stopped::refused("no name", "give one with --stack")),
        (None, _, Unnamed::MayBeNew, None) => {
            Err(Stopped::refused("no VPC is named", "name it with --vpc"))
        }
        (None, _, Unnamed::MustExist, _) => Err(Stopped::refused(
            "there is no stack in this region",
            "name another region with --region, or another account with --profile",
        )),
    }
}

/// The stacks whose record is in a VPC.
fn of_vpc(world: &World, vpc: &str) -> BTreeSet<Stack> {
    let groups = world.regions.iter().flat_map(|r| &r.groups).filter(|g| g.vpc.as_str() == vpc);
    let records = groups.filter(|g| g.tags.value(crate::aws::NODE) == Some(StackRecord::NAME));
    records.filter_map(|g| g.tags.stack()?.parse().ok()).collect()
}

fn record<'a>(world: &'a World, stack: &Stack) -> Option<&'a Tags> {
    let mut groups = world.regions.iter().flat_map(|r| &r.groups);
    groups.find(|g| g.tags.node_key(stack, StackRecord::NAME).is_some()).map(|g| &g.tags)
}

/// The site may be another account's: its objects can only be seen with that account's profile.
fn check_account(world: &World, site: &Place, account: &str) -> Result<(), Stopped> {
    let here = world.region(site).and_then(|r| r.vpcs.first()).map(|vpc| vpc.account.as_str());
    match here {
        Some(here) if here != account => Err(Stopped::refused(
            format!("the stack's server is in account {account}, these credentials are of {here}"),
            "name a profile of that account with --site-profile",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The address from which this machine reaches the server: asks the kernel for the way, sends
/// nothing.
fn operator(declared: &Declared) -> Option<Ipv4Addr> {
    let host = declared.host.as_deref().unwrap_or("192.0.2.1");
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect((host, 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(own) => Some(*own.ip()).filter(|ip| !ip.is_loopback()),
        SocketAddr::V6(_) => None,
    }
}
