//! A whole bundle, pushed over WinRM to a real PowerShell over the modelled server.

use std::fs;
use std::net::Ipv4Addr;

use cgw::event::Events;
use cgw::server::Error;
use cgw::transport::Transport;
use cgw::transport::winrm::Login;
use serde_json::json;

use crate::push::{bundle, powershell, remote};
use crate::winrmd::{Winrmd, stand_in};

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
