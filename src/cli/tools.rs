//! Commands that touch nothing: IAM policy, completions, manual page.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Code, Stopped};
use crate::render::policy;
use crate::ui;

pub(super) fn iam_policy() -> Code {
    ui::data(&ui::json_value(&policy::policy()));
    Code::Done
}

pub(super) fn completions(shell: Shell) -> Code {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cgw", &mut text);
    ui::data(&String::from_utf8_lossy(&text));
    Code::Done
}

/// The page of `cgw` and those of its subcommands, one after another.
pub(super) fn man() -> Result<Code, Stopped> {
    let mut text = Vec::new();
    let mut root = Cli::command();
    root.build();
    let pages = std::iter::once(root.clone()).chain(root.get_subcommands().cloned());
    for page in pages {
        clap_mangen::Man::new(page)
            .render(&mut text)
            .map_err(|error| Stopped::refused(format!("no manual page: {error}"), ""))?;
    }
    ui::data(&String::from_utf8_lossy(&text));
    Ok(Code::Done)
}
