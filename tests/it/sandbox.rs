//! cgw in a sandbox: in this process, in simulated time.

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cgw::address::AwsId;
use cgw::cli::{Cli, Code, Outside, run_in};
use cgw::event::{Event, Events, Listener};
use cgw::interrupt::{Keyboard, Trigger};
use cgw::playbook::{ADMIN_PORTS, Bundle, Own, Parameters};
use cgw::sandbox::{Faults, Manners, Odds, Sandbox, Seed};
use cgw::secret::Secret;
use cgw::server::{self, FirstMet, Reach, Restart, Way};
use cgw::transport::Transport;
use cgw::tunnel::{CidrPair, Crypto, Suites, Tunnel};
use cgw::{time, ui};
use clap::Parser as _;

use crate::cloud::{Cloud, endpoint};

/// A seeded sandbox.
pub(crate) struct Field {
    pub(crate) sandbox: Sandbox,
    pub(crate) seed: Seed,
}

/// What a run of cgw left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Code,
    pub(crate) said: String,
}

impl Run {
    /// Asserts success.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Code::Done, "{}", self.said);
        self
    }
}

impl Field {
    pub(crate) fn new(seed: u64, manners: Manners) -> Self {
        let sandbox = Sandbox::new(seed, manners);
        let seed = sandbox.seed(Sandbox::REGION, Sandbox::REGION);
        Self { sandbox, seed }
    }

    pub(crate) fn outside(&self, process: u32) -> Outside {
        Outside::sandboxed(self.sandbox.clone(), process, Keyboard::default())
    }

    /// Runs cgw to its end.
    pub(crate) async fn cgw(&self, words: &[&str]) -> Run {
        let cli = Cli::try_parse_from([&["cgw"], words].concat()).expect("the words are right");
        let code = Box::pin(run_in(&self.outside(1), cli.command)).await;
        Run { code, said: ui::heard() }
    }

    /// The words of an `up` that makes the AWS side only.
    pub(crate) fn up(&self) -> [&str; 8] {
        let (vpc, instance) = (&self.seed.cloud_vpc, &self.seed.instance);
        ["up", "--yes", "--via", "none", "--vpc", vpc, "--instance", instance]
    }

    pub(crate) fn down(&self) -> [&str; 4] {
        ["down", "--yes", "--stack", &self.seed.cloud_vpc]
    }
}

/// Does something in simulated time, which does not wait.
pub(crate) fn simulated<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().enable_io().start_paused(true).build().unwrap();
    runtime.block_on(async {
        time::simulate(1.0, "2026-01-01T00:00:00Z".parse().unwrap());
        ui::listen();
        work.await
    })
}

#[test]
fn up_makes_every_node_and_down_takes_all_away() {
    simulated(async {
        let field = Field::new(1, Manners::default());
        let begun = time::now();
        field.cgw(&field.up()).await.ok();
        println!("up {:?}", time::now() - begun);
        // Until then a read may lag behind.
        time::sleep(Duration::from_secs(30)).await;
        let again = field.cgw(&field.up()).await.ok();
        assert!(again.said.contains("nothing to change"), "{}", again.said);
        field.cgw(&field.down()).await.ok();
        println!("down {:?}", time::now() - begun);
        assert_eq!(field.sandbox.alarms().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn the_whole_job_is_proven_by_a_ping_and_taken_back() {
    simulated(async {
        let field = Field::new(1, Manners::default());
        let begun = time::now();
        let before = field.sandbox.objects().unwrap();
        let (vpc, instance, ping) = (&field.seed.cloud_vpc, &field.seed.instance, &field.seed.ping);
        let up = ["up", "--yes", "--vpc", vpc, "--instance", instance, "--ping", ping];
        let run = field.cgw(&up).await.ok();
        println!("{} up {:?}", run.said, time::now() - begun);
        time::sleep(Duration::from_secs(30)).await;
        let again = field.cgw(&up).await.ok();
        assert!(again.said.contains("nothing to change"), "{}", again.said);
        let rotated = field.cgw(&["rotate-keys", "--yes", "--stack", vpc]).await.ok();
        println!("{} rotated {:?}", rotated.said, time::now() - begun);
        let test = field.cgw(&["test", "--failover", "--stack", vpc]).await.ok();
        println!("{} tested {:?}", test.said, time::now() - begun);
        let down = field.cgw(&field.down()).await.ok();
        println!("{} down {:?}", down.said, time::now() - begun);
        assert_eq!(field.sandbox.alarms().unwrap(), Vec::<String>::new());
        assert_eq!(field.sandbox.traces().unwrap(), Vec::<String>::new());
        assert_eq!(field.sandbox.objects().unwrap(), before);
    });
}

#[test]
fn a_tunnel_that_came_up_since_the_plan_was_made_is_not_taken_down() {
    simulated(async {
        let field = Field::new(1, Manners::default());
        let (vpc, instance) = (&field.seed.cloud_vpc, &field.seed.instance);
        let up = ["up", "--yes", "--vpc", vpc, "--instance", instance];
        field.cgw(&up).await.ok();
        let by_hand = |action: &str, form: &str, path: &[&str]| {
            field.sandbox.by_hand(action, form, path).unwrap().join(" ")
        };
        let tunnels = || {
            let path = ["vpnConnectionSet", "vgwTelemetry", "status"];
            let ours = format!("Filter.1.Name=tag:cgw:stack&Filter.1.Value.1={vpc}");
            by_hand("DescribeVpnConnections", &ours, &path)
        };
        // Without its address nothing reaches the server; the next `up` gives it back.
        let association = by_hand("DescribeAddresses", "", &["addressesSet", "associationId"]);
        by_hand("DisassociateAddress", &format!("AssociationId={association}"), &[]);
        for _ in 0..60 {
            time::sleep(Duration::from_secs(10)).await;
            if tunnels() == "DOWN DOWN" {
                break;
            }
        }
        assert_eq!(tunnels(), "DOWN DOWN");
        let strict = [&up[..], &["--crypto", "strict"]].concat();
        let run = field.cgw(&strict).await;
        assert_eq!(run.code, Code::Failed, "{}", run.said);
        assert!(run.said.contains("carries the traffic by now"), "{}", run.said);
        assert!(tunnels().contains("UP"), "{}", run.said);
        assert_eq!(field.cgw(&strict).await.code, Code::Refused);
        let by_turns = [&strict[..], &["--ping", &field.seed.ping]].concat();
        field.cgw(&by_turns).await.ok();
        assert_eq!(field.sandbox.alarms().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn the_whole_job_goes_by_systems_manager_and_leaves_no_key_there() {
    simulated(async {
        let field = Field::new(1, Manners::default());
        let before = field.sandbox.objects().unwrap();
        let (vpc, instance, ping) = (&field.seed.cloud_vpc, &field.seed.instance, &field.seed.ping);
        let up = ["up", "--yes", "--via", "ssm", "--vpc", vpc, "--instance", instance];
        let up = [&up[..], &["--ping", ping]].concat();
        let run = field.cgw(&up).await.ok();
        assert!(run.said.contains("5 of 5 answered"), "{}", run.said);
        time::sleep(Duration::from_secs(30)).await;
        let again = field.cgw(&up).await.ok();
        assert!(again.said.contains("nothing to change"), "{}", again.said);
        let status = field.cgw(&["status", "--stack", vpc]).await.ok();
        assert!(status.said.contains("one tunnel carries the traffic"), "{}", status.said);
        field.cgw(&["test", "--failover", "--stack", vpc]).await.ok();
        let named =
            field.sandbox.objects().unwrap().into_keys().filter(|id| id.starts_with("/cgw"));
        assert_eq!(named.collect::<Vec<_>>(), [""; 0]);
        field.cgw(&field.down()).await.ok();
        let calls = field.sandbox.calls().unwrap()["SendCommand"].came;
        assert!(calls > 5, "{calls}");
        assert_eq!(field.sandbox.alarms().unwrap(), Vec::<String>::new());
        assert_eq!(field.sandbox.traces().unwrap(), Vec::<String>::new());
        assert_eq!(field.sandbox.objects().unwrap(), before);
    });
}

#[test]
fn what_is_lost_on_the_way_to_systems_manager_is_looked_for() {
    for seed in 1..=8 {
        simulated(async {
            let field = Field::new(seed, Manners::default());
            let before = field.sandbox.objects().unwrap();
            let (vpc, instance) = (&field.seed.cloud_vpc, &field.seed.instance);
            let odds = Odds { lost: 60, fails: 60, throttled: 60, slow: 60, ..Odds::default() };
            field.sandbox.trouble(Some(Faults::new(seed, odds)));
            let up = ["up", "--yes", "--via", "ssm", "--vpc", vpc, "--instance", instance];
            let mut tries = 0;
            while field.cgw(&up).await.code != Code::Done {
                tries += 1;
                assert!(tries < 10, "{seed}: it never comes to its end");
            }
            field.sandbox.trouble(None);
            time::sleep(Duration::from_secs(30)).await;
            field.cgw(&up).await.ok();
            field.cgw(&field.down()).await.ok();
            assert_eq!(field.sandbox.alarms().unwrap(), Vec::<String>::new());
            assert_eq!(field.sandbox.objects().unwrap(), before, "{seed}");
        });
    }
}

/// Keeps what it is told.
struct Notes(mpsc::Sender<String>);

impl Listener for Notes {
    fn hear(&self, event: &Event) {
        if let Event::Note { text } = event {
            self.0.send(text.clone()).unwrap();
        }
    }
}

/// What is pushed for a stack.
fn bundle(stack: &str, n: u8) -> Bundle {
    let cloud = format!("10.{n}.0.0/16").parse().unwrap();
    let parameters = Parameters {
        stack: stack.parse().unwrap(),
        instance: None,
        private_ip: Ipv4Addr::new(172, 31, 16, 10),
        pair: CidrPair { site: "172.31.0.0/16".parse().unwrap(), cloud },
        crypto: Crypto::Modern,
        ping: None,
        minimal_roles: false,
        replace_rules: false,
        admin_ports: ADMIN_PORTS.into(),
        own: Own::default(),
    };
    let tunnel = |last: u8| Tunnel {
        outside: Ipv4Addr::new(203, 0, 113, last),
        key: Some(Secret::new(format!("KeyOfTunnel{last}"))),
        suites: Suites::of(Crypto::Modern),
    };
    let connection = AwsId::new(format!("vpn-{n}"));
    Bundle::render(&parameters, &connection, &[tunnel(10 * n), tunnel(10 * n + 1)]).unwrap()
}

#[test]
fn who_waits_for_another_run_on_the_server_says_so_once_and_can_be_interrupted() {
    simulated(async {
        let sandbox = Sandbox::new(1, Manners::default());
        let public = Ipv4Addr::new(198, 51, 100, 7);
        sandbox.add_server(public, Ipv4Addr::new(172, 31, 16, 10)).unwrap();
        let (tell, told) = mpsc::channel();
        let events = Events::new(Notes(tell));
        let reach = || {
            let (trigger, interrupt) = Trigger::new(Keyboard::default());
            let way = Way {
                transport: Transport::Simulated(sandbox.machine("ssh")),
                met: FirstMet::default(),
                host: None,
                patience: Duration::ZERO,
                restart: Restart::Never,
                remove_roles: false,
                interrupt,
            };
            (Reach::Remote(Box::new(way)), trigger)
        };
        let ((one, _one), (other, trigger)) = (reach(), reach());
        // Its roles take two minutes at least.
        let first = bundle("office", 1);
        let first = one.set_up(public, &first, &events);
        let second = bundle("branch", 2);
        let press = async {
            time::sleep(Duration::from_mins(1)).await;
            trigger.pull()
        };
        let late = async {
            time::sleep(Duration::from_secs(20)).await;
            tokio::join!(other.set_up(public, &second, &events), press).0
        };
        let (first, second) = tokio::join!(first, late);
        assert!(first.is_ok(), "{first:?}");
        assert!(matches!(second, Err(server::Error::Interrupted)), "{second:?}");
        drop(events);
        let note = "another run is under way on the server; waiting for its end";
        assert_eq!(told.into_iter().collect::<Vec<_>>(), [note]);
    });
}

/// A process that ends with the test.
struct Serving(std::process::Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// cgw in a sandbox that a folder keeps, much faster than real.
fn in_folder(folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgw"));
    command.current_dir(folder).env_clear().env("CGW_SANDBOX", "kept").stdin(Stdio::null());
    command
}

#[test]
fn boto3_takes_it_for_ec2() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = in_folder(folder.path());
    let serve = serve.args(["sandbox", "serve", "--port", "0", "--sandbox-speed", "1000"]);
    let mut serving = Serving(serve.stdout(Stdio::piped()).spawn().unwrap());
    let mut url = String::new();
    BufReader::new(serving.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    has_the_life_of_a_vpn(url.trim(), "any");
}

#[test]
fn localstack_answers_as_the_sandbox_does() {
    has_the_life_of_a_vpn(&endpoint(), &Cloud::new().account);
}

fn has_the_life_of_a_vpn(url: &str, key: &str) {
    let python = std::env::var("CGW_PYTHON").expect("tests/run names a Python with boto3");
    let script = format!("{}/tests/sandbox/lifecycle.py", env!("CARGO_MANIFEST_DIR"));
    let run = Command::new(python).args([&script, url, key]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn a_folder_keeps_it_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let cgw = |words: &[&str]| {
        let output = in_folder(folder.path()).args(words).args(["--sandbox-speed", "150"]).output();
        let output = output.unwrap();
        let said =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    let up = cgw(&["up", "--yes"]);
    assert!(up.contains("5 of 5 answered"), "{up}");
    let status = cgw(&["status"]);
    assert!(status.contains("one tunnel carries the traffic"), "{status}");
    assert!(cgw(&["down", "--yes"]).contains("all is taken away"));
    assert!(cgw(&["up", "--dry-run"]).contains("20 changes"));
}
