//! What every command begins with: whose stack, where, what was declared, what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::shared::{Shared, path};
use super::{Code, Common, Outside, ServerAt, Stopped, Whereabouts};
use crate::address::{Address, Id, Stack};
use crate::aws::{Place, Reader};
use crate::event::Events;
use crate::interrupt::Trigger;
use crate::plan::{self, Plan};
use crate::playbook::Own;
use crate::preflight::{Request, Site, examine};
use crate::resource::{
    self, CustomerGateway, ElasticIp, GatewayInstance, Kind, StackRecord, State, VpnConnection,
};
use crate::spec::{Declared, Fingerprint};
use crate::time::{self, Instant};
use crate::topology::Node;
use crate::world::{Connection, Group, World};

/// The record's tag that says which account the server is in.
const SITE_ACCOUNT: &str = "cgw:declared:site-account";

/// How long what was read counts as what is: AWS's reads may lag as long behind any change.
const MOMENT: Duration = Duration::from_secs(5);

/// What is seen of a stack's VPN connection.
pub(super) type ConnectionState = <VpnConnection as Kind>::State;

/// A stack that is looked at.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Session {
    pub(super) stack: Stack,
    pub(super) declared: Declared,
    pub(super) cloud: Place,
    pub(super) site: Place,
    pub(super) readers: Vec<Reader>,
    pub(super) world: World,
    pub(super) events: Events,
    pub(super) outside: Outside,
    pub(super) shared: Rc<Shared>,
    /// Interrupts the readers, and all that is made of them.
    pub(super) trigger: Trigger,
    /// Whether a record or anything else of the stack exists.
    pub(super) exists: bool,
    /// Whether the record does.
    pub(super) has_record: bool,
    /// The nodes that the last plan made or kept, which the world does not show yet.
    pub(super) made: BTreeMap<Address, (Id, State)>,
    /// When the reading of the world began.
    read_at: Instant,
    operator: Option<Ipv4Addr>,
    quota_raised: bool,
    /// Whether Systems Manager reaches the instance; asked only where a way is still to be chosen.
    is_managed: bool,
    own: Own,
    /// Why the user's own steps are not known.
    own_refused: Option<String>,
}

/// What is asked for on the command line.
pub(super) struct Asked {
    pub(super) declared: Declared,
    /// Flags that the record says and that count no longer.
    pub(super) unset: Vec<String>,
    pub(super) quota_raised: bool,
    pub(super) unnamed: Unnamed,
}

/// Which stack is meant when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// The one whose record names the VPC, else a new one of the VPC's name.
    MayBeNew,
    /// The only one that exists.
    MustExist,
}

impl Asked {
    /// What is asked of a stack that is there, with another way to its server than the recorded.
    pub(super) fn of_server(at: &Whereabouts, server: &ServerAt) -> Self {
        let asked = Self::from(at);
        Self { declared: asked.declared.or(server.clone().into()), ..asked }
    }
}

impl From<&Whereabouts> for Asked {
    fn from(at: &Whereabouts) -> Self {
        Self {
            declared: at.clone().into(),
            unset: Vec::new(),
            quota_raised: false,
            unnamed: Unnamed::MustExist,
        }
    }
}

impl Session {
    /// Reads the file, the flags, the world and the record.
    pub(super) async fn open(
        outside: &Outside,
        common: &Common,
        asked: Asked,
    ) -> Result<Self, Stopped> {
        let shared = outside.shared(common)?;
        let events = shared.events.clone();
        let table = shared
            .file
            .table(common.stack.as_ref(), asked.declared.vpc.as_ref())
            .map_err(|names| several(&path(common), &names))?;
        let said = match table {
            Some(table) => asked.declared.or(table.declared.clone()),
            None => asked.declared,
        };
        let said = match asked.unnamed {
            Unnamed::MayBeNew if said.vpc.is_none() => said.or(outside.ends()?),
            Unnamed::MayBeNew | Unnamed::MustExist => said,
        };
        let cloud = cloud(outside, &said).await?;
        let mut readers = vec![shared.reader(&cloud).await];
        let first = site(&said, &cloud);
        if first != cloud {
            readers.push(shared.reader(&first).await);
        }
        let (mut world, read_at) = shared.looks.observe(&readers, &events).await?;
        let named = common.stack.clone().or_else(|| table.map(|table| table.name.clone()));
        let stack = stack(named, &said, &world, asked.unnamed)?;
        let record = record(&world, &stack).cloned();
        if let Some(record) = &record {
            check_vpc(record, &said, &stack)?;
        }
        let recorded = record.as_ref().map(|record| Declared::from_tags(&record.tags.0));
        // The server was there, and is perhaps to be elsewhere.
        let before = recorded.as_ref().map(|recorded| {
            let (profile, region) = (said.site_profile.clone(), recorded.site_region.clone());
            let at = Declared { site_profile: profile, site_region: region, ..Declared::default() };
            site(&at, &cloud)
        });
        let declared = match recorded {
            Some(recorded) => said.over_record(recorded.forget(&asked.unset)),
            None => said,
        };
        let site = site(&declared, &cloud);
        for place in before.iter().chain([&site]) {
            if world.region(place).is_none() {
                let reader = shared.reader(place).await;
                let (more, _) =
                    shared.looks.observe(std::slice::from_ref(&reader), &events).await?;
                world.regions.extend(more.regions);
                readers.push(reader);
            }
        }
        let exists = world.stacks().contains(stack.as_str());
        let operator = operator(&declared);
        let read = declared.playbook.as_ref().map(|folder| Own::read(&folder.0));
        let (own, own_refused) = match read.transpose() {
            Ok(own) => (own.unwrap_or_default(), None),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                (Own::default(), Some(format!("{error}{}", cause.unwrap_or_default())))
            }
        };
        let quota_raised = asked.quota_raised;
        let mut session = Self {
            stack,
            declared,
            cloud,
            site,
            readers,
            world,
            events,
            outside: outside.clone(),
            trigger: shared.trigger.clone(),
            shared,
            exists,
            has_record: record.is_some(),
            made: BTreeMap::new(),
            read_at,
            operator,
            quota_raised,
            is_managed: false,
            own,
            own_refused,
        };
        session.mean_the_launched();
        let account = record.as_ref().and_then(|record| record.tags.value(SITE_ACCOUNT));
        if let (Some(account), Some(place)) = (account, &before) {
            session.check_account(account, place).await?;
        }
        Ok(session)
    }

    /// The site may be another account's: its objects can only be seen with that account's profile.
    ///
    /// Asks AWS only where the site shows nothing of that account.
    async fn check_account(&self, account: &str, site: &Place) -> Result<(), Stopped> {
        let mut vpcs = self.world.region(site).into_iter().flat_map(|r| &r.vpcs);
        if vpcs.any(|vpc| vpc.account == account) {
            return Ok(());
        }
        let reader = self.readers.iter().find(|reader| reader.place() == site);
        let here = match reader {
            Some(reader) => reader.account().await,
            None => None,
        };
        if here.as_deref() == Some(account) {
            return Ok(());
        }
        let here = here.unwrap_or_else(|| "an unknown one".to_owned());
        Err(Stopped::refused(
            format!("the stack's server is in account {account}, these credentials are of {here}"),
            "name a profile of that account with --site-profile",
        ))
    }

    /// Takes the server that the stack has launched for the one that is meant, unless another is.
    pub(super) fn mean_the_launched(&mut self) {
        let declared = &self.declared;
        if declared.launch.is_none() || declared.instance.is_some() {
            return;
        }
        let live = resource::find(&self.world, &self.stack);
        let launched = live.iter().find(|node| node.address.kind == GatewayInstance::NAME);
        self.declared.instance = launched.and_then(|node| node.id.owner().as_str().parse().ok());
    }

    /// Says whether the world was read a moment ago.
    pub(super) fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < MOMENT
    }

    /// Says whether something of the stack was seen without its record: that is made first and goes
    /// last.
    pub(super) fn has_lost_its_record(&self) -> bool {
        self.exists && !self.has_record
    }

    /// Reads the world anew, and with it the host key that was met meanwhile.
    pub(super) async fn observe_again(&mut self) -> Result<(), Stopped> {
        let before = self.recorded_host_key();
        self.world = self.shared.looks.observe_again(&self.readers).await?;
        self.made.clear();
        let now = self.recorded_host_key();
        // One that stood there before may be another server's, or was to be forgotten.
        if self.declared.host_key.is_none() && now != before {
            self.declared.host_key = now;
        }
        Ok(())
    }

    fn recorded_host_key(&self) -> Option<Fingerprint> {
        Declared::from_tags(&record(&self.world, &self.stack)?.tags.0).host_key
    }

    /// Ends when somebody interrupts.
    pub(super) async fn interrupted(&self) -> Stopped {
        self.cloud_reader().interrupt().come().await;
        Stopped::with(Code::Interrupted, "interrupted", "nothing is half done")
    }

    /// Refuses to begin something new once somebody has interrupted.
    pub(super) fn must_go_on(&self) -> Result<(), Stopped> {
        if self.cloud_reader().interrupt().came() {
            return Err(Stopped::with(
                Code::Interrupted,
                "interrupted",
                "run the same command again",
            ));
        }
        Ok(())
    }

    /// Lets what must still be done be done after an interrupt.
    pub(super) fn go_on(&mut self) {
        let (trigger, interrupt) = self.trigger.anew();
        self.trigger = trigger;
        for reader in &mut self.readers {
            *reader = reader.with_interrupt(interrupt.clone());
        }
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
            quota_raised: self.quota_raised,
            is_managed: self.is_managed,
            own: &self.own,
        }
    }

    /// Asks whether Systems Manager reaches the server, if that decides how the scripts get there.
    pub(super) async fn look_for_a_way(&mut self) {
        let Ok(situation) = examine(&self.request()) else { return };
        let (Site::Instance(server), None) = (&situation.site, self.declared.via) else { return };
        // Only a default hangs on it: it is not waited for long.
        let asking = self.site_reader().is_managed(&server.instance);
        let why = match time::within(MOMENT, asking).await {
            Ok(Ok(is_managed)) => {
                self.is_managed = is_managed;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.events.note(format!("whether Systems Manager reaches the server is not known: {why}"));
    }

    /// Plans what is desired against what was observed.
    pub(super) fn plan(&self, desired: &[Node]) -> Plan {
        let live = resource::find(&self.world, &self.stack);
        plan::plan(&self.stack, desired, &live, &self.world)
    }

    /// Refuses where the user's own steps are declared but not known.
    pub(super) fn must_know_own_steps(&self) -> Result<(), Stopped> {
        match &self.own_refused {
            Some(text) => Err(Stopped::refused(
                text.clone(),
                "name the folder with --playbook, or forget it with --unset playbook",
            )),
            None => Ok(()),
        }
    }

    /// Says whether the stack has a node of a kind.
    pub(super) fn has_node(&self, kind: &str) -> bool {
        resource::find(&self.world, &self.stack).iter().any(|node| node.address.kind == kind)
    }

    /// Plans as if no node of a kind had been found.
    pub(super) fn plan_without(&self, desired: &[Node], kind: &str) -> Plan {
        let mut live = resource::find(&self.world, &self.stack);
        live.retain(|node| node.address.kind != kind);
        plan::plan(&self.stack, desired, &live, &self.world)
    }

    /// The stack's only node of a kind: as the last plan left it, else as it was found.
    fn node(&self, kind: &'static str) -> Option<(Id, State)> {
        let address = Address::new(&self.stack, kind, "");
        let found = || {
            let live = resource::find(&self.world, &self.stack).into_iter();
            live.map(|node| (node.address, node.id, node.state))
                .find_map(|(at, id, state)| (at == address).then_some((id, state)))
        };
        self.made.get(&address).cloned().or_else(found)
    }

    /// Where the server is: what was declared, else the address of the stack's own end.
    pub(super) fn server_address(&self) -> Option<String> {
        let elastic = || match self.node(ElasticIp::NAME) {
            Some((_, State::ElasticIp(state))) => Some(state.ip),
            Some(_) | None => None,
        };
        let customer = || match self.node(CustomerGateway::NAME) {
            Some((_, State::CustomerGateway(state))) => state.ip,
            Some(_) | None => None,
        };
        // The customer gateway may be somebody else's that serves.
        let adopted = || {
            self.world.regions.iter().find_map(|region| {
                let is_own = |c: &&Connection| c.tags.belongs_to(&self.stack);
                let customer = &region.connections.iter().find(is_own)?.customer;
                region.customer_gateways.iter().find(|c| &c.id == customer)?.ip
            })
        };
        let public = || elastic().or_else(customer).or_else(adopted);
        self.declared.host.clone().or_else(|| public().map(|ip| ip.to_string()))
    }

    /// Reads the stack's VPN connection anew, and nothing else.
    pub(super) async fn connection(&self) -> Result<Option<(Id, ConnectionState)>, Stopped> {
        let Some((id, _)) = self.node(VpnConnection::NAME) else { return Ok(None) };
        self.look_for_a_connection(Some(&id)).await
    }

    /// Reads whether the stack has a VPN connection by now, the one that was seen or another.
    pub(super) async fn any_connection(&self) -> Result<Option<(Id, ConnectionState)>, Stopped> {
        match self.connection().await? {
            Some(same) => Ok(Some(same)),
            None => self.look_for_a_connection(None).await,
        }
    }

    async fn look_for_a_connection(
        &self,
        id: Option<&Id>,
    ) -> Result<Option<(Id, ConnectionState)>, Stopped> {
        let address = Address::new(&self.stack, VpnConnection::NAME, "");
        let (reader, reads) = (self.cloud_reader(), VpnConnection::READS);
        let looks = &self.shared.looks;
        let found = looks.look(reader, &address, reads, id, Duration::ZERO).await?;
        let is_it = |node: &resource::Live<State>| id.is_none_or(|id| node.id == *id);
        Ok(found.into_iter().find(is_it).and_then(|node| {
            let State::VpnConnection(state) = node.state else { return None };
            Some((node.id, state))
        }))
    }

    /// Says that there is no such stack.
    pub(super) fn is_unknown(&self) -> Stopped {
        Stopped::refused(
            format!("there is no stack {} in {}", self.stack, self.cloud),
            "name another with --stack, or its region with --region",
        )
    }

    /// Returns the reader of the server's side.
    pub(super) fn site_reader(&self) -> &Reader {
        let here = self.readers.iter().find(|reader| reader.place() == &self.site);
        here.unwrap_or(&self.readers[0])
    }

    /// Returns the reader of the VPC's side.
    pub(super) fn cloud_reader(&self) -> &Reader {
        &self.readers[0]
    }
}

pub(super) async fn cloud(outside: &Outside, declared: &Declared) -> Result<Place, Stopped> {
    let region = match &declared.region {
        Some(region) => Some(region.clone()),
        None => outside.default_region(declared.profile.as_deref()).await,
    };
    let region = region.ok_or_else(|| {
        let text = match &declared.profile {
            Some(profile) => format!("the profile {profile} names no region, or does not exist"),
            None => "no region is named".to_owned(),
        };
        Stopped::refused(text, "name it with --region, or set AWS_REGION")
    })?;
    let is_region = region.split('-').count() >= 3
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_region {
        let hint = "name one such as eu-west-1 with --region";
        return Err(Stopped::refused(format!("{region:?} is no AWS region"), hint));
    }
    let endpoint = declared.endpoint_url.as_ref().map(|endpoint| endpoint.0.clone());
    let profile = declared.profile.clone();
    Ok(Place { profile, region, endpoint })
}

pub(super) fn site(declared: &Declared, cloud: &Place) -> Place {
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

fn record<'a>(world: &'a World, stack: &Stack) -> Option<&'a Group> {
    let mut groups = world.regions.iter().flat_map(|r| &r.groups);
    groups.find(|g| g.tags.node_key(stack, StackRecord::NAME).is_some())
}

/// A stack stays with its VPC: its routes and gateways are there.
fn check_vpc(record: &Group, said: &Declared, stack: &Stack) -> Result<(), Stopped> {
    match &said.vpc {
        Some(vpc) if vpc.id() != &record.vpc => Err(Stopped::refused(
            format!("the stack {stack} is of {}, not of {vpc}", record.vpc),
            "give the other VPC a stack of its own with --stack, or take this one down first",
        )),
        Some(_) | None => Ok(()),
    }
}

fn several(path: &Path, names: &[&Stack]) -> Stopped {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let text = format!("{} declares several stacks: {}", path.display(), names.join(", "));
    Stopped::refused(text, "name one with --stack")
}

/// The address from which this machine reaches the server: asks the kernel for the way, sends
/// nothing.
///
/// Only where the way to the server is named: to its public address there is mostly a translation
/// of addresses, and the first step on the server looks at what comes out of that.
fn operator(declared: &Declared) -> Option<Ipv4Addr> {
    let host = declared.host.as_deref()?;
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect((host, 9)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(own) => Some(*own.ip()).filter(|ip| !ip.is_loopback()),
        SocketAddr::V6(_) => None,
    }
}
