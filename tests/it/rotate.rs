//! New keys and other suites, one tunnel at a time, over SSH to a real PowerShell.

use std::time::Duration;

use serde_json::json;

use crate::cloud::{Cloud, Run, endpoint, lines, press_ctrl_c, words};
use crate::push::Windows;

/// A server with both tunnels, one of which carries a ping.
fn proven(cloud: &Cloud) -> Option<Windows> {
    let windows = Windows::start(cloud)?;
    windows.up(cloud, &["--reboot", "never", "--ping", "10.0.1.10"]).ok();
    cloud.control("tunnels", json!({ "up_after": 0 }));
    Some(windows)
}

/// The key of each rule on the server, and whether the rule is on.
fn rules(windows: &Windows) -> Vec<(String, bool)> {
    let server = windows.server();
    let rules = server["rules"].as_array().unwrap().iter();
    rules.map(|r| (r["auth1psk"].as_str().unwrap().to_owned(), r["enable"] == "True")).collect()
}

fn rotate(cloud: &Cloud, windows: &Windows) -> Run {
    let words = ["--yes", "--consistency", "0", "--stack", &cloud.id("cloud_vpc")];
    windows.cgw(cloud, "rotate-keys", &words)
}

#[test]
fn both_tunnels_get_new_keys_and_other_suites_one_after_the_other() {
    let cloud = Cloud::new();
    let Some(windows) = proven(&cloud) else { return };
    let before = rules(&windows);
    let run = rotate(&cloud, &windows).ok();
    assert!(run.out.contains("both tunnels are changed; "), "{}", run.out);
    assert_eq!(run.out.matches("a ping came back through it").count(), 2, "{}", run.out);
    let after = rules(&windows);
    let stack = cloud.id("cloud_vpc");
    let shown = cloud.cgw(&["status", "--stack", &stack, "--show-secrets"]).ok();
    for (n, (key, is_on)) in after.iter().enumerate() {
        assert!(*is_on && key.len() == 48 && before.iter().all(|(old, _)| old != key));
        assert!(shown.out.contains(key), "both ends have key {n}");
        for secret in [key, &before[n].0] {
            assert!(!run.out.contains(secret) && !run.err.contains(secret));
        }
    }
    let tasks = windows.server()["tasks"].clone();
    assert_eq!(tasks.as_object().unwrap().len(), 1, "{tasks}");
    let again = windows.up(&cloud, &[]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
    let run = windows.up(&cloud, &["--crypto", "guide", "--reboot", "never"]).ok();
    assert_eq!(run.out.matches("a ping came back through it").count(), 2, "{}", run.out);
    let server = windows.server();
    assert_eq!(server["mainMode"]["proposals"].as_array().unwrap().len(), 1);
    for rule in server["rules"].as_array().unwrap() {
        assert_eq!(rule["qmsecmethods"], "ESP:SHA1-AES128+60min+100000kb");
        assert_eq!((&rule["qmpfs"], &rule["enable"]), (&json!("dhgroup2"), &json!("True")));
    }
    let again = windows.up(&cloud, &[]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
}

#[test]
fn a_rotation_that_fails_half_way_leaves_one_tunnel_as_it_was_and_can_go_on() {
    let cloud = Cloud::new();
    let Some(windows) = proven(&cloud) else { return };
    let (before, dump) = (rules(&windows), cloud.dump());
    windows.set("peer", &json!("no-host"));
    let run = rotate(&cloud, &windows);
    assert_eq!(run.code(), Some(2), "{}", run.err);
    assert!(run.err.contains("a tunnel is up, but no ping came back"), "{}", run.err);
    assert!(rules(&windows) == before && cloud.dump() == dump, "nothing is touched");
    windows.set("peer", &json!("answers"));
    windows.faults(&json!({ "fail": "netsh -f", "once": true }));
    let run = rotate(&cloud, &windows);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("run `cgw up`, which sets both ends alike"), "{}", run.err);
    // The first rule, which carries the traffic, is as it was.
    assert_eq!(rules(&windows)[0], before[0]);
    assert!(!rules(&windows)[1].1, "its other end has another key");
    let refused = rotate(&cloud, &windows);
    assert_eq!(refused.code(), Some(2), "{}", refused.err);
    assert!(refused.err.contains("run `cgw up` first"), "{}", refused.err);
    windows.up(&cloud, &["--reboot", "never"]).ok();
    let between = rules(&windows);
    assert!(between[0] == before[0] && between[1].0 != before[1].0 && between[1].1);
    let run = rotate(&cloud, &windows).ok();
    assert!(rules(&windows).iter().all(|(key, is_on)| *is_on && !run.out.contains(key)));
}

#[test]
fn a_rotation_that_is_refused_or_interrupted_switches_on_what_it_switched_off() {
    let cloud = Cloud::new();
    let Some(windows) = proven(&cloud) else { return };
    let (before, dump) = (rules(&windows), cloud.dump());
    let is_as_before = |what: &str| {
        assert!(rules(&windows) == before, "{what}: the rules");
        assert!(cloud.dump() == dump, "{what}: what AWS has");
        assert_eq!(windows.server()["tasks"].as_object().unwrap().len(), 1, "{what}: the tasks");
    };
    let errors = json!([["UnauthorizedOperation", "not you", 403]]);
    cloud.control("faults", json!({ "op": "ModifyVpnTunnelOptions", "errors": errors }));
    let run = rotate(&cloud, &windows);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    is_as_before("refused by AWS");

    windows.faults(&json!({ "hang": "Disable-NetIPsecRule" }));
    let stack = cloud.id("cloud_vpc");
    let flags = windows.words("rotate-keys", &["--yes", "--consistency", "0", "--stack", &stack]);
    let mut child = cloud.begin(&endpoint(), &words(&flags));
    // Its last act before the rule goes off.
    let has_task = || windows.server()["tasks"].as_object().unwrap().len() == 2;
    while !has_task() {
        assert_eq!(child.try_wait().unwrap(), None, "it has ended before");
        std::thread::sleep(Duration::from_millis(50));
    }
    press_ctrl_c(child.id());
    windows.no_faults();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code(), Some(130), "{}", run.err);
    assert!(run.err.contains("finishing what is in flight"), "{}", run.err);
    is_as_before("interrupted");

    let run = windows.cgw(&cloud, "rotate-keys", &["--yes", "--stack", &stack, "--json"]).ok();
    let told = lines(&run.out);
    assert_eq!(told.iter().filter(|line| line["turn"]["tunnel"].is_string()).count(), 2);
    assert!(told.last().unwrap()["turns"]["seconds"].is_number(), "{}", run.out);
    assert!(rules(&windows).iter().all(|(key, is_on)| *is_on && !run.out.contains(key)));
}

#[test]
fn ctrl_c_after_aws_has_the_new_key_leaves_that_tunnel_off_and_says_so() {
    let cloud = Cloud::new();
    let Some(windows) = proven(&cloud) else { return };
    let before = rules(&windows);
    let stack = cloud.id("cloud_vpc");
    let flags = windows.words("rotate-keys", &["--yes", "--consistency", "0", "--stack", &stack]);
    let run = cloud.interrupted_at("ModifyVpnTunnelOptions", &words(&flags));
    assert_eq!(run.code(), Some(130), "{}", run.err);
    assert!(run.err.contains("may stay off for an hour"), "{}", run.err);
    let between = rules(&windows);
    assert!(between[0] == before[0] && !between[1].1, "its other end has another key");
    windows.up(&cloud, &["--reboot", "never"]).ok();
    let after = rules(&windows);
    assert!(after[0] == before[0] && after[1].0 != before[1].0 && after[1].1);
}
