//! A simulated AWS account and Windows Server, deterministic from a seed.

mod account;
mod door;
mod draws;
mod faults;
pub mod host;
mod http;
mod manners;
mod moment;
mod process;
mod query;
mod refusal;
mod region;
mod seed;
mod serve;
mod servers;
mod stages;
mod store;
mod systems_manager;
mod table;
mod throttle;
mod tree;
mod unshown;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::shared::IntoShared as _;

pub use account::Calls;
use account::{Account, Reply, Request, Who};
use query::Query;
use refusal::Refusal;
use region::Region;

pub use draws::Draws;
pub use faults::{Done, Fate, Faults, Odds};
pub use manners::{Manners, Quotas};
pub use moment::Moment;
pub use process::{Asking, Process};
pub use seed::Seed;
pub use serve::Port;
pub use store::Error;
use store::Store;
pub use throttle::rate;
pub use unshown::Unshown;

use crate::time;
use crate::transport::Machine;

/// A simulated account and its servers.
#[derive(Clone)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
    /// Whose calls and sessions those through this clone are.
    process: Process,
}

struct State {
    account: Account,
    store: Option<Store>,
}

/// A call as it came over HTTP.
#[derive(Debug, Clone)]
struct Asked {
    who: Who,
    service: String,
    region: String,
    action: String,
    query: Query,
}

impl Asked {
    /// Reads a call; what it is for stands in the scope of its signature: `Credential=KEY/20250101/
    /// REGION/SERVICE/aws4_request` (IAM user guide, «Signature Version 4»).
    fn read(who: Who, authorization: &str, target: &str, body: &[u8]) -> Option<Self> {
        let scope = authorization.split("Credential=").nth(1)?.split([',', ' ']).next()?;
        let mut parts = scope.split('/').skip(2);
        let (region, service) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let json =
            target.rsplit_once('.').map(|(_, action)| (action.to_owned(), Query::json(body)));
        let form = || {
            let query = Query::parse(body);
            Some((query.text("Action")?.to_owned(), query))
        };
        let (action, query) = json.or_else(form)?;
        Some(Self { who, service, region, action, query })
    }

    /// Refuses it in the form of its service.
    fn refuse(&self, refusal: &Refusal) -> Reply {
        account::refuse(&self.service, refusal, "sandbox")
    }
}

impl Sandbox {
    /// The folder that is meant where none is named.
    pub const FOLDER: &str = "cgw-sandbox";

    /// The region that is meant where none is named.
    pub const REGION: &str = "eu-west-1";

    /// Makes an empty sandbox that lives as long as this process.
    #[must_use]
    pub fn new(seed: u64, manners: Manners) -> Self {
        Self::begin(State { account: Account::new(seed, manners), store: None })
    }

    /// Opens the sandbox in a folder, and makes one there if there is none; time in it, and with it
    /// on this thread, goes so many times faster from now on.
    ///
    /// Also when nobody uses it its time goes on, at the speed of who opens it next.
    pub fn open(folder: &Path, speed: f64) -> Result<Self, Error> {
        let mut store = Store::new(folder)?;
        let held = store.hold()?;
        let wall = Moment::from(time::real_wall_clock());
        let before = store.read(&held)?;
        let now = before
            .as_ref()
            .map_or(wall, |(_, now, then)| now.after(wall.since(*then).mul_f64(speed)));
        time::simulate(speed, now.timestamp());
        let is_new = before.is_none();
        let chance = wall.second().unsigned_abs();
        let account =
            before.map_or_else(|| Account::new(chance, Manners::default()), |(all, ..)| all);
        drop(held);
        let sandbox = Self::begin(State { account, store: Some(store) });
        if is_new {
            let sown = sandbox.seed_for_people();
            sandbox.change(|account| account.seed = Some(sown))?;
        }
        Ok(sandbox)
    }

    fn begin(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), process: Process::default() }
    }

    /// Returns the moment that it is in the sandbox.
    #[must_use]
    pub fn now(&self) -> Moment {
        time::wall_clock().into()
    }

    /// Returns what stands in for AWS behind the SDK.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        http::Client(self.clone()).into_shared()
    }

    /// Returns a way to a server of this sandbox, which stands for one such as `ssh`; where it leads
    /// is still to be told.
    #[must_use]
    pub fn machine(&self, way: &'static str) -> Arc<dyn Machine> {
        Arc::new(door::Door { sandbox: self.clone(), way, host: String::new() })
    }

    /// Puts a server of its owner's own somewhere in the world.
    pub fn add_server(&self, public: Ipv4Addr, private: Ipv4Addr) -> Result<(), Error> {
        self.with(|account, _| account.add_server(public, private))
    }

    /// Has something go wrong in the next run on a server: an instance's, or that at an address.
    pub fn trouble_server(&self, server: &str, trouble: host::Trouble) -> Result<(), Error> {
        self.change(|account| account.trouble(server, trouble))
    }

    /// Returns what is not as it was on a fresh server.
    pub fn traces(&self) -> Result<Vec<String>, Error> {
        self.with(|account, now| {
            let hosts = account.hosts.values_mut();
            hosts
                .flat_map(|host| {
                    host.advance(now);
                    host.traces()
                })
                .collect()
        })
    }

    /// Returns what the client did that it should not have.
    pub fn alarms(&self) -> Result<Vec<String>, Error> {
        self.with(|account, _| account.alarms.clone())
    }

    /// Lets calls go wrong from now on, or nothing any more.
    pub fn trouble(&self, faults: Option<Faults>) {
        let swapped = self.with(|account, _| {
            account.hosts.values_mut().for_each(host::Host::calm);
            account.faults = faults;
        });
        swapped.expect("a sandbox with faults is kept in no folder");
    }

    /// Returns the same sandbox for the calls and sessions of a process.
    #[must_use]
    pub fn seen_by(&self, process: &Process) -> Self {
        Self { process: process.clone(), ..self.clone() }
    }

    /// Does what somebody does by hand in AWS, and returns the texts at a path of the answer.
    pub fn by_hand(&self, action: &str, form: &str, path: &[&str]) -> Result<Vec<String>, Error> {
        let query = Query::parse(form.as_bytes());
        let (who, service, region) = (Who::Somebody, "ec2", Self::REGION);
        let request = Request { who, service, region, action, query: &query };
        self.with(|account, now| {
            let answer = account.act(&request, now).ok();
            let texts = answer.iter().flat_map(|tree| tree.texts(path));
            texts.map(str::to_owned).collect()
        })
    }

    /// Draws a seed for somebody's dice, another one each time.
    pub fn chance(&self) -> Result<u64, Error> {
        self.change(|account| u64::from_str_radix(&account.draws.digits("dice"), 16).unwrap_or(0))
    }

    /// Does what a person does by hand on an instance.
    pub fn tamper(&self, instance: &str, what: &host::Tamper) -> Result<(), Error> {
        self.change(|account| {
            if let Some(host) = account.hosts.get_mut(instance) {
                host.tamper(what);
            }
        })
    }

    /// Returns all objects as text, by their ids: equal when nothing has changed.
    pub fn objects(&self) -> Result<BTreeMap<String, String>, Error> {
        self.with(|account, now| {
            let parameters = account.managers.values().flat_map(|manager| manager.objects(now));
            account.regions.values().flat_map(Region::objects).chain(parameters).collect()
        })
    }

    /// Returns the nodes that exist, each with the ids of the objects which serve as it.
    pub fn nodes(&self) -> Result<BTreeMap<(String, String), Vec<String>>, Error> {
        self.with(|account, _| {
            let mut nodes: BTreeMap<_, Vec<String>> = BTreeMap::new();
            for (node, id) in account.regions.values().flat_map(Region::nodes) {
                nodes.entry(node).or_default().push(id);
            }
            nodes
        })
    }

    /// Returns all keys that a tunnel has had, or that were to become one's.
    pub fn keys(&self) -> Result<Vec<Unshown>, Error> {
        self.with(|account, _| {
            let now = account.regions.values().flat_map(Region::keys);
            now.chain(account.overheard.iter().cloned()).collect()
        })
    }

    /// Returns how many calls of each action there were; one that a folder keeps does not count.
    pub fn calls(&self) -> Result<BTreeMap<String, Calls>, Error> {
        self.with(|account, _| account.calls.clone())
    }

    /// Returns what it was seeded with.
    pub fn seeded(&self) -> Result<Option<Seed>, Error> {
        self.with(|account, _| account.seed.clone())
    }

    /// Answers a call.
    fn answer(&self, asked: &Asked) -> Result<Reply, Error> {
        let request = Request {
            who: asked.who,
            service: &asked.service,
            region: &asked.region,
            action: &asked.action,
            query: &asked.query,
        };
        self.with(|account, now| account.answer(&request, now))
    }

    /// Changes something of the account itself.
    fn change<T>(&self, change: impl FnOnce(&mut Account) -> T) -> Result<T, Error> {
        self.with(|account, _| {
            account.changes += 1;
            change(account)
        })
    }

    /// Does something with the account as it is now; where a folder keeps it, no other process does
    /// anything meanwhile.
    fn with<T>(&self, work: impl FnOnce(&mut Account, Moment) -> T) -> Result<T, Error> {
        let mut state = self.state.lock().expect("no holder of this lock can panic");
        let State { account, store } = &mut *state;
        let Some(store) = store else { return Ok(work(account, self.now())) };
        let held = store.hold()?;
        if let Some((newer, ..)) = store.read(&held)? {
            *account = newer;
        }
        let (now, before) = (self.now(), account.changes);
        let done = work(account, now);
        if account.changes != before {
            store.write(&held, account, now, Moment::from(time::real_wall_clock()))?;
        }
        Ok(done)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sandbox")
    }
}
