//! A run that goes on as a task: its steps one after the other, each at its moment.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failover::Switching;
use super::guard::State;
use super::parameters::Listed;
use super::perform::{Job, Mode, Outcome};
use super::power::Spans;
use super::step::Step;
use super::{Host, Trouble};
use crate::address::Stack;
use crate::sandbox::{Draws, Moment};

/// Who holds the server: one run at a time, whatever its stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) stack: Stack,
    /// When it goes on.
    pub(super) next: Moment,
    pub(super) work: Work,
}

/// What it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    Steps(Box<Steps>),
    Switching(Switching),
}

/// The steps of a run or an undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Steps {
    digest: String,
    mode: Mode,
    left: VecDeque<Slot>,
    doing: Doing,
    /// What it has read; none before its first step.
    job: Option<Job>,
    changed: usize,
    failed: usize,
    is_reboot_due: bool,
    /// Why the steps that are left do not run.
    because: Option<String>,
    troubles: Vec<Trouble>,
    spans: Spans,
}

/// A step, and how long it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    number: usize,
    listed: Listed,
    /// Where it changes something.
    busy: Duration,
    /// Where it does not.
    idle: Duration,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Doing {
    Starting,
    /// A step has begun; the tunnels' first rule is written before the second one.
    Half(Slot, Result<Outcome, String>),
    /// The step's end comes.
    Rest(Slot, Result<Outcome, String>),
}

impl Run {
    /// Says whether it is the scheduled task of a stack's run.
    pub(super) fn is_task_of(&self, stack: &Stack) -> bool {
        self.stack == *stack && matches!(self.work, Work::Steps(_))
    }

    /// Says whether it takes back what was set.
    pub(super) fn is_undo(&self) -> bool {
        match &self.work {
            Work::Steps(steps) => matches!(steps.mode, Mode::Undo { .. }),
            Work::Switching(_) => false,
        }
    }
}

impl Steps {
    /// Draws how long each step takes.
    pub(super) fn new(
        digest: String,
        mode: Mode,
        listed: Vec<Listed>,
        troubles: Vec<Trouble>,
        draws: &mut Draws,
    ) -> Self {
        let mut millis = |what: &str, range: std::ops::RangeInclusive<u64>| {
            let (from, to) = (Duration::from_millis(*range.start()), *range.end());
            draws.span(&format!("host {what}"), from..=Duration::from_millis(to))
        };
        let mut slot = |(n, listed): (usize, Listed)| {
            let busy = match Step::of(&listed.id) {
                Some(Step::Roles) => 120_000..=360_000,
                Some(_) | None => 1_000..=5_000,
            };
            let idle = match Step::of(&listed.id) {
                Some(Step::Preflight) => 1_000..=4_000,
                Some(_) | None => 100..=800,
            };
            let (busy, idle) = (millis(&listed.id, busy), millis("step", idle));
            Slot { number: n + 1, listed, busy, idle }
        };
        let mut left: Vec<Slot> = listed.into_iter().enumerate().map(&mut slot).collect();
        if let Mode::Undo { .. } = mode {
            left.reverse();
        }
        Self {
            digest,
            mode,
            left: left.into(),
            doing: Doing::Starting,
            job: None,
            changed: 0,
            failed: 0,
            is_reboot_due: false,
            because: None,
            troubles,
            spans: Spans::draw(draws),
        }
    }

    /// Takes a trouble out that is meant for a step.
    fn meets(&mut self, slot: &Slot, kind: impl Fn(&Trouble) -> Option<&str>) -> bool {
        let number = slot.number.to_string();
        let is_it = |one: &Trouble| kind(one).is_some_and(|s| s == slot.listed.id || s == number);
        let found = self.troubles.iter().position(is_it);
        found.map(|at| self.troubles.remove(at)).is_some()
    }

    fn job(&self) -> &Job {
        self.job.as_ref().expect("a run reads its job before its first step")
    }
}

impl Host {
    /// Lets the run do what is due of it.
    pub(super) fn go_on(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        let (stack, now) = (run.stack.clone(), run.next);
        let next = match &mut run.work {
            Work::Steps(steps) => self.step_on(&stack, steps, now),
            Work::Switching(switching) => self.switch_on(&stack, switching, now),
        };
        if let Some(next) = next {
            self.run = Some(Run { next, ..run });
        }
    }

    /// Ends what is being done and begins the next step; says when that goes on.
    fn step_on(&mut self, stack: &Stack, run: &mut Steps, now: Moment) -> Option<Moment> {
        match std::mem::replace(&mut run.doing, Doing::Starting) {
            Doing::Starting => {
                if let Err(why) = self.open(stack, run) {
                    self.write(stack, now, format!("cgw-failed {why}"));
                    return None;
                }
            }
            Doing::Half(slot, outcome) => {
                self.do_half(run, &slot, &outcome, now);
                let next = now.after(half(span(&slot, &outcome)));
                run.doing = Doing::Rest(slot, outcome);
                return Some(next);
            }
            Doing::Rest(slot, outcome) => self.end_step(run, &slot, outcome, now),
        }
        while let Some(slot) = run.left.pop_front() {
            let job = run.job();
            let is_here = slot.listed.on.contains(&job.parameters.device);
            match (&run.because, run.mode) {
                (_, Mode::SetUp) if !is_here => {
                    self.write(stack, now, line(&slot.listed.id, &[("skipped", json!(true))]));
                }
                (Some(because), Mode::SetUp) => {
                    let why = [("skipped", json!(true)), ("error", json!(because))];
                    self.write(stack, now, line(&slot.listed.id, &why));
                }
                (_, Mode::Undo { .. }) if !is_here => {}
                (Some(_) | None, Mode::SetUp | Mode::Undo { .. }) => {
                    return Some(self.begin_step(stack, run, slot, now));
                }
            }
        }
        self.close(stack, run, now);
        None
    }

    /// Reads what the run needs before its first step.
    fn open(&mut self, stack: &Stack, run: &mut Steps) -> Result<(), String> {
        let boot = self.power.boot;
        let folder = self.server.folder(stack);
        let keys = folder.keys.take();
        let Mode::SetUp = run.mode else {
            let keys = <_>::default();
            run.job = match folder.read().transpose()? {
                Some(parameters) => Some(Job { parameters, keys, mode: run.mode }),
                None => None,
            };
            return Ok(());
        };
        let keys = keys.ok_or("there is no keys.txt: a run reads it and deletes it")?;
        let parameters = folder.read().ok_or("parameters.json cannot be read as JSON")??;
        let keys = parameters.keys(&keys)?;
        folder.steps()?;
        folder.is_restored = false;
        run.is_reboot_due = self.server.is_restart_pending(boot);
        run.job = Some(Job { parameters, keys, mode: run.mode });
        Ok(())
    }

    /// Begins a step: what it will do is known from here on.
    fn begin_step(&mut self, stack: &Stack, run: &mut Steps, slot: Slot, now: Moment) -> Moment {
        let is_set_up = run.mode == Mode::SetUp;
        let outcome = self.server.clone().perform(Step::of(&slot.listed.id), run.job(), usize::MAX);
        let will_change = outcome.as_ref().is_ok_and(|outcome| outcome.changed);
        if is_set_up {
            // A step that is cut off may have changed what needs a restart.
            if slot.listed.reboot && !run.is_reboot_due {
                self.server.pending = Some(self.power.boot.second());
            }
            if slot.listed.guard && will_change {
                self.server.arm(stack, now);
            }
        }
        let span = span(&slot, &outcome);
        if run.meets(&slot, Trouble::restarts_during) {
            // Past the half, so that of two rules one is written.
            self.power.order(now.after(span * 3 / 4), run.spans);
        }
        let outcome = if run.meets(&slot, Trouble::fails) {
            Err("the modelled server failed here".to_owned())
        } else {
            outcome
        };
        run.doing = Doing::Half(slot, outcome);
        now.after(half(span))
    }

    fn do_half(
        &mut self,
        run: &Steps,
        slot: &Slot,
        outcome: &Result<Outcome, String>,
        now: Moment,
    ) {
        let is_tunnels = Step::of(&slot.listed.id) == Some(Step::Tunnels);
        // One that fails has written its first rule.
        let changes = outcome.as_ref().map_or(true, |outcome| outcome.changed);
        if is_tunnels && changes && run.mode == Mode::SetUp {
            let job = run.job();
            self.server.arm(&job.parameters.stack, now);
            self.server
                .perform(Some(Step::Tunnels), job, 1)
                .expect("only the first step can refuse");
        }
    }

    fn end_step(
        &mut self,
        run: &mut Steps,
        slot: &Slot,
        outcome: Result<Outcome, String>,
        now: Moment,
    ) {
        let stack = run.job().parameters.stack.clone();
        let Listed { id, reboot, .. } = &slot.listed;
        let text = match outcome {
            Ok(outcome) => {
                self.server
                    .perform(Step::of(id), run.job(), usize::MAX)
                    .expect("what could be refused was refused at the step's begin");
                let Outcome { was, now, changed, reboot: wants_reboot, kept, .. } = outcome;
                run.changed += usize::from(changed);
                run.is_reboot_due |= wants_reboot;
                if run.mode == Mode::SetUp {
                    if outcome.is_restart_first {
                        run.because = Some("not run: a restart must come first".to_owned());
                    }
                    if *reboot && !run.is_reboot_due {
                        self.server.pending = None;
                    }
                }
                let mut told = vec![
                    ("was", was),
                    ("now", now),
                    ("changed", json!(changed)),
                    ("reboot", json!(wants_reboot)),
                ];
                if run.mode != Mode::SetUp {
                    told.push(("kept", json!(kept)));
                }
                line(id, &told)
            }
            Err(error) => {
                run.failed += 1;
                if run.mode == Mode::SetUp {
                    run.because = Some(format!("not run: {id} failed"));
                }
                line(id, &[("error", json!(error))])
            }
        };
        self.write(&stack, now, text);
        if Step::of(id) == Some(Step::Tunnels) && run.troubles.contains(&Trouble::GuardFires) {
            run.troubles.retain(|trouble| *trouble != Trouble::GuardFires);
            self.shut_out = Some(now.after(Duration::from_mins(6)));
        }
    }

    /// Writes the last line.
    fn close(&mut self, stack: &Stack, run: &Steps, now: Moment) {
        let boot = self.power.boot.second();
        if run.failed == 0 && run.job.is_some() && run.mode != Mode::SetUp {
            self.server.forget(stack);
        }
        let guard = match self.server.folder(stack).guard_state() {
            State::Armed => "armed",
            State::None | State::Restored => "none",
        };
        let Steps { digest, changed, failed, is_reboot_due, .. } = run;
        let text = format!(
            "cgw-done {digest} changed={changed} reboot={is_reboot_due} failed={failed} \
             guard={guard} boot={boot}"
        );
        self.write(stack, now, text);
    }

    fn write(&mut self, stack: &Stack, now: Moment, text: String) {
        self.server.folder(stack).journal.lines.push((now, text));
    }
}

fn span(slot: &Slot, outcome: &Result<Outcome, String>) -> Duration {
    if outcome.as_ref().is_ok_and(|outcome| outcome.changed) { slot.busy } else { slot.idle }
}

fn half(span: Duration) -> Duration {
    span / 2
}

/// Returns the line of a step.
fn line(id: &str, told: &[(&str, Value)]) -> String {
    let mut line = json!({ "id": id, "was": null, "now": null, "changed": false, "reboot": false,
        "error": null });
    for (name, value) in told {
        line[*name] = value.clone();
    }
    line.to_string()
}
