//! The command line: clap types, subcommands, exit codes.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::address::Stack;
use crate::aws::{Clients, Place};
use crate::event::Events;
use crate::plan::{Change, Plan, plan};
use crate::preflight::{Refusal, Request, Situation, Stop, examine};
use crate::spec::{Declared, File};
use crate::{engine, resource, topology};

/// Makes a Windows Server the customer gateway of an AWS Site-to-Site VPN.
#[derive(Debug, Parser)]
#[command(name = "cgw", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what would be made; changes nothing
    Plan(Box<PlanOptions>),
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct PlanOptions {
    /// The stack's name [default: the only one in cgw.toml, else the VPC's id]
    #[arg(long, value_name = "NAME")]
    pub stack: Option<Stack>,
    /// The file that declares stacks [default: cgw.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
    /// Exit with 3 when there is something to change
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// What to declare.
    #[command(flatten)]
    pub declared: Declared,
}

/// What a command leaves to print.
#[derive(Debug)]
pub struct Said {
    /// For standard output.
    pub data: String,
    /// For standard error.
    pub talk: String,
    /// The exit code.
    pub code: u8,
}

impl Said {
    fn refused(refusals: &[Refusal]) -> Self {
        let mut talk = String::new();
        for Refusal { text, hint } in refusals {
            writeln!(talk, "error: {text}\n  hint: {hint}").expect("a String takes all");
        }
        Self {
            data: String::new(),
            talk,
            code: 2,
        }
    }

    /// Returns the exit code for the process.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

fn refusal(text: impl Into<String>, hint: impl Into<String>) -> Said {
    Said::refused(&[Refusal {
        text: text.into(),
        hint: hint.into(),
    }])
}

/// Runs a command.
pub async fn run(cli: Cli) -> Said {
    match cli.command {
        Command::Plan(options) => match show_plan(*options).await {
            Ok(said) | Err(said) => said,
        },
    }
}

async fn show_plan(options: PlanOptions) -> Result<Said, Said> {
    let path = options.config.clone().unwrap_or_else(|| "cgw.toml".into());
    let file = File::read(&path, options.config.is_some()).map_err(|error| {
        let cause =
            std::error::Error::source(&error).map(|c| format!(": {}", c.to_string().trim()));
        refusal(
            format!("{error}{}", cause.unwrap_or_default()),
            "mend the file, or name another with --config",
        )
    })?;
    let table = file.stack(options.stack.as_ref());
    let declared = match table {
        Some(table) => options.declared.clone().or(table.declared.clone()),
        None => options.declared.clone(),
    };
    let named = options
        .stack
        .clone()
        .or_else(|| table.map(|table| table.name.clone()));
    let by_vpc = || {
        declared
            .vpc
            .as_ref()
            .and_then(|vpc| vpc.to_string().parse().ok())
    };
    let Some(stack) = named.or_else(by_vpc) else {
        return Err(refusal("no VPC is named", "name it with --vpc"));
    };
    let (cloud, site) = places(&declared).await?;
    let events = Events::silent();
    let mut clients = Clients::new(events.clone());
    let mut readers = vec![clients.reader(&cloud).await];
    if site != cloud {
        readers.push(clients.reader(&site).await);
    }
    let world = engine::observe(&readers, &events).await.map_err(|error| {
        refusal(
            error.to_string(),
            error.hint().unwrap_or("nothing was changed; try again"),
        )
    })?;
    let request = Request {
        stack: &stack,
        declared: &declared,
        world: &world,
        cloud: &cloud,
        site: &site,
        operator: None,
    };
    let situation = examine(&request).map_err(|stop| match stop {
        Stop::Refused(refusals) => Said::refused(&refusals),
        Stop::Choose(candidates) => {
            let labels: Vec<String> = candidates.into_iter().map(|c| c.label).collect();
            let text = format!(
                "several servers could be the gateway: {}",
                labels.join(", ")
            );
            refusal(text, "name one with --instance")
        }
    })?;
    let plan = plan(
        &stack,
        &topology::desired(&situation),
        &resource::find(&world, &stack),
        &world,
    );
    let code = if options.detailed_exitcode && !plan.is_empty() {
        3
    } else {
        0
    };
    let data = if options.json {
        let mut text = serde_json::to_string_pretty(&plan).expect("a plan is plain data");
        text.push('\n');
        text
    } else {
        tell(&plan, &situation)
    };
    Ok(Said {
        data,
        talk: String::new(),
        code,
    })
}

/// Where both sides are: as declared, else where the environment says.
async fn places(declared: &Declared) -> Result<(Place, Place), Said> {
    let default = match &declared.region {
        Some(region) => Some(region.clone()),
        None => Clients::default_region(declared.profile.as_deref()).await,
    };
    let Some(region) = default else {
        return Err(refusal(
            "no region is named",
            "name it with --region, or set AWS_REGION",
        ));
    };
    let endpoint = declared.endpoint_url.clone();
    let cloud = Place {
        profile: declared.profile.clone(),
        region,
        endpoint,
    };
    let site = Place {
        profile: declared
            .site_profile
            .clone()
            .or_else(|| cloud.profile.clone()),
        region: declared
            .site_region
            .clone()
            .unwrap_or_else(|| cloud.region.clone()),
        endpoint: cloud.endpoint.clone(),
    };
    Ok((cloud, site))
}

/// Tells a plan in lines, one a step that changes something.
fn tell(plan: &Plan, situation: &Situation) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a String takes all");
    for step in plan.changes() {
        let what = match &step.change {
            Change::Update(diff) | Change::Replace(diff) => format!("  ({diff})"),
            Change::Keep
            | Change::Adopt
            | Change::Check
            | Change::Create
            | Change::Delete
            | Change::Restore => String::new(),
        };
        line(format!(
            "{:<8} {}{what}",
            step.change.word(),
            step.key.address()
        ));
    }
    for left in &plan.left {
        line(format!("left     {}: {}", left.address, left.because));
    }
    for note in &situation.notes {
        line(format!("note: {note}"));
    }
    for task in topology::for_the_owner(situation) {
        line(format!("for you to do: {task}"));
    }
    if plan.is_empty() {
        line("nothing to change".to_owned());
    }
    text
}
