//! Reads the command line, runs the command, ends with its exit code.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use cgw::cli::{Cli, run};
use cgw::ui;
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(level) = cli.log {
        // INVARIANT: only cgw's own events are logged: the SDK's hold replies, and so keys.
        let filter = tracing_subscriber::EnvFilter::new(format!("off,cgw={level}"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            ui::talk(&format!("error: this process cannot begin: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli));
    // Dropping the runtime would wait for a blocked ssh2 call.
    runtime.shutdown_background();
    code
}
