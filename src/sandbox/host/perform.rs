//! Does one step of the playbook, or undoes it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::folder::{Folder, Heir};
use super::machine::{Machine, Texts};
use super::parameters::{Keys, Parameters};
use super::step::Step;
use super::tunnels::foreign;
use crate::address::Stack;

/// The machine with the folders of all stacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    /// The address of its adapter; any will do while it is not known.
    pub(super) address: Option<Ipv4Addr>,
    pub(super) machine: Machine,
    pub(super) folders: BTreeMap<Stack, Folder>,
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
        let (setting, stack) = (step.setting(), &job.parameters.stack);
        let was = self.machine.read(step, stack);
        let (put, kept) = match job.mode {
            Mode::SetUp => {
                let wanted = step.wanted(&job.parameters, &was);
                (self.folder(stack).put(step.id(), &was, &wanted, setting.is_whole), Vec::new())
            }
            Mode::Undo { .. } => {
                let heirs = self.hand_over(step, stack, &was);
                self.folder(stack).put_back(step.id(), &was, &heirs, setting.is_whole)
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

    /// Finds the other stacks that need what a step sets, and gives what was saved of it to the
    /// first of them: the last stack to leave puts it back.
    fn hand_over(&mut self, step: Step, stack: &Stack, was: &Texts) -> Vec<Heir> {
        if step == Step::Firewall {
            return Vec::new();
        }
        let leaving = self.folder(stack).clone();
        let mut heirs = Vec::new();
        for (_, folder) in self.folders.iter_mut().filter(|(other, _)| *other != stack) {
            let Some(Ok(parameters)) = folder.read() else { continue };
            let steps = folder.steps().unwrap_or_default();
            let is_its = |id: &str, on: &[_]| id == step.id() && on.contains(&parameters.device);
            if !steps.iter().any(|listed| is_its(&listed.id, &listed.on)) {
                continue;
            }
            if heirs.is_empty() {
                folder.inherit(step.id(), &leaving);
            }
            heirs.push(Heir { wanted: step.wanted(&parameters, was) });
        }
        heirs
    }

    fn roles(&mut self, job: &Job) -> Outcome {
        let (step, stack) = (Step::Roles, &job.parameters.stack);
        let was = self.machine.read(step, stack);
        match job.mode {
            Mode::SetUp => {
                let mut wanted = step.wanted(&job.parameters, &was);
                wanted.retain(|feature, _| was[feature] != "InstallPending");
                let mut put = self.folder(stack).put(step.id(), &was, &wanted, true);
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
                let heirs = self.hand_over(step, stack, &was);
                if !remove_roles || !heirs.is_empty() {
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
        let saved = self.folder(stack).saved.get(Step::Roles.id()).cloned().unwrap_or_default();
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
        let empty = Folder::default();
        let folder = self.folders.get(&parameters.stack).unwrap_or(&empty);
        for one in foreign(&self.machine, folder, parameters) {
            if one.rule.is_enabled && (one.is_beyond || !parameters.replace_rules) {
                problems.push(format!(
                    "the rule '{}' leads the same traffic through a tunnel to {}: disable it, or \
                     have that done with --replace-rules",
                    one.rule.name, one.rule.remote
                ));
            }
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
    use crate::sandbox::host::stand::tests::Setup;
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

    #[test]
    fn what_two_stacks_need_is_put_back_by_the_last_to_leave() {
        for is_first_to_leave in [true, false] {
            let mut stand = Setup::default().ready();
            let one = stand.setup.clone();
            let other = Setup { name: "branch", net: 7, crypto: Crypto::Strict, ..one.clone() };
            stand.set_up();
            stand.confirm(Then::Nothing);
            stand.setup = other.clone();
            let second = stand.set_up();
            assert_eq!(second.code, Some(0), "{second:?}");
            assert_eq!(second.changed(), ["main-mode", "firewall", "tunnels", "keepalive"]);
            stand.confirm(Then::Nothing);
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
    fn a_stack_that_leads_the_same_networks_is_refused() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        stand.setup = Setup { name: "third", net: 7, ..Setup::default() };
        let mut bundle = stand.setup.bundle();
        for (_, text) in &mut bundle.files {
            let changed = String::from_utf8_lossy(text).replace("10.7.", "10.0.");
            **text = changed.into_bytes();
        }
        let refused = stand.ask(&Request::Run(&bundle));
        let error = refused.step("preflight")["error"].to_string();
        assert!(error.contains("leads the same traffic"), "{error}");
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
