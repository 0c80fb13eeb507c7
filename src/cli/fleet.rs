//! Many stacks at once: the same command for each, side by side.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use clap::Args;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::json;

use super::shared::{Shared, path};
use super::{Code, Common, Outside, Stopped};
use crate::address::Stack;
use crate::event::{Event, Events, Listener};
use crate::preflight::Refusal;
use crate::spec::{File, StackTable};
use crate::{time, ui};

/// Which stacks of the file a command is for.
#[derive(Debug, Clone, Default, Args)]
pub struct Fleet {
    /// All stacks that the file declares, side by side
    #[arg(long, conflicts_with_all = ["stack", "vpc"])]
    pub all: bool,
    /// Of the stacks that the file declares only these
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with_all = ["stack", "vpc"])]
    pub only: Vec<Stack>,
}

impl Fleet {
    /// Says whether a command is for the stacks of the file.
    pub(super) fn is_asked(&self) -> bool {
        self.all || !self.only.is_empty()
    }

    /// Returns the stacks that are meant, by the server that they share: those of one come one after
    /// the other, because the first makes what the next ones use.
    fn groups(&self, file: &File, common: &Common) -> Result<Vec<Vec<Stack>>, Stopped> {
        let path = path(common);
        let names: Vec<&str> = file.stacks.iter().map(|table| table.name.as_str()).collect();
        if names.is_empty() {
            let text = format!("{} declares no stack", path.display());
            return Err(Stopped::refused(text, "declare each with [[stack]]"));
        }
        if let Some(unknown) = self.only.iter().find(|name| !names.contains(&name.as_str())) {
            let text = format!("{} declares no stack {unknown}", path.display());
            return Err(Stopped::refused(text, format!("it declares {}", names.join(", "))));
        }
        let is_meant =
            |table: &&StackTable| self.only.is_empty() || self.only.contains(&table.name);
        let mut groups: BTreeMap<Option<String>, Vec<Stack>> = BTreeMap::new();
        for StackTable { name, declared } in file.stacks.iter().filter(is_meant) {
            groups.entry(declared.server()).or_default().push(name.clone());
        }
        let alone = groups.remove(&None).unwrap_or_default().into_iter().map(|name| vec![name]);
        Ok(groups.into_values().chain(alone).collect())
    }
}

/// Runs a command for the one stack that is meant, or side by side for each of those of the file: one
/// that fails stops no other.
pub(super) async fn run<F>(
    outside: &Outside,
    common: &Common,
    fleet: &Fleet,
    work: impl Fn(Outside, Common) -> F,
) -> Result<Code, Stopped>
where
    F: Future<Output = Result<Code, Stopped>>,
{
    if !fleet.is_asked() {
        return work(outside.clone(), common.clone()).await;
    }
    let tally = Tally::default();
    let counting = Counting { tally: tally.clone(), next: ui::events(common.form()) };
    let shared = Shared::fleet(outside, common, Events::new(counting))?;
    let outside = outside.with(shared.clone());
    let member = async |stack: Stack| {
        let begun = time::now();
        let common = Common { stack: Some(stack.clone()), ..common.clone() };
        let run = async {
            let ended = work(outside.clone(), common.clone()).await;
            ended.unwrap_or_else(|stopped| {
                stopped.print(common.json);
                tally.of(&stack, |count| count.refusals.clone_from(&stopped.refusals));
                stopped.code
            })
        };
        let code = Box::pin(ui::spoken_by(&stack, common.form(), run)).await;
        tally.of(&stack, |count| {
            count.seconds = begun.elapsed().as_secs();
            count.code = Some(code);
        });
    };
    let groups = fleet.groups(&shared.file, common)?;
    let count = groups.iter().map(Vec::len).sum();
    shared.looks.shared_by(count);
    shared.renewals.shared_by(count);
    let groups = groups.into_iter().map(|stacks| async {
        for stack in stacks {
            member(stack).await;
        }
    });
    let mut running: FuturesUnordered<_> = groups.collect();
    loop {
        tokio::select! {
            ended = running.next() => if ended.is_none() { break },
            () = shared.is_asked() => {}
        }
        shared.ask_for_all(running.len());
    }
    Ok(tally.show(common))
}

/// What became of each stack.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<BTreeMap<Stack, Count>>>);

/// What became of one stack.
#[derive(Debug, Default)]
struct Count {
    code: Option<Code>,
    done: usize,
    failed: usize,
    left_out: usize,
    seconds: u64,
    refusals: Vec<Refusal>,
}

/// Counts what happens, and passes it on.
struct Counting {
    tally: Tally,
    next: Events,
}

impl Listener for Counting {
    fn hear(&self, event: &Event) {
        match event {
            Event::Done { node, change, .. } if *change != "ready" => {
                self.tally.of(&node.stack, |count| count.done += 1);
            }
            Event::Failed { node, error } => self.tally.of(&node.stack, |count| {
                count.failed += 1;
                let (text, hint) = (format!("{node}: {error}"), String::new());
                count.refusals.push(Refusal { text, hint });
            }),
            Event::Skipped { node, .. } => {
                self.tally.of(&node.stack, |count| count.left_out += 1);
            }
            Event::Observing { .. }
            | Event::Retrying { .. }
            | Event::Lock { .. }
            | Event::Applying { .. }
            | Event::Started { .. }
            | Event::Waiting { .. }
            | Event::Done { .. }
            | Event::Step { .. }
            | Event::Note { .. }
            | Event::Warning { .. } => {}
        }
        self.next.hear(event);
    }
}

impl Tally {
    fn of(&self, stack: &Stack, change: impl FnOnce(&mut Count)) {
        let mut all = self.0.lock().expect("no holder of this lock can panic");
        change(all.entry(stack.clone()).or_default());
    }

    /// Shows one line a stack; the code says what became of all of them.
    fn show(&self, common: &Common) -> Code {
        let all = self.0.lock().expect("no holder of this lock can panic");
        if common.json {
            all.iter().for_each(|(stack, count)| ui::data(&count.json(stack)));
        } else {
            let head = ["stack", "result", "changes", "time", ""].map(str::to_owned);
            let rows = all.iter().map(|(stack, count)| count.row(stack));
            ui::data(&ui::tell_table(std::iter::once(head).chain(rows)));
        }
        of_all(all.values().filter_map(|count| count.code))
    }
}

/// What all stacks come to.
fn of_all(codes: impl Iterator<Item = Code>) -> Code {
    codes.reduce(together).unwrap_or(Code::Done)
}

/// What two stacks come to: nothing is well unless both are.
fn together(one: Code, other: Code) -> Code {
    match (one, other) {
        (one, other) if one == other => one,
        (Code::Interrupted, _) | (_, Code::Interrupted) => Code::Interrupted,
        (Code::Done, Code::Changes) | (Code::Changes, Code::Done) => Code::Changes,
        _ => Code::Failed,
    }
}

impl Count {
    fn result(&self) -> &'static str {
        match self.code {
            Some(Code::Done) if self.done == 0 => "nothing to change",
            Some(Code::Done) => "done",
            Some(Code::Failed | Code::TunnelsDown) => "FAILED",
            Some(Code::Refused) => "refused",
            Some(Code::Changes) => "to be changed",
            Some(Code::Locked) => "locked",
            Some(Code::Interrupted) => "interrupted",
            None => "not begun",
        }
    }

    fn row(&self, stack: &Stack) -> [String; 5] {
        let all = self.done + self.failed + self.left_out;
        let changes =
            if self.done == all { all.to_string() } else { format!("{} of {all}", self.done) };
        let time = format!("{}:{:02}", self.seconds / 60, self.seconds % 60);
        let why = self.refusals.first().map(|refusal| refusal.text.clone()).unwrap_or_default();
        [stack.to_string(), self.result().to_owned(), changes, time, why]
    }

    fn json(&self, stack: &Stack) -> String {
        let errors = self.refusals.iter().map(|r| json!({ "text": r.text, "hint": r.hint }));
        let told = json!({
            "stack": stack,
            "result": self.result(),
            "code": self.code.map(|code| code as u8),
            "done": self.done,
            "failed": self.failed,
            "left_out": self.left_out,
            "seconds": self.seconds,
            "errors": errors.collect::<Vec<_>>(),
        });
        ui::json_line("outcome", &told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_done_only_when_every_stack_is() {
        let codes = |all: &[Code]| of_all(all.iter().copied());
        assert_eq!(codes(&[Code::Done, Code::Done]), Code::Done);
        assert_eq!(codes(&[Code::Refused, Code::Refused]), Code::Refused);
        assert_eq!(codes(&[Code::Done, Code::Refused]), Code::Failed);
        assert_eq!(codes(&[Code::Done, Code::Changes, Code::Done]), Code::Changes);
        assert_eq!(codes(&[Code::Failed, Code::Interrupted, Code::Done]), Code::Interrupted);
    }
}
