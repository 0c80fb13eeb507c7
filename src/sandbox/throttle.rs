//! AWS's throttle: a token bucket for each action.
//!
//! Written after «Request throttling for the Amazon EC2 API» on its own, not after the buckets that
//! keep a client under it: neither is to hide what is wrong in the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Moment;

/// The buckets of one region.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Throttle(BTreeMap<String, (f64, Moment)>);

impl Throttle {
    /// Takes a token for a call; returns whether there was one.
    pub(super) fn take(&mut self, action: &str, now: Moment) -> bool {
        let (burst, per_second) = rate(action);
        let (tokens, at) = self.0.entry(action.to_owned()).or_insert((burst, now));
        *tokens = (*tokens + now.since(*at).as_secs_f64() * per_second).min(burst);
        *at = now;
        // A client that counts as AWS does must not fail by a rounding.
        let is_left = *tokens > 1.0 - 1e-3;
        if is_left {
            *tokens -= 1.0;
        }
        is_left
    }
}

/// Returns how many calls of an action may come at once, and how many a second afterwards.
#[must_use]
pub fn rate(action: &str) -> (f64, f64) {
    match action {
        "DescribeInstances" | "DescribeSecurityGroups" | "DescribeNetworkInterfaces" => {
            (50.0, 10.0)
        }
        "RunInstances" => (5.0, 2.0),
        "CreateTags" => (100.0, 10.0),
        "ModifyNetworkInterfaceAttribute" => (100.0, 5.0),
        _ if action.starts_with("Describe") || action.starts_with("Get") => (100.0, 20.0),
        _ => (50.0, 5.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let mut throttle = Throttle::default();
        let now = Moment::EARLIEST;
        let passed = (0..60).filter(|_| throttle.take("CreateRoute", now)).count();
        assert_eq!(passed, 50);
        let later = now.after(Duration::from_secs(2));
        let passed = (0..60).filter(|_| throttle.take("CreateRoute", later)).count();
        assert_eq!(passed, 10);
        assert!(throttle.take("DeleteRoute", now), "each action has its own");
    }
}
