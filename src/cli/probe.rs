//! A host in the VPC that answers pings, for as long as a proof takes.

use std::net::Ipv4Addr;

use super::change::{self, Carried, Planner, interruptible, locked};
use super::planned::situation;
use super::session::Session;
use super::{Changing, Code, Stopped};
use crate::address::AwsId;
use crate::plan::Plan;
use crate::preflight::{Cloud, Situation};
use crate::resource::{self, Kind as _, ProbeInstance, State};
use crate::{time, topology};

/// Launches a probe, does something with its address, and terminates it, whatever came of that.
pub(super) async fn with_probe(
    session: &mut Session,
    changing: &Changing,
    work: impl AsyncFnOnce(&mut Session, Ipv4Addr) -> Result<Code, Stopped>,
) -> Result<Code, Stopped> {
    // What a plan was carried out on is seen only as far as it is the stack's own.
    session.observe_again().await?;
    let cloud = situation(session)?.cloud;
    must_have_a_place(&cloud)?;
    // Who asked for the probe asked for its end too.
    let options = Changing { yes: true, ..changing.clone() };
    let probe = Probe { options: &options, vpc: &cloud.vpc };
    session.events.note("launching a small instance in the VPC that answers pings, for this proof");
    let mut is_seen = false;
    let trigger = session.trigger.clone();
    let outcome = interruptible(&trigger, async {
        let code = probe.bring_about(session, &with_it).await?;
        if code != Code::Done {
            return Ok(code);
        }
        is_seen = true;
        let address = address(session)
            .ok_or_else(|| Stopped::with(Code::Failed, "the probe has no private address", ""))?;
        work(session, address).await
    })
    .await;
    session.go_on();
    let trigger = session.trigger.clone();
    let removed = interruptible(&trigger, async {
        if !is_seen {
            // It may have been launched all the same, and show only now.
            time::sleep(changing.consistency()).await;
        }
        // Whatever has become of the rest meanwhile, the probe can go.
        probe
            .bring_about(session, &|session| Ok(session.plan(&[]).only(&[ProbeInstance::NAME])))
            .await
    })
    .await;
    if matches!(removed, Ok(Code::Done)) {
        warn_of_probe(session);
    } else {
        session.events.warn(LEFT);
    }
    let code = outcome?;
    let removed = removed.map_err(|stopped| stopped.half_way("`cgw up` takes the probe away"))?;
    Ok(if code == Code::Done { removed } else { code })
}

const LEFT: &str = "the probe is perhaps still there: `cgw up` takes it away, and it ends itself an \
                    hour after its launch";

/// Warns of a probe that was seen last and is perhaps still there.
pub(super) fn warn_of_probe(session: &Session) {
    if session.has_node(ProbeInstance::NAME) {
        session.events.warn(LEFT);
    }
}

/// A probe that comes or goes, and nothing else.
struct Probe<'a> {
    options: &'a Changing,
    /// The VPC that holds the lock.
    vpc: &'a AwsId,
}

impl Probe<'_> {
    async fn bring_about(
        &self,
        session: &mut Session,
        planner: Planner<'_>,
    ) -> Result<Code, Stopped> {
        session.observe_again().await?;
        let changes = planner(session)?;
        if changes.is_empty() {
            return Ok(Code::Done);
        }
        let change = change::Change {
            options: self.options,
            vpc: self.vpc.clone(),
            planner,
            reach: None,
            again: "`cgw up` takes the probe away".to_owned(),
        };
        let Carried { code, .. } = locked(session, changes.approve(), change).await?;
        session.observe_again().await?;
        Ok(code)
    }
}

fn with_it(session: &Session) -> Result<Plan, Stopped> {
    let situation = Situation { probe: true, ..situation(session)? };
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
