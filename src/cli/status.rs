//! `status`: nodes, tunnels, drift and cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use clap::Args;
use serde_json::{Value, json};

use super::session::{Asked, Session};
use super::watch::{Watch, watch};
use super::{Code, Common, Outside, Stopped, Whereabouts};
use crate::address::{Address, Id, Stack};
use crate::plan::{Change, Left, Plan, Step};
use crate::preflight::{Stop, examine};
use crate::render::cost;
use crate::resource::{self, Live, Phase, State};
use crate::world::Telemetry;
use crate::{topology, ui};

/// Options of `status`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
    /// Show the tunnels' pre-shared keys
    #[arg(long, conflicts_with = "watch")]
    pub show_secrets: bool,
    /// Exit with 5 when both tunnels are down, else with 3 when something is not as declared
    #[arg(long, conflicts_with = "watch")]
    pub detailed_exitcode: bool,
    /// How it is watched.
    #[command(flatten)]
    pub watch: Watch,
}

/// Whether keys are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Hidden,
    Shown,
}

/// Shows a stack.
pub(super) async fn status(outside: &Outside, options: Status) -> Result<Code, Stopped> {
    if options.watch.watch {
        return Box::pin(watch(outside, &options)).await;
    }
    let session = Session::open(outside, &options.common, Asked::from(&options.at)).await?;
    let secrets = if options.show_secrets { Secrets::Shown } else { Secrets::Hidden };
    let code = Report::of(&session)?.show(&options.common, secrets);
    Ok(if options.detailed_exitcode { code } else { Code::Done })
}

/// What is known of a stack.
pub(super) struct Report<'a> {
    stack: &'a Stack,
    nodes: Vec<Shown>,
    /// What is not as declared, in words.
    drift: Vec<String>,
}

/// One node as it is shown.
struct Shown {
    address: Address,
    id: Id,
    state: State,
    /// Whether the state is from before it was changed in place: then only its phase, and of tunnels
    /// what AWS measured, is shown.
    is_outdated: bool,
}

impl Shown {
    fn json(&self) -> Value {
        let state = (!self.is_outdated).then_some(&self.state);
        let phase = phase(&self.state);
        json!({ "node": self.address, "id": self.id, "phase": phase, "state": state })
    }
}

impl<'a> Report<'a> {
    /// What was observed.
    pub(super) fn of(session: &'a Session) -> Result<Self, Stopped> {
        if !session.exists {
            return Err(session.is_unknown());
        }
        let live = resource::find(&session.world, &session.stack);
        let mut nodes: Vec<Shown> = live
            .into_iter()
            .map(|Live { address, id, state, .. }| Shown { address, id, state, is_outdated: false })
            .collect();
        // By two profiles of one account the same region is read twice.
        let mut seen = BTreeSet::new();
        nodes.retain(|node| seen.insert((node.address.clone(), node.id.clone())));
        Ok(Self { stack: &session.stack, nodes, drift: drift(session) })
    }

    /// What a plan that was carried out has left: the stack's own nodes, as they were seen and as
    /// AWS's replies told.
    pub(super) fn after(plan: &'a Plan, mut known: BTreeMap<Address, (Id, State)>) -> Self {
        let stays = |step: &&Step| step.spec.is_some() && step.change != Change::Adopt;
        let own = plan.steps.iter().filter(stays);
        let nodes = own.filter_map(|step| {
            let (address, (id, state)) = known.remove_entry(step.key.address())?;
            let is_outdated = matches!(step.change, Change::Update(_));
            Some(Shown { address, id, state, is_outdated })
        });
        Self {
            stack: &plan.stack,
            nodes: nodes.collect(),
            drift: plan.left.iter().map(left).collect(),
        }
    }

    /// Shows it; the code says what is not well.
    pub(super) fn show(&self, common: &Common, secrets: Secrets) -> Code {
        let connections = || {
            self.nodes.iter().filter_map(|node| {
                let State::VpnConnection(state) = &node.state else { return None };
                Some(state)
            })
        };
        let tunnels: Vec<&Telemetry> = connections().flat_map(|c| &c.telemetry).collect();
        let keys: BTreeMap<Ipv4Addr, &str> = connections()
            .flat_map(|c| &c.tunnels)
            .filter(|_| secrets == Secrets::Shown)
            .filter_map(|t| Some((t.outside, t.key.as_ref()?.expose())))
            .collect();
        let cost = cost::of(self.nodes.iter().map(|node| node.address.kind));
        if common.json {
            ui::data(&ui::json_line(
                "status",
                &json!({
                    "stack": self.stack,
                    "nodes": self.nodes.iter().map(Shown::json).collect::<Vec<Value>>(),
                    "tunnels": tunnels,
                    "keys": keys,
                    "drift": self.drift,
                    "cost": cost,
                }),
            ));
        } else {
            ui::data(&self.tell(&tunnels, &keys, cost));
        }
        match (tunnels.iter().any(|tunnel| tunnel.is_up), self.drift.is_empty()) {
            (false, _) => Code::TunnelsDown,
            (true, false) => Code::Changes,
            (true, true) => Code::Done,
        }
    }

    fn tell(
        &self,
        tunnels: &[&Telemetry],
        keys: &BTreeMap<Ipv4Addr, &str>,
        cost: cost::Cost,
    ) -> String {
        let mut text = String::new();
        let mut say = |words: String| {
            writeln!(text, "{}", ui::saying(&words)).expect("a String takes all");
        };
        say(format!("stack {}", self.stack));
        for Shown { address, id, state, .. } in &self.nodes {
            say(format!("  {:<52} {:<28} {}", address.node(), id.owner(), phase(state)));
        }
        for tunnel in tunnels {
            let state = if tunnel.is_up { "UP" } else { "DOWN" };
            let since = tunnel.since.map(|t| format!(" since {t}")).unwrap_or_default();
            let message = Some(&tunnel.message).filter(|message| !message.is_empty());
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            say(format!("tunnel {} {state}{since}{message}", tunnel.outside));
        }
        for (outside, key) in keys {
            say(format!("key of the tunnel to {outside}: {key}"));
        }
        if !tunnels.is_empty() {
            say(judgement(tunnels).to_owned());
        }
        for words in &self.drift {
            say(format!("drift: {words}"));
        }
        if self.drift.is_empty() {
            say("as declared".to_owned());
        }
        say(format!("cost: {cost}"));
        text
    }
}

/// One tunnel that is down is normal: AWS uses one at a time.
pub(super) fn judgement(tunnels: &[&Telemetry]) -> &'static str {
    if tunnels.iter().any(|tunnel| tunnel.is_up) {
        "one tunnel carries the traffic; that the other is down is normal"
    } else {
        "both tunnels are down: they come up when the server sends something into the VPC"
    }
}

fn phase(state: &State) -> String {
    match state.phase() {
        Phase::Ready => "ready".to_owned(),
        Phase::Pending => "pending".to_owned(),
        Phase::Going => "going".to_owned(),
        Phase::Failed(why) => format!("failed: {why}"),
    }
}

fn left(left: &Left) -> String {
    format!("{} {} is left: {}", left.address, left.id, left.because)
}

/// What differs from what was declared, in words.
fn drift(session: &Session) -> Vec<String> {
    let situation = match examine(&session.request()) {
        Ok(situation) => situation,
        Err(Stop::Refused(refusals)) => {
            return refusals.into_iter().map(|r| format!("{} ({})", r.text, r.hint)).collect();
        }
        Err(Stop::Choose(_)) => {
            return vec!["it is not known which server is the gateway".to_owned()];
        }
    };
    let plan = session.plan(&topology::desired(&situation));
    let words = plan.changes().map(|step| {
        let detail = match &step.change {
            Change::Update(diff) | Change::Replace(diff) => format!(": {diff}"),
            Change::Keep
            | Change::Adopt
            | Change::Check
            | Change::Create
            | Change::Delete
            | Change::Restore
            | Change::HandOver(_) => String::new(),
        };
        format!("{} {}{detail}", step.change.word(), step.key.address())
    });
    words.collect()
}
