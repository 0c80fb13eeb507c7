//! `export`: prints the stack as a template, or writes it into a folder.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::planned::situation;
use super::session::Session;
use super::up::Wanted;
use super::{Code, Common, Outside, Stopped};
use crate::preflight::{imagine, is_to_launch};
use crate::render::export::{self, Error, Format};
use crate::ui;

/// Options of `export`.
#[derive(Debug, Clone, Args)]
pub struct Export {
    /// For which tool
    pub format: Format,
    /// Write it into this folder, as template.yaml or main.tf [default: to standard output]
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// What is wanted.
    #[command(flatten)]
    pub wanted: Wanted,
}

/// Declares what `up` would make. Holds only readers, so it cannot change anything.
pub(super) async fn export(outside: &Outside, options: Export) -> Result<Code, Stopped> {
    let Export { format, output, common, wanted } = options;
    let mut session = Session::open(outside, &common, wanted.into()).await?;
    session.look_for_a_way().await;
    let situation = if is_to_launch(&session.request()) {
        session.must_know_own_steps()?;
        imagine(&session.request())?
    } else {
        situation(&session)?
    };
    let text = export::export(&situation, format).map_err(stopped)?;
    let Some(folder) = output else {
        ui::data(&text);
        return Ok(Code::Done);
    };
    let path = folder.join(match format {
        Format::Cloudformation => "template.yaml",
        Format::Terraform => "main.tf",
    });
    let failed = |error: std::io::Error| {
        let text = format!("{} could not be written: {error}", path.display());
        Stopped::with(Code::Failed, text, "name another folder with --output")
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(&path, text).map_err(failed)?;
    session.events.note(format!("wrote {}", path.display()));
    Ok(Code::Done)
}

fn stopped(error: Error) -> Stopped {
    match error {
        Error::Apart => Stopped::refused(
            error.to_string(),
            "export terraform, or name a server in the VPC's region and account",
        ),
        Error::Scripts(source) => Stopped::refused(source.to_string(), ""),
        Error::TooLarge { .. } => {
            Stopped::refused(error.to_string(), "make the steps of your --playbook smaller")
        }
    }
}
