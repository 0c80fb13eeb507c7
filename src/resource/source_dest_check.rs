//! The source/destination check of the server's interface, switched off so that it can forward.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::AttributeBooleanValue;
use serde::Serialize;

use super::hands::{announce, retract};
use super::kind::{At, Deps, Kind, Live, Made, Next};
use super::{Error, Hands};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source, Writer};
use crate::diff::Diff;
use crate::world::World;

/// The check; its earlier value is a tag on the interface, one for each stack.
#[derive(Debug)]
pub struct SourceDestCheck;

/// What is declared of it: that it is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The interface.
    pub interface: AwsId,
    /// What it is before any stack touches it.
    pub before: bool,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The interface.
    pub interface: AwsId,
    /// Whether the interface checks.
    pub is_on: bool,
    /// What it was before.
    pub before: bool,
}

impl Kind for SourceDestCheck {
    const NAME: &'static str = "source-dest-check";
    const READS: &'static [Source] = &[Source::NetworkInterfaces];
    const SHARED: &'static [Source] = &[Source::NetworkInterfaces];
    const RESTORES: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(_: &Spec) -> Vec<Address> {
        Vec::new()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            found.extend(region.interfaces.iter().filter_map(|o| {
                let before = o.tags.announcement(stack, Self::NAME)? == "true";
                Some(Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State { interface: o.id.clone(), is_on: o.source_dest_check, before },
                })
            }));
        }
        found
    }

    fn others(world: &World, id: &Id, stack: &Stack) -> BTreeSet<Stack> {
        let mut all = world.regions.iter().flat_map(|r| &r.interfaces);
        let interface = all.find(|o| &o.id == id.owner());
        interface.into_iter().flat_map(|o| o.tags.other_announcers(stack, Self::NAME)).collect()
    }

    fn diff(spec: &Spec, state: &State, _: &Deps<'_>) -> Diff {
        let word = |is_on| if is_on { "on" } else { "off" };
        Diff::new().fixed("interface", &state.interface, &spec.interface).field(
            "check",
            word(state.is_on),
            word(false),
        )
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        _: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let writer = at.writer(hands)?;
        remember(writer, at, &spec.interface, spec.before).await?;
        if spec.before {
            switch(writer, &spec.interface, false).await?;
        }
        let state = State { interface: spec.interface.clone(), is_on: false, before: spec.before };
        Ok(Made { id: Id::link(&spec.interface, Self::NAME), state: Some(state) })
    }

    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        _: &Spec,
        state: &State,
        _: &Deps<'_>,
    ) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        // A read that lags behind may have shown a tag of before that is gone.
        remember(writer, at, id.owner(), state.before).await?;
        switch(writer, id.owner(), false).await?;
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let writer = at.writer(hands)?;
        if state.before && !state.is_on {
            switch(writer, id.owner(), true).await?;
        }
        retract(writer, id.owner(), at.stack(), Self::NAME).await?;
        Ok(Next::Nothing)
    }
}

/// Writes on the interface how it was before.
async fn remember(
    writer: &Writer,
    at: &At<'_>,
    interface: &AwsId,
    before: bool,
) -> Result<(), Error> {
    let before = if before { "true" } else { "false" };
    announce(writer, interface, at.stack(), SourceDestCheck::NAME, before).await
}

async fn switch(writer: &Writer, interface: &AwsId, on: bool) -> Result<(), Error> {
    writer
        .call(Action::ModifyNetworkInterfaceAttribute, |ec2| {
            ec2.modify_network_interface_attribute()
                .network_interface_id(interface.as_str())
                .source_dest_check(AttributeBooleanValue::builder().value(on).build())
                .send()
        })
        .await?;
    Ok(())
}
