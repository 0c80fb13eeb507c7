//! What the kinds that are security groups have in common.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{IpPermission, IpRange, ResourceType, Tag};
use ipnet::Ipv4Net;
use serde::Serialize;

use super::hands::{already_is_fine, gone_is_fine};
use super::kind::{At, Kind, Live, Made, Next};
use super::{Error, Hands};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Writer};
use crate::diff::Diff;
use crate::world::{Direction, GroupRule, Rule, Rules, World};

/// What is declared of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupSpec {
    /// The VPC it is in.
    pub vpc: AwsId,
    /// Its name, unique in the VPC.
    pub name: String,
    /// What it is for; AWS allows ASCII only.
    pub description: &'static str,
    /// Its rules. AWS's default rule «all out» is taken away unless it is among them.
    pub rules: BTreeSet<Rule>,
    /// Further tags, such as those of the stack's record.
    pub tags: BTreeMap<String, String>,
}

/// What is seen of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupState {
    /// The VPC it is in.
    pub vpc: AwsId,
    /// The rules that are the stack's, and AWS's default rule; other people's rules are not here.
    pub rules: Rules,
    /// Its tags that say what was declared.
    pub tags: BTreeMap<String, String>,
}

/// AWS's default rule: everything may leave.
pub(super) fn all_out() -> Rule {
    Rule {
        direction: Direction::Out,
        protocol: "-1".to_owned(),
        ports: None,
        cidr: Ipv4Net::default(),
    }
}

/// Finds a stack's groups of a kind.
pub(super) fn find(world: &World, stack: &Stack, kind: &'static str) -> Vec<Live<GroupState>> {
    let mut found = Vec::new();
    for region in &world.regions {
        for group in &region.groups {
            let Some(key) = group.tags.node_key(stack, kind) else {
                continue;
            };
            let address = Address::new(stack, kind, key);
            let counts = |r: &&GroupRule| {
                let is_default = r.rule.as_ref() == Some(&all_out()) && r.tags.stack().is_none();
                is_default || r.tags.node_key(stack, kind).is_some()
            };
            let rules = region.rules_of(&group.id).filter(counts);
            let mut tags = group.tags.0.clone();
            tags.retain(|key, _| key.starts_with("cgw:declared:"));
            found.push(Live {
                address,
                id: group.id.clone().into(),
                place: region.place.clone(),
                state: GroupState {
                    vpc: group.vpc.clone(),
                    rules: rules.filter_map(|r| Some((r.rule.clone()?, r.id.clone()))).collect(),
                    tags,
                },
            });
        }
    }
    found
}

/// Returns what uses a group: interfaces by their membership, groups by their rules.
pub(super) fn users(world: &World, id: &Id) -> Vec<Id> {
    let mut users = Vec::new();
    for region in &world.regions {
        let members = region.interfaces.iter().filter(|i| i.groups.contains(id.owner()));
        users.extend(members.map(|i| Id::link(&i.id, super::SecurityGroupMembership::NAME)));
        let naming =
            |r: &&GroupRule| r.referenced.as_ref() == Some(id.owner()) && &r.group != id.owner();
        users.extend(region.rules.iter().filter(naming).map(|r| Id::Aws(r.group.clone())));
    }
    users
}

/// Compares a group.
pub(super) fn diff(spec: &GroupSpec, state: &GroupState) -> Diff {
    let rules = state.rules.set();
    let mut diff =
        Diff::new().fixed("vpc", &state.vpc, &spec.vpc).set("rules", &rules, &spec.rules);
    for key in spec.tags.keys().chain(state.tags.keys()).collect::<BTreeSet<_>>() {
        let value = |tags: &BTreeMap<String, String>| tags.get(key).cloned().unwrap_or_default();
        if value(&spec.tags) != value(&state.tags) {
            diff = diff.field("tags", value(&state.tags), value(&spec.tags));
        }
    }
    diff
}

/// Makes a group; its rules come by the update that the difference asks for.
pub(super) async fn create(
    hands: &Hands,
    at: &At<'_>,
    spec: &GroupSpec,
) -> Result<Made<GroupState>, Error> {
    let tags = aws::specification(ResourceType::SecurityGroup, at.address, &spec.tags);
    let reply = at
        .writer(hands)?
        .call(Action::CreateSecurityGroup, |ec2| {
            ec2.create_security_group()
                .vpc_id(spec.vpc.as_str())
                .group_name(&spec.name)
                .description(spec.description)
                .tag_specifications(tags.clone())
                .send()
        })
        .await?;
    let lacks = Error::Reply { action: Action::CreateSecurityGroup, lacks: "group id" };
    let id = reply.group_id().map(AwsId::new).ok_or(lacks)?;
    let rules = Rules(BTreeMap::from([(all_out(), AwsId::new(""))]));
    let state = GroupState { vpc: spec.vpc.clone(), rules, tags: spec.tags.clone() };
    Ok(Made { id: id.into(), state: Some(state) })
}

/// Adds what is missing, then takes away what is too much; tags likewise.
pub(super) async fn update(
    hands: &Hands,
    at: &At<'_>,
    id: &Id,
    spec: &GroupSpec,
    state: &GroupState,
) -> Result<Next, Error> {
    let writer = at.writer(hands)?;
    let have = state.rules.set();
    let missing: Vec<Rule> = spec.rules.difference(&have).cloned().collect();
    let extra: Vec<Rule> = have.difference(&spec.rules).cloned().collect();
    let (rules, tags) = futures_util::join!(
        change_rules(writer, at.address, id.owner(), &missing, &extra),
        change_tags(writer, id.owner(), &spec.tags, &state.tags),
    );
    rules?;
    tags?;
    Ok(Next::Nothing)
}

/// Lets rules in and out of a group, all four calls at once.
pub(super) async fn change_rules(
    writer: &Writer,
    node: &Address,
    group: &AwsId,
    missing: &[Rule],
    extra: &[Rule],
) -> Result<(), Error> {
    let of = |rules: &[Rule], direction| permissions(rules, direction);
    let (come_in, go_out) = (of(missing, Direction::In), of(missing, Direction::Out));
    let (no_more_in, no_more_out) = (of(extra, Direction::In), of(extra, Direction::Out));
    let tags = || aws::specification(ResourceType::SecurityGroupRule, node, &BTreeMap::new());
    // Each call's future is large, and there are four.
    let results = Box::pin(async {
        futures_util::join!(
            unless_empty(&come_in, || writer.call(Action::AuthorizeSecurityGroupIngress, |ec2| {
                ec2.authorize_security_group_ingress()
                    .group_id(group.as_str())
                    .set_ip_permissions(Some(come_in.clone()))
                    .tag_specifications(tags())
                    .send()
            })),
            unless_empty(&go_out, || writer.call(Action::AuthorizeSecurityGroupEgress, |ec2| {
                ec2.authorize_security_group_egress()
                    .group_id(group.as_str())
                    .set_ip_permissions(Some(go_out.clone()))
                    .tag_specifications(tags())
                    .send()
            })),
            unless_empty(&no_more_in, || writer.call(Action::RevokeSecurityGroupIngress, |ec2| {
                ec2.revoke_security_group_ingress()
                    .group_id(group.as_str())
                    .set_ip_permissions(Some(no_more_in.clone()))
                    .send()
            })),
            unless_empty(&no_more_out, || writer.call(Action::RevokeSecurityGroupEgress, |ec2| {
                ec2.revoke_security_group_egress()
                    .group_id(group.as_str())
                    .set_ip_permissions(Some(no_more_out.clone()))
                    .send()
            })),
        )
    })
    .await;
    already_is_fine(results.0)?;
    already_is_fine(results.1)?;
    gone_is_fine(results.2)?;
    gone_is_fine(results.3)
}

async fn unless_empty<T, F>(
    permissions: &[IpPermission],
    call: impl FnOnce() -> F,
) -> Result<Option<T>, aws::Error>
where
    F: Future<Output = Result<T, aws::Error>>,
{
    if permissions.is_empty() { Ok(None) } else { call().await.map(Some) }
}

fn permissions(rules: &[Rule], direction: Direction) -> Vec<IpPermission> {
    let permission = |rule: &Rule| {
        let ports = match (rule.ports, rule.protocol.as_str()) {
            (None, "icmp") => Some((-1, -1)),
            (ports, _) => ports,
        };
        IpPermission::builder()
            .ip_protocol(&rule.protocol)
            .set_from_port(ports.map(|(from, _)| from))
            .set_to_port(ports.map(|(_, to)| to))
            .ip_ranges(IpRange::builder().cidr_ip(rule.cidr.to_string()).build())
            .build()
    };
    rules.iter().filter(|rule| rule.direction == direction).map(permission).collect()
}

async fn change_tags(
    writer: &Writer,
    group: &AwsId,
    want: &BTreeMap<String, String>,
    have: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let set: Vec<Tag> = want.iter().filter(|(k, v)| have.get(*k) != Some(v)).map(tag).collect();
    let drop: Vec<Tag> = have
        .keys()
        .filter(|key| !want.contains_key(*key))
        .map(|key| Tag::builder().key(key).build())
        .collect();
    if !set.is_empty() {
        writer
            .call(Action::CreateTags, |ec2| {
                ec2.create_tags().resources(group.as_str()).set_tags(Some(set.clone())).send()
            })
            .await?;
    }
    if !drop.is_empty() {
        writer
            .call(Action::DeleteTags, |ec2| {
                ec2.delete_tags().resources(group.as_str()).set_tags(Some(drop.clone())).send()
            })
            .await?;
    }
    Ok(())
}

/// Deletes a group; AWS refuses while anything uses it.
pub(super) async fn delete(hands: &Hands, at: &At<'_>, id: &Id) -> Result<Next, Error> {
    let group = id.owner().as_str();
    gone_is_fine(
        at.writer(hands)?
            .call(Action::DeleteSecurityGroup, |ec2| {
                ec2.delete_security_group().group_id(group).send()
            })
            .await,
    )?;
    Ok(Next::Nothing)
}
