//! `push`: only what is on the Windows Server, whatever was pushed before.

use clap::Args;

use super::change::{self, Carried, ask, carry_out};
use super::login::Login;
use super::planned::{nothing_but, sets_the_server_up, show, situation};
use super::session::{Asked, Session};
use super::up::{Reaching, afterwards};
use super::{Changing, Code, Common, Outside, ServerAt, Stopped, Whereabouts};
use crate::plan::{Plan, is_record};
use crate::preflight::Situation;
use crate::resource::{Kind as _, WindowsSetup};
use crate::server::Restart;
use crate::topology;

/// Options of `push`.
#[derive(Debug, Clone, Args)]
pub struct Push {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
    /// What is common with `up`.
    #[command(flatten)]
    pub changing: Changing,
    /// When the server restarts, if a step needs it: now, never, or a time of its clock (HH:MM)
    #[arg(long, value_name = "WHEN", default_value = "now")]
    pub reboot: Restart,
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerAt,
    /// How to log in to the server.
    #[command(flatten)]
    pub login: Login,
}

/// Runs the steps on the server again, as after somebody has undone them there by hand.
pub(super) async fn push(outside: &Outside, options: Push) -> Result<Code, Stopped> {
    let asked = Asked::of_server(&options.at, &options.server);
    let mut session = Session::open(outside, &options.common, asked).await?;
    if !session.exists {
        return Err(session.is_unknown());
    }
    let situation = situation(&session)?;
    let changes = only_the_server(&session, &situation)?;
    show(&options.common, &situation, &changes);
    ask(&session, &options.changing, "Run the steps on the server?").await?;
    let Push { login, changing, reboot, .. } = &options;
    let reach = Reaching { login, patience: changing.patience(), reboot }
        .reach(&session, &situation, &changes)
        .await?;
    let way = reach.clone();
    let change = change::Change {
        options: changing,
        vpc: situation.cloud.vpc.clone(),
        planner: &|session| only_the_server(session, &self::situation(session)?),
        reach,
        again: "run `cgw push` again".to_owned(),
    };
    let Carried { code, .. } = carry_out(&mut session, changes.approve(), change).await?;
    match way {
        Some(way) if code == Code::Done => afterwards(&mut session, &options.common, way).await,
        Some(_) | None => Ok(code),
    }
}

/// The plan as if nothing were known of what was pushed; anything else in it is for `up`.
fn only_the_server(session: &Session, situation: &Situation) -> Result<Plan, Stopped> {
    let desired = topology::desired(situation);
    let changes = session.plan_without(&desired, WindowsSetup::NAME);
    if !changes.changes().any(sets_the_server_up) {
        return Err(Stopped::refused(
            "nothing is declared that would be pushed (--via none)",
            "choose a way with `cgw up --via`",
        ));
    }
    // Another way to the server that is named here stands in the record from then on.
    nothing_but(changes, |step| sets_the_server_up(step) || is_record(step.key.address()))
}
