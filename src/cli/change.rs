//! What `up` and `down` have in common: lock, look again, apply, say what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::session::Session;
use super::{Changing, Code, Stopped};
use crate::address::{Address, AwsId, Id};
use crate::engine::{Options, Outcome, apply};
use crate::event::Event;
use crate::interrupt::Trigger;
use crate::lease::{Force, Lease, Wanted};
use crate::plan::{Approved, Plan};
use crate::resource::{Dice, Hands, State};
use crate::server::Reach;
use crate::time::Backoff;
use crate::ui;

/// Makes a plan of what was observed.
pub(super) type Planner<'a> = &'a dyn Fn(&Session) -> Result<Plan, Stopped>;

/// What goes into a change besides the session.
pub(super) struct Change<'a> {
    pub(super) options: &'a Changing,
    /// The VPC that holds the lock.
    pub(super) vpc: AwsId,
    /// Plans again after the lock was taken, and refuses what may not be done.
    pub(super) planner: Planner<'a>,
    pub(super) reach: Option<Reach>,
    /// The command that goes on, or takes away, what is left.
    pub(super) again: String,
}

/// What came of a change.
pub(super) struct Carried {
    pub(super) code: Code,
    /// The plan that was carried out.
    pub(super) plan: Plan,
    /// The nodes that are there afterwards.
    pub(super) known: BTreeMap<Address, (Id, State)>,
}

/// Carries an approved plan out.
///
/// Ctrl-C once: what is in flight is finished, nothing more is started. Twice: this process ends.
pub(super) async fn carry_out(
    session: &mut Session,
    approved: Approved,
    change: Change<'_>,
) -> Result<Carried, Stopped> {
    let trigger = std::mem::replace(&mut session.trigger, Trigger::new().0);
    let work = locked(session, approved, change);
    tokio::pin!(work);
    let mut told = false;
    loop {
        tokio::select! {
            carried = &mut work => return carried,
            _ = tokio::signal::ctrl_c() => {
                if told {
                    return Err(Stopped::with(Code::Interrupted, "stopped at once", "run the same command to go on"));
                }
                told = true;
                ui::talk("finishing what is in flight; press Ctrl-C again to stop at once");
                trigger.pull();
            }
        }
    }
}

async fn locked(
    session: &mut Session,
    approved: Approved,
    mut change: Change<'_>,
) -> Result<Carried, Stopped> {
    let (readers, events) = (session.readers.clone(), session.events.clone());
    let hands = approved.hands(readers, change.reach.take(), Dice::new(), events);
    let writer = hands
        .at(&session.cloud)
        .map_err(|error| Stopped::with(Code::Failed, error.to_string(), ""))?;
    let wanted = Wanted {
        stack: &session.stack,
        vpc: &change.vpc,
        force: if change.options.force_unlock { Force::Yes } else { Force::No },
        patience: Duration::from_secs(change.options.lock_timeout),
    };
    let lease = Lease::take(writer, wanted).await?;
    let done = under_lock(session, &approved, &lease, &hands, &change).await;
    if let Err(error) = lease.release().await {
        session.events.warn(format!("the stack's lock stays: {error}"));
    }
    let (outcome, plan) = done?;
    Ok(Carried { code: report(&outcome, &change.again), plan, known: outcome.known })
}

/// How often the world is looked at again when it was not what it seemed.
const LOOKS: usize = 3;

/// Carries out what was approved, if it is still what is to be done.
async fn under_lock(
    session: &mut Session,
    approved: &Approved,
    lease: &Lease,
    hands: &Hands,
    change: &Change<'_>,
) -> Result<(Outcome, Plan), Stopped> {
    let options = Options {
        consistency: change.options.consistency(),
        events: session.events.clone(),
        interrupt: session.cloud_reader().interrupt().clone(),
    };
    if session.is_fresh() && !lease.follows_another {
        let done = at_once(session, approved.plan(), lease, hands, change, &options).await?;
        if let Some(outcome) = done {
            return Ok((outcome, approved.plan().clone()));
        }
    }
    let mut lags = lease.follows_another;
    for _ in 0..LOOKS {
        look_again(session, lags, &options).await?;
        let plan = plan_again(session, approved, lease, change).await?;
        say_how_much(&plan, &options);
        let outcome = apply(&plan, hands, &options, lease.keep()).await;
        if !outcome.is_outdated {
            return Ok((outcome, plan));
        }
        lags = true;
    }
    let text = "the stack's record is there, but AWS does not show it";
    Err(Stopped::with(Code::Failed, text, "run the same command again"))
}

/// Carries out what was approved a moment ago without looking first, where a look would add nothing;
/// returns `None` where the world was another meanwhile.
async fn at_once(
    session: &mut Session,
    plan: &Plan,
    lease: &Lease,
    hands: &Hands,
    change: &Change<'_>,
    options: &Options,
) -> Result<Option<Outcome>, Stopped> {
    if !session.exists {
        // The record is made before all else: if that succeeds, nothing is there still.
        say_how_much(plan, options);
        let outcome = apply(plan, hands, options, lease.keep()).await;
        return Ok((!outcome.is_outdated).then_some(outcome));
    }
    if !plan.only_removes() {
        return Ok(None);
    }
    // The look comes beside. The record goes only if that shows nothing else.
    say_how_much(plan, options);
    let (rest, record) = plan.split_record();
    let (mut outcome, looked) =
        futures_util::join!(apply(&rest, hands, options, lease.keep()), session.observe_again());
    if outcome.is_whole() {
        looked?;
        let now = (change.planner)(session)?;
        if !plan.covers(&now) || now.left != plan.left {
            return Ok(None);
        }
        outcome.extend(apply(&record, hands, options, lease.keep()).await);
    }
    Ok(Some(outcome))
}

fn say_how_much(plan: &Plan, options: &Options) {
    options.events.say(&Event::Applying { steps: plan.changes().count() });
}

/// Reads the world again, and if somebody was at work just now until all that is to be seen.
async fn look_again(session: &mut Session, lags: bool, options: &Options) -> Result<(), Stopped> {
    session.observe_again().await?;
    if !lags || options.consistency.is_zero() {
        return Ok(());
    }
    let (first, longest) = (Duration::from_secs(1), Duration::from_secs(5));
    let mut backoff = Backoff::new(first, longest, options.consistency);
    let seconds = options.consistency.as_secs();
    session
        .events
        .note(format!("waiting {seconds} s, until all that the run before did can be seen"));
    while let Some(rest) = backoff.next_rest() {
        if options.interrupt.sleep(rest).await.is_err() {
            break;
        }
        session.observe_again().await?;
    }
    Ok(())
}

/// Plans again, and asks again where that is more than was approved.
async fn plan_again(
    session: &Session,
    approved: &Approved,
    lease: &Lease,
    change: &Change<'_>,
) -> Result<Plan, Stopped> {
    let plan = (change.planner)(session)?;
    if !approved.plan().covers(&plan) {
        ui::talk("meanwhile something changed; the plan is now:");
        ui::talk(&ui::tell_plan(&plan, &[], &[]));
        ask(change.options, "Carry it out?")?;
        // Nothing was said of this run while somebody thought it over.
        lease.renew().await.map_err(|error| {
            let text = format!("the stack's lock is lost: {error}");
            Stopped::with(Code::Locked, text, "run the same command again")
        })?;
    }
    Ok(plan)
}

/// Says what failed, why, what was left, and what to do.
fn report(outcome: &Outcome, again: &str) -> Code {
    for failure in &outcome.failed {
        ui::talk(&format!("error: {}: {}", failure.node, failure.error));
        if let Some(hint) = failure.error.hint() {
            ui::talk(&format!("  hint: {hint}"));
        }
    }
    if outcome.is_whole() {
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
