//! A whole bundle over each transport, near and far: reported, not asserted.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use cgw::event::Events;
use cgw::transport::Transport;
use cgw::transport::ssh::{HostKeys, Ssh};
use cgw::transport::winrm::{Login, Winrm};
use serde_json::json;

use super::delay::Delay;
use crate::cloud::endpoint;
use crate::proxy::{Fate, Proxy, Weather};
use crate::push::{bundle, engine, powershell, remote};
use crate::sshd::{Setup, Sshd};
use crate::ssm::Server;
use crate::winrmd::{Winrmd, stand_in};

const ROUNDS: usize = 3;
const FAR: Duration = Duration::from_millis(80);
const SERVER: &str = "172.31.16.10";

/// Pushes twice, and tells how long each took.
async fn push_twice(transport: &Transport, ip: &str) -> [Duration; 2] {
    let (bundle, events) = (bundle(ip), Events::silent());
    let host = "127.0.0.1";
    let mut times = [Duration::ZERO; 2];
    for (n, changed) in [11, 0].into_iter().enumerate() {
        let begun = Instant::now();
        let reach = remote(transport.clone(), Some(host));
        let report = reach.set_up(Ipv4Addr::UNSPECIFIED, &bundle, &events).await.unwrap();
        times[n] = begun.elapsed();
        assert_eq!(report.changed, changed);
    }
    times
}

/// Tells the medians of some rounds, and what `traffic` says of the last.
fn tell(what: &str, mut all: Vec<[Duration; 2]>, traffic: &str) {
    let mut median = |n: usize| {
        all.sort_by_key(|times| times[n]);
        all[all.len() / 2][n].as_secs_f64()
    };
    println!("{what}: {:.1} s, again {:.1} s; {traffic}", median(0), median(1));
}

fn over_the_line(line: &Delay) -> String {
    let seen = line.seen();
    format!(
        "both: {} connections, {} round trips, {} kB up",
        seen.connections,
        seen.turns,
        seen.up / 1000
    )
}

#[tokio::test]
#[ignore = "a benchmark: tests/bench runs it"]
async fn over_ssh() {
    let engine = engine().expect("an engine");
    for delay in [Duration::ZERO, FAR] {
        let (mut all, mut traffic) = (Vec::new(), String::new());
        for _ in 0..ROUNDS {
            let state = tempfile::tempdir().unwrap();
            let sshd = Sshd::with(&Setup {
                path_first: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pwsh").into()),
                environment: vec![
                    ("CGW_WINDOWS_STATE", state.path().to_str().unwrap().to_owned()),
                    ("CGW_WINDOWS_ADDRESS", SERVER.to_owned()),
                    ("CGW_PWSH", engine.clone()),
                ],
                ..Setup::default()
            });
            let line = Delay::to(sshd.port(), delay / 2);
            let host_keys = HostKeys::Pinned(sshd.fingerprint("ed25519"));
            let ssh = Ssh { port: line.port, host_keys, ..sshd.ssh() };
            all.push(push_twice(&Transport::Ssh(ssh), SERVER).await);
            traffic = over_the_line(&line);
        }
        assert_eq!(all.len(), ROUNDS);
        tell(&format!("SSH, {} ms", delay.as_millis()), all, &traffic);
    }
}

#[tokio::test]
#[ignore = "a benchmark: tests/bench runs it"]
async fn over_winrm() {
    let launch = powershell(SERVER).expect("an engine");
    for delay in [Duration::ZERO, FAR] {
        let (mut all, mut traffic) = (Vec::new(), String::new());
        for _ in 0..ROUNDS {
            let service = Winrmd::start(&json!({ "tls": "self-signed" }));
            fs::create_dir(service.path("windows")).unwrap();
            stand_in(&service.path("programs"), &launch);
            let winrm = service.pinned(Login::Ntlm);
            let line = Delay::to(winrm.port, delay / 2);
            let winrm = Winrm { port: line.port, ..winrm };
            all.push(push_twice(&Transport::Winrm(winrm), SERVER).await);
            traffic = over_the_line(&line);
        }
        assert_eq!(all.len(), ROUNDS);
        tell(&format!("WinRM over TLS, {} ms", delay.as_millis()), all, &traffic);
    }
}

#[tokio::test]
#[ignore = "a benchmark: tests/bench runs it"]
async fn over_systems_manager() {
    let engine = engine().expect("an engine");
    for delay in [Duration::ZERO, FAR] {
        let (mut all, mut traffic) = (Vec::new(), String::new());
        for _ in 0..ROUNDS {
            let server = Server::with_engine(&engine);
            let ip = server.private_ip();
            server.script("powershell.exe", &powershell(&ip).expect("an engine"));
            fs::create_dir(server.folder.path().join("state")).unwrap();
            let proxy = Proxy::new(&endpoint(), Weather::Slow(delay), |_, _| Fate::Pass);
            let (transport, _) = server.clients(proxy.url()).await;
            all.push(push_twice(&transport, &ip).await);
            let calls = proxy.calls();
            let trips = super::round_trips(&calls);
            traffic = format!("both: {} calls, {trips} of them one after the other", calls.len());
        }
        assert_eq!(all.len(), ROUNDS);
        tell(&format!("Systems Manager, {} ms a call", delay.as_millis()), all, &traffic);
    }
}
