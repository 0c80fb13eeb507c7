//! Worlds made by hand, and what a plan makes of a world when every call succeeds.

#![expect(
    clippy::single_match_else,
    clippy::too_many_lines,
    reason = "what is made and what is changed read best side by side, one arm a kind"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use cgw::address::{Address, AwsId, Id, Stack};
use cgw::aws::{NODE, Place, STACK, Tags, announcement};
use cgw::plan::{Change, Key, Plan, Step, plan};
use cgw::playbook::{Bundle, Own};
use cgw::preflight::{Request, Situation, Stop, examine, launch};
use cgw::resource::{self, Inside, PublicAddress, Spec, Table, Target};
use cgw::secret::Secret;
use cgw::spec::{Choice, Declared, Via};
use cgw::topology::{desired, launched};
use cgw::tunnel::{Crypto, Suites, Tunnel};
use cgw::world::{
    Connection, Customer, Direction, ElasticAddress, Gateway, Group, GroupRule, Instance,
    Interface, Region, Route, RouteTable, Rule, Subnet, Vpc, World,
};
use ipnet::Ipv4Net;

pub(crate) fn id(text: &str) -> AwsId {
    AwsId::new(text)
}

pub(crate) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(crate) fn tags(pairs: &[(&str, &str)]) -> Tags {
    Tags(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

pub(crate) fn stack() -> Stack {
    "office".parse().unwrap()
}

pub(crate) fn place() -> Place {
    Place { profile: None, region: "eu-west-1".to_owned(), endpoint: None }
}

/// Another region, where a server could be too.
fn elsewhere() -> Place {
    Place { region: "eu-central-1".to_owned(), ..place() }
}

pub(crate) fn declared() -> Declared {
    Declared {
        vpc: Some("vpc-00000001".parse().unwrap()),
        instance: Some("i-00000001".parse().unwrap()),
        ..Declared::default()
    }
}

/// What is declared of a server that is launched.
pub(crate) fn launching() -> Declared {
    Declared {
        instance: None,
        launch: Some("t3.large".to_owned()),
        launch_subnet: Some("subnet-00000002".parse().unwrap()),
        key_pair: Some("administrators".to_owned()),
        admin_cidr: Some("198.51.100.0/24".parse().unwrap()),
        via: Some(Via::Ssh),
        ..declared()
    }
}

fn table(name: &str, vpc: &str, main: bool, routes: Vec<Route>) -> RouteTable {
    let association = (id(&format!("rtbassoc-{name}")), (!main).then(|| id("subnet-00000002")));
    RouteTable {
        id: id(name),
        vpc: id(vpc),
        routes,
        propagating: BTreeSet::new(),
        associations: vec![association],
        tags: Tags::default(),
    }
}

fn route(cidr: &str, target: &str) -> Route {
    Route { cidr: net(cidr), target: id(target), is_propagated: false, is_blackhole: false }
}

/// The first region, to be made otherwise.
pub(crate) fn here(world: &mut World) -> &mut Region {
    Arc::make_mut(&mut world.regions[0])
}

/// Two VPCs and a Windows Server, nothing of any stack.
pub(crate) fn base() -> World {
    let mut region = Region::empty(&place());
    let vpc = |name: &str, cidr: &str| Vpc {
        id: id(name),
        account: "111111111111".to_owned(),
        cidrs: vec![net(cidr)],
        is_default: false,
        tags: Tags::default(),
    };
    region.vpcs = vec![vpc("vpc-00000001", "10.0.0.0/16"), vpc("vpc-00000002", "172.31.0.0/16")];
    let subnet = |name: &str, vpc: &str, cidr: &str| Subnet {
        id: id(name),
        vpc: id(vpc),
        cidr: net(cidr),
        tags: Tags::default(),
    };
    region.subnets = vec![
        subnet("subnet-00000001", "vpc-00000001", "10.0.1.0/24"),
        subnet("subnet-00000002", "vpc-00000002", "172.31.16.0/20"),
    ];
    region.route_tables = vec![
        table("rtb-00000001", "vpc-00000001", true, vec![route("10.0.0.0/16", "local")]),
        table(
            "rtb-00000002",
            "vpc-00000002",
            false,
            vec![route("172.31.0.0/16", "local"), route("0.0.0.0/0", "igw-00000001")],
        ),
    ];
    region.groups = vec![Group {
        id: id("sg-user"),
        name: "server".to_owned(),
        vpc: id("vpc-00000002"),
        tags: Tags::default(),
    }];
    let instance = |name: &str, label: &str| Instance {
        id: id(name),
        vpc: Some(id("vpc-00000002")),
        subnet: Some(id("subnet-00000002")),
        state: "running".to_owned(),
        is_windows: true,
        public_ip: Some(Ipv4Addr::new(198, 51, 100, 9)),
        tags: tags(&[("Name", label)]),
    };
    region.instances = vec![instance("i-00000001", "gateway"), instance("i-00000002", "spare")];
    let interface = |name: &str, instance: &str, last: u8| Interface {
        id: id(name),
        vpc: id("vpc-00000002"),
        subnet: id("subnet-00000002"),
        instance: Some(id(instance)),
        device: 0,
        private_ip: Some(Ipv4Addr::new(172, 31, 16, last)),
        groups: BTreeSet::from([id("sg-user")]),
        source_dest_check: true,
        tags: Tags::default(),
    };
    region.interfaces = vec![
        interface("eni-00000001", "i-00000001", 10),
        interface("eni-00000002", "i-00000002", 11),
    ];
    region.addresses = vec![ElasticAddress {
        id: id("eipalloc-0000000a"),
        ip: Ipv4Addr::new(198, 51, 100, 77),
        association: None,
        interface: None,
        tags: Tags::default(),
    }];
    let mut other = region.clone();
    other.place = elsewhere();
    other.vpcs.remove(0);
    other.subnets.remove(0);
    other.route_tables.remove(0);
    other.addresses.clear();
    other.instances.truncate(1);
    other.instances[0].id = id("i-00000003");
    other.interfaces.truncate(1);
    other.interfaces[0].id = id("eni-00000003");
    other.interfaces[0].instance = Some(id("i-00000003"));
    // Ids tell regions apart, as AWS's do.
    other.route_tables[0].id = id("rtb-00000003");
    World { regions: vec![Arc::new(region), Arc::new(other)] }
}

/// Declarations that one stack may have one after another.
pub(crate) fn variants() -> Vec<Declared> {
    let base = declared;
    vec![
        base(),
        Declared { crypto: Some(Crypto::Strict), via: Some(Via::None), ..base() },
        Declared { via: Some(Via::Files), workload_ports: Some("443".parse().unwrap()), ..base() },
        Declared { subnet_cidr: Some("10.0.99.0/24".parse().unwrap()), ..base() },
        Declared {
            subnet_cidr: Some("10.0.98.0/24".parse().unwrap()),
            cloud_cidr: Some("10.0.0.0/17".parse().unwrap()),
            ..base()
        },
        Declared { eip: Some("eipalloc-0000000a".parse().unwrap()), ..base() },
        Declared { instance: Some("i-00000002".parse().unwrap()), ..base() },
        Declared {
            instance: Some("i-00000002".parse().unwrap()),
            eip: Some("eipalloc-0000000a".parse().unwrap()),
            site_route_tables: Some(Choice::None),
            ..base()
        },
        Declared {
            instance: Some("i-00000003".parse().unwrap()),
            site_region: Some(elsewhere().region),
            ..base()
        },
        Declared {
            instance: None,
            gateway_ip: Some(Ipv4Addr::new(203, 0, 113, 200)),
            private_ip: Some(Ipv4Addr::new(192, 168, 7, 5)),
            site_cidr: Some("192.168.7.0/24".parse().unwrap()),
            ..base()
        },
    ]
}

/// Judges what is asked for in a world.
pub(crate) fn asked<T>(
    world: &World,
    declared: &Declared,
    judge: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let (stack, place) = (stack(), place());
    let region = declared.site_region.clone().unwrap_or_else(|| place.region.clone());
    let site = Place { region, ..place.clone() };
    judge(&Request {
        stack: &stack,
        declared,
        world,
        cloud: &place,
        site: &site,
        operator: None,
        quota_raised: false,
        is_managed: false,
        own: &Own::default(),
    })
}

/// What is to be in a world, or why not.
pub(crate) fn situation(world: &World, declared: &Declared) -> Result<Situation, Stop> {
    asked(world, declared, examine)
}

/// The plan of `up`.
pub(crate) fn up(world: &World, declared: &Declared) -> Result<Plan, Stop> {
    let situation = situation(world, declared)?;
    Ok(plan(&stack(), &desired(&situation), &resource::find(world, &stack()), world))
}

/// The plan that launches a server, before all else.
pub(crate) fn first(world: &World, declared: &Declared) -> Plan {
    let stack = stack();
    let launching = asked(world, declared, launch).expect("it can be launched");
    let nodes = launched(&stack, declared, &launching);
    let plan = plan(&stack, &nodes, &resource::find(world, &stack), world);
    plan.only(&["stack-record", "gateway-instance"])
}

/// The plan of `down`.
pub(crate) fn down(world: &World) -> Plan {
    plan(&stack(), &[], &resource::find(world, &stack()), world)
}

/// What a world is after a plan was carried out in it.
///
/// Panics where steps wait for one another, where a plan removes what it adopts, and where AWS
/// would refuse.
pub(crate) fn after(world: &World, plan: &Plan) -> World {
    let adopted =
        |id: &Id| plan.steps.iter().any(|s| s.change == Change::Adopt && s.id.as_ref() == Some(id));
    for step in plan.changes() {
        assert!(!step.id.as_ref().is_some_and(adopted), "{:?} changes what is adopted", step.key);
    }
    let known = plan.known().into_iter().map(|(address, (id, _))| (address, id)).collect();
    let mut model = Model { world: world.clone(), known, number: 0, place: place() };
    let mut open: Vec<&Step> = plan.work().collect();
    while !open.is_empty() {
        let waits = |step: &Step| step.after.iter().any(|key| open.iter().any(|o| &o.key == key));
        let ready: Vec<usize> = (0..open.len()).filter(|n| !waits(open[*n])).collect();
        assert!(!ready.is_empty(), "steps wait in a ring");
        // Any of them may be the next to end.
        let next = ready[(open.len() * 7919 + plan.steps.len() * 31) % ready.len()];
        model.carry_out(open.remove(next));
    }
    model.world
}

struct Model {
    world: World,
    known: BTreeMap<Address, Id>,
    number: u32,
    /// Where the step belongs that is carried out.
    place: Place,
}

impl Model {
    fn region(&mut self) -> &mut Region {
        let place = self.place.clone();
        self.world.region_mut(&place).expect("it was observed")
    }

    fn connection(&self, id: &AwsId) -> &Connection {
        let mut all = self.world.regions.iter().flat_map(|r| &r.connections);
        all.find(|c| &c.id == id).expect("it exists")
    }

    fn address(&self, id: &AwsId) -> &ElasticAddress {
        let mut all = self.world.regions.iter().flat_map(|r| &r.addresses);
        all.find(|a| &a.id == id).expect("it exists")
    }

    fn fresh(&mut self, prefix: &str) -> AwsId {
        self.number += 1;
        // A world may have been made by a model before: its ids are taken.
        let salt = self.world.regions[0].groups.len() + self.world.regions[0].connections.len();
        id(&format!("{prefix}-new{:04}{:03}", self.number, salt))
    }

    fn owner(&self, address: &Address) -> AwsId {
        self.known[address].owner().clone()
    }

    fn carry_out(&mut self, step: &Step) {
        self.place = step.place.clone();
        match (&step.key, &step.spec) {
            (Key::Make(address), Some(spec)) => {
                let id = self.make(
                    address,
                    spec,
                    step.id.as_ref().filter(|_| step.change.word() != "replace"),
                );
                self.known.insert(address.clone(), id);
            }
            (Key::Remove(address, id), _) => self.remove(address, id),
            (Key::Make(_), None) => unreachable!("what is made has a declaration"),
        }
    }

    fn own_tags(address: &Address) -> Tags {
        tags(&[(STACK, address.stack.as_str()), (NODE, &address.node())])
    }

    fn announce(&mut self, on: &AwsId, address: &Address, what: &str, value: &str) {
        let key = format!("cgw:{}:{what}", address.stack);
        let region = self.region();
        let tables = region.route_tables.iter_mut().map(|o| (&o.id, &mut o.tags));
        let interfaces = region.interfaces.iter_mut().map(|o| (&o.id, &mut o.tags));
        let addresses = region.addresses.iter_mut().map(|o| (&o.id, &mut o.tags));
        let mut all = tables.chain(interfaces).chain(addresses);
        let (_, tags) = all.find(|(id, _)| *id == on).expect("the owner exists");
        tags.0.insert(key, value.to_owned());
    }

    fn interface(&mut self, id: &AwsId) -> &mut Interface {
        self.region().interfaces.iter_mut().find(|o| &o.id == id).expect("it exists")
    }

    fn table(&mut self, id: &AwsId) -> &mut RouteTable {
        self.region().route_tables.iter_mut().find(|o| &o.id == id).expect("it exists")
    }

    fn set_rules(&mut self, group: &AwsId, address: &Address, rules: &BTreeSet<Rule>) {
        let default = default_rule();
        let own = Self::own_tags(address);
        let is_own = |r: &GroupRule| {
            r.group == *group
                && (r.tags == own
                    || (r.tags == Tags::default()
                        && r.rule.as_ref() == Some(&default)
                        && address.kind != "tunnel-rules"))
        };
        self.region().rules.retain(|r| !is_own(r));
        for rule in rules {
            let id = self.fresh("sgr");
            let made = GroupRule {
                id,
                group: group.clone(),
                rule: Some(rule.clone()),
                referenced: None,
                tags: own.clone(),
            };
            self.region().rules.push(made);
        }
    }

    fn make(&mut self, address: &Address, spec: &Spec, existing: Option<&Id>) -> Id {
        let own = Self::own_tags(address);
        match spec {
            Spec::StackRecord(spec)
            | Spec::GatewaySecurityGroup(spec)
            | Spec::WorkloadSecurityGroup(spec) => {
                let group = match existing {
                    Some(id) => id.owner().clone(),
                    None => {
                        let id = self.fresh("sg");
                        let group = Group {
                            id: id.clone(),
                            name: spec.name.clone(),
                            vpc: spec.vpc.clone(),
                            tags: own,
                        };
                        self.region().groups.push(group);
                        id
                    }
                };
                let found = self.region().groups.iter_mut().find(|g| g.id == group).unwrap();
                found.tags.0.retain(|key, _| !key.starts_with("cgw:declared:"));
                found.tags.0.extend(spec.tags.clone());
                self.set_rules(&group, address, &spec.rules);
                group.into()
            }
            Spec::ElasticIp(spec) => {
                let mut tags = own;
                let key = announcement(&address.stack, "elastic-ip-association");
                tags.0.insert(key, spec.interface.to_string());
                let id = self.fresh("eipalloc");
                let ip = Ipv4Addr::from(0xCB00_7100 + self.number);
                self.region().addresses.push(ElasticAddress {
                    id: id.clone(),
                    ip,
                    association: None,
                    interface: None,
                    tags,
                });
                id.into()
            }
            Spec::ElasticIpAssociation(spec) => {
                let eip = self.owner(&spec.address.0);
                if !spec.is_announced {
                    self.announce(&eip, address, "elastic-ip-association", spec.interface.as_str());
                }
                let association = self.fresh("eipassoc");
                let serves = |a: &ElasticAddress| a.interface.as_ref() == Some(&spec.interface);
                assert!(!self.region().addresses.iter().any(serves), "it has an address already");
                let found = self.region().addresses.iter_mut().find(|a| a.id == eip).unwrap();
                assert_eq!(found.interface, None, "{eip} is in use");
                found.interface = Some(spec.interface.clone());
                found.association = Some(association);
                Id::link(&eip, "elastic-ip-association")
            }
            Spec::SourceDestCheck(spec) => {
                if existing.is_none() {
                    self.announce(
                        &spec.interface,
                        address,
                        "source-dest-check",
                        &spec.before.to_string(),
                    );
                }
                self.interface(&spec.interface).source_dest_check = false;
                Id::link(&spec.interface, "source-dest-check")
            }
            Spec::SecurityGroupMembership(spec) => {
                let group = self.owner(&spec.group.0);
                if existing.is_none() {
                    let before: Vec<String> = spec.before.iter().map(ToString::to_string).collect();
                    self.announce(
                        &spec.interface,
                        address,
                        "security-group-membership",
                        &before.join(" "),
                    );
                }
                self.interface(&spec.interface).groups.insert(group);
                Id::link(&spec.interface, "security-group-membership")
            }
            Spec::CustomerGateway(spec) => {
                let ip = match &spec.address {
                    PublicAddress::Given(ip) => *ip,
                    PublicAddress::Elastic(eip) => self.address(&self.owner(&eip.0)).ip,
                };
                let id = self.fresh("cgw");
                let made = Customer {
                    id: id.clone(),
                    state: "available".to_owned(),
                    ip: Some(ip),
                    asn: spec.asn.to_string(),
                    device: None,
                    tags: own,
                };
                self.region().customer_gateways.push(made);
                id.into()
            }
            Spec::VpnGateway(_) => {
                let id = self.fresh("vgw");
                self.region().vpn_gateways.push(Gateway {
                    id: id.clone(),
                    state: "available".to_owned(),
                    asn: 64512,
                    attachment: None,
                    tags: own,
                });
                id.into()
            }
            Spec::VpnGatewayAttachment(spec) => {
                let gateway = self.owner(&spec.gateway.0);
                let found =
                    self.region().vpn_gateways.iter_mut().find(|g| g.id == gateway).unwrap();
                found.attachment = Some((spec.vpc.clone(), "attached".to_owned()));
                Id::link(&gateway, "vpn-gateway-attachment")
            }
            Spec::VpnConnection(spec) => match existing {
                Some(id) => {
                    let found =
                        self.region().connections.iter_mut().find(|c| &c.id == id.owner()).unwrap();
                    found.tunnels.iter_mut().for_each(|t| t.suites = Suites::of(spec.crypto));
                    id.clone()
                }
                None => {
                    let id = self.fresh("vpn");
                    let (customer, gateway) =
                        (self.owner(&spec.customer.0), self.owner(&spec.gateway.0));
                    let made = connection(&id, &customer, &gateway, spec.crypto, self.number, own);
                    self.region().connections.push(made);
                    id.into()
                }
            },
            Spec::VpnConnectionRoute(spec) => {
                let connection = self.owner(&spec.connection.0);
                let found =
                    self.region().connections.iter_mut().find(|c| c.id == connection).unwrap();
                found.prefixes.insert(spec.cidr);
                Id::link(&connection, format!("vpn-connection-route {}", spec.cidr))
            }
            Spec::TunnelRules(spec) => {
                let (group, connection) =
                    (self.owner(&spec.group.0), self.owner(&spec.connection.0));
                let tunnels = self.connection(&connection).tunnels.clone();
                self.set_rules(&group, address, &tunnel_rules(&tunnels));
                Id::link(&group, "tunnel-rules")
            }
            Spec::Subnet(spec) => {
                let id = self.fresh("subnet");
                self.region().subnets.push(Subnet {
                    id: id.clone(),
                    vpc: spec.vpc.clone(),
                    cidr: spec.cidr,
                    tags: own,
                });
                id.into()
            }
            Spec::RouteTable(spec) => {
                let id = self.fresh("rtb");
                let made = RouteTable {
                    id: id.clone(),
                    vpc: spec.vpc.clone(),
                    routes: Vec::new(),
                    propagating: BTreeSet::new(),
                    associations: Vec::new(),
                    tags: own,
                };
                self.region().route_tables.push(made);
                id.into()
            }
            Spec::RouteTableAssociation(spec) => {
                let (table, subnet) = (self.owner(&spec.table.0), self.owner(&spec.subnet.0));
                let association = self.fresh("rtbassoc");
                self.table(&table).associations.push((association, Some(subnet)));
                Id::link(&table, "route-table-association")
            }
            Spec::Route(spec) => {
                let table = match &spec.table {
                    Table::Given(id) => id.clone(),
                    Table::Made(table) => self.owner(&table.0),
                };
                let target = match &spec.target {
                    Target::Interface(id) => id.clone(),
                    Target::Gateway(gateway, _) => self.owner(&gateway.0),
                };
                self.announce(&table, address, &format!("route/{}", spec.cidr), target.as_str());
                let found = self.table(&table);
                found.routes.retain(|r| r.cidr != spec.cidr);
                found.routes.push(Route {
                    cidr: spec.cidr,
                    target,
                    is_propagated: false,
                    is_blackhole: false,
                });
                Id::link(&table, format!("route/{}", spec.cidr))
            }
            Spec::RoutePropagation(spec) => {
                let table = match &spec.table {
                    Table::Given(id) => id.clone(),
                    Table::Made(table) => self.owner(&table.0),
                };
                let gateway = self.owner(&spec.gateway.0);
                self.announce(&table, address, "route-propagation", gateway.as_str());
                self.table(&table).propagating.insert(gateway);
                Id::link(&table, "route-propagation")
            }
            Spec::WindowsSetup(spec) => {
                let (record, connection) =
                    (self.owner(&spec.record.0), self.owner(&spec.connection.0));
                let tunnels = self.connection(&connection).tunnels.clone();
                let digest =
                    Bundle::render(&spec.parameters, &connection, &tunnels).unwrap().digest;
                let found = self.region().groups.iter_mut().find(|g| g.id == record).unwrap();
                let by = if spec.is_by_hand { "by-hand " } else { "" };
                found.tags.0.insert("cgw:windows-setup".to_owned(), format!("{by}{digest}"));
                Id::link(&record, "windows-setup")
            }
            Spec::GatewayInstance(spec) => self.launch(address, &spec.subnet, "sg-user"),
            Spec::ProbeInstance(spec) => {
                let subnet = match &spec.subnet {
                    Inside::Given(id) => id.clone(),
                    Inside::Made(subnet) => self.owner(&subnet.0),
                };
                let group = self.owner(&spec.group.0);
                self.launch(address, &subnet, group.as_str())
            }
        }
    }

    fn launch(&mut self, address: &Address, subnet: &AwsId, group: &str) -> Id {
        let (number, interface) = (self.fresh("i"), self.fresh("eni"));
        // In a declaration it has to look like one.
        let instance = id(&number.as_str().replace("new", "0"));
        let region = self.region();
        let subnet = region.subnets.iter().find(|s| &s.id == subnet).expect("it exists").clone();
        region.instances.push(Instance {
            id: instance.clone(),
            vpc: Some(subnet.vpc.clone()),
            subnet: Some(subnet.id.clone()),
            state: "running".to_owned(),
            is_windows: address.kind == "gateway-instance",
            public_ip: None,
            tags: Self::own_tags(address),
        });
        region.interfaces.push(Interface {
            id: interface,
            vpc: subnet.vpc,
            subnet: subnet.id,
            instance: Some(instance.clone()),
            device: 0,
            private_ip: subnet.cidr.hosts().nth(41),
            groups: BTreeSet::from([id(group)]),
            source_dest_check: true,
            tags: Tags::default(),
        });
        instance.into()
    }

    fn remove(&mut self, address: &Address, id: &Id) {
        let stack = address.stack.to_string();
        let owner = id.owner().clone();
        let region = self.region();
        match address.kind {
            "stack-record" | "gateway-security-group" | "workload-security-group" => {
                assert!(
                    region.interfaces.iter().all(|i| !i.groups.contains(&owner)),
                    "{owner} is in use"
                );
                region.groups.retain(|g| g.id != owner);
                region.rules.retain(|r| r.group != owner);
            }
            "elastic-ip" => {
                let found = region.addresses.iter().find(|a| a.id == owner);
                assert!(found.is_none_or(|a| a.association.is_none()), "{owner} is in use");
                region.addresses.retain(|a| a.id != owner);
            }
            "elastic-ip-association" => {
                let found = region.addresses.iter_mut().find(|a| a.id == owner).unwrap();
                (found.association, found.interface) = (None, None);
                if found.tags.stack().is_none() {
                    found.tags.0.remove(&format!("cgw:{stack}:elastic-ip-association"));
                }
            }
            "source-dest-check" => {
                let key = format!("cgw:{stack}:source-dest-check");
                let found = self.interface(&owner);
                let before = found.tags.0.remove(&key).unwrap();
                found.source_dest_check = found.source_dest_check || before == "true";
            }
            "security-group-membership" => {
                let own: BTreeSet<AwsId> = region
                    .groups
                    .iter()
                    .filter(|g| g.tags.stack() == Some(&stack))
                    .map(|g| g.id.clone())
                    .collect();
                let found = self.interface(&owner);
                found.groups.retain(|g| !own.contains(g));
                found.tags.0.remove(&format!("cgw:{stack}:security-group-membership"));
            }
            "customer-gateway" => {
                assert!(
                    region.connections.iter().all(|c| c.customer != owner),
                    "{owner} is in use"
                );
                region.customer_gateways.retain(|c| c.id != owner);
            }
            "vpn-gateway" => {
                assert!(
                    region.connections.iter().all(|c| c.gateway.as_ref() != Some(&owner)),
                    "{owner} is in use"
                );
                region.vpn_gateways.retain(|g| g.id != owner);
            }
            "vpn-gateway-attachment" => {
                let leads = |t: &RouteTable| {
                    t.propagating.contains(&owner) || t.routes.iter().any(|r| r.target == owner)
                };
                assert!(!region.route_tables.iter().any(leads), "routes lead to {owner}");
                let found = region.vpn_gateways.iter_mut().find(|g| g.id == owner).unwrap();
                found.attachment = None;
            }
            "vpn-connection" => region.connections.retain(|c| c.id != owner),
            "vpn-connection-route" => {
                let cidr: Ipv4Net = address.key.parse().unwrap();
                let found = region.connections.iter_mut().find(|c| c.id == owner).unwrap();
                found.prefixes.remove(&cidr);
            }
            "tunnel-rules" => {
                region.rules.retain(|r| r.group != owner || r.tags != Self::own_tags(address));
            }
            "windows-setup" => {
                let found = region.groups.iter_mut().find(|g| g.id == owner).unwrap();
                found.tags.0.remove("cgw:windows-setup").unwrap();
            }
            "subnet" => region.subnets.retain(|s| s.id != owner),
            "route-table" => region.route_tables.retain(|t| t.id != owner),
            "route-table-association" => self.table(&owner).associations.clear(),
            "route" => {
                let cidr: Ipv4Net = address.key.split_once('/').unwrap().1.parse().unwrap();
                let key = format!("cgw:{stack}:route/{cidr}");
                let found = self.table(&owner);
                let announced = found.tags.0.remove(&key).unwrap();
                found.routes.retain(|r| r.cidr != cidr || r.target.as_str() != announced);
            }
            "route-propagation" => {
                let key = format!("cgw:{stack}:route-propagation");
                let found = self.table(&owner);
                let gateway = found.tags.0.remove(&key).unwrap();
                found.propagating.remove(&id_of(&gateway));
            }
            "gateway-instance" | "probe-instance" => {
                let is_own = |i: &Interface| i.instance.as_ref() == Some(&owner);
                let own = region.interfaces.iter().find(|i| is_own(i)).unwrap();
                assert_eq!(own.tags, Tags::default(), "what was changed of it is put back before");
                let serves = |a: &ElasticAddress| a.interface.as_ref() == Some(&own.id);
                assert!(!region.addresses.iter().any(serves), "{owner} has an address");
                region.interfaces.retain(|i| !is_own(i));
                region.instances.retain(|i| i.id != owner);
            }
            other => unreachable!("{other} ends with its owner"),
        }
    }
}

fn id_of(text: &str) -> AwsId {
    AwsId::new(text)
}

pub(crate) fn default_rule() -> Rule {
    Rule {
        direction: Direction::Out,
        protocol: "-1".to_owned(),
        ports: None,
        cidr: Ipv4Net::default(),
    }
}

pub(crate) fn connection(
    id: &AwsId,
    customer: &AwsId,
    gateway: &AwsId,
    crypto: Crypto,
    number: u32,
    tags: Tags,
) -> Connection {
    let tunnel = |n: u32| Tunnel {
        outside: Ipv4Addr::from(0xC633_6400 + number * 2 + n),
        key: Some(Secret::new(format!("key.of.tunnel.{number}.{n}"))),
        suites: Suites::of(crypto),
    };
    Connection {
        id: id.clone(),
        state: "available".to_owned(),
        customer: customer.clone(),
        gateway: Some(gateway.clone()),
        is_static: true,
        prefixes: BTreeSet::new(),
        tunnels: vec![tunnel(0), tunnel(1)],
        telemetry: Vec::new(),
        configuration: None,
        tags,
    }
}

fn tunnel_rules(tunnels: &[Tunnel]) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for tunnel in tunnels {
        for direction in [Direction::In, Direction::Out] {
            for (protocol, port) in
                [("50", None), ("51", None), ("udp", Some(500)), ("udp", Some(4500))]
            {
                rules.insert(Rule {
                    direction,
                    protocol: protocol.to_owned(),
                    ports: port.map(|p| (p, p)),
                    cidr: Ipv4Net::from(tunnel.outside),
                });
            }
        }
    }
    rules
}
