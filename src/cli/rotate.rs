//! `rotate-keys`: new pre-shared keys for both tunnels, one after the other.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;

use super::login::Login;
use super::planned::{nothing_but, sets_the_server_up, situation};
use super::prove::provable;
use super::session::{Asked, Session};
use super::turns::{Turns, What};
use super::{Changing, Code, Common, Outside, ServerAt, Stopped, Whereabouts};
use crate::plan::{Plan, is_record};
use crate::resource::{Kind as _, VpnConnection};
use crate::topology;

/// Options of `rotate-keys`.
#[derive(Debug, Clone, Args)]
pub struct RotateKeys {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
    /// What is common with `up`.
    #[command(flatten)]
    pub changing: Changing,
    /// The host in the VPC to ping [default: what the record says]
    #[arg(long, value_name = "ADDRESS")]
    pub ping: Option<Ipv4Addr>,
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerAt,
    /// How to log in to the server.
    #[command(flatten)]
    pub login: Login,
}

/// Gives both tunnels new keys.
pub(super) async fn rotate_keys(outside: &Outside, options: RotateKeys) -> Result<Code, Stopped> {
    let mut session =
        Session::open(outside, &options.common, Asked::of_server(&options.at, &options.server))
            .await?;
    if !session.exists {
        return Err(session.is_unknown());
    }
    let ping = provable(&session, options.ping)?;
    let rest = session.plan(&topology::desired(&situation(&session)?));
    // Another way to the server that is named here stands in the record from then on.
    nothing_but(rest, |step| is_record(step.key.address()))?;
    let way = options.login.way(&session, Duration::from_secs(30)).await?;
    let turns = Turns {
        what: What::Keys,
        common: &options.common,
        changing: &options.changing,
        way,
        ping,
        allowed: &only_the_tunnel,
        again: "run `cgw up`, which sets both ends alike, and then `cgw rotate-keys` again",
    };
    turns.take(&mut session).await
}

fn only_the_tunnel(plan: Plan) -> Result<Plan, Stopped> {
    nothing_but(plan, |step| {
        let address = step.key.address();
        sets_the_server_up(step) || is_record(address) || address.kind == VpnConnection::NAME
    })
}
