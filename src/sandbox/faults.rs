//! What goes wrong: for each call a fate is drawn from a seed.

use std::time::Duration;

use rand::RngExt as _;

use super::Draws;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Normal,
    /// It is answered late.
    Slow(Duration),
    /// It is refused, because too many came.
    Throttled,
    /// AWS fails with this HTTP status, and has or has not done what was asked.
    Fails(u16, Done),
    /// The connection is lost, and AWS has or has not done what was asked.
    Lost(Done),
    /// The credentials have expired.
    Expired,
    /// The process is killed, and AWS has or has not done what was asked.
    Killed(Done),
    /// Somebody presses Ctrl-C; the call is answered.
    Interrupted,
    /// Somebody else starts a run beside this one; the call is answered.
    Joined,
}

/// What becomes of one session on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// It goes to its end.
    Normal,
    /// Nobody answers.
    Unreachable,
    /// Something happens after so many lines, or before its end if there are no more.
    After(usize, Amid),
}

/// What happens in the midst of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amid {
    /// The connection is lost.
    Lost,
    /// The process is killed.
    Killed,
    /// Somebody presses Ctrl-C; the session goes on.
    Interrupted,
    /// Somebody else starts a run beside this one; the session goes on.
    Joined,
}

/// Whether what was asked was done all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was.
    Yes,
    /// It was not.
    No,
}

/// How often of a thousand calls, or of sessions on a server, each fate comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each is named as its fate is")]
pub struct Odds {
    pub slow: u32,
    pub throttled: u32,
    pub fails: u32,
    pub lost: u32,
    pub expired: u32,
    pub killed: u32,
    pub interrupted: u32,
    pub joined: u32,
    pub unreachable: u32,
    pub session_lost: u32,
    pub session_killed: u32,
    pub session_interrupted: u32,
    pub session_joined: u32,
}

/// Draws fates.
#[derive(Debug, Clone)]
pub struct Faults {
    draws: Draws,
    odds: Odds,
}

impl Faults {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64, odds: Odds) -> Self {
        Self { draws: Draws::new(seed), odds }
    }

    /// Draws the fate of the next call of an action.
    pub(super) fn fate(&mut self, action: &str) -> Fate {
        let mut dice = self.draws.next(action);
        let done = if dice.random() { Done::Yes } else { Done::No };
        let late = Duration::from_secs(dice.random_range(1..40));
        let status = if dice.random() { 500 } else { 503 };
        let fates = [
            (self.odds.slow, Fate::Slow(late)),
            (self.odds.throttled, Fate::Throttled),
            (self.odds.fails, Fate::Fails(status, done)),
            (self.odds.lost, Fate::Lost(done)),
            (self.odds.expired, Fate::Expired),
            (self.odds.killed, Fate::Killed(done)),
            (self.odds.interrupted, Fate::Interrupted),
            (self.odds.joined, Fate::Joined),
        ];
        drawn(&fates, dice.random_range(0..1000)).unwrap_or(Fate::Normal)
    }

    /// Draws the fate of the next session on a server.
    pub(super) fn visit(&mut self) -> Visit {
        let mut dice = self.draws.next("session");
        let lines = dice.random_range(0..20);
        let visits = [
            (self.odds.unreachable, Visit::Unreachable),
            (self.odds.session_lost, Visit::After(lines, Amid::Lost)),
            (self.odds.session_killed, Visit::After(lines, Amid::Killed)),
            (self.odds.session_interrupted, Visit::After(lines, Amid::Interrupted)),
            (self.odds.session_joined, Visit::After(lines, Amid::Joined)),
        ];
        drawn(&visits, dice.random_range(0..1000)).unwrap_or(Visit::Normal)
    }
}

/// Returns what a number of a thousand falls on.
fn drawn<T: Copy>(all: &[(u32, T)], number: u32) -> Option<T> {
    let mut left = number;
    for (odds, one) in all {
        if left < *odds {
            return Some(*one);
        }
        left -= odds;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_come_as_often_as_the_odds_say_and_alike_for_a_seed() {
        let odds = Odds { slow: 100, lost: 200, ..Odds::default() };
        let drawn = |seed| {
            let mut faults = Faults::new(seed, odds);
            (0..1000).map(|_| faults.fate("CreateRoute")).collect::<Vec<_>>()
        };
        let fates = drawn(1);
        let count = |is_it: fn(&Fate) -> bool| fates.iter().filter(|fate| is_it(fate)).count();
        assert!((60..140).contains(&count(|fate| matches!(fate, Fate::Slow(_)))));
        assert!((150..250).contains(&count(|fate| matches!(fate, Fate::Lost(_)))));
        assert_eq!(count(|fate| matches!(fate, Fate::Killed(_))), 0);
        assert_eq!(drawn(1), fates);
        assert_ne!(drawn(2), fates);
    }

    #[test]
    fn what_happens_in_the_midst_of_a_session_comes_as_often_as_the_odds_say() {
        let odds = Odds { unreachable: 100, session_killed: 200, ..Odds::default() };
        let mut faults = Faults::new(1, odds);
        let visits: Vec<Visit> = (0..1000).map(|_| faults.visit()).collect();
        let count = |is_it: fn(&Visit) -> bool| visits.iter().filter(|visit| is_it(visit)).count();
        assert!((60..140).contains(&count(|visit| *visit == Visit::Unreachable)));
        assert!((150..250).contains(&count(|v| matches!(v, Visit::After(_, Amid::Killed)))));
        assert_eq!(count(|v| matches!(v, Visit::After(_, Amid::Lost | Amid::Joined))), 0);
    }
}
