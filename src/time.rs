//! The only place that reads a clock, sleeps or sets a deadline.

use std::cell::Cell;
use std::future::Future;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use jiff::Timestamp;

/// A moment of the monotonic clock; under tests that of tokio's pausable clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(tokio::time::Instant);

impl Instant {
    /// Returns how long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        now() - self
    }

    /// Returns how long after an earlier moment it is; nothing if it is not later.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Work that did not end before its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

thread_local! {
    /// How time goes on this thread, if not as outside.
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

/// A time that runs at another speed, since a moment.
#[derive(Debug, Clone, Copy)]
struct Pace {
    speed: f64,
    begun: tokio::time::Instant,
    /// What the wall clock showed then.
    wall: Timestamp,
}

/// Lets time go so many times faster on this thread from now on, beginning at `wall`: its clocks, its
/// rests and its deadlines alike.
///
/// With tokio's paused clock and a speed of 1 the wall clock stands still with it.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn simulate(speed: f64, wall: Timestamp) {
    PACE.set(Some(Pace { speed, begun: tokio::time::Instant::now(), wall }));
}

/// Returns how long something takes outside that takes a span here.
fn outside(span: Duration) -> Duration {
    PACE.get().map_or(span, |pace| span.div_f64(pace.speed))
}

/// Reads the monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn now() -> Instant {
    let now = tokio::time::Instant::now();
    Instant(PACE.get().map_or(now, |pace| pace.begun + (now - pace.begun).mul_f64(pace.speed)))
}

/// Reads the wall clock outside, whatever is simulated.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn real_wall_clock() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).expect("the clock stands before the year 9999")
}

/// Reads the wall clock.
#[must_use]
pub fn wall_clock() -> Timestamp {
    Timestamp::try_from(SdkClock.now()).expect("the clock stands before the year 9999")
}

/// Waits for a span of time.
#[expect(clippy::disallowed_methods, reason = "this is where cgw waits")]
pub async fn sleep(span: Duration) {
    tokio::time::sleep(outside(span)).await;
}

/// Lets a blocking worker rest for a moment between two looks at its socket.
#[expect(clippy::disallowed_methods, reason = "this is where cgw waits")]
pub fn pause_thread(span: Duration) {
    std::thread::sleep(span);
}

/// Gives `work` until `limit` has passed.
#[expect(clippy::disallowed_methods, reason = "this is where deadlines are set")]
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, TimedOut> {
    tokio::time::timeout(outside(limit), work).await.map_err(|_| TimedOut)
}

/// How long to rest before each further try: short first, then stretching, at last constant.
///
/// INVARIANT: the sum of what it gives never passes `limit`, so that every loop over it ends.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
    until: Instant,
}

impl Backoff {
    /// Begins with `first`, doubles up to `longest`, ends when `limit` has passed from now.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, limit: Duration) -> Self {
        Self { next: first, longest, until: now() + limit }
    }

    /// Returns the next rest, or `None` when the limit has passed.
    pub fn next_rest(&mut self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(now());
        if left.is_zero() {
            return None;
        }
        let rest = self.next.min(left);
        self.next = (self.next * 2).clamp(Duration::from_millis(1), self.longest);
        Some(rest)
    }
}

/// Gives the AWS SDK this module's sleep and wall clock.
#[derive(Debug, Clone, Copy)]
pub struct SdkClock;

impl AsyncSleep for SdkClock {
    fn sleep(&self, span: Duration) -> Sleep {
        Sleep::new(sleep(span))
    }
}

impl TimeSource for SdkClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    fn now(&self) -> SystemTime {
        match PACE.get() {
            Some(pace) => {
                SystemTime::UNIX_EPOCH + since_1970(pace.wall) + (now() - Instant(pace.begun))
            }
            None => SystemTime::now(),
        }
    }
}

fn since_1970(at: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

/// Returns how long what many stacks do together waits for others: the longer the more there are.
#[must_use]
pub fn gathering(stacks: usize, longest: Duration) -> Duration {
    let others = u32::try_from(stacks.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_millis(100).saturating_mul(others).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_backoff_stretches_to_its_longest_rest_and_ends_at_its_limit() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 4 * second, 10 * second);
        let mut rests = Vec::new();
        while let Some(rest) = backoff.next_rest() {
            // The timer rounds to whole milliseconds.
            sleep(rest).await;
            rests.push(rest.as_secs_f64().round());
        }
        assert_eq!(rests, [1.0, 2.0, 4.0, 3.0]);
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "it is held against what is simulated")]
    async fn a_faster_time_goes_faster_in_every_respect() {
        let (real, wall) = (tokio::time::Instant::now(), Timestamp::UNIX_EPOCH);
        simulate(60.0, wall);
        let begun = now();
        sleep(Duration::from_mins(2)).await;
        let long = sleep(Duration::from_mins(5));
        assert_eq!(within(Duration::from_mins(1), long).await, Err(TimedOut));
        assert_eq!(begun.elapsed().as_secs(), 180);
        assert_eq!(wall_clock().as_second(), 180);
        assert_eq!(real.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_ended() {
        let long = sleep(Duration::from_secs(5));
        assert_eq!(within(Duration::from_secs(1), long).await, Err(TimedOut));
        assert_eq!(within(Duration::from_secs(1), async { 7 }).await, Ok(7));
    }
}
