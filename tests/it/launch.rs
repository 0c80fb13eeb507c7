//! Instances that a stack launches: its server, and a host to ping.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::cloud::{Cloud, Run, endpoint, lines, press_ctrl_c, words};
use crate::proxy::{Fate, Proxy, Weather};
use crate::push::Windows;

/// The flags of an `up` that launches its server.
fn launching(cloud: &Cloud) -> Vec<String> {
    let (vpc, subnet) = (cloud.id("cloud_vpc"), cloud.id("site_subnet"));
    ["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--launch", "t3.large"]
        .into_iter()
        .chain(["--launch-subnet", &subnet, "--key-pair", "administrators"])
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_server_is_launched_and_goes_with_its_stack() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let flags = launching(&cloud);
    let mut words = words(&flags);
    words.extend(["--via", "none"]);
    let dry = cloud.cgw(&[&words[..], &["--dry-run"]].concat()).ok();
    assert!(dry.out.contains("create  gateway-instance"), "{}", dry.out);
    assert_eq!(cloud.dump(), before);
    let run = cloud.cgw(&words).ok();
    assert!(run.out.contains("all else is planned once the server runs"), "{}", run.out);
    let nodes = cloud.nodes();
    assert_eq!(nodes.len(), 20, "{nodes:?}");
    let server = nodes["gateway-instance"][0].clone();
    assert_ne!(server, cloud.id("instance"));
    assert!(cloud.cgw(&words).ok().out.contains("nothing to change"));
    let stack = cloud.id("cloud_vpc");
    let down = ["down", "--yes", "--consistency", "0", "--stack", &stack];
    cloud.cgw(&down).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_launched_server_is_set_up_and_only_ends_with_consent() {
    let cloud = Cloud::new();
    // Which address it gets shows only once it is launched: at first this one has another.
    let Some(windows) = Windows::at("") else { return };
    let before = cloud.dump();
    let flags = [launching(&cloud), windows.flags()].concat();
    let mut words = words(&flags);
    words.extend(["--admin-cidr", "198.51.100.0/24", "--reboot", "never"]);
    let run = cloud.cgw(&words);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("run the same command to go on"), "{}", run.err);
    let (_, rest) = run.err.split_once("no network adapter has the address ").expect(&run.err);
    let address = rest.split(':').next().unwrap();
    windows.set("address", &json!(address));
    let run = cloud.cgw(&words).ok();
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    assert_eq!(windows.server()["rules"][0]["localtunnelendpoint"], address);
    let nodes = cloud.nodes();

    let (vpc, other) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let another = ["up", "--yes", "--via", "none", "--vpc", &vpc, "--instance", &other];
    let run = cloud.cgw(&another);
    assert_eq!(run.code(), Some(2), "{}", run.err);
    assert!(run.err.contains("terminates the server that this stack has launched"), "{}", run.err);
    let beside = [&another[..], &["--launch", "t3.large"]].concat();
    let run = cloud.cgw(&beside);
    assert!(run.err.contains("was not launched by this stack"), "{}", run.err);
    assert_eq!(cloud.nodes(), nodes);

    let down = windows.down(&cloud, &[]).ok();
    assert!(down.out.contains("was launched with the stack: it goes"), "{}", down.out);
    assert!(!down.out.contains("keeps what was set there"), "{}", down.out);
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_lost_reply_launches_no_second_server() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let first = AtomicBool::new(true);
    let proxy = Proxy::new(&endpoint(), Weather::Fair, move |action, _| {
        let is_it = action == "RunInstances" && first.swap(false, Ordering::Relaxed);
        if is_it { Fate::Lose } else { Fate::Pass }
    });
    let flags = launching(&cloud);
    let mut words = words(&flags);
    words.extend(["--via", "none"]);
    cloud.through(&proxy, &words).ok();
    assert_eq!(cloud.nodes()["gateway-instance"].len(), 1);
    cloud.cgw(&["down", "--yes", "--stack", &cloud.id("cloud_vpc"), "--consistency", "0"]).ok();
    assert_eq!(cloud.dump(), before, "nothing runs on that nobody knows of");
}

#[test]
fn what_would_only_cost_money_is_not_launched() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (vpc, private) = (cloud.id("cloud_vpc"), cloud.id("cloud_subnet"));
    let up = ["up", "--yes", "--via", "ssh", "--vpc", &vpc, "--launch", "t3.large"];
    for (more, sentence) in [
        (&[][..], "no subnet is named for the new server"),
        (&[], "no key pair is named"),
        (&[], "no network is named from which the new server is administered"),
        (&["--launch-subnet", &private], "the VPC that the VPN leads to"),
        (&["--launch-subnet", "subnet-0123456789abcdef0"], "does not exist in"),
    ] {
        let run = cloud.cgw(&[&up[..], more].concat());
        assert_eq!(run.code(), Some(2), "{}", run.err);
        assert!(run.err.contains(sentence), "{}", run.err);
    }
    let flags = launching(&cloud);
    let mut words = words(&flags);
    words.extend(["--admin-cidr", "198.51.100.0/24", "--via", "ssh", "--identity", "/no/such.pem"]);
    let run = cloud.cgw(&words);
    assert_eq!(run.code(), Some(2), "{}", run.err);
    assert!(run.err.contains("cannot read the private key /no/such.pem"), "{}", run.err);
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_probe_is_there_for_the_proof_only() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let run = windows.up(&cloud, &["--reboot", "never", "--probe"]).ok();
    assert!(run.err.contains("probe-instance"), "{}", run.err);
    assert!(run.out.contains(": 5 of 5 answered"), "{}", run.out);
    let nodes = cloud.nodes();
    assert!(!nodes.contains_key("probe-instance"), "{nodes:?}");
    // Ctrl-C in the middle of the proof.
    windows.faults(&json!({ "hang": "Get-NetIPsecMainModeSA" }));
    let stack = cloud.id("cloud_vpc");
    let flags = windows.words("test", &["--stack", &stack, "--probe", "--consistency", "0"]);
    let mut child = cloud.begin(&endpoint(), &words(&flags));
    let has_probe = || cloud.nodes().contains_key("probe-instance");
    while !has_probe() {
        assert_eq!(child.try_wait().unwrap(), None, "it has ended before");
    }
    press_ctrl_c(child.id());
    let run = Run::from(child.wait_with_output().unwrap());
    windows.no_faults();
    assert_eq!(run.code(), Some(130), "{}", run.err);
    assert_eq!(cloud.nodes(), nodes, "the probe is gone");
    // Whatever comes of the proof.
    windows.set("peer", &json!("no-host"));
    let words = ["--stack", &stack, "--probe", "--consistency", "0", "--json"];
    let run = windows.cgw(&cloud, "test", &words);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    let told = lines(&run.out);
    assert!(told.iter().any(|line| line["proof"]["proven"] == false));
    assert_eq!(cloud.nodes(), nodes);
    let again = windows.up(&cloud, &[]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
}
