//! `help`: the help of a command, and the topics, which are Markdown files beside this one.

mod plain;

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::{Cli, Code, Stopped};
use crate::ui;

/// What can be read up.
struct Topic {
    name: &'static str,
    /// What it is about, in a few words.
    about: &'static str,
    text: &'static str,
}

/// Makes the table of the topics: each has its name from its file.
macro_rules! topics {
    ($($name:literal: $about:literal,)*) => {
        &[$(Topic {
            name: $name,
            about: $about,
            text: include_str!(concat!("topics/", $name, ".md")),
        },)*]
    };
}

/// All topics, in the order in which somebody new would read them.
const TOPICS: &[Topic] = topics! {
    "how-it-works": "what happens when cgw runs, with a picture",
    "start": "the first VPN on AWS: the three kinds of server, the ways to reach one",
    "flags": "every flag: what can be declared, and the others",
    "config": "cgw.toml, which declares stacks in a file",
    "stacks": "many stacks at once, several VPCs behind one server",
    "templates": "a stack as a template for CloudFormation or Terraform",
    "rotation": "new keys and other suites, one tunnel at a time",
    "watching": "how to watch the tunnels, and have a monitor do it",
    "objects": "what is made in AWS and on the server, and the tags",
    "costs": "what a stack costs",
    "security": "the security model: locks, guard, secrets, permissions",
    "troubleshooting": "no tunnel, no ping, locked out, stopped half way",
    "undo": "how to take a stack away without cgw",
    "guide": "the 53 items of AWS's guide, and what cgw does for each",
    "exit-codes": "what each exit code means",
    "limits": "what cgw cannot do, and what was never tried",
};

/// Lists the topics, for the end of cgw's own help.
pub(super) fn list() -> String {
    let longest = TOPICS.iter().map(|topic| topic.name.len()).max().unwrap_or_default();
    let mut list = "Topics (cgw help TOPIC):".to_owned();
    for Topic { name, about, .. } in TOPICS {
        write!(list, "\n  {name:longest$}  {about}").expect("a String takes all");
    }
    list
}

/// Shows a topic, or the help of the command that the words name; without words that of cgw.
pub(super) fn help(words: &[String]) -> Result<Code, Stopped> {
    if let [word] = words
        && let Some(topic) = TOPICS.iter().find(|topic| topic.name == word)
    {
        ui::data(&plain::plain(topic.text));
        return Ok(Code::Done);
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for word in words {
        command = command.find_subcommand_mut(word).ok_or_else(|| unknown(words))?;
    }
    ui::data(&command.render_long_help().to_string());
    Ok(Code::Done)
}

fn unknown(words: &[String]) -> Stopped {
    let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    Stopped::refused(
        format!("there is no topic and no command `{}`", words.join(" ")),
        format!("the topics are {}; `cgw help` lists the commands too", names.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_topic_that_begins_with_its_title_and_none_hides_a_command() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/topics");
        let files = std::fs::read_dir(folder).unwrap().flatten().map(|file| file.file_name());
        let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        let mut names: Vec<String> =
            TOPICS.iter().map(|topic| format!("{}.md", topic.name)).collect();
        names.sort();
        assert_eq!(files, names);
        for Topic { name, text, .. } in TOPICS {
            assert!(text.starts_with("# "), "{name}");
            assert!(Cli::command().find_subcommand(name).is_none(), "{name} is a command");
        }
    }

    #[test]
    fn help_is_of_a_topic_or_of_a_command_or_of_all() {
        let shown = |words: &[&str]| {
            let words: Vec<String> = words.iter().copied().map(str::to_owned).collect();
            ui::listen();
            help(&words).map(|_| ui::heard())
        };
        assert!(shown(&["guide"]).unwrap().starts_with("# "));
        assert!(shown(&["up"]).unwrap().contains("Usage: cgw up [OPTIONS]"));
        assert!(shown(&["sandbox", "serve"]).unwrap().contains("Usage: cgw sandbox serve"));
        let all = shown(&[]).unwrap();
        assert!(all.contains("rotate-keys") && all.contains("troubleshooting"), "{all}");
        for wrong in [&["pu"][..], &["up", "down"], &["guide", "up"]] {
            let stopped = shown(wrong).unwrap_err();
            assert_eq!(stopped.code, Code::Refused);
            assert!(stopped.text().contains(&wrong.join(" ")), "{}", stopped.text());
        }
    }
}
