//! Judges how a run has ended: by its code, and by what it has said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use cgw::cli::Code;
use cgw::sandbox::Process;

use super::process::{Ending, Run};

/// What each command may end with, whatever goes wrong.
const CODES: &[(&str, &[Code])] = {
    use Code::{Done, Failed, Interrupted, Locked, Refused};
    &[
        ("up", &[Done, Failed, Refused, Locked, Interrupted]),
        ("down", &[Done, Failed, Refused, Locked, Interrupted]),
        ("rotate-keys", &[Done, Failed, Refused, Locked, Interrupted]),
        ("push", &[Done, Failed, Refused, Locked, Interrupted]),
        ("test", &[Done, Failed, Refused, Interrupted]),
        // It changes nothing, so that there is nothing to interrupt and nothing half done.
        ("status", &[Done, Refused]),
    ]
};

/// What says how to go on: a command, or to give the same one again.
const GOING_ON: &[&str] = &["`cgw ", "run the same command"];

/// What only takes and gives back the lock changes nothing.
const OF_THE_LOCK: &[&str] = &["CreateSecurityGroup", "CreateTags", "DeleteSecurityGroup"];

impl Run {
    pub(super) fn word(&self) -> &str {
        &self.words[0]
    }

    /// The stack that is meant.
    pub(super) fn stack(&self) -> &str {
        let mut words = self.words.iter().skip_while(|word| *word != "--stack");
        words.nth(1).expect("each command names it")
    }

    pub(super) fn is_done(&self) -> bool {
        self.ending == Ending::Code(Code::Done)
    }

    /// Says what is wrong with its ending.
    pub(super) fn wrong(&self) -> Vec<String> {
        let Ending::Code(code) = self.ending else { return Vec::new() };
        let (_, codes) = CODES.iter().find(|(word, _)| *word == self.word()).unwrap();
        let lines: Vec<&str> = self.said.lines().collect();
        let errors: Vec<usize> =
            (0..lines.len()).filter(|n| lines[*n].starts_with("error: ")).collect();
        let sum = |line: &&str| line.contains(" failed, ") && line.contains(" left out; ");
        let has_sum = lines.iter().any(sum);
        let mut wrong = Vec::new();
        if !codes.contains(&code) {
            wrong.push(format!("ends with {code:?}"));
        }
        for n in &errors {
            // Of an error that has several lines the further ones are set in deeper.
            let mut rest = lines[n + 1..].iter().skip_while(|line| line.starts_with("    "));
            let has_hint = rest.next().is_some_and(|line| line.starts_with("  hint: "));
            // The sum of a plan that was carried out in part says for all of its errors how to go on.
            if !has_hint && !has_sum {
                wrong.push(format!("no hint follows: {}", lines[*n]));
            }
        }
        if code == Code::Done {
            wrong.extend(errors.first().map(|n| format!("is done, and says: {}", lines[*n])));
            return wrong;
        }
        if errors.is_empty() && !has_sum {
            wrong.push(format!("ends with {code:?}, and says no error"));
        }
        let asked = self.process.asked();
        let mut changes = asked.iter().filter(|one| one.changes());
        let Some(change) = changes.find(|one| !OF_THE_LOCK.contains(&one.what.as_str())) else {
            return wrong;
        };
        let is_told = lines.iter().any(|line| GOING_ON.iter().any(|words| line.contains(words)));
        if !is_told {
            wrong
                .push(format!("has changed something ({change:?}), and does not say how to go on"));
        }
        if code == Code::Refused {
            wrong.push(format!("refuses after it has changed something: {change:?}"));
        }
        wrong
    }
}

/// How often which command has ended how.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<(String, String), usize>>);

impl Tally {
    pub(super) fn count(&self, run: &Run) {
        let ending = match run.ending {
            Ending::Code(code) => format!("{code:?}"),
            Ending::Killed => "Killed".to_owned(),
        };
        let mut all = self.0.lock().unwrap();
        *all.entry((run.word().to_owned(), ending)).or_default() += 1;
    }

    /// The commands that have never ended so.
    pub(super) fn never(&self, ending: &str) -> Vec<&'static str> {
        let all = self.0.lock().unwrap();
        let words = CODES.iter().map(|(word, _)| *word);
        words.filter(|word| !all.contains_key(&((*word).to_owned(), ending.to_owned()))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.lock().unwrap();
        for (word, _) in CODES {
            let of = all.iter().filter(|((own, _), _)| own == word);
            let told: Vec<String> = of.map(|((_, end), n)| format!("{n} {end}")).collect();
            writeln!(f, "{word}: {}", told.join(", "))?;
        }
        Ok(())
    }
}

#[test]
fn an_ending_that_leaves_a_person_alone_is_wrong() {
    let wrong = |word: &str, code, said: &str| {
        let (words, process) = (vec![word.to_owned()], Process::default());
        Run { words, ending: Ending::Code(code), said: said.to_owned(), process }.wrong()
    };
    let none = Vec::<String>::new();
    assert_eq!(wrong("up", Code::Refused, "error: no\n    more of it\n  hint: do that\n"), none);
    assert_eq!(
        wrong("up", Code::Failed, "error: no\n1 steps done, 1 failed, 0 left out; go\n"),
        none
    );
    assert_eq!(wrong("up", Code::Failed, "error: no\nreading\n"), ["no hint follows: error: no"]);
    assert_eq!(wrong("up", Code::Locked, "reading\n"), ["ends with Locked, and says no error"]);
    assert_eq!(wrong("status", Code::Failed, "error: no\n  hint: do\n"), ["ends with Failed"]);
    assert_eq!(
        wrong("up", Code::Done, "error: no\n  hint: do\n"),
        ["is done, and says: error: no"]
    );
}
