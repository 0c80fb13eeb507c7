//! `init`: what is proposed of a world, by value, and what is written, in a sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cgw::aws::{NODE, STACK};
use cgw::cli::Code;
use cgw::playbook::Own;
use cgw::preflight::Request;
use cgw::preflight::propose::{self, Answer, Proposal, Question};
use cgw::sandbox::Manners;
use cgw::spec::{Declared, File, Via, schema};
use cgw::world::{Direction, GroupRule, Rule, World};
use serde_json::Value;
use tempfile::TempDir;

use crate::model::{base, declared, here, id, net, place, stack, tags};
use crate::sandbox::{Field, Run, simulated};

/// A world, and what is said of it.
struct Case {
    world: World,
    said: Declared,
    is_managed: bool,
}

impl Case {
    fn of(said: Declared, change: impl FnOnce(&mut World)) -> Self {
        let mut world = base();
        change(&mut world);
        Self { world, said, is_managed: false }
    }

    fn asked<T>(&self, of: impl FnOnce(&Request<'_>) -> T) -> T {
        of(&Request {
            stack: &stack(),
            declared: &self.said,
            world: &self.world,
            cloud: &place(),
            site: &place(),
            operator: None,
            quota_raised: true,
            is_managed: self.is_managed,
            own: &Own::default(),
        })
    }

    /// Every question that is open.
    fn open(&self) -> Vec<Question> {
        let topics = [&[propose::VPC], propose::TOPICS].concat();
        topics.into_iter().filter_map(|topic| self.asked(topic)).collect()
    }

    fn proposal(&self, about: &str) -> Proposal {
        let found = self.open().into_iter().find_map(|question| match question {
            Question::Choose(proposal) if proposal.about.contains(about) => Some(proposal),
            Question::Choose(_) | Question::Fill { .. } => None,
        });
        found.expect(about)
    }

    fn is_proposed(&self, about: &str) -> Answer {
        let proposal = self.proposal(about);
        proposal.answers[proposal.proposed.expect(about)].clone()
    }
}

fn nothing() -> Declared {
    Declared::default()
}

#[test]
fn the_vpc_without_a_server_and_with_a_private_table_is_proposed() {
    let case = Case::of(nothing(), |_| {});
    let answer = case.is_proposed("the VPC that");
    assert_eq!(answer.says.vpc, declared().vpc);
    assert!(answer.because.contains("the only such VPC"), "{answer:?}");
    let all = case.proposal("the VPC that");
    assert!(all.answers[1].because.contains("more likely the site"), "{all:#?}");
}

#[test]
fn of_two_vpcs_that_fit_none_is_proposed_and_one_that_cannot_be_says_why() {
    let case = Case::of(nothing(), |world| {
        let region = here(world);
        let mut second = region.vpcs[0].clone();
        second.id = id("vpc-00000009");
        region.vpcs.push(second);
        let mut table = region.route_tables[0].clone();
        (table.id, table.vpc) = (id("rtb-00000009"), id("vpc-00000009"));
        region.route_tables.push(table);
        region.transit.insert(id("vpc-00000002"), id("tgw-1"));
    });
    let proposal = case.proposal("the VPC that");
    assert_eq!(proposal.proposed, None, "{proposal:#?}");
    assert_eq!(proposal.answers.len(), 2);
    assert!(proposal.unfit[0].text.contains("tgw-1"), "{proposal:#?}");
}

#[test]
fn a_server_is_proposed_where_just_one_fits() {
    let vpc = || Declared { vpc: declared().vpc, ..nothing() };
    let both = Case::of(vpc(), |_| {}).proposal("Windows Server");
    assert_eq!((both.proposed, both.answers.len()), (None, 4), "two, an own one, a new one");
    let one = Case::of(vpc(), |world| here(world).instances[1].state = "stopped".to_owned());
    assert_eq!(one.is_proposed("Windows Server").says.instance, declared().instance);
    let why = &one.proposal("Windows Server").unfit[0].text;
    assert!(why.contains("(spare) is stopped"), "{why}");
}

#[test]
fn a_server_whose_network_overlaps_cannot_be() {
    let said = Declared { vpc: declared().vpc, ..nothing() };
    let case = Case::of(said, |world| here(world).vpcs[1].cidrs = vec![net("10.0.0.0/8")]);
    let proposal = case.proposal("Windows Server");
    assert_eq!((proposal.proposed, proposal.unfit.len()), (None, 2), "{proposal:#?}");
    assert!(proposal.unfit[0].text.contains("overlaps"), "{proposal:#?}");
}

#[test]
fn of_several_networks_one_that_overlaps_nothing_is_proposed() {
    let case = Case::of(declared(), |world| {
        here(world).vpcs[0].cidrs = vec![net("10.0.0.0/16"), net("10.1.0.0/16")];
    });
    let proposal = case.proposal("the VPC's network");
    let labels: Vec<&str> = proposal.answers.iter().map(|a| a.label.as_str()).collect();
    assert_eq!(labels, ["10.0.0.0/16", "10.1.0.0/16", "10.0.0.0/15"]);
    let case = Case::of(declared(), |world| {
        here(world).vpcs[1].cidrs = vec![net("192.168.7.0/24"), net("172.31.0.0/16")];
    });
    let unfit = case.proposal("the network behind").unfit;
    assert!(unfit[0].text.contains("lies outside the site's network"), "{unfit:#?}");
    let vpc = Case { said: Declared { vpc: declared().vpc, ..nothing() }, ..case };
    assert_eq!(vpc.proposal("Windows Server").unfit, [], "a server has one network that fits");
    let case = Case { said: declared(), ..vpc };
    let answer = case.is_proposed("the network behind");
    assert_eq!(answer.says.site_cidr, Some("172.31.0.0/16".parse().unwrap()), "{answer:?}");
}

#[test]
fn where_every_table_leads_to_the_internet_a_free_subnet_is_proposed() {
    let case = Case::of(declared(), |world| {
        let region = here(world);
        let out = region.route_tables[1].routes[1].clone();
        region.route_tables[0].routes.push(out);
        region.subnets[0].cidr = net("10.0.0.0/23");
    });
    let answer = case.is_proposed("what in the VPC");
    assert_eq!(answer.says.subnet_cidr, Some("10.0.2.0/24".parse().unwrap()));
    assert_eq!(case.proposal("what in the VPC").answers.len(), 2, "or the table itself");
}

#[test]
fn the_way_is_systems_manager_where_it_reaches_the_server() {
    let mut case = Case::of(declared(), |_| {});
    assert_eq!(case.is_proposed("how the scripts").says.via, Some(Via::Winrm));
    case.is_managed = true;
    assert_eq!(case.is_proposed("how the scripts").says.via, Some(Via::Ssm));
    case.said.via = Some(Via::None);
    let asked = |about: &str| {
        let is_it = |q: &Question| matches!(q, Question::Choose(p) if p.about.contains(about));
        case.open().iter().any(is_it)
    };
    assert!(!asked("how the scripts") && !asked("pings"));
}

#[test]
fn only_a_host_that_a_ping_from_the_site_gets_to_is_proposed() {
    let with_host = |world: &mut World| {
        let region = here(world);
        let mut host = region.instances[0].clone();
        (host.id, host.vpc) = (id("i-00000009"), Some(id("vpc-00000001")));
        host.is_windows = false;
        region.instances.push(host);
        let mut interface = region.interfaces[0].clone();
        interface.vpc = id("vpc-00000001");
        interface.instance = Some(id("i-00000009"));
        interface.private_ip = "10.0.1.9".parse().ok();
        interface.groups = [id("sg-host")].into();
        region.interfaces.push(interface);
    };
    let case = Case::of(declared(), with_host);
    assert_eq!(case.is_proposed("pings").says, nothing());
    let kept_out = &case.proposal("pings").answers[0];
    assert!(kept_out.because.contains("no security group"), "{kept_out:?}");
    let case = Case::of(declared(), |world| {
        with_host(world);
        let (direction, cidr) = (Direction::In, net("172.16.0.0/12"));
        let rule = Rule { direction, protocol: "icmp".to_owned(), ports: Some((-1, -1)), cidr };
        here(world).rules.push(GroupRule {
            id: id("sgr-1"),
            group: id("sg-host"),
            rule: Some(rule),
            referenced: None,
            tags: tags(&[]),
        });
    });
    assert_eq!(case.is_proposed("pings").says.ping, "10.0.1.9".parse().ok());
}

#[test]
fn an_own_server_and_a_new_one_are_asked_for_what_only_a_person_knows() {
    let fills = |said: Declared| -> Vec<&str> {
        let questions = Case::of(said, |_| {}).open();
        let flag = |question: &Question| match question {
            Question::Fill { flag, .. } => Some(*flag),
            Question::Choose(_) => None,
        };
        questions.iter().filter_map(flag).collect()
    };
    let vpc = || Declared { vpc: declared().vpc, ..nothing() };
    assert_eq!(fills(vpc()), ["gateway-ip", "private-ip", "site-cidr"]);
    assert_eq!(fills(declared()), [""; 0]);
    let launch = Declared { launch: Some("t3.large".to_owned()), ..vpc() };
    assert_eq!(fills(launch.clone()), ["key-pair", "admin-cidr"]);
    let subnet = Case::of(launch, |_| {}).is_proposed("subnet of the new");
    assert_eq!(subnet.says.launch_subnet, "subnet-00000002".parse().ok());
}

#[test]
fn a_vpc_gives_its_name_to_its_stack() {
    let named = |name: &str| {
        let case = Case::of(declared(), |world| {
            here(world).vpcs[0].tags = tags(&[("Name", name)]);
        });
        case.asked(propose::name).unwrap()
    };
    assert_eq!(named("Büro (Nord)"), "b-ro-nord");
    assert_eq!(named(" "), "vpc-00000001");
    for name in ["--", "A", &"x-".repeat(60), "日本"] {
        assert!(named(name).parse::<cgw::address::Stack>().is_ok(), "{name}");
    }
}

/// A sandbox, and a folder for the file.
struct Desk {
    field: Field,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { field: Field::new(1, Manners::default()), folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("cgw.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    async fn cgw(&self, words: &[&str]) -> Run {
        let file = self.file();
        self.field.cgw(&[words, &["--config", file.to_str().unwrap()]].concat()).await
    }
}

#[test]
fn what_is_proposed_is_written_with_its_reasons_and_can_be_made() {
    simulated(async {
        let desk = Desk::new();
        let before = desk.field.sandbox.objects().unwrap();
        let run = desk.cgw(&["init", "--yes"]).await.ok();
        assert!(
            run.said.contains("the Windows Server that is to be the gateway: i-"),
            "{}",
            run.said
        );
        assert_eq!(desk.field.sandbox.objects().unwrap(), before, "it only looks");
        let text = desk.text();
        let file = File::parse(&desk.file(), &text).unwrap();
        let [table] = file.stacks.as_slice() else { panic!("{text}") };
        assert_eq!(table.name.as_str(), "cloud");
        let declared = &table.declared;
        assert_eq!(declared.vpc, desk.field.seed.cloud_vpc.parse().ok());
        assert_eq!(declared.instance, desk.field.seed.instance.parse().ok());
        assert_eq!(declared.region.as_deref(), Some("eu-west-1"));
        assert!(text.starts_with("#:schema ./cgw.schema.json\n"), "{text}");
        assert!(text.contains("# Here: the only one that fits"), "{text}");
        assert!(text.contains("#crypto = \"modern\""), "{text}");
        desk.cgw(&["up", "--yes"]).await.ok();
        assert_eq!(desk.field.sandbox.alarms().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_file_that_is_there_is_not_overwritten_and_grows_only_when_told() {
    simulated(async {
        let desk = Desk::new();
        desk.cgw(&["init", "--yes"]).await.ok();
        let first = desk.text();
        let refused = desk.cgw(&["init", "--yes"]).await;
        assert_eq!(refused.code, Code::Refused);
        assert!(refused.said.contains("--add"), "{}", refused.said);
        let same_name = desk.cgw(&["init", "--yes", "--add"]).await;
        assert_eq!(same_name.code, Code::Refused);
        assert!(same_name.said.contains("the file declares cloud already"), "{}", same_name.said);
        let shown = desk.cgw(&["init", "--yes", "--add", "--dry-run", "--stack", "b"]).await.ok();
        assert!(shown.said.contains("name = \"b\""), "{}", shown.said);
        assert_eq!(desk.text(), first);
        desk.cgw(&["init", "--yes", "--add", "--stack", "b", "--crypto", "strong"]).await.ok();
        let second = desk.text();
        assert!(second.starts_with(&first), "{second}");
        let file = File::parse(&desk.file(), &second).unwrap();
        let names: Vec<&str> = file.stacks.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["cloud", "b"]);
        // An array that stands in one line takes no [[stack]] after it.
        fs::write(desk.file(), "stack = [{ name = \"a\" }]\n").unwrap();
        let refused = desk.cgw(&["init", "--yes", "--add", "--stack", "b"]).await;
        assert_eq!(refused.code, Code::Refused, "{}", refused.said);
        assert_eq!(desk.text(), "stack = [{ name = \"a\" }]\n");
    });
}

#[test]
fn what_up_would_refuse_is_not_written() {
    simulated(async {
        let desk = Desk::new();
        for (words, reason) in [
            (&["--ping", "192.0.2.1"][..], "192.0.2.1 is not in the VPC's network"),
            (&["--instance", "i-0a1b2c3d"], "does not exist in"),
            (&["--gateway-ip", "203.0.113.7"], "the server's private address is not given"),
            (&["--vpc", &desk.field.seed.site_vpc], "not settled"),
        ] {
            let run = desk.cgw(&[&["init", "--yes"], words].concat()).await;
            assert_eq!(run.code, Code::Refused, "{words:?}: {}", run.said);
            assert!(run.said.contains(reason), "{words:?}: {}", run.said);
            assert!(!desk.file().exists(), "{words:?}");
        }
    });
}

#[test]
fn a_stack_that_is_there_is_written_as_its_record_says() {
    simulated(async {
        let desk = Desk::new();
        let (vpc, instance) = (&desk.field.seed.cloud_vpc, &desk.field.seed.instance);
        let words = ["--stack", "office", "--vpc", vpc, "--instance", instance, "--via", "none"];
        let up = [&["up", "--yes", "--crypto", "strict"], &words[..]].concat();
        desk.field.cgw(&up).await.ok();
        cgw::time::sleep(std::time::Duration::from_secs(30)).await;
        let run = desk.cgw(&["init", "--yes", "--json", "--vpc", vpc]).await.ok();
        let lines = run.said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let written = lines.filter(|line| line["event"] == "written").collect::<Vec<_>>();
        assert_eq!(written[0]["written"]["stack"], "office", "{}", run.said);
        let text = desk.text();
        assert!(text.contains("crypto = \"strict\"\n"), "{text}");
        assert!(text.contains("# Here: as the stack's record says"), "{text}");
        let plan = desk.cgw(&["plan", "--detailed-exitcode"]).await.ok();
        assert!(plan.said.contains("nothing to change"), "{}", plan.said);
    });
}

#[test]
fn a_schema_of_somebody_else_is_left() {
    simulated(async {
        let desk = Desk::new();
        let beside = desk.folder.path().join("cgw.schema.json");
        fs::write(&beside, "{}").unwrap();
        let run = desk.cgw(&["init", "--yes"]).await.ok();
        assert!(run.said.contains("is not cgw's"), "{}", run.said);
        assert_eq!(fs::read_to_string(&beside).unwrap(), "{}");
        // An older one of its own is renewed.
        let old = schema().to_string().replace("\"title\":", "\"old\": 1, \"title\": ");
        fs::write(&beside, old).unwrap();
        desk.cgw(&["init", "--yes", "--add", "--stack", "b"]).await.ok();
        let now: Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
        assert_eq!(now, schema());
    });
}

/// Asks a validator of JSON schemas of each text, as an editor does.
const FITS: &str = "
import json, sys, tomllib
from jsonschema import Draft7Validator
asked = json.load(sys.stdin)
Draft7Validator.check_schema(asked['schema'])
fits = Draft7Validator(asked['schema']).is_valid
print(json.dumps([fits(tomllib.loads(text)) for text in asked['texts']]))
";

fn fit(texts: &[String]) -> Vec<bool> {
    let python = std::env::var("CGW_PYTHON").expect("tests/run names a Python with jsonschema");
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked.json");
    fs::write(&asked, serde_json::json!({ "schema": schema(), "texts": texts }).to_string())
        .unwrap();
    let stdin = fs::File::open(asked).unwrap();
    let run = Command::new(python).args(["-c", FITS]).stdin(stdin).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn the_schema_takes_what_cgw_takes_and_refuses_what_it_refuses() {
    let lines = [
        "vpc = \"vpc-0a1b2c3d\"",
        "vpc = \"vpc-0a1b2c3d4e5f60001\"",
        "vpc = \"vpc-0a1b2c3d4\"",
        "vpc = \"subnet-0a1b2c3d\"",
        "vpc = 1",
        "vpcs = \"vpc-0a1b2c3d\"",
        "instance = \"i-0A1B2C3D\"",
        "eip = \"eipalloc-0a1b2c3d\"",
        "launch-subnet = \"subnet-0a1b2c3d\"",
        "site-cidr = \"10.0.0.0/8\"",
        "site-cidr = \"10.0.0.0/33\"",
        "site-cidr = \"10.0.0.256/32\"",
        "site-cidr = \"10.0.0.0\"",
        "admin-cidr = [\"10.0.0.0/8\", \"192.0.2.0/24\"]",
        "admin-cidr = \"10.0.0.0/8\"",
        "admin-cidr = []",
        "gateway-ip = \"203.0.113.10\"",
        "port = 22",
        "port = 0",
        "port = 65536",
        "port = \"22\"",
        "workload-ports = [22, 65535]",
        "workload-ports = [0]",
        "minimal-roles = true",
        "minimal-roles = \"true\"",
        "crypto = \"strong\"",
        "crypto = \"weak\"",
        "via = \"winrm-http\"",
        "via = \"telnet\"",
        "site-route-tables = \"all\"",
        "site-route-tables = \"some\"",
        "site-route-tables = [\"rtb-0a1b2c3d\"]",
        "route-tables = [\"rtb-0a1b2c3d\", \"tgw-0a1b2c3d\"]",
        "endpoint-url = \"http://127.0.0.1:4566\"",
        "endpoint-url = \"ftp://127.0.0.1\"",
        "endpoint-url = \"https://\"",
        "host-key = \"SHA256:tbw/hJZOwwUzqpglsHPZPjqlDs2DKFAHuEC272Fc/RA\"",
        "host-key = \"SHA256:tbw/hJZOwwUzqpglsHPZPjqlDs2DKFAHuEC272Fc/RB\"",
        "host-key = \"MD5:00\"",
        "identity = \"/home/me/key\"",
    ];
    let mut texts: Vec<String> =
        lines.iter().map(|line| format!("[[stack]]\nname = \"a\"\n{line}\n")).collect();
    texts.extend(["", "[[stack]]\n", "[stack]\nname = \"a\"\n", "stacks = 1\n"].map(str::to_owned));
    texts.extend(
        ["A", "-a", "", &"a".repeat(48), &"a".repeat(49)]
            .map(|name| format!("[[stack]]\nname = \"{name}\"\n")),
    );
    let read = |text: &String| File::parse(Path::new("cgw.toml"), text).is_ok();
    let read: Vec<(&String, bool)> = texts.iter().map(|text| (text, read(text))).collect();
    let fit: Vec<(&String, bool)> = texts.iter().zip(fit(&texts)).collect();
    assert_eq!(fit, read);
}

#[test]
fn every_file_that_is_shown_and_every_one_that_is_written_fits_the_schema() {
    let topic = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/topics/config.md");
    let topic = fs::read_to_string(topic).unwrap();
    let blocks = topic.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut texts: Vec<String> = blocks.map(str::to_owned).collect();
    assert!(!texts.is_empty(), "the topic shows a file");
    simulated(async {
        let desk = Desk::new();
        desk.cgw(&["init", "--yes", "--site-route-tables", "none"]).await.ok();
        texts.push(desk.text());
    });
    for text in &texts {
        assert!(!File::parse(Path::new("cgw.toml"), text).unwrap().stacks.is_empty(), "{text}");
    }
    assert_eq!(fit(&texts), vec![true; texts.len()], "{texts:#?}");
}

#[test]
fn the_vpc_of_another_stack_is_known_by_its_record() {
    let case = Case::of(declared(), |world| {
        let mut record = here(world).groups[0].clone();
        record.vpc = id("vpc-00000001");
        record.tags = tags(&[(STACK, "branch"), (NODE, "stack-record")]);
        here(world).groups.push(record);
    });
    assert_eq!(case.asked(propose::recorded), ["branch"]);
}
