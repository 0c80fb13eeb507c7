//! Reads the command line, runs the command, prints what it says.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cgw::cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            print(
                &mut std::io::stderr(),
                &format!("error: no runtime: {error}\n"),
            );
            return ExitCode::FAILURE;
        }
    };
    let said = runtime.block_on(cgw::cli::run(cli));
    print(&mut std::io::stdout(), &said.data);
    print(&mut std::io::stderr(), &said.talk);
    // Dropping the runtime would wait for a blocked worker.
    runtime.shutdown_background();
    said.exit_code()
}

/// Prints; a reader that went away is no error.
fn print(to: &mut impl std::io::Write, text: &str) {
    drop(to.write_all(text.as_bytes()));
    drop(std::io::stdout().flush());
}
