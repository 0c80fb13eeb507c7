//! `cgw plan` against a real LocalStack that `tests/run` starts.

use std::process::Command;

use serde_json::Value;

fn endpoint() -> String {
    std::env::var("CGW_LOCALSTACK_URL").expect("tests/run starts LocalStack and names it here")
}

fn script(name: &str, account: &str) -> String {
    let path = format!("{}/localstack/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(path)
        .args(["--endpoint-url", &endpoint(), "--account", account])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn cgw(account: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cgw"))
        .args(arguments)
        .args(["--endpoint-url", &endpoint()])
        .env("AWS_ACCESS_KEY_ID", account)
        .env("AWS_SECRET_ACCESS_KEY", "any")
        .env("AWS_REGION", "eu-west-1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_plan_names_every_node_and_changes_nothing() {
    let account = "400000000001";
    let seed: Value = serde_json::from_str(&script("seed", account)).unwrap();
    let before = script("dump", account);
    let vpc = seed["cloud_vpc"].as_str().unwrap();
    let (code, data, talk) = cgw(
        account,
        &["plan", "--vpc", vpc, "--json", "--detailed-exitcode"],
    );
    assert_eq!(code, 3, "{talk}");
    let plan: Value = serde_json::from_str(&data).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    assert!(
        steps.iter().all(|step| step["change"] == "create"),
        "{data}"
    );
    let nodes: Vec<String> = steps
        .iter()
        .filter_map(|s| Some(s["key"]["make"].as_str()?.to_owned()))
        .collect();
    for kind in [
        "stack-record",
        "elastic-ip",
        "vpn-connection",
        "tunnel-rules",
        "windows-setup",
    ] {
        assert!(
            nodes.iter().any(|node| node == kind),
            "{kind} is not in {nodes:?}"
        );
    }
    assert_eq!(script("dump", account), before);
}

#[test]
fn a_server_that_cannot_be_the_gateway_is_refused_with_a_hint() {
    let account = "400000000002";
    let seed: Value = serde_json::from_str(&script("seed", account)).unwrap();
    let vpc = seed["cloud_vpc"].as_str().unwrap();
    let unknown = cgw(account, &["plan", "--vpc", "vpc-0a1b2c3d"]);
    assert_eq!(unknown.0, 2);
    assert!(unknown.2.contains("vpc-0a1b2c3d does not exist") && unknown.2.contains("--vpc"));
    let linux = &seed["decoys"]["strangers"]["linux"]["instance"];
    let (code, _, talk) = cgw(
        account,
        &["plan", "--vpc", vpc, "--instance", linux.as_str().unwrap()],
    );
    assert_eq!(code, 2);
    assert!(
        talk.contains("does not run Windows") && talk.contains("--instance"),
        "{talk}"
    );
    let overlap = cgw(
        account,
        &["plan", "--vpc", vpc, "--site-cidr", "10.0.0.0/8"],
    );
    assert_eq!(overlap.0, 2);
    assert!(
        overlap.2.contains("overlaps the VPC's 10.0.0.0/16"),
        "{}",
        overlap.2
    );
}
