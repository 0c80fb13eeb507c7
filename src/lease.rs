//! Locks: security groups, because the name of one is unique in a VPC and so its creation is atomic.

mod renewals;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env::consts::OS;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, ResourceType};
use jiff::Timestamp;

use crate::address::{Address, AwsId, Stack};
use crate::aws::{self, Action, Verdict, Writer};
use crate::event::Event;
use crate::interrupt::Interrupted;
use crate::time::{self, Backoff, Instant, TimedOut};

pub use renewals::Renewals;

/// The tag `cgw:node` of the lock: no kind of node has this name.
const NODE: &str = "lock";
/// The tag that says who holds it.
const HOLDER: &str = "cgw:holder";
/// The tag that says when the holder was last seen alive.
const RENEWED: &str = "cgw:renewed";
/// How often the holder says that it is alive.
const RENEWAL: Duration = Duration::from_mins(1);
/// How long the group of a lock that was just taken may be unknown to the next call (EC2 developer
/// guide, «Eventual consistency»).
const FRESH: Duration = Duration::from_mins(1);
/// How long to rest after AWS refused a renewal.
const RETRY: Duration = Duration::from_secs(10);
/// How long a holder may say nothing before its lock is taken over.
const SILENCE: Duration = Duration::from_mins(5);
/// How long a holder that seems silent is watched: its clock may be another than this host's.
///
/// INVARIANT: longer than [`RENEWAL`].
const DOUBT: Duration = Duration::from_secs(90);
/// How long the holder goes on when it cannot say that it is alive.
///
/// INVARIANT: shorter than [`SILENCE`].
const UNRENEWED: Duration = Duration::from_mins(4);

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EC2 refused a call.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// Somebody else holds it and is alive.
    #[error("{lock} is locked by {holder}, last seen {renewed}")]
    Held {
        /// What is locked.
        lock: Lock,
        /// Who holds it.
        holder: String,
        /// When it was last seen alive.
        renewed: String,
    },
    /// A group that is no lock has its name.
    #[error("the security group {group} has the name of a lock, and is none")]
    Misnamed {
        /// The group.
        group: AwsId,
    },
    /// The wait for it was interrupted.
    #[error("interrupted while waiting for a lock")]
    Interrupted(#[from] Interrupted),
}

/// A lock: only one run has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// The VPC that holds it.
    pub vpc: AwsId,
    /// What several stacks share and one run gives up at a time, such as an interface; `None`: all of
    /// one stack.
    pub shared: Option<AwsId>,
    /// Whose run takes it.
    pub stack: Stack,
}

impl Lock {
    /// Returns the lock that a security group is, if it is one.
    #[must_use]
    pub fn read(vpc: &AwsId, tags: &aws::Tags) -> Option<Self> {
        let stack: Stack = tags.stack()?.parse().ok()?;
        let shared = match tags.node_key(&stack, NODE)? {
            "" => None,
            shared => Some(AwsId::new(shared)),
        };
        Some(Self { vpc: vpc.clone(), shared, stack })
    }

    /// The name of its group; no stack has one with a colon.
    fn name(&self) -> String {
        match &self.shared {
            Some(shared) => format!("cgw-lock:{shared}"),
            None => self.stack.group_name("lock"),
        }
    }

    fn address(&self) -> Address {
        let key = self.shared.as_ref().map(AwsId::as_str).unwrap_or_default();
        Address::new(&self.stack, NODE, key)
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared {
            Some(shared) => write!(f, "what the stacks of {shared} share"),
            None => write!(f, "the stack {}", self.stack),
        }
    }
}

/// A process: on which host, in which boot and container of it, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    host: String,
    boot: String,
    process: u32,
    /// Clock ticks since boot at which the process began: a number that is given out again does
    /// not begin at the same tick (proc(5), `starttime`).
    begun: String,
}

impl Holder {
    /// Returns this process.
    ///
    /// Without Linux's /proc nobody can be known to be gone (there is no boot), and the moment tells
    /// this process from all others.
    #[must_use]
    pub fn this() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let process = std::process::id();
        let moment = || time::real_wall_clock().as_nanosecond().to_string();
        Self {
            host: line("/proc/sys/kernel/hostname").unwrap_or_else(|_| OS.to_owned()),
            boot: line("/proc/sys/kernel/random/boot_id")
                .map(|id| id + &namespace())
                .unwrap_or_default(),
            process,
            begun: begun(process).unwrap_or_else(moment),
        }
    }

    /// Returns a process that is simulated: nobody knows whether such a one is gone.
    #[must_use]
    pub fn simulated(process: u32) -> Self {
        let (host, boot) = (format!("sandbox-{process}"), process.to_string());
        Self { host, boot, process, begun: "0".to_owned() }
    }

    /// Says whether it is certain that the process is gone: only on the same boot of this host,
    /// where the same processes can be seen.
    fn is_gone(&self, here: &Self) -> bool {
        !self.boot.is_empty()
            && self.host == here.host
            && self.boot == here.boot
            && begun(self.process).as_ref() != Some(&self.begun)
    }
}

/// Names the process namespace: in another container the same numbers are other processes.
fn namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").ok();
    link.map(|link| format!("/{}", link.display())).unwrap_or_default()
}

/// Returns when a process began, in ticks since boot, or `None` when there is no such process.
fn begun(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything; `starttime` is the 22nd.
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.host, self.boot, self.process, self.begun)
    }
}

impl FromStr for Holder {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let [host, boot, process, begun] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err(());
        };
        let process = process.parse().map_err(|_| ())?;
        Ok(Self { host: host.to_owned(), boot: boot.to_owned(), process, begun: begun.to_owned() })
    }
}

/// How a lock that somebody holds is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It is taken over only when its holder is gone or silent.
    No,
    /// It is taken over from whoever holds it.
    Yes,
}

/// Which lock is wanted, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Who takes it.
    pub holder: &'a Holder,
    /// The lock.
    pub lock: &'a Lock,
    /// What becomes of somebody else's.
    pub force: Force,
    /// How long to wait for somebody else to let go of it.
    pub patience: Duration,
    /// The calls that it shares with the locks of other stacks.
    pub renewals: &'a Renewals,
}

/// The lock, held.
#[derive(Debug)]
pub struct Lease {
    writer: Writer,
    group: AwsId,
    renewals: Renewals,
    /// Whether somebody else held it until now, so that reads may lag behind what that run did.
    pub follows_another: bool,
    taken: Instant,
    /// When it was last said that the holder is alive.
    renewed: Cell<Instant>,
}

impl Lease {
    /// Takes the lock.
    pub async fn take(writer: &Writer, wanted: Wanted<'_>) -> Result<Self, Error> {
        let Wanted { holder: here, lock, force, patience, renewals } = wanted;
        let interrupt = writer.reader().interrupt();
        let say = |what: String| writer.reader().events().say(&Event::Lock { what });
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest, patience);
        let mut watched: Option<Watched> = None;
        let mut follows_another = false;
        let lease = |group, follows_another, begun| {
            let (writer, renewed) = (writer.to_the_end(), Cell::new(begun));
            let renewals = renewals.clone();
            Self { writer, group, renewals, follows_another, taken: begun, renewed }
        };
        loop {
            let begun = time::now();
            match create(writer, lock, here).await {
                Ok(group) => return Ok(lease(group, follows_another, begun)),
                Err(error) if matches!(error.verdict, Verdict::AlreadySo | Verdict::Lost) => {}
                Err(error) => return Err(error.into()),
            }
            let held = Held::read(writer, lock).await?;
            let whose = held.as_ref().map_or("somebody unknown".to_owned(), Held::who);
            let next = match &held {
                // Let go of between two calls, or not to be seen yet.
                None => Treat::Wait,
                Some(held) if held.holder.as_ref() == Some(here) && &held.lock == lock => {
                    return Ok(lease(held.group.clone(), follows_another, begun));
                }
                Some(_) if force == Force::Yes => Treat::TakeOver,
                Some(held) => {
                    let before = watched.take();
                    // One that says something while it is watched is alive, whatever its clock says.
                    let is_alive = before.as_ref().is_some_and(|w| w.hears(held));
                    let same = before.filter(|w| w.saw(held));
                    let watched = watched.insert(same.unwrap_or_else(|| Watched::new(held)));
                    if is_alive { Treat::Wait } else { held.treat(here, watched.since.elapsed()) }
                }
            };
            follows_another = true;
            let rest = match (next, &held) {
                (Treat::TakeOver, Some(held)) => {
                    say(format!("the lock of {whose} is taken over"));
                    // INVARIANT: deletes just the group that was read. Of two that take over at
                    // once, one deletes it, and both then try to make the one name.
                    match delete(writer, &held.group).await {
                        Err(error) if error.verdict != Verdict::Gone => return Err(error.into()),
                        Ok(()) | Err(_) => continue,
                    }
                }
                (Treat::Watch, _) => {
                    let seconds = DOUBT.as_secs();
                    say(format!(
                        "nothing is heard of {whose}; its lock is watched for {seconds} s"
                    ));
                    longest
                }
                (Treat::Wait | Treat::TakeOver, _) => {
                    let renewed = held.map_or("never".to_owned(), |held| held.renewed);
                    let lock = lock.clone();
                    let refused = Error::Held { lock, holder: whose.clone(), renewed };
                    let rest = backoff.next_rest().ok_or(refused)?;
                    say(format!("waiting for {whose}, who holds the lock"));
                    rest
                }
            };
            interrupt.sleep(rest).await?;
        }
    }

    /// Says that the holder is alive.
    pub async fn renew(&self) -> Result<(), aws::Error> {
        loop {
            match self.renew_once().await {
                // One that was just taken is perhaps not known everywhere yet.
                Err(error) if error.verdict == Verdict::Gone && self.taken.elapsed() < FRESH => {
                    time::sleep(RETRY).await;
                }
                renewed => return renewed,
            }
        }
    }

    async fn renew_once(&self) -> Result<(), aws::Error> {
        self.renewed.set(self.renewals.renew(&self.writer, &self.group).await?);
        Ok(())
    }

    /// Says so again and again; ends with the reason when the lock is lost.
    pub async fn keep(&self) -> String {
        loop {
            time::sleep(RENEWAL.saturating_sub(self.renewed.get().elapsed())).await;
            // INVARIANT: ends before the lock could be taken over, whatever AWS answers.
            let left = UNRENEWED.saturating_sub(self.renewed.get().elapsed());
            match time::within(left, Box::pin(self.renew())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.verdict == Verdict::Gone => {
                    return "somebody took the lock away".to_owned();
                }
                Ok(Err(_)) => time::sleep(RETRY).await,
                Err(TimedOut) => {
                    return "the lock could not be renewed, and may be taken over".to_owned();
                }
            }
        }
    }

    /// Lets go of the lock.
    pub async fn release(self) -> Result<(), aws::Error> {
        loop {
            match delete(&self.writer, &self.group).await {
                // One that was just taken is perhaps not known everywhere yet.
                Err(error) if error.verdict == Verdict::Gone && self.taken.elapsed() < FRESH => {
                    time::sleep(RETRY).await;
                }
                Err(error) if error.verdict != Verdict::Gone => return Err(error),
                Ok(()) | Err(_) => return Ok(()),
            }
        }
    }
}

/// A lock that somebody holds.
struct Held {
    lock: Lock,
    group: AwsId,
    holder: Option<Holder>,
    renewed: String,
}

impl Held {
    async fn read(writer: &Writer, wanted: &Lock) -> Result<Option<Self>, Error> {
        let filter = |name: &str, value: String| Filter::builder().name(name).values(value).build();
        let filters =
            vec![filter("group-name", wanted.name()), filter("vpc-id", wanted.vpc.to_string())];
        let reply = writer
            .call(Action::DescribeSecurityGroups, |ec2| {
                ec2.describe_security_groups().set_filters(Some(filters.clone())).send()
            })
            .await?;
        let mut groups = reply.security_groups().iter();
        let found =
            groups.find_map(|g| Some((AwsId::new(g.group_id()?), aws::Tags::read(g.tags()))));
        let Some((group, tags)) = found else { return Ok(None) };
        // Another stack's record can have this name, or anybody's group: it is never taken over.
        let Some(lock) = Lock::read(&wanted.vpc, &tags).filter(|o| o.name() == wanted.name())
        else {
            return Err(Error::Misnamed { group });
        };
        Ok(Some(Self {
            lock,
            group,
            holder: tags.value(HOLDER).and_then(|text| text.parse().ok()),
            renewed: tags.value(RENEWED).unwrap_or("never").to_owned(),
        }))
    }

    /// Says how to treat it, after it was watched for a while without a sign of life.
    fn treat(&self, here: &Holder, watched: Duration) -> Treat {
        let silence = self.renewed.parse::<Timestamp>().ok().map(|then| {
            let seconds = time::wall_clock().as_second() - then.as_second();
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        });
        let is_gone = self.holder.as_ref().is_some_and(|holder| holder.is_gone(here));
        match silence {
            _ if is_gone => Treat::TakeOver,
            Some(silence) if silence <= SILENCE => Treat::Wait,
            Some(_) | None if watched >= DOUBT => Treat::TakeOver,
            Some(_) | None => Treat::Watch,
        }
    }

    fn who(&self) -> String {
        match &self.holder {
            Some(holder) => format!("process {} on {}", holder.process, holder.host),
            None => "somebody unknown".to_owned(),
        }
    }
}

/// What is done about somebody else's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treat {
    /// It is waited for, as long as there is patience.
    Wait,
    /// Its holder seems to be silent: it is watched until that is sure.
    Watch,
    /// Its holder is gone.
    TakeOver,
}

/// A lock as it was seen first, and since when nothing of it has changed.
struct Watched {
    group: AwsId,
    renewed: String,
    since: Instant,
}

impl Watched {
    fn new(held: &Held) -> Self {
        Self { group: held.group.clone(), renewed: held.renewed.clone(), since: time::now() }
    }

    fn saw(&self, held: &Held) -> bool {
        (&self.group, &self.renewed) == (&held.group, &held.renewed)
    }

    /// Says whether the same lock has been renewed since.
    fn hears(&self, held: &Held) -> bool {
        self.group == held.group && self.renewed != held.renewed
    }
}

fn now() -> String {
    time::wall_clock().to_string()
}

async fn create(writer: &Writer, lock: &Lock, holder: &Holder) -> Result<AwsId, aws::Error> {
    let more =
        BTreeMap::from([(HOLDER.to_owned(), holder.to_string()), (RENEWED.to_owned(), now())]);
    let tags = aws::specification(ResourceType::SecurityGroup, &lock.address(), &more);
    let reply = writer
        .call(Action::CreateSecurityGroup, |ec2| {
            ec2.create_security_group()
                .vpc_id(lock.vpc.as_str())
                .group_name(lock.name())
                .description("Lock of a cgw stack: exists only while cgw changes something.")
                .tag_specifications(tags.clone())
                .send()
        })
        .await?;
    Ok(AwsId::new(reply.group_id().unwrap_or_default()))
}

async fn delete(writer: &Writer, group: &AwsId) -> Result<(), aws::Error> {
    let deleted = writer.call(Action::DeleteSecurityGroup, |ec2| {
        ec2.delete_security_group().group_id(group.as_str()).send()
    });
    deleted.await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_survives_its_tag() {
        let here = Holder::this();
        assert_eq!(here.to_string().parse(), Ok(here.clone()));
        assert!(here.to_string().len() <= 256);
        assert!(!here.begun.is_empty());
    }

    #[test]
    fn only_a_process_of_this_boot_can_be_known_to_be_gone() {
        let here = Holder::this();
        assert!(!here.is_gone(&here));
        let other_process = Holder { begun: "1".to_owned(), ..here.clone() };
        assert!(other_process.is_gone(&here), "the number was given out again");
        let ended = Holder { process: u32::MAX, ..here.clone() };
        assert!(ended.is_gone(&here));
        let elsewhere = Holder { host: "elsewhere".to_owned(), ..ended.clone() };
        assert!(!elsewhere.is_gone(&here));
        let contained = Holder { boot: format!("{}0", here.boot), ..ended.clone() };
        assert!(!contained.is_gone(&here), "another container");
        let blind = Holder { boot: String::new(), ..here };
        assert!(!Holder { boot: String::new(), ..ended }.is_gone(&blind), "there is no /proc");
    }

    #[test]
    fn a_holder_that_says_nothing_is_watched_before_its_lock_is_taken_over() {
        let here = Holder { host: "elsewhere".to_owned(), ..Holder::this() };
        let lock = Lock { vpc: AwsId::new("vpc-1"), shared: None, stack: "a".parse().unwrap() };
        let held = |renewed: &str, holder| {
            let (group, renewed) = (AwsId::new("sg-1"), renewed.to_owned());
            Held { lock: lock.clone(), group, holder, renewed }
        };
        let treat =
            |renewed: &str, watched| held(renewed, Some(Holder::this())).treat(&here, watched);
        for renewed in ["2020-01-01T00:00:00Z", "nonsense"] {
            assert_eq!(treat(renewed, Duration::ZERO), Treat::Watch);
            assert_eq!(treat(renewed, DOUBT), Treat::TakeOver);
        }
        assert_eq!(treat(&now(), DOUBT * 100), Treat::Wait, "it is alive");
        assert_eq!(treat("2999-01-01T00:00:00Z", DOUBT * 100), Treat::Wait, "its clock is ahead");
        assert!(RENEWAL < DOUBT && UNRENEWED < SILENCE);
        let watched = Watched::new(&held("2020-01-01T00:00:00Z", None));
        assert!(watched.saw(&held("2020-01-01T00:00:00Z", None)));
        assert!(watched.hears(&held("2020-01-01T00:01:00Z", None)), "its clock is behind");
    }

    #[test]
    fn a_lock_is_read_from_its_tags() {
        let (vpc, stack): (_, Stack) = (AwsId::new("vpc-1"), "a".parse().unwrap());
        let own = Lock { vpc: vpc.clone(), shared: None, stack: stack.clone() };
        let shared = Lock { shared: Some(AwsId::new("eni-1")), ..own.clone() };
        for lock in [&own, &shared] {
            let tags = aws::owner(&lock.address());
            assert_eq!(Lock::read(&vpc, &aws::Tags::read(&tags)).as_ref(), Some(lock));
        }
        let other = Lock { stack: "b".parse().unwrap(), ..shared.clone() };
        assert_eq!(shared.name(), other.name(), "it keeps every other stack out");
        let record = aws::owner(&Address::new(&stack, "stack-record", ""));
        assert_eq!(Lock::read(&vpc, &aws::Tags::read(&record)), None);
    }
}
