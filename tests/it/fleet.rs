//! Many stacks at once, in a sandbox and in simulated time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use cgw::cli::{Cli, Code, Outside, run_in};
use cgw::interrupt::Keyboard;
use cgw::sandbox::{Calls, Manners, Process, Quotas, Sandbox, Seed};
use cgw::{time, ui};
use clap::Parser as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::sandbox::{Run, simulated};

/// So many VPCs, each with its server, and a file that declares a stack for each.
struct Fleet {
    sandbox: Sandbox,
    seeds: Vec<Seed>,
    folder: TempDir,
}

/// A region without bounds.
const QUOTAS: Quotas = Quotas {
    addresses: usize::MAX,
    vpn_gateways: usize::MAX,
    customer_gateways: usize::MAX,
    connections: usize::MAX,
    connections_of_gateway: usize::MAX,
};

impl Fleet {
    /// VPCs of which all lead to the first one's server.
    fn behind_one_server(count: usize, more: &str) -> Self {
        let fleet = Self::new(count, more);
        let mut text = std::fs::read_to_string(fleet.file()).unwrap();
        for seed in &fleet.seeds[1..] {
            text = text.replace(&seed.instance, &fleet.seeds[0].instance);
        }
        std::fs::write(fleet.file(), text).unwrap();
        fleet
    }

    fn new(count: usize, more: &str) -> Self {
        let sandbox = Sandbox::new(1, Manners { quotas: QUOTAS, ..Manners::default() });
        let seeds = sandbox.seed_many(count);
        let fleet = Self { sandbox, seeds, folder: tempfile::tempdir().unwrap() };
        let mut text = String::new();
        for (number, Seed { cloud_vpc, instance, ping, .. }) in fleet.seeds.iter().enumerate() {
            writeln!(
                text,
                "[[stack]]\nname = \"office-{number:03}\"\nvpc = \"{cloud_vpc}\"\n\
                 instance = \"{instance}\"\nping = \"{ping}\"\n{more}"
            )
            .unwrap();
        }
        std::fs::write(fleet.file(), text).unwrap();
        fleet
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("cgw.toml")
    }

    async fn cgw(&self, words: &[&str]) -> Run {
        self.cgw_of(1, words).await
    }

    /// Runs cgw as another process than other numbers do.
    async fn cgw_of(&self, number: u32, words: &[&str]) -> Run {
        self.process(number, words, usize::MAX).await.expect("nobody kills it")
    }

    /// Runs cgw; kills it when it has begun so many changing calls.
    async fn cgw_until(&self, words: &[&str], kill: usize) -> Option<Run> {
        self.process(0, words, kill).await
    }

    async fn process(&self, number: u32, words: &[&str], kill: usize) -> Option<Run> {
        let file = self.file();
        let words = [&["cgw"], words, &["--config", file.to_str().unwrap()]].concat();
        let cli = Cli::try_parse_from(words).expect("the words are right");
        let process = Process::default();
        let sandbox = self.sandbox.seen_by(&process);
        let outside = Outside::sandboxed(sandbox, number, Keyboard::default());
        let mut work = Box::pin(run_in(&outside, cli.command));
        let ended = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(code) => Poll::Ready(Some(code)),
            Poll::Pending if kill < usize::MAX && changes(&process) > kill => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let code = ended.await;
        let said = ui::heard();
        Some(Run { code: code?, said })
    }

    fn calls(&self) -> u64 {
        self.sandbox.calls().unwrap().values().map(|calls| calls.came).sum()
    }
}

/// How many changing calls a process has begun.
fn changes(process: &Process) -> usize {
    process.asked().iter().filter(|asking| asking.changes()).count()
}

/// The last lines: one a stack.
fn table(run: &Run) -> Vec<&str> {
    let lines = run.said.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with("office-") && !line.contains(" | ")).collect()
}

#[test]
fn a_fleet_is_made_and_taken_away_side_by_side() {
    simulated(async {
        let fleet = Fleet::new(3, "");
        let before = fleet.sandbox.objects().unwrap();
        let begun = time::now();
        let up = fleet.cgw(&["up", "--all", "--yes", "--quota-raised"]).await.ok();
        println!("{} in {:?}", up.said, begun.elapsed());
        assert_eq!(table(&up).len(), 3, "{}", up.said);
        assert!(table(&up).iter().all(|line| line.contains("done")), "{}", up.said);
        assert_eq!(up.said.matches("5 of 5 answered").count(), 3, "{}", up.said);
        time::sleep(Duration::from_secs(30)).await;
        let again = fleet.cgw(&["up", "--all", "--yes", "--quota-raised"]).await.ok();
        assert!(table(&again).iter().all(|line| line.contains("nothing to change")));
        fleet.cgw(&["down", "--all", "--yes"]).await.ok();
        assert_eq!(fleet.sandbox.objects().unwrap(), before);
        assert_eq!(fleet.sandbox.traces().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn one_that_fails_stops_no_other_and_is_told_in_its_line() {
    simulated(async {
        let fleet = Fleet::new(3, "via = \"none\"");
        let text = std::fs::read_to_string(fleet.file()).unwrap();
        let text = text.replace(&fleet.seeds[1].cloud_vpc, "vpc-0123456789abcdef0");
        std::fs::write(fleet.file(), text).unwrap();
        let up = fleet.cgw(&["up", "--all", "--yes", "--json"]).await;
        assert_eq!(up.code, Code::Failed, "{}", up.said);
        let lines = up.said.lines().filter_map(|line| serde_json::from_str(line).ok());
        let all: Vec<Value> = lines.collect();
        let outcomes = all.iter().filter(|line| line["event"] == "outcome");
        let told: Vec<_> =
            outcomes.map(|o| (&o["outcome"]["stack"], &o["outcome"]["code"])).collect();
        assert_eq!(told.len(), 3, "{}", up.said);
        let codes: Vec<_> = told.iter().map(|(_, code)| code.as_u64().unwrap()).collect();
        assert_eq!(codes, [0, 2, 0], "{}", up.said);
        let of = |name: &str| all.iter().filter(|line| line["stack"] == name).count();
        assert!(of("office-000") > 10 && of("office-001") > 0, "{}", up.said);
    });
}

#[test]
fn one_observation_serves_all_stacks() {
    simulated(async {
        let fleet = Fleet::new(10, "via = \"none\"");
        let before = fleet.calls();
        let plan = fleet.cgw(&["plan", "--all", "--quota-raised"]).await.ok();
        assert_eq!(plan.said.matches(" changes").count(), 11, "{}", plan.said);
        assert_eq!(fleet.calls() - before, 12);
    });
}

#[test]
fn only_those_that_are_named_are_worked_on() {
    simulated(async {
        let fleet = Fleet::new(3, "via = \"none\"");
        let up = ["up", "--yes", "--only", "office-000,office-002"];
        let up = fleet.cgw(&up).await.ok();
        let names: Vec<&str> = table(&up).iter().map(|line| &line[..10]).collect();
        assert_eq!(names, ["office-000", "office-002"]);
        let unknown = fleet.cgw(&["up", "--yes", "--only", "office-000,branch"]).await;
        assert_eq!(unknown.code, Code::Refused);
        assert!(unknown.said.contains("declares no stack branch"), "{}", unknown.said);
        assert!(unknown.said.contains("office-000, office-001, office-002"), "{}", unknown.said);
    });
}

#[test]
fn vpcs_behind_one_server_share_what_is_the_servers() {
    simulated(async {
        let fleet = Fleet::behind_one_server(3, "");
        let before = fleet.sandbox.objects().unwrap();
        let up = fleet.cgw(&["up", "--all", "--yes"]).await.ok();
        println!("{}", up.said);
        assert_eq!(up.said.matches("5 of 5 answered").count(), 3, "{}", up.said);
        let nodes = fleet.sandbox.nodes().unwrap();
        let of = |kind: &str| nodes.keys().filter(|(_, node)| node == kind).count();
        assert_eq!((of("elastic-ip"), of("customer-gateway"), of("vpn-connection")), (1, 1, 3));
        time::sleep(Duration::from_secs(30)).await;
        let again = fleet.cgw(&["up", "--all", "--yes"]).await.ok();
        assert!(
            table(&again).iter().all(|line| line.contains("nothing to change")),
            "{}",
            again.said
        );
        // The one that made what is shared goes first.
        let first = fleet.cgw(&["down", "--only", "office-000", "--yes"]).await.ok();
        println!("{}", first.said);
        assert!(first.said.contains("all is taken away"), "{}", first.said);
        time::sleep(Duration::from_secs(30)).await;
        let rest = ["up", "--only", "office-001,office-002", "--yes"];
        let rest = fleet.cgw(&rest).await.ok();
        assert!(
            table(&rest).iter().all(|line| line.contains("nothing to change")),
            "{}",
            rest.said
        );
        for stack in ["office-001", "office-002"] {
            let words = ["test", "--stack", stack, "--region", Sandbox::REGION];
            fleet.cgw(&words).await.ok();
        }
        let down = fleet.cgw(&["down", "--only", "office-001,office-002", "--yes"]).await.ok();
        println!("{}", down.said);
        assert_eq!(fleet.sandbox.objects().unwrap(), before);
        assert_eq!(fleet.sandbox.traces().unwrap(), Vec::<String>::new());
        assert_eq!(fleet.sandbox.alarms().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn what_is_handed_over_survives_a_kill_at_every_call() {
    let mut kills = 0;
    while killed_while_handing_over(kills) {
        kills += 1;
    }
    assert!(kills > 15, "{kills}");
}

#[test]
fn an_address_that_serves_nobody_any_more_goes_with_the_last() {
    simulated(async {
        let fleet = Fleet::behind_one_server(2, "via = \"none\"");
        let before = fleet.sandbox.objects().unwrap();
        fleet.cgw(&["up", "--all", "--yes"]).await.ok();
        let path = ["addressesSet", "associationId"];
        let association = fleet.sandbox.by_hand("DescribeAddresses", "", &path).unwrap().remove(0);
        let form = format!("AssociationId={association}");
        fleet.sandbox.by_hand("DisassociateAddress", &form, &["return"]).unwrap();
        for stack in ["office-000", "office-001"] {
            time::sleep(Duration::from_secs(30)).await;
            fleet.cgw(&["down", "--yes", "--only", stack]).await.ok();
        }
        assert_eq!(fleet.sandbox.objects().unwrap(), before);
    });
}

#[test]
fn one_that_comes_while_the_other_goes_loses_nothing() {
    for seconds in [0, 5, 15, 30, 60, 120] {
        simulated(async {
            let fleet = Fleet::behind_one_server(2, "");
            let before = fleet.sandbox.objects().unwrap();
            let up = |stack| ["up", "--yes", "--lock-timeout", "600", "--only", stack];
            fleet.cgw(&up("office-000")).await.ok();
            time::sleep(Duration::from_secs(30)).await;
            let comes = async {
                time::sleep(Duration::from_secs(seconds)).await;
                fleet.cgw(&up("office-001")).await
            };
            let down = ["down", "--yes", "--only", "office-000"];
            let (down, _) = tokio::join!(fleet.cgw(&down), comes);
            println!("{seconds}: {:?}", down.code);
            time::sleep(Duration::from_secs(30)).await;
            // What it met half taken away it makes now.
            let up = fleet.cgw(&[&up("office-001")[..], &["--allow-replace"]].concat()).await.ok();
            time::sleep(Duration::from_secs(30)).await;
            let test = ["test", "--stack", "office-001", "--region", Sandbox::REGION];
            let test = fleet.cgw(&test).await;
            assert_eq!(test.code, Code::Done, "{seconds}: {}\n{}", up.said, test.said);
            for stack in ["office-000", "office-001"] {
                fleet.cgw(&["down", "--yes", "--only", stack]).await.ok();
                time::sleep(Duration::from_secs(30)).await;
            }
            assert_eq!(fleet.sandbox.objects().unwrap(), before, "{seconds}");
            assert_eq!(fleet.sandbox.traces().unwrap(), Vec::<String>::new(), "{seconds}");
        });
    }
}

#[test]
fn the_last_two_may_go_at_the_same_moment() {
    for seconds in [0, 1, 5, 20, 40, 60, 80, 100, 120, 150, 180] {
        simulated(async {
            let fleet = Fleet::behind_one_server(2, "via = \"none\"");
            let before = fleet.sandbox.objects().unwrap();
            fleet.cgw(&["up", "--all", "--yes"]).await.ok();
            time::sleep(Duration::from_secs(30)).await;
            let down = async |number, stack, after| {
                time::sleep(Duration::from_secs(after)).await;
                let words = ["down", "--yes", "--lock-timeout", "900", "--only", stack];
                fleet.cgw_of(number, &words).await
            };
            let (first, second) =
                tokio::join!(down(1, "office-000", seconds), down(2, "office-001", 0));
            let said = format!("{seconds}: {}\n{}", first.said, second.said);
            assert_eq!((first.code, second.code), (Code::Done, Code::Done), "{said}");
            assert_eq!(fleet.sandbox.objects().unwrap(), before, "{said}");
            assert_eq!(fleet.sandbox.traces().unwrap(), Vec::<String>::new(), "{said}");
            assert_eq!(fleet.sandbox.alarms().unwrap(), Vec::<String>::new(), "{said}");
        });
    }
}

#[test]
fn those_of_one_server_that_the_file_does_not_name_go_one_after_the_other() {
    simulated(async {
        let fleet = Fleet::behind_one_server(4, "");
        let before = fleet.sandbox.objects().unwrap();
        fleet.cgw(&["up", "--all", "--yes"]).await.ok();
        time::sleep(Duration::from_secs(30)).await;
        let text = std::fs::read_to_string(fleet.file()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("instance"));
        let lines: Vec<&str> = lines.collect();
        let changed = lines.join("\n").replace("[[stack]]", "[[stack]]\ncrypto = \"strong\"");
        std::fs::write(fleet.file(), changed).unwrap();
        let up = fleet.cgw(&["up", "--all", "--yes", "--allow-replace"]).await.ok();
        assert_eq!(up.said.matches("5 of 5 answered").count(), 4, "{}", up.said);
        time::sleep(Duration::from_secs(30)).await;
        let down = fleet.cgw(&["down", "--all", "--yes"]).await.ok();
        assert_eq!(down.said.matches("all is taken away").count(), 4, "{}", down.said);
        assert_eq!(fleet.sandbox.objects().unwrap(), before);
        assert_eq!(fleet.sandbox.traces().unwrap(), Vec::<String>::new());
        assert_eq!(fleet.sandbox.alarms().unwrap(), Vec::<String>::new());
    });
}

/// Takes the stack away that made what is shared, and kills that run at a changing call; says whether
/// it came so far.
fn killed_while_handing_over(call: usize) -> bool {
    simulated(async {
        let fleet = Fleet::behind_one_server(2, "via = \"none\"");
        let before = fleet.sandbox.objects().unwrap();
        fleet.cgw(&["up", "--all", "--yes"]).await.ok();
        let (first, second) = (["--only", "office-000"], ["--only", "office-001"]);
        let down = [&["down", "--yes"][..], &first].concat();
        let killed = fleet.cgw_until(&down, call).await.is_none();
        fleet.cgw(&[&down[..], &["--lock-timeout", "600"]].concat()).await.ok();
        time::sleep(Duration::from_secs(30)).await;
        let up = fleet.cgw(&[&["up", "--yes"][..], &second].concat()).await.ok();
        assert!(table(&up)[0].contains("nothing to change"), "killed at {call}: {}", up.said);
        let nodes = fleet.sandbox.nodes().unwrap();
        let owners: Vec<&str> = nodes
            .keys()
            .filter(|(_, node)| node == "elastic-ip" || node == "customer-gateway")
            .map(|(stack, _)| stack.as_str())
            .collect();
        assert_eq!(owners, ["office-001"; 2], "killed at {call}");
        fleet.cgw(&[&["down", "--yes"][..], &second].concat()).await.ok();
        assert_eq!(fleet.sandbox.objects().unwrap(), before, "killed at {call}");
        assert_eq!(fleet.sandbox.alarms().unwrap(), Vec::<String>::new(), "killed at {call}");
        killed
    })
}

/// What a run said, each line with the moment.
async fn timed(fleet: &Fleet, words: &[&str]) -> Vec<(time::Instant, Value)> {
    let file = fleet.file();
    let words = [&["cgw"], words, &["--json", "--config", file.to_str().unwrap()]].concat();
    let cli = Cli::try_parse_from(words).expect("the words are right");
    let outside = Outside::sandboxed(fleet.sandbox.clone(), 1, Keyboard::default());
    let mut work = Box::pin(run_in(&outside, cli.command));
    let mut said = Vec::new();
    let code = poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        let heard = ui::heard();
        let lines = heard.lines().filter_map(|line| serde_json::from_str(line).ok());
        said.extend(lines.map(|line| (time::now(), line)));
        polled
    });
    assert_eq!(code.await, Code::Done);
    said
}

/// Sees when AWS has each VPN connection ready, to two seconds.
async fn watch(sandbox: &Sandbox, ready: &RefCell<BTreeMap<String, time::Instant>>) {
    let texts = |form: &str, name: &str| {
        sandbox.by_hand("DescribeVpnConnections", form, &["vpnConnectionSet", name]).unwrap()
    };
    loop {
        for id in texts("", "vpnConnectionId") {
            let is_ready = || texts(&format!("VpnConnectionId.1={id}"), "state") == ["available"];
            if !ready.borrow().contains_key(&id) && is_ready() {
                ready.borrow_mut().insert(id, time::now());
            }
        }
        time::sleep(Duration::from_secs(2)).await;
    }
}

/// `up` takes its longest chain: each step begins when the last one that it needs is done, and one
/// that waits for AWS ends at most a tick after AWS has it ready.
#[test]
fn nothing_waits_but_for_what_it_needs_and_a_tick() {
    // Ten seconds of a tick, as long as a read lags, and as exactly as it is watched.
    let latest = Duration::from_secs(10 + 2 + 1) + Manners::default().lag;
    for count in [1, 10] {
        simulated(async {
            let fleet = Fleet::new(count, "");
            let ready = RefCell::default();
            let said = tokio::select! {
                said = timed(&fleet, &["up", "--all", "--yes", "--quota-raised"]) => said,
                () = watch(&fleet.sandbox, &ready) => unreachable!("it goes on"),
            };
            let (mut needs, mut done) = (BTreeMap::new(), BTreeMap::new());
            let (mut begun, mut waits) = (0, 0);
            for (at, line) in said {
                let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                let (stack, node) = (text("stack"), text("node"));
                match line["event"].as_str().unwrap() {
                    "plan" => {
                        for step in line["plan"]["changes"]["steps"].as_array().unwrap() {
                            let key = (stack.clone(), step["key"]["make"].to_string());
                            needs.insert(key, step["after"].as_array().unwrap().clone());
                        }
                    }
                    "started" => {
                        let after = &needs[&(stack.clone(), format!("{node:?}"))];
                        let of = |need: &Value| {
                            let node = need["make"].as_str().unwrap().to_owned();
                            done.get(&(stack.clone(), node)).copied()
                        };
                        if let Some(last) = after.iter().filter_map(of).max() {
                            assert_eq!(at, last, "{stack}: {node}");
                            begun += 1;
                        }
                    }
                    "done" => {
                        if node == "vpn-connection" {
                            let late = at.saturating_duration_since(ready.borrow()[&text("id")]);
                            assert!(late <= latest, "{stack}: {late:?} after it was ready");
                            waits += 1;
                        }
                        done.insert((stack, node), at);
                    }
                    _ => {}
                }
            }
            assert_eq!((begun, waits), (19 * count, count));
        });
    }
}

/// How long the longest chain of a stack takes in a sandbox: the slowest connection and attachment
/// that AWS was seen to make, the steps on the server and its restart.
const CHAIN: Duration = Duration::from_mins(25);

/// The time that AWS's buckets give to the action that is called most often.
fn bound(calls: &BTreeMap<String, Calls>) -> Duration {
    let needs = |(action, calls): (&String, &Calls)| {
        let (burst, rate) = cgw::sandbox::rate(action);
        (f64::from(u32::try_from(calls.came).unwrap()) - burst).max(0.0) / rate
    };
    Duration::from_secs_f64(calls.iter().map(needs).fold(0.0, f64::max))
}

/// The processor time of this process so far, and the most memory that it had, in MB.
fn spent() -> (Duration, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    // Ticks of 10 ms each (proc(5), `utime` and `stime`).
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (Duration::from_millis(ticks * 10), peak / 1024)
}

/// Makes a fleet, and tells in one line what it took.
fn made(count: usize) -> Duration {
    simulated(async {
        let fleet = Fleet::new(count, "");
        let (before, begun) = (fleet.sandbox.calls().unwrap(), time::now());
        let (processor, sown) = spent();
        let forgets = async {
            // What is printed is not the fleet's memory; of a small one it tells what went wrong.
            loop {
                time::sleep(Duration::from_secs(1)).await;
                if count >= 50 {
                    drop(ui::heard());
                }
            }
        };
        tokio::select! {
            up = fleet.cgw(&["up", "--all", "--yes", "--quota-raised"]) => drop(up.ok()),
            () = forgets => unreachable!("it goes on"),
        }
        let took = begun.elapsed();
        let mut calls = fleet.sandbox.calls().unwrap();
        for (action, calls) in &mut calls {
            let before = before.get(action).copied().unwrap_or_default();
            calls.came -= before.came;
            calls.throttled -= before.throttled;
        }
        let throttled: u64 = calls.values().map(|calls| calls.throttled).sum();
        let (now, memory) = spent();
        println!(
            "{count:>5} stacks: {:>6.0} s simulated, buckets {:>6.0} s, {:>5} calls a stack, \
             {throttled} throttled, processor {:>6.1} s, memory {memory} MB, {sown} MB of it before",
            took.as_secs_f64(),
            bound(&calls).as_secs_f64(),
            calls.values().map(|calls| calls.came).sum::<u64>() / u64::try_from(count).unwrap(),
            now.saturating_sub(processor).as_secs_f64(),
        );
        if std::env::var_os("CGW_CALLS").is_some() {
            for (action, calls) in &calls {
                println!("{action}: {calls:?}");
            }
        }
        assert_eq!(throttled, 0, "the buckets keep every call under AWS's throttle");
        assert!(took <= CHAIN.max(bound(&calls) + CHAIN), "{took:?}");
        took
    })
}

#[test]
fn ten_stacks_take_as_long_as_the_slowest_of_them() {
    made(10);
}

/// `CGW_STACKS` says how many; its memory counts only in a process of its own.
#[test]
#[ignore = "measures"]
fn measures_a_fleet() {
    made(std::env::var("CGW_STACKS").unwrap().parse().unwrap());
}
