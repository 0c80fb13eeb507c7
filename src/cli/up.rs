//! `up` and `plan`: from what is declared to a plan, and with `up` to the thing itself.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::change::{self, Carried, ask, carry_out};
use super::session::{Asked, Session, Unnamed};
use super::status::{Report, Secrets};
use super::{Changing, Code, Common, Stopped};
use crate::plan::{Change, Left, Plan as Changes, Step};
use crate::preflight::{Situation, Stop, examine};
use crate::render::cost;
use crate::resource::{Spec, State};
use crate::secret::Secret;
use crate::server::{Reach, scripts_in};
use crate::spec::{Declared, Via};
use crate::transport::ssh::{Auth, HostKeys, Ssh, Tell};
use crate::{topology, ui};

/// Options of `plan`.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
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
    /// Exit with 3 when there is something to change
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Options of `up`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// Replace or end a VPN connection that exists, or change the suites of tunnels that carry traffic
    ///
    /// With a replacement its addresses change; with other suites its tunnels are down until the
    /// server has them too.
    #[arg(long)]
    pub allow_replace: bool,
    /// Push the scripts although nothing restores the server if they lock you out
    #[arg(long)]
    pub accept_no_guard: bool,
    /// Read the password for the server from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// The file of known host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// The server's host key must have this fingerprint
    #[arg(long, value_name = "SHA256:…")]
    pub host_key: Option<String>,
}

impl Plan {
    fn asked(&self) -> Asked {
        Asked {
            declared: self.declared.clone(),
            unset: self.unset.clone(),
            quota_raised: self.quota_raised,
            unnamed: Unnamed::MayBeNew,
        }
    }
}

/// Shows what `up` would do. Holds only readers, so it cannot change anything.
pub(super) async fn plan(options: Plan) -> Result<Code, Stopped> {
    let session = Session::open(&options.common, options.asked()).await?;
    let situation = situation(&session)?;
    let changes = session.plan(&topology::desired(&situation));
    show(&options.common, &situation, &changes);
    let is_asked = options.detailed_exitcode && !changes.is_empty();
    Ok(if is_asked { Code::Changes } else { Code::Done })
}

/// Makes the VPN.
pub(super) async fn up(options: Up) -> Result<Code, Stopped> {
    if options.dry_run {
        return plan(options.plan).await;
    }
    let common = &options.plan.common;
    let mut session = Session::open(common, options.plan.asked()).await?;
    if options.changing.yes {
        must_name_the_server(&session)?;
    }
    let situation = match situation(&session) {
        Ok(situation) => situation,
        Err(stopped) => choose(&mut session).ok_or(stopped)??,
    };
    // The server that was found is the one that was shown.
    session.declared = situation.declared.clone();
    let changes = session.plan(&topology::desired(&situation));
    if changes.is_empty() {
        if !common.json {
            ui::data(&format!("stack {}: nothing to change\n", session.stack));
        }
        Report::of(&session)?.show(common, Secrets::Hidden);
        return Ok(Code::Done);
    }
    show(common, &situation, &changes);
    allowed(&options, &situation, &changes)?;
    ask(&options.changing, "Carry this out?")?;
    let reach = reach(&options, &session, &situation, &changes)?;
    let again =
        "run the same command to go on, or `cgw down` to take away what was made".to_owned();
    let change = change::Change {
        options: &options.changing,
        vpc: situation.cloud.vpc.clone(),
        planner: &|session| {
            let situation = self::situation(session)?;
            let changes = session.plan(&topology::desired(&situation));
            allowed(&options, &situation, &changes)?;
            Ok(changes)
        },
        reach,
        again,
    };
    let Carried { code, plan, known } = carry_out(&mut session, changes.approve(), change).await?;
    if code == Code::Done {
        for task in topology::for_the_owner(&situation) {
            session.events.note(format!("for you to do: {task}"));
        }
        Report::after(&plan, known).show(common, Secrets::Hidden);
    }
    Ok(code)
}

fn situation(session: &Session) -> Result<Situation, Stopped> {
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

/// Asks which server, if several could be the gateway and somebody can be asked.
fn choose(session: &mut Session) -> Option<Result<Situation, Stopped>> {
    let Err(Stop::Choose(candidates)) = examine(&session.request()) else {
        return None;
    };
    let labels: Vec<String> = candidates.iter().map(|c| c.label.clone()).collect();
    let chosen = ui::choose("Number of the server that is to be the gateway", &labels)?;
    session.declared.instance = candidates[chosen].id.as_str().parse().ok();
    Some(situation(session))
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

fn show(common: &Common, situation: &Situation, changes: &Changes) {
    let tasks = topology::for_the_owner(situation);
    if common.json {
        let cost = cost::after(changes);
        let notes = &situation.notes;
        let all = json!({ "changes": changes, "notes": notes, "tasks": tasks, "cost": cost });
        ui::data(&ui::json_line("plan", &all));
    } else {
        if let crate::preflight::Site::Instance(server) = &situation.site {
            ui::data(&format!("server: {}, {}\n", server.label, server.private_ip));
        }
        // Notes are about what will happen: with nothing to do they would be noise.
        let notes = if changes.is_empty() { &[][..] } else { &situation.notes };
        ui::data(&ui::tell_plan(changes, notes, &tasks));
    }
}

/// What a plan may not do at all, or not without being told.
fn allowed(options: &Up, situation: &Situation, changes: &Changes) -> Result<(), Stopped> {
    if let Some(stuck) = changes.stuck().next() {
        let Left { address, id, because } = stuck;
        return Err(Stopped::refused(
            format!("{address} would have to be replaced, but {id} cannot be removed: {because}"),
            "remove what uses it, or declare what was declared before",
        ));
    }
    if changes.changes().any(ends_a_connection) && !options.allow_replace {
        return Err(Stopped::refused(
            "the plan takes tunnels down that carry traffic, or replaces a VPN connection, whose \
             addresses then change",
            "allow it with --allow-replace",
        ));
    }
    if changes.changes().any(sets_the_server_up)
        && situation.via == Via::Ssh
        && !options.accept_no_guard
    {
        return Err(Stopped::refused(
            "nothing restores the server yet if the tunnel rules lock you out of it",
            "accept that with --accept-no-guard, or choose --via files or --via none",
        ));
    }
    Ok(())
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

/// Says whether a step runs the scripts on the server.
fn sets_the_server_up(step: &Step) -> bool {
    matches!(step.spec, Some(Spec::WindowsSetup(_)))
}

/// How the server is reached, if the plan sets it up.
fn reach(
    options: &Up,
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
            let folder = PathBuf::from(format!("cgw-{}", session.stack));
            scripts_in(&folder).map_err(Stopped::from)?;
            Ok(Some(Reach::ByHand(folder)))
        }
        Via::Ssh => {
            let declared = &session.declared;
            let login = Ssh {
                host: String::new(),
                port: declared.port.map_or(22, NonZeroU16::get),
                user: declared.user.clone().unwrap_or_else(|| "Administrator".to_owned()),
                auth: auth(options, session)?,
                host_keys: host_keys(options, session)?,
                connect_timeout: Duration::from_secs(15),
            };
            // What can be known without a connection is known before anything is made.
            login.check().map_err(|error| {
                Stopped::refused(error.to_string(), error.hint().unwrap_or_default())
            })?;
            Ok(Some(Reach::Ssh {
                login: Box::new(login),
                host: declared.host.clone(),
                // A new address takes a while to work.
                patience: options.changing.consistency() * 4,
                interrupt: session.cloud_reader().interrupt().clone(),
            }))
        }
    }
}

/// The key that was named, the agent's keys, a password: in this order.
fn auth(options: &Up, session: &Session) -> Result<Vec<Auth>, Stopped> {
    let mut ways = Vec::new();
    if let Some(identity) = &session.declared.identity {
        ways.push(Auth::Key { path: identity.0.clone(), passphrase: None });
    }
    if options.password_stdin {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| {
            Stopped::refused(format!("no password on standard input: {error}"), "")
        })?;
        let line = zeroize::Zeroizing::new(line);
        ways.push(Auth::Password(Secret::new(line.trim_end_matches(['\r', '\n']))));
    } else if ways.is_empty() {
        ways.push(Auth::Agent(None));
        let password = ui::password("Password for the server (empty: the agent's keys)");
        let password = password.filter(|text| !text.is_empty());
        ways.extend(password.map(|text| Auth::Password(Secret::new(text))));
    } else {
        ways.push(Auth::Agent(None));
    }
    Ok(ways)
}

fn host_keys(options: &Up, session: &Session) -> Result<HostKeys, Stopped> {
    if let Some(pin) = &options.host_key {
        let digest = pin.strip_prefix("SHA256:").unwrap_or_default();
        let is_digest = |bytes: Vec<u8>| bytes.len() == 32;
        if !STANDARD_NO_PAD.decode(digest).is_ok_and(is_digest) {
            return Err(Stopped::refused(
                format!("{pin:?} is no fingerprint of a host key"),
                "give what ssh-keygen -lf says of the server's key: SHA256: and 43 characters",
            ));
        }
        return Ok(HostKeys::Pinned(pin.clone()));
    }
    let home = || std::env::home_dir().map(|home| home.join(".ssh/known_hosts"));
    let file = options.known_hosts.clone().or_else(home).ok_or_else(|| {
        Stopped::refused("there is no home folder", "name a file with --known-hosts")
    })?;
    let events = session.events.clone();
    let shown = file.display().to_string();
    let tell = Tell::new(move |fingerprint| {
        events.warn(format!("the server's host key is new: {fingerprint}; kept in {shown}"));
    });
    Ok(HostKeys::AcceptNew { file, tell })
}
