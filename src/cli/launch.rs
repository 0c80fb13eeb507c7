//! A server from nothing: launched first, so that all else can be planned around it.

use super::change::{self, Carried, ask, carry_out};
use super::planned::AGAIN;
use super::session::Session;
use super::{Changing, Code, Common, Stopped};
use crate::plan::Plan;
use crate::preflight::{Launching, is_to_launch, launch};
use crate::resource::{GatewayInstance, Kind as _, StackRecord};
use crate::{topology, ui};

/// What comes first where a server is to be launched, and nothing else.
pub(super) fn first_plan(session: &Session) -> Result<Option<(Launching, Plan)>, Stopped> {
    if !is_to_launch(&session.request()) {
        return Ok(None);
    }
    session.must_know_own_steps()?;
    if session.has_node(GatewayInstance::NAME) {
        return Err(Stopped::refused(
            "this stack has launched a server already, which is not the one that is meant",
            "name it with --instance, or take the stack down first",
        ));
    }
    let launching = launch(&session.request())?;
    let nodes = topology::launched(&session.stack, &session.declared, &launching);
    let plan = session.plan(&nodes).only(&[StackRecord::NAME, GatewayInstance::NAME]);
    Ok(Some((launching, plan)))
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
/// whether it did. `check` refuses what would only be seen to fail once it costs money.
pub(super) async fn launch_first(
    session: &mut Session,
    common: &Common,
    changing: &Changing,
    check: impl FnOnce(&Session, &Launching) -> Result<(), Stopped>,
) -> Result<Result<bool, Code>, Stopped> {
    let Some((launching, plan)) = first_plan(session)? else { return Ok(Ok(false)) };
    check(session, &launching)?;
    show(common, &plan);
    ask(session, changing, "Launch the server?").await?;
    let change = change::Change {
        options: changing,
        vpc: launching.cloud.vpc,
        planner: &|session| match first_plan(session)? {
            Some((_, plan)) => Ok(plan),
            None => Err(Stopped::refused("there is a server by now", "run the same command again")),
        },
        reach: None,
        again: AGAIN.to_owned(),
    };
    let Carried { code, .. } = carry_out(session, plan.approve(), change).await?;
    if code != Code::Done {
        return Ok(Err(code));
    }
    session.exists = true;
    session.has_record = true;
    session.observe_again().await.map_err(|stopped| stopped.half_way(AGAIN))?;
    session.mean_the_launched();
    Ok(Ok(true))
}
