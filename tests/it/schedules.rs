//! Faults by schedules that are drawn from seeds: whatever goes wrong and whenever, nothing is lost.

mod by_hand;
mod ending;
mod process;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cgw::cli::Code;
use cgw::sandbox::host::Trouble;
use cgw::sandbox::{Asking, Draws, Faults, Manners, Odds, Process, Seed};
use cgw::time;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use crate::sandbox::{Field, simulated};
use ending::Tally;
use process::{Acts, Ending, Place, Run, acts};

/// No command takes longer, whatever happens, nor those that run beside it: the longest wait of all
/// is for AWS, 20 minutes.
const ENDLESS: Duration = Duration::from_hours(6);
/// No read lags longer behind a write.
const LAG: Duration = Duration::from_mins(1);
/// AWS keeps the keys of a command no longer, whatever becomes of the run that has put them there.
const EXPIRED: Duration = Duration::from_hours(4);
/// How often a command is given again before what stops it is looked at.
const TRIES: usize = 4;
/// With so many schedules each command is done in some, though something goes wrong.
const MANY: u64 = 40;
/// How many runs there may be beside one.
const BESIDE: usize = 2;

/// One schedule under way.
struct Schedule<'a> {
    field: Field,
    place: Place,
    draws: Draws,
    /// What a person does meanwhile by hand.
    hand: Rc<RefCell<Draws>>,
    /// Nothing goes wrong any more.
    is_calm: bool,
    /// The commands that another operator may give meanwhile.
    others: Vec<Vec<String>>,
    /// Whether somebody has allowed that both tunnels are taken down at once.
    may_replace: bool,
    /// Whether somebody has changed something on the server by hand.
    is_tampered: bool,
    processes: u32,
    /// What every process has asked for.
    asked: Vec<(u32, Asking)>,
    tally: &'a Tally,
}

/// What a schedule comes to.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    said: String,
    asked: Vec<(u32, Asking)>,
}

impl<'a> Schedule<'a> {
    fn new(seed: u64, tally: &'a Tally) -> Self {
        let mut draws = Draws::new(seed);
        let manners = Manners {
            lag: draws.span("lag", Duration::ZERO..=Duration::from_secs(20)),
            latency: draws.span("latency", Duration::from_millis(10)..=Duration::from_secs(2)),
            page: [5, 7, 100, 1000][draws.number("page") as usize % 4],
            ..Manners::default()
        };
        let field = Field::new(seed, manners);
        let mut often = |what: &str, most: u32| {
            let is_there = draws.percent(what, 60);
            if is_there { draws.number(what) % (most + 1) } else { 0 }
        };
        let odds = Odds {
            slow: often("slow", 100),
            throttled: often("throttled", 100),
            fails: often("fails", 40),
            lost: often("lost", 40),
            expired: often("expired", 4),
            killed: often("killed", 4),
            interrupted: often("interrupted", 3),
            joined: often("joined", 3),
            unreachable: often("unreachable", 200),
            session_lost: often("session lost", 200),
            session_killed: often("session killed", 30),
            session_interrupted: often("session interrupted", 30),
            session_joined: often("session joined", 30),
        };
        field.sandbox.trouble(Some(Faults::new(seed, odds)));
        let place = Place { sandbox: field.sandbox.clone(), transcript: Rc::default() };
        Self {
            field,
            place,
            draws,
            hand: Rc::new(RefCell::new(Draws::new(seed))),
            is_calm: false,
            others: Vec::new(),
            may_replace: false,
            is_tampered: false,
            processes: 0,
            asked: Vec::new(),
            tally,
        }
    }

    /// Runs a command as its fate will have it, perhaps with others beside it.
    async fn run(&mut self, words: &[String]) -> Ending {
        if !self.is_calm {
            self.go_wrong_on_server();
        }
        let starts: Arc<Notify> = Arc::default();
        let mut running: FuturesUnordered<LocalBoxFuture<'static, (u32, Run)>> =
            FuturesUnordered::new();
        let mut words = words.to_vec();
        if !self.is_calm && self.draws.percent("json", 25) {
            words.push("--json".to_owned());
        }
        running.push(self.begin(words, &starts));
        let (mut beside, mut ended) = (0, Vec::new());
        let all = async {
            loop {
                tokio::select! {
                    biased;
                    () = starts.notified(), if beside < BESIDE => {
                        beside += 1;
                        let other = self.draws.number("other") as usize % self.others.len();
                        running.push(self.begin(self.others[other].clone(), &starts));
                    }
                    run = running.next() => match run {
                        Some(run) => ended.push(run),
                        None => return,
                    },
                }
            }
        };
        let end = time::within(ENDLESS, all).await;
        assert!(end.is_ok(), "no end:\n{}", self.said());
        drop(running);
        self.judge(&ended)
    }

    /// Begins a process.
    fn begin(
        &mut self,
        words: Vec<String>,
        starts: &Arc<Notify>,
    ) -> LocalBoxFuture<'static, (u32, Run)> {
        self.processes += 1;
        let (number, place) = (self.processes, self.place.clone());
        let mut process = Process::default();
        process.joined.clone_from(starts);
        let acts = if self.is_calm { Acts::new() } else { acts(&mut self.draws) };
        let (seed, hand, notes) = (self.field.seed.clone(), self.hand.clone(), place.clone());
        let by_hand = move || {
            let what = by_hand::in_aws(&notes.sandbox, &seed, &mut hand.borrow_mut());
            notes.note(&format!("by hand: {what}\n"));
        };
        Box::pin(async move { (number, place.run(number, words, process, acts, by_hand).await) })
    }

    /// Has something go wrong on the server in its next run, or a person change something there.
    fn go_wrong_on_server(&mut self) {
        let (sandbox, seed) = (&self.field.sandbox, &self.field.seed);
        // The scripts have about fourteen steps.
        let step = (self.draws.number("step") % 14).to_string();
        let troubles = [
            Trouble::StepFails(step.clone()),
            Trouble::RestartDuring(step),
            Trouble::GuardFires,
            Trouble::RolesPend,
        ];
        for trouble in troubles {
            if self.draws.percent("trouble", 10) {
                sandbox.trouble_server(&seed.instance, trouble).unwrap();
            }
        }
        if self.draws.percent("tamper", 8) {
            self.is_tampered = true;
            let what = by_hand::on_server(sandbox, seed, &mut self.draws);
            self.place.note(&format!("by hand: {what}\n"));
        }
    }

    /// What holds when runs have ended that were side by side; returns how the first one has.
    fn judge(&mut self, ended: &[(u32, Run)]) -> Ending {
        for (number, run) in ended {
            self.asked.extend(run.process.asked().into_iter().map(|one| (*number, one)));
            if !self.is_calm {
                self.tally.count(run);
            }
            self.may_replace |= run.words.iter().any(|word| word == "--allow-replace");
            let wrong = run.wrong();
            assert!(wrong.is_empty(), "{wrong:?}\n{}", self.said());
        }
        let is_allowed =
            |alarm: &String| self.may_replace && alarm.contains("both tunnels of vpn-");
        let mut alarms = self.field.sandbox.alarms().unwrap();
        alarms.retain(|alarm| !is_allowed(alarm));
        assert!(alarms.is_empty(), "{alarms:?}\n{}", self.said());
        let (said, log) = (self.place.transcript.borrow(), logged());
        for key in self.field.sandbox.keys().unwrap() {
            assert!(!said.contains(key.expose()), "a key is told");
            assert!(!log.contains(key.expose()), "a key is logged");
        }
        drop(said);
        let (_, last) = ended.last().expect("one at least has ended");
        if last.is_done() {
            self.has_nothing_twice();
        }
        if ended.len() == 1 && last.said.contains("all is taken away") {
            let left = self.nodes(last.stack());
            assert!(left.is_empty(), "{left:?}\n{}", self.said());
        }
        let first = ended.iter().min_by_key(|(number, _)| *number);
        first.map(|(_, run)| run.ending).expect("one at least has ended")
    }

    /// A stack's nodes, and what there is of each.
    fn nodes(&self, stack: &str) -> Vec<(String, Vec<String>)> {
        let nodes = self.field.sandbox.nodes().unwrap().into_iter();
        let own = nodes.filter(|((of, _), _)| of == stack);
        own.map(|((_, node), ids)| (node, ids)).collect()
    }

    fn has_nothing_twice(&self) {
        let nodes = self.field.sandbox.nodes().unwrap().into_iter();
        let twice: Vec<_> = nodes.filter(|(_, ids)| ids.len() > 1).collect();
        assert!(twice.is_empty(), "{twice:?}\n{}", self.said());
    }

    fn said(&self) -> String {
        self.place.transcript.borrow().clone()
    }

    /// Runs a command again and again until it is done, or is not given the chance.
    async fn insist(&mut self, words: &[String]) {
        for _ in 0..TRIES {
            if self.run(words).await == Ending::Code(Code::Done) {
                return;
            }
        }
    }

    /// Does so with a command that another one must come before, as its refusals say.
    async fn insist_after(&mut self, before: &[String], words: &[String]) {
        for _ in 0..TRIES {
            if self.run(words).await == Ending::Code(Code::Done) {
                return;
            }
            self.run(before).await;
        }
    }

    /// Nothing goes wrong any more.
    async fn calm(&mut self) {
        self.is_calm = true;
        self.field.sandbox.trouble(None);
        // Whoever held the lock is dead, what was written is to be seen, and a server that completes
        // its roles has started.
        time::sleep(Duration::from_mins(20)).await;
    }

    /// Runs a command that nothing can stop, and returns what it said.
    async fn must(&mut self, words: &[String]) -> String {
        let before = self.place.transcript.borrow().len();
        let mut ending = self.run(words).await;
        // What came up since the plan was made is told, and is another plan.
        let told = ["was not so when the plan was shown", "carries the traffic by now"];
        if told.iter().any(|told| self.said()[before..].contains(told)) {
            ending = self.run(words).await;
        }
        assert_eq!(ending, Ending::Code(Code::Done), "{}", self.said());
        self.said()[before..].to_owned()
    }

    /// Brings a stack to what is declared, and its server to what the steps set.
    async fn mend(&mut self, of: &Commands) {
        if self.is_tampered && !of.on_server.is_empty() {
            // A tunnel without its rule proves nothing while the other one is changed; and what was
            // changed on the server only the steps see.
            self.must(&[&of.up[..], &["--allow-replace".to_owned()]].concat()).await;
            time::sleep(LAG).await;
            self.must(&of.on_server[1]).await;
        }
        self.must(&of.up).await;
        time::sleep(LAG).await;
    }

    /// A stack is as declared.
    async fn is_declared(&mut self, of: &Commands) {
        let last = self.must(&of.again).await;
        assert!(last.contains("nothing to change"), "{}", self.said());
        self.has_nothing_twice();
    }

    /// All is as it was before.
    async fn is_as(&self, before: &BTreeMap<String, String>) {
        // The keys of a command whose run was killed go by themselves.
        time::sleep(EXPIRED).await;
        let after = self.field.sandbox.objects().unwrap();
        let gone: Vec<_> =
            before.iter().filter(|(id, text)| after.get(*id) != Some(text)).collect();
        let new: Vec<_> = after.iter().filter(|(id, text)| before.get(*id) != Some(text)).collect();
        let said = self.said();
        assert!(gone.is_empty() && new.is_empty(), "was {gone:?}\nis {new:?}\n{said}");
        let traces = self.field.sandbox.traces().unwrap();
        assert!(traces.is_empty(), "{traces:?}\n{said}");
    }

    fn trace(self) -> Trace {
        let calls = self.field.sandbox.calls().unwrap();
        let calls: u64 = calls.values().map(|calls| calls.came).sum();
        self.place.note(&format!("calls {calls}\n"));
        Trace { said: self.said(), asked: self.asked }
    }
}

/// The commands of a schedule.
#[derive(Clone)]
struct Commands {
    up: Vec<String>,
    /// With other things declared.
    other: Vec<String>,
    /// What was declared last.
    again: Vec<String>,
    down: Vec<String>,
    status: Vec<String>,
    /// Those that need a server which cgw logs in to.
    on_server: Vec<Vec<String>>,
}

impl Commands {
    /// `via` is how cgw reaches the server, if it sets one up.
    fn new(seed: &Seed, via: Option<&str>) -> Self {
        let Seed { cloud_vpc: vpc, instance, ping, .. } = seed;
        let of_stack = ["--stack", vpc];
        let changing = ["--yes", "--lock-timeout", "900"];
        let has_windows = via.is_some();
        let way: &[&str] = match via {
            Some(via) => &["--via", via, "--ping", ping],
            None => &["--via", "none"],
        };
        let words = |parts: &[&[&str]]| -> Vec<String> {
            parts.concat().into_iter().map(str::to_owned).collect()
        };
        let change = |word| words(&[&[word], &of_stack, &changing]);
        let up = [&["up", "--vpc", vpc, "--instance", instance][..], &of_stack, &changing, way];
        let more = ["--crypto", "strict", "--workload-ports", "22,443"];
        // Where a ping can prove a tunnel the other one is changed meanwhile; elsewhere nobody can
        // tell whether any carries traffic.
        let may: &[&str] = if has_windows { &[] } else { &["--allow-replace"] };
        let on_server =
            [change("rotate-keys"), change("push"), words(&[&["test", "--failover"], &of_stack])];
        Self {
            up: words(&up),
            other: words(&[&up.concat(), &more, may]),
            again: change("up"),
            down: change("down"),
            status: words(&[&["status"], &of_stack]),
            on_server: if has_windows { on_server.into() } else { Vec::new() },
        }
    }

    fn all(&self) -> Vec<Vec<String>> {
        let Self { up, other, again, down, status, on_server } = self.clone();
        [up, other, again, down, status].into_iter().chain(on_server).collect()
    }
}

/// Runs one schedule from its beginning to its end: up, something on the server, other things
/// declared, perhaps down and up again, whatever goes wrong; then, in peace, up and down.
async fn run(seed: u64, tally: &Tally) -> Trace {
    let mut schedule = Schedule::new(seed, tally);
    let before = schedule.field.sandbox.objects().unwrap();
    let via = match seed % 4 {
        0 => None,
        2 => Some("ssm"),
        _ => Some("ssh"),
    };
    let commands = Commands::new(&schedule.field.seed, via);
    schedule.others = commands.all();
    let Commands { up, other, down, status, on_server, .. } = &commands;
    schedule.insist(up).await;
    schedule.run(status).await;
    // Not all of it in each schedule: more schedules find more than longer ones.
    let part = schedule.draws.number("part") as usize % 4;
    match on_server.get(part) {
        Some(one) => schedule.insist_after(up, one).await,
        None => schedule.insist(other).await,
    }
    if schedule.draws.percent("more", 33) {
        schedule.insist(other).await;
    }
    if schedule.draws.percent("down", 33) {
        schedule.insist(down).await;
        schedule.insist(up).await;
    }
    schedule.calm().await;
    schedule.mend(&commands).await;
    schedule.is_declared(&commands).await;
    schedule.must(down).await;
    schedule.is_as(&before).await;
    schedule.trace()
}

/// Runs one schedule of two stacks behind one server: each made, changed, perhaps taken away; then, in
/// peace, both are made, and go in either order or at the same moment.
async fn run_two(seed: u64, tally: &Tally) -> Trace {
    let mut schedule = Schedule::new(seed, tally);
    let first = schedule.field.seed.clone();
    // One whose network is another than the first one's.
    let second = schedule.field.sandbox.seed_many(2).remove(1);
    let second = Seed { instance: first.instance.clone(), ..second };
    let before = schedule.field.sandbox.objects().unwrap();
    let via = if seed.is_multiple_of(2) { None } else { Some("ssh") };
    let both = [first, second].map(|seed| Commands::new(&seed, via));
    schedule.others = both.iter().flat_map(Commands::all).collect();
    for of in &both {
        schedule.insist(&of.up).await;
    }
    let one = &both[schedule.draws.number("one") as usize % 2];
    let part = schedule.draws.number("part") as usize % 4;
    match one.on_server.get(part) {
        Some(command) => schedule.insist_after(&one.up, command).await,
        None => schedule.insist(&one.other).await,
    }
    if schedule.draws.percent("down", 60) {
        schedule.insist(&one.down).await;
    }
    schedule.calm().await;
    for of in &both {
        // One that was begun before the other had made the address they share is made anew.
        schedule.must(&[&of.up[..], &["--allow-replace".to_owned()]].concat()).await;
        time::sleep(LAG).await;
        schedule.mend(of).await;
    }
    for of in &both {
        schedule.is_declared(of).await;
    }
    let first = schedule.draws.number("order") as usize % 3;
    if first < 2 {
        for of in [&both[first], &both[1 - first]] {
            schedule.must(&of.down).await;
        }
    } else {
        let starts = Arc::default();
        let runs = both.each_ref().map(|of| schedule.begin(of.down.clone(), &starts));
        let ended = join_all(runs).await;
        schedule.judge(&ended);
        assert!(ended.iter().all(|(_, run)| run.is_done()), "{}", schedule.said());
    }
    schedule.is_as(&before).await;
    schedule.trace()
}

/// A number that somebody has asked for.
fn read(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().expect("it is a number"))
}

/// The seeds that are asked for: one, or the first so many.
fn seeds(default: u64) -> Range<u64> {
    if let Some(seed) = read("CGW_SEED") {
        return seed..seed + 1;
    }
    let first = read("CGW_FIRST_SEED").unwrap_or(0);
    first..first + read("CGW_SCHEDULES").unwrap_or(default)
}

thread_local! {
    /// What was logged on this thread.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What writes as `--log debug` does, and one that does nothing: where there is just one, `tracing`
/// asks the thread that comes first to an event whether anybody listens, and believes that for all.
static LOGGERS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt().with_env_filter("off,cgw=debug");
    let logger = subscriber.with_writer(|| Log).finish();
    [logger.into(), NoSubscriber::default().into()]
});

/// Keeps what is logged.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged() -> String {
    LOG.with_borrow(|log| String::from_utf8_lossy(log).into_owned())
}

/// Runs a schedule in its own time, some with `--log debug`.
fn whole(seed: u64, tally: &Tally) -> Trace {
    LOG.take();
    let [logger, _] = &*LOGGERS;
    let has_log = seed.is_multiple_of(10);
    let _guard = has_log.then(|| tracing::dispatcher::set_default(logger));
    let has_two = seed % 5 == 4;
    let trace = simulated(async {
        if has_two { run_two(seed, tally).await } else { run(seed, tally).await }
    });
    assert_eq!(logged().is_empty(), !has_log);
    trace
}

/// Runs a schedule, and tells how it is run again if something is wrong.
fn holds(seed: u64, tally: &Tally) -> bool {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| whole(seed, tally)));
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
    // The schedules were drawn otherwise then; these seeds stay as the first that are tried.
    // 1: a rule that stayed in a group which was not known yet when it was to be taken away; keys
    // that were changed twice, because a read lagged behind. 22: a lock that was given up, because
    // its own group was not known yet. 5, 75: pages that skipped what stood between them.
    // 5010: what was changed under an announcement, and made with an address, that a read showed
    // after a `down` had taken them away.
    // 5083: a lock in another VPC, where a run was killed that had seen no record.
    // 10276: what a run had made that ended just before, made once more. 10777: the guard of a killed
    // run, which put a rule back that was off for the other tunnel's sake.
    // 947: the groups of an interface set once more, because a read showed what a run had just undone.
    for seed in [1, 5, 22, 75, 947, 5010, 5083, 10276, 10777] {
        assert!(holds(seed, &Tally::default()), "{seed}");
    }
}

/// Each switched a tunnel off before it waited for the lock, and the run before switched it on again
/// and the other one off.
#[test]
fn rotations_side_by_side_never_take_both_tunnels_down() {
    for seed in 0..3 {
        simulated(async {
            let tally = Tally::default();
            let mut schedule = Schedule::new(seed, &tally);
            let commands = Commands::new(&schedule.field.seed, Some("ssh"));
            schedule.calm().await;
            schedule.must(&commands.up).await;
            time::sleep(LAG).await;
            let starts = Arc::default();
            let rotations = [0, 20, 40].map(|after| {
                let run = schedule.begin(commands.on_server[0].clone(), &starts);
                async move {
                    time::sleep(Duration::from_secs(after)).await;
                    run.await
                }
            });
            let ended = join_all(rotations).await;
            let done = ended.iter().filter(|(_, run)| run.is_done()).count();
            assert!(done > 0, "{}", schedule.said());
            schedule.judge(&ended);
        });
    }
}

#[test]
fn the_same_seed_gives_the_same_calls_and_the_same_words() {
    for seed in [3, 4] {
        let [one, other] = [(); 2].map(|()| whole(seed, &Tally::default()));
        let first = one.asked.iter().zip(&other.asked).find(|(one, other)| one != other);
        assert_eq!(first, None, "seed {seed}");
        let lines = one.said.lines().zip(other.said.lines()).find(|(one, other)| one != other);
        assert_eq!(lines, None, "seed {seed}");
    }
}

/// As many of the schedules that are asked for as begin within `CGW_SECONDS`, if it says how long;
/// `MANY` at least.
#[test]
fn whatever_goes_wrong_nothing_is_lost() {
    let (seeds, longest) = (seeds(24), read("CGW_SECONDS").map(Duration::from_secs));
    let begun = std::time::Instant::now();
    let is_late = |seed| {
        let may_end = seed - seeds.start >= MANY;
        may_end && longest.is_some_and(|longest| begun.elapsed() > longest)
    };
    let (count, next) = (AtomicU64::new(0), AtomicU64::new(seeds.start));
    let tally = Tally::default();
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || is_late(seed) {
                return failed;
            }
            count.fetch_add(1, Ordering::Relaxed);
            if !holds(seed, &tally) {
                failed.push(seed);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let (count, asked) = (count.into_inner(), seeds.end - seeds.start);
    println!("{count} of {asked} schedules in {:.1} s\n{tally}", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{failed:?}");
    // A command that always fails would lose nothing either.
    if count >= MANY {
        assert_eq!(tally.never("Done"), <[&str; 0]>::default());
    }
}
