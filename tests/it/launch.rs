//! Instances that a stack launches: its server, and a host to ping.

use serde_json::json;

use crate::cloud::{Cloud, lines};
use crate::push::Windows;

/// The flags of an `up` that launches its server.
fn launching(cloud: &Cloud) -> Vec<String> {
    let (vpc, subnet) = (cloud.id("cloud_vpc"), cloud.id("site_subnet"));
    ["up", "--yes", "--via", "none", "--consistency", "0", "--vpc", &vpc, "--launch", "t3.large"]
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
    let words: Vec<&str> = flags.iter().map(String::as_str).collect();
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
    // Whatever comes of the proof.
    windows.set("peer", &json!("no-host"));
    let stack = cloud.id("cloud_vpc");
    let words = ["--stack", &stack, "--probe", "--consistency", "0", "--json"];
    let run = windows.cgw(&cloud, "test", &words);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    let told = lines(&run.out);
    assert!(told.iter().any(|line| line["proof"]["proven"] == false));
    assert_eq!(cloud.nodes(), nodes);
    let again = windows.up(&cloud, &[]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
}
