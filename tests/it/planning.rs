//! Planning by value: what any mix of present, missing, changed, duplicated and foreign objects
//! comes to; and the plans of the usual cases as snapshots.

use std::collections::BTreeSet;

use cgw::address::{AwsId, Id};
use cgw::aws::{NODE, STACK, Tags};
use cgw::plan::{Change, Plan};
use cgw::preflight::{Refusal, Situation, Stop};
use cgw::resource;
use cgw::spec::{Declared, Via};
use cgw::topology::{desired, for_the_owner};
use cgw::tunnel::{Crypto, Suites};
use cgw::ui::tell_plan;
use cgw::world::{ElasticAddress, Gateway, Group, GroupRule, World};
use proptest::prelude::*;

use crate::model::{
    after, base, connection, declared, default_rule, down, first, here, id, launching, net, place,
    situation, stack, tags, up, variants,
};

/// One thing that happened to a world behind cgw's back.
#[derive(Debug, Clone, Copy)]
enum Event {
    LoseGroup(usize),
    LoseRule(usize),
    LoseAddress,
    LoseCustomer,
    LoseGateway,
    LoseConnection,
    LosePrefix,
    LoseRoute(usize),
    LosePropagation(usize),
    LoseMembership,
    LoseRecordTag,
    Detach,
    Disassociate,
    SwitchCheckOn,
    OtherSuites(usize),
    OtherTarget(usize),
    DefaultRule(usize),
    TwiceAddress,
    TwiceGateway,
    TwiceConnection,
    TwiceCustomer,
    Going,
    Foreign,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = prop_oneof![
        (0usize..3).prop_map(Event::LoseGroup),
        (0usize..40).prop_map(Event::LoseRule),
        Just(Event::LoseAddress),
        Just(Event::LoseCustomer),
        Just(Event::LoseGateway),
        Just(Event::LoseConnection),
        Just(Event::LosePrefix),
        (0usize..2).prop_map(Event::LoseRoute),
        (0usize..2).prop_map(Event::LosePropagation),
        Just(Event::LoseMembership),
        Just(Event::LoseRecordTag),
        Just(Event::Detach),
        Just(Event::Disassociate),
        Just(Event::SwitchCheckOn),
        (0usize..2).prop_map(Event::OtherSuites),
        (0usize..2).prop_map(Event::OtherTarget),
        (0usize..3).prop_map(Event::DefaultRule),
        Just(Event::TwiceAddress),
        Just(Event::TwiceGateway),
        Just(Event::TwiceConnection),
        Just(Event::TwiceCustomer),
        Just(Event::Going),
        Just(Event::Foreign),
    ];
    prop::collection::vec(one, 0..6)
}

#[expect(clippy::too_many_lines, reason = "one arm an event")]
fn happen(world: &mut World, event: Event, number: usize) {
    let region = here(world);
    let is_own = |tags: &Tags| tags.stack() == Some("office");
    let twin = |id: &AwsId| AwsId::new(format!("{id}-twin{number}"));
    match event {
        Event::LoseGroup(n) => {
            let own: Vec<AwsId> =
                region.groups.iter().filter(|g| is_own(&g.tags)).map(|g| g.id.clone()).collect();
            // AWS deletes no group that an interface is in.
            let used = |id: &AwsId| region.interfaces.iter().any(|i| i.groups.contains(id));
            if let Some(lost) = own.get(n).filter(|id| !used(id)).cloned() {
                region.groups.retain(|g| g.id != lost);
                region.rules.retain(|r| r.group != lost);
            }
        }
        Event::LoseRule(n) if !region.rules.is_empty() => {
            let n = n % region.rules.len();
            if is_own(&region.rules[n].tags) {
                region.rules.remove(n);
            }
        }
        Event::LoseRule(_) => {}
        Event::LoseAddress => region.addresses.retain(|a| !is_own(&a.tags)),
        Event::LoseCustomer => region.customer_gateways.retain(|c| !is_own(&c.tags)),
        Event::LoseGateway => region.vpn_gateways.retain(|g| !is_own(&g.tags)),
        Event::LoseConnection => region.connections.retain(|c| !is_own(&c.tags)),
        Event::LosePrefix => region
            .connections
            .iter_mut()
            .filter(|c| is_own(&c.tags))
            .for_each(|c| c.prefixes.clear()),
        Event::LoseRoute(n) => region.route_tables[n]
            .routes
            .retain(|r| matches!(r.target.as_str(), "local" | "igw-00000001")),
        Event::LosePropagation(n) => region.route_tables[n].propagating.clear(),
        Event::LoseMembership => {
            region.interfaces[0].groups = BTreeSet::from([id("sg-user")]);
        }
        Event::LoseRecordTag => region.groups.iter_mut().for_each(|g| {
            g.tags.0.remove("cgw:declared:instance");
        }),
        Event::Detach => region
            .vpn_gateways
            .iter_mut()
            .filter(|g| is_own(&g.tags))
            .for_each(|g| g.attachment = None),
        Event::Disassociate => {
            region.addresses.iter_mut().filter(|a| is_own(&a.tags)).for_each(|a| {
                (a.association, a.interface) = (None, None);
            });
        }
        Event::SwitchCheckOn => region.interfaces[0].source_dest_check = true,
        Event::OtherSuites(n) => {
            if let Some(own) = region.connections.iter_mut().find(|c| is_own(&c.tags)) {
                own.tunnels[n].suites = Suites::of(Crypto::Strong);
            }
        }
        Event::OtherTarget(n) => {
            let routes = &mut region.route_tables[n].routes;
            let own =
                routes.iter_mut().find(|r| !matches!(r.target.as_str(), "local" | "igw-00000001"));
            if let Some(route) = own {
                route.target = id("pcx-00000001");
            }
        }
        Event::DefaultRule(n) => {
            let own: Vec<AwsId> =
                region.groups.iter().filter(|g| is_own(&g.tags)).map(|g| g.id.clone()).collect();
            if let Some(group) = own.get(n) {
                region.rules.push(GroupRule {
                    id: AwsId::new(format!("sgr-default{number}")),
                    group: group.clone(),
                    rule: Some(default_rule()),
                    referenced: None,
                    tags: Tags::default(),
                });
            }
        }
        Event::TwiceAddress => {
            let own = region.addresses.iter().find(|a| is_own(&a.tags)).cloned();
            region.addresses.extend(own.map(|a| ElasticAddress {
                id: twin(&a.id),
                ip: std::net::Ipv4Addr::new(192, 0, 2, u8::try_from(number).unwrap_or(250)),
                association: None,
                interface: None,
                tags: a.tags,
            }));
        }
        Event::TwiceGateway => {
            let own = region.vpn_gateways.iter().find(|g| is_own(&g.tags)).cloned();
            region.vpn_gateways.extend(own.map(|g| Gateway {
                id: twin(&g.id),
                attachment: None,
                ..g
            }));
        }
        Event::TwiceConnection => {
            let own = region.connections.iter().find(|c| is_own(&c.tags)).cloned();
            region.connections.extend(own.map(|c| cgw::world::Connection { id: twin(&c.id), ..c }));
        }
        Event::TwiceCustomer => {
            let own = region.customer_gateways.iter().find(|c| is_own(&c.tags)).cloned();
            region
                .customer_gateways
                .extend(own.map(|c| cgw::world::Customer { id: twin(&c.id), ..c }));
        }
        Event::Going => {
            if let Some(own) = region.connections.iter_mut().find(|c| is_own(&c.tags)) {
                "deleting".clone_into(&mut own.state);
            }
        }
        Event::Foreign => foreign(world, number),
    }
}

/// Another stack's things, and a stranger's.
fn foreign(world: &mut World, number: usize) {
    let region = here(world);
    let named = |prefix: &str| AwsId::new(format!("{prefix}-foreign{number}"));
    let other = |node: &str| tags(&[(STACK, "other"), (NODE, node)]);
    region.groups.push(Group {
        id: named("sg"),
        name: format!("cgw-other{number}"),
        vpc: id("vpc-00000001"),
        tags: other("stack-record"),
    });
    region.vpn_gateways.push(Gateway {
        id: named("vgw"),
        state: "available".to_owned(),
        asn: 64512,
        attachment: Some((named("vpc"), "attached".to_owned())),
        tags: other("vpn-gateway"),
    });
    region.connections.push(connection(
        &named("vpn"),
        &named("cgw"),
        &named("vgw"),
        Crypto::Guide,
        u32::try_from(number).unwrap_or(0) + 5000,
        other("vpn-connection"),
    ));
    region.addresses.push(ElasticAddress {
        id: named("eipalloc"),
        ip: std::net::Ipv4Addr::new(192, 0, 2, 200 + u8::try_from(number % 50).unwrap_or(0)),
        association: None,
        interface: None,
        tags: Tags::default(),
    });
}

fn touched(plan: &Plan) -> BTreeSet<String> {
    plan.changes()
        .filter_map(|step| Some(step.id.as_ref()?.owner().to_string()))
        .filter(|id| id.contains("foreign") || id.contains("sg-user"))
        .collect()
}

/// The same world, told in another order.
fn turned(world: &World) -> World {
    let mut world = world.clone();
    let region = here(&mut world);
    region.groups.reverse();
    region.rules.reverse();
    region.addresses.reverse();
    region.vpn_gateways.reverse();
    region.customer_gateways.reverse();
    region.connections.reverse();
    region.route_tables.reverse();
    region.interfaces.reverse();
    world
}

/// Says what is not as `up` should leave it.
fn lacking(world: &World) -> Option<&'static str> {
    match whole(world) {
        None => Some("an object of its own"),
        Some(checks) => checks.into_iter().find(|(_, holds)| !holds).map(|(what, _)| what),
    }
}

/// What must hold, and whether it does; `None`: an object is missing.
fn whole(world: &World) -> Option<Vec<(&'static str, bool)>> {
    let region = &world.regions[0];
    let mut nodes: Vec<String> =
        resource::find(world, &stack()).iter().map(|live| live.address.node()).collect();
    let count = nodes.len();
    nodes.sort();
    nodes.dedup();
    let own = |tags: &Tags, node: &str| tags.node_key(&stack(), node).is_some();
    let interface = &region.interfaces[0];
    let group = region.groups.iter().find(|g| own(&g.tags, "gateway-security-group"))?;
    let gateway = region.vpn_gateways.iter().find(|g| own(&g.tags, "vpn-gateway"))?;
    let connection = region.connections.iter().find(|c| own(&c.tags, "vpn-connection"))?;
    let address = region.addresses.iter().find(|a| own(&a.tags, "elastic-ip"))?;
    let leads = |table: usize, cidr: &str, target: &AwsId| {
        region.route_tables[table].routes.iter().any(|r| r.cidr == net(cidr) && &r.target == target)
    };
    let rules = |node: &str| region.rules.iter().filter(|r| own(&r.tags, node)).count();
    let has_default =
        |id: &AwsId| region.rules.iter().any(|r| &r.group == id && r.rule == Some(default_rule()));
    let checks = [
        ("every node is there", count == 17),
        ("no node is there twice", count == nodes.len()),
        ("the check is off", !interface.source_dest_check),
        ("the group is on the interface", interface.groups.contains(&group.id)),
        ("the user's group stays", interface.groups.contains(&id("sg-user"))),
        ("the gateway is attached", gateway.attachment.as_ref().is_some_and(|a| a.1 == "attached")),
        ("the connection is there to stay", connection.state == "available"),
        (
            "the suites are right",
            connection.tunnels.iter().all(|t| t.suites == Suites::of(Crypto::Modern)),
        ),
        ("the prefix is there", connection.prefixes.contains(&net("172.31.0.0/16"))),
        ("the address serves", address.interface.as_ref() == Some(&interface.id)),
        ("the VPC's route", leads(0, "172.31.0.0/16", &gateway.id)),
        ("the site's route", leads(1, "10.0.0.0/16", &interface.id)),
        ("propagation", region.route_tables[0].propagating.contains(&gateway.id)),
        ("the tunnels' rules", rules("tunnel-rules") == 16),
        ("the gateway's rules", rules("gateway-security-group") == 3),
        ("nothing may leave by default", !has_default(&group.id)),
    ];
    Some(checks.to_vec())
}

fn foreign_parts(world: &World) -> World {
    let mut world = world.clone();
    let region = here(&mut world);
    let is_foreign = |id: &AwsId| id.as_str().contains("foreign");
    region.groups.retain(|o| is_foreign(&o.id));
    region.vpn_gateways.retain(|o| is_foreign(&o.id));
    region.connections.retain(|o| is_foreign(&o.id));
    region.addresses.retain(|o| is_foreign(&o.id));
    region.rules.clear();
    region.customer_gateways.clear();
    region.interfaces.clear();
    region.route_tables.clear();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_plan(happened in events()) {
        let whole = after(&base(), &up(&base(), &declared()).unwrap());
        let mut world = whole;
        for (n, event) in happened.iter().enumerate() {
            happen(&mut world, *event, n);
        }
        let before = foreign_parts(&world);
        let first = match up(&world, &declared()) {
            Ok(plan) => plan,
            // Its quota of gateways or addresses may be used up by what is foreign or twice.
            Err(Stop::Refused(refusals)) => {
                prop_assume!(!refusals.iter().all(|r| r.text.contains("quota")));
                return Err(TestCaseError::fail(format!("{refusals:?}")));
            }
            Err(Stop::Choose(_)) => return Err(TestCaseError::fail("the server is named")),
        };
        let told = |plan: &Plan| serde_json::to_string(plan).unwrap();
        prop_assert_eq!(told(&first), told(&up(&turned(&world), &declared()).unwrap()));
        prop_assert_eq!(touched(&first), BTreeSet::new());
        let world = after(&world, &first);
        let second = up(&world, &declared()).unwrap();
        prop_assert!(second.is_empty() && second.left.is_empty(), "{}", tell_plan(&second, &[], &[]));
        prop_assert_eq!(lacking(&world), None);
        let last = down(&world);
        prop_assert_eq!(touched(&last), BTreeSet::new());
        let world = after(&world, &last);
        prop_assert!(down(&world).steps.is_empty(), "{}", tell_plan(&down(&world), &[], &[]));
        prop_assert_eq!(foreign_parts(&world), before);
    }

    #[test]
    fn a_changed_declaration_converges_and_leaves_no_trace(
        first in 0..variants().len(), second in 0..variants().len(), happened in events(),
    ) {
        let (first, second) = (&variants()[first], &variants()[second]);
        let mut world = after(&base(), &up(&base(), first).unwrap());
        for (n, event) in happened.iter().enumerate() {
            happen(&mut world, *event, n);
        }
        let plan = match up(&world, second) {
            Ok(plan) => plan,
            Err(Stop::Refused(refusals)) => {
                // What somebody led elsewhere is theirs where it is declared no longer.
                let is_known = |r: &Refusal| r.text.contains("quota") || r.text.contains("pcx-");
                prop_assume!(!refusals.iter().all(is_known));
                return Err(TestCaseError::fail(format!("{refusals:?}")));
            }
            Err(Stop::Choose(_)) => return Err(TestCaseError::fail("the server is named")),
        };
        prop_assert_eq!(touched(&plan), BTreeSet::new());
        let world = after(&world, &plan);
        let again = up(&world, second).unwrap();
        prop_assert!(again.is_empty() && again.left.is_empty(), "{}", tell_plan(&again, &[], &[]));
        let mut nodes: Vec<String> =
            resource::find(&world, &stack()).iter().map(|live| live.address.node()).collect();
        nodes.sort();
        let all = desired(&situation(&world, second).unwrap());
        let mut declared: Vec<String> =
            all.iter().filter(|n| n.adopt.is_none()).map(|n| n.address.node()).collect();
        declared.sort();
        prop_assert_eq!(nodes, declared);
        let end = after(&world, &down(&world));
        prop_assert!(down(&end).steps.is_empty());
        if happened.is_empty() {
            prop_assert_eq!(end, base());
        }
    }

    #[test]
    fn down_leaves_nothing_of_whatever_there_is(happened in events()) {
        let mut world = after(&base(), &up(&base(), &declared()).unwrap());
        for (n, event) in happened.iter().enumerate() {
            happen(&mut world, *event, n);
        }
        let before = foreign_parts(&world);
        let world = after(&world, &down(&world));
        prop_assert!(down(&world).steps.is_empty(), "{}", tell_plan(&down(&world), &[], &[]));
        prop_assert!(!world.stacks().contains("office"));
        prop_assert_eq!(foreign_parts(&world), before);
    }
}

#[test]
fn up_and_down_again_is_the_world_as_it_was() {
    let whole = after(&base(), &up(&base(), &declared()).unwrap());
    assert_eq!(lacking(&whole), None);
    assert_eq!(after(&whole, &down(&whole)), base());
}

#[test]
fn what_others_use_is_left_and_the_record_with_it() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    let region = here(&mut world);
    let gateway = region.vpn_gateways[0].id.clone();
    let theirs = connection(
        &id("vpn-theirs"),
        &id("cgw-theirs"),
        &gateway,
        Crypto::Guide,
        900,
        Tags::default(),
    );
    region.connections.push(theirs);
    let plan = down(&world);
    let left: Vec<&str> = plan.left.iter().map(|left| left.address.kind).collect();
    assert!(left.contains(&"vpn-gateway") && left.contains(&"stack-record"), "{left:?}");
    assert!(!plan.changes().any(|s| s.id == Some(Id::Aws(gateway.clone()))));
    assert!(!plan.changes().any(|s| s.id == Some(Id::Aws(id("vpn-theirs")))));
}

#[test]
fn a_value_that_somebody_changed_since_is_left_alone() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    for table in &mut here(&mut world).route_tables {
        table
            .routes
            .iter_mut()
            .filter(|r| r.cidr == net("172.31.0.0/16") && r.target.as_str() != "local")
            .for_each(|r| r.target = id("pcx-theirs"));
    }
    let world = after(&world, &down(&world));
    let kept = world.regions[0].route_tables.iter().flat_map(|t| &t.routes);
    assert_eq!(kept.filter(|r| r.target.as_str() == "pcx-theirs").count(), 1);
}

#[test]
fn the_stacks_own_address_named_with_its_flag_changes_nothing() {
    let whole = after(&base(), &up(&base(), &declared()).unwrap());
    let own = whole.regions[0].addresses.iter().find(|a| a.tags.belongs_to(&stack())).unwrap();
    let mut world = whole.clone();
    // Ids of the model are not well-formed enough to be named.
    let named = "eipalloc-0000000b";
    let number = whole.regions[0].addresses.iter().position(|a| a.id == own.id).unwrap();
    here(&mut world).addresses[number].id = id(named);
    let eip = Some(named.parse().unwrap());
    let plan = up(&world, &Declared { eip, ..declared() }).unwrap();
    let changed: Vec<String> = plan.changes().map(|s| s.key.address().node()).collect();
    assert_eq!(changed, ["stack-record"], "only what was declared is new");
}

#[test]
fn the_stacks_address_is_left_where_somebody_moved_it() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    let region = here(&mut world);
    let own = region.addresses.iter_mut().find(|a| a.tags.belongs_to(&stack())).unwrap();
    own.interface = Some(id("eni-00000002"));
    let Err(Stop::Refused(refusals)) = up(&world, &declared()) else { panic!("it was planned") };
    assert!(refusals[0].text.contains("serves eni-00000002"), "{refusals:?}");
    let plan = down(&world);
    let left: Vec<&str> = plan.left.iter().map(|left| left.address.kind).collect();
    assert_eq!(left, ["elastic-ip", "stack-record"]);
    let kind = |kind: &str| plan.changes().any(|s| s.key.address().kind == kind);
    assert!(!kind("elastic-ip") && !kind("elastic-ip-association") && kind("vpn-connection"));
    // And it stays so, however often it is asked.
    let again = down(&after(&world, &plan));
    assert!(again.is_empty() && again.left.len() == 2, "{}", tell_plan(&again, &[], &[]));
}

#[test]
fn another_stacks_address_is_not_taken() {
    let mut world = base();
    here(&mut world).addresses[0].tags = tags(&[(STACK, "other"), (NODE, "elastic-ip")]);
    let eip = Some("eipalloc-0000000a".parse().unwrap());
    let Err(Stop::Refused(refusals)) = up(&world, &Declared { eip, ..declared() }) else {
        panic!("it was planned")
    };
    assert!(refusals[0].text.contains("belongs to the stack other"), "{refusals:?}");
}

#[test]
fn an_equal_rule_that_somebody_made_is_there_already() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    for rule in &mut here(&mut world).rules {
        let node = rule.tags.value(NODE).unwrap_or_default().to_owned();
        let is_one = rule.rule.as_ref().is_some_and(|r| r.protocol == "icmp" || r.protocol == "50");
        if is_one && node != "workload-security-group" {
            rule.tags = Tags::default();
        }
    }
    let plan = up(&world, &declared()).unwrap();
    assert!(plan.is_empty(), "{}", tell_plan(&plan, &[], &[]));
}

#[test]
fn of_two_connections_the_one_that_carries_traffic_stays() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    let connections = &mut here(&mut world).connections;
    let mut used = connections[0].clone();
    used.id = id("vpn-zzzz");
    used.telemetry = vec![cgw::world::Telemetry {
        outside: used.tunnels[0].outside,
        is_up: true,
        since: None,
        message: String::new(),
    }];
    let idle = connections[0].id.clone();
    connections.push(used);
    let plan = up(&world, &declared()).unwrap();
    let ended = plan.changes().filter(|s| s.change == Change::Delete);
    let ended: Vec<&Id> = ended.filter_map(|s| s.id.as_ref()).collect();
    assert_eq!(ended, [&Id::Aws(idle)]);
}

#[test]
fn what_cannot_be_removed_cannot_be_replaced() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    let region = here(&mut world);
    let customer = region.customer_gateways[0].id.clone();
    let theirs = (id("vpn-theirs"), id("vgw-theirs"));
    let theirs = connection(&theirs.0, &customer, &theirs.1, Crypto::Guide, 900, Tags::default());
    region.connections.push(theirs);
    region.addresses.retain(|a| !a.tags.belongs_to(&stack()));
    let plan = up(&world, &declared()).unwrap();
    let stuck: Vec<&str> = plan.stuck().map(|left| left.address.kind).collect();
    assert_eq!(stuck, ["customer-gateway"]);
}

fn launched_in(world: &World) -> Option<&AwsId> {
    let mut all = world.regions[0].instances.iter();
    Some(&all.find(|i| i.tags.value(NODE) == Some("gateway-instance"))?.id)
}

#[test]
fn a_server_is_launched_first_and_goes_with_the_rest() {
    let plan = first(&base(), &launching());
    assert_eq!(plan.changes().count(), 2);
    let world = after(&base(), &plan);
    let server = launched_in(&world).expect("it is there").clone();
    let declared = Declared { instance: Some(server.as_str().parse().unwrap()), ..launching() };
    let world = after(&world, &up(&world, &declared).unwrap());
    assert!(up(&world, &declared).unwrap().is_empty());
    assert_eq!(after(&world, &down(&world)), base());
}

#[test]
fn a_stack_whose_server_is_gone_gets_another_and_keeps_the_rest() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    here(&mut world).instances.retain(|i| i.id != id("i-00000001"));
    here(&mut world).interfaces.retain(|i| i.id != id("eni-00000001"));
    for address in &mut here(&mut world).addresses {
        (address.association, address.interface) = (None, None);
    }
    let plan = first(&world, &launching());
    let changed: Vec<_> = plan.changes().map(|s| (s.key.address().kind, s.change.word())).collect();
    assert_eq!(changed, [("stack-record", "update"), ("gateway-instance", "create")]);
    assert!(plan.left.is_empty());
    let world = after(&world, &plan);
    let server = launched_in(&world).unwrap().as_str().parse().unwrap();
    let declared = Declared { instance: Some(server), ..launching() };
    let kept = world.regions[0].connections.clone();
    let world = after(&world, &up(&world, &declared).unwrap());
    assert_eq!(world.regions[0].connections, kept);
    assert!(up(&world, &declared).unwrap().is_empty());
}

#[test]
fn a_probe_alone_comes_and_goes() {
    let before = after(&base(), &up(&base(), &declared()).unwrap());
    let plan_with = |world: &World, probe: bool| {
        let situation = Situation { probe, ..situation(world, &declared()).unwrap() };
        let live = resource::find(world, &stack());
        cgw::plan::plan(&stack(), &desired(&situation), &live, world).only(&["probe-instance"])
    };
    // Something else is to be done too, and is not done for the probe.
    let mut lacking = before.clone();
    here(&mut lacking).rules.pop();
    let world = after(&lacking, &plan_with(&lacking, true));
    assert_eq!(world.regions[0].instances.len(), lacking.regions[0].instances.len() + 1);
    assert_eq!(after(&world, &plan_with(&world, false)), lacking);
    // Whatever comes next takes it away: a plan of all, and `down`.
    assert_eq!(
        after(&world, &up(&world, &declared()).unwrap()).regions[0].instances,
        before.regions[0].instances
    );
    assert_eq!(after(&world, &down(&world)), base());
}

#[test]
fn two_records_do_not_wait_for_each_other() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    let groups = &mut here(&mut world).groups;
    let record = groups.iter().find(|g| g.tags.value(NODE) == Some("stack-record")).cloned();
    groups.extend(record.map(|g| Group { id: id("sg-second"), ..g }));
    assert_eq!(after(&world, &down(&world)), base());
}

#[test]
fn a_stack_whose_record_is_gone_is_known_by_what_it_changed() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    let region = here(&mut world);
    region.groups.retain(|g| !g.tags.belongs_to(&stack()));
    region.rules.clear();
    region.interfaces[0].groups = BTreeSet::from([id("sg-user")]);
    region.connections.clear();
    region.customer_gateways.clear();
    region.vpn_gateways.clear();
    region.addresses.retain(|a| !a.tags.belongs_to(&stack()));
    region.route_tables[0].routes.retain(|r| r.target.as_str() == "local");
    region.route_tables[0].propagating.clear();
    assert!(world.stacks().contains("office"));
    assert_eq!(after(&world, &down(&world)), base());
}

#[test]
fn a_plan_is_covered_by_one_that_does_all_of_it_to_the_same_objects() {
    let whole = after(&base(), &up(&base(), &declared()).unwrap());
    let (fresh, all) = (up(&base(), &declared()).unwrap(), down(&whole));
    let mut less = all.clone();
    less.steps.pop();
    assert!(all.covers(&less) && !less.covers(&all) && !all.covers(&fresh));
    let mut other = all.clone();
    other.steps[0].id = Some(Id::Aws(id("sg-other")));
    assert!(!all.covers(&other), "another object");
    let crypto = |crypto| up(&whole, &Declared { crypto: Some(crypto), ..declared() }).unwrap();
    assert!(!crypto(Crypto::Strict).covers(&crypto(Crypto::Guide)), "another change");
}

fn told(world: &World, declared: &Declared) -> String {
    let plan = up(world, declared).unwrap();
    let situation = situation(world, declared).unwrap();
    tell_plan(&plan, &situation.notes, &for_the_owner(&situation))
}

#[test]
fn the_plan_of_a_fresh_stack() {
    insta::assert_snapshot!(told(&base(), &declared()));
}

#[test]
fn the_plan_of_an_own_server_with_a_private_subnet() {
    let declared = Declared {
        instance: None,
        gateway_ip: Some("203.0.113.7".parse().unwrap()),
        private_ip: Some("192.168.7.5".parse().unwrap()),
        site_cidr: Some("192.168.7.0/24".parse().unwrap()),
        subnet_cidr: Some("10.0.99.0/24".parse().unwrap()),
        via: Some(Via::Files),
        ..declared()
    };
    insta::assert_snapshot!(told(&base(), &declared));
}

#[test]
fn the_plan_with_everything_adopted() {
    let mut world = base();
    let region = here(&mut world);
    region.addresses.push(ElasticAddress {
        id: id("eipalloc-user"),
        ip: "203.0.113.9".parse().unwrap(),
        association: Some(id("eipassoc-user")),
        interface: Some(id("eni-00000001")),
        tags: Tags::default(),
    });
    region.vpn_gateways.push(Gateway {
        id: id("vgw-user"),
        state: "available".to_owned(),
        asn: 65000,
        attachment: Some((id("vpc-00000001"), "attached".to_owned())),
        tags: Tags::default(),
    });
    region.customer_gateways.push(cgw::world::Customer {
        id: id("cgw-user"),
        state: "available".to_owned(),
        ip: Some("203.0.113.9".parse().unwrap()),
        asn: "65001".to_owned(),
        device: None,
        tags: Tags::default(),
    });
    insta::assert_snapshot!(told(&world, &declared()));
    let whole = after(&world, &up(&world, &declared()).unwrap());
    assert!(up(&whole, &declared()).unwrap().is_empty());
    assert_eq!(after(&whole, &down(&whole)), world);
}

#[test]
fn the_plan_of_down() {
    let whole = after(&base(), &up(&base(), &declared()).unwrap());
    insta::assert_snapshot!(tell_plan(&down(&whole), &[], &[]));
}

#[test]
fn a_changed_address_replaces_the_chain_that_hangs_from_it() {
    let mut world = after(&base(), &up(&base(), &declared()).unwrap());
    here(&mut world).addresses.clear();
    let plan = up(&world, &declared()).unwrap();
    let replaced: Vec<&str> = plan
        .changes()
        .filter(|s| s.change.word() == "replace")
        .map(|s| s.key.address().kind)
        .collect();
    assert_eq!(replaced, ["customer-gateway", "vpn-connection"]);
    assert_eq!(place().region, "eu-west-1");
}
