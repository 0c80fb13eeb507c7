//! What `up` and `down` have in common: lock, look again, apply, say what came of it.

use super::locks::Locks;
use super::session::Session;
use super::{Changing, Code, Stopped};
use crate::address::AwsId;
use crate::engine::{Options, Outcome, apply};
use crate::event::Event;
use crate::interrupt::Trigger;
use crate::plan::{Approved, Plan};
use crate::resource::Hands;
use crate::server::Reach;
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
}

/// Carries an approved plan out, as long as nobody interrupts.
pub(super) async fn carry_out(
    session: &mut Session,
    approved: Approved,
    change: Change<'_>,
) -> Result<Carried, Stopped> {
    let trigger = session.trigger.clone();
    interruptible(&trigger, Box::pin(locked(session, approved, change))).await
}

/// Does some work, as long as nobody interrupts.
///
/// Ctrl-C once: what is in flight is finished, nothing more is started. Twice: the work is dropped.
pub(super) async fn interruptible<T>(
    trigger: &Trigger,
    work: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    tokio::pin!(work);
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = trigger.pressed() => {
                if told {
                    return Err(Stopped::with(Code::Interrupted, "stopped at once", "run the same command to go on"));
                }
                told = true;
                // What is within another such work is told of once.
                if trigger.pull() {
                    ui::talk("finishing what is in flight; press Ctrl-C again to stop at once");
                }
            }
        }
    }
}

/// Carries an approved plan out under the lock, within what is [`interruptible`].
pub(super) async fn locked(
    session: &mut Session,
    approved: Approved,
    change: Change<'_>,
) -> Result<Carried, Stopped> {
    locked_after(session, approved, change, async { Ok(()) }).await
}

/// Does something first under the lock, then like [`locked`].
pub(super) async fn locked_after(
    session: &mut Session,
    approved: Approved,
    mut change: Change<'_>,
    first: impl Future<Output = Result<(), Stopped>>,
) -> Result<Carried, Stopped> {
    let (readers, events) = (session.readers.clone(), session.events.clone());
    let hands = approved.hands(readers, change.reach.take(), session.outside.dice(), events);
    let mut locks = Locks::default();
    let work = async {
        locks.take(session, approved.plan(), &hands, &change).await?;
        locks.during(Box::pin(first)).await?;
        under_lock(session, approved, &locks, &hands, &change).await
    };
    let done = Box::pin(work).await;
    locks.release(session).await;
    let (outcome, plan) = done?;
    let code = report(&outcome, &change.again);
    session.made = outcome.known;
    Ok(Carried { code, plan })
}

/// What is done first under the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// What was approved, as it is: the record of a new stack is made before all else, and if that
    /// succeeds nobody has made anything of it meanwhile.
    AtOnce,
    /// What was approved, and beside it a look: the record goes only if that shows nothing more.
    Beside,
    /// A look; where somebody was at work just now, once all is to be seen that was done.
    Look {
        /// Whether somebody was, or may have been.
        lags: bool,
    },
}

/// What is known of the world before the lock was taken.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
struct Known {
    /// It was read a moment ago.
    is_fresh: bool,
    /// Somebody held the lock then or until now, or another stack may have handed something over, or
    /// what somebody has just begun would be made once more.
    lags: bool,
    /// There was something of the stack.
    exists: bool,
    /// The plan only removes.
    only_removes: bool,
}

impl Known {
    fn way(self) -> Way {
        match self {
            Self { is_fresh: false, lags, .. } | Self { lags: lags @ true, .. } => {
                Way::Look { lags }
            }
            Self { exists: false, .. } => Way::AtOnce,
            Self { only_removes: true, .. } => Way::Beside,
            Self { .. } => Way::Look { lags: false },
        }
    }
}

/// Carries out what was approved, if it is still what is to be done.
async fn under_lock(
    session: &mut Session,
    approved: Approved,
    locks: &Locks,
    hands: &Hands,
    change: &Change<'_>,
) -> Result<(Outcome, Plan), Stopped> {
    let options = Options {
        consistency: change.options.consistency(),
        events: session.events.clone(),
        interrupt: session.cloud_reader().interrupt().clone(),
        looks: session.shared.looks.clone(),
    };
    let plan = approved.into_plan();
    let known = Known {
        // While a person thought it over anything may have happened.
        is_fresh: change.options.yes && session.is_fresh(),
        // Without a record the rest may be what was there before a `down`; what a run made that ended
        // just now may not be seen yet.
        lags: locks.follow_another()
            || session.has_lost_its_record()
            || (session.exists && plan.makes()),
        exists: session.exists,
        only_removes: plan.only_removes(),
    };
    let work = Work { locks, hands, change, options };
    let look_first = async |session: &mut Session, plan, lags| {
        let plan = work.look_first(session, plan, lags).await?;
        Ok((work.carry(session, &plan).await, plan))
    };
    match known.way() {
        Way::AtOnce => Ok((work.carry(session, &plan).await, plan)),
        Way::Beside => {
            if let Some(outcome) = work.beside(session, &plan).await {
                return Ok((outcome, plan));
            }
            let done: Result<_, Stopped> = look_first(session, plan, true).await;
            done.map_err(|stopped| stopped.half_way(&change.again))
        }
        Way::Look { lags } => look_first(session, plan, lags).await,
    }
}

/// What goes on under the lock.
struct Work<'a> {
    locks: &'a Locks,
    hands: &'a Hands,
    change: &'a Change<'a>,
    options: Options,
}

impl Work<'_> {
    async fn apply(&self, plan: &Plan) -> Outcome {
        let steps = plan.changes().count();
        self.options.events.say(&Event::Applying { steps });
        apply(plan, self.hands, &self.options, self.locks.keep()).await
    }

    /// Carries out what was approved but for the record, and looks meanwhile; returns `None` where
    /// that look failed or showed more.
    async fn beside(&self, session: &mut Session, approved: &Plan) -> Option<Outcome> {
        let (rest, record) = approved.split_record();
        let (mut outcome, looked) = futures_util::join!(self.apply(&rest), session.observe_again());
        if outcome.is_whole() {
            let now = looked.and_then(|()| (self.change.planner)(session)).ok()?;
            if !approved.covers(&now) || now.left != approved.left {
                return None;
            }
            outcome.extend(self.apply(&record).await);
        }
        Some(outcome)
    }

    /// Plans again from what is there now; where that does more than was approved, asks.
    async fn look_first(
        &self,
        session: &mut Session,
        approved: Plan,
        lags: bool,
    ) -> Result<Plan, Stopped> {
        self.look(session, lags).await?;
        let plan = (self.change.planner)(session)?;
        if !approved.covers(&plan) {
            ui::talk("meanwhile something changed; the plan is now:");
            ui::tell_plan(&plan, &[], &[]).lines().for_each(ui::talk);
            // Whoever holds the lock waits for no other stack.
            if !self.change.options.yes {
                is_approved(ui::confirm("Carry it out?"))?;
            }
            // Nothing was said of this run while somebody thought it over.
            self.locks.renew().await?;
        }
        Ok(plan)
    }

    /// Carries a plan out, and remembers no longer what it was made of but for the stack's own: a
    /// fleet would hold the region once a stack.
    async fn carry(&self, session: &mut Session, plan: &Plan) -> Outcome {
        session.world = session.world.of(&session.stack);
        self.apply(plan).await
    }

    /// Observes all there is; where reads may lag behind what somebody did just now, once they cannot
    /// any more.
    async fn look(&self, session: &mut Session, lags: bool) -> Result<(), Stopped> {
        let Options { consistency, events, interrupt, .. } = &self.options;
        if lags && !consistency.is_zero() {
            let seconds = consistency.as_secs();
            events
                .note(format!("waiting {seconds} s, until all that was done just now can be seen"));
            // Whoever interrupts ends this rest, too.
            let _rested = interrupt.sleep(*consistency).await;
            session.must_go_on()?;
        }
        session.observe_again().await
    }
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
pub(super) async fn ask(
    session: &Session,
    options: &Changing,
    question: &str,
) -> Result<(), Stopped> {
    if options.yes {
        return Ok(());
    }
    is_approved(session.shared.confirm(question).await)
}

fn is_approved(answer: Option<bool>) -> Result<(), Stopped> {
    match answer {
        Some(true) => Ok(()),
        Some(false) => Err(Stopped::refused("not carried out", "")),
        None => Err(Stopped::refused("nobody can be asked here", "approve the plan with --yes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_first_unless_it_would_add_nothing() {
        let new = Known { is_fresh: true, lags: false, exists: false, only_removes: false };
        assert_eq!(new.way(), Way::AtOnce);
        let removal = Known { exists: true, only_removes: true, ..new };
        assert_eq!(removal.way(), Way::Beside);
        let changed = Known { exists: true, ..new };
        assert_eq!(changed.way(), Way::Look { lags: false });
        for known in [new, removal, changed] {
            assert_eq!(Known { is_fresh: false, ..known }.way(), Way::Look { lags: false });
            assert_eq!(Known { lags: true, ..known }.way(), Way::Look { lags: true });
        }
    }
}
