//! The simulated account: its regions, whose objects are whose, and the answer to any call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::{Fate, Faults};
use super::host::Host;
use super::manners::Manners;
use super::query::Query;
use super::refusal::Refusal;
use super::region::{self, Call, Effect, Ends, Region};
use super::systems_manager::SystemsManager;
use super::throttle::Throttle;
use super::tree::{Tree, map};
use super::{Draws, Moment, Seed, Unshown};

/// All that there is in a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) number: String,
    pub(super) draws: Draws,
    pub(super) manners: Manners,
    pub(super) regions: BTreeMap<String, Region>,
    /// Systems Manager of each region.
    #[serde(default)]
    pub(super) managers: BTreeMap<String, SystemsManager>,
    /// Servers: by their instance, or those of others by their public address.
    pub(super) hosts: BTreeMap<String, Host>,
    throttles: BTreeMap<String, Throttle>,
    /// What goes wrong; only in tests, so it is not kept.
    #[serde(skip)]
    pub(super) faults: Option<Faults>,
    /// All keys that were in a call, whatever became of it.
    #[serde(skip)]
    pub(super) overheard: Vec<Unshown>,
    /// The far ends of the tunnels, as they were at a moment.
    #[serde(skip)]
    ends: Option<(Moment, Ends)>,
    /// Stacks that are somebody else's.
    pub(super) foreign: BTreeSet<String>,
    /// What a client that owns its objects would not have done.
    pub(super) alarms: Vec<String>,
    pub(super) seed: Option<Seed>,
    /// How often anything was changed.
    pub(super) changes: u64,
    /// The calls of each action; only tests ask.
    #[serde(skip)]
    pub(super) calls: BTreeMap<String, Calls>,
}

/// How long AWS may take to notice that a tunnel came up or went down.
const NOTICED: Duration = Duration::from_secs(1);

/// How many calls there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// All that came.
    pub came: u64,
    /// Those of them that the throttle refused.
    pub throttled: u64,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The client that is watched: it changes nothing that it does not own.
    Client,
    /// Anybody else.
    Somebody,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    pub(super) who: Who,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) action: &'a str,
    pub(super) query: &'a Query,
}

impl Account {
    pub(super) fn new(seed: u64, manners: Manners) -> Self {
        Self {
            number: "111122223333".to_owned(),
            draws: Draws::new(seed),
            manners,
            regions: BTreeMap::new(),
            managers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            throttles: BTreeMap::new(),
            faults: None,
            overheard: Vec::new(),
            ends: None,
            foreign: BTreeSet::new(),
            alarms: Vec::new(),
            seed: None,
            changes: 0,
            calls: BTreeMap::new(),
        }
    }

    /// Draws what becomes of a call.
    pub(super) fn fate(&mut self, action: &str) -> Fate {
        self.faults.as_mut().map_or(Fate::Normal, |faults| faults.fate(action))
    }

    /// Remembers the keys in a call, and raises the alarm where one stands in anything else.
    pub(super) fn overhear(&mut self, action: &str, query: &Query) {
        let [keys, others] = query.told_apart(|name| name.ends_with("PreSharedKey"));
        for key in keys.into_iter().map(|(_, key)| Unshown::new(key)) {
            if !self.overheard.contains(&key) {
                self.overheard.push(key);
            }
        }
        let tells = |text: &str| self.overheard.iter().any(|key| text.contains(key.expose()));
        let told = others.into_iter().filter(|(_, text)| tells(text));
        self.alarms.extend(told.map(|(name, _)| format!("{action}: a key stands in {name}")));
    }

    /// Answers a call of EC2, STS or Systems Manager.
    pub(super) fn answer(&mut self, request: &Request<'_>, now: Moment) -> Reply {
        let id = format!("{:08x}-sandbox", self.draws.number("request"));
        if request.service == "ssm" {
            return match self.systems_manager(request, now) {
                Ok(answer) => json_reply(200, &answer),
                Err(refusal) => refuse(request.service, &refusal, &id),
            };
        }
        match (request.service, self.act(request, now)) {
            ("sts", Ok(tree)) => sts(request.action, &tree, &id),
            (_, Ok(tree)) => ec2(request.action, &tree, &id),
            (service, Err(refusal)) => refuse(service, &refusal, &id),
        }
    }

    /// Does what a call asks for.
    pub(super) fn act(&mut self, request: &Request<'_>, now: Moment) -> Result<Tree, Refusal> {
        let action = request.action;
        let calls = self.calls.entry(action.to_owned()).or_default();
        calls.came += 1;
        if request.service == "sts" {
            return self.identity(action);
        }
        let throttle = self.throttles.entry(request.region.to_owned()).or_default();
        if self.manners.throttles && !throttle.take(action, now) {
            calls.throttled += 1;
            return Err(throttled());
        }
        let effect = region::effect(action);
        if effect == Some(Effect::Changes) {
            self.changes += 1;
            if request.who == Who::Client {
                self.watch(request, now);
            }
        }
        let is_judged = request.who == Who::Client && action == "ModifyVpnTunnelOptions";
        let before = self.ends.take();
        let (at, ends) = before
            .filter(|(at, _)| !is_judged && *at <= now && now.since(*at) < NOTICED)
            .unwrap_or_else(|| (now, self.ends(now)));
        let lag = self.draws.span("lag", Duration::ZERO..=self.manners.lag);
        let mut call = Call {
            region: self.regions.entry(request.region.to_owned()).or_default(),
            query: request.query,
            manners: &self.manners,
            draws: &mut self.draws,
            account: &self.number,
            now,
            seen: now.before(lag),
            ends: &ends,
        };
        region::bury(&mut call);
        if at == now {
            region::notice(&mut call);
        }
        let before = if is_judged { region::seen_carrying(&call) } else { BTreeSet::new() };
        let answer = call.act(action);
        if !before.is_empty() {
            let after = region::carrying(&call);
            let lost = before.difference(&after);
            self.alarms.extend(lost.map(|id| format!("both tunnels of {id} are down at once")));
        }
        self.ends = Some((at, ends));
        answer
    }

    fn identity(&self, action: &str) -> Result<Tree, Refusal> {
        if action != "GetCallerIdentity" {
            return Err(Refusal::new("InvalidAction", format!("no action {action}")));
        }
        let number = self.number.as_str();
        Ok(Tree::Map(vec![
            ("UserId", "AIDASANDBOX".into()),
            ("Account", number.into()),
            ("Arn", format!("arn:aws:iam::{number}:user/sandbox").into()),
        ]))
    }

    /// Raises the alarm where a client is about to change what it has neither made nor announced.
    fn watch(&mut self, request: &Request<'_>, now: Moment) {
        let Some(region) = self.regions.get(request.region) else { return };
        if let Some(trespass) = region.trespass(request.action, request.query, &self.foreign) {
            self.alarms.push(format!("{}: {} {trespass}", now.timestamp(), request.action));
        }
    }
}

/// What a call is answered with that came too often.
pub(super) fn throttled() -> Refusal {
    Refusal::with_status(503, "RequestLimitExceeded", "Request limit exceeded.")
}

fn json_reply(status: u16, body: &Value) -> Reply {
    let body = body.to_string();
    Reply { status, content_type: "application/x-amz-json-1.1", body }
}

const XML: &str = "text/xml;charset=UTF-8";

/// A tree, written as XML where it stands in a text.
struct Xml<'a>(&'a Tree);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.0.write(&mut out);
        f.write_str(&out)
    }
}

fn ec2(action: &str, tree: &Tree, id: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{id}</requestId>{}\
         </{action}Response>",
        Xml(tree)
    );
    Reply { status: 200, content_type: XML, body }
}

fn sts(action: &str, tree: &Tree, id: &str) -> Reply {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{}\
         </{action}Result><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
         </{action}Response>",
        Xml(tree)
    );
    Reply { status: 200, content_type: XML, body }
}

/// Writes an error as a service does.
pub(super) fn refuse(service: &str, refusal: &Refusal, id: &str) -> Reply {
    let Refusal { status, code, message } = refusal;
    if service == "ssm" {
        return json_reply(*status, &json!({ "__type": code, "message": message }));
    }
    let error = map([("Code", code.into()), ("Message", message.into())]);
    let error = Xml(&error);
    let body = match service {
        "sts" => format!(
            "<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>{id}</RequestId>\
             </ErrorResponse>"
        ),
        _ => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error>{error}</Error>\
             </Errors><RequestID>{id}</RequestID></Response>"
        ),
    };
    Reply { status: *status, content_type: XML, body }
}
