//! Faults by schedules that are drawn from seeds: whatever goes wrong and whenever, nothing is lost.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cgw::cli::{Cli, Code, Outside, run_in};
use cgw::interrupt::Keyboard;
use cgw::sandbox::host::Trouble;
use cgw::sandbox::{Draws, Faults, Manners, Odds, Seed, Signals};
use cgw::{time, ui};
use clap::Parser as _;

use crate::sandbox::{Field, simulated};

/// No command takes longer, whatever happens: the longest wait of all is for AWS, 20 minutes.
const ENDLESS: Duration = Duration::from_hours(4);
/// How often a command is given again before what stops it is looked at.
const TRIES: usize = 8;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Code(Code),
    Killed,
}

/// One schedule under way.
struct Schedule {
    field: Field,
    processes: u32,
    keys: BTreeSet<String>,
    said: String,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut draws = Draws::new(seed);
        let manners = Manners {
            lag: draws.span("lag", Duration::ZERO..=Duration::from_secs(20)),
            latency: draws.span("latency", Duration::from_millis(10)..=Duration::from_secs(2)),
            page: [5, 7, 100, 1000][draws.number("page") as usize % 4],
            ..Manners::default()
        };
        let field = Field::new(seed, manners);
        let often = |draws: &mut Draws, what: &str, most: u32| {
            let is_there = draws.percent(what, 60);
            if is_there { draws.number(what) % (most + 1) } else { 0 }
        };
        let odds = Odds {
            slow: often(&mut draws, "slow", 100),
            throttled: often(&mut draws, "throttled", 100),
            fails: often(&mut draws, "fails", 60),
            lost: often(&mut draws, "lost", 60),
            expired: often(&mut draws, "expired", 8),
            killed: often(&mut draws, "killed", 25),
            interrupted: often(&mut draws, "interrupted", 12),
            joined: often(&mut draws, "joined", 12),
            unreachable: often(&mut draws, "unreachable", 200),
            session_lost: often(&mut draws, "session lost", 300),
        };
        field.sandbox.trouble(Some(Faults::new(seed, odds)));
        // The scripts have about fourteen steps.
        let step = (draws.number("step") % 14).to_string();
        let troubles = [
            Trouble::StepFails(step.clone()),
            Trouble::RestartDuring(step),
            Trouble::GuardFires,
            Trouble::RolesPend,
        ];
        for trouble in troubles {
            if draws.percent("trouble", 20) {
                field.sandbox.trouble_server(&field.seed.instance, trouble).unwrap();
            }
        }
        Self { field, processes: 0, keys: BTreeSet::new(), said: String::new() }
    }

    fn outside(&mut self, signals: &Signals) -> Outside {
        self.processes += 1;
        let keyboard = Keyboard::Elsewhere(signals.interrupted.clone());
        Outside::sandboxed(self.field.sandbox.clone(), self.processes, keyboard)
    }

    /// Runs a command as its fate will have it, perhaps with another run beside it.
    async fn run(&mut self, words: &[&str]) -> Ending {
        self.note(&format!("$ cgw {}\n", words.join(" ")));
        let command = || Cli::try_parse_from([&["cgw"], words].concat()).unwrap().command;
        let signals = Signals::default();
        self.field.sandbox.tell(&signals);
        let (one, other) = (self.outside(&signals), self.outside(&signals));
        let work = async {
            let mut first = Box::pin(run_in(&one, command()));
            let joined = async {
                signals.joined.notified().await;
                Box::pin(run_in(&other, command())).await
            };
            tokio::pin!(joined);
            let mut second = None;
            let first = loop {
                tokio::select! {
                    biased;
                    () = signals.killed.notified() => return Ending::Killed,
                    code = &mut first => break code,
                    code = &mut joined, if second.is_none() => second = Some(code),
                }
            };
            Ending::Code(first)
        };
        let ending = time::within(ENDLESS, work).await;
        assert!(ending.is_ok(), "no end:\n{}", self.said);
        let ending = ending.unwrap();
        self.note(&ui::heard());
        self.note(&format!("= {ending:?}\n"));
        self.check();
        ending
    }

    fn note(&mut self, text: &str) {
        if std::env::var_os("CGW_SEED").is_some() {
            print!("{text}");
        }
        self.said.push_str(text);
    }

    /// What holds at any moment.
    fn check(&mut self) {
        self.keys.extend(self.field.sandbox.keys().unwrap().iter().map(|k| k.expose().to_owned()));
        let alarms = self.field.sandbox.alarms().unwrap();
        assert!(alarms.is_empty(), "{alarms:?}\n{}", self.said);
        for key in &self.keys {
            assert!(!self.said.contains(key), "a key is told");
        }
    }

    /// Runs a command again and again until it is done, or is not given the chance.
    async fn insist(&mut self, words: &[&str]) {
        for _ in 0..TRIES {
            if self.run(words).await == Ending::Code(Code::Done) {
                return;
            }
        }
    }

    /// Nothing goes wrong any more.
    async fn calm(&mut self) {
        self.field.sandbox.trouble(None);
        // Whoever held the lock is dead, and what was written is to be seen.
        time::sleep(Duration::from_mins(6)).await;
    }

    /// Runs a command that nothing can stop, and returns what it said.
    async fn must(&mut self, words: &[&str]) -> String {
        let before = self.said.len();
        let ending = self.run(words).await;
        assert_eq!(ending, Ending::Code(Code::Done), "{}", self.said);
        self.said[before..].to_owned()
    }
}

/// Runs one schedule from its beginning to its end: up, other things declared, perhaps down and up
/// again, whatever goes wrong; then, in peace, up and down.
async fn run(seed: u64) {
    let mut schedule = Schedule::new(seed);
    let before = schedule.field.sandbox.objects().unwrap();
    let Seed { cloud_vpc: vpc, instance, ping, .. } = schedule.field.seed.clone();
    let of_stack = ["--yes", "--lock-timeout", "900", "--stack", &vpc];
    let first = ["up", "--vpc", &vpc, "--instance", &instance];
    let has_windows = !seed.is_multiple_of(4);
    let way: &[&str] =
        if has_windows { &["--via", "ssh", "--ping", &ping] } else { &["--via", "none"] };
    let up = [&first[..], &of_stack, way].concat();
    let down = [&["down"][..], &of_stack].concat();
    let again = [&["up"][..], &of_stack].concat();
    schedule.insist(&up).await;
    schedule.run(&["status", "--stack", &vpc]).await;
    if has_windows {
        schedule.run(&[&["rotate-keys"][..], &of_stack].concat()).await;
    }
    let other = ["--crypto", "strict", "--workload-ports", "22,443", "--allow-replace"];
    schedule.insist(&[&up[..], &other].concat()).await;
    if seed.is_multiple_of(3) {
        schedule.insist(&down).await;
        schedule.insist(&up).await;
    }
    schedule.calm().await;
    schedule.must(&up).await;
    time::sleep(Duration::from_mins(1)).await;
    let last = schedule.must(&again).await;
    assert!(last.contains("nothing to change"), "{}", schedule.said);
    let nodes = schedule.field.sandbox.nodes().unwrap();
    let mine = nodes.iter().filter(|((stack, _), _)| *stack == vpc);
    let twice: Vec<_> = mine.filter(|(_, ids)| ids.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}\n{}", schedule.said);
    schedule.must(&down).await;
    let after = schedule.field.sandbox.objects().unwrap();
    let gone: Vec<_> = before.iter().filter(|(id, text)| after.get(*id) != Some(text)).collect();
    let new: Vec<_> = after.iter().filter(|(id, text)| before.get(*id) != Some(text)).collect();
    assert!(gone.is_empty() && new.is_empty(), "was {gone:?}\nis {new:?}\n{}", schedule.said);
    let traces = schedule.field.sandbox.traces().unwrap();
    assert!(traces.is_empty(), "{traces:?}\n{}", schedule.said);
    schedule.note(&format!("calls {:?}\n", schedule.field.sandbox.calls()));
}

/// The seeds that are asked for: one, or the first so many.
fn seeds(default: u64) -> Range<u64> {
    let read = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Some(seed) = read("CGW_SEED") {
        return seed..seed + 1;
    }
    let first = read("CGW_FIRST_SEED").unwrap_or(0);
    first..first + read("CGW_SCHEDULES").unwrap_or(default)
}

/// Runs a schedule, and tells how it is run again if something is wrong.
fn holds(seed: u64) -> bool {
    let outcome = std::panic::catch_unwind(|| simulated(run(seed)));
    let Err(why) = outcome else { return true };
    let text = why.downcast_ref::<&str>().copied();
    let why = text.or(why.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    let why: Vec<&str> = why.lines().take(3).collect();
    println!(
        "seed {seed}: CGW_SEED={seed} cargo test --test it schedules -- --nocapture\n{}",
        why.join("\n")
    );
    false
}

/// What was wrong with these once is mended.
#[test]
fn what_went_wrong_once_does_so_no_more() {
    // 1: a rule that stayed in a group which was not known yet when it was to be taken away; keys
    // that were changed twice, because a read lagged behind. 22: a lock that was given up, because
    // its own group was not known yet. 5, 75: pages that skipped what stood between them.
    for seed in [1, 5, 22, 75] {
        assert!(holds(seed), "{seed}");
    }
}

#[test]
fn whatever_goes_wrong_nothing_is_lost() {
    let seeds = seeds(60);
    let begun = std::time::Instant::now();
    let (count, next) = (seeds.end - seeds.start, AtomicU64::new(seeds.start));
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return failed;
            }
            if !holds(seed) {
                failed.push(seed);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    println!("{count} schedules in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{failed:?}");
}
