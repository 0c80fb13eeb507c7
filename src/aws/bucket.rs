//! Keeps calls under AWS's own throttle: one token bucket an action.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::action::Action;
use crate::time::{self, Instant};

/// The buckets of one account and region.
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<HashMap<Action, Bucket>>);

#[derive(Debug)]
struct Bucket {
    /// May be below zero: then that many calls are waiting for their token already.
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// Takes a token, waiting for it when the bucket is empty.
    pub(super) async fn take(&self, action: Action) {
        let rest = self.reserve(action, time::now());
        if !rest.is_zero() {
            time::sleep(rest).await;
        }
    }

    /// Takes a token before all who wait; they wait the longer for it.
    pub(super) fn take_ahead(&self, action: Action) {
        self.reserve(action, time::now());
    }

    fn reserve(&self, action: Action, now: Instant) -> Duration {
        let rate = action.rate();
        let (burst, per_second) = (f64::from(waits_for(rate.burst)), f64::from(rate.per_second));
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        let bucket = buckets.entry(action).or_insert(Bucket { tokens: burst, at: now });
        let refilled = (now - bucket.at).as_secs_f64() * per_second;
        bucket.tokens = (bucket.tokens + refilled).min(burst) - 1.0;
        bucket.at = now;
        Duration::from_secs_f64((-bucket.tokens).max(0.0) / per_second)
    }
}

/// How many tokens of a bucket those get who wait: of a large one some stay for who comes ahead.
fn waits_for(burst: u32) -> u32 {
    burst - burst / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_rest_is_spread_over_time() {
        let buckets = Buckets::default();
        let begin = time::now();
        for _ in 0..waits_for(Action::CreateRoute.rate().burst) {
            buckets.take(Action::CreateRoute).await;
        }
        assert_eq!(time::now(), begin, "a burst does not wait");
        for _ in 0..10 {
            buckets.take(Action::CreateRoute).await;
        }
        assert_eq!((time::now() - begin).as_secs(), 2, "ten more at five a second");
        buckets.take(Action::DescribeVpcs).await;
        assert_eq!((time::now() - begin).as_secs(), 2, "another action has its own bucket");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_ahead_waits_for_nobody_and_is_counted() {
        let buckets = Buckets::default();
        let begin = time::now();
        for _ in 0..waits_for(Action::CreateTags.rate().burst) {
            buckets.take(Action::CreateTags).await;
        }
        for _ in 0..20 {
            buckets.take_ahead(Action::CreateTags);
        }
        assert_eq!(time::now(), begin);
        buckets.take(Action::CreateTags).await;
        assert_eq!((time::now() - begin).as_millis(), 2100, "21 tokens at ten a second");
    }
}
