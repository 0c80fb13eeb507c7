//! What `up` and `down` have in common: lock, look again, apply, say what came of it.

use std::time::Duration;

use tokio::sync::watch;

use super::session::Session;
use super::{Changing, Code, Stopped};
use crate::address::AwsId;
use crate::aws::Writer;
use crate::engine::{Failure, Options, Outcome, apply};
use crate::lease::{Force, Lease};
use crate::plan::{Approved, Plan};
use crate::resource::{Dice, Error, Hands};
use crate::server::Reach;
use crate::time::{self, Backoff};
use crate::ui;

/// Makes a plan of what was observed.
pub(super) type Planner<'a> = &'a dyn Fn(&Session) -> Result<Plan, Stopped>;

/// What goes into a change besides the session.
pub(super) struct Change<'a> {
    pub(super) options: &'a Changing,
    /// The VPC that holds the lock.
    pub(super) vpc: AwsId,
    /// Plans again after the lock was taken.
    pub(super) planner: Planner<'a>,
    pub(super) reach: Option<Reach>,
    /// The command that goes on, or takes away, what is left.
    pub(super) again: String,
}

/// Carries an approved plan out.
///
/// Ctrl-C once: what is in flight is finished, nothing more is started. Twice: this process ends.
pub(super) async fn carry_out(
    session: &mut Session,
    approved: Approved,
    change: Change<'_>,
) -> Result<Code, Stopped> {
    let (interrupt, interrupted) = watch::channel(false);
    let work = locked(session, approved, change, interrupted);
    tokio::pin!(work);
    let mut told = false;
    loop {
        tokio::select! {
            code = &mut work => return code,
            _ = tokio::signal::ctrl_c() => {
                if told {
                    return Err(Stopped::with(Code::Interrupted, "stopped at once", "run the same command to go on"));
                }
                told = true;
                ui::talk("finishing what is in flight; press Ctrl-C again to stop at once");
                interrupt.send_replace(true);
            }
        }
    }
}

async fn locked(
    session: &mut Session,
    approved: Approved,
    change: Change<'_>,
    interrupt: watch::Receiver<bool>,
) -> Result<Code, Stopped> {
    let events = session.events.clone();
    let hands = approved.hands(session.readers.clone(), change.reach, Dice::new(), events.clone());
    let writer: &Writer = hands
        .at(&session.cloud)
        .map_err(|error| Stopped::with(Code::Failed, error.to_string(), ""))?;
    let force = if change.options.force_unlock { Force::Yes } else { Force::No };
    let patience = Duration::from_secs(change.options.lock_timeout);
    let lease = Lease::take(writer, &session.stack, &change.vpc, force, patience, &events).await?;
    let applied = under_lock(
        session,
        approved,
        &lease,
        &hands,
        change.planner,
        Options { consistency: change.options.consistency(), events, interrupt },
    );
    let outcome = applied.await;
    let released = lease.release().await;
    let outcome = outcome?;
    released?;
    Ok(report(&outcome, &change.again))
}

/// Looks again: what was approved may be true no longer.
async fn under_lock(
    session: &mut Session,
    approved: Approved,
    lease: &Lease,
    hands: &Hands,
    planner: Planner<'_>,
    options: Options,
) -> Result<Outcome, Stopped> {
    session.observe_again().await?;
    let mut plan = planner(session)?;
    if lease.was_taken_over {
        // The run before may have made what is not to be seen yet.
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest, options.consistency);
        while let Some(rest) = backoff.next_rest() {
            time::sleep(rest).await;
            session.observe_again().await?;
            plan = planner(session)?;
        }
    }
    if !plan.does_the_same_as(approved.plan()) {
        let is_less = plan.changes().all(|now| {
            approved
                .plan()
                .changes()
                .any(|was| was.key == now.key && was.change.word() == now.change.word())
        });
        if !is_less {
            ui::talk("meanwhile something changed; the plan is now:");
            ui::talk(&ui::tell_plan(&plan, &[], &[]));
            if ui::confirm("Carry it out?") != Some(true) {
                return Err(Stopped::refused(
                    "the plan that was approved is true no longer",
                    "run the same command again",
                ));
            }
        }
    }
    Ok(apply(&plan, hands, &options, lease.keep()).await)
}

/// Says what failed, why, what was left, and what to do.
fn report(outcome: &Outcome, again: &str) -> Code {
    let was_cut = |failure: &&Failure| matches!(failure.error, Error::Interrupted);
    for failure in outcome.failed.iter().filter(|failure| !was_cut(failure)) {
        ui::talk(&format!("error: {}: {}", failure.node, failure.error));
        if let Some(hint) = failure.error.hint() {
            ui::talk(&format!("  hint: {hint}"));
        }
    }
    if outcome.failed.is_empty() && outcome.skipped.is_empty() {
        return Code::Done;
    }
    ui::talk(&format!(
        "{} steps done, {} failed, {} left out; {again}",
        outcome.done.len(),
        outcome.failed.len(),
        outcome.skipped.len()
    ));
    if outcome.is_interrupted { Code::Interrupted } else { Code::Failed }
}

/// Asks, unless told not to.
pub(super) fn ask(options: &Changing, question: &str) -> Result<(), Stopped> {
    if options.yes {
        return Ok(());
    }
    match ui::confirm(question) {
        Some(true) => Ok(()),
        Some(false) => Err(Stopped::refused("nothing was changed", "")),
        None => Err(Stopped::refused("nobody can be asked here", "approve the plan with --yes")),
    }
}
