//! Calls, round trips and times against a proxy that adds 80 ms a call: reported, not asserted.
//!
//! `tests/bench` runs it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cloud::{Cloud, endpoint, words};
use crate::proxy::{Call, Fate, Proxy, Weather};

mod delay;
mod pushes;

const ROUNDS: usize = 5;

/// The longest chain of calls of which each began after the one before had its reply.
fn round_trips(calls: &[Call]) -> usize {
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.span.1);
    let (mut count, mut end): (usize, Option<Instant>) = (0, None);
    for call in calls {
        if end.is_none_or(|end| call.span.0 >= end) {
            count += 1;
            end = Some(call.span.1);
        }
    }
    count
}

/// Tells when each call came and how long it took, in milliseconds.
fn timeline(calls: &[Call]) -> String {
    let Some(zero) = calls.iter().map(|call| call.span.0).min() else {
        return String::new();
    };
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.span.0);
    let line = |call: &&Call| {
        let (from, to) = ((call.span.0 - zero).as_millis(), (call.span.1 - zero).as_millis());
        format!("{from:>6} {to:>6} {}\n", call.action)
    };
    calls.iter().map(line).collect()
}

fn measure(cloud: &Cloud, arguments: &[&str]) -> (Duration, usize, usize) {
    let proxy =
        Proxy::new(&endpoint(), Weather::Slow(Duration::from_millis(80)), |_, _| Fate::Pass);
    let begun = Instant::now();
    cloud.through(&proxy, arguments).ok();
    let wall = begun.elapsed();
    let calls = proxy.calls();
    if std::env::var_os("CGW_TIMELINE").is_some() {
        println!("{}", timeline(&calls));
    }
    (wall, calls.len(), round_trips(&calls))
}

fn median(mut all: Vec<(Duration, usize, usize)>) -> String {
    all.sort();
    let (wall, calls, trips) = all[all.len() / 2];
    format!("{:.3} s, {calls} calls, {trips} round trips", wall.as_secs_f64())
}

#[test]
#[ignore = "a benchmark: tests/bench runs it"]
fn figures() {
    let cloud = Cloud::new();
    let (up, down) = (cloud.up(), cloud.down());
    let (mut fresh, mut noop, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        fresh.push(measure(&cloud, &words(&up)));
        noop.push(measure(&cloud, &words(&up)));
        gone.push(measure(&cloud, &words(&down)));
    }
    assert_eq!(fresh.len(), ROUNDS);
    println!("median of {ROUNDS}, 80 ms a call:");
    println!("fresh up: {}", median(fresh));
    println!("no-op up: {}", median(noop));
    println!("down:     {}", median(gone));
    println!("peak memory of up: {} MB", peak_megabytes(&cloud));
    cloud.cgw(&words(&down)).ok();
    let binary = env!("CARGO_BIN_EXE_cgw");
    println!("binary: {} MB", std::fs::metadata(binary).unwrap().len() / 1_000_000);
    let version = || {
        let begun = Instant::now();
        assert!(Command::new(binary).arg("--version").output().unwrap().status.success());
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..21).map(|_| version()).collect();
    times.sort();
    println!("cgw --version: {:.1} ms", times[10].as_secs_f64() * 1000.0);
}

/// The most memory that a fresh `up` has at a time, as the kernel counts it.
fn peak_megabytes(cloud: &Cloud) -> u64 {
    let mut child = cloud
        .command(&endpoint(), &words(&cloud.up()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        std::thread::yield_now();
    }
    peak / 1000
}
