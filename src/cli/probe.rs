//! A host in the VPC that answers pings, for as long as a proof takes.

use std::net::Ipv4Addr;

use super::change::{self, Carried, carry_out};
use super::session::Session;
use super::up::situation;
use super::{Changing, Code, Stopped};
use crate::plan::Plan;
use crate::preflight::Situation;
use crate::resource::{self, Kind as _, ProbeInstance, State};
use crate::topology;

/// Launches a probe, does something with its address, and terminates it, whatever came of that.
pub(super) async fn with_probe(
    session: &mut Session,
    changing: &Changing,
    work: impl AsyncFnOnce(&mut Session, Ipv4Addr) -> Result<Code, Stopped>,
) -> Result<Code, Stopped> {
    session.events.note("launching a small instance in the VPC that answers pings, for this proof");
    let code = bring_about(session, changing, true).await?;
    if code != Code::Done {
        return Ok(code);
    }
    session.observe_again().await?;
    let outcome = match address(session) {
        Some(address) => work(session, address).await,
        None => Err(Stopped::with(Code::Failed, "the probe has no private address", "")),
    };
    let removed = bring_about(session, changing, false).await;
    let code = outcome?;
    let removed = removed?;
    Ok(if removed == Code::Done { code } else { removed })
}

/// Makes the probe or takes it away, and nothing else.
async fn bring_about(
    session: &mut Session,
    changing: &Changing,
    probe: bool,
) -> Result<Code, Stopped> {
    session.observe_again().await?;
    let changes = plan(session, probe)?;
    if changes.is_empty() {
        return Ok(Code::Done);
    }
    let vpc = situation(session)?.cloud.vpc;
    // Who asked for the probe asked for its end too.
    let options = Changing { yes: true, ..changing.clone() };
    let change = change::Change {
        options: &options,
        vpc,
        planner: &|session| plan(session, probe),
        reach: None,
        again: "`cgw up` takes the probe away".to_owned(),
    };
    let Carried { code, .. } = carry_out(session, changes.approve(), change).await?;
    Ok(code)
}

fn plan(session: &Session, probe: bool) -> Result<Plan, Stopped> {
    let situation = Situation { probe, ..situation(session)? };
    if probe && situation.cloud.subnet.is_none() && situation.cloud.subnet_cidr.is_none() {
        return Err(Stopped::refused(
            "there is no subnet from which a route leads to the site, so no place for a probe",
            "name a host with --ping instead, or make a subnet with --subnet-cidr",
        ));
    }
    let plan = session.plan(&topology::desired(&situation));
    let other = plan.changes().find(|step| step.key.address().kind != ProbeInstance::NAME);
    match other {
        Some(step) => Err(Stopped::refused(
            format!("more is to be done than a probe: {}", step.key.address()),
            "run `cgw up`, which does all of it",
        )),
        None => Ok(plan),
    }
}

fn address(session: &Session) -> Option<Ipv4Addr> {
    let live = resource::find(&session.world, &session.stack);
    live.into_iter().find_map(|node| {
        let State::ProbeInstance(state) = node.state else { return None };
        state.private_ip
    })
}
