//! The documents say what is true: what they show runs, and what they name is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use cgw::cli::{Cli, Code, Outside, run_in};
use cgw::interrupt::Keyboard;
use cgw::resource::NAMES;
use cgw::sandbox::{Manners, Sandbox, Seed};
use cgw::spec::File;
use cgw::{time, ui};
use clap::{Command, CommandFactory as _, Parser as _};
use tempfile::TempDir;

use crate::sandbox::{Run, simulated};

const TOPICS: &str = "src/cli/topics";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every document for people, by its path.
fn documents() -> BTreeMap<String, String> {
    let topics = fs::read_dir(root().join(TOPICS)).unwrap().flatten();
    let topics = topics.map(|file| format!("{TOPICS}/{}", file.file_name().to_str().unwrap()));
    let others = ["README.md", "README.ja.md", ".github/CONTRIBUTING.md"].map(str::to_owned);
    topics.chain(others).map(|path| (path.clone(), read(path))).collect()
}

/// A fenced block: its language and its lines.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    language: String,
    lines: Vec<String>,
}

/// Parts a document into its fenced blocks and the text between them.
fn parts(text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut rest, mut open) = (Vec::new(), String::new(), None::<Block>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let language = language.to_owned();
                open = Some(Block { language, lines: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {
                rest.push_str(line);
                rest.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block has no end");
    (blocks, rest)
}

impl Block {
    /// The commands of a shell in it, each with what is shown to come of it.
    fn commands(&self) -> Vec<(String, String)> {
        let text = self.lines.join("\n").replace("\\\n", " ");
        let mut commands: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            let command = match self.language.as_str() {
                "sh" => Some(line),
                "console" => line.strip_prefix("$ "),
                _ => return Vec::new(),
            };
            match (command, commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, shown))) => {
                    shown.push_str(line);
                    shown.push('\n');
                }
                (None, None) => {}
            }
        }
        commands
    }
}

/// The words of a command, without what a shell would leave out.
fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().take_while(|word| !word.starts_with('#')).collect()
}

/// What stands between backquotes, on one line.
fn spans(text: &str) -> Vec<String> {
    let inside = text.split('`').skip(1).step_by(2);
    inside.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// All that a document names in the way of code: spans, and the commands of its blocks.
fn code(text: &str) -> Vec<String> {
    let (blocks, rest) = parts(text);
    let commands = blocks.iter().flat_map(Block::commands).map(|(command, _)| command);
    spans(&rest).into_iter().chain(commands).collect()
}

/// A sandbox in which an example runs.
struct Scene {
    sandbox: Sandbox,
    /// Of the VPCs that the documents name.
    seeds: Vec<Seed>,
    folder: TempDir,
}

impl Scene {
    /// The sandbox that somebody new begins with.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::open(&folder.path().join("cgw-sandbox"), 1.0).unwrap();
        let seeds = vec![sandbox.seeded().unwrap().unwrap()];
        Self { sandbox, seeds, folder }
    }

    /// One with two VPNs to make, which a file declares.
    fn declared() -> Self {
        let sandbox = Sandbox::new(1, Manners::default());
        let seeds = sandbox.seed_many(2);
        let table = |(name, seed): (&str, &Seed)| {
            let Seed { cloud_vpc, instance, ping, .. } = seed;
            format!(
                "[[stack]]\nname = {name:?}\nvpc = {cloud_vpc:?}\ninstance = {instance:?}\nping = {ping:?}\n"
            )
        };
        let text: String = ["office", "branch"].into_iter().zip(&seeds).map(table).collect();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgw.toml"), text).unwrap();
        Self { sandbox, seeds, folder }
    }

    /// What is really there in place of what the documents name.
    fn real(&self, word: &str) -> String {
        let seed = &self.seeds[0];
        match word {
            "vpc-0a1b2c3d4e5f60001" => seed.cloud_vpc.clone(),
            "i-0a1b2c3d4e5f60002" => seed.instance.clone(),
            "10.0.1.10" => seed.ping.clone(),
            "subnet-0a1b2c3d4e5f60007" => {
                let form = format!("Filter.1.Name=vpc-id&Filter.1.Value.1={}", seed.site_vpc);
                let path = ["subnetSet", "subnetId"];
                self.sandbox.by_hand("DescribeSubnets", &form, &path).unwrap().remove(0)
            }
            other => other.to_owned(),
        }
    }

    /// Runs a command as a person who says yes to all, the server that is found included.
    async fn run(&self, command: &str) -> Run {
        let words = words(command);
        let mut real: Vec<String> = words.iter().map(|word| self.real(word)).collect();
        let (_, flags) = command_of(&words).expect("it is one of cgw's");
        if flags.contains("yes") {
            real.push("--yes".to_owned());
        }
        let is_named =
            ["--instance", "--gateway-ip", "--launch"].iter().any(|flag| words.contains(flag));
        if words.starts_with(&["cgw", "up", "--vpc"]) && !is_named {
            real.extend(["--instance".to_owned(), self.seeds[0].instance.clone()]);
        }
        let file = self.folder.path().join("cgw.toml");
        if flags.contains("config") && file.exists() {
            real.extend(["--config".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        let cli = Cli::try_parse_from(&real).expect(command);
        let outside = Outside::sandboxed(self.sandbox.clone(), 1, Keyboard::default());
        let code = Box::pin(run_in(&outside, cli.command)).await;
        let run = Run { code, said: ui::heard() };
        // Nobody types faster, and until then a read may lag behind.
        time::sleep(Duration::from_secs(30)).await;
        run
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Where the scripts are left for a person is named after the stack.
        for Seed { cloud_vpc, .. } in &self.seeds {
            drop(fs::remove_dir_all(format!("cgw-{cloud_vpc}")));
        }
    }
}

/// The command that the words name, and the names of all flags that it takes; `None` if it is none of
/// cgw's.
fn command_of(words: &[&str]) -> Option<(Command, BTreeSet<String>)> {
    let (name, words) = words.split_first()?;
    let mut command = Cli::command();
    command.build();
    if *name != "cgw" {
        command = command.find_subcommand(name)?.clone();
    }
    for word in words {
        let Some(sub) = command.find_subcommand(word) else { break };
        command = sub.clone();
    }
    let flags = command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned);
    let flags = flags.collect();
    Some((command, flags))
}

/// Runs the examples of a document: each block in a sandbox of its own, with a VPN in it unless the
/// block is about making one.
fn runs(document: &str) -> usize {
    let (blocks, _) = parts(&read(document));
    let mut count = 0;
    for block in blocks {
        let commands = block.commands();
        let mut ours =
            commands.iter().filter(|(command, _)| command.starts_with("cgw ")).peekable();
        let Some((first, _)) = ours.peek() else { continue };
        let is_begun = ["--vpc", "--sandbox", "iam-policy", "completions", "man", "help"];
        let is_begun = is_begun.iter().any(|word| first.contains(word));
        let is_declared = ["--all", "--only"].iter().any(|word| first.contains(word));
        simulated(async {
            let scene = if is_declared { Scene::declared() } else { Scene::new() };
            if !is_begun && !is_declared {
                scene.run("cgw up").await.ok();
            }
            for (command, shown) in ours {
                let run = scene.run(command).await;
                assert_eq!(run.code, Code::Done, "{document}: {command}\n{}", run.said);
                is_shown(shown, &run.said);
                count += 1;
            }
            assert_eq!(scene.sandbox.alarms().unwrap(), Vec::<String>::new(), "{document}");
        });
    }
    count
}

/// Asserts that all that is shown was said in this order; `…` stands for what is left out.
fn is_shown(shown: &str, said: &str) {
    let said = format!("\n{said}");
    let mut rest = said.as_str();
    for piece in shown.split('…').filter(|piece| !piece.trim().is_empty()) {
        let found = rest.split_once(piece);
        assert!(found.is_some(), "{piece:?} was not said after what comes before it in\n{said}");
        rest = found.unwrap().1;
    }
}

#[test]
fn the_examples_of_the_readme_run_and_say_what_it_shows() {
    assert!(runs("README.md") >= 9);
}

#[test]
fn the_examples_of_the_topics_run() {
    let count = |topic: &str| runs(&format!("{TOPICS}/{topic}.md"));
    assert!(count("start") >= 5);
    for topic in ["stacks", "rotation", "troubleshooting"] {
        assert!(count(topic) >= 2, "{topic}");
    }
    let (blocks, _) = parts(&read(format!("{TOPICS}/config.md")));
    let file = File::parse(Path::new("cgw.toml"), &blocks[0].lines.join("\n")).unwrap();
    assert_eq!(file.stacks.len(), 2);
    let run_above = ["start", "stacks", "rotation", "troubleshooting"];
    for (path, text) in documents() {
        let ours =
            parts(&text).0.iter().flat_map(Block::commands).any(|(c, _)| c.starts_with("cgw "));
        let name = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        assert!(!ours || name.starts_with("README") || run_above.contains(&name), "{path}");
    }
}

#[test]
fn what_is_said_in_another_order_is_not_what_was_shown() {
    is_shown("a …\n…\nc\n", "a b\nb\nc\n");
    for shown in ["…\nc\n…\na", "a c", "c\nd"] {
        assert!(std::panic::catch_unwind(|| is_shown(shown, "a b\nb\nc\n")).is_err(), "{shown}");
    }
}

#[test]
fn every_command_and_flag_that_a_document_names_exists() {
    let all = Cli::command();
    let any = |flag: &str| {
        let has =
            |command: &Command| command.get_arguments().any(|arg| arg.get_long() == Some(flag));
        has(&all) || all.get_subcommands().any(|sub| has(sub) || sub.get_subcommands().any(has))
    };
    let mut checked = 0;
    for (path, text) in documents() {
        for span in code(&text) {
            let words = words(&span);
            let of = command_of(&words);
            if words.first() == Some(&"cgw") {
                let named = words.get(1).is_none_or(|word| {
                    word.starts_with('-')
                        || word.contains('…')
                        || all.find_subcommand(word).is_some()
                });
                assert!(named, "{path}: `{span}` is no command");
            }
            for word in words.iter().filter(|word| !word.contains('…')) {
                let Some(flag) = word.strip_prefix("--") else { continue };
                let flag = flag.split(['=', ',']).next().unwrap();
                let is_there = match &of {
                    Some((_, flags)) => {
                        flags.contains(flag) || (any(flag) && flag.starts_with("sandbox"))
                    }
                    None if words[0].starts_with("--") => any(flag),
                    None => continue,
                };
                assert!(is_there, "{path}: `{span}` names --{flag}");
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn every_command_is_in_the_readme_and_every_flag_in_its_topic() {
    let (readme, flags) = (read("README.md"), spans(&read(format!("{TOPICS}/flags.md"))));
    let named: BTreeSet<&str> = flags
        .iter()
        .flat_map(|span| span.split([' ', ',', '=']))
        .filter_map(|w| w.strip_prefix("--"))
        .collect();
    let mut root = Cli::command();
    root.build();
    let mut missing = BTreeSet::new();
    for command in root.get_subcommands() {
        let name = command.get_name();
        if !readme.contains(&format!("`cgw {name}")) {
            missing.insert(format!("cgw {name}"));
        }
        let subs = command.get_subcommands().chain([command]);
        let known = subs.flat_map(Command::get_arguments).filter_map(|arg| arg.get_long());
        missing.extend(known.filter(|flag| !named.contains(flag)).map(|flag| format!("--{flag}")));
    }
    missing.remove("--help");
    assert_eq!(missing, BTreeSet::new(), "neither the README nor `cgw help flags` has them");
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut checked = 0;
    for (path, text) in documents() {
        let (blocks, rest) = parts(&text);
        let folder = root().join(Path::new(&path).parent().unwrap());
        for link in rest.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_there =
                link.starts_with("https://") || link.is_empty() || folder.join(link).exists();
            assert!(is_there, "{path} leads to {link}");
            checked += 1;
        }
        let commands = blocks.iter().flat_map(Block::commands).map(|(command, _)| command);
        for span in spans(&rest).into_iter().chain(commands) {
            let Some(name) = words(&span).first().map(|name| (*name).to_owned()) else { continue };
            let places = ["tests/", "localstack/", "playbooks/", "src/", ".github/", ".ci/"];
            if places.iter().any(|place| name.starts_with(place)) {
                assert!(root().join(&name).exists(), "{path} names {name}");
                checked += 1;
            } else if Path::new(&name).extension().is_some_and(|e| e == "ps1")
                && !name.contains("NN-")
            {
                let is_step = ["playbooks/windows-server", "playbooks/first-start"];
                let is_step = is_step.iter().any(|place| root().join(place).join(&name).exists());
                assert!(is_step || name.contains('\\'), "{path} names {name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn the_table_of_the_guide_has_each_of_its_items() {
    let guide = read(format!("{TOPICS}/guide.md"));
    let mut items = Vec::new();
    for row in guide.lines().filter_map(|line| line.strip_prefix("| ")) {
        let numbers =
            row.split(|c: char| !(c.is_ascii_digit() || ", –".contains(c))).next().unwrap();
        for part in numbers.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let ends: Vec<u32> = part.split('–').map(|n| n.trim().parse().unwrap()).collect();
            items.extend(ends[0]..=ends[ends.len() - 1]);
        }
    }
    items.dedup();
    assert_eq!(items, (1..=53).collect::<Vec<_>>());
}

/// The names in the first column of a table's rows.
fn first_column(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| spans(row.split(" | ").next().unwrap())).collect()
}

#[test]
fn the_table_of_nodes_has_every_kind_and_the_guide_names_no_other() {
    let objects = read(format!("{TOPICS}/objects.md"));
    let (nodes, _) = objects.split_once("\n## Tags").unwrap();
    let nodes: BTreeSet<String> = first_column(nodes).into_iter().collect();
    assert_eq!(nodes, NAMES.iter().copied().map(str::to_owned).collect());
    let guide = spans(&read(format!("{TOPICS}/guide.md")));
    let is_name = |span: &&String| {
        span.contains('-')
            && span
                .split('-')
                .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()))
    };
    let unknown: Vec<&String> =
        guide.iter().filter(is_name).filter(|span| !nodes.contains(*span)).collect();
    assert_eq!(unknown, ["winrm-http"]);
}

#[test]
fn the_table_of_modules_has_all_of_them_in_their_order() {
    let lib = read("src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let text = read(".github/CONTRIBUTING.md");
    let (_, layout) = text.split_once("## How the project is laid out").unwrap();
    assert_eq!(first_column(layout), modules.collect::<Vec<_>>());
}

#[test]
fn both_readmes_show_the_same() {
    let (english, japanese) = (read("README.md"), read("README.ja.md"));
    let shape = |text: &str| {
        let (blocks, rest) = parts(text);
        let blocks: Vec<Block> =
            blocks.into_iter().filter(|block| block.language != "text").collect();
        let links = rest.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links: BTreeSet<String> =
            links.filter(|link| !link.starts_with("README")).map(str::to_owned).collect();
        let commands: Vec<String> = rest
            .lines()
            .filter(|line| line.starts_with("| `cgw"))
            .map(|line| line.split('`').nth(1).unwrap().to_owned())
            .collect();
        let headings = rest.lines().filter(|line| line.starts_with('#')).count();
        (blocks, links, commands, headings)
    };
    assert_eq!(shape(&japanese), shape(&english));
}
