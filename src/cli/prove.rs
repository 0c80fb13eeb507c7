//! `test`: a ping through the tunnel, as proof that it carries traffic.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::login::{Login, ServerAt};
use super::session::{Asked, Session};
use super::{Code, Common, Stopped, Whereabouts};
use crate::check;
use crate::resource::{self, State};
use crate::server::{Associated, Failover, Proof, Way};
use crate::spec::Via;
use crate::ui;

/// Options of `test`.
#[derive(Debug, Clone, Args)]
pub struct Test {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
    /// The host in the VPC to ping [default: what the record says]
    #[arg(long, value_name = "ADDRESS")]
    pub ping: Option<Ipv4Addr>,
    /// Switch the tunnel that carries the traffic off for a moment, and see the other take over
    #[arg(long)]
    pub failover: bool,
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerAt,
    /// How to log in to the server.
    #[command(flatten)]
    pub login: Login,
}

/// Proves that the tunnels of a stack carry traffic; changes nothing.
pub(super) async fn test(options: Test) -> Result<Code, Stopped> {
    let mut asked = Asked::of_server(&options.at, &options.server);
    asked.declared.ping = options.ping;
    let mut session = Session::open(&options.common, asked).await?;
    if !session.exists {
        return Err(session.is_unknown());
    }
    let ping = session.declared.ping.ok_or_else(|| {
        Stopped::refused(
            "no host is named that would answer a ping",
            "name one in the VPC with --ping, such as a Linux instance in the private subnet",
        )
    })?;
    if !session.declared.via.is_some_and(Via::is_remote) {
        return Err(Stopped::refused(
            "cgw does not log in to this stack's server",
            format!(
                "run prove.ps1 -Ping {ping} there, in the folder where the scripts were run, or name \
                 a way with `cgw up --via`"
            ),
        ));
    }
    let way = options.login.way(&session, Duration::from_secs(30)).await?;
    let code = prove(&mut session, &options.common, &way, ping).await?;
    if options.failover { fail_over(&session, &options.common, &way, ping).await } else { Ok(code) }
}

/// Switches the tunnel that carries the traffic off, and measures until a ping is back.
async fn fail_over(
    session: &Session,
    common: &Common,
    way: &Way,
    ping: Ipv4Addr,
) -> Result<Code, Stopped> {
    session.events.note("switching a tunnel off; the server switches it on again, whatever comes");
    let failover = way.fail_over(&session.stack, ping, &session.events).await?;
    let Failover { from, to, seconds } = &failover;
    if common.json {
        ui::data(&ui::json_line("failover", &failover));
    }
    let Some(seconds) = seconds else {
        return Err(Stopped::with(
            Code::Failed,
            format!("no ping came back with the tunnel {from} switched off"),
            "the other tunnel does not come up: compare both with `cgw status`, and run `cgw push`",
        ));
    };
    if !common.json {
        let to = to.map_or("another way".to_owned(), |to| to.to_string());
        ui::data(&format!("failover from {from} to {to}: {seconds} s without a ping\n"));
    }
    Ok(Code::Done)
}

/// Pings from the server, and says what came of it and what AWS says of the tunnels.
pub(super) async fn prove(
    session: &mut Session,
    common: &Common,
    way: &Way,
    ping: Ipv4Addr,
) -> Result<Code, Stopped> {
    session.events.note(format!("pinging {ping} from the server; the first reply takes a while"));
    let proving = way.prove(&session.stack, ping, &session.events);
    let proof = tokio::select! {
        proof = proving => proof?,
        _ = tokio::signal::ctrl_c() => {
            return Err(Stopped::with(Code::Interrupted, "interrupted", "nothing is half done"));
        }
    };
    let crypto = session.declared.crypto.unwrap_or_default();
    let verdict = check::judge(&proof, crypto);
    session.observe_again().await?;
    let up = tunnels_up(session);
    if common.json {
        let told = json!({ "ping": ping, "proof": proof, "up": up, "proven": verdict.is_ok() });
        ui::data(&ui::json_line("proof", &told));
    } else {
        ui::data(&tell(&proof, ping));
    }
    match verdict {
        Ok(warnings) => {
            for warning in warnings {
                session.events.warn(warning);
            }
            if up.is_empty() {
                session.events.note(
                    "AWS does not show a tunnel as up yet; it takes some minutes: look with `cgw status`",
                );
            }
            Ok(Code::Done)
        }
        Err(fault) => Err(Stopped::with(Code::Failed, fault.to_string(), fault.hint())),
    }
}

/// The outside addresses of the tunnels that AWS shows as up.
pub(super) fn tunnels_up(session: &Session) -> Vec<Ipv4Addr> {
    let live = resource::find(&session.world, &session.stack);
    let connections = live.iter().filter_map(|node| {
        let State::VpnConnection(state) = &node.state else { return None };
        Some(state)
    });
    let up = connections.flat_map(|c| &c.telemetry).filter(|t| t.is_up);
    up.map(|t| t.outside).collect()
}

fn tell(proof: &Proof, ping: Ipv4Addr) -> String {
    let Proof { sent, received, main_mode, quick_mode } = proof;
    let phases = [("first", main_mode), ("second", quick_mode)];
    let negotiated = phases.into_iter().flat_map(|(phase, all)| {
        all.iter()
            .map(move |Associated { peer, suite }| format!("{phase} phase with {peer}: {suite}\n"))
    });
    let first = format!("ping {ping}: {received} of {sent} answered\n");
    std::iter::once(first).chain(negotiated).collect()
}
