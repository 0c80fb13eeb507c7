//! Situation → desired nodes: the one place to read what depends on what; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::Serialize;

use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::Place;
use crate::playbook::{ADMIN_PORTS, Opening, Parameters, user_data};
use crate::preflight::{Cloud, Ec2Server, Launching, Link, PublicIp, Site, Situation};
use crate::resource::{
    CustomerGateway, ElasticIp, ElasticIpAssociation, GatewaySecurityGroup, GroupSpec, Inside,
    Kind as _, PublicAddress, Ref, RouteTable, SecurityGroupMembership, SourceDestCheck, Spec,
    StackRecord, Subnet, Table, Target, TunnelRules, VpnConnection, VpnGateway,
    VpnGatewayAttachment, WorkloadSecurityGroup, spec,
};
use crate::spec::{Declared, Via, host_key_tag};
use crate::tunnel::Crypto;
use crate::world::{Direction, Rule};

/// A node that should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Which node.
    pub address: Address,
    /// Where it belongs.
    pub place: Place,
    /// What is declared of it.
    pub spec: Spec,
    /// Somebody else's object that serves as this node.
    pub adopt: Option<Id>,
    /// What it hangs from; the record comes before all.
    pub needs: Vec<Address>,
}

/// Returns all nodes of a stack, each after what it needs.
#[must_use]
pub fn desired(s: &Situation) -> Vec<Node> {
    let mut nodes = Nodes { stack: &s.stack, all: Vec::new() };
    nodes.add(&s.cloud.place, "", Spec::StackRecord(record(s)));
    if let Site::Instance(server) = &s.site {
        if server.is_launched {
            nodes.add(&server.place, "", Spec::GatewayInstance(launched_server(s, server)));
        }
        site_address(&mut nodes, server);
        site_interface(&mut nodes, s, server);
    }
    vpn(&mut nodes, s);
    let tables = cloud_subnet(&mut nodes, &s.cloud);
    cloud_routes(&mut nodes, s, &tables);
    nodes.add(&s.cloud.place, "", Spec::WorkloadSecurityGroup(workload_group(s)));
    if let Site::Instance(server) = &s.site {
        site_tunnel(&mut nodes, s, server);
    }
    windows(&mut nodes, s);
    if s.probe {
        probe(&mut nodes, &s.cloud);
    }
    nodes.all
}

/// Returns what comes before all else where a server is to be launched: the record, and the server.
#[must_use]
pub fn launched(stack: &Stack, declared: &Declared, launching: &Launching) -> Vec<Node> {
    let mut nodes = Nodes { stack, all: Vec::new() };
    let cloud = &launching.cloud;
    let record = record_of(stack, &cloud.vpc, declared.to_tags());
    nodes.add(&cloud.place, "", Spec::StackRecord(record));
    let admins: Vec<Ipv4Net> =
        declared.admin_cidr.iter().flat_map(|list| &list.0).map(|cidr| cidr.0).collect();
    let server = spec::GatewayInstance {
        size: launching.size.clone(),
        subnet: launching.subnet.clone(),
        key_pair: launching.key_pair.clone(),
        user_data: opening(launching.via).map_or_else(String::new, |how| user_data(how, &admins)),
    };
    nodes.add(&launching.place, "", Spec::GatewayInstance(server));
    nodes.all
}

/// How a new server lets the scripts in, if they come over a connection to it.
fn opening(via: Via) -> Option<Opening> {
    match via {
        Via::Ssh => Some(Opening::Ssh),
        Via::Winrm | Via::WinrmHttp => Some(Opening::Winrm),
        Via::Ssm | Via::Files | Via::None => None,
    }
}

/// The server that was launched, as it is.
fn launched_server(s: &Situation, server: &Ec2Server) -> spec::GatewayInstance {
    spec::GatewayInstance {
        size: s.declared.launch.clone().unwrap_or_default(),
        subnet: server.subnet.clone(),
        key_pair: s.declared.key_pair.clone(),
        user_data: String::new(),
    }
}

struct Nodes<'a> {
    stack: &'a Stack,
    all: Vec<Node>,
}

impl Nodes<'_> {
    fn only<K: crate::resource::Kind>(&self) -> Ref<K> {
        Ref::only(self.stack)
    }

    fn add(&mut self, place: &Place, key: impl Into<Arc<str>>, spec: Spec) {
        self.add_or_adopt(place, key, spec, None);
    }

    fn add_or_adopt(
        &mut self,
        place: &Place,
        key: impl Into<Arc<str>>,
        spec: Spec,
        adopt: Option<Id>,
    ) {
        let address = Address::new(self.stack, spec.kind(), key);
        let record = self.only::<StackRecord>().0;
        let mut needs = spec.needs();
        if address != record && !needs.contains(&record) {
            needs.push(record);
        }
        self.all.push(Node { address, place: place.clone(), spec, adopt, needs });
    }
}

fn record(s: &Situation) -> GroupSpec {
    let mut tags = s.declared.to_tags();
    if let Site::Instance(server) = &s.site {
        tags.insert("cgw:declared:site-account".to_owned(), server.account.clone());
        tags.insert("cgw:declared:site-region".to_owned(), server.place.region.clone());
    }
    record_of(&s.stack, &s.cloud.vpc, tags)
}

fn record_of(stack: &Stack, vpc: &AwsId, tags: BTreeMap<String, String>) -> GroupSpec {
    GroupSpec {
        vpc: vpc.clone(),
        name: stack.group_name(""),
        description: "Record of a cgw stack: its tags say what was declared. It has no members.",
        // As AWS makes it: nobody is a member, and one call less stands before all others.
        rules: BTreeSet::from([all(Direction::Out, Ipv4Net::default())]),
        tags,
    }
}

/// The server's public address, and its link to the interface.
fn site_address(nodes: &mut Nodes<'_>, server: &Ec2Server) {
    let is_for_this = |serves: &Option<AwsId>| serves.as_ref() == Some(&server.interface);
    let (adopt, adopted_link, is_announced) = match &server.public_ip {
        PublicIp::New => (None, None, true),
        PublicIp::Ours { announced, .. } => (None, None, is_for_this(announced)),
        PublicIp::Adopted { id, link, .. } => {
            let users = *link == Link::Users;
            let link = users.then(|| Id::link(id, ElasticIpAssociation::NAME));
            (Some(Id::Aws(id.clone())), link, false)
        }
    };
    let is_shared = matches!(server.public_ip, PublicIp::Adopted { link: Link::Shared, .. });
    let address = spec::ElasticIp { interface: server.interface.clone() };
    nodes.add_or_adopt(&server.place, "", Spec::ElasticIp(address), adopt);
    let link = spec::ElasticIpAssociation {
        address: nodes.only::<ElasticIp>(),
        interface: server.interface.clone(),
        is_announced,
        is_shared,
    };
    nodes.add_or_adopt(&server.place, "", Spec::ElasticIpAssociation(link), adopted_link);
}

/// What makes the server's interface fit to be a gateway.
fn site_interface(nodes: &mut Nodes<'_>, s: &Situation, server: &Ec2Server) {
    let check = spec::SourceDestCheck {
        interface: server.interface.clone(),
        before: server.source_dest_check,
    };
    nodes.add(&server.place, "", Spec::SourceDestCheck(check));
    nodes.add(&server.place, "", Spec::GatewaySecurityGroup(gateway_group(s, server)));
    let membership = spec::SecurityGroupMembership {
        interface: server.interface.clone(),
        group: nodes.only::<GatewaySecurityGroup>(),
        before: server.groups.clone(),
    };
    nodes.add(&server.place, "", Spec::SecurityGroupMembership(membership));
}

/// RDP, SSH and WinRM over TLS.
const ADMINISTRATION: [i32; 3] = [3389, 22, 5986];

fn gateway_group(s: &Situation, server: &Ec2Server) -> GroupSpec {
    let mut rules = BTreeSet::new();
    for cidr in &s.admin_cidrs {
        rules.extend(ADMINISTRATION.map(|port| tcp_in(port, *cidr)));
    }
    rules.insert(icmp_in(s.pair.cloud));
    // What hosts of the site send into the tunnel, and what comes out of it for them.
    rules.insert(all(Direction::In, s.pair.site));
    rules.insert(all(Direction::Out, s.pair.site));
    GroupSpec {
        vpc: server.vpc.clone(),
        name: s.stack.group_name("gateway"),
        description: "cgw: IPsec between the Windows Server and both tunnels, and what the site sends through it",
        rules,
        tags: BTreeMap::new(),
    }
}

fn workload_group(s: &Situation) -> GroupSpec {
    let mut rules: BTreeSet<Rule> =
        s.workload_ports.iter().map(|port| tcp_in(i32::from(*port), s.pair.site)).collect();
    rules.insert(icmp_in(s.pair.site));
    rules.insert(all(Direction::Out, Ipv4Net::default()));
    GroupSpec {
        vpc: s.cloud.vpc.clone(),
        name: s.stack.group_name("workload"),
        description: "cgw: what the site may reach of instances in this VPC",
        rules,
        tags: BTreeMap::new(),
    }
}

fn tcp_in(port: i32, cidr: Ipv4Net) -> Rule {
    let ports = Some((port, port));
    Rule { direction: Direction::In, protocol: "tcp".to_owned(), ports, cidr }
}

fn icmp_in(cidr: Ipv4Net) -> Rule {
    Rule { direction: Direction::In, protocol: "icmp".to_owned(), ports: None, cidr }
}

fn all(direction: Direction, cidr: Ipv4Net) -> Rule {
    Rule { direction, protocol: "-1".to_owned(), ports: None, cidr }
}

fn public_address(nodes: &Nodes<'_>, s: &Situation) -> PublicAddress {
    match &s.site {
        Site::Instance(_) => PublicAddress::Elastic(nodes.only::<ElasticIp>()),
        Site::Own { gateway_ip, .. } => PublicAddress::Given(*gateway_ip),
    }
}

/// Both gateways and the connection. The connection does not wait for the attachment.
fn vpn(nodes: &mut Nodes<'_>, s: &Situation) {
    let place = &s.cloud.place;
    let customer = spec::CustomerGateway { address: public_address(nodes, s), asn: s.asn };
    let adopted = s.customer.clone().map(Id::Aws);
    nodes.add_or_adopt(place, "", Spec::CustomerGateway(customer), adopted);
    let gateway = s.cloud.gateway.clone();
    let attached = gateway.as_ref().map(|id| Id::link(id, VpnGatewayAttachment::NAME));
    nodes.add_or_adopt(place, "", Spec::VpnGateway(spec::VpnGateway), gateway.map(Id::Aws));
    let attachment = spec::VpnGatewayAttachment {
        gateway: nodes.only::<VpnGateway>(),
        vpc: s.cloud.vpc.clone(),
    };
    nodes.add_or_adopt(place, "", Spec::VpnGatewayAttachment(attachment), attached);
    let connection = spec::VpnConnection {
        gateway: nodes.only::<VpnGateway>(),
        customer: nodes.only::<CustomerGateway>(),
        crypto: s.crypto,
        turn: s.turn.clone(),
        may_cut_off: s.may_cut_off,
    };
    nodes.add(place, "", Spec::VpnConnection(connection));
    let prefix =
        spec::VpnConnectionRoute { connection: nodes.only::<VpnConnection>(), cidr: s.pair.site };
    nodes.add(place, s.pair.site.to_string(), Spec::VpnConnectionRoute(prefix));
}

/// The private subnet, where one is asked for; returns the tables that get routes.
fn cloud_subnet(nodes: &mut Nodes<'_>, cloud: &Cloud) -> Vec<Table> {
    let mut tables: Vec<Table> = cloud.tables.iter().cloned().map(Table::Given).collect();
    let Some(cidr) = cloud.subnet_cidr else {
        return tables;
    };
    let vpc = || cloud.vpc.clone();
    nodes.add(&cloud.place, "", Spec::Subnet(spec::Subnet { vpc: vpc(), cidr }));
    nodes.add(&cloud.place, "", Spec::RouteTable(spec::RouteTable { vpc: vpc() }));
    let association = spec::RouteTableAssociation {
        table: nodes.only::<RouteTable>(),
        subnet: nodes.only::<Subnet>(),
    };
    nodes.add(&cloud.place, "", Spec::RouteTableAssociation(association));
    tables.push(Table::Made(nodes.only::<RouteTable>()));
    tables
}

/// Routes to the site. A propagated one appears only with the tunnel, so there is a fixed one too.
fn cloud_routes(nodes: &mut Nodes<'_>, s: &Situation, tables: &[Table]) {
    for table in tables {
        let gateway = nodes.only::<VpnGateway>();
        let attachment = nodes.only::<VpnGatewayAttachment>();
        let target = Target::Gateway(gateway.clone(), attachment.clone());
        let route = spec::Route { table: table.clone(), cidr: s.pair.site, target };
        let key = format!("{}/{}", table.key(), s.pair.site);
        nodes.add(&s.cloud.place, key, Spec::Route(route));
        // An adopted gateway would bring other people's routes in.
        if s.cloud.gateway.is_none() {
            let propagation = spec::RoutePropagation { table: table.clone(), gateway, attachment };
            nodes.add(&s.cloud.place, table.key(), Spec::RoutePropagation(propagation));
        }
    }
}

/// What at the site needs the tunnels, or leads into them.
fn site_tunnel(nodes: &mut Nodes<'_>, s: &Situation, server: &Ec2Server) {
    let rules = spec::TunnelRules {
        group: nodes.only::<GatewaySecurityGroup>(),
        connection: nodes.only::<VpnConnection>(),
    };
    nodes.add(&server.place, "", Spec::TunnelRules(rules));
    for table in &server.tables {
        let route = spec::Route {
            table: Table::Given(table.clone()),
            cidr: s.pair.cloud,
            target: Target::Interface(server.interface.clone()),
        };
        let key = format!("{table}/{}", s.pair.cloud);
        nodes.add(&server.place, key, Spec::Route(route));
    }
}

/// The steps on the server come when it can be reached and nothing more can move its address.
fn windows(nodes: &mut Nodes<'_>, s: &Situation) {
    if s.via == Via::None {
        return;
    }
    let after = [
        nodes.only::<ElasticIpAssociation>().0,
        nodes.only::<GatewaySecurityGroup>().0,
        nodes.only::<SecurityGroupMembership>().0,
        nodes.only::<SourceDestCheck>().0,
        nodes.only::<TunnelRules>().0,
    ];
    let exists = |address: &Address| nodes.all.iter().any(|node| &node.address == address);
    let setup = spec::WindowsSetup {
        parameters: parameters(s),
        address: public_address(nodes, s),
        connection: nodes.only::<VpnConnection>(),
        record: nodes.only::<StackRecord>(),
        host_key_tag: host_key_tag(),
        is_by_hand: s.via == Via::Files,
        is_turn: s.turn.is_some(),
        after: after.into_iter().filter(exists).collect(),
    };
    nodes.add(&s.cloud.place, "", Spec::WindowsSetup(setup));
}

/// A host that answers pings, where a route leads back to the site.
fn probe(nodes: &mut Nodes<'_>, cloud: &Cloud) {
    let made = || cloud.subnet_cidr.map(|_| Inside::Made(nodes.only::<Subnet>()));
    let Some(subnet) = made().or_else(|| cloud.subnet.clone().map(Inside::Given)) else { return };
    let spec = spec::ProbeInstance { subnet, group: nodes.only::<WorkloadSecurityGroup>() };
    nodes.add(&cloud.place, "", Spec::ProbeInstance(spec));
}

/// What the steps on the server need to know.
#[must_use]
pub fn parameters(s: &Situation) -> Parameters {
    Parameters {
        stack: s.stack.clone(),
        instance: match &s.site {
            Site::Instance(server) => Some(server.instance.clone()),
            Site::Own { .. } => None,
        },
        private_ip: s.site.private_ip(),
        pair: s.pair,
        crypto: s.crypto,
        ping: s.declared.ping,
        minimal_roles: s.declared.minimal_roles.unwrap_or_default(),
        replace_rules: s.declared.replace_rules.unwrap_or_default(),
        admin_ports: ADMIN_PORTS.into_iter().chain(s.declared.port.map(NonZeroU16::get)).collect(),
        own: s.own.clone(),
    }
}

/// What only the owner of the server and of the hosts behind it can do.
#[must_use]
pub fn for_the_owner(s: &Situation) -> Vec<String> {
    // AWS, «Best practices for a customer gateway device»: with NAT traversal, by cipher.
    let mss = if s.crypto == Crypto::Strong { 1398 } else { 1382 };
    let segments = format!(
        "where hosts behind the server send large packets, let their TCP segments be at most {mss} \
         bytes (MSS): no one tells them when a packet does not fit through a tunnel"
    );
    let own = match &s.site {
        Site::Instance(_) => Vec::new(),
        Site::Own { private_ip, .. } => vec![
            format!("forward UDP 500 and UDP 4500 from the public address to {private_ip}"),
            format!(
                "route {} to {private_ip} in the LAN, so that other hosts get through",
                s.pair.cloud
            ),
        ],
    };
    own.into_iter().chain([segments]).collect()
}
