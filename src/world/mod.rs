//! The snapshot: everything that was read, ours or not, as plain data.

mod absorb;

pub use absorb::negotiated;
pub(crate) use absorb::{connection, customer, gateway};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::Serialize;

use crate::address::{AwsId, Stack};
use crate::aws::{Place, Tags};
use crate::tunnel::Tunnel;

/// All that was observed, one [`Region`] a place; many stacks share it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct World {
    /// What each place holds.
    pub regions: Vec<Arc<Region>>,
}

impl World {
    /// Returns what a place holds, if it was observed.
    #[must_use]
    pub fn region(&self, place: &Place) -> Option<&Region> {
        self.regions.iter().map(Arc::as_ref).find(|region| &region.place == place)
    }

    /// Returns what a place holds, to imagine it otherwise; whoever shares it sees nothing of that.
    pub fn region_mut(&mut self, place: &Place) -> Option<&mut Region> {
        self.regions.iter_mut().find(|region| &region.place == place).map(Arc::make_mut)
    }

    /// Returns what of it a stack has made or announced to change: its nodes are found there as well,
    /// but nothing can be planned from it.
    #[must_use]
    pub fn of(&self, stack: &Stack) -> Self {
        let own = |tags: &Tags| tags.belongs_to(stack) || tags.announced(stack).next().is_some();
        Self { regions: self.regions.iter().map(|region| Arc::new(region.only(own))).collect() }
    }

    /// Returns every stack that owns or has changed anything, in name order.
    #[must_use]
    pub fn stacks(&self) -> BTreeSet<String> {
        let mut stacks = BTreeSet::new();
        for region in &self.regions {
            stacks.extend(region.own_tags().filter_map(Tags::stack).map(str::to_owned));
            stacks.extend(region.changed_tags().flat_map(Tags::announcers).map(str::to_owned));
        }
        stacks
    }
}

/// What one place holds; what AWS lists as deleted is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Where this is.
    pub place: Place,
    /// VPCs.
    pub vpcs: Vec<Vpc>,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// Route tables.
    pub route_tables: Vec<RouteTable>,
    /// Security groups.
    pub groups: Vec<Group>,
    /// Security group rules.
    pub rules: Vec<GroupRule>,
    /// Instances.
    pub instances: Vec<Instance>,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
    /// Elastic IPs.
    pub addresses: Vec<ElasticAddress>,
    /// Virtual private gateways.
    pub vpn_gateways: Vec<Gateway>,
    /// Customer gateways.
    pub customer_gateways: Vec<Customer>,
    /// Site-to-Site VPN connections.
    pub connections: Vec<Connection>,
    /// VPCs that hang on a transit gateway, with its id.
    pub transit: BTreeMap<AwsId, AwsId>,
}

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vpc {
    /// Its id.
    pub id: AwsId,
    /// The account that owns it.
    pub account: String,
    /// Its CIDRs, the primary one first.
    pub cidrs: Vec<Ipv4Net>,
    /// Whether it is the region's default VPC.
    pub is_default: bool,
    /// Its tags.
    pub tags: Tags,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subnet {
    /// Its id.
    pub id: AwsId,
    /// The VPC it is in.
    pub vpc: AwsId,
    /// Its CIDR.
    pub cidr: Ipv4Net,
    /// Its tags.
    pub tags: Tags,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteTable {
    /// Its id.
    pub id: AwsId,
    /// The VPC it is in.
    pub vpc: AwsId,
    /// Its IPv4 routes.
    pub routes: Vec<Route>,
    /// The VPN gateways whose routes it takes over.
    pub propagating: BTreeSet<AwsId>,
    /// Which subnets it serves: association id and subnet; no subnet: the VPC's main table.
    pub associations: Vec<(AwsId, Option<AwsId>)>,
    /// Its tags.
    pub tags: Tags,
}

impl RouteTable {
    /// Says whether it has a route to an Internet gateway.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.routes.iter().any(|r| r.target.as_str().starts_with("igw-"))
    }

    /// Says whether it serves the subnets that have no table of their own.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(|(_, subnet)| subnet.is_none())
    }
}

/// A route that somebody made, or that came by propagation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Where to.
    pub cidr: Ipv4Net,
    /// Through what: an id, or `local`.
    pub target: AwsId,
    /// Whether it came from a VPN gateway by itself.
    pub is_propagated: bool,
    /// Whether its target is gone.
    pub is_blackhole: bool,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its id.
    pub id: AwsId,
    /// Its name, unique in its VPC.
    pub name: String,
    /// The VPC it is in.
    pub vpc: AwsId,
    /// Its tags.
    pub tags: Tags,
}

/// A security group's rule for one IPv4 network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupRule {
    /// Its id.
    pub id: AwsId,
    /// The group it is in.
    pub group: AwsId,
    /// What it lets through; `None` when it is not about one IPv4 network.
    pub rule: Option<Rule>,
    /// The other group that it names, if it does.
    pub referenced: Option<AwsId>,
    /// Its tags.
    pub tags: Tags,
}

/// Which way a rule lets traffic through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the interface.
    In,
    /// From the interface.
    Out,
}

/// What a rule lets through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Rule {
    /// Which way.
    pub direction: Direction,
    /// AWS's word or number for the protocol; `-1`: all.
    pub protocol: String,
    /// From and to port (for ICMP: type and code); `None`: all.
    pub ports: Option<(i32, i32)>,
    /// The network at the other end.
    pub cidr: Ipv4Net,
}

/// Rules with their ids; as data only the rules count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub BTreeMap<Rule, AwsId>);

impl Rules {
    /// Returns the rules without their ids.
    #[must_use]
    pub fn set(&self) -> BTreeSet<Rule> {
        self.0.keys().cloned().collect()
    }
}

impl FromIterator<(Rule, AwsId)> for Rules {
    fn from_iter<I: IntoIterator<Item = (Rule, AwsId)>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Serialize for Rules {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.keys().map(ToString::to_string))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::In => "in from",
            Direction::Out => "out to",
        };
        let protocol = match self.protocol.as_str() {
            "-1" => "all",
            "50" => "ip 50 (ESP)",
            "51" => "ip 51 (AH)",
            other => other,
        };
        f.write_str(protocol)?;
        match self.ports {
            Some((-1, -1)) | None => {}
            Some((from, to)) if from == to => write!(f, " {from}")?,
            Some((from, to)) => write!(f, " {from}-{to}")?,
        }
        write!(f, " {direction} {}", self.cidr)
    }
}

/// An instance that is not terminated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its id.
    pub id: AwsId,
    /// The VPC it is in.
    pub vpc: Option<AwsId>,
    /// The subnet it is in.
    pub subnet: Option<AwsId>,
    /// `running`, `stopped`, `shutting-down`, ….
    pub state: String,
    /// Whether it runs Windows.
    pub is_windows: bool,
    /// Its public address now, Elastic or not.
    pub public_ip: Option<Ipv4Addr>,
    /// Its tags.
    pub tags: Tags,
}

impl Instance {
    /// Returns its id and, if it has one, its name, in one line.
    #[must_use]
    pub fn label(&self) -> String {
        let name = self.tags.value("Name").unwrap_or_default();
        let words: Vec<&str> = name.split_whitespace().collect();
        if words.is_empty() {
            self.id.to_string()
        } else {
            format!("{} ({})", self.id, words.join(" "))
        }
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its id.
    pub id: AwsId,
    /// The VPC it is in.
    pub vpc: AwsId,
    /// The subnet it is in.
    pub subnet: AwsId,
    /// The instance that it is attached to.
    pub instance: Option<AwsId>,
    /// Its place among the instance's interfaces; 0 is the primary one.
    pub device: i32,
    /// Its primary private address.
    pub private_ip: Option<Ipv4Addr>,
    /// Its security groups.
    pub groups: BTreeSet<AwsId>,
    /// Whether it drops what is neither from nor for itself.
    pub source_dest_check: bool,
    /// Its tags.
    pub tags: Tags,
}

/// An Elastic IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ElasticAddress {
    /// Its allocation id.
    pub id: AwsId,
    /// The public address.
    pub ip: Ipv4Addr,
    /// Its association, if it has one.
    pub association: Option<AwsId>,
    /// The interface it is associated with.
    pub interface: Option<AwsId>,
    /// Its tags.
    pub tags: Tags,
}

/// A virtual private gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gateway {
    /// Its id.
    pub id: AwsId,
    /// `pending`, `available`, `deleting`.
    pub state: String,
    /// AWS's autonomous system number.
    pub asn: i64,
    /// The VPC it is attached to, and `attaching`, `attached` or `detaching`.
    pub attachment: Option<(AwsId, String)>,
    /// Its tags.
    pub tags: Tags,
}

/// A customer gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// Its id.
    pub id: AwsId,
    /// `pending`, `available`, `deleting`.
    pub state: String,
    /// The device's public address.
    pub ip: Option<Ipv4Addr>,
    /// The device's autonomous system number.
    pub asn: String,
    /// The device's name.
    pub device: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A Site-to-Site VPN connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Its id.
    pub id: AwsId,
    /// `pending`, `available`, `modifying`, `deleting`.
    pub state: String,
    /// The customer gateway.
    pub customer: AwsId,
    /// The VPN gateway, if it ends in one.
    pub gateway: Option<AwsId>,
    /// Whether it takes its routes from static prefixes.
    pub is_static: bool,
    /// Static prefixes.
    pub prefixes: BTreeSet<Ipv4Net>,
    /// Its tunnels, sorted by AWS's address.
    pub tunnels: Vec<Tunnel>,
    /// What AWS measured, sorted by AWS's address.
    pub telemetry: Vec<Telemetry>,
    /// AWS's configuration file: holds the keys.
    #[serde(skip)]
    pub configuration: Option<crate::secret::Secret>,
    /// Its tags.
    pub tags: Tags,
}

/// What AWS measured on one tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Telemetry {
    /// AWS's end.
    pub outside: Ipv4Addr,
    /// Whether it carries traffic.
    pub is_up: bool,
    /// Since when.
    pub since: Option<Timestamp>,
    /// AWS's own message.
    pub message: String,
}

/// An object of its own, which AWS names and lets one tag.
pub(crate) trait Object {
    /// Returns its id.
    fn id(&self) -> &AwsId;
    /// Returns its tags.
    fn tags(&self) -> &Tags;
}

macro_rules! objects {
    ($($Object:ident),*) => {
        $(impl Object for $Object {
            fn id(&self) -> &AwsId {
                &self.id
            }

            fn tags(&self) -> &Tags {
                &self.tags
            }
        })*
    };
}

objects!(Subnet, RouteTable, Instance, ElasticAddress, Gateway, Customer, Connection);

impl Region {
    /// Makes a place that holds nothing yet.
    #[must_use]
    pub fn empty(place: &Place) -> Self {
        Self {
            place: place.clone(),
            vpcs: Vec::new(),
            subnets: Vec::new(),
            route_tables: Vec::new(),
            groups: Vec::new(),
            rules: Vec::new(),
            instances: Vec::new(),
            interfaces: Vec::new(),
            addresses: Vec::new(),
            vpn_gateways: Vec::new(),
            customer_gateways: Vec::new(),
            connections: Vec::new(),
            transit: BTreeMap::new(),
        }
    }

    /// Takes what another read of the same place found to what is here already.
    pub fn extend(&mut self, other: Self) {
        self.vpn_gateways.extend(other.vpn_gateways);
        self.connections.extend(other.connections);
        self.customer_gateways.extend(other.customer_gateways);
        self.addresses.extend(other.addresses);
        self.groups.extend(other.groups);
        self.rules.extend(other.rules);
        self.interfaces.extend(other.interfaces);
        self.instances.extend(other.instances);
        self.route_tables.extend(other.route_tables);
        self.subnets.extend(other.subnets);
        self.vpcs.extend(other.vpcs);
        self.transit.extend(other.transit);
    }

    /// Returns those of its objects whose tags are `own`, and what these hang from.
    fn only(&self, own: impl Fn(&Tags) -> bool) -> Self {
        fn some<T: Clone>(all: &[T], is_it: impl Fn(&T) -> bool) -> Vec<T> {
            all.iter().filter(|object| is_it(object)).cloned().collect()
        }
        let groups = some(&self.groups, |o| own(&o.tags));
        let instances = some(&self.instances, |o| own(&o.tags));
        let connections = some(&self.connections, |o| own(&o.tags));
        Self {
            subnets: some(&self.subnets, |o| own(&o.tags)),
            route_tables: some(&self.route_tables, |o| own(&o.tags)),
            rules: some(&self.rules, |o| groups.iter().any(|group| group.id == o.group)),
            interfaces: some(&self.interfaces, |o| {
                own(&o.tags) || instances.iter().any(|one| Some(&one.id) == o.instance.as_ref())
            }),
            addresses: some(&self.addresses, |o| own(&o.tags)),
            vpn_gateways: some(&self.vpn_gateways, |o| own(&o.tags)),
            customer_gateways: some(&self.customer_gateways, |o| {
                own(&o.tags) || connections.iter().any(|one| one.customer == o.id)
            }),
            groups,
            instances,
            connections,
            ..Self::empty(&self.place)
        }
    }

    /// Returns the tags of everything that a stack may own.
    fn own_tags(&self) -> impl Iterator<Item = &Tags> {
        let groups = self.groups.iter().map(|o| &o.tags);
        groups
            .chain(self.subnets.iter().map(|o| &o.tags))
            .chain(self.route_tables.iter().map(|o| &o.tags))
            .chain(self.addresses.iter().map(|o| &o.tags))
            .chain(self.vpn_gateways.iter().map(|o| &o.tags))
            .chain(self.customer_gateways.iter().map(|o| &o.tags))
            .chain(self.connections.iter().map(|o| &o.tags))
            .chain(self.instances.iter().map(|o| &o.tags))
    }

    /// Returns the tags of everything that a stack may change although it is somebody else's.
    fn changed_tags(&self) -> impl Iterator<Item = &Tags> {
        let interfaces = self.interfaces.iter().map(|o| &o.tags);
        interfaces
            .chain(self.route_tables.iter().map(|o| &o.tags))
            .chain(self.addresses.iter().map(|o| &o.tags))
    }

    /// Returns the VPC with this id.
    #[must_use]
    pub fn vpc(&self, id: &AwsId) -> Option<&Vpc> {
        self.vpcs.iter().find(|o| &o.id == id)
    }

    /// Returns the route table with this id.
    #[must_use]
    pub fn route_table(&self, id: &AwsId) -> Option<&RouteTable> {
        self.route_tables.iter().find(|o| &o.id == id)
    }

    /// Returns the route table that serves a subnet: its own, else the VPC's main one.
    #[must_use]
    pub fn table_of(&self, subnet: &AwsId, vpc: &AwsId) -> Option<&RouteTable> {
        let own = |t: &&RouteTable| t.associations.iter().any(|(_, s)| s.as_ref() == Some(subnet));
        self.route_tables
            .iter()
            .find(own)
            .or_else(|| self.route_tables.iter().find(|t| &t.vpc == vpc && t.is_main()))
    }

    /// Returns the interface with this id.
    #[must_use]
    pub fn interface(&self, id: &AwsId) -> Option<&Interface> {
        self.interfaces.iter().find(|o| &o.id == id)
    }

    /// Returns the instance with this id.
    #[must_use]
    pub fn instance(&self, id: &AwsId) -> Option<&Instance> {
        self.instances.iter().find(|o| &o.id == id)
    }

    /// Returns the rules of a group that are about one IPv4 network.
    pub fn rules_of<'a>(&'a self, group: &'a AwsId) -> impl Iterator<Item = &'a GroupRule> {
        self.rules.iter().filter(move |rule| &rule.group == group)
    }
}
