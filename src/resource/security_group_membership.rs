//! The gateway's security group among the groups of the server's interface.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::NetworkInterface;
use serde::Serialize;

use super::hands::{announce, gone_is_fine, retract};
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{Error, GatewaySecurityGroup, Hands};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Source, Writer};
use crate::diff::{Diff, Want};
use crate::world::World;

/// The membership; the groups that the interface had before are a tag on it.
#[derive(Debug)]
pub struct SecurityGroupMembership;

/// What is declared of it: that the group is there; the others stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The interface.
    pub interface: AwsId,
    /// The group to add.
    pub group: Ref<GatewaySecurityGroup>,
    /// The groups that the interface has before cgw touches it.
    pub before: BTreeSet<AwsId>,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The interface.
    pub interface: AwsId,
    /// The interface's groups now.
    pub groups: BTreeSet<AwsId>,
    /// Which of them are the stack's.
    pub ours: BTreeSet<AwsId>,
    /// The groups it had before.
    pub before: BTreeSet<AwsId>,
}

impl Kind for SecurityGroupMembership {
    const NAME: &'static str = "security-group-membership";
    const READS: &'static [Source] = &[Source::NetworkInterfaces, Source::SecurityGroups];
    const RESTORES: bool = true;
    const LEADS_TO_SERVER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.group.0.clone()]
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            let own = region
                .groups
                .iter()
                .filter(|g| g.tags.node_key(stack, GatewaySecurityGroup::NAME).is_some());
            let own: BTreeSet<AwsId> = own.map(|g| g.id.clone()).collect();
            found.extend(region.interfaces.iter().filter_map(|o| {
                let before = o.tags.announcement(stack, Self::NAME)?;
                Some(Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State {
                        interface: o.id.clone(),
                        groups: o.groups.clone(),
                        ours: o.groups.intersection(&own).cloned().collect(),
                        before: before
                            .split(' ')
                            .filter(|g| !g.is_empty())
                            .map(AwsId::new)
                            .collect(),
                    },
                })
            }));
        }
        found
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let diff = Diff::new().fixed("interface", &state.interface, &spec.interface);
        match deps.id(&spec.group) {
            Want::Is(group) if state.groups.contains(group) => diff,
            group @ (Want::Is(_) | Want::KnownAfter(_)) => diff.field("group", "", group),
        }
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let writer = at.writer(hands)?;
        let (group, _) = deps.must(&spec.group)?;
        remember(writer, at, &spec.interface, &spec.before).await?;
        let ours = BTreeSet::from([group.clone()]);
        let groups: BTreeSet<AwsId> =
            groups_of(writer, &spec.interface).await?.union(&ours).cloned().collect();
        set_groups(writer, &spec.interface, &groups).await?;
        let interface = spec.interface.clone();
        let state = State { interface, groups, ours, before: spec.before.clone() };
        Ok(Made { id: Id::link(&spec.interface, Self::NAME), state: Some(state) })
    }

    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        state: &State,
        deps: &Deps<'_>,
    ) -> Result<Next, Error> {
        let (group, _) = deps.must(&spec.group)?;
        let writer = at.writer(hands)?;
        let mut groups = groups_of(writer, id.owner()).await?;
        groups.insert(group.clone());
        // A read that lags behind may have shown a tag of before that is gone.
        remember(writer, at, id.owner(), &state.before).await?;
        set_groups(writer, id.owner(), &groups).await?;
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        let now = if state.ours.is_empty() {
            BTreeSet::new()
        } else {
            groups_of(writer, id.owner()).await?
        };
        // A run that ended just now may have taken it away.
        if !now.is_disjoint(&state.ours) {
            let others: BTreeSet<AwsId> = now.difference(&state.ours).cloned().collect();
            // AWS wants at least one group on an interface.
            let groups = if others.is_empty() { &state.before } else { &others };
            gone_is_fine(set_groups(writer, id.owner(), groups).await)?;
        }
        retract(writer, id.owner(), at.stack(), Self::NAME).await?;
        Ok(Next::Nothing)
    }
}

/// Reads which groups an interface has just now: a change names all of them, and other stacks of the
/// same server may have changed them since the plan was made.
async fn groups_of(writer: &Writer, interface: &AwsId) -> Result<BTreeSet<AwsId>, Error> {
    let reply = writer
        .call(Action::DescribeNetworkInterfaces, |ec2| {
            ec2.describe_network_interfaces().network_interface_ids(interface.as_str()).send()
        })
        .await?;
    let groups = reply.network_interfaces().iter().flat_map(NetworkInterface::groups);
    Ok(groups.filter_map(|group| group.group_id()).map(AwsId::new).collect())
}

/// Writes on the interface which groups it had before.
async fn remember(
    writer: &Writer,
    at: &At<'_>,
    interface: &AwsId,
    before: &BTreeSet<AwsId>,
) -> Result<(), Error> {
    let before: Vec<&str> = before.iter().map(AwsId::as_str).collect();
    announce(writer, interface, at.stack(), SecurityGroupMembership::NAME, &before.join(" ")).await
}

async fn set_groups(
    writer: &Writer,
    interface: &AwsId,
    groups: &BTreeSet<AwsId>,
) -> Result<(), aws::Error> {
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    writer
        .call(Action::ModifyNetworkInterfaceAttribute, |ec2| {
            ec2.modify_network_interface_attribute()
                .network_interface_id(interface.as_str())
                .set_groups(Some(groups.clone()))
                .send()
        })
        .await?;
    Ok(())
}
