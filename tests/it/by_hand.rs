//! `--via files` with a person at a terminal, who runs the scripts and pastes what they say.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

use crate::cloud::{Cloud, endpoint};

/// cgw on a terminal of its own, which script(1) makes.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Terminal {
    fn start(cloud: &Cloud, words: &[&str]) -> Self {
        let cgw = cloud.command(&endpoint(), words);
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
        let line: Vec<String> =
            std::iter::once(cgw.get_program()).chain(cgw.get_args()).map(quoted).collect();
        let mut command = Command::new("script");
        // No test comes near that time; it only ends one that hangs.
        let line = format!("timeout --foreground 120 {}", line.join(" "));
        command.args(["-qefc", &line, "/dev/null"]).env_clear().env("TERM", "xterm");
        command.envs(cgw.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(cgw.get_current_dir().unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, keys, screen, seen: String::new() }
    }

    /// Waits for a question and types an answer.
    fn answer(&mut self, question: &str, answer: &str) {
        let mut here = String::new();
        while !here.contains(question) {
            let mut bytes = [0; 4096];
            let count = self.screen.read(&mut bytes).unwrap();
            assert!(count > 0, "it ended without asking {question:?}: {}{here}", self.seen);
            here.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        self.seen += &here;
        write!(self.keys, "{answer}\r").unwrap();
    }

    /// Waits for the end; returns the exit code and all that stood on the screen.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, self.seen + &String::from_utf8_lossy(&rest))
    }
}

/// What `prove.ps1` prints where this many pings were answered.
fn proof(received: usize) -> String {
    let peer = "203.0.113.10";
    let suite = json!({ "peer": peer, "encryption": "AES256", "hash": "SHA256",
        "keyExchange": "DH14" });
    let told = json!({ "sent": 5, "received": received, "mainMode": [suite], "quickMode": [suite],
        "tunnelBytes": { "sent": 600, "received": 600 } });
    format!("cgw-proof {told}")
}

#[test]
fn what_a_person_pastes_is_judged_as_what_cgw_has_asked_itself() {
    let cloud = Cloud::new();
    cloud.control("tunnels", json!({ "up_after": 0 }));
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let (done, paste) = ("Is that done? [y/N]", "that begins with cgw-proof");
    let common = ["--yes", "--consistency", "0"];
    let what = ["up", "--via", "files", "--vpc", &vpc, "--instance", &instance];
    let ping = ["--ping", "10.0.1.10"];
    let mut terminal = Terminal::start(&cloud, &[&what[..], &ping, &common].concat());
    terminal.answer(done, "y");
    // A console may have broken the line.
    let line = proof(5);
    let (first, second) = line.split_at(line.len() / 2);
    terminal.answer(paste, "PS C:\\>");
    terminal.answer("That is another line", first);
    terminal.answer("And the rest of that line", second);
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("prove.ps1 -Ping 10.0.1.10 there last"), "{seen}");
    assert!(seen.contains("ping 10.0.1.10: 5 of 5 answered"), "{seen}");

    let push = || Terminal::start(&cloud, &[&["push", "--stack", &vpc][..], &common].concat());
    let mut terminal = push();
    terminal.answer(done, "y");
    terminal.answer(paste, &proof(0));
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("a tunnel is up, but no ping came back"), "{seen}");

    let mut terminal = push();
    terminal.answer(done, "y");
    terminal.answer(paste, "");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("not proven: that AWS shows a tunnel as up"), "{seen}");

    let mut terminal = push();
    terminal.answer(done, "");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("not proven: `cgw status` shows"), "{seen}");
}
