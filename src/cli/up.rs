//! `up` and `plan`: from what is declared to a plan, and with `up` to the thing itself.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::by_hand::by_hand;
use super::change::{self, Carried, ask, carry_out, interruptible};
use super::fleet::Fleet;
use super::launch::{self, launch_first};
use super::login::Login;
use super::planned::{AGAIN, sets_the_server_up, show, situation};
use super::probe::{must_have_a_place, warn_of_probe, with_probe};
use super::prove::{must_log_in, prove};
use super::session::{Asked, Session, Unnamed};
use super::status::{Report, Secrets};
use super::turns::{Turns, What};
use super::{Changing, Code, Common, Outside, Stopped};
use crate::plan::{Change, Left, Plan as Changes, Step};
use crate::preflight::{Launching, Site, Situation, Stop, examine};
use crate::resource::{Kind as _, State, WindowsSetup};
use crate::server::{Reach, Restart, Way, scripts_in};
use crate::spec::{Declared, Via};
use crate::{topology, ui};

/// Options of `plan`.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Whether it is for many stacks.
    #[command(flatten)]
    pub fleet: Fleet,
    /// What is wanted.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Exit with 3 when there is something to change
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// What is declared, and what counts of that.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// What is declared.
    #[command(flatten)]
    pub declared: Declared,
    /// Forget what was declared earlier with these flags, so that their defaults count again
    #[arg(long, value_name = "FLAGS", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(Declared::FLAGS), hide_possible_values = true)]
    pub unset: Vec<String>,
    /// The account's quotas (Elastic IPs, gateways, connections) are higher than AWS's defaults
    #[arg(long)]
    pub quota_raised: bool,
}

impl From<Wanted> for Asked {
    fn from(Wanted { declared, unset, quota_raised }: Wanted) -> Self {
        Self { declared, unset, quota_raised, unnamed: Unnamed::MayBeNew }
    }
}

/// Options of `up`.
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// What is common with `plan`.
    #[command(flatten)]
    pub plan: Plan,
    /// What is common with `down`.
    #[command(flatten)]
    pub changing: Changing,
    /// Only show the plan
    #[arg(long)]
    pub dry_run: bool,
    /// Replace or end a VPN connection that exists, change the suites of tunnels that carry traffic,
    /// or terminate the server that was launched
    ///
    /// With a replacement its addresses change; with other suites its tunnels are down until the
    /// server has them too.
    #[arg(long)]
    pub allow_replace: bool,
    /// Launch a small instance in the VPC to prove the tunnel with, and terminate it afterwards
    #[arg(long, conflicts_with = "ping")]
    pub probe: bool,
    /// When the server restarts, if a step needs it: now, never, or a time of its clock (HH:MM)
    #[arg(long, value_name = "WHEN", default_value = "now")]
    pub reboot: Restart,
    /// How to log in to the server.
    #[command(flatten)]
    pub login: Login,
}

/// Shows what `up` would do. Holds only readers, so it cannot change anything.
pub(super) async fn plan(outside: Outside, options: Plan) -> Result<Code, Stopped> {
    let mut session =
        Session::open(&outside, &options.common, options.wanted.clone().into()).await?;
    if let Some((_, changes)) = launch::first_plan(&session)? {
        launch::show(&options.common, &changes);
        return Ok(if options.detailed_exitcode { Code::Changes } else { Code::Done });
    }
    session.look_for_a_way().await;
    let situation = situation(&session)?;
    let changes = session.plan(&topology::desired(&situation));
    show(&options.common, &situation, &changes);
    let is_asked = options.detailed_exitcode && !changes.is_empty();
    Ok(if is_asked { Code::Changes } else { Code::Done })
}

/// Makes the VPN.
pub(super) async fn up(outside: Outside, options: Up) -> Result<Code, Stopped> {
    if options.dry_run {
        return Box::pin(plan(outside, options.plan)).await;
    }
    let common = &options.plan.common;
    let mut session =
        Box::pin(Session::open(&outside, common, options.plan.wanted.clone().into())).await?;
    let check = |session: &Session, launching: &Launching| {
        if options.probe {
            must_have_a_place(&launching.cloud)?;
        }
        if launching.via == Via::Files {
            scripts_in(&folder(session))?;
        }
        options.login.check(session, launching.via)
    };
    let launching = Box::pin(launch_first(&mut session, common, &options.changing, check));
    let is_new = match launching.await? {
        Ok(is_new) => is_new,
        Err(code) => return Ok(code),
    };
    let trigger = session.trigger.clone();
    let made = Box::pin(make(&options, &mut session));
    if !is_new {
        return made.await;
    }
    let made = interruptible(&trigger, made).await;
    if made.is_err() {
        warn_of_probe(&session);
    }
    made.map_err(|stopped| stopped.half_way(AGAIN))
}

/// Makes all of it, around the server that is there.
async fn make(options: &Up, session: &mut Session) -> Result<Code, Stopped> {
    Box::pin(session.look_for_a_way()).await;
    if options.changing.yes {
        must_name_the_server(session)?;
    }
    let situation = match examined(options, session) {
        Ok(situation) => situation,
        Err(stopped) => choose(options, session).ok_or(stopped)??,
    };
    if options.probe {
        must_have_a_place(&situation.cloud)?;
    }
    // The server that was found is the one that was shown.
    session.declared = situation.declared.clone();
    let changes = session.plan(&topology::desired(&situation));
    if changes.is_empty() {
        return Box::pin(as_declared(options, session)).await;
    }
    match by_turns(options, session, &situation, &changes) {
        Some(ping) => Box::pin(take_turns(options, session, ping)).await,
        None => Box::pin(carry(options, session, &situation, changes)).await,
    }
}

/// Examines what is declared, with what `--allow-replace` allows.
fn examined(options: &Up, session: &Session) -> Result<Situation, Stopped> {
    let may_cut_off = options.allow_replace;
    situation(session).map(|situation| Situation { may_cut_off, ..situation })
}

/// Shows that there is nothing to change, and proves it if that is asked for.
async fn as_declared(options: &Up, session: &mut Session) -> Result<Code, Stopped> {
    let common = &options.plan.common;
    if !common.json {
        ui::data(&format!("stack {}: nothing to change\n", session.stack));
    }
    if !session.shared.is_fleet() {
        Report::of(session)?.show(common, Secrets::Hidden);
    }
    if !options.probe {
        return Ok(Code::Done);
    }
    must_log_in(session, "PROBE")?;
    let way = options.login.way(session, Duration::from_secs(30)).await?;
    prove_with_probe(options, session, way).await
}

/// Sets both tunnels to other suites, one after the other.
async fn take_turns(options: &Up, session: &mut Session, ping: Ipv4Addr) -> Result<Code, Stopped> {
    let turns = Turns {
        what: What::Suites,
        common: &options.plan.common,
        changing: &options.changing,
        way: options.login.way(session, Duration::from_secs(30)).await?,
        ping,
        allowed: &|plan| allowed(&plan, &changes_suites).map(|()| plan),
        again: "run the same command again",
    };
    turns.take(session).await
}

/// Carries the plan out, and proves that what it made works.
async fn carry(
    options: &Up,
    session: &mut Session,
    situation: &Situation,
    changes: Changes,
) -> Result<Code, Stopped> {
    let Up { plan: Plan { common, .. }, login, changing, reboot, .. } = options;
    show(common, situation, &changes);
    let may_end = |_: &Step| options.allow_replace;
    allowed(&changes, &may_end)?;
    ask(session, changing, "Carry this out?").await?;
    let is_at_its_first_start = !session.has_node(WindowsSetup::NAME)
        && matches!(&situation.site, Site::Instance(server) if server.is_launched);
    let patience = if is_at_its_first_start { FIRST_START } else { changing.patience() };
    let reaching = Reaching { login, patience, reboot };
    let reach = Box::pin(reaching.reach(session, situation, &changes)).await?;
    let way = reach.clone();
    let change = change::Change {
        options: changing,
        vpc: situation.cloud.vpc.clone(),
        planner: &|session| {
            let changes = session.plan(&topology::desired(&examined(options, session)?));
            allowed(&changes, &may_end).map_err(Stopped::meanwhile)?;
            Ok(changes)
        },
        reach,
        again: AGAIN.to_owned(),
    };
    let Carried { code, plan } = carry_out(session, changes.approve(), change).await?;
    if code != Code::Done {
        return Ok(code);
    }
    for task in topology::for_the_owner(situation) {
        session.events.note(format!("for you to do: {task}"));
    }
    if situation.via == Via::None {
        session.events.note(
            "not proven: cgw sets no server up (--via none); `cgw status` shows a tunnel as UP once \
             the site has sent something through it",
        );
    }
    if !session.shared.is_fleet() {
        Report::after(&plan, session.made.clone()).show(common, Secrets::Hidden);
    }
    match way {
        Some(Reach::Remote(way)) if options.probe => prove_with_probe(options, session, *way).await,
        Some(way) => Box::pin(afterwards(session, common, way)).await,
        None if options.probe && situation.via.is_remote() => {
            let way = Box::pin(login.way(session, Duration::from_secs(30))).await?;
            prove_with_probe(options, session, way).await
        }
        None => Ok(code),
    }
}

async fn prove_with_probe(options: &Up, session: &mut Session, way: Way) -> Result<Code, Stopped> {
    let prove = async |session: &mut Session, ping| {
        prove_by(session, &options.plan.common, way, ping).await
    };
    Box::pin(with_probe(session, &options.changing, prove)).await
}

/// Proves over the way by which the server was just set up; its address may be a new one, unless it
/// was declared.
async fn prove_by(
    session: &Session,
    common: &Common,
    way: Way,
    ping: Ipv4Addr,
) -> Result<Code, Stopped> {
    let way = Way { host: session.server_address(), ..way };
    // Whatever stops it, something was changed before.
    let proven = prove(session, common, &way, ping).await;
    proven.map_err(|stopped| stopped.half_way("all is set; prove it with `cgw test`"))
}

/// A ping is the proof; without one the tunnels are set, and no more is known.
pub(super) async fn afterwards(
    session: &mut Session,
    common: &Common,
    way: Reach,
) -> Result<Code, Stopped> {
    match (way, session.declared.ping) {
        (Reach::Remote(way), Some(ping)) => {
            let trigger = session.trigger.clone();
            interruptible(&trigger, prove_by(session, common, *way, ping)).await
        }
        (Reach::ByHand(folder), _) => by_hand(session, common, &folder).await,
        (Reach::Remote(_), None) => {
            session.events.note(
                "not proven: no ping was sent through a tunnel; `cgw test --ping ADDRESS` or `cgw \
                 test --probe` does",
            );
            Ok(Code::Done)
        }
    }
}

/// Asks which server, if several could be the gateway and somebody can be asked.
fn choose(options: &Up, session: &mut Session) -> Option<Result<Situation, Stopped>> {
    let Err(Stop::Choose(candidates)) = examine(&session.request()) else {
        return None;
    };
    let labels: Vec<String> = candidates.iter().map(|c| c.label.clone()).collect();
    let chosen = ui::choose("Number of the server that is to be the gateway", &labels)?;
    session.declared.instance = candidates[chosen].id.as_str().parse().ok();
    Some(examined(options, session))
}

/// `--yes` approves a plan; it does not choose whose server is changed.
fn must_name_the_server(session: &Session) -> Result<(), Stopped> {
    let declared = &session.declared;
    if declared.instance.is_some() || declared.gateway_ip.is_some() {
        return Ok(());
    }
    let found = match examine(&session.request()) {
        Ok(situation) => situation.declared.instance.iter().map(ToString::to_string).collect(),
        Err(Stop::Choose(all)) => all.into_iter().map(|c| c.label).collect::<Vec<String>>(),
        // The preflight says what could be chosen, and why it cannot.
        Err(Stop::Refused(refusals)) => return Err(refusals.into()),
    };
    Err(Stopped::refused(
        format!("--yes does not choose a server; it could be {}", found.join(", ")),
        "name it with --instance",
    ))
}

/// The host to ping, where suites of tunnels that carry traffic are to be changed and one can be
/// changed while the other is proven to carry it.
fn by_turns(
    options: &Up,
    session: &Session,
    situation: &Situation,
    changes: &Changes,
) -> Option<Ipv4Addr> {
    let is_set_up = session.has_node(WindowsSetup::NAME);
    let is_wanted = !options.allow_replace && changes.changes().any(changes_suites);
    situation.declared.ping.filter(|_| is_wanted && is_set_up && situation.via.is_remote())
}

/// What a plan may not do at all, or not without being told: which steps may end a connection, or
/// take a tunnel down that carries traffic, `may_end` says.
fn allowed(changes: &Changes, may_end: &dyn Fn(&Step) -> bool) -> Result<(), Stopped> {
    if let Some(stuck) = changes.stuck().next() {
        let Left { address, id, because } = stuck;
        return Err(Stopped::refused(
            format!("{address} would have to be replaced, but {id} cannot be removed: {because}"),
            "remove what uses it, or declare what was declared before",
        ));
    }
    if changes.changes().any(|step| ends_the_server(step) && !may_end(step)) {
        return Err(Stopped::refused(
            "the plan terminates the server that this stack has launched, with all that is on its \
             disk",
            "allow it with --allow-replace",
        ));
    }
    if changes.changes().any(|step| ends_a_connection(step) && !may_end(step)) {
        return Err(Stopped::refused(
            "the plan takes tunnels down that carry traffic, or replaces a VPN connection, whose \
             addresses then change",
            "allow it with --allow-replace; where --ping names a host and cgw logs in to the \
             server, another --crypto is set one tunnel after the other instead",
        ));
    }
    Ok(())
}

/// Says whether a step terminates the server.
fn ends_the_server(step: &Step) -> bool {
    step.change == Change::Delete && matches!(step.state, Some(State::GatewayInstance(_)))
}

/// Says whether a step changes tunnels that carry traffic, and no more than that.
fn changes_suites(step: &Step) -> bool {
    matches!(step.change, Change::Update(_)) && ends_a_connection(step)
}

/// Says whether a step replaces the VPN connection, or removes or changes one that carries traffic:
/// with other suites its tunnels are down until the server has them too.
fn ends_a_connection(step: &Step) -> bool {
    match (&step.change, &step.state) {
        (Change::Replace(_), Some(State::VpnConnection(_))) => true,
        (Change::Delete | Change::Update(_), Some(State::VpnConnection(state))) => {
            state.carries_traffic()
        }
        _ => false,
    }
}

/// How long a server that was just launched may take until somebody can log in.
const FIRST_START: Duration = Duration::from_mins(20);

/// Where the scripts are left for a person.
fn folder(session: &Session) -> PathBuf {
    PathBuf::from(format!("cgw-{}", session.stack))
}

/// What says how the server is reached, besides what is declared.
pub(super) struct Reaching<'a> {
    pub(super) login: &'a Login,
    /// How long to go on while the server cannot be reached.
    pub(super) patience: Duration,
    pub(super) reboot: &'a Restart,
}

impl Reaching<'_> {
    /// How the server is reached, if the plan sets it up.
    pub(super) async fn reach(
        &self,
        session: &Session,
        situation: &Situation,
        changes: &Changes,
    ) -> Result<Option<Reach>, Stopped> {
        if !changes.changes().any(sets_the_server_up) {
            return Ok(None);
        }
        match situation.via {
            Via::None => Ok(None),
            Via::Files => {
                let folder = folder(session);
                scripts_in(&folder)?;
                Ok(Some(Reach::ByHand(folder)))
            }
            via @ (Via::Ssm | Via::Ssh | Via::Winrm | Via::WinrmHttp) => {
                let way = self.login.way_by(session, via, self.patience).await?;
                Ok(Some(Reach::Remote(Box::new(Way { restart: self.reboot.clone(), ..way }))))
            }
        }
    }
}
