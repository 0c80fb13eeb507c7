//! Carries a plan out: starts each step as early as its needs allow, makes no choices.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;

use super::look::{Looks, TICK};
use crate::address::{Address, Id};
use crate::aws::Verdict;
use crate::diff::Diff;
use crate::event::{Event, Events};
use crate::graph::Graph;
use crate::interrupt::Interrupt;
use crate::plan::{Change, Key, Plan, Step, is_record};
use crate::resource::{At, Deps, Error, Hands, Live, Next, Phase, Spec, State};
use crate::time::{self, Backoff};

/// How a plan is carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a read may lag behind a write: as long a node is looked for before it is made
    /// again.
    pub consistency: Duration,
    /// Where to say what happens.
    pub events: Events,
    /// Turns true when nothing more is to be started.
    pub interrupt: Interrupt,
    /// The reads that it shares with all else that runs.
    pub looks: Looks,
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which step.
    pub node: Address,
    /// Why.
    pub error: Error,
}

/// What became of a plan. Not a `Result`: a failure does not undo what was done.
#[derive(Debug, Default)]
#[must_use]
pub struct Outcome {
    /// Steps that are done.
    pub done: Vec<Done>,
    /// Steps that failed.
    pub failed: Vec<Failure>,
    /// Steps that were left out, and why.
    pub skipped: Vec<(Address, String)>,
    /// Whether it was interrupted.
    pub is_interrupted: bool,
    /// The nodes that are there afterwards, as they were seen last: those that were changed in
    /// place perhaps before that.
    pub known: BTreeMap<Address, (Id, State)>,
}

impl Outcome {
    /// Says whether all was done.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Adds what became of the plan's other part.
    pub fn extend(&mut self, other: Self) {
        self.done.extend(other.done);
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.is_interrupted |= other.is_interrupted;
        self.known.extend(other.known);
    }
}

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The node.
    pub node: Address,
    /// What was done to it.
    pub change: &'static str,
    /// What AWS calls it.
    pub id: String,
}

/// How long AWS may take for anything: attachments were seen to take ten minutes.
const LIMIT: Duration = Duration::from_mins(20);
/// How often one node may be brought nearer before it counts as one that never gets there.
const ROUNDS: usize = 12;

type Known = BTreeMap<Address, (Id, State)>;
type Made = Result<Option<(Id, State)>, Error>;

/// Carries a plan out.
///
/// `guard` ends only when the stack's lock is lost: then nothing more is started.
pub async fn apply(
    plan: &Plan,
    hands: &Hands,
    options: &Options,
    guard: impl Future<Output = String>,
) -> Outcome {
    let steps: BTreeMap<&Key, &Step> = plan.work().map(|step| (&step.key, step)).collect();
    let worker = Worker { hands, options };
    let mut graph = Graph::new(steps.values().map(|s| (s.key.clone(), s.after.clone())));
    let mut known: Known = plan.known();
    let mut running: FuturesUnordered<LocalBoxFuture<'_, (Key, Made)>> = FuturesUnordered::new();
    let mut outcome = Outcome::default();
    let mut stopped: Option<String> = None;
    let mut is_lost = false;
    let interrupt = &options.interrupt;
    tokio::pin!(guard);
    loop {
        if stopped.is_none() && !interrupt.came() {
            for key in graph.take_ready() {
                let step = steps[&key];
                let (node, change) = (key.address().clone(), step.change.word());
                options.events.say(&Event::Started { node, change });
                let made = worker.take(step, of(step, &known));
                running.push(Box::pin(async { (key, made.await) }));
            }
        }
        let end = tokio::select! {
            biased;
            () = interrupt.come(), if stopped.is_none() => {
                stopped = Some("interrupted".to_owned());
                outcome.is_interrupted = true;
                continue;
            }
            // Also after an interrupt: what is in flight then still needs the lock to be kept.
            why = &mut guard, if !is_lost => {
                is_lost = true;
                stopped.get_or_insert(why);
                continue;
            }
            end = running.next() => end,
        };
        let Some((key, end)) = end else { break };
        match end {
            Ok(made) => {
                let change = steps[&key].change.done();
                let id = made.as_ref().map(|(id, _)| id).or(steps[&key].id.as_ref());
                let id = id.map(|id| id.owner().to_string()).unwrap_or_default();
                let node = key.address().clone();
                options.events.say(&Event::Done { node: node.clone(), change, id: id.clone() });
                outcome.done.push(Done { node: node.clone(), change, id });
                if let Some(made) = made {
                    known.insert(node, made);
                }
                graph.done(&key);
            }
            Err(error) => {
                let node = key.address().clone();
                if interrupt.came() && error.may_pass() {
                    outcome.is_interrupted = true;
                    let because = format!("interrupted: {}", told(&error));
                    skip(&mut outcome, &options.events, &key, because);
                } else {
                    options.events.say(&Event::Failed { node: node.clone(), error: told(&error) });
                    outcome.failed.push(Failure { node, error });
                }
                for (lost, needed) in graph.failed(&key) {
                    let because = format!("needs {}", needed.address());
                    skip(&mut outcome, &options.events, &lost, because);
                }
            }
        }
    }
    outcome.known = known;
    let why = stopped.unwrap_or_else(|| "it waits for itself".to_owned());
    for key in graph.take_rest() {
        skip(&mut outcome, &options.events, &key, why.clone());
    }
    outcome
}

/// What is known of the nodes that a step needs.
fn of(step: &Step, known: &Known) -> Known {
    let needs = step.spec.iter().flat_map(Spec::needs);
    needs
        .filter_map(|needed| known.get_key_value(&needed).map(|(a, n)| (a.clone(), n.clone())))
        .collect()
}

fn skip(outcome: &mut Outcome, events: &Events, key: &Key, because: String) {
    let node = key.address().clone();
    events.say(&Event::Skipped { node: node.clone(), because: because.clone() });
    outcome.skipped.push((node, because));
}

/// Joins an error and its causes into one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// What every step works with.
struct Worker<'h> {
    hands: &'h Hands,
    options: &'h Options,
}

/// One step that makes or changes a node.
struct Making<'a> {
    at: At<'a>,
    spec: &'a Spec,
    known: &'a Known,
}

impl Worker<'_> {
    /// Takes a step.
    async fn take(&self, step: &Step, known: Known) -> Made {
        let at = At { address: step.key.address(), place: &step.place };
        let Some(spec) = &step.spec else {
            return self.remove(&at, step).await.map(|()| None);
        };
        let making = Making { at, spec, known: &known };
        let existing = match step.change {
            Change::Create | Change::Replace(_) => None,
            Change::Keep
            | Change::Adopt
            | Change::Check
            | Change::Update(_)
            | Change::Delete
            | Change::Restore
            | Change::HandOver(_) => step.id.clone().zip(step.state.clone()),
        };
        let node = match existing {
            Some(node) => node,
            None => self.create(&making).await?,
        };
        self.converge(&making, node).await.map(Some)
    }

    /// Makes a node; when the reply is lost, looks for it before making it again.
    async fn create(&self, making: &Making<'_>) -> Result<(Id, State), Error> {
        let deps = Deps(making.known);
        let mut last = None;
        for _ in 0..ROUNDS {
            let error = match making.spec.create(self.hands, &making.at, &deps).await {
                Ok(made) => match made.state {
                    Some(state) => return Ok((made.id, state)),
                    None => return self.wait(making, Some(&made.id)).await,
                },
                Err(error) if error.is_lost() => error,
                Err(error) => return Err(error),
            };
            let is_there = is_there(&error);
            // Who holds the lock is the only one to make the record, and to say in it what is declared.
            let is_record = is_record(making.at.address);
            if is_record && is_there && last.is_none() {
                return Err(Error::Outdated);
            }
            match self.search(making).await? {
                Some(found) if is_record && !making.spec.diff(&found.1, &deps).is_empty() => {
                    return Err(Error::Outdated);
                }
                Some(found) if is_theirs(&found) => {
                    return self.give_way(making, found, error).await;
                }
                Some(found) => return Ok(found),
                // It is there already, and is not ours.
                None if is_there => return Err(error),
                None => {}
            }
            last = Some(error);
        }
        Err(last.unwrap_or(Error::GivenUp("every reply was lost".to_owned())))
    }

    /// Somebody was first: theirs stays, and what announces ours goes.
    async fn give_way(
        &self,
        making: &Making<'_>,
        (id, state): (Id, State),
        error: Error,
    ) -> Result<(Id, State), Error> {
        state.delete(self.hands, &making.at, &id).await?;
        Err(error)
    }

    /// Looks for a node as long as a read may lag behind a write.
    async fn search(&self, making: &Making<'_>) -> Result<Option<(Id, State)>, Error> {
        let (first, longest) = (Duration::ZERO, Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest, self.options.consistency);
        let mut rest = Duration::ZERO;
        loop {
            let found = self.look(making, None, rest).await?;
            if let Some(live) = found.into_iter().find(|l| l.state.phase() != Phase::Going) {
                return Ok(Some((live.id, live.state)));
            }
            match backoff.next_rest() {
                Some(_) if self.options.interrupt.came() => return Err(Error::Interrupted),
                Some(next) => rest = next.max(Duration::from_millis(200)),
                None => return Ok(None),
            }
        }
    }

    /// Waits until a node is ready, and changes it until it differs no more.
    async fn converge(
        &self,
        making: &Making<'_>,
        (mut id, mut state): (Id, State),
    ) -> Result<(Id, State), Error> {
        let deps = Deps(making.known);
        for _ in 0..ROUNDS {
            if state.phase() == Phase::Pending {
                (id, state) = self.wait(making, Some(&id)).await?;
            }
            let diff = making.spec.diff(&state, &deps);
            if diff.is_empty() {
                return Ok((id, state));
            }
            if diff.replaces() {
                return Err(Error::GivenUp(format!("it is not what was asked for: {diff}")));
            }
            match making.spec.update(self.hands, &making.at, &id, &state, &deps).await {
                Ok(Next::Nothing) => return Ok((id, state)),
                Ok(Next::Look) => (id, state) = self.wait_for_change(making, &id, &diff).await?,
                Err(error) if error.is_lost() => match self.search(making).await? {
                    Some(found) if is_theirs(&found) && state.left_alone().is_none() => {
                        // Without a reply that says so it may also be ours of before.
                        return if is_there(&error) {
                            self.give_way(making, found, error).await
                        } else {
                            Err(error)
                        };
                    }
                    // Done or not: what is seen first may be what was before.
                    Some((found, _)) => {
                        (id, state) = self.wait_for_change(making, &found, &diff).await?;
                    }
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Err(Error::GivenUp("it never gets to be as declared".to_owned()))
    }

    /// Waits until AWS has changed a node and made it ready.
    ///
    /// INVARIANT: a read that may lag behind the change is not taken for the outcome, or the change
    /// would be begun once more while AWS is at it.
    async fn wait_for_change(
        &self,
        making: &Making<'_>,
        id: &Id,
        before: &Diff,
    ) -> Result<(Id, State), Error> {
        let deps = Deps(making.known);
        let begun = time::now();
        let mut waiting = Waiting::new(making.at.address, "changed");
        loop {
            let (found, state) = self.wait(making, Some(id)).await?;
            let diff = making.spec.diff(&state, &deps);
            if diff != *before || begun.elapsed() >= self.options.consistency {
                return Ok((found, state));
            }
            time::sleep(waiting.rest()?).await;
            waiting.say(self.options)?;
        }
    }

    /// Waits until AWS has made a node ready.
    async fn wait(&self, making: &Making<'_>, id: Option<&Id>) -> Result<(Id, State), Error> {
        let mut waiting = Waiting::new(making.at.address, "ready");
        loop {
            let rest = waiting.rest()?;
            let found = self.look(making, id, rest).await?;
            let found = found.into_iter().find(|live| id.is_none_or(|id| id == &live.id));
            if let Some(live) = found {
                match live.state.phase() {
                    Phase::Ready => return Ok((live.id, live.state)),
                    Phase::Failed(why) => return Err(Error::GivenUp(why)),
                    Phase::Pending | Phase::Going => {}
                }
            }
            waiting.say(self.options)?;
        }
    }

    /// Removes an object, and waits until it is gone; one that other stacks use stays for them.
    async fn remove(&self, at: &At<'_>, step: &Step) -> Result<(), Error> {
        let (Some(id), Some(state)) = (&step.id, &step.state) else {
            return Ok(());
        };
        let reader = self.hands.at(at.place)?.reader();
        // Whoever was to have it may be gone by now, and another one may have come.
        if !state.shared().is_empty() {
            let world = self.options.looks.world(reader, state.shared()).await?;
            let is_planned = matches!(step.change, Change::HandOver(_));
            match state.others(&world, id, at.stack()).first() {
                Some(to) => {
                    if !is_planned {
                        let text = format!("{}: the stack {to} uses it by now", at.address);
                        self.options.events.note(text);
                    }
                    return state.hand_over(self.hands, at, id, to).await;
                }
                None if is_planned => {
                    let text = format!("{}: nobody else uses it any more, so it goes", at.address);
                    self.options.events.note(text);
                }
                None => {}
            }
        }
        if state.delete(self.hands, at, id).await? == Next::Nothing {
            return Ok(());
        }
        let mut waiting = Waiting::new(at.address, "gone");
        loop {
            let rest = waiting.rest()?;
            let reads = state.reads();
            let looks = &self.options.looks;
            let found = looks.look(reader, at.address, reads, Some(id), rest).await?;
            if !found.iter().any(|live| &live.id == id) {
                return Ok(());
            }
            waiting.say(self.options)?;
        }
    }

    async fn look(
        &self,
        making: &Making<'_>,
        id: Option<&Id>,
        rest: Duration,
    ) -> Result<Vec<Live<State>>, Error> {
        let reader = self.hands.at(making.at.place)?.reader();
        let (address, reads) = (making.at.address, making.spec.reads());
        Ok(self.options.looks.look(reader, address, reads, id, rest).await?)
    }
}

/// Says whether AWS refused because such a thing is there already.
fn is_there(error: &Error) -> bool {
    matches!(error, Error::Aws(aws) if aws.verdict == Verdict::AlreadySo)
}

/// Says whether what is there is somebody else's by now.
fn is_theirs((_, state): &(Id, State)) -> bool {
    state.left_alone().is_some()
}

/// A wait: short rests first, an event a tick, always an end.
struct Waiting<'a> {
    address: &'a Address,
    until: &'static str,
    begun: time::Instant,
    backoff: Backoff,
    is_first: bool,
}

impl<'a> Waiting<'a> {
    fn new(address: &'a Address, until: &'static str) -> Self {
        let backoff = Backoff::new(Duration::from_millis(500), TICK, LIMIT);
        Self { address, until, begun: time::now(), backoff, is_first: true }
    }

    /// Returns how long to rest before the next look; the first comes at once.
    fn rest(&mut self) -> Result<Duration, Error> {
        if std::mem::take(&mut self.is_first) {
            return Ok(Duration::ZERO);
        }
        let minutes = LIMIT.as_secs() / 60;
        self.backoff.next_rest().ok_or(Error::TooLong { until: self.until, minutes })
    }

    fn say(&self, options: &Options) -> Result<(), Error> {
        if options.interrupt.came() {
            return Err(Error::Interrupted);
        }
        options.events.say(&Event::Waiting {
            node: self.address.clone(),
            until: self.until,
            usually: usually(self.address.kind),
            seconds: self.begun.elapsed().as_secs(),
        });
        Ok(())
    }
}

/// How long AWS usually takes (reports of public provider code and acceptance tests).
fn usually(kind: &str) -> &'static str {
    match kind {
        "vpn-connection" => "2–10 minutes",
        "vpn-gateway-attachment" => "1–2 minutes",
        _ => "a few seconds",
    }
}
