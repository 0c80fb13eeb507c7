//! Security groups and their rules.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::{Answer, Call, done};
use crate::sandbox::query::Query;
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{Tree, list, map};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    description: String,
    pub(super) vpc: String,
}

/// One permission to or from one network or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    group: String,
    is_egress: bool,
    protocol: String,
    ports: Option<(i32, i32)>,
    peer: Peer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Peer {
    Network(Ipv4Net),
    Group(String),
}

/// How many rules a group may have in one direction (VPC user guide, «Amazon VPC quotas»).
const MOST: usize = 60;

pub(super) fn make_default(call: &mut Call<'_>, vpc: &str) {
    let id = call.new_id("sg");
    let group = Group {
        name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        vpc: vpc.to_owned(),
    };
    call.region.groups.put(&id, call.now, group);
    call.region.tags.put(&id, call.now, BTreeMap::new());
    allow_all_out(call, &id);
}

/// What AWS gives to each new group.
fn allow_all_out(call: &mut Call<'_>, group: &str) {
    let all = Ipv4Net::default();
    let rule = Rule {
        group: group.to_owned(),
        is_egress: true,
        protocol: "-1".to_owned(),
        ports: None,
        peer: Peer::Network(all),
    };
    put_rule(call, rule, BTreeMap::new());
}

fn put_rule(call: &mut Call<'_>, rule: Rule, tags: BTreeMap<String, String>) -> String {
    let id = call.new_id("sgr");
    call.region.rules.put(&id, call.now, rule);
    call.region.tags.put(&id, call.now, tags);
    id
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let name = call.query.must("GroupName")?.to_owned();
    let description = call.query.must("GroupDescription")?.to_owned();
    let vpc = call.query.must("VpcId")?.to_owned();
    if name.starts_with("sg-") || name.chars().count() > 255 || description.chars().count() > 255 {
        return Err(Refusal::invalid("groupName", &name));
    }
    call.known(|r| &r.vpcs, &vpc, "InvalidVpcID.NotFound")?;
    // The name is unique in a VPC at once, whatever a read shows: a lock can be built on it.
    if call.region.groups.all().any(|(_, other)| other.vpc == vpc && other.name == name) {
        let text = format!("The security group '{name}' already exists for VPC '{vpc}'");
        return Err(Refusal::new("InvalidGroup.Duplicate", text));
    }
    let id = call.new_id("sg");
    call.tag(&id)?;
    call.region.groups.put(&id, call.now, Group { name, description, vpc });
    allow_all_out(call, &id);
    call.seen = call.now;
    Ok(map([("groupId", (&id).into()), ("tagSet", call.tag_set(&id))]))
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let mut rules: BTreeMap<(&str, bool), Vec<Tree>> = BTreeMap::new();
    for (_, rule) in call.region.rules.all_at(call.seen) {
        rules.entry((&rule.group, rule.is_egress)).or_default().push(permission(rule));
    }
    let all = call.page_of(&call.region.groups, "GroupId");
    let items = all.map(|(id, group)| {
        let mut of = |is_egress| list(rules.remove(&(id.as_str(), is_egress)).unwrap_or_default());
        map([
            ("ownerId", call.account.into()),
            ("groupId", id.into()),
            ("groupName", (&group.name).into()),
            ("groupDescription", (&group.description).into()),
            ("vpcId", (&group.vpc).into()),
            ("ipPermissions", of(false)),
            ("ipPermissionsEgress", of(true)),
            ("tagSet", call.tag_set(id)),
        ])
    });
    let what = Describe {
        set: "securityGroupInfo",
        ids: ("GroupId", &["groupId"]),
        unknown: "InvalidGroup.NotFound",
        filters: &[("description", &["groupDescription"])],
        is_paged: true,
    };
    call.describe(&what, items.collect())
}

fn permission(rule: &Rule) -> Tree {
    let (networks, groups) = match &rule.peer {
        Peer::Network(net) => (vec![map([("cidrIp", (*net).into())])], vec![]),
        Peer::Group(id) => (vec![], vec![map([("groupId", id.into())])]),
    };
    map([
        ("ipProtocol", (&rule.protocol).into()),
        ("fromPort", rule.ports.map(|(from, _)| from).into()),
        ("toPort", rule.ports.map(|(_, to)| to).into()),
        ("ipRanges", list(networks)),
        ("groups", list(groups)),
    ])
}

pub(super) fn describe_rules(call: &mut Call<'_>) -> Answer {
    let all = call.page_of(&call.region.rules, "SecurityGroupRuleId");
    let items = all.map(|(id, rule)| rule_tree(call, id, rule)).collect();
    let what = Describe {
        set: "securityGroupRuleSet",
        ids: ("SecurityGroupRuleId", &["securityGroupRuleId"]),
        unknown: "InvalidSecurityGroupRuleId.NotFound",
        filters: &[],
        is_paged: true,
    };
    call.describe(&what, items)
}

fn rule_tree(call: &Call<'_>, id: &str, rule: &Rule) -> Tree {
    let (network, group) = match &rule.peer {
        Peer::Network(net) => (Some(*net), None),
        Peer::Group(group) => (None, Some(map([("groupId", group.into())]))),
    };
    map([
        ("securityGroupRuleId", id.into()),
        ("groupId", (&rule.group).into()),
        ("groupOwnerId", call.account.into()),
        ("isEgress", rule.is_egress.into()),
        ("ipProtocol", (&rule.protocol).into()),
        ("fromPort", rule.ports.map_or(-1, |(from, _)| from).into()),
        ("toPort", rule.ports.map_or(-1, |(_, to)| to).into()),
        ("cidrIpv4", network.into()),
        ("referencedGroupInfo", group.into()),
        ("tagSet", call.tag_set(id)),
    ])
}

/// Reads the rules of a request. For other protocols than these all ports are meant, whatever was
/// given (EC2 API, «IpPermission»).
fn asked(call: &Call<'_>, group: &str, is_egress: bool) -> Result<Vec<Rule>, Refusal> {
    let mut rules = Vec::new();
    for one in call.query.items("IpPermissions") {
        let protocol = match one.must("IpProtocol")?.to_lowercase().as_str() {
            "esp" => "50".to_owned(),
            "ah" => "51".to_owned(),
            "6" => "tcp".to_owned(),
            "17" => "udp".to_owned(),
            "1" => "icmp".to_owned(),
            other => other.to_owned(),
        };
        let ports = ports(&one, &protocol)?;
        let peers = peers(&one)?;
        rules.extend(peers.into_iter().map(|peer| Rule {
            group: group.to_owned(),
            is_egress,
            protocol: protocol.clone(),
            ports,
            peer,
        }));
    }
    if rules.is_empty() { Err(Refusal::missing("IpPermissions")) } else { Ok(rules) }
}

fn ports(one: &Query, protocol: &str) -> Result<Option<(i32, i32)>, Refusal> {
    let given = one.read("FromPort")?.zip(one.read("ToPort")?);
    match (protocol, given) {
        ("tcp" | "udp", None) => {
            let text = "Must specify both from and to ports with TCP/UDP.";
            Err(Refusal::new("InvalidParameterValue", text))
        }
        ("tcp" | "udp" | "icmp", given) => Ok(given.filter(|ports| *ports != (-1, -1))),
        _ => Ok(None),
    }
}

fn peers(one: &Query) -> Result<Vec<Peer>, Refusal> {
    let mut peers = Vec::new();
    for range in one.items("IpRanges") {
        let net: Option<Ipv4Net> = range.read("CidrIp")?;
        peers.extend(net.map(|net| Peer::Network(net.trunc())));
    }
    for group in one.items("Groups") {
        peers.push(Peer::Group(group.must("GroupId")?.to_owned()));
    }
    Ok(peers)
}

fn group_of(call: &Call<'_>) -> Result<String, Refusal> {
    let id = call.query.must("GroupId")?.to_owned();
    call.known(|r| &r.groups, &id, "InvalidGroup.NotFound")?;
    Ok(id)
}

fn authorize(call: &mut Call<'_>, is_egress: bool) -> Answer {
    let group = group_of(call)?;
    let asked = asked(call, &group, is_egress)?;
    // All rules of a request or none (EC2 API).
    let all = call.region.rules.all().map(|(_, rule)| rule);
    let have: Vec<&Rule> = all.filter(|r| r.group == group && r.is_egress == is_egress).collect();
    if let Some(rule) = asked.iter().find(|rule| have.contains(rule)) {
        let text = format!("the specified rule \"peer: {:?}\" already exists", rule.peer);
        return Err(Refusal::new("InvalidPermission.Duplicate", text));
    }
    if have.len() + asked.len() > MOST {
        let text = "The maximum number of rules per security group has been reached.";
        return Err(Refusal::new("RulesPerSecurityGroupLimitExceeded", text));
    }
    let tags = call.query.tags()?;
    let made: Vec<(String, Rule)> =
        asked.into_iter().map(|rule| (put_rule(call, rule.clone(), tags.clone()), rule)).collect();
    call.seen = call.now;
    let set = list(made.iter().map(|(id, rule)| rule_tree(call, id, rule)));
    Ok(map([("return", true.into()), ("securityGroupRuleSet", set)]))
}

fn revoke(call: &mut Call<'_>, is_egress: bool) -> Answer {
    let group = group_of(call)?;
    let asked = asked(call, &group, is_egress)?;
    let mut ids = Vec::new();
    for rule in &asked {
        let mut all = call.region.rules.all();
        let found = all.find(|(_, r)| *r == rule).map(|(id, _)| id.clone());
        ids.push(found.ok_or_else(|| {
            let text = "The specified rule does not exist in this security group.";
            Refusal::new("InvalidPermission.NotFound", text)
        })?);
    }
    for id in ids {
        call.region.rules.remove(&id, call.now);
        call.untag(&id);
    }
    done()
}

pub(super) fn authorize_ingress(call: &mut Call<'_>) -> Answer {
    authorize(call, false)
}

pub(super) fn authorize_egress(call: &mut Call<'_>) -> Answer {
    authorize(call, true)
}

pub(super) fn revoke_ingress(call: &mut Call<'_>) -> Answer {
    revoke(call, false)
}

pub(super) fn revoke_egress(call: &mut Call<'_>) -> Answer {
    revoke(call, true)
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let id = group_of(call)?;
    let is_worn = call.region.interfaces.all().any(|(_, i)| i.groups.contains(&id));
    let is_named = call
        .region
        .rules
        .all()
        .any(|(_, rule)| rule.group != id && rule.peer == Peer::Group(id.clone()));
    if is_worn || is_named {
        let text = format!("resource {id} has a dependent object");
        return Err(Refusal::new("DependencyViolation", text));
    }
    let rules = call.region.rules.all().filter(|(_, r)| r.group == id);
    for rule in rules.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        call.region.rules.remove(&rule, call.now);
        call.untag(&rule);
    }
    call.region.groups.remove(&id, call.now);
    call.untag(&id);
    Ok(map([("return", true.into()), ("groupId", id.into())]))
}
