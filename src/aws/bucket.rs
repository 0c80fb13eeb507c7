//! Keeps calls under AWS's own throttle: one token bucket an action.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::action::Action;
use crate::time::{self, Instant};

/// The buckets of one account and region.
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<HashMap<Action, Bucket>>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    /// Whoever holds it is the next to get a token, of those who wait in turn.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Buckets {
    /// Takes a token, after all who wait already.
    pub(super) async fn take(&self, action: Action) {
        let turn = self.with(action, |bucket| bucket.turn.clone());
        let _turn = turn.lock().await;
        self.take_ahead(action).await;
    }

    /// Takes a token before all who wait in turn.
    pub(super) async fn take_ahead(&self, action: Action) {
        while let Some(rest) = self.with(action, |bucket| bucket.take(action, time::now())) {
            time::sleep(rest).await;
        }
    }

    fn with<T>(&self, action: Action, look: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        let full = || Bucket {
            tokens: f64::from(action.rate().burst),
            at: time::now(),
            turn: Arc::default(),
        };
        look(buckets.entry(action).or_insert_with(full))
    }
}

impl Bucket {
    /// Takes a token; returns how long to rest first where there is none.
    fn take(&mut self, action: Action, now: Instant) -> Option<Duration> {
        let rate = action.rate();
        let (burst, per_second) = (f64::from(rate.burst), f64::from(rate.per_second));
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
        let lacks = 1.0 - self.tokens;
        // What is lost by rounding is less than the rest that a clock can measure.
        if lacks > 1e-6 {
            return Some(Duration::from_secs_f64(lacks / per_second));
        }
        self.tokens -= 1.0;
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_rest_is_spread_over_time() {
        let buckets = Buckets::default();
        let begin = time::now();
        for _ in 0..Action::CreateRoute.rate().burst {
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
    async fn who_comes_ahead_waits_for_the_next_token_only_and_the_rest_keep_their_order() {
        let buckets = Buckets::default();
        let begin = time::now();
        let timed = async |name, after: u64, is_ahead| {
            time::sleep(Duration::from_millis(after)).await;
            if is_ahead {
                buckets.take_ahead(Action::CreateTags).await;
            } else {
                buckets.take(Action::CreateTags).await;
            }
            (time::now() - begin, name)
        };
        for _ in 0..Action::CreateTags.rate().burst {
            buckets.take(Action::CreateTags).await;
        }
        let waiting = (0..20).map(|number| timed(number, 0, false));
        let (mut ended, ahead) = tokio::join!(join_all(waiting), timed(99, 450, true));
        assert!(ahead.0 <= Duration::from_millis(610), "{ahead:?}");
        ended.sort_unstable();
        assert_eq!(
            ended.iter().map(|(_, name)| *name).collect::<Vec<_>>(),
            (0..20).collect::<Vec<_>>()
        );
        let last = ended.last().unwrap().0;
        assert!(last >= Duration::from_millis(2100), "21 tokens at ten a second: {last:?}");
    }
}
