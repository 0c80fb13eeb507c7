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

/// Why a line that a person has pasted is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The rest of it is missing, as where a console has broken a long line.
    Cut,
    /// It is another line.
    Other,
}

impl Proof {
    /// The word before what the server says.
    pub(super) const WORD: &str = "cgw-proof ";

    /// Reads the line that `prove.ps1` prints.
    pub fn read(line: &str) -> Result<Self, Unread> {
        let told = line.trim_start().strip_prefix(Self::WORD).ok_or(Unread::Other)?;
        let cut =
            |error: serde_json::Error| if error.is_eof() { Unread::Cut } else { Unread::Other };
        serde_json::from_str(told).map_err(cut)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"cgw-proof {"sent":5,"received":4,"tunnelBytes":null,"mainMode":[],"quickMode":[{"peer":"203.0.113.10","encryption":"AES256","hash":"SHA256","keyExchange":"DH14"}]}"#;

    #[test]
    fn the_line_of_a_proof_is_told_from_a_part_of_it_and_from_another_line() {
        let proof = Proof::read(&format!("  {LINE}  ")).unwrap();
        assert_eq!((proof.sent, proof.received, proof.quick_mode.len()), (5, 4, 1));
        for cut in ["cgw-proof ", &LINE[..60], &LINE[..LINE.len() - 1]] {
            assert_eq!(Proof::read(cut), Err(Unread::Cut), "{cut}");
        }
        for other in ["", "y", "Reply from 10.0.1.10", &LINE[1..], r#"cgw-proof {"sent":5}"#] {
            assert_eq!(Proof::read(other), Err(Unread::Other), "{other}");
        }
    }
}
