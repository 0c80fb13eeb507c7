//! `down`: takes away all that the stack made, and puts back all that it changed.

use clap::Args;
use serde_json::json;

use super::change::{Carried, Change, ask, carry_out};
use super::session::{Asked, Session};
use super::{Changing, Code, Common, Stopped, Whereabouts};
use crate::address::{AwsId, Id};
use crate::aws::Tags;
use crate::plan::{self, Left, Plan};
use crate::resource::{self, Kind as _, VpnConnection};
use crate::ui;

/// Options of `down`.
#[derive(Debug, Clone, Args)]
pub struct Down {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
    /// What is common with `up`.
    #[command(flatten)]
    pub changing: Changing,
    /// Only show what would be taken away
    #[arg(long)]
    pub dry_run: bool,
}

/// Takes a stack down: the same planner with nothing desired.
pub(super) async fn down(options: Down) -> Result<Code, Stopped> {
    let mut session = Session::open(&options.common, Asked::from(&options.at)).await?;
    if !session.exists {
        session.events.note(format!("stack {}: nothing is there", session.stack));
        return Ok(Code::Done);
    }
    let changes = changes(&session);
    if options.common.json {
        ui::data(&ui::json_line("plan", &json!({ "changes": changes })));
    } else {
        ui::data(&ui::tell_plan(&changes, &notes(&changes), &[]));
    }
    if options.dry_run {
        return Ok(Code::Done);
    }
    // A lock that a dead run left behind is all there may be.
    if !changes.is_empty() {
        ask(&options.changing, "Take all this away?")?;
    } else if !changes.left.is_empty() {
        return Ok(Code::Done);
    }
    let vpc = vpc(&session).ok_or_else(|| {
        Stopped::refused("the stack's VPC is not to be found", "name it with --vpc")
    })?;
    let change = Change {
        options: &options.changing,
        vpc,
        planner: &|session| Ok(self::changes(session)),
        reach: None,
        again: "run `cgw down` again to take away the rest".to_owned(),
    };
    let Carried { code, left } = carry_out(&mut session, changes.approve(), change).await?;
    if code == Code::Done {
        for Left { address, id, because } in &left {
            session.events.warn(format!("left: {address} {id}: {because}"));
        }
        session.events.note(match left.len() {
            0 => format!("stack {}: all is taken away", session.stack),
            left => format!("stack {}: {left} objects were left", session.stack),
        });
    }
    Ok(code)
}

fn changes(session: &Session) -> Plan {
    let live = resource::find(&session.world, &session.stack);
    plan::plan(&session.stack, &[], &live, &session.world)
}

/// What only a person can take away from the server.
fn notes(plan: &Plan) -> Vec<String> {
    let is_connection = |step: &&plan::Step| step.key.address().kind == VpnConnection::NAME;
    let ids = plan.steps.iter().filter(is_connection).filter_map(|step| step.id.as_ref());
    let rule = |id: &Id| {
        format!(
            "the Windows Server keeps its settings; remove its rules there with netsh advfirewall \
             consec delete rule name=\"{id} Tunnel 1\", and the same for Tunnel 2"
        )
    };
    ids.map(rule).collect()
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
