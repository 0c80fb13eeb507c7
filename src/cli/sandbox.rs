//! `sandbox`: what is done with the sandbox itself.

use std::path::Path;

use clap::{Args, Subcommand};

use super::{Code, Outside, Stopped};
use crate::sandbox::{Port, Sandbox};
use crate::ui;

/// What is done with the sandbox itself.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Answer as AWS at a port of this machine, until interrupted
    Serve(Serve),
}

/// Options of `sandbox serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The port; 0: any that is free
    #[arg(long, value_name = "PORT", default_value_t = 4599)]
    pub port: u16,
}

/// Does something with the sandbox.
pub(super) async fn sandbox(outside: &Outside, task: Task) -> Result<Code, Stopped> {
    let Task::Serve(Serve { port }) = task;
    let sandbox = match outside.sandbox() {
        Some(sandbox) => sandbox.clone(),
        None => Sandbox::open(Path::new(Sandbox::FOLDER), 1.0)?,
    };
    let port = Port::open(sandbox, port).await.map_err(|error| {
        Stopped::refused(format!("the port {port} cannot be used: {error}"), "choose another")
    })?;
    ui::data(&format!("http://{}\n", port.address()));
    ui::talk(
        "answering as EC2 and STS there: set AWS_ENDPOINT_URL to it, with any key and any region; \
         Ctrl-C ends it",
    );
    let (trigger, _) = outside.trigger();
    tokio::select! {
        never = port.serve() => match never {},
        () = trigger.pressed() => Ok(Code::Done),
    }
}
