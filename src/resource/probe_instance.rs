//! A small Linux instance in the VPC that answers pings, for as long as a proof takes.

use aws_sdk_ec2::types::ShutdownBehavior;
use serde::Serialize;

use super::instance::{self, Launch};
use super::kind::{At, Deps, Kind, Live, Made, Next, Phase, Ref};
use super::{Error, Hands, Subnet, WorkloadSecurityGroup};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{NODE, Source};
use crate::diff::{Diff, Want};
use crate::world::{Interface, World};

/// The instance. It is only declared while a proof goes on, so whatever comes next takes it away.
#[derive(Debug)]
pub struct ProbeInstance;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inside {
    /// A subnet that is there.
    Given(AwsId),
    /// The stack's own.
    Made(Ref<Subnet>),
}

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// Its subnet.
    pub subnet: Inside,
    /// The group that lets pings from the site in.
    pub group: Ref<WorkloadSecurityGroup>,
}

/// What is seen of it.
pub(super) type State = instance::State;

/// AWS's public parameter for the newest image (Systems Manager user guide, «Calling AMI public
/// parameters in Parameter Store»).
const IMAGE: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
/// A forgotten one ends after an hour by itself.
const USER_DATA: &str = "#!/bin/sh\nshutdown -h +60\n";

impl Spec {
    fn subnet<'a>(&'a self, deps: &'a Deps<'_>) -> Want<&'a AwsId> {
        match &self.subnet {
            Inside::Given(id) => Want::Is(id),
            Inside::Made(subnet) => deps.look(subnet).map(|(id, _)| id),
        }
    }
}

/// Returns the probe that an interface belongs to: it takes the interface along when it goes.
pub(super) fn of_interface(world: &World, interface: &Interface) -> Option<Id> {
    let id = interface.instance.as_ref()?;
    let mut all = world.regions.iter().flat_map(|r| &r.instances);
    let is_probe = all.any(|o| &o.id == id && o.tags.value(NODE) == Some(ProbeInstance::NAME));
    is_probe.then(|| id.clone().into())
}

impl Kind for ProbeInstance {
    const NAME: &'static str = "probe-instance";
    const READS: &'static [Source] = &[Source::Instances, Source::NetworkInterfaces];
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        let subnet = match &spec.subnet {
            Inside::Given(_) => None,
            Inside::Made(subnet) => Some(subnet.0.clone()),
        };
        subnet.into_iter().chain([spec.group.0.clone()]).collect()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        instance::find(world, stack, Self::NAME)
    }

    fn phase(state: &State) -> Phase {
        instance::phase(state)
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let is = state.subnet.as_ref().map(ToString::to_string).unwrap_or_default();
        Diff::new().fixed("subnet", is, spec.subnet(deps))
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let subnet = match &spec.subnet {
            Inside::Given(id) => id,
            Inside::Made(subnet) => deps.must(subnet)?.0,
        };
        let launch = Launch {
            image: IMAGE,
            size: "t3.nano",
            subnet,
            group: Some(deps.must(&spec.group)?.0),
            key_pair: None,
            user_data: USER_DATA,
            on_shutdown: ShutdownBehavior::Terminate,
        };
        instance::launch(hands, at, &launch).await
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        instance::terminate(hands, at, id).await
    }
}
