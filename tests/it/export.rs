//! Templates: nothing that is desired is forgotten in one, and nothing secret stands in it.

use std::collections::BTreeSet;
use std::path::Path;

use cgw::aws::Place;
use cgw::preflight::{Situation, imagine};
use cgw::render::export::{Error, Format, How, export, how};
use cgw::resource::NAMES;
use cgw::sandbox::Manners;
use cgw::spec::{Declared, Via};
use cgw::topology::desired;

use crate::model::{asked, base, declared, launching, place, situation, variants};
use crate::sandbox::{Field, simulated};

/// What a server that is launched has from the beginning.
const OF_THE_SERVER: [&str; 2] = ["source-dest-check", "security-group-membership"];

const FORMATS: [Format; 2] = [Format::Cloudformation, Format::Terraform];

/// As if the server ran that is to be launched.
fn imagined(declared: &Declared) -> Situation {
    asked(&base(), declared, imagine).unwrap()
}

/// All kinds of stacks.
fn situations() -> Vec<Situation> {
    let ping = Declared { ping: Some("10.0.1.10".parse().unwrap()), ..declared() };
    let admin = Declared { admin_cidr: Some("198.51.100.0/24".parse().unwrap()), ..declared() };
    let probe = Situation { probe: true, ..situation(&base(), &declared()).unwrap() };
    let quiet = Declared { via: Some(Via::None), key_pair: None, ..launching() };
    let all = variants().into_iter().chain([ping, admin]);
    let mut all: Vec<_> = all.map(|one| situation(&base(), &one).unwrap()).collect();
    all.extend([probe, imagined(&launching()), imagined(&quiet)]);
    all
}

/// A template without the scripts in it.
fn without_scripts(text: &str) -> String {
    let mut is_inside = false;
    let mut is_kept = |line: &&str| {
        let line = line.trim();
        if line.starts_with("runCommand") {
            is_inside = true;
            return true;
        }
        is_inside &= line.starts_with("- \"") || line.starts_with('"');
        !is_inside
    };
    text.lines().filter(|line| is_kept(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_kind_of_node_is_made_or_said_to_be_left_out() {
    for kind in NAMES {
        for format in FORMATS {
            match how(kind, format) {
                Some(How::Made(r#type)) => {
                    let prefix = if format == Format::Terraform { "aws_" } else { "AWS::" };
                    assert!(r#type.starts_with(prefix), "{kind}: {type}");
                }
                Some(How::Told(why)) => assert!(why.ends_with('.') || why.ends_with("ID"), "{why}"),
                None => panic!("nobody has thought of {kind} in {format:?}"),
            }
        }
    }
}

/// With `CGW_EXPORTS` the templates are left in a folder, for tests/export/run.
#[test]
fn every_kind_of_stack_can_be_exported() {
    let folder = std::env::var_os("CGW_EXPORTS");
    let mut told = BTreeSet::new();
    for (n, situation) in situations().into_iter().enumerate() {
        for format in FORMATS {
            let text = match export(&situation, format) {
                Ok(text) => text,
                Err(Error::Apart) if format == Format::Cloudformation => continue,
                Err(error) => panic!("{n}: {error}"),
            };
            let flat = text.replace("\n#  ", "");
            let is_launched = text.contains("::Instance\n") || text.contains("\"aws_instance\"");
            for node in desired(&situation).into_iter().filter(|node| node.adopt.is_none()) {
                let kind = node.address.kind;
                let is_argument = is_launched && OF_THE_SERVER.contains(&kind);
                match how(kind, format).unwrap() {
                    How::Made(r#type) => {
                        assert!(is_argument || text.contains(r#type), "{n}: {kind}: {text}");
                    }
                    How::Told(why) => {
                        assert_ne!(is_argument, flat.contains(why), "{n}: {kind}: {flat}");
                        told.insert((kind, is_argument));
                    }
                }
            }
            // A body that is sent with the call (CloudFormation user guide, «Quotas»).
            let is_sent = format == Format::Cloudformation;
            assert!(!is_sent || text.len() <= 51_200, "{n}: {} bytes", text.len());
            let data = text.lines().filter(|line| !line.starts_with('#'));
            assert!(data.clone().all(str::is_ascii), "{n}");
            assert!(!text.contains("no.key.of.anybody") && !text.contains("cgw:stack"), "{n}");
            if let Some(folder) = &folder {
                let end = if format == Format::Terraform { "tf" } else { "yaml" };
                std::fs::write(Path::new(folder).join(format!("{n}.{end}")), text).unwrap();
            }
        }
    }
    let both = [true, false].map(|is_argument| ("source-dest-check", is_argument));
    assert!(both.iter().all(|one| told.contains(one)), "{told:?}");
    assert!(told.contains(&("probe-instance", false)), "{told:?}");
}

#[test]
fn the_templates_of_a_fresh_stack() {
    let situation = situation(&base(), &declared()).unwrap();
    for (format, name) in FORMATS.into_iter().zip(["cloudformation", "terraform"]) {
        let text = without_scripts(&export(&situation, format).unwrap());
        insta::assert_snapshot!(format!("a_fresh_stack_for_{name}"), text);
    }
}

#[test]
fn a_stack_in_two_regions_is_terraforms_alone() {
    let two = variants().into_iter().find(|one| one.site_region.is_some()).unwrap();
    let situation = situation(&base(), &two).unwrap();
    assert!(matches!(export(&situation, Format::Cloudformation), Err(Error::Apart)));
    let text = export(&situation, Format::Terraform).unwrap();
    let server = text.split("resource \"aws_eip\"").nth(1).unwrap();
    assert!(server.lines().nth(1).unwrap().contains("provider = aws.site"), "{server:.200}");
    let vpc = text.split("resource \"aws_vpn_gateway\"").nth(1).unwrap();
    assert!(!vpc.lines().nth(1).unwrap().contains("provider"), "{vpc:.200}");
    let Place { region, .. } = place();
    assert!(text.contains(&format!("default     = \"{region}\"")), "{text:.2000}");
}

#[test]
fn export_reads_the_account_and_changes_nothing() {
    simulated(async {
        let field = Field::new(1, Manners::default());
        let before = field.sandbox.objects().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (path, vpc) = (folder.path().join("vpn"), &field.seed.cloud_vpc);
        let words = ["export", "terraform", "--vpc", vpc, "--instance", &field.seed.instance];
        let shown = field.cgw(&words).await.ok().said;
        assert!(
            shown.contains("resource \"aws_vpn_connection\" \"vpn_connection\""),
            "{shown:.2000}"
        );
        let to = [&words[..], &["--output", path.to_str().unwrap()]].concat();
        let said = field.cgw(&to).await.ok().said;
        let written = std::fs::read_to_string(path.join("main.tf")).unwrap();
        assert!(shown.contains(&written) && said.contains("main.tf"), "{said}");
        assert_eq!(field.sandbox.objects().unwrap(), before);
    });
}

/// What the document does on a server, on a real PowerShell; `tests/run` says where it comes from.
mod needs_pwsh {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::{Format, base, declared, export, situation};

    const KEYS: [&str; 2] = ["First.key.of.the.two", "Second.key.of.the.two"];

    /// The scripts of both steps, with what State Manager puts in.
    fn steps(action: &str) -> Vec<String> {
        let situation = situation(&base(), &declared()).unwrap();
        let text = export(&situation, Format::Cloudformation).unwrap();
        let told = BTreeMap::from([
            ("action", action),
            ("connection", "vpn-00000001"),
            ("region", "eu-west-1"),
            ("instance", "i-00000001"),
            ("privateIp", "172.31.16.10"),
            ("siteCidr", "172.31.0.0/16"),
            ("cloudCidr", "10.0.0.0/16"),
            ("ping", "none"),
        ]);
        let step = |text: &str| {
            let lines = text.lines().skip(1).map(str::trim);
            let lines = lines.map_while(|line| line.strip_prefix("- \""));
            let parsed = |line: &str| serde_json::from_str::<String>(&format!("\"{line}")).unwrap();
            let script = lines.map(parsed).collect::<Vec<_>>().join("\n");
            told.iter().fold(script, |script, (name, value)| {
                script.replace(&format!("{{{{ {name} }}}}"), value)
            })
        };
        text.split("runCommand:").skip(1).map(step).collect()
    }

    /// AWS's answer; the higher address comes first.
    fn answer(keys: [&str; 2]) -> String {
        let tunnel = |outside: &str, key: &str| {
            format!(
                "<ipsec_tunnel><customer_gateway><tunnel_outside_address><ip_address>198.51.100.7</ip_address>\
                 </tunnel_outside_address></customer_gateway><vpn_gateway><tunnel_outside_address><ip_address>\
                 {outside}</ip_address></tunnel_outside_address></vpn_gateway><ike><pre_shared_key>{key}\
                 </pre_shared_key></ike></ipsec_tunnel>"
            )
        };
        let tunnels = tunnel("203.0.113.20", keys[1]) + &tunnel("203.0.113.3", keys[0]);
        format!("<vpn_connection id=\"vpn-00000001\">{tunnels}</vpn_connection>")
    }

    /// Runs one step on the modelled server.
    fn run(state: &Path, script: &str, answer: &str) -> Output {
        let path = state.join("step.ps1");
        let aws = format!(
            "function Get-EC2VpnConnection($VpnConnectionId, $Region) {{ @{{ CustomerGatewayConfiguration = '{answer}' }} }}\n"
        );
        std::fs::write(&path, aws + script).unwrap();
        let engine =
            std::env::var("CGW_PWSH").expect("CGW_PWSH names a PowerShell 7; tests/run finds it");
        let stand = format!("{}/tests/pwsh", env!("CARGO_MANIFEST_DIR"));
        Command::new(engine)
            .args(["-NoProfile", "-NonInteractive", "-File", path.to_str().unwrap()])
            .env("PATH", format!("{stand}:{}", std::env::var("PATH").unwrap()))
            .env("CGW_WINDOWS_STATE", state)
            .env("CGW_WINDOWS_ADDRESS", "172.31.16.10")
            .env("ProgramData", state.join("ProgramData"))
            .output()
            .unwrap()
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    #[test]
    #[ignore = "needs PowerShell 7"]
    fn the_document_sets_a_server_up_and_takes_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let [set_up, confirm] = &steps("set-up")[..] else { panic!("two steps") };
        let first = run(state, set_up, &answer(KEYS));
        assert!(first.status.success(), "{}", said(&first));
        let server = || std::fs::read_to_string(state.join("server.json")).unwrap();
        for (address, key) in ["203.0.113.3", "203.0.113.20"].into_iter().zip(KEYS) {
            assert!(server().contains(address) && server().contains(key), "{}", server());
        }
        assert!(KEYS.iter().all(|key| !said(&first).contains(key)), "{}", said(&first));
        assert!(said(&first).contains("guard=armed"), "{}", said(&first));
        // 194 is what eight bits leave of 3010: the agent restarts the server and comes again.
        let confirmed = run(state, confirm, &answer(KEYS));
        assert_eq!(confirmed.status.code(), Some(194), "{}", said(&confirmed));
        assert!(said(&confirmed).contains("\"guard\":\"armed\""), "{}", said(&confirmed));
        let counted = || std::fs::read_to_string(state.join("ProgramData/cgw/office/restarts.txt"));
        assert_eq!(counted().unwrap(), "1");
        for code in [194, 194, 1] {
            let later = run(state, confirm, &answer(KEYS));
            assert_eq!(later.status.code(), Some(code), "{}", said(&later));
        }
        assert!(counted().is_err());
        let again = run(state, set_up, &answer(KEYS));
        assert!(said(&again).contains("changed=0"), "{}", said(&again));
        let [undo, nothing] = &steps("undo")[..] else { panic!("two steps") };
        let undone = run(state, undo, "");
        assert!(undone.status.success(), "{}", said(&undone));
        assert!(KEYS.iter().all(|key| !server().contains(key)), "{}", server());
        assert!(run(state, nothing, "").status.success());
    }

    #[test]
    #[ignore = "needs PowerShell 7"]
    fn a_key_that_ec2_keeps_back_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let refused = run(folder.path(), &steps("set-up")[0], &answer(["REDACTED", KEYS[1]]));
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            said(&refused).contains("keeps the key of the tunnel to 203.0.113.3 back"),
            "{}",
            said(&refused)
        );
        assert!(!folder.path().join("ProgramData/cgw").exists());
    }
}
