//! `init`: looks around in the account, proposes what to declare, and writes it into `cgw.toml`.

mod file;
mod place;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Parser};
use place::{Before, before, must_say_the_same, unwritten, write, write_schema};
use serde_json::json;

use super::session::{cloud, site};
use super::shared::{Shared, path};
use super::{Code, Common, Outside, Stopped};
use crate::address::{InstanceId, Stack};
use crate::aws::{Place, Reader};
use crate::event::Events;
use crate::playbook::Own;
use crate::preflight::propose::{self, Answer, Proposal, Question, Topic};
use crate::preflight::{Refusal, Request};
use crate::resource::{Kind as _, StackRecord};
use crate::spec::{Declared, schema};
use crate::time;
use crate::ui;
use crate::world::World;

/// Options of `init`.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Do not ask: take what is proposed
    #[arg(long, short)]
    pub yes: bool,
    /// Add a stack to a file that is there already
    #[arg(long)]
    pub add: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What is declared.
    #[command(flatten)]
    pub declared: Declared,
}

/// How long is waited for what only a proposal hangs on.
const MOMENT: Duration = Duration::from_secs(5);

/// The name of a stack that has none yet: no stack has a longer one.
const UNNAMED: &str = "a-stack-that-is-not-there-and-has-no-name-so-far";

/// Writes a file that declares a stack.
pub(super) async fn init(outside: &Outside, options: Init) -> Result<Code, Stopped> {
    let path = path(&options.common);
    let before = before(&path, &options)?;
    let mut draft = Box::pin(Draft::begin(outside, &options)).await?;
    draft.settle(propose::VPC)?;
    draft.call_it(before.as_ref())?;
    draft.take_what_is_recorded().await?;
    for topic in propose::TOPICS {
        draft.look_for_a_way().await;
        draft.settle(*topic)?;
    }
    draft.must_be_right()?;
    let Draft { stack, declared, reasons, .. } = &draft;
    let table = file::table(stack, declared, reasons);
    let text = match &before {
        Some(Before { text, .. }) => file::added(text, &table),
        None => file::whole(&table, declared),
    };
    must_say_the_same(&path, &text, stack, declared)?;
    if options.dry_run {
        ui::data(&text);
        return Ok(Code::Done);
    }
    write(&path, &text, before.is_some())
        .map_err(|error| unwritten(&path, &error, "name another file with --config"))?;
    tell(&options.common, &path, stack);
    write_schema(&path, &draft.events)?;
    Ok(Code::Done)
}

/// Prints the schema of `cgw.toml`.
pub(super) fn print_schema() -> Code {
    ui::data(&ui::json_value(&schema()));
    Code::Done
}

/// What is to be declared, as far as it is settled.
struct Draft<'a> {
    options: &'a Init,
    world: World,
    cloud: Place,
    site: Place,
    readers: Vec<Reader>,
    events: Events,
    shared: std::rc::Rc<Shared>,
    stack: Stack,
    declared: Declared,
    /// Why something is declared, by its flag.
    reasons: BTreeMap<&'static str, String>,
    /// The instance that Systems Manager was asked for, and whether it reaches it.
    managed: Option<(InstanceId, bool)>,
}

/// Reads what a person enters for a flag, as the command line does.
#[derive(Debug, Parser)]
struct Entered {
    #[command(flatten)]
    declared: Declared,
}

impl Entered {
    fn read(flag: &str, text: &str) -> Result<Declared, String> {
        let words = ["cgw".to_owned(), format!("--{flag}={text}")];
        match Self::try_parse_from(words) {
            Ok(entered) if text.is_empty() => {
                drop(entered);
                Err("it cannot be left out".to_owned())
            }
            Ok(entered) => Ok(entered.declared),
            Err(error) => {
                let told = error.to_string();
                let first = told.lines().next().unwrap_or_default();
                Err(first.trim_start_matches("error: ").to_owned())
            }
        }
    }
}

impl<'a> Draft<'a> {
    /// Reads what is there.
    async fn begin(outside: &Outside, options: &'a Init) -> Result<Self, Stopped> {
        let shared = Shared::without_a_file(outside, &options.common);
        let said = options.declared.clone();
        let cloud = cloud(outside, &said).await?;
        let site = site(&said, &cloud);
        let mut readers = vec![shared.reader(&cloud).await];
        if site != cloud {
            readers.push(shared.reader(&site).await);
        }
        let (world, _) = shared.looks.observe(&readers, &shared.events).await?;
        let flags = said.flags().into_iter();
        let mut reasons: BTreeMap<_, _> =
            flags.map(|flag| (flag, "given on the command line".to_owned())).collect();
        let region = said.region.clone().or_else(|| {
            reasons.insert("region", "the region that was looked at".to_owned());
            Some(cloud.region.clone())
        });
        Ok(Self {
            options,
            world,
            cloud,
            site,
            readers,
            events: shared.events.clone(),
            shared,
            stack: UNNAMED.parse().expect("it is a name"),
            declared: Declared { region, ..said },
            reasons,
            managed: None,
        })
    }

    fn request<'r>(&'r self, own: &'r Own) -> Request<'r> {
        Request {
            stack: &self.stack,
            declared: &self.declared,
            world: &self.world,
            cloud: &self.cloud,
            site: &self.site,
            operator: None,
            // Quotas count on the day of `up`.
            quota_raised: true,
            is_managed: self.managed.as_ref().is_some_and(|(_, is_managed)| *is_managed),
            own,
        }
    }

    fn asks(&self) -> bool {
        !self.options.yes && ui::can_ask()
    }

    /// Settles a topic, if it is open.
    fn settle(&mut self, topic: Topic) -> Result<(), Stopped> {
        let own = Own::default();
        let question = topic(&self.request(&own));
        match question {
            None => Ok(()),
            Some(Question::Choose(proposal)) => self.choose(&proposal),
            Some(Question::Fill { flag, about }) => self.fill(flag, about),
        }
    }

    fn choose(&mut self, proposal: &Proposal) -> Result<(), Stopped> {
        let Proposal { about, answers, proposed, unfit, hint } = proposal;
        let is_asked = self.asks() && !answers.is_empty();
        if is_asked {
            ui::talk(&format!("{about}:"));
            for Refusal { text, .. } in unfit {
                ui::talk(&format!("  -  {text}"));
            }
            let items: Vec<String> =
                answers.iter().map(|a| format!("{}: {}", a.label, a.because)).collect();
            let chosen = ui::choose_from("Number", &items, *proposed);
            let chosen = chosen.ok_or_else(|| self.unsettled(proposal))?;
            self.take(&answers[chosen]);
            return Ok(());
        }
        let Some(answer) = proposed.map(|n| &answers[n]) else {
            return Err(self.unsettled(proposal));
        };
        if self.options.common.json {
            let others = answers.iter().filter(|other| *other != answer);
            ui::data(&ui::json_line(
                "proposal",
                &json!({
                    "about": about,
                    "is": answer.label,
                    "because": answer.because,
                    "says": answer.says,
                    "others": others.map(|o| format!("{}: {}", o.label, o.because)).collect::<Vec<_>>(),
                    "unfit": unfit,
                    "hint": hint,
                }),
            ));
        } else {
            ui::talk(&format!("{about}: {}: {}", answer.label, answer.because));
            for other in answers.iter().filter(|other| *other != answer) {
                ui::talk(&format!("  or {}: {}", other.label, other.because));
            }
            for Refusal { text, .. } in unfit {
                ui::talk(&format!("  not: {text}"));
            }
        }
        self.take(answer);
        Ok(())
    }

    fn take(&mut self, answer: &Answer) {
        let said = answer.says.flags().into_iter().map(|flag| (flag, answer.because.clone()));
        self.reasons.extend(said);
        self.declared = answer.says.clone().or(self.declared.clone());
    }

    /// Nobody can be asked, and there is not just one answer.
    fn unsettled(&self, Proposal { about, answers, unfit, hint, .. }: &Proposal) -> Stopped {
        let mut text = format!("{about} is not settled");
        let could: Vec<&str> = answers.iter().map(|answer| answer.label.as_str()).collect();
        if !could.is_empty() {
            text = format!("{text}: it could be {}", could.join("; "));
        }
        for Refusal { text: why, .. } in unfit {
            text = format!("{text}; {why}");
        }
        let hint = if could.is_empty() && unfit.is_empty() {
            format!("nothing that could be it is in {}; {hint}", self.cloud)
        } else {
            (*hint).to_owned()
        };
        Stopped::refused(text, hint)
    }

    fn fill(&mut self, flag: &'static str, about: &'static str) -> Result<(), Stopped> {
        let missing =
            || Stopped::refused(format!("{about} is not given"), format!("give it with --{flag}"));
        if !self.asks() {
            return Err(missing());
        }
        let question = format!("{about} (--{flag})");
        let read = |text: &str| Entered::read(flag, text);
        let says = ui::entry(&question, None, read).ok_or_else(missing)?;
        self.reasons.insert(flag, "entered".to_owned());
        self.declared = says.or(self.declared.clone());
        Ok(())
    }

    /// Gives the stack a name: that of the stack which the VPC has, else what the VPC is called.
    fn call_it(&mut self, before: Option<&Before>) -> Result<(), Stopped> {
        let is_taken = |name: &Stack| {
            before.is_some_and(|before| before.file.stacks.iter().any(|table| &table.name == name))
        };
        let read = |text: &str| match text.parse::<Stack>() {
            Ok(name) if is_taken(&name) => Err(format!("the file declares {name} already")),
            Ok(name) => Ok(name),
            Err(error) => Err(error.to_string()),
        };
        let refuse = |text: String| Stopped::refused(text, "name it with --stack");
        if let Some(name) = &self.options.common.stack {
            self.stack = read(name.as_str()).map_err(refuse)?;
            return Ok(());
        }
        let own = Own::default();
        let request = self.request(&own);
        let recorded = propose::recorded(&request);
        let (name, because) = match recorded.as_slice() {
            [one] => (one.clone(), "the VPC has that stack already"),
            [] | [_, ..] => (propose::name(&request).unwrap_or_default(), "as the VPC is called"),
        };
        if self.asks() {
            let asked = ui::entry("the stack's name", Some(&name), read);
            self.stack = asked.ok_or_else(|| refuse("no name is given".to_owned()))?;
        } else {
            self.stack = read(&name).map_err(refuse)?;
            if !self.options.common.json {
                ui::talk(&format!("the stack's name: {name}: {because}"));
            }
        }
        Ok(())
    }

    /// Takes over what the record of a stack says that is there already.
    async fn take_what_is_recorded(&mut self) -> Result<(), Stopped> {
        let mut groups = self.world.regions.iter().flat_map(|r| &r.groups);
        let record = groups.find(|g| {
            let is_record = g.tags.node_key(&self.stack, StackRecord::NAME).is_some();
            is_record && self.declared.vpc.as_ref().is_some_and(|vpc| vpc.id() == &g.vpc)
        });
        let Some(record) = record else { return Ok(()) };
        let declared = self.declared.clone().over_record(Declared::from_tags(&record.tags.0));
        for flag in declared.flags() {
            let because = || "as the stack's record says".to_owned();
            self.reasons.entry(flag).or_insert_with(because);
        }
        self.declared = declared;
        let site = site(&self.declared, &self.cloud);
        if site != self.site {
            let reader = self.shared.reader(&site).await;
            let (more, _) =
                self.shared.looks.observe(std::slice::from_ref(&reader), &self.events).await?;
            self.world.regions.extend(more.regions);
            self.readers.push(reader);
            self.site = site;
        }
        Ok(())
    }

    /// Asks whether Systems Manager reaches the instance, once.
    async fn look_for_a_way(&mut self) {
        let Some(instance) = self.declared.instance.clone() else { return };
        let is_known = self.managed.as_ref().is_some_and(|(known, _)| *known == instance);
        if is_known || self.declared.via.is_some() {
            return;
        }
        let Some(reader) = self.readers.iter().find(|reader| reader.place() == &self.site) else {
            return;
        };
        let is_managed = match time::within(MOMENT, reader.is_managed(instance.id())).await {
            Ok(Ok(is_managed)) => is_managed,
            Ok(Err(error)) => {
                self.events
                    .note(format!("whether Systems Manager reaches it is not known: {error}"));
                false
            }
            Err(_) => false,
        };
        self.managed = Some((instance, is_managed));
    }

    /// Refuses what `up` would refuse.
    fn must_be_right(&self) -> Result<(), Stopped> {
        let refusals = propose::refusals(&self.request(&Own::default()));
        if refusals.is_empty() { Ok(()) } else { Err(refusals.into()) }
    }
}

fn tell(common: &Common, path: &Path, stack: &Stack) {
    if common.json {
        ui::data(&ui::json_line("written", &json!({ "file": path, "stack": stack })));
        return;
    }
    ui::data(&format!("wrote {}\n", path.display()));
    let config = match &common.config {
        Some(path) => format!(" --config {}", path.display()),
        None => String::new(),
    };
    ui::talk(&format!("look at it, then at what it would do: cgw plan{config} --stack {stack}"));
}
