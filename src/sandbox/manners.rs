//! How a simulated AWS behaves: how long things take, what lags, what is limited.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a simulated AWS behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manners {
    /// Whether objects take as long as with AWS to be ready; else they are at once.
    pub is_slow: bool,
    /// How long at most a read lags behind a write, drawn for each call.
    pub lag: Duration,
    /// The time from a request to its reply.
    pub latency: Duration,
    /// The most items of a page, where a call asks for no fewer.
    pub page: usize,
    /// Whether calls are throttled as with AWS.
    pub throttles: bool,
    /// Actions that the credentials may not do.
    pub denied: BTreeSet<String>,
    /// The region's quotas.
    pub quotas: Quotas,
}

/// How many of a kind a region may have (AWS's defaults: Site-to-Site VPN user guide, «Quotas»;
/// Elastic IPs: EC2's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    /// Elastic IPs.
    pub addresses: usize,
    /// VPN gateways.
    pub vpn_gateways: usize,
    /// Customer gateways.
    pub customer_gateways: usize,
    /// VPN connections.
    pub connections: usize,
    /// VPN connections of one gateway.
    pub connections_of_gateway: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            addresses: 5,
            vpn_gateways: 5,
            customer_gateways: 50,
            connections: 50,
            connections_of_gateway: 10,
        }
    }
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            is_slow: true,
            lag: Duration::from_secs(3),
            latency: Duration::from_millis(80),
            page: 1000,
            throttles: true,
            denied: BTreeSet::new(),
            quotas: Quotas::default(),
        }
    }
}

impl Manners {
    /// Behaves as an emulator does: at once, and never says no for want of room or time.
    #[must_use]
    pub fn prompt() -> Self {
        Self {
            is_slow: false,
            lag: Duration::ZERO,
            latency: Duration::ZERO,
            throttles: false,
            ..Self::default()
        }
    }
}

/// What takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Gateway,
    Attach,
    Detach,
    Connect,
    Disconnect,
    Modify,
    Prefix,
    Launch,
    Terminate,
}

impl Work {
    /// How long it takes mostly, and how long it was seen to take now and then.
    ///
    /// Attachment and connection: acceptance tests and reports of public provider code
    /// (terraform #8632, #13457; terraform-provider-aws #23632); the others are experience.
    pub(super) fn takes(self) -> [RangeInclusive<Duration>; 2] {
        let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
        match self {
            Self::Gateway => [seconds(1, 8), seconds(8, 30)],
            Self::Attach => [seconds(40, 100), seconds(300, 600)],
            Self::Detach => [seconds(10, 60), seconds(60, 180)],
            Self::Connect => [seconds(120, 300), seconds(480, 600)],
            Self::Disconnect => [seconds(60, 240), seconds(240, 480)],
            Self::Modify => [seconds(90, 240), seconds(300, 600)],
            Self::Prefix => [seconds(1, 10), seconds(10, 60)],
            Self::Launch => [seconds(15, 60), seconds(60, 180)],
            Self::Terminate => [seconds(20, 60), seconds(60, 240)],
        }
    }
}
