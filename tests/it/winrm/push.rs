//! A whole bundle, pushed over WinRM to a real PowerShell over the modelled server.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::Stdio;

use cgw::event::Events;
use cgw::server::Error;
use cgw::transport::Transport;
use cgw::transport::winrm::Login;
use serde_json::json;

use crate::cloud::{Cloud, Run, endpoint};
use crate::push::{bundle, powershell, remote};
use crate::winrmd::{PASSWORD, USER, Winrmd, stand_in};

#[tokio::test]
async fn a_bundle_is_pushed_and_a_second_push_changes_nothing() {
    let ip = "172.31.16.10";
    let Some(launch) = powershell(ip) else { return };
    let service = Winrmd::start(&json!({ "tls": "self-signed" }));
    let windows = service.path("windows");
    fs::create_dir(&windows).unwrap();
    stand_in(&service.path("programs"), &launch);
    let (bundle, events) = (bundle(ip), Events::silent());
    let winrm = service.pinned(Login::Ntlm);
    let host = winrm.host.clone();
    let server = remote(Transport::Winrm(winrm), Some(&host));
    let any = Ipv4Addr::UNSPECIFIED;

    let report = server.set_up(any, &bundle, &events).await.unwrap();
    assert_eq!(report.changed, 11);
    assert!(fs::read_to_string(windows.join("server.json")).unwrap().contains(&"b".repeat(64)));
    assert_eq!(server.set_up(any, &bundle, &events).await.unwrap().changed, 0);

    let faults = json!({ "fail": "Get-RemoteAccess", "once": true });
    fs::write(windows.join("faults.json"), faults.to_string()).unwrap();
    let error = server.set_up(any, &bundle, &events).await.unwrap_err();
    assert!(matches!(&error, Error::Step { id, .. } if id == "preflight"), "{error:?}");
    assert_eq!(service.stats().shells(), 0);
}

#[test]
fn the_whole_job_goes_over_winrm() {
    let cloud = Cloud::new();
    let Some(launch) = powershell(&cloud.id("private_ip")) else { return };
    let service = Winrmd::start(&json!({ "tls": "self-signed" }));
    let windows = service.path("windows");
    fs::create_dir(&windows).unwrap();
    stand_in(&service.path("programs"), &launch);
    let before = cloud.dump();
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let (port, pin) = (service.sealed().port.to_string(), service.fingerprint());
    let mut up = vec!["up", "--yes", "--consistency", "0", "--via", "winrm"];
    up.extend(["--vpc", &vpc, "--instance", &instance, "--host", "127.0.0.1", "--port", &port]);
    up.extend(["--user", USER, "--winrm-fingerprint", &pin]);
    let run = with_password(&cloud, &up).ok();
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    assert!(run.err.contains("the server has restarted and is as it was set"), "{}", run.err);
    let server = || fs::read_to_string(windows.join("server.json")).unwrap();
    assert!(server().contains(" Tunnel 2"), "both tunnels have their rule");
    // From here on the record says the way.
    let run = with_password(&cloud, &["test", "--stack", &vpc, "--ping", "10.0.1.10"]).ok();
    assert!(run.out.contains("ping 10.0.1.10: 5 of 5 answered"), "{}", run.out);
    let down = ["down", "--yes", "--consistency", "0", "--stack", &vpc];
    let run = with_password(&cloud, &down).ok();
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    assert!(!server().contains(" Tunnel 2"), "neither has one");
    assert_eq!(cloud.dump(), before);
    assert_eq!(service.stats().shells(), 0);
}

/// Runs cgw with the password on its standard input.
fn with_password(cloud: &Cloud, words: &[&str]) -> Run {
    let mut command = cloud.command(&endpoint(), words);
    command.arg("--password-stdin").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    assert!(!run.out.contains(PASSWORD) && !run.err.contains(PASSWORD));
    run
}
