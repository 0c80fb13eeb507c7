//! A server from nothing: launched first, so that all else can be planned around it.

use super::change::{self, Carried, ask, carry_out};
use super::session::Session;
use super::{Changing, Code, Common, Stopped};
use crate::plan::Plan;
use crate::preflight::{is_to_launch, launch};
use crate::{topology, ui};

/// The plan that launches the server, if one is to be launched.
pub(super) fn first_plan(session: &Session) -> Result<Option<Plan>, Stopped> {
    if !is_to_launch(&session.request()) {
        return Ok(None);
    }
    let launching = launch(&session.request())?;
    let nodes = topology::launched(&session.stack, &session.declared, &launching);
    let plan = session.plan(&nodes);
    // All else of the stack is not declared here, and must not go for that.
    if plan.changes().any(|step| step.spec.is_none()) {
        return Err(Stopped::refused(
            "a server is to be launched for a stack that has more than that already",
            "name its server with --instance, or take the stack down first",
        ));
    }
    Ok(Some(plan))
}

/// Shows it.
pub(super) fn show(common: &Common, plan: &Plan) {
    let notes = ["all else is planned once the server runs".to_owned()];
    if common.json {
        let told = serde_json::json!({ "changes": plan, "notes": notes });
        ui::data(&ui::json_line("plan", &told));
    } else {
        ui::data(&ui::tell_plan(plan, &notes, &[]));
    }
}

/// Launches the server, if one is to be launched, and makes it the one that is meant; returns
/// whether it did.
pub(super) async fn launch_first(
    session: &mut Session,
    common: &Common,
    changing: &Changing,
) -> Result<Result<bool, Code>, Stopped> {
    let Some(plan) = first_plan(session)? else { return Ok(Ok(false)) };
    show(common, &plan);
    ask(changing, "Launch the server?")?;
    let vpc = launch(&session.request())?.cloud.vpc;
    let change = change::Change {
        options: changing,
        vpc,
        planner: &|session| {
            first_plan(session)?.ok_or_else(|| Stopped::refused("there is a server by now", ""))
        },
        reach: None,
        again: "run the same command to go on, or `cgw down` to take away what was made".to_owned(),
    };
    let Carried { code, .. } = carry_out(session, plan.approve(), change).await?;
    if code != Code::Done {
        return Ok(Err(code));
    }
    session.exists = true;
    session.has_record = true;
    session.observe_again().await?;
    session.mean_the_launched();
    Ok(Ok(true))
}
