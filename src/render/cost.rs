//! What a stack costs, as an estimate: AWS's public list for us-east-1.

use serde::Serialize;

use crate::plan::{Change, Plan};
use crate::resource::{ElasticIp, Kind as _, VpnConnection};

/// An estimate in US dollars an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// What is certain.
    pub usd_per_hour: f64,
    /// What AWS may charge for the tunnels' own addresses.
    pub possibly_more: f64,
}

/// Hours in a month, as AWS counts them.
const MONTH: f64 = 730.0;

/// What each kind costs an hour: AWS pricing pages for VPN and public IPv4 addresses. AWS lists
/// service-managed addresses as billable; whether a tunnel's count is not said.
const PRICES: &[(&str, f64, f64)] =
    &[(VpnConnection::NAME, 0.05, 2.0 * 0.005), (ElasticIp::NAME, 0.005, 0.0)];

/// Returns what the stack costs once the plan is carried out.
#[must_use]
pub fn after(plan: &Plan) -> Cost {
    let stays = |change: &Change| match change {
        Change::Keep | Change::Check | Change::Create | Change::Update(_) | Change::Replace(_) => {
            true
        }
        Change::Adopt | Change::Delete | Change::Restore | Change::HandOver(_) => false,
    };
    of(plan.steps.iter().filter(|s| stays(&s.change)).map(|s| s.key.address().kind))
}

/// Returns what nodes of these kinds cost.
#[must_use]
pub fn of<'a>(kinds: impl Iterator<Item = &'a str>) -> Cost {
    kinds.fold(Cost::default(), |sum, kind| {
        let price = PRICES.iter().find(|(name, ..)| *name == kind);
        price.map_or(sum, |(_, sure, maybe)| Cost {
            usd_per_hour: sum.usd_per_hour + sure,
            possibly_more: sum.possibly_more + maybe,
        })
    })
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { usd_per_hour, possibly_more } = self;
        write!(f, "about ${usd_per_hour:.3} an hour (${:.2} a month)", usd_per_hour * MONTH)?;
        if *possibly_more > 0.0 {
            write!(f, ", possibly ${possibly_more:.3} an hour more for the tunnels' addresses")?;
        }
        f.write_str("; the server and traffic not counted")
    }
}
