//! The stack's record: a security group without rules whose tags say what was declared.

use super::kind::{At, Deps, Kind, Live, Made, Next};
pub use super::security_group::GroupSpec as Spec;
use super::security_group::{self, GroupState};
use super::{Error, Hands};
use crate::address::{Address, Id, Stack};
use crate::aws::Source;
use crate::diff::Diff;
use crate::world::World;

/// The stack's record: a security group without rules whose tags say what was declared.
#[derive(Debug)]
pub struct StackRecord;

impl Kind for StackRecord {
    const NAME: &'static str = "stack-record";
    const READS: &'static [Source] =
        &[Source::SecurityGroups, Source::SecurityGroupRules, Source::NetworkInterfaces];
    const USABLE_EARLY: bool = true;
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

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &GroupState) -> Result<Next, Error> {
        security_group::delete(hands, at, id).await
    }
}
