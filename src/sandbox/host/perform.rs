//! Does one step of the playbook, or undoes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::folder::{Folder, is_same_boot};
use super::kept::Kept;
use super::machine::{Machine, Texts};
use super::parameters::{Keys, Parameters};
use super::step::Step;
use super::tunnels::foreign;
use crate::address::Stack;
use crate::sandbox::Moment;

/// The machine with the folders of all stacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    /// The address of its adapter; any will do while it is not known.
    pub(super) address: Option<Ipv4Addr>,
    pub(super) machine: Machine,
    pub(super) folders: BTreeMap<Stack, Folder>,
    /// Of what is the server's, and so of all stacks.
    kept: Kept,
    /// `pending.json`: in which boot a restart became necessary, for whichever stack.
    pub(super) pending: Option<i64>,
}

/// What a run has read before its first step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) parameters: Parameters,
    pub(super) keys: Keys,
    pub(super) mode: Mode,
}

/// Whether steps are done or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    SetUp,
    Undo { remove_roles: bool },
}

/// What a step says that it did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) was: Value,
    pub(super) now: Value,
    pub(super) changed: bool,
    pub(super) reboot: bool,
    pub(super) kept: Vec<String>,
    /// The steps after it come only after a restart.
    pub(super) is_restart_first: bool,
}

impl Outcome {
    /// Says that nothing was to be done.
    pub(super) fn same(is: impl Serialize) -> Self {
        let is = json!(is);
        Self { was: is.clone(), now: is, ..Self::default() }
    }
}

impl Server {
    /// Returns the folder of a stack.
    pub(super) fn folder(&mut self, stack: &Stack) -> &mut Folder {
        self.folders.entry(stack.clone()).or_default()
    }

    /// Does a step to its end, of the tunnels' rules only so many; a user's own step does nothing.
    pub(super) fn perform(
        &mut self,
        step: Option<Step>,
        job: &Job,
        limit: usize,
    ) -> Result<Outcome, String> {
        let Some(step) = step else {
            return Ok(Outcome::default());
        };
        match step {
            Step::Preflight => self.preflight(job),
            Step::Roles => Ok(self.roles(job)),
            Step::ForeignRules => Ok(self.foreign_rules(job)),
            Step::Tunnels => Ok(self.tunnels(job, limit)),
            Step::Keepalive => Ok(self.keepalive(job)),
            Step::ChecksumOffload
            | Step::Routing
            | Step::IpsecSettings
            | Step::UdpEncapsulation
            | Step::MainMode
            | Step::QuickMode
            | Step::Firewall
            | Step::Mtu
            | Step::DeadGateway => Ok(self.complete(step, job)),
        }
    }

    /// Brings the texts of a step to what is wanted, or back to what they were.
    fn complete(&mut self, step: Step, job: &Job) -> Outcome {
        let (setting, stack, id) = (step.setting(), &job.parameters.stack, step.id());
        let was = self.machine.read(step, stack);
        let others = self.others(step, stack);
        let joined = |own: Option<&Texts>, field: &str| {
            let texts = own.into_iter().chain(&others);
            (field.to_owned(), joined(texts.filter_map(|texts| texts.get(field))))
        };
        let (put, kept) = match (job.mode, setting.union) {
            (Mode::SetUp, union) => {
                let mut wanted = step.wanted(&job.parameters, &was);
                self.note_use(step, stack, &wanted);
                if let Some(field) = union {
                    let all = joined(Some(&wanted), field);
                    wanted.extend([all]);
                }
                (self.kept(step, stack).put(id, &was, &wanted, setting.is_whole), Vec::new())
            }
            (Mode::Undo { .. }, None) if !others.is_empty() => return Outcome::default(),
            // The others go on with what they want.
            (Mode::Undo { .. }, Some(field)) if !others.is_empty() => {
                let (before, whole) = (Texts::from([joined(None, field)]), setting.is_whole);
                let (put, kept) = self.kept(step, stack).put_back(id, &was, &before, whole);
                self.kept(step, stack).note(id, &put);
                (put, kept)
            }
            (Mode::Undo { .. }, _) => {
                let kept = self.kept(step, stack);
                kept.put_back(id, &was, &kept.saved(id), setting.is_whole)
            }
        };
        if put.is_empty() {
            return Outcome { kept, ..Outcome::same(was) };
        }
        self.machine.write(step, stack, put);
        let now = json!(self.machine.read(step, stack));
        let reboot = setting.wants_restart;
        Outcome { was: json!(was), now, changed: true, reboot, kept, ..Outcome::default() }
    }

    /// Returns what is kept of a step's settings.
    pub(super) fn kept(&mut self, step: Step, stack: &Stack) -> &mut Kept {
        if step.is_own() { &mut self.folder(stack).kept } else { &mut self.kept }
    }

    /// Notes that a stack needs a setting of the server.
    fn note_use(&mut self, step: Step, stack: &Stack, wanted: &Texts) {
        if !step.is_own() {
            self.folder(stack).used.insert(step.id().to_owned(), wanted.clone());
        }
    }

    /// Returns the texts of the other stacks that need what a step sets.
    fn others(&self, step: Step, stack: &Stack) -> Vec<Texts> {
        let others = self.folders.iter().filter(|(other, _)| *other != stack);
        others.filter_map(|(_, folder)| folder.used.get(step.id()).cloned()).collect()
    }

    /// Forgets what was set for a stack: an undo has taken it back.
    pub(super) fn forget(&mut self, stack: &Stack) {
        self.folder(stack).clear();
        let used: BTreeSet<&str> = self
            .folders
            .values()
            .flat_map(|folder| folder.used.keys())
            .map(String::as_str)
            .collect();
        self.kept.retain(|step| used.contains(step));
        if used.is_empty() {
            self.pending = None;
        }
    }

    /// Says whether a restart is due that became necessary in this boot.
    pub(super) fn is_restart_pending(&self, boot: Moment) -> bool {
        self.pending.is_some_and(|pending| is_same_boot(pending, boot.second()))
    }

    /// Says what is left of all stacks on the server.
    pub(super) fn traces(&self) -> impl Iterator<Item = &'static str> {
        (!self.kept.is_empty()).then_some("what was there before is kept").into_iter()
    }

    fn roles(&mut self, job: &Job) -> Outcome {
        let (step, stack) = (Step::Roles, &job.parameters.stack);
        let was = self.machine.read(step, stack);
        match job.mode {
            Mode::SetUp => {
                let mut wanted = step.wanted(&job.parameters, &was);
                self.note_use(step, stack, &wanted);
                wanted.retain(|feature, _| was[feature] != "InstallPending");
                let mut put = self.kept.put(step.id(), &was, &wanted, true);
                let changed = !put.is_empty();
                if self.machine.is_install_pending {
                    for text in put.values_mut() {
                        "InstallPending".clone_into(text);
                    }
                }
                self.machine.write(step, stack, put);
                let now = self.machine.read(step, stack);
                let is_pending = now.values().any(|text| text == "InstallPending");
                Outcome {
                    was: json!(was),
                    now: json!(now),
                    changed,
                    reboot: is_pending,
                    // Routing cannot be set up on a half-installed role.
                    is_restart_first: is_pending,
                    ..Outcome::default()
                }
            }
            Mode::Undo { remove_roles } => {
                if !remove_roles || !self.others(step, stack).is_empty() {
                    return Outcome::same(was);
                }
                self.remove_roles(stack, &was)
            }
        }
    }

    fn remove_roles(&mut self, stack: &Stack, was: &Texts) -> Outcome {
        const NEEDED: [&str; 4] =
            ["RemoteAccess", "DirectAccess-VPN", "Routing", "RSAT-RemoteAccess-PowerShell"];
        let routing = self.machine.read(Step::Routing, stack);
        let is_used = routing["routing"] == "Installed" || !routing["otherUses"].is_empty();
        let saved = self.kept.saved(Step::Roles.id());
        let ours = saved.into_iter().filter(|(f, is)| is != "Installed" && was[f] == "Installed");
        let (kept, gone): (Texts, Texts) =
            ours.partition(|(feature, _)| is_used && NEEDED.contains(&feature.as_str()));
        let kept: Vec<String> = kept.into_keys().collect();
        if gone.is_empty() {
            return Outcome { kept, ..Outcome::same(was) };
        }
        let gone = gone.into_keys().map(|feature| (feature, "Available".to_owned())).collect();
        self.machine.write(Step::Roles, stack, gone);
        let now = json!(self.machine.read(Step::Roles, stack));
        let (changed, reboot) = (true, true);
        Outcome { was: json!(was), now, changed, reboot, kept, ..Outcome::default() }
    }

    fn keepalive(&mut self, job: &Job) -> Outcome {
        let Parameters { ping, private_ip, stack, .. } = &job.parameters;
        let wanted = match job.mode {
            Mode::SetUp => ping.map(|ping| format!("{ping} from {private_ip}")),
            Mode::Undo { .. } => None,
        };
        let folder = self.folder(stack);
        let told =
            |target: &Option<String>| json!({ "ping": target.as_deref().unwrap_or("absent") });
        if folder.keepalive == wanted {
            return Outcome::same(told(&wanted));
        }
        let was = told(&folder.keepalive);
        folder.keepalive.clone_from(&wanted);
        Outcome { was, now: told(&wanted), changed: true, ..Outcome::default() }
    }

    fn preflight(&self, job: &Job) -> Result<Outcome, String> {
        if job.mode != Mode::SetUp {
            return Ok(Outcome::default());
        }
        let parameters = &job.parameters;
        let mut problems = Vec::new();
        if self.address.is_some_and(|address| address != parameters.private_ip) {
            problems.push(format!("no network adapter has the address {}", parameters.private_ip));
        }
        problems.extend(endpoint_problems(parameters));
        for one in foreign(&self.machine, &self.folders, parameters) {
            if !one.rule.is_enabled || (parameters.replace_rules && one.may_be_replaced()) {
                continue;
            }
            let mend = match one.stack {
                Some(stack) => {
                    format!(
                        "it is that of the stack {stack} on this server, take that one down first"
                    )
                }
                None => "disable it, or have that done with --replace-rules".to_owned(),
            };
            problems.push(format!(
                "the rule '{}' leads the same traffic through a tunnel to {}: {mend}",
                one.rule.name, one.rule.remote
            ));
        }
        if problems.is_empty() {
            let found = json!({ "windows": "10.0.20348", "adapter": "Ethernet",
                "description": "Amazon Elastic Network Adapter" });
            Ok(Outcome::same(found))
        } else {
            Err(problems.join("; "))
        }
    }
}

/// Joins lists into one, in an order that does not depend on theirs: of suites the one with the
/// strongest group comes first.
fn joined<'a>(lists: impl Iterator<Item = &'a String>) -> String {
    let strength = |item: &&str| match item.strip_prefix("DH").and_then(|rest| rest.split_once('-'))
    {
        Some((group, rest)) => format!("DH{group:0>2}-{rest}"),
        None => (*item).to_owned(),
    };
    let mut all: Vec<&str> = lists.flat_map(|list| list.split(',')).collect();
    all.sort_by_key(|item| std::cmp::Reverse(strength(item)));
    all.dedup();
    all.join(",")
}

/// Endpoint 2 is what the rules require IPsec from: whoever sits inside it is cut off.
fn endpoint_problems(parameters: &Parameters) -> Vec<String> {
    let cloud = parameters.cloud_cidr;
    let link_local = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
    let covers = |net: Ipv4Net| cloud.contains(&net) || net.contains(&cloud);
    let mut wrong = vec![
        (cloud.prefix_len() < 8, "is far too wide".to_owned()),
        (covers(parameters.site_cidr), format!("overlaps Endpoint 1 ({})", parameters.site_cidr)),
        (covers(link_local), "covers link-local addresses".to_owned()),
        (cloud.contains(&parameters.private_ip), "covers the server's own address".to_owned()),
    ];
    wrong.extend(
        parameters
            .peers()
            .map(|peer| (cloud.contains(&peer), format!("covers the tunnel address {peer}"))),
    );
    let wrong = wrong.into_iter().filter(|(is_so, _)| *is_so);
    wrong.map(|(_, what)| format!("Endpoint 2 ({cloud}) {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::{Request, Then};
    use crate::sandbox::host::Tamper;
    use crate::sandbox::host::stand::tests::{Setup, Stand};
    use crate::tunnel::Crypto;

    #[test]
    fn an_undo_leaves_nothing_but_the_roles() {
        let mut stand = Setup::default().ready();
        assert_eq!(stand.undo().code, Some(4), "nothing was ever pushed");
        stand.set_up();
        let undone = stand.undo();
        assert_eq!(undone.code, Some(0));
        assert_eq!(undone.changed().len(), 11);
        assert!(undone.done().starts_with("cgw-done undo changed=11 reboot=true failed=0 "));
        assert_eq!(stand.host.traces(), <[&str; 0]>::default());
        assert_eq!(stand.host.kept().len(), 5);
        assert_eq!(stand.undo().code, Some(4), "the folder is gone");
    }

    #[test]
    fn roles_go_where_that_is_asked() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        let stack = stand.setup.stack();
        let undone = stand.ask(&Request::Undo { stack: &stack, remove_roles: true });
        assert_eq!(undone.step("roles")["changed"], true);
        assert_eq!(stand.host.kept(), <[&str; 0]>::default());
    }

    #[test]
    fn a_session_that_is_lost_leaves_the_folder_of_an_undo() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        let stack = stand.setup.stack();
        let document = Request::Undo { stack: &stack, remove_roles: false }.document();
        stand.host.answer(&document, stand.now, &mut stand.draws, &stand.outside);
        stand.host.hang_up(&stack);
        let followed = stand.ask(&Request::Follow { stack: &stack, run: "undo" });
        assert_eq!(followed.changed().len(), 11);
        assert_eq!(stand.host.traces(), ["office: its scripts are there"]);
        let again = stand.undo();
        assert!(again.done().contains(" changed=0 "), "{again:?}");
        assert_eq!(stand.host.traces(), <[&str; 0]>::default());
    }

    #[test]
    fn an_undo_leaves_what_somebody_has_changed_since() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        for step in ["mtu", "main-mode", "routing"] {
            stand.host.tamper(&Tamper::Setting(step.to_owned()));
        }
        let undone = stand.undo();
        assert_eq!(undone.step("mtu")["kept"], json!(["mtu"]));
        assert_eq!(undone.step("main-mode")["kept"], json!(["suites"]));
        assert_eq!(undone.step("main-mode")["changed"], false, "all of it stays");
        assert_eq!(undone.step("routing")["kept"], json!([]), "that is how it was before");
        assert!(stand.host.traces().contains(&"mtu: mtu is '1400'".to_owned()));
    }

    /// Sets up two stacks on one server; the one that came last is at hand.
    fn two_stacks(other: Crypto) -> (Stand, Setup, Setup) {
        let mut stand = Setup::default().ready();
        let one = stand.setup.clone();
        let other = Setup { name: "branch", net: 7, crypto: other, ..one.clone() };
        stand.set_up();
        stand.confirm(Then::Nothing);
        stand.setup = other.clone();
        let second = stand.set_up();
        assert_eq!(second.code, Some(0), "{second:?}");
        stand.confirm(Then::Nothing);
        (stand, one, other)
    }

    fn offers(stand: &Stand) -> (String, usize) {
        let texts = |step| stand.host.server.machine.read(step, &stand.setup.stack());
        let quick = texts(Step::QuickMode)["proposals"].split(',').count();
        (texts(Step::MainMode)["suites"].clone(), quick)
    }

    #[test]
    fn what_two_stacks_need_is_put_back_by_the_last_to_leave() {
        for is_first_to_leave in [true, false] {
            let (mut stand, one, other) = two_stacks(Crypto::Strict);
            assert_eq!(stand.host.rules().count(), 4);
            let (leaves, stays) = if is_first_to_leave { (one, other) } else { (other, one) };
            stand.setup = leaves;
            let left = stand.undo();
            assert_eq!(left.step("mtu")["changed"], false);
            assert_eq!(left.step("tunnels")["changed"], true);
            assert_eq!(stand.host.rules().count(), 2);
            stand.setup = stays;
            let check = stand.set_up();
            assert_eq!(check.changed(), <[&str; 0]>::default(), "it has all that it needs");
            let last = stand.undo();
            assert_eq!(last.step("mtu")["changed"], true);
            assert_eq!(stand.host.traces(), <[&str; 0]>::default());
        }
    }

    #[test]
    fn each_of_two_stacks_has_its_profile_and_changes_it_when_it_wants() {
        let [strong, modern, guide] =
            ["DH20-AES256-SHA384", "DH14-AES256-SHA256", "DH2-AES128-SHA1"];
        let (mut stand, one, other) = two_stacks(Crypto::Strong);
        assert_eq!(offers(&stand), ([strong, modern, guide].join(","), 2));
        stand.setup = one.clone();
        assert_eq!(stand.set_up().changed(), <[&str; 0]>::default());
        stand.setup.crypto = Crypto::Guide;
        assert_eq!(stand.set_up().changed(), ["main-mode", "quick-mode", "tunnels"]);
        stand.confirm(Then::Nothing);
        assert_eq!(offers(&stand), ([strong, guide].join(","), 2));
        let undone = stand.undo();
        assert_eq!(undone.step("main-mode")["changed"], true);
        assert_eq!(offers(&stand), (strong.to_owned(), 1));
        stand.setup = other;
        assert_eq!(stand.set_up().changed(), <[&str; 0]>::default());
        stand.undo();
        assert_eq!(stand.host.traces(), <[&str; 0]>::default());
    }

    #[test]
    fn while_a_stack_is_not_confirmed_the_others_wait() {
        let (mut stand, mut one, other) = two_stacks(Crypto::Modern);
        one.keys[1] = "c";
        stand.setup = one.clone();
        stand.set_up();
        stand.setup = other;
        let (set_up, undone) = (stand.set_up(), stand.undo());
        for waits in [set_up, undone] {
            assert_eq!((waits.code, waits.lines.len()), (Some(3), 0), "{waits:?}");
            assert!(waits.stderr.contains("that of office is not confirmed yet"), "{waits:?}");
        }
        stand.setup = one;
        stand.confirm(Then::Nothing);
        stand.setup = Setup { name: "branch", net: 7, ..Setup::default() };
        assert_eq!(stand.undo().code, Some(0));
    }

    #[test]
    fn a_stack_that_leads_the_same_networks_is_refused() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.confirm(Then::Nothing);
        stand.setup = Setup { name: "third", net: 7, ..Setup::default() };
        let mut bundle = stand.setup.bundle();
        for text in bundle.files.values_mut() {
            let changed = String::from_utf8_lossy(text).replace("10.7.", "10.0.");
            *text = changed.into_bytes().into();
        }
        let refused = stand.ask(&Request::Run(&bundle));
        let error = refused.step("preflight")["error"].to_string();
        assert!(error.contains("that of the stack office on this server"), "{error}");
        assert!(refused.step("tunnels")["skipped"] == true);
    }

    #[test]
    fn a_new_key_of_one_tunnel_changes_one_rule() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.confirm(Then::Nothing);
        let before: Vec<_> = stand.host.rules().cloned().collect();
        stand.setup.keys[1] = "c";
        let again = stand.set_up();
        assert_eq!(again.changed(), ["tunnels"]);
        let was = json!({ "vpn-0 Tunnel 1": "right", "vpn-0 Tunnel 2": "different" });
        assert_eq!(again.step("tunnels")["was"], was);
        let after: Vec<_> = stand.host.rules().cloned().collect();
        assert_eq!(after[0], before[0]);
        assert_eq!(after[1].key.expose(), "c".repeat(64));
    }

    #[test]
    fn another_server_is_refused() {
        let mut stand = Setup::default().ready();
        stand.host = stand.host.with_address(Ipv4Addr::new(172, 31, 16, 11));
        let refused = stand.set_up();
        let error = refused.step("preflight")["error"].to_string();
        assert!(error.contains("no network adapter has the address 172.31.16.10"), "{error}");
    }
}
