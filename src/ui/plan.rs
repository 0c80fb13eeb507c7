//! Tells a plan in lines.

use std::fmt::Write as _;

use super::{plain, table};
use crate::address::Stack;
use crate::plan::{Change, Plan};
use crate::render::cost;

/// Returns the plan: what changes, what stays and why, what a person should know, what it costs.
#[must_use]
pub fn tell(plan: &Plan, notes: &[String], tasks: &[String]) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        writeln!(text, "{}", plain::saying(&words)).expect("a String takes all");
    };
    if plan.is_empty() {
        line(format!("stack {}: nothing to change", plan.stack));
    } else {
        let count = plan.changes().count();
        let changes = if count == 1 { "change" } else { "changes" };
        line(format!("stack {}: {count} {changes}", plan.stack));
        rows(plan).lines().for_each(|row| line(row.to_owned()));
    }
    for step in &plan.steps {
        if let (Change::Adopt, Some(id)) = (&step.change, &step.id) {
            line(format!("used, not owned: {} {}", step.key.address(), id.owner()));
        }
    }
    for left in &plan.left {
        line(format!("left: {} {}: {}", left.address, left.id.owner(), left.because));
    }
    for note in notes {
        line(format!("note: {note}"));
    }
    let cost = cost::after(plan);
    if !plan.is_empty() && cost.usd_per_hour > 0.0 {
        line(format!("cost: {cost}"));
    }
    for task in tasks {
        line(format!("for you to do: {task}"));
    }
    text
}

fn rows(plan: &Plan) -> String {
    table::tell(plan.changes().map(|step| {
        let detail = match &step.change {
            Change::Update(diff) | Change::Replace(diff) => diff.to_string(),
            Change::HandOver(stacks) => {
                let stacks: Vec<&str> = stacks.iter().map(Stack::as_str).collect();
                format!("used by {}", stacks.join(", "))
            }
            Change::Keep
            | Change::Adopt
            | Change::Check
            | Change::Create
            | Change::Delete
            | Change::Restore => step.note.clone().unwrap_or_default(),
        };
        let id = step.id.as_ref().map(|id| id.owner().to_string()).unwrap_or_default();
        [step.change.word().to_owned(), step.key.address().node(), id, detail]
    }))
}
