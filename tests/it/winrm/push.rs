//! A whole bundle, pushed over WinRM to the stand-in for Windows PowerShell.

use std::fs;
use std::net::Ipv4Addr;

use cgw::address::AwsId;
use cgw::event::Events;
use cgw::playbook::{Bundle, Parameters};
use cgw::secret::Secret;
use cgw::server::{Error, Server};
use cgw::transport::Transport;
use cgw::transport::winrm::Login;
use cgw::tunnel::{CidrPair, Crypto, Suites, Tunnel};
use serde_json::{Value, json};

use crate::winrmd::{Winrmd, python, stand_in};

fn bundle() -> Bundle {
    let crypto = Crypto::Modern;
    let parameters = Parameters {
        stack: "office".parse().unwrap(),
        is_ec2: true,
        private_ip: Ipv4Addr::new(172, 31, 16, 10),
        pair: CidrPair {
            site: "172.31.0.0/16".parse().unwrap(),
            cloud: "10.0.0.0/16".parse().unwrap(),
        },
        crypto,
        reboots: false,
    };
    let tunnel = |last, letter: &str| Tunnel {
        outside: Ipv4Addr::new(203, 0, 113, last),
        key: Some(Secret::new(letter.repeat(64))),
        suites: Suites::of(crypto),
    };
    Bundle::render(&parameters, &AwsId::new("vpn-1"), &[tunnel(1, "a"), tunnel(2, "b")]).unwrap()
}

#[tokio::test]
async fn a_bundle_is_pushed_and_a_second_push_changes_nothing() {
    let service = Winrmd::start(&json!({ "tls": "self-signed" }));
    let windows = service.path("windows");
    fs::create_dir(&windows).unwrap();
    let powershell = concat!(env!("CARGO_MANIFEST_DIR"), "/localstack/windows/powershell.exe");
    let launch = format!("exec '{}' '{powershell}' \"$@\"", python());
    stand_in(&service.path("programs"), &launch);
    let (bundle, events) = (bundle(), Events::silent());
    let server = Server::Reached(Transport::Winrm(service.pinned(Login::Ntlm)));

    let report = server.push(&bundle, &events).await.unwrap();
    assert!(report.changed > 5, "{report:?}");
    let told: Value =
        serde_json::from_slice(&fs::read(windows.join("last-parameters.json")).unwrap()).unwrap();
    assert_eq!(told["connection"], "vpn-1");
    assert_eq!(told["tunnels"][1]["presharedKey"], "b".repeat(64));
    assert_eq!(server.push(&bundle, &events).await.unwrap().changed, 0);

    let faults = json!({ "fail": "routing", "once": true });
    fs::write(windows.join("faults.json"), faults.to_string()).unwrap();
    let error = server.push(&bundle, &events).await.unwrap_err();
    assert!(matches!(&error, Error::Step { id, .. } if id == "routing"), "{error:?}");
    assert_eq!(service.stats().shells(), 0);
}
