//! What the commands that change a stack begin with: what is declared is examined, planned and shown.

use serde_json::json;

use super::session::Session;
use super::{Common, Stopped};
use crate::plan::{Plan, Step};
use crate::preflight::{Site, Situation, Stop, examine};
use crate::render::cost;
use crate::resource::Spec;
use crate::{topology, ui};

/// How to go on with what is half made.
pub(super) const AGAIN: &str =
    "run the same command to go on, or `cgw down` to take away what was made";

/// Examines what is declared, and refuses what cannot be.
pub(super) fn situation(session: &Session) -> Result<Situation, Stopped> {
    session.must_know_own_steps()?;
    examine(&session.request()).map_err(|stop| match stop {
        Stop::Refused(refusals) => refusals.into(),
        Stop::Choose(candidates) => {
            let labels: Vec<String> = candidates.into_iter().map(|c| c.label).collect();
            Stopped::refused(
                format!("several servers could be the gateway: {}", labels.join(", ")),
                "name one with --instance",
            )
        }
    })
}

/// Shows a plan, with what a person should know and what it costs.
pub(super) fn show(common: &Common, situation: &Situation, changes: &Plan) {
    let tasks = topology::for_the_owner(situation);
    if common.json {
        let cost = cost::after(changes);
        let notes = &situation.notes;
        let all = json!({ "changes": changes, "notes": notes, "tasks": tasks, "cost": cost });
        ui::data(&ui::json_line("plan", &all));
    } else {
        if let Site::Instance(server) = &situation.site {
            ui::data(&format!("server: {}, {}\n", server.label, server.private_ip));
        }
        // Notes are about what will happen: with nothing to do they would be noise.
        let notes = if changes.is_empty() { &[][..] } else { &situation.notes };
        ui::data(&ui::tell_plan(changes, notes, &tasks));
    }
}

/// Refuses a plan that does more than some steps.
pub(super) fn nothing_but(plan: Plan, is_ours: impl Fn(&Step) -> bool) -> Result<Plan, Stopped> {
    if let Some(other) = plan.changes().find(|step| !is_ours(step)) {
        return Err(Stopped::refused(
            format!("more is to be done than that: {}", other.key.address()),
            "run `cgw up` first, which does all of it",
        ));
    }
    Ok(plan)
}

/// Says whether a step runs the scripts on the server.
pub(super) fn sets_the_server_up(step: &Step) -> bool {
    matches!(step.spec, Some(Spec::WindowsSetup(_)))
}
