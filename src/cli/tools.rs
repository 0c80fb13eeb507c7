//! Commands that touch nothing: IAM policy, completions, manual page.

use std::path::Path;

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

/// The page of `cgw` and those of its subcommands, one after another; or each in a file of a folder.
pub(super) fn man(folder: Option<&Path>) -> Result<Code, Stopped> {
    let mut root = Cli::command();
    root.build();
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(root, folder))
            .map_err(|error| Stopped::refused(format!("{}: {error}", folder.display()), ""))?;
        return Ok(Code::Done);
    }
    let mut text = Vec::new();
    let pages = std::iter::once(root.clone()).chain(root.get_subcommands().cloned());
    for page in pages {
        clap_mangen::Man::new(page)
            .render(&mut text)
            .map_err(|error| Stopped::refused(format!("no manual page: {error}"), ""))?;
    }
    ui::data(&String::from_utf8_lossy(&text));
    Ok(Code::Done)
}
