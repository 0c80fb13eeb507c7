//! `status --watch`, in a sandbox and in simulated time.

use std::sync::Arc;
use std::time::Duration;

use cgw::cli::{Cli, Code, Outside, run_in};
use cgw::interrupt::Keyboard;
use cgw::sandbox::Manners;
use cgw::{time, ui};
use clap::Parser as _;
use serde_json::Value;
use tokio::sync::Notify;

use crate::sandbox::{Field, Run, simulated};

/// A whole VPN whose traffic has brought a tunnel up.
async fn made() -> Field {
    let field = Field::new(1, Manners::default());
    let (vpc, instance, ping) = (&field.seed.cloud_vpc, &field.seed.instance, &field.seed.ping);
    let up = ["up", "--yes", "--vpc", vpc, "--instance", instance, "--ping", ping];
    field.cgw(&up).await.ok();
    // Until then AWS may not show the tunnel as up.
    time::sleep(Duration::from_mins(5)).await;
    field
}

/// Watches; `meanwhile` something is done, and Ctrl-C pressed at its end.
async fn watch(field: &Field, words: &[&str], meanwhile: impl Future<Output = ()>) -> Run {
    let words = [&["cgw", "status", "--watch"], words].concat();
    let cli = Cli::try_parse_from(words).expect("the words are right");
    let key = Arc::new(Notify::new());
    let keyboard = Keyboard::Elsewhere(key.clone());
    let outside = Outside::sandboxed(field.sandbox.clone(), 7, keyboard);
    let press = async {
        meanwhile.await;
        key.notify_one();
    };
    let (code, ()) = tokio::join!(Box::pin(run_in(&outside, cli.command)), press);
    Run { code, said: ui::heard() }
}

/// Takes the server's address away: without it nothing reaches the server.
fn cut_off(field: &Field) {
    let by_hand = |action: &str, form: &str, path: &[&str]| {
        field.sandbox.by_hand(action, form, path).unwrap().join(" ")
    };
    let association = by_hand("DescribeAddresses", "", &["addressesSet", "associationId"]);
    by_hand("DisassociateAddress", &format!("AssociationId={association}"), &[]);
}

#[test]
fn the_first_look_tells_all_and_the_next_ones_what_changes() {
    simulated(async {
        let field = made().await;
        let meanwhile = async {
            time::sleep(Duration::from_mins(2)).await;
            cut_off(&field);
            time::sleep(Duration::from_mins(15)).await;
        };
        let run = watch(&field, &["--stack", &field.seed.cloud_vpc], meanwhile).await.ok();
        let told: Vec<&str> = run.said.lines().filter(|line| line.contains("Z tunnel ")).collect();
        assert_eq!(told.len(), 3, "two at first, one that goes down: {}", run.said);
        assert_eq!(told.iter().filter(|line| line.contains(" UP since ")).count(), 1, "{told:?}");
        assert!(told[2].contains(" DOWN since "), "{told:?}");
        assert_eq!(run.said.matches("Z the connection vpn-").count(), 1, "{}", run.said);
        assert!(run.said.contains("looking every 15 s; Ctrl-C ends it"), "{}", run.said);
    });
}

#[test]
fn a_monitor_ends_with_5_once_both_tunnels_are_down() {
    simulated(async {
        let field = made().await;
        let stack = ["--stack", &field.seed.cloud_vpc, "--exit-on", "down", "--interval", "30"];
        let meanwhile = async {
            time::sleep(Duration::from_mins(10)).await;
            cut_off(&field);
            time::sleep(Duration::from_mins(15)).await;
        };
        let run = watch(&field, &stack, meanwhile).await;
        assert_eq!(run.code, Code::TunnelsDown, "{}", run.said);
        assert_eq!(run.said.matches(" UP since ").count(), 1, "not before: {}", run.said);
        // It is down already: the next one ends at once.
        let again = watch(&field, &stack, time::sleep(Duration::from_mins(1))).await;
        assert_eq!(again.code, Code::TunnelsDown, "{}", again.said);
    });
}

#[test]
fn a_look_is_one_call_and_there_is_one_in_each_interval() {
    simulated(async {
        let field = made().await;
        let calls = || -> u64 { field.sandbox.calls().unwrap().values().map(|c| c.came).sum() };
        let stack = ["--stack", &field.seed.cloud_vpc, "--interval", "60"];
        let before = calls();
        watch(&field, &stack, time::sleep(Duration::from_secs(30))).await.ok();
        let first = calls() - before;
        watch(&field, &stack, time::sleep(Duration::from_mins(10))).await.ok();
        assert_eq!(calls() - before - 2 * first, 10 - 1, "one a minute");
    });
}

#[test]
fn pings_are_told_with_what_went_through_the_tunnels_and_each_line_is_json() {
    simulated(async {
        let field = made().await;
        let words = ["--stack", &field.seed.cloud_vpc, "--json", "--ping"];
        let run = watch(&field, &words, time::sleep(Duration::from_mins(5))).await.ok();
        let lines: Vec<Value> =
            run.said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["v"] == 1), "{}", run.said);
        let of = |name: &str| lines.iter().filter(|line| line["event"] == name).collect::<Vec<_>>();
        assert_eq!(of("tunnel").len(), 2, "{}", run.said);
        assert_eq!(of("connection")[0]["connection"]["state"], "ready", "{}", run.said);
        let ping = &of("ping")[0]["ping"];
        assert_eq!(ping["to"], field.seed.ping.as_str(), "{}", run.said);
        assert_eq!((&ping["came"]["sent"], &ping["came"]["received"]), (&5.into(), &5.into()));
        assert!(ping["came"]["tunnel_bytes"]["sent"].as_u64().unwrap() > 0, "{}", run.said);
    });
}

#[test]
fn a_connection_that_goes_is_told_and_one_that_comes_instead_is_found() {
    simulated(async {
        let field = made().await;
        let mut said = String::new();
        let meanwhile = async {
            time::sleep(Duration::from_mins(1)).await;
            said += &ui::heard();
            said += &field.cgw(&field.down()).await.ok().said;
            time::sleep(Duration::from_mins(5)).await;
            said += &field.cgw(&field.up()).await.ok().said;
            time::sleep(Duration::from_mins(10)).await;
            said += &ui::heard();
        };
        let words = ["cgw", "status", "--watch", "--stack", &field.seed.cloud_vpc];
        let outside = field.outside(7);
        let watching = Box::pin(run_in(&outside, Cli::try_parse_from(words).unwrap().command));
        tokio::select! {
            code = watching => panic!("it ends with {code:?}"),
            () = meanwhile => {}
        }
        let told = said.lines().filter(|line| line.contains("Z ") && line.contains("connection"));
        let told: Vec<&str> = told.collect();
        let at = |what: &str| told.iter().position(|line| line.contains(what));
        let gone = at("there is no VPN connection").unwrap_or_else(|| panic!("{said}"));
        assert!(told[..gone].iter().any(|line| line.ends_with("is ready")), "{told:#?}");
        assert!(told[gone..].iter().any(|line| line.ends_with("is ready")), "{told:#?}");
    });
}

#[test]
fn what_belongs_to_watching_needs_it() {
    for words in [
        &["--interval", "5"][..],
        &["--exit-on", "down"],
        &["--ping"],
        &["--watch", "--interval", "0"],
        &["--watch", "--show-secrets"],
        &["--watch", "--detailed-exitcode"],
    ] {
        let words = [&["cgw", "status"], words].concat();
        assert!(Cli::try_parse_from(&words).is_err(), "{words:?}");
    }
}
