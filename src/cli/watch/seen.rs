//! What was seen of a stack's tunnels, and what has changed since; pure.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::super::session::ConnectionState;
use crate::address::Id;
use crate::resource::{Phase, State};
use crate::server::TunnelBytes;
use crate::world::Telemetry;

/// What was seen of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) connection: Option<Connection>,
    pub(super) tunnels: Vec<Telemetry>,
    /// Why the last look showed nothing.
    pub(super) unread: Option<String>,
}

/// The connection as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Connection {
    pub(super) id: Id,
    pub(super) state: String,
}

/// What came of pings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Pinged {
    /// So many came back.
    Came {
        sent: usize,
        received: usize,
        /// What went through all tunnels meanwhile; `None` where Windows does not count it.
        tunnel_bytes: Option<TunnelBytes>,
    },
    /// The server could not be asked.
    Unasked { error: String },
}

/// One thing that has changed, or was seen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The connection is there, in another state.
    Connection(Connection),
    /// There is no connection.
    Gone,
    /// A tunnel came up, went down, or AWS says something else of it.
    Tunnel(Telemetry),
    /// AWS does not answer.
    Unread(String),
    /// AWS answers again.
    Read,
    /// Pings were sent.
    Ping(Ipv4Addr, Pinged),
}

impl Seen {
    pub(super) fn of(connection: Option<(Id, ConnectionState)>) -> Self {
        let Some((id, state)) = connection else { return Self::default() };
        let tunnels = state.telemetry.clone();
        let state = match State::VpnConnection(state).phase() {
            Phase::Ready => "ready".to_owned(),
            Phase::Pending => "pending".to_owned(),
            Phase::Going => "going".to_owned(),
            Phase::Failed(why) => format!("failed: {why}"),
        };
        Self { connection: Some(Connection { id, state }), tunnels, unread: None }
    }

    /// What has changed since, in the order in which it is told.
    pub(super) fn since(&self, before: Option<&Self>) -> Vec<Change> {
        let nothing = Self::default();
        let was = before.unwrap_or(&nothing);
        match (&self.unread, &was.unread) {
            (Some(why), None) => return vec![Change::Unread(why.clone())],
            (Some(_), Some(_)) => return Vec::new(),
            (None, _) => {}
        }
        let mut changes = Vec::new();
        if was.unread.is_some() {
            changes.push(Change::Read);
        }
        match (&self.connection, before) {
            (Some(is), _) if was.connection.as_ref() != Some(is) => {
                changes.push(Change::Connection(is.clone()));
            }
            (None, None) => changes.push(Change::Gone),
            (None, Some(before)) if before.connection.is_some() => changes.push(Change::Gone),
            (Some(_) | None, _) => {}
        }
        let is_new = |tunnel: &&Telemetry| !was.tunnels.contains(tunnel);
        changes.extend(self.tunnels.iter().filter(is_new).cloned().map(Change::Tunnel));
        changes
    }

    /// Says whether nothing can go through; not where that is not known.
    pub(super) fn is_down(&self) -> bool {
        self.unread.is_none() && !self.tunnels.iter().any(|tunnel| tunnel.is_up)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(Connection { id, state }) => {
                write!(f, "the connection {id} is {state}")
            }
            Self::Gone => f.write_str("there is no VPN connection"),
            Self::Tunnel(tunnel) => {
                let state = if tunnel.is_up { "UP" } else { "DOWN" };
                write!(f, "tunnel {} {state}", tunnel.outside)?;
                if let Some(since) = tunnel.since {
                    write!(f, " since {since}")?;
                }
                let message = &tunnel.message;
                if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
            }
            Self::Unread(why) => write!(f, "how it is cannot be read: {why}"),
            Self::Read => f.write_str("how it is can be read again"),
            Self::Ping(to, pinged) => write!(f, "ping {to}: {pinged}"),
        }
    }
}

impl fmt::Display for Pinged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Came { sent, received, tunnel_bytes } => {
                write!(f, "{received} of {sent} answered")?;
                match tunnel_bytes {
                    Some(TunnelBytes { sent, received }) => {
                        write!(f, "; {sent} bytes went into tunnels meanwhile, {received} came out")
                    }
                    None => Ok(()),
                }
            }
            Self::Unasked { error } => write!(f, "the server cannot be asked: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn tunnel(last: u8, is_up: bool) -> Telemetry {
        Telemetry {
            outside: Ipv4Addr::new(203, 0, 113, last),
            is_up,
            since: Some(Timestamp::UNIX_EPOCH),
            message: String::new(),
        }
    }

    fn seen(tunnels: Vec<Telemetry>) -> Seen {
        let id = crate::address::AwsId::new("vpn-1").into();
        Seen {
            connection: Some(Connection { id, state: "ready".to_owned() }),
            tunnels,
            unread: None,
        }
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let (up, down) = (tunnel(1, true), tunnel(2, false));
        let first = seen(vec![up.clone(), down.clone()]);
        assert_eq!(first.since(None).len(), 3, "the connection and both tunnels");
        assert_eq!(first.since(Some(&first)), []);
        let fallen = Telemetry { message: "IPSEC IS DOWN".to_owned(), ..tunnel(1, false) };
        let second = seen(vec![fallen.clone(), down]);
        assert_eq!(second.since(Some(&first)), [Change::Tunnel(fallen.clone())]);
        assert_eq!(
            Change::Tunnel(fallen).to_string(),
            "tunnel 203.0.113.1 DOWN since 1970-01-01T00:00:00Z: IPSEC IS DOWN"
        );
        let gone = Seen::default();
        assert_eq!(gone.since(Some(&first)), [Change::Gone]);
        assert_eq!(gone.since(None), [Change::Gone]);
        assert_eq!(gone.since(Some(&gone)), []);
    }

    #[test]
    fn what_cannot_be_read_is_told_once_and_is_not_down() {
        let first = seen(vec![tunnel(1, true)]);
        let unread = Seen { unread: Some("no route".to_owned()), ..first.clone() };
        let why = Change::Unread("no route".to_owned());
        assert_eq!(unread.since(Some(&first)), std::slice::from_ref(&why));
        assert_eq!(unread.since(Some(&unread)), []);
        assert_eq!(Seen { unread: unread.unread.clone(), ..Seen::default() }.since(None), [why]);
        assert_eq!(first.since(Some(&unread)), [Change::Read]);
        let lost = Seen { unread: unread.unread, ..seen(vec![tunnel(1, false)]) };
        assert!(!lost.is_down() && seen(vec![tunnel(1, false)]).is_down());
        assert!(!seen(vec![tunnel(1, false), tunnel(2, true)]).is_down());
        assert!(Seen::default().is_down());
    }
}
