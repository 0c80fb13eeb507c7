//! `status`: nodes, tunnels, drift and cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use clap::Args;
use serde_json::{Value, json};

use super::session::{Asked, Session};
use super::{Code, Common, Stopped, Whereabouts};
use crate::address::Stack;
use crate::preflight::{Stop, examine};
use crate::render::cost;
use crate::resource::{self, Kind as _, Live, Phase, State, VpnConnection};
use crate::world::Telemetry;
use crate::{plan, topology, ui};

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
    #[arg(long)]
    pub show_secrets: bool,
    /// Exit with 5 when both tunnels are down, else with 3 when something is not as declared
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Whether keys are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Hidden,
    Shown,
}

/// Shows a stack.
pub(super) async fn status(options: Status) -> Result<Code, Stopped> {
    let session = Session::open(&options.common, Asked::from(&options.at)).await?;
    let secrets = if options.show_secrets { Secrets::Shown } else { Secrets::Hidden };
    let code = show(&session, &options.common, secrets)?;
    Ok(if options.detailed_exitcode { code } else { Code::Done })
}

/// Shows the stack of a session; the code says what is not well.
pub(super) fn show(session: &Session, common: &Common, secrets: Secrets) -> Result<Code, Stopped> {
    if !session.exists {
        return Err(Stopped::refused(
            format!("there is no stack {} in {}", session.stack, session.cloud),
            "name another with --stack, or its region with --region",
        ));
    }
    let live = resource::find(&session.world, &session.stack);
    let tunnels = tunnels(session);
    let keys = if secrets == Secrets::Shown { keys(session) } else { BTreeMap::new() };
    let (drift, cost) = drift(session, &live);
    let code = match (tunnels.iter().any(|tunnel| tunnel.is_up), drift.is_empty()) {
        (false, _) => Code::TunnelsDown,
        (true, false) => Code::Changes,
        (true, true) => Code::Done,
    };
    if common.json {
        let nodes: Vec<Value> = live.iter().map(node).collect();
        ui::data(&ui::json_line(
            "status",
            &json!({
                "stack": session.stack,
                "nodes": nodes,
                "tunnels": tunnels,
                "keys": keys,
                "drift": drift,
                "cost": cost,
            }),
        ));
        return Ok(code);
    }
    let mut text = String::new();
    let mut say = |words: String| writeln!(text, "{words}").expect("a String takes all");
    say(format!("stack {}", session.stack));
    for node in &live {
        say(format!(
            "  {:<52} {:<28} {}",
            node.address.node(),
            node.id.owner(),
            phase(&node.state)
        ));
    }
    for tunnel in &tunnels {
        let state = if tunnel.is_up { "UP" } else { "DOWN" };
        let since = tunnel.since.map(|t| format!(" since {t}")).unwrap_or_default();
        let message =
            if tunnel.message.is_empty() { String::new() } else { format!(": {}", tunnel.message) };
        say(format!("tunnel {} {state}{since}{message}", tunnel.outside));
    }
    for (outside, key) in &keys {
        say(format!("key of the tunnel to {outside}: {key}"));
    }
    if !tunnels.is_empty() {
        say(judgement(&tunnels).to_owned());
    }
    for words in &drift {
        say(format!("drift: {words}"));
    }
    if drift.is_empty() {
        say("as declared".to_owned());
    }
    say(format!("cost: {cost}"));
    ui::data(&text);
    Ok(code)
}

/// One tunnel that is down is normal: AWS uses one at a time.
fn judgement(tunnels: &[Telemetry]) -> &'static str {
    if tunnels.iter().any(|tunnel| tunnel.is_up) {
        "one tunnel carries the traffic; that the other is down is normal"
    } else {
        "both tunnels are down: they come up when the server sends something into the VPC"
    }
}

fn tunnels(session: &Session) -> Vec<Telemetry> {
    let connections = session.world.regions.iter().flat_map(|region| &region.connections);
    let is_own = |stack: &Stack, tags: &crate::aws::Tags| {
        tags.node_key(stack, VpnConnection::NAME).is_some()
    };
    connections
        .filter(|c| is_own(&session.stack, &c.tags))
        .flat_map(|c| c.telemetry.clone())
        .collect()
}

/// The keys, only for who asked to see them.
fn keys(session: &Session) -> BTreeMap<Ipv4Addr, String> {
    let connections = session.world.regions.iter().flat_map(|region| &region.connections);
    connections
        .filter(|c| c.tags.node_key(&session.stack, VpnConnection::NAME).is_some())
        .flat_map(|c| &c.tunnels)
        .filter_map(|t| Some((t.outside, t.key.as_ref()?.expose().to_owned())))
        .collect()
}

fn node(live: &Live<State>) -> Value {
    json!({ "node": live.address, "id": live.id, "phase": phase(&live.state), "state": live.state })
}

fn phase(state: &State) -> String {
    match state.phase() {
        Phase::Ready => "ready".to_owned(),
        Phase::Pending => "pending".to_owned(),
        Phase::Going => "going".to_owned(),
        Phase::Failed(why) => format!("failed: {why}"),
    }
}

/// What differs from what was declared, in words; and what it costs.
fn drift(session: &Session, live: &[Live<State>]) -> (Vec<String>, cost::Cost) {
    let situation = match examine(&session.request()) {
        Ok(situation) => situation,
        Err(stop) => {
            let nothing = plan::plan(&session.stack, &[], live, &session.world);
            let words = match stop {
                Stop::Refused(refusals) => refusals.into_iter().map(|r| r.text).collect(),
                Stop::Choose(_) => vec!["it is not known which server is the gateway".to_owned()],
            };
            return (words, cost::after(&nothing));
        }
    };
    let desired = topology::desired(&situation);
    let plan = plan::plan(&session.stack, &desired, live, &session.world);
    let words = plan.changes().map(|step| {
        let detail = match &step.change {
            plan::Change::Update(diff) | plan::Change::Replace(diff) => format!(": {diff}"),
            plan::Change::Keep
            | plan::Change::Adopt
            | plan::Change::Check
            | plan::Change::Create
            | plan::Change::Delete
            | plan::Change::Restore => String::new(),
        };
        format!("{} {}{detail}", step.change.word(), step.key.address())
    });
    (words.collect(), cost::after(&plan))
}
