//! Hears that the server can be reached, and says how it is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::Host;
use super::document::Confirm;
use super::folder::is_same_boot;
use super::guard::State;
use super::power::Spans;
use super::scripts::Said;
use super::step::Step;
use crate::address::Stack;
use crate::sandbox::{Draws, Moment};

/// How long a person at the server has before it restarts.
const NOTICE: Duration = Duration::from_secs(5);

impl Host {
    /// Answers `confirm.ps1`.
    pub(super) fn confirm(
        &mut self,
        stack: &Stack,
        asked: &Confirm,
        now: Moment,
        draws: &mut Draws,
    ) -> Said {
        let at = asked.at.as_deref().filter(|text| !text.is_empty());
        let wait = match at.map(|text| until(text, now)) {
            Some(None) => {
                let text = at.unwrap_or_default();
                return Said::failed(now, &format!("{text} is no time of the day, HH:MM"));
            }
            Some(Some(wait)) => Some(wait),
            None => None,
        };
        let boot = self.power.boot;
        let is_new = asked.after == 0 || !is_same_boot(asked.after, boot.second());
        let folder = self.server.folder(stack);
        let found = folder.guard_state();
        if folder.parameters.is_some() && found != State::Restored {
            let spans = Spans::draw(draws);
            if asked.restart {
                folder.guard_restart(now);
                self.power.order(now.after(NOTICE), spans);
            } else if is_new {
                folder.disarm();
            }
            if let Some(wait) = wait {
                self.power.order(now.after(wait), spans);
            }
        }
        Said { lines: vec![(now, self.state(stack, found, now))], ..Said::new(now) }
    }

    /// How the machine is, for who has just connected.
    fn state(&mut self, stack: &Stack, guard: State, now: Moment) -> String {
        let is_settled = now >= self.power.settled;
        let boot = self.power.boot;
        let machine = &self.server.machine;
        let routing = machine.read(Step::Routing, stack);
        let roles = machine.read(Step::Roles, stack);
        let routing = match routing["state"].as_str() {
            _ if roles["RemoteAccess"] == "Available" => "",
            "Running" if !is_settled => "Start Pending",
            state => state,
        };
        let in_force = |name: &String| {
            let there = machine.rules().iter().filter(|rule| rule.name == *name);
            (name.clone(), if is_settled { there.count() } else { 0 })
        };
        let folder = self.server.folders.get(stack).cloned().unwrap_or_default();
        let counts: BTreeMap<_, _> = folder.memory.keys().map(in_force).collect();
        let state = json!({ "boot": boot.second(), "reboot": self.server.is_restart_pending(boot),
            "routing": routing, "rules": counts, "guard": guard.word() });
        format!("cgw-state {state}")
    }
}

/// Returns how long it is until a time of the server's clock, which is UTC.
fn until(text: &str, now: Moment) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str, below: i64| {
        let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i64>().ok().filter(|number| is_plain && *number < below)
    };
    let wanted = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    let wait = (wanted - now.second()).rem_euclid(86_400);
    Some(Duration::from_secs(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::Then;
    use crate::sandbox::host::stand::tests::Setup;

    #[test]
    fn an_ordered_restart_comes_and_is_confirmed_in_the_new_boot_only() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        let boot = stand.host.boot().second();
        assert_eq!(stand.confirm(Then::Restart)["guard"], "armed");
        assert_eq!(stand.confirm(Then::After(boot))["guard"], "armed");
        assert_eq!(stand.confirm(Then::After(boot))["guard"], "armed", "nothing was confirmed");
        stand.pass(NOTICE);
        assert!(!stand.host.is_up(stand.now));
        stand.wait_for_start();
        let state = stand.confirm(Then::After(boot));
        assert!(state["boot"].as_i64().unwrap() >= boot + 120, "{state}");
        assert_eq!(state["guard"], "armed");
        assert_eq!(state["reboot"], false);
        let state = stand.confirm(Then::Nothing);
        assert_eq!((&state["guard"], &state["routing"]), (&json!("none"), &json!("Running")));
    }

    #[test]
    fn a_restart_at_a_time_of_the_day_comes_then() {
        let mut stand = Setup::default().ready();
        stand.set_up();
        let boot = stand.host.boot();
        let at = stand.now.after(Duration::from_hours(20));
        let time = at.timestamp().strftime("%H:%M").to_string();
        stand.confirm(Then::RestartAt(&time));
        stand.pass(Duration::from_mins(19 * 60 + 50));
        assert_eq!(stand.host.boot(), boot);
        stand.pass(Duration::from_mins(20));
        assert!(stand.host.boot() > boot);
        assert_eq!(until("03:30", Moment::EARLIEST), Some(Duration::from_mins(210)));
        for wrong in ["", "3:30", "24:00", "12:60", "+1:00"] {
            assert_eq!(until(wrong, Moment::EARLIEST), None, "{wrong}");
        }
    }
}
