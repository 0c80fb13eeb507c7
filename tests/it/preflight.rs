//! What is refused before anything is made, by value: each with the flag that helps.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use cgw::aws::{NODE, Place, STACK, Tags};
use cgw::playbook::Own;
use cgw::preflight::{Link, PublicIp, Refusal, Request, Site, Situation, Stop, examine, launch};
use cgw::spec::{Declared, Via};
use cgw::tunnel::Crypto;
use cgw::world::{Customer, ElasticAddress, Gateway, Group, Region, Route, World};

use crate::model::{base, connection, declared, here, id, launching, net, place, stack, tags};

/// What is asked for, of which world.
struct Case {
    world: World,
    declared: Declared,
    place: Place,
    operator: Option<Ipv4Addr>,
    quota_raised: bool,
    is_managed: bool,
}

impl Case {
    fn of(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self {
            world: base(),
            declared: declared(),
            place: place(),
            operator: None,
            quota_raised: false,
            is_managed: false,
        };
        change(&mut case);
        case
    }

    fn region(&mut self) -> &mut Region {
        here(&mut self.world)
    }

    fn asked<T>(&self, of: impl FnOnce(&Request<'_>) -> T) -> T {
        of(&Request {
            stack: &stack(),
            declared: &self.declared,
            world: &self.world,
            cloud: &self.place,
            site: &self.place,
            operator: self.operator,
            quota_raised: self.quota_raised,
            is_managed: self.is_managed,
            own: &Own::default(),
        })
    }

    fn examine(&self) -> Result<Situation, Stop> {
        self.asked(examine)
    }

    fn refusals(&self) -> Vec<Refusal> {
        match self.examine() {
            Err(Stop::Refused(refusals)) => refusals,
            Ok(_) | Err(Stop::Choose(_)) => Vec::new(),
        }
    }
}

fn customer(n: u8) -> Customer {
    Customer {
        id: id(&format!("cgw-{n}")),
        state: "available".to_owned(),
        ip: Some(Ipv4Addr::new(203, 0, 113, n)),
        asn: "65000".to_owned(),
        device: None,
        tags: Tags::default(),
    }
}

fn route(cidr: &str, target: &str) -> Route {
    Route { cidr: net(cidr), target: id(target), is_propagated: false, is_blackhole: false }
}

fn gateway(name: &str) -> Gateway {
    Gateway {
        id: id(name),
        state: "available".to_owned(),
        asn: 64512,
        attachment: None,
        tags: Tags::default(),
    }
}

fn address(number: u8) -> ElasticAddress {
    ElasticAddress {
        id: id(&format!("eipalloc-{number}")),
        ip: Ipv4Addr::new(192, 0, 2, number),
        association: None,
        interface: None,
        tags: Tags::default(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: some lines a refusal")]
fn each_refusal_says_what_is_wrong_and_which_flag_helps() {
    type Row = (fn(&mut Case), &'static str, &'static str);
    let rows: &[Row] = &[
        (
            |c| c.region().route_tables[0].routes.push(route("172.31.5.0/24", "pcx-1")),
            "rtb-00000001 has a route to 172.31.5.0/24 through pcx-1 already",
            "--route-tables",
        ),
        (
            |c| c.region().route_tables[1].routes.push(route("10.0.0.0/16", "pcx-1")),
            "rtb-00000002 has a route to 10.0.0.0/16 through pcx-1 already",
            "--site-route-tables",
        ),
        (
            |c| c.region().route_tables[1].routes.retain(|r| r.target.as_str() == "local"),
            "i-00000001 (gateway) has no route to the Internet",
            "--instance",
        ),
        (
            |c| c.region().vpcs[0].cidrs.push(net("10.3.0.0/16")),
            "vpc-00000001 has several networks",
            "--cloud-cidr 10.0.0.0/14",
        ),
        (
            |c| c.region().vpcs[1].cidrs.push(net("172.30.0.0/16")),
            "vpc-00000002 has several networks",
            "--site-cidr 172.30.0.0/15",
        ),
        (
            |c| c.region().vpcs[0].cidrs.push(net("100.64.0.0/16")),
            "vpc-00000001 has several networks",
            "give one of them with --cloud-cidr",
        ),
        (
            |c| c.declared.cloud_cidr = Some("0.0.0.0/1".parse().unwrap()),
            "0.0.0.0/1 as the VPC's network reaches into the Internet",
            "--cloud-cidr",
        ),
        (
            |c| c.declared.site_cidr = Some("128.0.0.0/2".parse().unwrap()),
            "128.0.0.0/2 as the site's network reaches into the Internet",
            "--site-cidr",
        ),
        (
            |c| {
                c.region().vpcs[0].cidrs = vec![net("172.31.128.0/20")];
                c.declared.site_cidr = Some("172.31.16.0/20".parse().unwrap());
            },
            "overlaps 172.31.0.0/16 of the server's own VPC",
            "--cloud-cidr",
        ),
        (
            |c| drop(c.region().transit.insert(id("vpc-00000001"), id("tgw-1"))),
            "vpc-00000001 hangs on the transit gateway tgw-1",
            "--vpc",
        ),
        (
            |c| c.region().addresses.extend((0..4).map(address)),
            "eu-west-1 has 5 Elastic IPs, AWS's default quota",
            "--quota-raised",
        ),
        (
            |c| c.region().vpn_gateways = ["a", "b", "c", "d", "e"].map(gateway).to_vec(),
            "eu-west-1 has 5 VPN gateways, AWS's default quota",
            "attach one of them to the VPC, or remove one; or raise the quota L-7029FAB6 and say \
             --quota-raised",
        ),
        (
            |c| c.region().customer_gateways = (0..50).map(customer).collect(),
            "eu-west-1 has 50 customer gateways, AWS's default quota",
            "--quota-raised",
        ),
        (
            |c| c.declared.admin_cidr = Some("10.0.7.0/24".parse().unwrap()),
            "administrators in 10.0.7.0/24 would be cut off",
            "--admin-cidr",
        ),
        (
            |c| {
                let ours = (id("cgw-x"), id("vgw-x"));
                let one = |n| {
                    let name = id(&format!("vpn-{n}"));
                    connection(&name, &ours.0, &ours.1, Crypto::Guide, n, Tags::default())
                };
                c.region().connections = (0..50).map(one).collect();
            },
            "eu-west-1 has 50 VPN connections, AWS's default quota",
            "--quota-raised",
        ),
        (
            |c| {
                let (name, vpc) = ("cgw-office-lock".to_owned(), id("vpc-00000001"));
                // A stack of the name «office-lock» has such a record.
                let tags = tags(&[(STACK, "office-lock"), (NODE, "stack-record")]);
                c.region().groups.push(Group { id: id("sg-other"), name, vpc, tags });
            },
            "sg-other in vpc-00000001 is named cgw-office-lock, and is not this stack's",
            "--stack",
        ),
        (
            |c| c.operator = Some(Ipv4Addr::new(10, 0, 7, 7)),
            "this machine (10.0.7.7) is inside the VPC's network",
            "--cloud-cidr",
        ),
        (
            |c| neighbour(c, "10.0.128.0/17"),
            "the server leads to 10.0.128.0/17 for the stack other, and 10.0.0.0/16 overlaps that",
            "--cloud-cidr",
        ),
        (
            |c| {
                let groups = (1..=5).map(|n| id(&format!("sg-of-others-{n}"))).collect();
                c.region().interfaces[0].groups = groups;
            },
            "has 5 security groups, AWS's default quota",
            "--quota-raised",
        ),
        (
            |c| {
                let moved = &mut c.region().addresses[0];
                moved.interface = Some(id("eni-00000002"));
                moved.tags = tags(&[
                    (STACK, "office"),
                    (NODE, "elastic-ip"),
                    ("cgw:office:elastic-ip-association", "eni-00000002"),
                    ("cgw:other:elastic-ip-association", "eni-00000002"),
                ]);
            },
            "198.51.100.77 (eipalloc-0000000a) serves eni-00000002",
            "--eip",
        ),
        (
            |c| {
                c.region().instances[0].vpc = Some(id("vpc-00000001"));
                c.region().interfaces[0].vpc = id("vpc-00000001");
            },
            "is inside vpc-00000001, the VPC that the VPN leads to",
            "--instance",
        ),
        (
            |c| c.declared.site_cidr = Some("169.254.0.0/16".parse().unwrap()),
            "the site's network 169.254.0.0/16 overlaps 169.254.0.0/16",
            "--site-cidr",
        ),
        (
            |c| c.declared.private_ip = Some(Ipv4Addr::new(172, 31, 16, 99)),
            "i-00000001 (gateway) has no interface with that private address",
            "--private-ip",
        ),
        (
            |c| {
                c.place.region = "us-gov-west-1".to_owned();
                here(&mut c.world).place = c.place.clone();
                c.declared.crypto = Some(Crypto::Guide);
            },
            "AWS GovCloud does not accept the guide's suites",
            "--crypto",
        ),
        (
            |c| {
                let eip = "eipalloc-0000000a";
                c.declared.eip = Some(eip.parse().unwrap());
                c.region().addresses[0].interface = Some(id("eni-00000002"));
            },
            "198.51.100.77 (eipalloc-0000000a) serves eni-00000002",
            "--eip",
        ),
    ];
    for (change, sentence, flag) in rows {
        let refusals = Case::of(change).refusals();
        let said = refusals.iter().find(|refusal| refusal.text.contains(sentence));
        let said = said.unwrap_or_else(|| panic!("{sentence}: {refusals:?}"));
        assert!(said.hint.contains(flag), "{said:?}");
    }
}

/// Has the server lead to another VPC already, for another stack.
fn neighbour(case: &mut Case, net: &str) {
    let declared = [("cgw:declared:instance", "i-00000001"), ("cgw:declared:cloud-cidr", net)];
    let tags = tags(&[&[(STACK, "other"), (NODE, "stack-record")], &declared[..]].concat());
    let (vpc, name) = (id("vpc-0000000c"), "cgw-other".to_owned());
    let region = case.region();
    region.groups.push(Group { id: id("sg-of-other"), name, vpc, tags });
    region.interfaces[0].source_dest_check = false;
    region.interfaces[0].tags = crate::model::tags(&[("cgw:other:source-dest-check", "true")]);
    region.addresses[0].interface = Some(region.interfaces[0].id.clone());
    region.addresses[0].tags = crate::model::tags(&[
        (STACK, "other"),
        (NODE, "elastic-ip"),
        ("cgw:other:elastic-ip-association", region.interfaces[0].id.as_str()),
    ]);
}

#[test]
fn a_server_may_serve_several_stacks_and_what_they_share_is_said() {
    let case = Case::of(|c| neighbour(c, "10.77.0.0/16"));
    let situation = case.examine().expect("nothing stands in the way");
    let Site::Instance(server) = &situation.site else { panic!("an instance was named") };
    let shared = PublicIp::Adopted {
        id: id("eipalloc-0000000a"),
        ip: Ipv4Addr::new(198, 51, 100, 77),
        link: Link::Shared,
    };
    assert_eq!(server.public_ip, shared);
    // The first stack has switched it off: what it was before is what that one says.
    assert!(server.source_dest_check);
    let said = |text: &str| situation.notes.iter().any(|note| note.contains(text));
    assert!(said("the server is the gateway of other too"), "{:?}", situation.notes);
}

#[test]
fn a_quota_is_no_matter_where_what_exists_is_used() {
    let case = Case::of(|c| {
        c.declared.eip = Some("eipalloc-0000000a".parse().unwrap());
        c.region().customer_gateways = (0..50).map(customer).collect();
        c.region().customer_gateways[7].ip = Some(Ipv4Addr::new(198, 51, 100, 77));
    });
    assert_eq!(case.examine().unwrap().customer, Some(id("cgw-7")));
}

#[test]
fn what_networks_hold_besides_is_said() {
    let notes = |change: fn(&mut Case)| Case::of(change).examine().unwrap().notes.join("\n");
    let said = notes(|c| c.declared.admin_cidr = Some("0.0.0.0/0".parse().unwrap()));
    assert!(said.contains("may come from 0.0.0.0/0, but not from 10.0.0.0/16 in it"), "{said}");
    let said = notes(|c| {
        c.region().vpcs[1].cidrs = vec![net("128.0.0.0/8")];
        c.region().interfaces[0].private_ip = Some(Ipv4Addr::new(128, 1, 2, 3));
    });
    assert!(!said.contains("addresses of the Internet"), "the VPC's own are: {said}");
    let said = notes(|c| {
        let declared = &mut c.declared;
        declared.instance = None;
        declared.gateway_ip = "203.0.113.10".parse().ok();
        declared.private_ip = "141.1.2.3".parse().ok();
        declared.site_cidr = "141.1.0.0/16".parse().ok();
    });
    assert!(said.contains("141.1.0.0/16 holds addresses of the Internet"), "{said}");
}

#[test]
fn that_nothing_keeps_a_tunnel_up_is_said_where_scripts_could() {
    let is_said = |via, ping: Option<&str>| {
        let situation = Case::of(|c| {
            c.declared.via = Some(via);
            c.declared.ping = ping.map(|ping| ping.parse().unwrap());
        });
        let notes = situation.examine().unwrap().notes;
        notes.iter().any(|n| n.starts_with("without --ping nothing keeps a tunnel up"))
    };
    assert!(is_said(Via::Ssh, None) && is_said(Via::Files, None));
    assert!(!is_said(Via::Ssh, Some("10.0.1.10")) && !is_said(Via::Files, Some("10.0.1.10")));
    assert!(!is_said(Via::None, None));
}

#[test]
fn raised_quotas_are_believed() {
    let case = Case::of(|c| {
        c.region().addresses.extend((0..4).map(address));
        c.region().vpn_gateways = ["a", "b", "c", "d", "e"].map(gateway).to_vec();
        c.quota_raised = true;
    });
    assert!(case.examine().is_ok());
}

#[test]
fn a_gateway_of_others_is_used_and_said_but_not_where_a_connection_joins_the_same_two() {
    let adopted = |c: &mut Case| {
        let attachment = Some((id("vpc-00000001"), "attached".to_owned()));
        c.region().vpn_gateways.push(Gateway { attachment, ..gateway("vgw-theirs") });
        c.declared.eip = Some("eipalloc-0000000a".parse().unwrap());
        let ip = Some(Ipv4Addr::new(198, 51, 100, 77));
        c.region().customer_gateways.push(Customer {
            id: id("cgw-theirs"),
            state: "available".to_owned(),
            ip,
            asn: "65000".to_owned(),
            device: None,
            tags: Tags::default(),
        });
    };
    let situation = Case::of(adopted).examine().unwrap();
    assert_eq!(situation.cloud.gateway, Some(id("vgw-theirs")));
    assert_eq!(situation.customer, Some(id("cgw-theirs")));
    let said = situation.notes.join("\n");
    assert!(said.contains("vgw-theirs already, which is not this stack's"), "{said}");
    let joined = Case::of(|c| {
        adopted(c);
        let (customer, gateway) = (id("cgw-theirs"), id("vgw-theirs"));
        let theirs = tags(&[(STACK, "other"), (NODE, "vpn-connection")]);
        let (vpn, crypto) = (id("vpn-theirs"), Crypto::Guide);
        c.region().connections = vec![connection(&vpn, &customer, &gateway, crypto, 900, theirs)];
    });
    assert!(joined.refusals()[0].text.contains("vpn-theirs joins cgw-theirs and vgw-theirs"));
}

#[test]
fn without_a_named_server_the_only_one_that_could_be_is_taken_and_several_are_listed() {
    let several = Case::of(|c| c.declared.instance = None);
    let Err(Stop::Choose(candidates)) = several.examine() else { panic!("nobody has to choose") };
    let labels: Vec<&str> = candidates.iter().map(|c| c.label.as_str()).collect();
    assert_eq!(labels, ["i-00000001 (gateway)", "i-00000002 (spare)"]);
    let one = Case::of(|c| {
        c.declared.instance = None;
        c.region().instances[1].state = "stopped".to_owned();
    });
    let found = one.examine().unwrap().declared.instance.unwrap();
    assert_eq!(found.to_string(), "i-00000001");
}

#[test]
fn by_default_only_tables_without_a_way_out_get_a_route() {
    let case = Case::of(|c| {
        let mut public = c.region().route_tables[0].clone();
        public.id = id("rtb-public");
        public.routes.push(route("0.0.0.0/0", "igw-2"));
        public.associations = Vec::new();
        c.region().route_tables.push(public);
    });
    let tables: BTreeSet<_> = case.examine().unwrap().cloud.tables.into_iter().collect();
    assert_eq!(tables, BTreeSet::from([id("rtb-00000001")]));
}

#[test]
fn the_way_to_the_server_is_chosen_once_and_said() {
    let of = |change: &dyn Fn(&mut Case)| {
        let situation = Case::of(|case| change(case)).examine().unwrap();
        assert_eq!(situation.declared.via, Some(situation.via));
        let note = format!("the scripts go to the server by {};", situation.via);
        assert!(situation.notes.iter().any(|n| n.starts_with(&note)), "{:?}", situation.notes);
        situation.via
    };
    let key = || Some("key.pem".parse().unwrap());
    assert_eq!(of(&|case| case.is_managed = true), Via::Ssm);
    assert_eq!(of(&|case| case.declared.identity = key()), Via::Ssh);
    assert_eq!(of(&|_| {}), Via::Winrm);
    let said = |case: &mut Case| (case.is_managed, case.declared.via) = (true, Some(Via::Ssh));
    assert_eq!(of(&said), Via::Ssh);
}

#[test]
fn a_host_to_ping_is_behind_the_tunnels() {
    let refused = |ping: &str| {
        let case = Case::of(|case| case.declared.ping = Some(ping.parse().unwrap()));
        case.refusals().into_iter().map(|refusal| refusal.text).collect::<Vec<_>>()
    };
    assert_eq!(refused("10.0.1.10"), Vec::<String>::new());
    assert_eq!(refused("8.8.8.8"), ["8.8.8.8 is not in the VPC's network 10.0.0.0/16"]);
}

/// What is wrong with a launch.
fn not_launched(change: impl FnOnce(&mut Case)) -> Vec<String> {
    let case = Case::of(|case| {
        case.declared = launching();
        change(case);
    });
    let refusals = case.asked(launch).err().unwrap_or_default();
    refusals.into_iter().map(|refusal| refusal.text).collect()
}

#[test]
fn whatever_would_be_refused_once_the_server_runs_is_refused_before_it_costs_money() {
    assert_eq!(not_launched(|_| {}), Vec::<String>::new());
    let overlap = not_launched(|case| case.region().vpcs[1].cidrs = vec![net("10.0.0.0/16")]);
    assert!(overlap[0].contains("overlap"), "{overlap:?}");
    let ping = not_launched(|case| case.declared.ping = Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert!(ping[0].contains("is not in the VPC's network"), "{ping:?}");
    let inside = not_launched(|case| {
        case.declared.launch_subnet = Some("subnet-00000001".parse().unwrap());
    });
    assert!(inside[0].contains("the VPC that the VPN leads to"), "{inside:?}");
    let unknown = not_launched(|case| {
        case.declared.launch_subnet = Some("subnet-00000009".parse().unwrap());
    });
    assert!(unknown[0].contains("does not exist"), "{unknown:?}");
    let private = not_launched(|case| {
        case.region().route_tables[1].routes.pop();
    });
    assert!(private[0].contains("no route to an Internet gateway"), "{private:?}");
}

#[test]
fn a_server_to_which_nobody_could_log_in_is_not_launched() {
    let no_key = not_launched(|case| case.declared.key_pair = None);
    assert!(no_key[0].contains("no key pair"), "{no_key:?}");
    let nobody = not_launched(|case| case.declared.admin_cidr = None);
    assert!(nobody[0].contains("is administered"), "{nobody:?}");
    for (via, sentence) in [
        (Via::Winrm, "password cannot be read"),
        (Via::WinrmHttp, "over TLS only"),
        (Via::Ssm, "Systems Manager"),
    ] {
        let wrong = not_launched(|case| case.declared.via = Some(via));
        assert!(wrong.len() == 1 && wrong[0].contains(sentence), "{wrong:?}");
    }
    let none = not_launched(|case| {
        let all = &mut case.declared;
        (all.via, all.key_pair, all.admin_cidr) = (Some(Via::None), None, None);
    });
    assert_eq!(none, Vec::<String>::new());
}

#[test]
fn a_server_that_is_there_is_not_launched_beside() {
    let refused = Case::of(|case| case.declared.launch = Some("t3.large".to_owned())).refusals();
    assert!(refused[0].text.contains("was not launched by this stack"), "{refused:?}");
}
