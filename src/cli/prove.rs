//! `test`: a ping through the tunnel, as proof that it carries traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::change::interruptible;
use super::login::Login;
use super::probe::with_probe;
use super::session::{Asked, Session};
use super::{Changing, Code, Common, Outside, ServerAt, Stopped, Whereabouts};
use crate::address::Id;
use crate::check;
use crate::playbook::Off;
use crate::server::{Associated, Failover, Proof, Way};
use crate::spec::Via;
use crate::tunnel::Suites;
use crate::ui;
use crate::world::{Telemetry, negotiated};

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
    /// Launch a small instance in the VPC to ping, and terminate it afterwards
    #[arg(long, conflicts_with = "ping")]
    pub probe: bool,
    /// What is common with `up`: for the probe.
    #[command(flatten)]
    pub changing: Changing,
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

/// Proves that the tunnels of a stack carry traffic; changes nothing that stays.
pub(super) async fn test(outside: &Outside, options: Test) -> Result<Code, Stopped> {
    let mut asked = Asked::of_server(&options.at, &options.server);
    asked.declared.ping = options.ping;
    let mut session = Session::open(outside, &options.common, asked).await?;
    if !session.exists {
        return Err(session.is_unknown());
    }
    if !options.probe {
        let ping = provable(&session, None)?;
        let way = options.login.way(&session, Duration::from_secs(30)).await?;
        let trigger = session.trigger.clone();
        return interruptible(&trigger, test_with(&options, &session, &way, ping)).await;
    }
    must_log_in(&session, "PROBE")?;
    let way = options.login.way(&session, Duration::from_secs(30)).await?;
    with_probe(&mut session, &options.changing, async |session, ping| {
        test_with(&options, session, &way, ping).await
    })
    .await
}

async fn test_with(
    options: &Test,
    session: &Session,
    way: &Way,
    ping: Ipv4Addr,
) -> Result<Code, Stopped> {
    let code = prove(session, &options.common, way, ping).await?;
    if !options.failover {
        return Ok(code);
    }
    session.must_go_on()?;
    fail_over(session, &options.common, way, ping).await
}

/// The host that is pinged, where cgw can log in to the server and have it pinged.
pub(super) fn provable(session: &Session, asked: Option<Ipv4Addr>) -> Result<Ipv4Addr, Stopped> {
    let ping = asked.or(session.declared.ping).ok_or_else(|| {
        Stopped::refused(
            "no host is named that would answer a ping",
            "name one in the VPC with --ping, such as a Linux instance in the private subnet, or have \
             one launched for it with --probe",
        )
    })?;
    must_log_in(session, &ping.to_string())?;
    Ok(ping)
}

/// Refuses where a person runs the scripts.
pub(super) fn must_log_in(session: &Session, ping: &str) -> Result<(), Stopped> {
    if session.declared.via.is_some_and(Via::is_remote) {
        return Ok(());
    }
    Err(Stopped::refused(
        "cgw does not log in to this stack's server",
        format!(
            "run prove.ps1 -Ping {ping} there, in the folder where the scripts were run, or name \
             a way with `cgw up --via`"
        ),
    ))
}

/// Switches the tunnel that carries the traffic off, and measures until a ping is back.
async fn fail_over(
    session: &Session,
    common: &Common,
    way: &Way,
    ping: Ipv4Addr,
) -> Result<Code, Stopped> {
    session.events.note("switching a tunnel off; the server switches it on again, whatever comes");
    let failover = way.fail_over(&session.stack, ping, Off::Carrier, &session.events).await?;
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
    let Some(to) = to else {
        return Err(Stopped::with(
            Code::Failed,
            format!("with the tunnel {from} switched off a ping came back, but through no tunnel"),
            "look for another way to that host, such as a peering or a route in the server's VPC",
        ));
    };
    if !common.json {
        ui::data(&format!("failover from {from} to {to}: {seconds} s without a ping\n"));
    }
    Ok(Code::Done)
}

/// Pings from the server, and says what came of it and what AWS says of the tunnels; within what is
/// [`interruptible`].
pub(super) async fn prove(
    session: &Session,
    common: &Common,
    way: &Way,
    ping: Ipv4Addr,
) -> Result<Code, Stopped> {
    session.events.note(format!("pinging {ping} from the server; the first reply takes a while"));
    let proving = way.prove(&session.stack, ping, &session.events);
    let proof = tokio::select! {
        proof = proving => proof?,
        interrupted = session.interrupted() => return Err(interrupted),
    };
    conclude(session, common, &proof, Some(ping)).await
}

/// Says what came of pings and what AWS says of the tunnels; within what is [`interruptible`].
pub(super) async fn conclude(
    session: &Session,
    common: &Common,
    proof: &Proof,
    ping: Option<Ipv4Addr>,
) -> Result<Code, Stopped> {
    let crypto = session.declared.crypto.unwrap_or_default();
    let verdict = check::judge(proof, crypto);
    let connection = session.connection().await?;
    let measured = connection.as_ref().map_or(&[][..], |(_, state)| &state.telemetry);
    let up: Vec<Ipv4Addr> = measured.iter().filter(|t| t.is_up).map(|t| t.outside).collect();
    let by_aws = match &connection {
        Some((id, _)) => told_by_aws(session, id, proof).await,
        None => BTreeMap::new(),
    };
    if common.json {
        let told = json!({ "ping": ping, "proof": proof, "up": up, "aws": by_aws, "proven": verdict.is_ok() });
        ui::data(&ui::json_line("proof", &told));
    } else {
        ui::data(&tell(proof, ping));
    }
    match verdict {
        Ok(mut warnings) => {
            let told = by_aws.iter();
            warnings.extend(told.filter_map(|(peer, is)| check::fallback(*peer, is, crypto)));
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
        Err(fault) => {
            let text = format!("{fault}{}", said_by_aws(measured));
            Err(Stopped::with(Code::Failed, text, fault.hint()))
        }
    }
}

/// What AWS says was negotiated for the tunnels that carry traffic; what it does not say is missing.
async fn told_by_aws(
    session: &Session,
    connection: &Id,
    proof: &Proof,
) -> BTreeMap<Ipv4Addr, Suites> {
    let mut told = BTreeMap::new();
    let peers: BTreeSet<Ipv4Addr> = proof.quick_mode.iter().map(|one| one.peer).collect();
    for peer in peers {
        match session.cloud_reader().active_tunnel_status(connection.owner().as_str(), peer).await {
            Ok(status) => {
                told.extend(status.as_ref().and_then(negotiated).map(|suites| (peer, suites)));
            }
            Err(error) => session.events.note(format!(
                "what AWS has negotiated for the tunnel {peer} is not known: {error}"
            )),
        }
    }
    told
}

/// AWS's own messages, to go on a sentence with.
fn said_by_aws(measured: &[Telemetry]) -> String {
    measured.iter().filter(|t| !t.message.is_empty()).fold(String::new(), |said, t| {
        format!("{said}; AWS says of the tunnel {}: {}", t.outside, t.message)
    })
}

fn tell(proof: &Proof, ping: Option<Ipv4Addr>) -> String {
    let Proof { sent, received, main_mode, quick_mode, .. } = proof;
    let phases = [("first", main_mode), ("second", quick_mode)];
    let negotiated = phases.into_iter().flat_map(|(phase, all)| {
        all.iter()
            .map(move |Associated { peer, suite }| format!("{phase} phase with {peer}: {suite}\n"))
    });
    let ping = ping.map(|ping| format!(" {ping}")).unwrap_or_default();
    let first = format!("ping{ping}: {received} of {sent} answered\n");
    std::iter::once(first).chain(negotiated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tunnel_of_which_aws_says_something_is_told_of() {
        let tunnel = |last, message: &str| Telemetry {
            outside: Ipv4Addr::new(203, 0, 113, last),
            is_up: false,
            since: None,
            message: message.to_owned(),
        };
        let said = said_by_aws(&[tunnel(1, ""), tunnel(2, "IPSEC IS DOWN")]);
        assert_eq!(said, "; AWS says of the tunnel 203.0.113.2: IPSEC IS DOWN");
    }
}
