//! Runs that are killed, and replies that are lost, at every changing call: all converge.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cloud::{Cloud, endpoint, words};
use crate::proxy::{Fate, Mishap, Proxy, Weather};

/// Runs a command that is killed right after its nth changing call was carried out.
///
/// Returns whether it was; otherwise it ended by itself before.
fn killed_at(cloud: &Cloud, arguments: &[&str], n: usize, weather: Weather) -> bool {
    let process = Arc::new(AtomicU32::new(0));
    let victim = process.clone();
    let proxy = Proxy::new(&endpoint(), weather, move |_, number| {
        if number < n {
            return Fate::Pass;
        }
        if number == n {
            let victim = victim.load(Ordering::SeqCst);
            assert_ne!(victim, 0, "it has called before it was known");
            let victim = victim.to_string();
            assert!(Command::new("kill").args(["-9", &victim]).status().unwrap().success());
        }
        // What comes after is what was in flight already.
        Fate::Lose
    });
    let mut command = cloud.command(proxy.url(), arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    process.store(child.id(), Ordering::SeqCst);
    let is_killed = child.wait().unwrap().code().is_none();
    proxy.drain();
    is_killed
}

#[test]
fn up_killed_after_each_change_converges_when_run_again() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (up, down) = (cloud.up(), cloud.down());
    let mut points = 0;
    for n in 1.. {
        if !killed_at(&cloud, &words(&up), n, Weather::Fair) {
            break;
        }
        points = n;
        cloud.cgw(&words(&up)).ok();
        cloud.assert_whole();
        cloud.cgw(&words(&down)).ok();
        assert_eq!(cloud.dump(), before, "killed after change {n}");
    }
    assert!(points >= 30, "only {points} points");
}

#[test]
fn down_of_a_half_built_stack_leaves_nothing() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (up, down) = (cloud.up(), cloud.down());
    let mut points = 0;
    for n in 1.. {
        if !killed_at(&cloud, &words(&up), n, Weather::Fair) {
            break;
        }
        points = n;
        cloud.cgw(&words(&down)).ok();
        assert_eq!(cloud.dump(), before, "killed after change {n}");
    }
    assert!(points >= 30, "only {points} points");
}

/// From the stack's own address to the user's, which replaces gateway and connection; with a
/// subnet and a route table more, and other suites.
#[test]
fn a_change_killed_after_each_of_its_calls_converges_when_run_again() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (up, down) = (cloud.up(), cloud.down());
    let eip = cloud.seed["decoys"]["strangers"]["elastic_ip"].as_str().unwrap();
    let changed = [
        &words(&up)[..],
        &["--eip", eip, "--subnet-cidr", "10.0.99.0/24", "--allow-replace", "--crypto", "strict"],
    ]
    .concat();
    let mut points = 0;
    for n in 1.. {
        cloud.cgw(&words(&up)).ok();
        let is_killed = killed_at(&cloud, &changed, n, Weather::Fair);
        let again = cloud.cgw(&changed).ok();
        let quiet = cloud.cgw(&changed).ok();
        assert!(quiet.out.contains("nothing to change"), "{n}: {}{}", again.out, quiet.out);
        cloud.cgw(&words(&down)).ok();
        assert_eq!(cloud.dump(), before, "killed after change {n}");
        if !is_killed {
            break;
        }
        points = n;
    }
    assert!(points >= 20, "only {points} points");
}

#[test]
fn down_killed_after_each_change_converges_when_run_again() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (up, down) = (cloud.up(), cloud.down());
    let mut points = 0;
    for n in 1.. {
        cloud.cgw(&words(&up)).ok();
        if !killed_at(&cloud, &words(&down), n, Weather::Fair) {
            break;
        }
        points = n;
        cloud.cgw(&words(&down)).ok();
        assert_eq!(cloud.dump(), before, "killed after change {n}");
    }
    assert!(points >= 20, "only {points} points");
}

/// Both runs are killed, and the next ones meet what goes wrong as well.
#[test]
fn whatever_is_killed_in_foul_weather_converges_when_run_again() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (up, down) = (cloud.up(), cloud.down());
    let (mut points, mut mishaps) = (0, BTreeSet::new());
    for n in 1.. {
        let seed = u64::try_from(n).unwrap();
        let mut killed_and_again = |command: &[String], more| {
            let is_killed = killed_at(&cloud, &words(command), n, Weather::Foul(seed + more));
            let weather = Weather::Foul(seed + more + 1000);
            let proxy = Proxy::new(&endpoint(), weather, |_, _| Fate::Pass);
            cloud.through(&proxy, &words(command)).ok();
            mishaps.extend(proxy.mishaps());
            is_killed
        };
        let up_killed = killed_and_again(&up, 1000);
        cloud.assert_whole();
        let down_killed = killed_and_again(&down, 3000);
        assert_eq!(cloud.dump(), before, "killed after change {n}");
        if !up_killed && !down_killed {
            break;
        }
        points = n;
    }
    assert!(points >= 30, "only {points} points");
    assert_eq!(mishaps.into_iter().collect::<Vec<_>>(), Mishap::ALL);
}

/// Runs a command whose nth changing call loses its reply; returns how many changes it sent.
fn with_lost_reply(cloud: &Cloud, arguments: &[&str], n: usize) -> usize {
    let proxy =
        Proxy::new(
            &endpoint(),
            Weather::Fair,
            move |_, number| {
                if number == n { Fate::Lose } else { Fate::Pass }
            },
        );
    cloud.through(&proxy, arguments).ok();
    proxy.changes().len()
}

#[test]
fn a_lost_reply_makes_nothing_twice() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let (up, down) = (cloud.up(), cloud.down());
    for n in 1.. {
        let changes = with_lost_reply(&cloud, &words(&up), n);
        cloud.assert_whole();
        let removals = with_lost_reply(&cloud, &words(&down), n);
        assert_eq!(cloud.dump(), before, "reply {n} was lost");
        if n > changes.max(removals) {
            assert!(n > 30);
            break;
        }
    }
}

#[test]
fn throttling_and_server_errors_pass() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let throttled = serde_json::json!([["RequestLimitExceeded", "slow down", 503]]);
    let broken = serde_json::json!([["InternalError", "oops", 500, "after"]]);
    let mixed = serde_json::json!([
        ["InvalidCustomerGatewayID.NotFound", "not to be seen yet", 400],
        ["RequestLimitExceeded", "slow down", 503],
        ["InternalError", "oops", 500, "after"],
    ]);
    for (op, errors) in [
        ("CreateVpnGateway", &throttled),
        ("AllocateAddress", &broken),
        ("CreateVpnConnection", &mixed),
        ("AttachVpnGateway", &throttled),
        ("DescribeVpnConnections", &throttled),
    ] {
        cloud.control("faults", serde_json::json!({ "op": op, "errors": errors }));
    }
    cloud.cgw(&words(&cloud.up())).ok();
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_failure_says_what_was_left_and_how_to_go_on() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let denied = serde_json::json!([["UnauthorizedOperation", "You are not authorized", 403]]);
    cloud.control("faults", serde_json::json!({ "op": "CreateCustomerGateway", "errors": denied }));
    let run = cloud.cgw(&words(&cloud.up()));
    assert_eq!(run.code(), Some(1));
    let missing = "\"Action\": \"ec2:CreateCustomerGateway\"";
    assert!(run.err.contains(missing), "{}", run.err);
    assert!(run.err.contains("run the same command to go on"), "{}", run.err);
    assert!(run.err.contains("vpn-connection: left out: needs customer-gateway"), "{}", run.err);
    cloud.cgw(&words(&cloud.up())).ok();
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}
