//! `cgw plan`: what is shown, and what is refused before anything is made.

use crate::cloud::{Cloud, lines};

#[test]
fn a_plan_names_every_node_and_changes_nothing() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let run =
        cloud.cgw(&["plan", "--vpc", &cloud.id("cloud_vpc"), "--json", "--detailed-exitcode"]);
    assert_eq!(run.code(), Some(3), "{}", run.err);
    let plan = lines(&run.out).into_iter().find(|line| line["event"] == "plan").unwrap();
    let steps = plan["plan"]["changes"]["steps"].as_array().unwrap().clone();
    assert!(steps.iter().all(|step| step["change"] == "create"), "{}", run.out);
    let nodes: Vec<&str> = steps.iter().filter_map(|s| s["key"]["make"].as_str()).collect();
    for kind in ["stack-record", "elastic-ip", "vpn-connection", "tunnel-rules", "windows-setup"] {
        assert!(nodes.contains(&kind), "{kind} is not in {nodes:?}");
    }
    assert_eq!(cloud.dump(), before);
}

/// Flags (beside the VPC), and what the refusal says: the sentence, and the flag that helps.
#[test]
fn what_cannot_work_is_refused_with_the_flag_that_helps() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let linux = cloud.seed["decoys"]["strangers"]["linux"]["instance"].as_str().unwrap().to_owned();
    let stopped =
        cloud.seed["decoys"]["strangers"]["stopped_windows"]["instance"].as_str().unwrap();
    let site_table = cloud.id("site_table");
    let own = ["--gateway-ip", "203.0.113.200", "--private-ip", "192.168.7.5"];
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--instance", &linux], "does not run Windows", "--instance"),
        (&["--instance", stopped], "is stopped", "--instance"),
        (&["--instance", "i-0a1b2c3d"], "does not exist", "--instance"),
        (&["--site-cidr", "10.0.0.0/8"], "overlaps the VPC's 10.0.0.0/16", "--site-cidr"),
        (&["--site-cidr", "192.168.0.0/16"], "lies outside the site's network", "--site-cidr"),
        (&["--cloud-cidr", "0.0.0.0/0"], "reaches into the Internet", "--cloud-cidr"),
        (&["--cloud-cidr", "192.168.0.0/16"], "has nothing in common", "--cloud-cidr"),
        (&["--route-tables", "rtb-0a1b2c3d"], "does not exist", "--route-tables"),
        (&["--route-tables", &site_table], "not in vpc-", "--route-tables"),
        (&["--subnet-cidr", "192.168.0.0/24"], "lies outside", "--subnet-cidr"),
        (&["--subnet-cidr", "10.0.1.0/28"], "overlaps subnet-", "--subnet-cidr"),
        (&["--eip", "eipalloc-0a1b2c3d"], "does not exist", "--eip"),
        (&own, "the network of the own server is not given", "--site-cidr"),
        (
            &[
                "--gateway-ip",
                "224.0.0.1",
                "--private-ip",
                "192.168.7.5",
                "--site-cidr",
                "192.168.7.0/24",
            ],
            "is no public address",
            "--gateway-ip",
        ),
        (&["--region", "mars"], "is no AWS region", "--region"),
        (&["--subnet-cidr", "10.0.200.0/29"], "AWS makes no subnet", "--subnet-cidr"),
        (&["--admin-cidr", "10.0.5.0/24"], "in 10.0.5.0/24 would be cut off", "--admin-cidr"),
    ];
    for (flags, sentence, flag) in cases {
        let vpc = cloud.id("cloud_vpc");
        let run = cloud.cgw(&[&["up", "--yes", "--vpc", &vpc][..], flags].concat());
        assert_eq!(run.code(), Some(2), "{flags:?}: {}", run.err);
        assert!(run.err.contains(sentence), "{flags:?}: {}", run.err);
        let hint = run.err.lines().find(|line| line.contains("hint:")).unwrap();
        assert!(hint.contains(flag) || run.err.contains(flag), "{flags:?}: {}", run.err);
    }
    assert_eq!(cloud.dump(), before);
}

#[test]
fn malformed_values_are_usage_errors() {
    let cloud = Cloud::new();
    for flags in [
        &["plan", "--vpc", "vpc-123"][..],
        &["plan", "--vpc", "vpc-0a1b2c3d", "--site-cidr", "10.0.0.0/33"],
        &["plan", "--vpc", "vpc-0a1b2c3d", "--site-cidr", "172.31.5.0/16"],
        &["plan", "--vpc", "vpc-0a1b2c3d", "--admin-cidr", "203.0.113.0/24,10.0.0.1/8"],
        &["plan", "--vpc", "vpc-0a1b2c3d", "--gateway-ip", "300.1.1.1"],
        &["plan", "--vpc", "vpc-0a1b2c3d", "--crypto", "none"],
    ] {
        let run = cloud.cgw(flags);
        assert_eq!(run.code(), Some(2), "{flags:?}");
        assert!(run.err.contains("invalid value"), "{flags:?}: {}", run.err);
    }
}

#[test]
fn yes_does_not_choose_a_server() {
    let cloud = Cloud::seeded(&["--second-server"]);
    let vpc = cloud.id("cloud_vpc");
    let run = cloud.cgw(&["up", "--yes", "--vpc", &vpc]);
    assert_eq!(run.code(), Some(2));
    let second = cloud.seed["second_server"]["instance"].as_str().unwrap();
    assert!(run.err.contains(&cloud.id("instance")) && run.err.contains(second), "{}", run.err);
    let asked = cloud.cgw(&["up", "--vpc", &vpc]);
    assert_eq!(asked.code(), Some(2), "nobody can be asked");
    assert!(asked.err.contains(second), "{}", asked.err);
}

#[test]
fn an_endpoint_that_nobody_answers_at_is_said_so() {
    let cloud = Cloud::new();
    let run =
        cloud.command("http://127.0.0.1:1", &["plan", "--vpc", "vpc-0a1b2c3d"]).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("the connection failed") && said.contains("hint:"), "{said}");
}

#[test]
fn missing_credentials_are_said_so() {
    let cloud = Cloud::new();
    let mut command = cloud.command(&crate::cloud::endpoint(), &["plan", "--vpc", "vpc-0a1b2c3d"]);
    let run = command.env_remove("AWS_ACCESS_KEY_ID").output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("no AWS credentials: no credentials found in chain"), "{said}");
    let folder = cloud.home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config"), "[profile one]\nregion = eu-west-1\n").unwrap();
    let unknown = cloud.cgw(&["plan", "--vpc", "vpc-0a1b2c3d", "--profile", "two"]);
    assert_eq!(unknown.code(), Some(2));
    assert!(unknown.err.contains("profile `two` was not defined"), "{}", unknown.err);
}

#[test]
fn a_configuration_file_serves_instead_of_flags() {
    let cloud = Cloud::new();
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let file = cloud.home.path().join("cgw.toml");
    let text = format!(
        "[[stack]]\nname = \"office\"\nvpc = \"{vpc}\"\ninstance = \"{instance}\"\nvia = \"none\"\n"
    );
    std::fs::write(&file, &text).unwrap();
    let run = cloud.cgw(&["plan"]).ok();
    assert!(run.out.contains("stack office: 19 changes"), "{}", run.out);
    std::fs::write(&file, text + "colour = \"red\"\n").unwrap();
    let run = cloud.cgw(&["plan"]);
    assert_eq!(run.code(), Some(2));
    assert!(run.err.contains("unknown field `colour`"), "{}", run.err);
}

#[test]
fn a_stack_that_is_not_there_is_said_so() {
    let cloud = Cloud::new();
    cloud.cgw(&["plan", "--vpc", &cloud.id("cloud_vpc")]).ok();
    for command in [&["scripts", "out", "--stack", "typo"][..], &["status", "--stack", "typo"]] {
        let run = cloud.cgw(command);
        assert_eq!(run.code(), Some(2), "{}", run.err);
        assert!(run.err.contains("there is no stack typo in eu-west-1"), "{}", run.err);
    }
    let malformed = cloud.command("nowhere", &["plan", "--vpc", "vpc-0a1b2c3d"]).output().unwrap();
    let said = String::from_utf8_lossy(&malformed.stderr).into_owned();
    assert!(said.contains("is not an endpoint such as"), "{said}");
}
