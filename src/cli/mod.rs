//! The command line: clap types, one short file a subcommand, exit codes.

mod by_hand;
mod change;
mod down;
mod export;
mod fleet;
mod help;
mod init;
mod launch;
mod locks;
mod login;
mod outside;
mod planned;
mod probe;
mod prove;
mod push;
mod rotate;
mod sandbox;
mod scripts;
mod session;
mod shared;
mod status;
mod stopped;
mod tools;
mod turns;
mod up;
mod watch;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::address::{Stack, VpcId};
use crate::sandbox::Sandbox;
use crate::spec::{Declared, Endpoint, FilePath, Fingerprint};
use crate::ui;

pub use outside::Outside;
pub use stopped::{Code, Stopped};

/// Makes a Windows Server the customer gateway of an AWS Site-to-Site VPN, and takes it away again.
///
/// Exit codes: 0 done; 1 failed; 2 usage, or refused before anything was changed; 3 there is
/// something to change, 5 both tunnels are down (--detailed-exitcode, --exit-on down); 4 somebody else holds the lock;
/// 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "cgw", version, about, max_term_width = 100)]
#[command(disable_help_subcommand = true, after_help = help::list())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Log to standard error: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<tracing::Level>,
    /// Work on a simulated AWS and Windows Server, kept in a folder [default: cgw-sandbox]
    ///
    /// Needs no account and touches nothing real. It has the two ends of a VPN, which `up` and
    /// `plan` take where none are named.
    #[arg(long, global = true, value_name = "FOLDER", env = "CGW_SANDBOX")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = Sandbox::FOLDER)]
    pub sandbox: Option<PathBuf>,
    /// How many times faster than real the time of the sandbox goes
    #[arg(long, global = true, value_name = "TIMES", default_value = "20")]
    #[arg(value_parser = outside::speed)]
    pub sandbox_speed: f64,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look around in the account, propose what to declare, and write it into cgw.toml
    Init(Box<init::Init>),
    /// Make the VPN, or bring it to what is declared; safe to run again at any time
    Up(Box<up::Up>),
    /// Show what `up` would do; changes nothing
    Plan(Box<up::Plan>),
    /// Take away all that the stack made, and put back all that it changed
    Down(Box<down::Down>),
    /// Run the steps on the server again; changes nothing in AWS
    Push(Box<push::Push>),
    /// Ping a host in the VPC from the server: the proof that a tunnel carries traffic
    Test(Box<prove::Test>),
    /// Give both tunnels new keys, one after the other, while the other one carries the traffic
    RotateKeys(Box<rotate::RotateKeys>),
    /// Show nodes, tunnels, drift and cost
    Status(Box<status::Status>),
    /// Write the scripts for the server into a folder
    Scripts(Box<scripts::Scripts>),
    /// Print what `up` would make as a template for CloudFormation or Terraform; changes nothing
    Export(Box<export::Export>),
    /// Work with the sandbox itself
    #[command(subcommand)]
    Sandbox(sandbox::Task),
    /// Print the least IAM policy that cgw needs
    IamPolicy,
    /// Print the JSON schema of cgw.toml
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write a page for each command into this folder instead
        folder: Option<PathBuf>,
    },
    /// Show the help of a command, or a topic
    Help {
        /// A topic, or a command
        #[arg(value_name = "TOPIC")]
        words: Vec<String>,
    },
}

/// What every subcommand that reads a stack takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The stack's name [default: the only one; for a new one the VPC's id]
    #[arg(long, value_name = "NAME")]
    pub stack: Option<Stack>,
    /// The file that declares stacks [default: cgw.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON: one event a line, each with "v":1
    #[arg(long)]
    pub json: bool,
}

/// Where a stack that exists is to be found; the rest its record says.
#[derive(Debug, Clone, Args)]
pub struct Whereabouts {
    /// The VPC that has the VPN gateway
    #[arg(long, value_name = "VPC-ID")]
    pub vpc: Option<VpcId>,
    /// The VPC's region [default: that of the profile or the environment]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The AWS profile for the VPC's side
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The instance's region [default: what the record says]
    #[arg(long, value_name = "REGION")]
    pub site_region: Option<String>,
    /// The AWS profile for the instance's side [default: that of the VPC's side]
    #[arg(long, value_name = "NAME")]
    pub site_profile: Option<String>,
    /// Another endpoint than AWS's own, such as LocalStack's
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<Endpoint>,
}

impl From<Whereabouts> for Declared {
    fn from(at: Whereabouts) -> Self {
        let Whereabouts { vpc, region, profile, site_region, site_profile, endpoint_url } = at;
        Self { vpc, region, profile, site_region, site_profile, endpoint_url, ..Self::default() }
    }
}

/// Where the server is and who logs in, for commands that declare nothing.
#[derive(Debug, Clone, Args)]
pub struct ServerAt {
    /// The server's name or address [default: what the record says, else its public address]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Its port [default: what the record says]
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// Who logs in [default: what the record says]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The private key to log in with [default: the agent's]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<FilePath>,
    /// Its host key has this fingerprint [default: what the record says]
    #[arg(long, value_name = "SHA256:…")]
    pub host_key: Option<Fingerprint>,
    /// Its certificate for WinRM has this SHA-256 fingerprint [default: what the record says]
    #[arg(long, value_name = "HEX")]
    pub winrm_fingerprint: Option<String>,
    /// Its certificate for WinRM was signed by one of those in this file (PEM)
    #[arg(long, value_name = "FILE")]
    pub winrm_ca: Option<FilePath>,
}

impl From<ServerAt> for Declared {
    fn from(at: ServerAt) -> Self {
        let ServerAt { host, port, user, identity, host_key, winrm_fingerprint, winrm_ca } = at;
        Self {
            host,
            port,
            user,
            host_key,
            winrm_fingerprint,
            winrm_ca,
            identity,
            ..Self::default()
        }
    }
}

impl Common {
    fn form(&self) -> ui::Form {
        if self.json { ui::Form::Json } else { ui::Form::Text }
    }
}

/// What every subcommand that changes a stack takes.
#[derive(Debug, Clone, Args)]
pub struct Changing {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// How many seconds a read of AWS may lag behind a write
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub consistency: u64,
    /// Take the stack's lock from whoever holds it
    #[arg(long)]
    pub force_unlock: bool,
    /// How many seconds to wait for somebody else to let go of the lock
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub lock_timeout: u64,
}

impl Changing {
    fn consistency(&self) -> Duration {
        Duration::from_secs(self.consistency)
    }

    /// How long to go on while the server cannot be reached: a new address takes a while to work.
    fn patience(&self) -> Duration {
        self.consistency() * 4
    }
}

/// Runs a command, prints what it has to say, and returns the exit code.
pub async fn run(cli: Cli) -> ExitCode {
    match Outside::of(&cli) {
        Ok(outside) => run_in(&outside, cli.command).await.into(),
        Err(stopped) => {
            stopped.print(false);
            stopped.code.into()
        }
    }
}

/// Runs a command with a given outside.
pub async fn run_in(outside: &Outside, command: Command) -> Code {
    let json = match &command {
        Command::Init(o) => o.common.json,
        Command::Up(o) => o.plan.common.json,
        Command::Plan(o) => o.common.json,
        Command::Down(o) => o.common.json,
        Command::Push(o) => o.common.json,
        Command::Test(o) => o.common.json,
        Command::RotateKeys(o) => o.common.json,
        Command::Status(o) => o.common.json,
        Command::Scripts(o) => o.common.json,
        Command::Export(o) => o.common.json,
        Command::Sandbox(_)
        | Command::IamPolicy
        | Command::Schema
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Help { .. } => false,
    };
    let result = match command {
        Command::Init(options) => Box::pin(init::init(outside, *options)).await,
        Command::Up(up) => {
            let run = |outside, common| {
                let plan = up::Plan { common, ..up.plan.clone() };
                up::up(outside, up::Up { plan, ..*up.clone() })
            };
            Box::pin(fleet::run(outside, &up.plan.common, &up.plan.fleet, run)).await
        }
        Command::Plan(plan) => {
            let run = |outside, common| up::plan(outside, up::Plan { common, ..*plan.clone() });
            Box::pin(fleet::run(outside, &plan.common, &plan.fleet, run)).await
        }
        Command::Down(down) => {
            let run = |outside, common| down::down(outside, down::Down { common, ..*down.clone() });
            Box::pin(fleet::run(outside, &down.common, &down.fleet, run)).await
        }
        Command::Push(options) => Box::pin(push::push(outside, *options)).await,
        Command::Test(options) => Box::pin(prove::test(outside, *options)).await,
        Command::RotateKeys(options) => Box::pin(rotate::rotate_keys(outside, *options)).await,
        Command::Status(options) => Box::pin(status::status(outside, *options)).await,
        Command::Scripts(options) => Box::pin(scripts::scripts(outside, *options)).await,
        Command::Export(options) => Box::pin(export::export(outside, *options)).await,
        Command::Sandbox(task) => sandbox::sandbox(outside, task).await,
        Command::Schema => Ok(init::print_schema()),
        Command::IamPolicy => Ok(tools::iam_policy()),
        Command::Completions { shell } => Ok(tools::completions(shell)),
        Command::Man { folder } => tools::man(folder.as_deref()),
        Command::Help { words } => help::help(&words),
    };
    match result {
        Ok(code) => code,
        Err(stopped) => {
            stopped.print(json);
            stopped.code
        }
    }
}
