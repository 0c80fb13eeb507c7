//! A host in the VPC that answers pings, for as long as a proof takes.

use std::net::Ipv4Addr;

use super::change::{self, Carried, interruptible, locked};
use super::planned::situation;
use super::session::Session;
use super::{Changing, Code, Stopped};
use crate::plan::Plan;
use crate::preflight::{Cloud, Situation};
use crate::resource::{self, Kind as _, ProbeInstance, State};
use crate::topology;

/// Launches a probe, does something with its address, and terminates it, whatever came of that.
pub(super) async fn with_probe(
    session: &mut Session,
    changing: &Changing,
    work: impl AsyncFnOnce(&mut Session, Ipv4Addr) -> Result<Code, Stopped>,
) -> Result<Code, Stopped> {
    must_have_a_place(&situation(session)?.cloud)?;
    session.events.note("launching a small instance in the VPC that answers pings, for this proof");
    let trigger = session.trigger.clone();
    let outcome = interruptible(&trigger, async {
        let code = bring_about(session, changing, true).await?;
        if code != Code::Done {
            return Ok(code);
        }
        let address = address(session)
            .ok_or_else(|| Stopped::with(Code::Failed, "the probe has no private address", ""))?;
        work(session, address).await
    })
    .await;
    session.go_on();
    let trigger = session.trigger.clone();
    let removed = interruptible(&trigger, bring_about(session, changing, false)).await;
    if !matches!(removed, Ok(Code::Done)) || session.has_node(ProbeInstance::NAME) {
        session.events.warn(
            "the probe is perhaps still there: `cgw up` takes it away, and it ends itself an hour \
             after its launch",
        );
    }
    let code = outcome?;
    if code == Code::Done { removed } else { Ok(code) }
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
    let Carried { code, .. } = locked(session, changes.approve(), change).await?;
    session.observe_again().await?;
    Ok(code)
}

fn plan(session: &Session, probe: bool) -> Result<Plan, Stopped> {
    let situation = Situation { probe, ..situation(session)? };
    Ok(session.plan(&topology::desired(&situation)).only(&[ProbeInstance::NAME]))
}

/// Refuses where there is no subnet from which a route leads to the site.
pub(super) fn must_have_a_place(cloud: &Cloud) -> Result<(), Stopped> {
    if cloud.subnet.is_some() || cloud.subnet_cidr.is_some() {
        return Ok(());
    }
    Err(Stopped::refused(
        "there is no subnet from which a route leads to the site, so no place for a probe",
        "name a host with --ping instead, or make a subnet with --subnet-cidr",
    ))
}

fn address(session: &Session) -> Option<Ipv4Addr> {
    let live = resource::find(&session.world, &session.stack);
    live.into_iter().find_map(|node| {
        let State::ProbeInstance(state) = node.state else { return None };
        state.private_ip
    })
}
