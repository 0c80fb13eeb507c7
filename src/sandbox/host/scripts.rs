//! Answers a session: the scripts that it may run.

use std::time::Duration;

use super::document::{Document, Follow, Script, Start};
use super::perform::Mode;
use super::pings::Outside;
use super::run::{Run, Steps, Work};
use super::{Due, End, Host, Talk};
use crate::address::Stack;
use crate::sandbox::{Draws, Moment};

/// What a script says, and with which exit code it ends.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) lines: Vec<(Moment, String)>,
    pub(super) at: Moment,
    pub(super) code: i32,
    pub(super) stderr: String,
}

/// Another run holds the server.
pub(super) const BUSY: i32 = 3;
/// The script is not there.
const NOTHING: i32 = 4;
/// How often who follows a run looks.
const LOOK: Duration = Duration::from_millis(300);
/// How long who follows a run that is over waits for its last line.
const PATIENCE: Duration = Duration::from_secs(6);

impl Said {
    /// Says nothing, successfully.
    pub(super) fn new(at: Moment) -> Self {
        Self { lines: Vec::new(), at, code: 0, stderr: String::new() }
    }

    /// Says why it failed.
    pub(super) fn failed(at: Moment, why: &str) -> Self {
        Self::ended(at, 1, why)
    }

    pub(super) fn ended(at: Moment, code: i32, why: &str) -> Self {
        Self { code, stderr: format!("cgw: {why}\n"), ..Self::new(at) }
    }
}

impl Host {
    /// Does what `bootstrap.ps1` does with a document.
    pub(super) fn bootstrap(
        &mut self,
        document: &[u8],
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Talk {
        let now = now.after(draws.span("host shell", LOOK..=Duration::from_millis(1500)));
        let (said, end) = match Document::read(document) {
            Ok(mut document) => {
                let end = document.end.take();
                (self.run_script(document, now, draws, outside), end)
            }
            Err(refused) => (Ok(Said::failed(now, &refused.why)), refused.end),
        };
        let mut talk = match said {
            Ok(Said { mut lines, at, code, stderr }) => {
                lines.extend(end.map(|word| (at, format!("{word} {code}"))));
                Talk { lines, at, end: End::Exit { code, stderr } }
            }
            Err(talk) => talk,
        };
        // A restart that is ordered ends the session too.
        if let Some(order) = self.power.order.filter(|order| order.at <= talk.at) {
            talk.cut(order.at);
        }
        talk
    }

    /// Runs a script; `Err` where the session does not live to see its end.
    fn run_script(
        &mut self,
        document: Document,
        now: Moment,
        draws: &mut Draws,
        outside: &dyn Outside,
    ) -> Result<Said, Talk> {
        let Document { stack, script, files, keys, .. } = document;
        if !files.is_empty() {
            if self.run.is_some() {
                return Ok(Said::ended(now, BUSY, "another run is under way"));
            }
            self.server.folder(&stack).take(files, keys);
        }
        let name = match &script {
            Script::Follow(_) => "follow.ps1",
            Script::Confirm(_) => "confirm.ps1",
            Script::Prove(_) => "prove.ps1",
            Script::Failover(_) => "failover.ps1",
        };
        if !self.server.folders.get(&stack).is_some_and(|folder| folder.has(name)) {
            return Ok(Said::ended(now, NOTHING, "nothing is set up here"));
        }
        match script {
            Script::Follow(asked) => self.follow(&stack, asked, now, draws),
            Script::Confirm(asked) => Ok(self.confirm(&stack, &asked, now, draws)),
            Script::Prove(asked) => Ok(self.prove(&stack, &asked, now, draws, outside)),
            Script::Failover(asked) => Ok(self.fail_over(&stack, &asked, now, draws, outside)),
        }
    }

    fn follow(
        &mut self,
        stack: &Stack,
        asked: Follow,
        now: Moment,
        draws: &mut Draws,
    ) -> Result<Said, Talk> {
        let Follow { digest, start, remove_roles } = asked;
        if let Some(start) = start {
            if let Some(why) = self.busy(stack) {
                self.server.folder(stack).keys = None;
                return Ok(Said::ended(now, BUSY, &why));
            }
            let mode = match start {
                Start::Run => Mode::SetUp,
                Start::Undo => Mode::Undo { remove_roles },
            };
            self.begin(stack, digest.clone(), mode, now, draws);
        }
        let mut ahead = self.clone();
        let idle = ahead.until_idle(Some(stack));
        let journal = ahead.server.folder(stack).journal.clone();
        let is_it = journal.digest == digest;
        let lines = journal.lines.into_iter().filter(|_| is_it);
        let mut lines: Vec<_> = lines.map(|(at, text)| (at.max(now), text)).collect();
        let at = match idle {
            Ok(at) => at.max(now),
            Err(restart) => return Err(Talk { lines, at: restart, end: End::Lost }),
        };
        if let Some(why) = lines.last().and_then(|(_, text)| text.strip_prefix("cgw-failed ")) {
            let said = Said::failed(at.after(LOOK), why);
            lines.pop();
            return Ok(Said { lines, ..said });
        }
        let Some((_, last)) = lines.last().filter(|(_, text)| text.starts_with("cgw-done ")) else {
            let why = "the run on the server has ended without its last line";
            return Ok(Said { lines, ..Said::failed(at.after(PATIENCE), why) });
        };
        let code = i32::from(!last.contains(" failed=0 "));
        let at = at.after(LOOK);
        if code == 0 && start == Some(Start::Undo) {
            self.server.folder(stack).leaving = Some(at);
        }
        Ok(Said { lines, code, ..Said::new(at) })
    }

    /// Begins a run as a task.
    fn begin(&mut self, stack: &Stack, digest: String, mode: Mode, now: Moment, draws: &mut Draws) {
        let folder = self.server.folder(stack);
        folder.journal = <_>::default();
        // Who starts a run has come over a new connection.
        folder.disarm();
        folder.journal.digest.clone_from(&digest);
        folder.leaving = None;
        let is_set_up = mode == Mode::SetUp;
        let steps = folder.steps().unwrap_or_default();
        let steps = if is_set_up || folder.parameters.is_some() { steps } else { Vec::new() };
        let troubles = self.troubles_for(is_set_up);
        let steps = Steps::new(digest, mode, steps, troubles, draws);
        let next = now.after(draws.span("host task", LOOK..=Duration::from_secs(2)));
        self.run = Some(Run { stack: stack.clone(), next, work: Work::Steps(Box::new(steps)) });
    }

    /// Goes on until no run is under way, or none of a stack; `Err` says when a restart cuts it off.
    pub(super) fn until_idle(&mut self, stack: Option<&Stack>) -> Result<Moment, Moment> {
        let is_meant = |run: &Run| stack.is_none_or(|stack| run.is_task_of(stack));
        let mut now = self.now;
        while self.run.as_ref().is_some_and(is_meant) {
            let (at, due) = self.next_due().expect("a run that is under way goes on at a moment");
            if due == Due::Restart {
                return Err(at);
            }
            self.happen(at, due);
            now = at;
        }
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::playbook::{Request, Then};
    use crate::sandbox::host::Trouble;
    use crate::sandbox::host::stand::tests::Setup;

    #[test]
    fn a_fresh_server_is_changed_once_and_a_second_push_changes_nothing() {
        let mut stand = Setup::default().ready();
        let boot = stand.host.boot().second();
        let first = stand.set_up();
        let digest = stand.setup.bundle().digest;
        let done =
            format!("cgw-done {digest} changed=12 reboot=true failed=0 guard=armed boot={boot}");
        assert_eq!(first.done(), done);
        assert_eq!(first.lines.len(), 15, "a line for each step, and the last one");
        assert_eq!(first.step("roles")["was"]["Routing"], "Available");
        assert_eq!(first.step("tunnels")["now"]["vpn-0 Tunnel 2"], "right");
        let state = stand.confirm(Then::Nothing);
        let rules = json!({ "vpn-0 Tunnel 1": 1, "vpn-0 Tunnel 2": 1 });
        let expected = json!({ "boot": boot, "reboot": true, "routing": "Running", "rules": rules,
            "guard": "armed" });
        assert_eq!(state, expected);
        let second = stand.set_up();
        assert_eq!(second.changed(), <[&str; 0]>::default());
        assert!(second.done().contains(" changed=0 reboot=true failed=0 guard=none "));
    }

    #[test]
    fn a_run_that_a_restart_cuts_off_has_no_last_line_and_can_be_begun_anew() {
        let mut stand = Setup::default().ready();
        stand.host.trouble(Trouble::RestartDuring("tunnels".to_owned()));
        let cut = stand.set_up();
        assert_eq!(cut.code, None);
        assert_eq!(cut.lines.len(), 11, "{cut:?}");
        stand.wait_for_start();
        assert_eq!(stand.host.rules().count(), 1, "it was between both rules");
        let followed = stand.follow();
        assert_eq!((followed.code, followed.lines), (Some(1), cut.lines));
        assert!(followed.stderr.contains("without its last line"), "{}", followed.stderr);
        let again = stand.set_up();
        assert_eq!(again.changed(), ["tunnels", "keepalive", "dead-gateway"]);
    }

    #[test]
    fn who_follows_a_run_hears_it_from_its_beginning_wherever_it_is() {
        let mut stand = Setup::default().ready();
        let mut other = stand.clone();
        let whole = stand.set_up();
        // The session that began it is lost at once; the run goes on.
        let document = Request::Run(&other.setup.bundle()).document();
        other.host.answer(&document, other.now, &mut other.draws, &other.outside);
        other.pass(Duration::from_mins(1));
        assert_eq!(other.follow().lines, whole.lines);
        assert_eq!(other.follow().lines, whole.lines, "when it has ended too");
        let stack = other.setup.stack();
        let unknown = other.ask(&Request::Follow { stack: &stack, run: "0a1b" });
        assert_eq!((unknown.code, unknown.lines.len()), (Some(1), 0));
    }

    #[test]
    fn one_run_at_a_time_has_the_server() {
        let mut stand = Setup::default().ready();
        let document = Request::Run(&stand.setup.bundle()).document();
        stand.host.answer(&document, stand.now, &mut stand.draws, &stand.outside);
        stand.pass(Duration::from_secs(10));
        let (busy, undone) = (stand.set_up(), stand.undo());
        assert_eq!((busy.code, undone.code), (Some(BUSY), Some(BUSY)));
        assert_eq!(busy.stderr, "cgw: another run is under way\n");
        let stack = stand.setup.stack();
        let off = crate::playbook::Off::Carrier;
        let ping = stand.setup.target();
        let failover = stand.ask(&Request::Failover { stack: &stack, ping, off });
        assert_eq!(failover.code, Some(BUSY));
    }

    #[test]
    fn a_step_that_fails_is_named_and_the_next_run_goes_on() {
        for trouble in ["ipsec-settings", "5"] {
            let mut stand = Setup::default().ready();
            stand.host.trouble(Trouble::StepFails(trouble.to_owned()));
            let failed = stand.set_up();
            assert_eq!(failed.code, Some(1));
            assert!(failed.step("ipsec-settings")["error"].is_string());
            let skipped = failed.step("tunnels");
            assert_eq!(skipped["skipped"], true);
            assert_eq!(skipped["error"], "not run: ipsec-settings failed");
            assert!(failed.done().contains(" failed=1 guard=armed "), "{}", failed.done());
            assert_eq!(stand.host.rules().count(), 0);
            assert_eq!(stand.set_up().code, Some(0));
        }
    }

    #[test]
    fn roles_that_wait_for_a_restart_keep_the_rest_waiting() {
        let mut stand = Setup::default().ready();
        stand.host.trouble(Trouble::RolesPend);
        let first = stand.set_up();
        assert_eq!(first.code, Some(0));
        assert_eq!(first.step("roles")["now"]["Routing"], "InstallPending");
        assert_eq!(first.step("routing")["error"], "not run: a restart must come first");
        stand.confirm(Then::Restart);
        let from = stand.now;
        stand.pass(Duration::from_secs(5));
        stand.wait_for_start();
        assert!(stand.now.since(from) >= Duration::from_mins(2));
        let second = stand.set_up();
        assert_eq!(second.step("roles")["was"]["Routing"], "Installed");
        assert_eq!(second.step("tunnels")["changed"], true);
    }
}
