//! `status --watch`: tells what becomes of a stack's tunnels, as long as one looks.

mod seen;

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use seen::{Change, Connection, Pinged, Seen};

use super::login::Login;
use super::prove::provable;
use super::session::{Asked, Session};
use super::shared::Shared;
use super::status::{Status, judgement};
use super::{Code, Outside, ServerAt, Stopped};
use crate::server::Way;
use crate::time;
use crate::ui::{self, Live};

/// How a stack is watched.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Watching")]
#[expect(clippy::struct_field_names, reason = "clap names the flag after it")]
pub struct Watch {
    /// Go on looking at the tunnels, and tell what changes, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// How many seconds lie between two looks [default: 15]
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub interval: Option<u32>,
    /// End with exit code 5 once both tunnels are down
    #[arg(long, value_name = "WHAT", requires = "watch")]
    pub exit_on: Option<ExitOn>,
    /// Ping a host in the VPC from the server, once a minute at most [default: what the record says]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, requires = "watch")]
    #[expect(clippy::option_option, reason = "clap: not given, without a value, with one")]
    pub ping: Option<Option<Ipv4Addr>>,
    /// Where the server is.
    #[command(flatten)]
    pub server: ServerAt,
    /// How to log in to the server.
    #[command(flatten)]
    pub login: Login,
}

/// What ends the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExitOn {
    /// Both tunnels are down.
    Down,
}

/// How long lies between two looks, if that is not said.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long lies between two pings at least: each is a session on the server.
const PINGS: Duration = Duration::from_mins(1);

/// A change with its moment, as JSON has it.
#[derive(Serialize)]
struct At<'a, T> {
    at: Timestamp,
    #[serde(flatten)]
    what: &'a T,
}

/// All that is known while one looks.
struct View<'a> {
    session: &'a Session,
    live: &'a Live,
    every: Duration,
    ping: Option<Ipv4Addr>,
    seen: Option<Seen>,
    looked_at: Option<Timestamp>,
    last_ping: Option<(Timestamp, Pinged)>,
    sent: usize,
    received: usize,
}

/// Tells what becomes of the tunnels of a stack.
pub(super) async fn watch(outside: &Outside, options: &Status) -> Result<Code, Stopped> {
    let Status { common, at, watch: Watch { interval, exit_on, ping, server, login, .. }, .. } =
        options;
    let live = Live::new(common.form());
    let shared = Shared::telling(outside, common, live.events())?;
    let outside = outside.with(shared);
    let session = Session::open(&outside, common, Asked::of_server(at, server)).await?;
    if !session.exists {
        return Err(session.is_unknown());
    }
    let way = match ping {
        Some(asked) => {
            let ping = provable(&session, *asked)?;
            Some((ping, login.way(&session, Duration::ZERO).await?))
        }
        None => None,
    };
    let every = interval.map_or(INTERVAL, |seconds| Duration::from_secs(seconds.into()));
    let ping = way.as_ref().map(|(ping, _)| *ping);
    if !common.json {
        session.events.note(manner(every, ping));
    }
    let trigger = session.trigger.clone();
    let code = {
        let view = RefCell::new(View::new(&session, &live, every, ping));
        tokio::select! {
            biased;
            () = trigger.pressed() => {
                // Whoever is at the server meanwhile goes away from there.
                let _: bool = trigger.pull();
                Code::Done
            }
            code = look(&view, *exit_on) => code,
            never = pings(&view, way.as_ref()) => match never {},
        }
    };
    live.end();
    Ok(code)
}

/// Says how often is looked.
fn manner(every: Duration, ping: Option<Ipv4Addr>) -> String {
    let pings = ping.map(|to| {
        let every = every.max(PINGS).as_secs();
        format!(", and pinging {to} from the server every {every} s")
    });
    let every = every.as_secs();
    format!("looking every {every} s{}; Ctrl-C ends it", pings.unwrap_or_default())
}

/// Looks again and again.
async fn look(view: &RefCell<View<'_>>, exit_on: Option<ExitOn>) -> Code {
    let (session, every) = {
        let view = view.borrow();
        (view.session, view.every)
    };
    loop {
        let seen = match session.any_connection().await {
            Ok(connection) => Seen::of(connection),
            Err(stopped) => {
                let before = view.borrow().seen.clone().unwrap_or_default();
                Seen { unread: Some(stopped.text()), ..before }
            }
        };
        let is_down = seen.is_down();
        view.borrow_mut().see(seen);
        match exit_on {
            Some(ExitOn::Down) if is_down => return Code::TunnelsDown,
            Some(ExitOn::Down) | None => {}
        }
        time::sleep(every).await;
    }
}

/// Pings again and again, where there is a way.
async fn pings(view: &RefCell<View<'_>>, way: Option<&(Ipv4Addr, Way)>) -> Infallible {
    let Some((ping, way)) = way else { return std::future::pending().await };
    let (session, every) = {
        let view = view.borrow();
        (view.session, view.every.max(PINGS))
    };
    loop {
        let begun = time::now();
        let pinged = match way.prove(&session.stack, *ping, &session.events).await {
            Ok(proof) => Pinged::Came {
                sent: proof.sent,
                received: proof.received,
                tunnel_bytes: proof.tunnel_bytes,
            },
            Err(error) => Pinged::Unasked { error: Stopped::from(error).text() },
        };
        view.borrow_mut().ping(*ping, pinged);
        time::sleep(every.saturating_sub(begun.elapsed())).await;
    }
}

impl<'a> View<'a> {
    fn new(session: &'a Session, live: &'a Live, every: Duration, ping: Option<Ipv4Addr>) -> Self {
        let (seen, looked_at, last_ping) = (None, None, None);
        Self { session, live, every, ping, seen, looked_at, last_ping, sent: 0, received: 0 }
    }

    fn see(&mut self, seen: Seen) {
        let changes = seen.since(self.seen.as_ref());
        self.looked_at = Some(now());
        self.seen = Some(seen);
        for change in &changes {
            self.tell(change);
        }
        self.draw();
    }

    fn ping(&mut self, to: Ipv4Addr, pinged: Pinged) {
        if let Pinged::Came { sent, received, .. } = pinged {
            self.sent += sent;
            self.received += received;
        }
        let change = Change::Ping(to, pinged.clone());
        let is_same = self.last_ping.as_ref().is_some_and(|(_, last)| *last == pinged);
        self.last_ping = Some((now(), pinged));
        // In lines and in the picture's own list each is told once, as long as it is the same.
        if !is_same {
            self.tell(&change);
        }
        self.draw();
    }

    fn tell(&self, change: &Change) {
        let at = now();
        let words = format!("{at} {change}");
        let live = self.live;
        match change {
            Change::Connection(what) => live.tell(&words, "connection", &At { at, what }),
            Change::Tunnel(what) => live.tell(&words, "tunnel", &At { at, what }),
            Change::Ping(to, pinged) => {
                let what = serde_json::json!({ "to": to, "came": pinged });
                live.tell(&words, "ping", &At { at, what: &what });
            }
            Change::Gone => live.tell(&words, "gone", &At { at, what: &serde_json::json!({}) }),
            Change::Read => live.tell(&words, "read", &At { at, what: &serde_json::json!({}) }),
            Change::Unread(error) => {
                let what = serde_json::json!({ "error": error });
                live.tell(&words, "unread", &At { at, what: &what });
            }
        }
    }

    fn draw(&self) {
        self.live.draw(|| self.picture());
    }

    /// How it is now, in a few lines.
    fn picture(&self) -> String {
        let Seen { connection, tunnels, unread } = self.seen.clone().unwrap_or_default();
        let connection = match &connection {
            Some(Connection { id, state }) => format!("{id} {state}"),
            None => "no VPN connection".to_owned(),
        };
        let mut text = format!("stack {}: {connection}\n", self.session.stack);
        let now = now();
        text += &ui::tell_table(tunnels.iter().map(|tunnel| {
            let state = if tunnel.is_up { "UP" } else { "DOWN" };
            let since = tunnel.since.map(|since| format!("since {since}")).unwrap_or_default();
            let long = tunnel.since.map(|since| span(since, now)).unwrap_or_default();
            [
                format!("tunnel {}", tunnel.outside),
                state.to_owned(),
                since,
                long,
                tunnel.message.clone(),
            ]
        }));
        if !tunnels.is_empty() {
            text += judgement(&tunnels.iter().collect::<Vec<_>>());
            text += "\n";
        }
        let mut line = |told: std::fmt::Arguments<'_>| {
            writeln!(text, "{told}").expect("a String takes all");
        };
        if let (Some(to), Some((at, pinged))) = (self.ping, &self.last_ping) {
            line(format_args!("ping {to} at {at}: {pinged}"));
            if self.sent > 0 {
                let lost = self.sent - self.received;
                line(format_args!("pings lost since it began: {lost} of {}", self.sent));
            }
        }
        if let Some(why) = unread {
            line(format_args!("how it is cannot be read: {why}"));
        }
        if let Some(at) = self.looked_at {
            let every = self.every.as_secs();
            line(format_args!("seen at {at}, every {every} s; Ctrl-C ends it"));
        }
        text
    }
}

/// The wall clock, in whole seconds.
fn now() -> Timestamp {
    let now = time::wall_clock();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// How long something lasts, in its two largest units.
fn span(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        let of = |seconds| span(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap());
        let told = [of(9), of(61), of(3_660), of(90_000)];
        assert_eq!(told, ["9 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
