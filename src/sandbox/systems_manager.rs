//! Systems Manager's Run Command: takes scripts to instances, and keeps the parameters that these
//! read.
//!
//! Every Windows Server of the account is managed, but its agent has not been heard of for a while:
//! a command reaches it all the same, and nobody takes this way who has not been asked to.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::{Account, Request};
use super::door::Conversation;
use super::host::End;
use super::query::Query;
use super::refusal::Refusal;
use super::{Moment, Unshown};
use crate::address::Stack;
use crate::transport::ssm;

/// What Systems Manager keeps in a region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SystemsManager {
    parameters: BTreeMap<String, Parameter>,
    commands: BTreeMap<String, Command>,
    /// What was left on the instances for a later command: an instance, a command, a part.
    left: BTreeMap<String, String>,
}

/// A parameter that a command reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Parameter {
    value: Unshown,
    /// When it goes by itself.
    until: Option<Moment>,
}

impl Parameter {
    fn is_there(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A command for one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Command {
    instance: String,
    comment: String,
    sent: Moment,
    /// From when on a read finds it.
    seen: Moment,
    /// Until when the agent may fetch it.
    until: Moment,
    state: State,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// The agent has not fetched this script yet.
    Pending(String),
    Running(Running),
    Ended(Ended),
}

/// A command that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    /// The boot in which it began.
    boot: Moment,
    /// When it ends.
    at: Moment,
    /// `None` where a restart breaks it off.
    end: Option<Ended>,
    /// Whose scripts it runs.
    stack: Option<Stack>,
}

/// How a command ended, in the API's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    status: String,
    details: String,
    stdout: String,
    stderr: String,
}

/// The shortest time for which a server that restarts is down.
const DOWN: Duration = Duration::from_secs(10);
/// The characters that are kept of each stream (API, GetCommandInvocation).
const KEPT: [usize; 2] = [24_000, 8_000];

impl Ended {
    fn new(status: &str, stdout: &str, stderr: &str) -> Self {
        let kept = |text: &str, most: usize| text.chars().take(most).collect();
        Self {
            status: status.to_owned(),
            details: status.to_owned(),
            stdout: kept(stdout, KEPT[0]),
            stderr: kept(stderr, KEPT[1]),
        }
    }

    /// A script that says why it has begun nothing.
    fn not_started(why: &str) -> Self {
        Self::new("Failed", "", &format!("cgw-not-started {why}\n"))
    }
}

impl SystemsManager {
    /// Returns the parameters as text, by their names; their values are not told.
    pub(super) fn objects(&self, now: Moment) -> impl Iterator<Item = (String, String)> {
        let there = self.parameters.iter().filter(move |(_, one)| one.is_there(now));
        there.map(|(name, _)| (name.clone(), "parameter".to_owned()))
    }

    fn put(&mut self, query: &Query) -> Result<Value, Refusal> {
        let (name, value) = (query.must("Name")?, query.must("Value")?);
        if self.parameters.contains_key(name) {
            return Err(Refusal::new("ParameterAlreadyExists", "It exists already."));
        }
        let tier = query.text("Tier").unwrap_or("Standard");
        let until = query.text("Policies").map(expiration).transpose()?;
        if until.is_some() && tier != "Advanced" {
            let text = "Policies are only for parameters of the advanced tier.";
            return Err(Refusal::new("ValidationException", text));
        }
        self.parameters.insert(name.to_owned(), Parameter { value: Unshown::new(value), until });
        Ok(json!({ "Version": 1, "Tier": tier }))
    }

    /// Deletes what goes by itself. AWS looks for such from time to time; how often it does not say.
    fn expire(&mut self, now: Moment) {
        self.parameters.retain(|_, parameter| parameter.is_there(now));
    }

    /// Returns the commands for an instance, the newest first.
    fn listed(&self, query: &Query, now: Moment) -> Value {
        let of = query.text("InstanceId");
        let is_asked = |one: &Command| of.is_none_or(|of| one.instance == of) && one.seen <= now;
        let mut all: Vec<_> = self.commands.iter().filter(|(_, one)| is_asked(one)).collect();
        all.sort_by_key(|(_, command)| std::cmp::Reverse(command.sent));
        let list: Vec<Value> = all
            .iter()
            .map(|(id, one)| {
                json!({ "CommandId": id, "InstanceId": one.instance, "Comment": one.comment })
            })
            .collect();
        json!({ "CommandInvocations": list })
    }

    fn command(&mut self, query: &Query, code: &str) -> Result<&mut Command, Refusal> {
        let (id, instance) = (query.must("CommandId")?, query.text("InstanceId"));
        let found = self.commands.get_mut(id);
        let found = found.filter(|one| instance.is_none_or(|instance| one.instance == instance));
        found.ok_or_else(|| Refusal::new(code, ""))
    }
}

/// What a script of cgw is given: the lines that set its variables.
fn given(script: &str) -> BTreeMap<&str, &str> {
    let variables = script.lines().map_while(|line| {
        let (name, value) = line.strip_prefix('$')?.split_once(" = '")?;
        Some((name, value.strip_suffix('\'')?))
    });
    variables.collect()
}

/// Says whose scripts a document has run.
fn stack_of(document: &[u8]) -> Option<Stack> {
    let line = document.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice::<Value>(line).ok()?["stack"].as_str()?.parse().ok()
}

/// Reads when a parameter is to go (Systems Manager user guide, «Assigning parameter policies in
/// Parameter Store»).
fn expiration(policies: &str) -> Result<Moment, Refusal> {
    let read = || {
        let policies: Value = serde_json::from_str(policies).ok()?;
        let [policy] = &policies.as_array()?[..] else { return None };
        let is_known = policy["Type"] == "Expiration" && policy["Version"] == "1.0";
        let at: Timestamp = policy["Attributes"]["Timestamp"].as_str()?.parse().ok()?;
        is_known.then(|| at.into())
    };
    let text = "It is no policy that says when the parameter expires.";
    read().ok_or_else(|| Refusal::new("InvalidPolicyAttributeException", text))
}

impl Account {
    /// Answers a call of Systems Manager.
    pub(super) fn systems_manager(
        &mut self,
        request: &Request<'_>,
        now: Moment,
    ) -> Result<Value, Refusal> {
        let Request { region, action, query, .. } = *request;
        self.calls.entry(action.to_owned()).or_default().came += 1;
        self.changes += 1;
        if self.manners.denied.contains(action) {
            return Err(Refusal::new("AccessDeniedException", "not authorized"));
        }
        let kept = self.managers.entry(region.to_owned()).or_default();
        kept.expire(now);
        match action {
            "DescribeInstanceInformation" => Ok(self.managed(region, query, now)),
            "PutParameter" => kept.put(query),
            "DeleteParameter" => match kept.parameters.remove(query.must("Name")?) {
                Some(_) => Ok(json!({})),
                None => Err(Refusal::new("ParameterNotFound", "")),
            },
            "SendCommand" => self.send(region, query, now),
            "ListCommandInvocations" => Ok(kept.listed(query, now)),
            "GetCommandInvocation" => self.invocation(region, query, now),
            "CancelCommand" => self.cancel(region, query, now),
            _ => Err(Refusal::new("UnknownOperationException", format!("no action {action}"))),
        }
    }

    fn managed(&self, region: &str, query: &Query, now: Moment) -> Value {
        let all = self.regions.get(region).map(|region| region.windows(now)).unwrap_or_default();
        let asked = query.list("Filters.1.Values");
        let asked = all.iter().filter(|id| asked.is_empty() || asked.contains(&id.as_str()));
        let list: Vec<Value> =
            asked.map(|id| json!({ "InstanceId": id, "PingStatus": "ConnectionLost" })).collect();
        json!({ "InstanceInformationList": list })
    }

    fn invocation(&mut self, region: &str, query: &Query, now: Moment) -> Result<Value, Refusal> {
        let missing = "InvocationDoesNotExist";
        let kept = self.managers.entry(region.to_owned()).or_default();
        if kept.command(query, missing)?.seen > now {
            return Err(Refusal::new(missing, ""));
        }
        let id = query.must("CommandId")?;
        let command = self.bring_on(region, id, now);
        let mut answer = json!({ "CommandId": id, "InstanceId": command.instance });
        match &command.state {
            State::Pending(_) => answer["Status"] = json!("Pending"),
            State::Running(_) => answer["Status"] = json!("InProgress"),
            State::Ended(Ended { status, details, stdout, stderr }) => {
                answer["Status"] = json!(status);
                answer["StatusDetails"] = json!(details);
                answer["StandardOutputContent"] = json!(stdout);
                answer["StandardErrorContent"] = json!(stderr);
            }
        }
        Ok(answer)
    }

    fn cancel(&mut self, region: &str, query: &Query, now: Moment) -> Result<Value, Refusal> {
        let kept = self.managers.entry(region.to_owned()).or_default();
        kept.command(query, "InvalidCommandId")?;
        let command = self.bring_on(region, query.must("CommandId")?, now);
        if matches!(command.state, State::Ended(_)) {
            return Ok(json!({}));
        }
        let instance = command.instance.clone();
        let cancelled = State::Ended(Ended::new("Cancelled", "", ""));
        if let State::Running(Running { stack: Some(stack), .. }) =
            std::mem::replace(&mut command.state, cancelled)
        {
            self.hosts.get_mut(&instance).expect("it has begun there").hang_up(&stack);
        }
        Ok(json!({}))
    }

    fn send(&mut self, region: &str, query: &Query, now: Moment) -> Result<Value, Refusal> {
        let instances = query.list("InstanceIds");
        let unknown = || Refusal::new("InvalidInstanceId", "Instances not in a valid state");
        let [instance] = instances[..] else { return Err(unknown()) };
        let machine = self.regions.get(region).and_then(|region| region.machine_of(instance, now));
        if !machine.is_some_and(|machine| machine.is_windows) {
            return Err(unknown());
        }
        let script = query.list("Parameters.commands").join("\n");
        let wait = Duration::from_secs(query.read("TimeoutSeconds")?.unwrap_or(3600));
        let digits = self.draws.digits("command");
        let id = format!("{}-{}-4000-8000-{:0>12}", &digits[..8], &digits[8..12], &digits[12..]);
        let lag = self.draws.span("lag", Duration::ZERO..=self.manners.lag);
        let command = Command {
            instance: instance.to_owned(),
            comment: query.text("Comment").unwrap_or_default().to_owned(),
            sent: now,
            seen: now.after(lag),
            until: now.after(wait),
            state: State::Pending(script),
        };
        self.managers.entry(region.to_owned()).or_default().commands.insert(id.clone(), command);
        self.bring_on(region, &id, now);
        Ok(json!({ "Command": { "CommandId": id, "Status": "Pending" } }))
    }

    /// Makes true of a command what has come until now.
    fn bring_on(&mut self, region: &str, id: &str, now: Moment) -> &mut Command {
        let there = "the caller has found it";
        let kept = self.managers.get_mut(region).expect(there);
        let command = kept.commands.get_mut(id).expect(there);
        let (instance, until) = (command.instance.clone(), command.until);
        let next = match command.state.clone() {
            State::Pending(_) if now > until => Some(State::Ended(Ended {
                details: "DeliveryTimedOut".to_owned(),
                ..Ended::new("TimedOut", "", "")
            })),
            State::Pending(script) => self.fetch(region, &instance, &script, now),
            State::Running(running) => self.end(&instance, &running, now).map(State::Ended),
            State::Ended(_) => None,
        };
        let kept = self.managers.get_mut(region).expect(there);
        let command = kept.commands.get_mut(id).expect(there);
        if let Some(next) = next {
            command.state = next;
        }
        command
    }

    /// Has the agent fetch a script, if it runs, and begin it.
    fn fetch(&mut self, region: &str, instance: &str, script: &str, now: Moment) -> Option<State> {
        let machine = self.regions.get(region)?.machine_of(instance, now)?;
        let server = self.server_at(machine.private_ip, now)?;
        let host = self.hosts.get_mut(&server)?;
        host.advance(now);
        if !host.is_up(now) {
            return None;
        }
        let given = given(script);
        let of = |name: &str| given.get(name).copied().unwrap_or_default();
        let (id, sealed) = (of("id"), of("sealed"));
        let kept = self.managers.get_mut(region)?;
        let place = |n: &str| format!("{instance} {id} {n}");
        if let Some(part) = given.get("part") {
            kept.left.insert(place(part), sealed.to_owned());
            return Some(State::Ended(Ended::new("Success", &format!("cgw-exit {id} 0\n"), "")));
        }
        let count: usize = of("parts").parse().unwrap_or_default();
        let parts =
            (0..count).map(|n| kept.left.remove(&place(&n.to_string())).unwrap_or_default());
        let sealed = parts.collect::<String>() + sealed;
        let Some(keys) = kept.parameters.get(of("parameter")) else {
            return Some(State::Ended(Ended::not_started("the parameter is not there")));
        };
        let Some((_, stdin)) = ssm::open(keys.value.expose(), &sealed) else {
            return Some(State::Ended(Ended::not_started("the command was changed on its way")));
        };
        let Conversation { boot, talk, .. } = self.deliver(machine.private_ip, &stdin, now)?;
        let end = match talk.end {
            End::Lost => None,
            End::Exit { code, stderr } => {
                let lines = talk.lines.iter().map(|(_, line)| format!("{line}\r\n"));
                let stdout = lines.collect::<String>() + &format!("\ncgw-exit {id} {code}\n");
                Some(Ended::new("Success", &stdout, &stderr))
            }
        };
        Some(State::Running(Running { boot, at: talk.at, end, stack: stack_of(&stdin) }))
    }

    /// Says how a command has ended, if it has and the agent has told.
    fn end(&mut self, instance: &str, running: &Running, now: Moment) -> Option<Ended> {
        let host = self.hosts.get_mut(instance)?;
        host.advance(now);
        let is_cut = host.boot() != running.boot && running.at > host.boot().before(DOWN);
        match &running.end {
            Some(end) if !is_cut => (now >= running.at).then(|| end.clone()),
            // The agent tells when it is back.
            Some(_) | None => {
                let is_over = now >= running.at || is_cut;
                (is_over && host.is_up(now)).then(|| Ended::new("Failed", "", ""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::account::Who;
    use crate::sandbox::{Manners, Sandbox};

    struct Asking {
        sandbox: Sandbox,
        instance: String,
        now: Moment,
    }

    impl Asking {
        fn new() -> Self {
            let sandbox = Sandbox::new(1, Manners::prompt());
            let instance = sandbox.seed(Sandbox::REGION, Sandbox::REGION).instance;
            let now = sandbox.now();
            Self { sandbox, instance, now }
        }

        fn ask(&self, action: &str, body: &Value) -> Result<Value, String> {
            let query = Query::json(body.to_string().as_bytes());
            let (who, region) = (Who::Client, Sandbox::REGION);
            let request = Request { who, service: "ssm", region, action, query: &query };
            let answer = |account: &mut Account, _| account.systems_manager(&request, self.now);
            self.sandbox.with(answer).unwrap().map_err(|refusal| refusal.code)
        }

        /// Sends a script and returns how its command is asked for.
        fn send(&self, script: &str, wait: u32) -> Value {
            let body = json!({ "InstanceIds": [self.instance], "TimeoutSeconds": wait,
                "Comment": "mine", "Parameters": { "commands": [script] } });
            let sent = self.ask("SendCommand", &body).unwrap();
            json!({ "CommandId": sent["Command"]["CommandId"], "InstanceId": self.instance })
        }

        fn status(&self, command: &Value) -> String {
            let answer = self.ask("GetCommandInvocation", command).unwrap();
            let details = answer["StatusDetails"].as_str().or(answer["Status"].as_str());
            details.unwrap().to_owned()
        }

        fn restart(&self) {
            let restart = |account: &mut Account, _| {
                let Account { hosts, draws, .. } = account;
                hosts.get_mut(&self.instance).unwrap().restart(self.now, draws);
            };
            self.sandbox.with(restart).unwrap();
        }
    }

    #[test]
    fn what_is_not_there_is_refused_in_the_words_of_systems_manager() {
        let asking = Asking::new();
        let code = |action: &str, body: Value| asking.ask(action, &body).unwrap_err();
        let unknown = json!({ "CommandId": "0", "InstanceId": asking.instance });
        assert_eq!(code("GetCommandInvocation", unknown.clone()), "InvocationDoesNotExist");
        assert_eq!(code("CancelCommand", unknown), "InvalidCommandId");
        assert_eq!(code("SendCommand", json!({ "InstanceIds": ["i-0"] })), "InvalidInstanceId");
        assert_eq!(code("DeleteParameter", json!({ "Name": "/cgw/a" })), "ParameterNotFound");
        let put = json!({ "Name": "/cgw/a", "Value": "secret" });
        asking.ask("PutParameter", &put).unwrap();
        assert_eq!(code("PutParameter", put), "ParameterAlreadyExists");
        assert!(asking.sandbox.objects().unwrap().contains_key("/cgw/a"));
        let policy = |at: &str| json!([{ "Type": "Expiration", "Version": "1.0", "Attributes": { "Timestamp": at } }]);
        let until = |tier: &str, at: &str| {
            json!({ "Name": "/cgw/b", "Value": "secret", "Tier": tier,
                "Policies": policy(at).to_string() })
        };
        let (now, past) = (asking.now, asking.now.before(Duration::from_secs(1)));
        let at = now.after(Duration::from_secs(1)).timestamp().to_string();
        assert_eq!(code("PutParameter", until("Standard", &at)), "ValidationException");
        assert_eq!(code("PutParameter", until("Advanced", "x")), "InvalidPolicyAttributeException");
        asking.ask("PutParameter", &until("Advanced", &at)).unwrap();
        assert_eq!(code("PutParameter", until("Advanced", &at)), "ParameterAlreadyExists");
        asking.ask("DeleteParameter", &json!({ "Name": "/cgw/b" })).unwrap();
        asking.ask("PutParameter", &until("Advanced", &past.timestamp().to_string())).unwrap();
        assert_eq!(code("DeleteParameter", json!({ "Name": "/cgw/b" })), "ParameterNotFound");
        asking.ask("DeleteParameter", &json!({ "Name": "/cgw/a" })).unwrap();
        assert_eq!(code("RebootFleet", json!({})), "UnknownOperationException");
    }

    #[test]
    fn a_script_whose_keys_are_gone_says_that_it_has_begun_nothing() {
        let asking = Asking::new();
        let command = asking.send("$id = '0f'\n$parameter = '/cgw/0f'\n$sealed = ''\nexit", 30);
        let answer = asking.ask("GetCommandInvocation", &command).unwrap();
        assert_eq!(answer["Status"], "Failed");
        assert!(answer["StandardErrorContent"].as_str().unwrap().starts_with("cgw-not-started "));
        let listed = asking.ask("ListCommandInvocations", &json!({})).unwrap();
        assert_eq!(listed["CommandInvocations"][0]["Comment"], "mine");
    }

    #[test]
    fn a_server_that_is_down_fetches_a_command_when_it_is_back_if_that_is_in_time() {
        let mut asking = Asking::new();
        let part = "$id = '0f'\n$part = '0'\n$sealed = 'x'\n";
        assert_eq!(asking.status(&asking.send(part, 30)), "Success");
        asking.restart();
        let [late, cancelled] = [asking.send(part, 30), asking.send(part, 30)];
        assert_eq!(asking.status(&late), "Pending");
        asking.ask("CancelCommand", &cancelled).unwrap();
        asking.now = asking.now.after(Duration::from_secs(31));
        asking.restart();
        assert_eq!(asking.status(&late), "DeliveryTimedOut");
        let fetched = asking.send(part, 3600);
        assert_eq!(asking.status(&fetched), "Pending");
        asking.now = asking.now.after(Duration::from_mins(15));
        assert_eq!(asking.status(&fetched), "Success");
        assert_eq!(asking.status(&cancelled), "Cancelled");
    }
}
