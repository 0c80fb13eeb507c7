//! The whole life of a stack on LocalStack: made, made again, taken away, and no decoy touched.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::cloud::{Cloud, Run, endpoint, lines, words};
use crate::proxy::{Fate, Proxy, Weather};

#[test]
fn up_makes_every_node_and_down_leaves_everything_as_it_was() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let run = cloud.cgw(&words(&cloud.up())).ok();
    assert!(run.err.contains("not proven: cgw sets no server up"), "{}", run.err);
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn up_ends_with_the_status_that_status_shows() {
    let cloud = Cloud::new();
    let json = [&words(&cloud.up())[..], &["--json"]].concat().join(" ");
    let run = cloud.cgw(&json.split(' ').collect::<Vec<_>>()).ok();
    let last = lines(&run.out).pop().unwrap();
    assert_eq!(last["event"], "status", "{last}");
    let shown = cloud.cgw(&["status", "--json", "--stack", &cloud.id("cloud_vpc")]).ok();
    let shown = lines(&shown.out).pop().unwrap();
    let nodes = |status: &serde_json::Value| -> Vec<(String, String)> {
        let all = status["status"]["nodes"].as_array().unwrap();
        let text = |node: &serde_json::Value, key: &str| node[key].as_str().unwrap().to_owned();
        let mut all: Vec<_> = all.iter().map(|n| (text(n, "node"), text(n, "id"))).collect();
        all.sort();
        all
    };
    assert_eq!(nodes(&last), nodes(&shown));
    for key in ["tunnels", "cost", "drift"] {
        assert_eq!(last["status"][key], shown["status"][key], "{key}");
    }
    assert_eq!(shown["status"]["tunnels"].as_array().unwrap().len(), 2);
    assert_eq!(shown["status"]["cost"]["usd_per_hour"], 0.055);
}

#[test]
fn a_second_up_sends_no_changing_call_and_few_others() {
    let cloud = Cloud::new();
    cloud.cgw(&words(&cloud.up())).ok();
    let proxy = Proxy::watching(&endpoint());
    let run = cloud.through(&proxy, &words(&cloud.up())).ok();
    assert!(run.out.contains("nothing to change"), "{}", run.out);
    assert_eq!(proxy.changes(), Vec::<String>::new());
    assert!(proxy.calls().len() <= 12, "{:?}", proxy.calls());
}

#[test]
fn a_dry_run_sends_no_changing_call_whatever_there_is_to_do() {
    let cloud = Cloud::new();
    let proxy = Proxy::watching(&endpoint());
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let common = ["--vpc", &vpc, "--instance", &instance];
    cloud.through(&proxy, &[&["plan"][..], &common].concat()).ok();
    cloud.through(&proxy, &[&["up", "--dry-run", "--yes"][..], &common].concat()).ok();
    cloud.cgw(&words(&cloud.up())).ok();
    cloud.through(&proxy, &["down", "--dry-run", "--yes", "--stack", &vpc]).ok();
    assert!(!proxy.calls().is_empty());
    assert_eq!(proxy.changes(), Vec::<String>::new());
}

#[test]
fn waits_for_aws_end_when_it_is_ready() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    cloud.control("settle", serde_json::json!({ "seconds": 1.5 }));
    cloud.cgw(&words(&cloud.up())).ok();
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    cloud.control("settle", serde_json::json!({ "seconds": 0 }));
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_changed_declaration_changes_just_what_it_says() {
    let cloud = Cloud::new();
    cloud.cgw(&words(&cloud.up())).ok();
    let proxy = Proxy::watching(&endpoint());
    let more = ["--crypto", "strict", "--workload-ports", "22,443"];
    let up = cloud.up();
    cloud.through(&proxy, &[&words(&up)[..], &more].concat()).ok();
    let changes = proxy.changes();
    let count = |action: &str| changes.iter().filter(|c| *c == action).count();
    assert_eq!(count("ModifyVpnTunnelOptions"), 2, "one tunnel at a time: {changes:?}");
    assert_eq!(count("AuthorizeSecurityGroupIngress"), 1, "{changes:?}");
    assert_eq!(count("RevokeSecurityGroupIngress"), 1, "{changes:?}");
    // Without flags the record says what was declared.
    let stack = cloud.id("cloud_vpc");
    let again = cloud.cgw(&["up", "--yes", "--stack", &stack]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
}

#[test]
fn a_private_subnet_is_made_and_taken_away() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let up = cloud.up();
    cloud.cgw(&[&words(&up)[..], &["--subnet-cidr", "10.0.99.0/24"]].concat()).ok();
    let nodes = cloud.nodes();
    for node in ["subnet", "route-table", "route-table-association", "route/own/172.31.0.0/16"] {
        assert!(nodes.contains_key(node), "{node}: {nodes:?}");
    }
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn an_own_server_needs_nothing_at_its_site() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let vpc = cloud.id("cloud_vpc");
    let flags = ["up", "--yes", "--via", "none", "--consistency", "0", "--vpc", &vpc];
    let own = [
        "--gateway-ip",
        "203.0.113.200",
        "--private-ip",
        "192.168.7.5",
        "--site-cidr",
        "192.168.7.0/24",
    ];
    let run = cloud.cgw(&[&flags[..], &own].concat()).ok();
    assert!(run.out.contains("forward UDP 500 and UDP 4500"), "{}", run.out);
    assert!(!cloud.nodes().contains_key("elastic-ip"));
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_site_in_another_region_is_found_again_by_the_record() {
    let cloud = Cloud::seeded(&["--site-region", "eu-central-1"]);
    let both = || (cloud.dump(), cloud.dump_of("eu-central-1"));
    let before = both();
    let at_site = ["--site-region", "eu-central-1"];
    cloud.cgw(&[&words(&cloud.up())[..], &at_site].concat()).ok();
    cloud.assert_whole();
    // Another machine: no flags, no file.
    let stack = cloud.id("cloud_vpc");
    cloud.cgw(&["down", "--yes", "--consistency", "0", "--stack", &stack]).ok();
    assert_eq!(both(), before);
}

#[test]
fn a_server_that_moves_out_of_a_region_leaves_nothing_there() {
    let cloud = Cloud::seeded(&["--site-region", "eu-central-1"]);
    let both = || (cloud.dump(), cloud.dump_of("eu-central-1"));
    let before = both();
    let at_site = ["--site-region", "eu-central-1"];
    cloud.cgw(&[&words(&cloud.up())[..], &at_site].concat()).ok();
    let vpc = cloud.id("cloud_vpc");
    let to_own = ["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--allow-replace"];
    let own = ["--gateway-ip", "203.0.113.200", "--private-ip", "192.168.7.5"];
    let site = ["--site-cidr", "192.168.7.0/24"];
    cloud.cgw(&[&to_own[..], &own, &site].concat()).ok();
    assert_eq!(cloud.dump_of("eu-central-1"), before.1);
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(both(), before);
}

#[test]
fn tunnels_that_carry_traffic_are_changed_only_when_that_is_allowed() {
    let cloud = Cloud::new();
    cloud.control("tunnels", serde_json::json!({ "up_after": 0 }));
    cloud.cgw(&words(&cloud.up())).ok();
    let status = cloud.cgw(&["status", "--stack", &cloud.id("cloud_vpc")]).ok();
    assert!(status.out.contains(" UP since"), "{}", status.out);
    let up = cloud.up();
    let strict = [&words(&up)[..], &["--crypto", "strict"]].concat();
    let refused = cloud.cgw(&strict);
    assert_eq!(refused.code(), Some(2), "{}", refused.out);
    assert!(refused.err.contains("--allow-replace"), "{}", refused.err);
    cloud.cgw(&[&strict[..], &["--allow-replace"]].concat()).ok();
}

#[test]
fn a_route_that_somebody_makes_during_the_run_stays_theirs() {
    let cloud = Arc::new(Cloud::new());
    let before = cloud.dump();
    let (other, table) = (cloud.clone(), cloud.id("cloud_table"));
    let theirs = serde_json::json!({
        "RouteTableId": table, "DestinationCidrBlock": "172.31.0.0/16",
        "GatewayId": cloud.id("cloud_igw"),
    });
    let made = theirs.clone();
    let proxy = Proxy::new(&endpoint(), Weather::Fair, move |action, _| {
        if action == "CreateVpnGateway" {
            other.stranger("create_route", &made);
        }
        Fate::Pass
    });
    let mut up = cloud.up();
    up.extend(["--route-tables".to_owned(), table.clone()]);
    let run = cloud.through(&proxy, &words(&up));
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("RouteAlreadyExists"), "{}", run.err);
    assert!(!proxy.changes().contains(&"ReplaceRoute".to_owned()), "{:?}", proxy.changes());
    let again = cloud.cgw(&words(&up));
    assert_eq!(again.code(), Some(2), "{}", again.err);
    assert!(again.err.contains("has a route to 172.31.0.0/16 through igw-"), "{}", again.err);
    cloud.cgw(&words(&cloud.down())).ok();
    let delete = serde_json::json!({
        "RouteTableId": table, "DestinationCidrBlock": "172.31.0.0/16",
    });
    cloud.stranger("delete_route", &delete);
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_route_that_somebody_makes_while_ours_is_put_back_stays_theirs() {
    let cloud = Arc::new(Cloud::new());
    let table = cloud.id("cloud_table");
    let mut up = cloud.up();
    up.extend(["--route-tables".to_owned(), table.clone()]);
    cloud.cgw(&words(&up)).ok();
    let route = serde_json::json!({
        "RouteTableId": table, "DestinationCidrBlock": "172.31.0.0/16",
    });
    cloud.stranger("delete_route", &route);
    // Theirs is there when ours is refused.
    let taken = [("RouteAlreadyExists", "it is there already", 400)];
    cloud.control("faults", serde_json::json!({ "op": "CreateRoute", "errors": taken }));
    let mut theirs = route;
    theirs["GatewayId"] = cloud.id("cloud_igw").into();
    let other = cloud.clone();
    let proxy = Proxy::new(&endpoint(), Weather::Fair, move |action, _| {
        if action == "CreateRoute" {
            other.stranger("create_route", &theirs);
        }
        Fate::Pass
    });
    let run = cloud.through(&proxy, &words(&up));
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("RouteAlreadyExists"), "{}", run.err);
    assert!(!proxy.changes().contains(&"ReplaceRoute".to_owned()), "{:?}", proxy.changes());
    let again = cloud.cgw(&words(&up));
    assert_eq!(again.code(), Some(2), "theirs is no more announced as ours: {}", again.err);
}

#[test]
fn a_folder_that_cannot_take_the_scripts_is_known_before_anything_is_made() {
    let cloud = Cloud::new();
    let folder = cloud.home.path().join(format!("cgw-{}", cloud.id("cloud_vpc")));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("thesis.txt"), "years").unwrap();
    let proxy = Proxy::watching(&endpoint());
    let up = cloud.up();
    let up: Vec<&str> = up.iter().map(|w| if w == "none" { "files" } else { w }).collect();
    let run = cloud.through(&proxy, &up);
    assert_eq!(run.code(), Some(2), "{}", run.err);
    assert!(run.err.contains("it holds thesis.txt"), "{}", run.err);
    assert_eq!(proxy.changes(), [""; 0]);
}

#[test]
fn a_stack_that_somebody_made_since_the_look_is_looked_at_again() {
    let cloud = Arc::new(Cloud::new());
    let before = cloud.dump();
    let (other, vpc) = (cloud.clone(), cloud.id("cloud_vpc"));
    // What another run made before it died, but for its lock.
    let tag = |key: &str, value: &str| serde_json::json!({ "Key": key, "Value": value });
    let record = serde_json::json!({
        "GroupName": format!("cgw-{vpc}"), "VpcId": vpc, "Description": "record",
        "TagSpecifications": [{ "ResourceType": "security-group", "Tags": [
            tag("cgw:stack", &vpc), tag("cgw:node", "stack-record"),
            tag("cgw:declared:workload-ports", "443"),
        ]}],
    });
    let proxy = Proxy::new(&endpoint(), Weather::Fair, move |_, number| {
        if number == 1 {
            other.stranger("create_security_group", &record);
        }
        Fate::Pass
    });
    let run = cloud.through(&proxy, &words(&cloud.up()));
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("somebody made the stack just now"), "{}", run.err);
    let (make, remove) = ("CreateSecurityGroup", "DeleteSecurityGroup");
    assert_eq!(proxy.changes(), [make, make, remove], "the lock, the record in vain, the lock");
    let again = cloud.cgw(&words(&cloud.up())).ok();
    assert!(!again.err.contains("meanwhile something changed"), "{}", again.err);
    let record = cloud.dump();
    assert!(record.contains("cgw:declared:workload-ports"), "what they declared stays");
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn down_takes_away_what_another_run_made_since_the_look() {
    let cloud = Arc::new(Cloud::new());
    let before = cloud.dump();
    cloud.cgw(&words(&cloud.up())).ok();
    let other = cloud.clone();
    let tag = |key: &str, value: &str| serde_json::json!({ "Key": key, "Value": value });
    let address = serde_json::json!({ "Domain": "vpc", "TagSpecifications": [{
        "ResourceType": "elastic-ip",
        "Tags": [tag("cgw:stack", &cloud.id("cloud_vpc")), tag("cgw:node", "elastic-ip")],
    }]});
    // The first change is the lock.
    let proxy = Proxy::new(&endpoint(), Weather::Fair, move |_, number| {
        if number == 1 {
            other.stranger("allocate_address", &address);
        }
        Fate::Pass
    });
    let run = cloud.through(&proxy, &words(&cloud.down())).ok();
    assert!(run.err.contains("meanwhile something changed"), "{}", run.err);
    let changes = proxy.changes();
    let all =
        |of: &str| -> Vec<usize> { (0..changes.len()).filter(|n| changes[*n] == of).collect() };
    let (releases, deletions) = (all("ReleaseAddress"), all("DeleteSecurityGroup"));
    assert_eq!(releases.len(), 2, "{changes:?}");
    // The last two groups that go are the record and the lock.
    assert!(deletions[deletions.len() - 2] > releases[1], "the record goes last: {changes:?}");
    assert_eq!(cloud.dump(), before);
}

#[test]
fn two_at_once_make_nothing_twice() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    let up = cloud.up();
    let start = || {
        let mut command = cloud.command(&endpoint(), &words(&up));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let (first, second) = (start(), start());
    for child in [first, second] {
        let output = child.wait_with_output().unwrap();
        let code = output.status.code();
        // One works; the other waits and then has nothing to do, or says who holds the lock.
        assert!(matches!(code, Some(0 | 4)), "{}", String::from_utf8_lossy(&output.stderr));
    }
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn the_lock_of_a_living_process_is_respected() {
    let cloud = Cloud::new();
    // Holds the lock while AWS is slow.
    cloud.control("settle", serde_json::json!({ "seconds": 8 }));
    let up = cloud.up();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let proxy = Proxy::new(&endpoint(), Weather::Fair, move |_, number| {
        if number == 1 {
            tell.lock().unwrap().send(()).unwrap();
        }
        Fate::Pass
    });
    let mut holder = cloud.command(proxy.url(), &words(&up)).spawn().unwrap();
    // Its first change is the lock.
    told.recv().unwrap();
    let locked = cloud.cgw(&[&words(&up)[..], &["--lock-timeout", "0"]].concat());
    assert_eq!(locked.code(), Some(4), "{}", locked.err);
    assert!(locked.err.contains("is locked by process"), "{}", locked.err);
    cloud.control("settle", serde_json::json!({ "seconds": 0 }));
    assert!(holder.wait().unwrap().success());
}

#[test]
fn a_group_that_only_has_the_name_of_the_lock_is_never_taken_over() {
    let cloud = Cloud::new();
    let up = cloud.up();
    cloud.cgw(&words(&up)).ok();
    let vpc = cloud.id("cloud_vpc");
    let theirs = serde_json::json!({
        "GroupName": format!("cgw-{vpc}-lock"), "VpcId": vpc, "Description": "theirs",
    });
    cloud.stranger("create_security_group", &theirs);
    let before = cloud.dump();
    let forced = |flags: &[String]| cloud.cgw(&[&words(flags)[..], &["--force-unlock"]].concat());
    let down = forced(&cloud.down());
    assert_eq!(down.code(), Some(2), "{}", down.err);
    assert!(down.err.contains("has the name of a lock, and is none"), "{}", down.err);
    let again = forced(&up);
    assert_eq!(again.code(), Some(2), "{}", again.err);
    assert!(again.err.contains(&format!("is named cgw-{vpc}-lock")), "{}", again.err);
    assert_eq!(cloud.dump(), before);
}

#[test]
fn an_interrupted_run_ends_what_it_began_and_lets_go_of_the_lock() {
    let cloud = Cloud::new();
    let before = cloud.dump();
    cloud.control("settle", serde_json::json!({ "seconds": 8 }));
    // AWS is still working on the gateway then.
    let run = cloud.interrupted_at("AttachVpnGateway", &words(&cloud.up()));
    assert_eq!(run.code(), Some(130), "{}", run.err);
    assert!(run.err.contains("finishing what is in flight"), "{}", run.err);
    assert!(run.err.contains("run the same command to go on"), "{}", run.err);
    cloud.control("settle", serde_json::json!({ "seconds": 0 }));
    // Nobody holds the lock: nothing is taken over.
    let again = cloud.cgw(&words(&cloud.up())).ok();
    assert!(!again.err.contains("the lock of"), "{}", again.err);
    cloud.assert_whole();
    cloud.cgw(&words(&cloud.down())).ok();
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_site_in_another_account_is_asked_for_with_its_flag() {
    let (cloud, site) = (Cloud::new(), Cloud::new());
    let before = (cloud.dump(), site.dump());
    let folder = cloud.home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    let key = |name: &str, account: &str| {
        format!("[{name}]\naws_access_key_id = {account}\naws_secret_access_key = any\n")
    };
    std::fs::write(folder.join("credentials"), key("keys", &site.account)).unwrap();
    let role = format!("role_arn = arn:aws:iam::{}:role/network", site.account);
    let profile = format!("[profile site]\nsource_profile = keys\n{role}\n");
    std::fs::write(folder.join("config"), profile).unwrap();
    // The role is taken on at the same endpoint.
    let cgw = |arguments: &[&str]| {
        let mut command = cloud.command(&endpoint(), arguments);
        Run::from(command.env("AWS_ENDPOINT_URL", endpoint()).output().unwrap())
    };
    let (vpc, instance) = (cloud.id("cloud_vpc"), site.id("instance"));
    let at_site = ["--site-profile", "site", "--site-cidr", "172.31.0.0/16"];
    let up = ["up", "--yes", "--via", "none", "--vpc", &vpc, "--instance", &instance];
    cgw(&[&up[..], &at_site].concat()).ok();
    let refused = cloud.cgw(&["down", "--yes", "--stack", &vpc]);
    assert_eq!(refused.code(), Some(2), "{}", refused.err);
    let sentence = format!("the stack's server is in account {}", site.account);
    assert!(refused.err.contains(&sentence), "{}", refused.err);
    assert!(refused.err.contains("--site-profile"), "{}", refused.err);
    cgw(&["down", "--yes", "--consistency", "0", "--stack", &vpc, "--site-profile", "site"]).ok();
    assert_eq!((cloud.dump(), site.dump()), before);
}

#[test]
fn a_stack_stays_with_its_vpc() {
    let cloud = Cloud::new();
    cloud.cgw(&words(&cloud.up())).ok();
    let (stack, site_vpc) = (cloud.id("cloud_vpc"), cloud.id("site_vpc"));
    for command in ["up", "down"] {
        let refused = cloud.cgw(&[command, "--yes", "--stack", &stack, "--vpc", &site_vpc]);
        assert_eq!(refused.code(), Some(2), "{command}: {}", refused.err);
        assert!(refused.err.contains("is of vpc-"), "{command}: {}", refused.err);
    }
}

#[test]
fn what_was_declared_is_kept_until_it_is_unset() {
    let cloud = Cloud::new();
    cloud.cgw(&[&words(&cloud.up())[..], &["--workload-ports", "443"]].concat()).ok();
    let same = cloud.cgw(&words(&cloud.up())).ok();
    assert!(same.out.contains("nothing to change"), "{}", same.out);
    let unset = ["--unset", "workload-ports", "--dry-run"];
    let plan = cloud.cgw(&[&words(&cloud.up())[..], &unset].concat()).ok();
    assert!(plan.out.contains("tcp 443 in from 172.31.0.0/16 → "), "{}", plan.out);
    assert!(plan.out.contains("tcp 3389 in from 172.31.0.0/16"), "{}", plan.out);
}
