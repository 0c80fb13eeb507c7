//! What came of pings from the server through a tunnel.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::playbook::Suite;

/// What the server says: the `cgw-proof` line of `prove.ps1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// How many pings were sent, after the first that was answered or was given up.
    pub sent: usize,
    /// How many of them were answered.
    pub received: usize,
    /// What went through tunnels meanwhile; `None` where Windows does not count it.
    pub tunnel_bytes: Option<TunnelBytes>,
    /// Main mode: the other end has proven who it is.
    pub main_mode: Vec<Associated>,
    /// Quick mode: traffic can go through.
    pub quick_mode: Vec<Associated>,
}

/// What IPsec sent and received in tunnel mode, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelBytes {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

/// What came of switching a tunnel off: the `cgw-failover` line of `failover.ps1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    /// The tunnel that carried the traffic, by its outside address.
    pub from: Ipv4Addr,
    /// The one that took over, if it is known.
    pub to: Option<Ipv4Addr>,
    /// After how many seconds a ping came back.
    pub seconds: Option<f64>,
}

/// A security association of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Associated {
    /// The other end: a tunnel's outside address.
    pub peer: Ipv4Addr,
    /// What was negotiated.
    #[serde(flatten)]
    pub suite: Suite,
}
