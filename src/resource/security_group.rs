//! What the kinds that are security groups have in common.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{IpPermission, IpRange, ResourceType, Tag};
use ipnet::Ipv4Net;
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Kind, Live, Made, Next};
use super::{Error, Hands};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Verdict, Writer};
use crate::diff::Diff;
use crate::world::{Direction, GroupRule, Region, Rule, Rules, World};

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
    /// The rules that are the stack's, and AWS's default rule.
    pub rules: Rules,
    /// Other people's rules in it: they stay, and one that is declared too is there already.
    pub others: BTreeSet<Rule>,
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
            let counts = |r: &GroupRule| {
                let is_default = r.rule.as_ref() == Some(&all_out()) && r.tags.stack().is_none();
                is_default || r.tags.node_key(stack, kind).is_some()
            };
            let (rules, others) = sorted(region, &group.id, counts);
            let mut tags = group.tags.0.clone();
            tags.retain(|key, _| key.starts_with("cgw:declared:"));
            found.push(Live {
                address,
                id: group.id.clone().into(),
                place: region.place.clone(),
                state: GroupState { vpc: group.vpc.clone(), rules, others, tags },
            });
        }
    }
    found
}

/// Sorts a group's rules into those that count as the node's and those of others.
pub(super) fn sorted(
    region: &Region,
    group: &AwsId,
    counts: impl Fn(&GroupRule) -> bool,
) -> (Rules, BTreeSet<Rule>) {
    let (mut own, mut others) = (Rules::default(), BTreeSet::new());
    for found in region.rules_of(group) {
        match &found.rule {
            Some(rule) if counts(found) => drop(own.0.insert(rule.clone(), found.id.clone())),
            Some(rule) => drop(others.insert(rule.clone())),
            None => {}
        }
    }
    (own, others)
}

/// Returns what uses a group: interfaces by their membership, groups by their rules.
pub(super) fn users(world: &World, id: &Id) -> Vec<Id> {
    let mut users = Vec::new();
    for region in &world.regions {
        let members = region.interfaces.iter().filter(|i| i.groups.contains(id.owner()));
        users.extend(members.map(|i| {
            let membership = || Id::link(&i.id, super::SecurityGroupMembership::NAME);
            super::probe_instance::of_interface(world, i).unwrap_or_else(membership)
        }));
        let naming =
            |r: &&GroupRule| r.referenced.as_ref() == Some(id.owner()) && &r.group != id.owner();
        users.extend(region.rules.iter().filter(naming).map(|r| Id::Aws(r.group.clone())));
    }
    users
}

/// Compares a group.
pub(super) fn diff(spec: &GroupSpec, state: &GroupState) -> Diff {
    let (have, want) = (state.rules.set(), &spec.rules - &state.others);
    let mut diff = Diff::new().fixed("vpc", &state.vpc, &spec.vpc).set("rules", &have, &want);
    for key in spec.tags.keys().chain(state.tags.keys()).collect::<BTreeSet<_>>() {
        let word = |tags: &BTreeMap<String, String>| {
            let value = tags.get(key)?;
            Some(format!("{} {value:?}", key.trim_start_matches("cgw:declared:")))
        };
        let (was, now) = (word(&state.tags), word(&spec.tags));
        diff = diff.field("tag", was.unwrap_or_default(), now.unwrap_or_default());
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
    let (vpc, tags) = (spec.vpc.clone(), spec.tags.clone());
    let state = GroupState { vpc, rules, others: BTreeSet::new(), tags };
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
    let (have, want) = (state.rules.set(), &spec.rules - &state.others);
    let (missing, extra) = (&want - &have, &have - &want);
    let (rules, tags) = futures_util::join!(
        change_rules(writer, at.address, id.owner(), &missing, &extra),
        change_tags(writer, id.owner(), &spec.tags, &state.tags),
    );
    rules?;
    tags?;
    Ok(Next::Nothing)
}

/// Adds rules to a group, then takes others away.
pub(super) async fn change_rules(
    writer: &Writer,
    node: &Address,
    group: &AwsId,
    missing: &BTreeSet<Rule>,
    extra: &BTreeSet<Rule>,
) -> Result<(), Error> {
    let tags = || aws::specification(ResourceType::SecurityGroupRule, node, &BTreeMap::new());
    let group = group.as_str();
    let let_in = send(permissions(missing, Direction::In), async |rules: &[IpPermission]| {
        writer
            .call(Action::AuthorizeSecurityGroupIngress, |ec2| {
                ec2.authorize_security_group_ingress()
                    .group_id(group)
                    .set_ip_permissions(Some(rules.to_vec()))
                    .tag_specifications(tags())
                    .send()
            })
            .await
            .map(drop)
    });
    let let_out = send(permissions(missing, Direction::Out), async |rules: &[IpPermission]| {
        writer
            .call(Action::AuthorizeSecurityGroupEgress, |ec2| {
                ec2.authorize_security_group_egress()
                    .group_id(group)
                    .set_ip_permissions(Some(rules.to_vec()))
                    .tag_specifications(tags())
                    .send()
            })
            .await
            .map(drop)
    });
    let no_more_in = send(permissions(extra, Direction::In), async |rules: &[IpPermission]| {
        writer
            .call(Action::RevokeSecurityGroupIngress, |ec2| {
                ec2.revoke_security_group_ingress()
                    .group_id(group)
                    .set_ip_permissions(Some(rules.to_vec()))
                    .send()
            })
            .await
            .map(drop)
    });
    let no_more_out = send(permissions(extra, Direction::Out), async |rules: &[IpPermission]| {
        writer
            .call(Action::RevokeSecurityGroupEgress, |ec2| {
                ec2.revoke_security_group_egress()
                    .group_id(group)
                    .set_ip_permissions(Some(rules.to_vec()))
                    .send()
            })
            .await
            .map(drop)
    });
    // Each call's future is large, and there are four.
    let adding = Box::pin(async { futures_util::join!(let_in, let_out) });
    let removing = Box::pin(async { futures_util::join!(no_more_in, no_more_out) });
    let (added, removed) = if extra.iter().all(|rule| *rule == all_out()) {
        futures_util::join!(adding, removing)
    } else {
        // Where AWS refuses what is missing, nothing that served may be gone.
        match adding.await {
            (Ok(()), Ok(())) => ((Ok(()), Ok(())), removing.await),
            added => (added, (Ok(()), Ok(()))),
        }
    };
    added.0?;
    added.1?;
    removed.0?;
    removed.1?;
    Ok(())
}

/// Sends rules in one call; where one of them is so already AWS takes none, and each is sent alone.
async fn send(
    rules: Vec<IpPermission>,
    call: impl AsyncFn(&[IpPermission]) -> Result<(), aws::Error>,
) -> Result<(), aws::Error> {
    let is_so = |error: &aws::Error| matches!(error.verdict, Verdict::AlreadySo | Verdict::Gone);
    if rules.is_empty() {
        return Ok(());
    }
    match call(&rules).await {
        Err(error) if is_so(&error) && rules.len() > 1 => {}
        Err(error) if !is_so(&error) => return Err(error),
        Ok(()) | Err(_) => return Ok(()),
    }
    for rule in rules.chunks(1) {
        match call(rule).await {
            Err(error) if !is_so(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn permissions(rules: &BTreeSet<Rule>, direction: Direction) -> Vec<IpPermission> {
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

/// Writes a kind that is a security group: all that such kinds differ in.
macro_rules! security_group_kind {
    ($(#[doc = $doc:literal])* $Kind:ident, $name:literal) => {
        pub use super::security_group::GroupSpec as Spec;
        use super::kind::{At, Deps, Kind, Live, Made, Next};
        use super::security_group::{self, GroupState};
        use super::{Error, Hands};
        use crate::address::{Address, Id, Stack};
        use crate::aws::Source;
        use crate::diff::Diff;
        use crate::world::World;

        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $Kind;

        impl Kind for $Kind {
            const NAME: &'static str = $name;
            const READS: &'static [Source] =
                &[Source::SecurityGroups, Source::SecurityGroupRules, Source::NetworkInterfaces];
            type Spec = Spec;
            type State = GroupState;

            fn needs(_: &Spec) -> Vec<Address> {
                Vec::new()
            }

            fn find(world: &World, stack: &Stack) -> Vec<Live<GroupState>> {
                security_group::find(world, stack, Self::NAME)
            }

            fn removed_after(world: &World, id: &Id) -> Vec<Id> {
                security_group::users(world, id)
            }

            fn diff(spec: &Spec, state: &GroupState, _: &Deps<'_>) -> Diff {
                security_group::diff(spec, state)
            }

            async fn create(
                hands: &Hands,
                at: &At<'_>,
                spec: &Spec,
                _: &Deps<'_>,
            ) -> Result<Made<GroupState>, Error> {
                security_group::create(hands, at, spec).await
            }

            async fn update(
                hands: &Hands,
                at: &At<'_>,
                id: &Id,
                spec: &Spec,
                state: &GroupState,
                _: &Deps<'_>,
            ) -> Result<Next, Error> {
                security_group::update(hands, at, id, spec, state).await
            }

            async fn delete(
                hands: &Hands,
                at: &At<'_>,
                id: &Id,
                _: &GroupState,
            ) -> Result<Next, Error> {
                security_group::delete(hands, at, id).await
            }
        }
    };
}

pub(super) use security_group_kind;
