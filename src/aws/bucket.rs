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
    /// Whoever holds it is the first of those who wait in turn.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Whoever holds it gets the next token.
    door: Arc<tokio::sync::Mutex<()>>,
}

impl Buckets {
    /// Takes a token, after all who wait already.
    pub(super) async fn take(&self, action: Action) {
        let turn = self.with(action, |bucket| bucket.turn.clone());
        let _turn = turn.lock().await;
        self.take_ahead(action).await;
    }

    /// Takes a token before all who wait in turn, but for the first of them.
    pub(super) async fn take_ahead(&self, action: Action) {
        let door = self.with(action, |bucket| bucket.door.clone());
        let _door = door.lock().await;
        while let Some(rest) = self.with(action, |bucket| bucket.take(action, time::now())) {
            time::sleep(rest).await;
        }
    }

    fn with<T>(&self, action: Action, look: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        let full = || Bucket {
            tokens: f64::from(at_once(action)),
            at: time::now(),
            turn: Arc::default(),
            door: Arc::default(),
        };
        look(buckets.entry(action).or_insert_with(full))
    }
}

impl Bucket {
    /// Takes a token; returns how long to rest first where there is none.
    fn take(&mut self, action: Action, now: Instant) -> Option<Duration> {
        let (burst, per_second) = (f64::from(at_once(action)), f64::from(action.rate().per_second));
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
        let lacks = 1.0 - self.tokens;
        // A sum of fractions may fall short of 1 by a rounding; nobody waits for that.
        if lacks > 1e-6 {
            return Some(Duration::from_secs_f64(lacks / per_second));
        }
        self.tokens -= 1.0;
        None
    }
}

/// How many calls may go at once: of a large bucket some tokens stay, because calls that leave one
/// after the other may arrive together.
fn at_once(action: Action) -> u32 {
    let burst = action.rate().burst;
    burst - burst / 20
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_the_rest_is_spread_over_time() {
        let buckets = Buckets::default();
        let begin = time::now();
        for _ in 0..at_once(Action::CreateRoute) {
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
    async fn who_comes_ahead_waits_for_one_at_most_and_all_keep_their_order() {
        let buckets = Buckets::default();
        let begin = time::now();
        for _ in 0..at_once(Action::CreateTags) {
            buckets.take(Action::CreateTags).await;
        }
        let ended = RefCell::new(Vec::new());
        let timed = async |name, after: u64, is_ahead| {
            time::sleep(Duration::from_millis(after)).await;
            if is_ahead {
                buckets.take_ahead(Action::CreateTags).await;
            } else {
                buckets.take(Action::CreateTags).await;
            }
            ended.borrow_mut().push(name);
        };
        let waiting = (0..20).map(|number| timed(number, 0, false));
        let ahead = (100..103).map(|number| timed(number, 450, true));
        tokio::join!(join_all(waiting), join_all(ahead));
        let all = [0, 1, 2, 3, 4, 100, 101, 102].into_iter().chain(5..20);
        assert_eq!(*ended.borrow(), all.collect::<Vec<_>>());
        assert_eq!((time::now() - begin).as_millis(), 2300, "23 tokens at ten a second");
    }
}
