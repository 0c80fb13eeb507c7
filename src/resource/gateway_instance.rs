//! A Windows Server that the stack launches to be its gateway.

use aws_sdk_ec2::types::ShutdownBehavior;
use serde::Serialize;

use super::instance::{self, Launch};
use super::kind::{At, Deps, Kind, Live, Made, Next, Phase};
use super::{ElasticIpAssociation, Error, Hands, SecurityGroupMembership, SourceDestCheck};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Source, Tags};
use crate::diff::Diff;
use crate::world::World;

/// The server. What was launched stays as it is: another size is for its administrator to choose.
#[derive(Debug)]
pub struct GatewayInstance;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// Such as `t3.large`.
    pub size: String,
    /// The subnet.
    pub subnet: AwsId,
    /// The key pair that logs in, or opens the administrator's password.
    pub key_pair: Option<String>,
    /// What it runs at its first start.
    pub user_data: String,
}

/// What is seen of it.
pub(super) type State = instance::State;

impl GatewayInstance {
    /// AWS's public parameter for the newest image (EC2 user guide, «Find a Windows AMI»).
    pub const IMAGE: &'static str =
        "/aws/service/ami-windows-latest/Windows_Server-2025-English-Full-Base";
}

impl Kind for GatewayInstance {
    const NAME: &'static str = "gateway-instance";
    const READS: &'static [Source] = &[Source::Instances, Source::NetworkInterfaces];
    const LEADS_TO_SERVER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(_: &Spec) -> Vec<Address> {
        Vec::new()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        instance::find(world, stack, Self::NAME)
    }

    /// What the stack has put on its interface is taken off before.
    fn removed_after(world: &World, id: &Id) -> Vec<Id> {
        let regions = || world.regions.iter();
        let mut all = regions().flat_map(|r| &r.instances);
        let Some(stack) = all.find(|o| &o.id == id.owner()).and_then(|o| o.tags.stack()) else {
            return Vec::new();
        };
        let Ok(stack) = stack.parse::<Stack>() else { return Vec::new() };
        let says = |tags: &Tags, kind| tags.announcement(&stack, kind).is_some();
        let is_for = |tags: &Tags, interface: &AwsId| {
            tags.announcement(&stack, ElasticIpAssociation::NAME) == Some(interface.as_str())
        };
        let mut found = Vec::new();
        for i in regions().flat_map(|r| &r.interfaces) {
            if i.instance.as_ref() != Some(id.owner()) {
                continue;
            }
            for kind in [SourceDestCheck::NAME, SecurityGroupMembership::NAME] {
                found.extend(says(&i.tags, kind).then(|| Id::link(&i.id, kind)));
            }
            let others = i.tags.other_announcers(&stack, SourceDestCheck::NAME);
            found.extend(others.map(|other| Id::link(&i.id, format!("as gateway of {other}"))));
            let addresses = regions().flat_map(|r| &r.addresses);
            let serving = addresses.filter(|o| o.interface.as_ref() == Some(&i.id));
            let ours = serving.filter(|o| is_for(&o.tags, &i.id));
            found.extend(ours.map(|o| Id::link(&o.id, ElasticIpAssociation::NAME)));
        }
        found
    }

    fn phase(state: &State) -> Phase {
        instance::phase(state)
    }

    fn diff(_: &Spec, _: &State, _: &Deps<'_>) -> Diff {
        Diff::new()
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        _: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let launch = Launch {
            image: Self::IMAGE,
            size: &spec.size,
            subnet: &spec.subnet,
            group: None,
            key_pair: spec.key_pair.as_deref(),
            user_data: &spec.user_data,
            on_shutdown: ShutdownBehavior::Stop,
        };
        instance::launch(hands, at, &launch).await
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        instance::terminate(hands, at, id).await
    }
}
