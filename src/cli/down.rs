//! `down`: takes away all that the stack made, and puts back all that it changed.

use clap::Args;
use serde_json::json;

use super::change::{Carried, Change, ask, carry_out};
use super::fleet::Fleet;
use super::login::Login;
use super::session::{Asked, Session};
use super::{Changing, Code, Common, Outside, ServerAt, Stopped, Whereabouts};
use crate::address::{AwsId, Id};
use crate::aws::Tags;
use crate::plan::{Left, Plan, Step};
use crate::resource::State;
use crate::server::{Reach, Way, undo_by_hand};
use crate::spec::Via;
use crate::ui;

/// Options of `down`.
#[derive(Debug, Clone, Args)]
pub struct Down {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Whether it is for many stacks.
    #[command(flatten)]
    pub fleet: Fleet,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
    /// What is common with `up`.
    #[command(flatten)]
    pub changing: Changing,
    /// Only show what would be taken away
    #[arg(long)]
    pub dry_run: bool,
    /// Leave the Windows Server as it is
    #[arg(long)]
    pub keep_windows: bool,
    /// Remove the roles too that the steps have installed on the server
    #[arg(long, conflicts_with = "keep_windows")]
    pub remove_roles: bool,
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerAt,
    /// How to log in to the server.
    #[command(flatten)]
    pub login: Login,
}

/// Takes a stack down: the same planner with nothing desired.
pub(super) async fn down(outside: Outside, options: Down) -> Result<Code, Stopped> {
    let asked = Asked::of_server(&options.at, &options.server);
    let mut session = Box::pin(Session::open(&outside, &options.common, asked)).await?;
    if !session.exists {
        session.events.note(format!("stack {}: nothing is there", session.stack));
        return Ok(Code::Done);
    }
    let changes = session.plan(&[]);
    if options.common.json {
        ui::data(&ui::json_line("plan", &json!({ "changes": changes })));
    } else {
        ui::data(&ui::tell_plan(&changes, &notes(&options, &session, &changes), &[]));
    }
    if options.dry_run {
        return Ok(Code::Done);
    }
    // A lock that a dead run left behind is all there may be.
    if !changes.is_empty() {
        ask(&session, &options.changing, "Take all this away?").await?;
    } else if !changes.left.is_empty() {
        return Ok(Code::Done);
    }
    let vpc = vpc(&session).ok_or_else(|| {
        Stopped::refused("the stack's VPC is not to be found", "name it with --vpc")
    })?;
    let change = Change {
        options: &options.changing,
        vpc,
        planner: &|session| Ok(session.plan(&[])),
        reach: reach(&options, &session, &changes).await,
        again: "run `cgw down` again to take away the rest".to_owned(),
    };
    let Carried { code, plan, .. } = carry_out(&mut session, changes.approve(), change).await?;
    if code == Code::Done {
        for Left { address, id, because } in &plan.left {
            session.events.warn(format!("left: {address} {id}: {because}"));
        }
        let stack = &session.stack;
        session.events.note(match plan.left.len() {
            0 if session.has_record => format!("stack {stack}: all is taken away"),
            0 => format!("stack {stack}: all is taken away that is in {}", session.cloud),
            left => format!(
                "stack {stack}: {left} objects were left; run `cgw down --stack {stack}` again \
                 when nothing uses them any more"
            ),
        });
    }
    Ok(code)
}

/// Says whether a step takes back what was set on the server.
fn undoes_the_server(step: &Step) -> bool {
    matches!(step.state, Some(State::WindowsSetup(_)))
}

/// Says whether cgw is to take back what it has set on the server.
fn is_undone(options: &Down, session: &Session, plan: &Plan) -> bool {
    let is_remote = session.declared.via.is_some_and(Via::is_remote);
    let stays = the_server(plan).is_none();
    is_remote && stays && !options.keep_windows && plan.changes().any(undoes_the_server)
}

/// The server, if it was launched with the stack and goes with it.
fn the_server(plan: &Plan) -> Option<&Id> {
    let is_server = |step: &&Step| matches!(step.state, Some(State::GatewayInstance(_)));
    plan.changes().find(is_server)?.id.as_ref()
}

/// How the server is reached, if there is something to take back that cgw has set there.
///
/// That it cannot be logged in to stops nothing.
async fn reach(options: &Down, session: &Session, plan: &Plan) -> Option<Reach> {
    if !is_undone(options, session, plan) {
        return None;
    }
    match options.login.way(session, options.changing.consistency()).await {
        Ok(way) => {
            let way = Way { remove_roles: options.remove_roles, ..way };
            Some(Reach::Remote(Box::new(way)))
        }
        Err(stopped) => {
            session.events.warn(format!(
                "the server keeps what was set there: {}; {}",
                stopped.text(),
                undo_by_hand(&session.stack)
            ));
            None
        }
    }
}

/// What a person should know before the stack is taken down.
fn notes(options: &Down, session: &Session, plan: &Plan) -> Vec<String> {
    let ends = |step: &Step| matches!(step.state, Some(State::VpnConnection(_)));
    let mut notes = Vec::new();
    if let Some(server) = the_server(plan) {
        notes.push(format!(
            "the server {} was launched with the stack: it goes, and all that is on its disk",
            server.owner()
        ));
    } else if is_undone(options, session, plan) {
        notes.push(
            "first the server gets back the settings that it had before; the roles stay unless \
             --remove-roles is given"
                .to_owned(),
        );
    } else if plan.steps.iter().any(|step| undoes_the_server(step) || ends(step))
        && session.declared.via != Some(Via::None)
    {
        notes.push(format!(
            "the Windows Server keeps what was set there; {}",
            undo_by_hand(&session.stack)
        ));
    }
    if !session.has_record {
        notes.push(format!(
            "the stack's record is not in {}: what the stack has in another region or account is \
             not seen from here",
            session.cloud
        ));
    }
    notes
}

/// The VPC that holds the lock: where the record is, or any other group of the stack.
fn vpc(session: &Session) -> Option<AwsId> {
    let named = session.declared.vpc.as_ref().map(|vpc| vpc.id().clone());
    named.or_else(|| {
        let region = session.world.region(&session.cloud)?;
        let is_own = |tags: &Tags| tags.belongs_to(&session.stack);
        let group = region.groups.iter().find(|g| is_own(&g.tags)).map(|g| g.vpc.clone());
        let attached = region.vpn_gateways.iter().find(|g| is_own(&g.tags));
        let attached = attached.and_then(|g| Some(g.attachment.as_ref()?.0.clone()));
        // Any VPC serves to hold a lock on what hangs from none.
        group.or(attached).or_else(|| region.vpcs.first().map(|vpc| vpc.id.clone()))
    })
}
