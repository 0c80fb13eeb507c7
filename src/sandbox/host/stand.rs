//! A server under test, and what is pushed to it.

/// What the tests of the sandbox's server share.
pub(super) mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use crate::address::{AwsId, Stack};
    use crate::playbook::{ADMIN_PORTS, Bundle, Off, Own, Parameters, Request, Then};
    use crate::sandbox::host::{End, Host, Outside, Rule, Trouble};
    use crate::sandbox::{Draws, Moment};
    use crate::secret::Secret;
    use crate::tunnel::{CidrPair, Crypto, Suites, Tunnel};

    /// What is pushed.
    #[derive(Debug, Clone)]
    pub(in crate::sandbox::host) struct Setup {
        pub(in crate::sandbox::host) name: &'static str,
        pub(in crate::sandbox::host) crypto: Crypto,
        pub(in crate::sandbox::host) keys: [&'static str; 2],
        /// The third number of the tunnels' addresses, and the second of the VPC's network.
        pub(in crate::sandbox::host) net: u8,
        pub(in crate::sandbox::host) ping: bool,
    }

    impl Default for Setup {
        fn default() -> Self {
            Self { name: "office", crypto: Crypto::Modern, keys: ["a", "b"], net: 0, ping: true }
        }
    }

    impl Setup {
        pub(in crate::sandbox::host) fn stack(&self) -> Stack {
            self.name.parse().unwrap()
        }

        pub(in crate::sandbox::host) fn peer(&self, n: u8) -> Ipv4Addr {
            Ipv4Addr::new(203, 0, 113 - self.net, n)
        }

        pub(in crate::sandbox::host) fn target(&self) -> Ipv4Addr {
            Ipv4Addr::new(10, self.net, 1, 10)
        }

        pub(in crate::sandbox::host) fn bundle(&self) -> Bundle {
            let cloud = format!("10.{}.0.0/16", self.net).parse().unwrap();
            let parameters = Parameters {
                stack: self.stack(),
                instance: Some(AwsId::new("i-00000001")),
                private_ip: Ipv4Addr::new(172, 31, 16, 10),
                pair: CidrPair { site: "172.31.0.0/16".parse().unwrap(), cloud },
                crypto: self.crypto,
                ping: self.ping.then(|| self.target()),
                minimal_roles: false,
                replace_rules: false,
                admin_ports: ADMIN_PORTS.into(),
                own: Own::default(),
            };
            let tunnel = |n: u8| Tunnel {
                outside: self.peer(n),
                key: Some(Secret::new(self.keys[usize::from(n) - 1].repeat(64))),
                suites: Suites::of(self.crypto),
            };
            let connection = AwsId::new(format!("vpn-{}", self.net));
            Bundle::render(&parameters, &connection, &[tunnel(1), tunnel(2)]).unwrap()
        }

        /// A fresh server that this is to be pushed to.
        pub(in crate::sandbox::host) fn ready(self) -> Stand {
            let now = Moment::EARLIEST.after(Duration::from_hours(490_000));
            let host = Host::new(now.before(Duration::from_hours(1)))
                .with_address(Ipv4Addr::new(172, 31, 16, 10));
            Stand { host, draws: Draws::new(7), now, outside: Open::default(), setup: self }
        }
    }

    /// What lies outside: all is well, but for these.
    #[derive(Debug, Clone, Default)]
    pub(in crate::sandbox::host) struct Open {
        pub(in crate::sandbox::host) broken: Vec<Ipv4Addr>,
        pub(in crate::sandbox::host) silent: bool,
    }

    impl Outside for Open {
        fn carries(&self, rule: &Rule) -> bool {
            !self.broken.contains(&rule.remote)
        }

        fn answers(&self, _host: Ipv4Addr) -> bool {
            !self.silent
        }
    }

    /// A server under test.
    #[derive(Debug, Clone)]
    pub(in crate::sandbox::host) struct Stand {
        pub(in crate::sandbox::host) host: Host,
        pub(in crate::sandbox::host) draws: Draws,
        pub(in crate::sandbox::host) now: Moment,
        pub(in crate::sandbox::host) outside: Open,
        pub(in crate::sandbox::host) setup: Setup,
    }

    /// What was heard.
    #[derive(Debug)]
    pub(in crate::sandbox::host) struct Heard {
        pub(in crate::sandbox::host) lines: Vec<String>,
        /// `None` where the session was lost.
        pub(in crate::sandbox::host) code: Option<i32>,
        pub(in crate::sandbox::host) stderr: String,
    }

    impl Heard {
        /// The line that begins with a word, as JSON.
        pub(in crate::sandbox::host) fn told(&self, word: &str) -> serde_json::Value {
            let told = self.lines.iter().find_map(|line| line.strip_prefix(word));
            serde_json::from_str(told.unwrap_or_else(|| panic!("no {word} in {self:?}"))).unwrap()
        }

        /// The line of a step.
        pub(in crate::sandbox::host) fn step(&self, id: &str) -> serde_json::Value {
            let steps = self.lines.iter().filter_map(|line| serde_json::from_str(line).ok());
            let mut its = steps.filter(|step: &serde_json::Value| step["id"] == id);
            its.next().unwrap_or_else(|| panic!("no {id} in {self:?}"))
        }

        /// The steps that changed something.
        pub(in crate::sandbox::host) fn changed(&self) -> Vec<String> {
            let steps = self.lines.iter().filter_map(|line| serde_json::from_str(line).ok());
            let changed = steps.filter(|step: &serde_json::Value| step["changed"] == true);
            changed.map(|step| step["id"].as_str().unwrap().to_owned()).collect()
        }

        /// The words of the run's last line.
        pub(in crate::sandbox::host) fn done(&self) -> &str {
            let done = self.lines.iter().find(|line| line.starts_with("cgw-done "));
            done.unwrap_or_else(|| panic!("no last line in {self:?}"))
        }
    }

    impl Stand {
        /// Asks over a new connection, and hears what comes before the session ends.
        pub(in crate::sandbox::host) fn ask(&mut self, request: &Request<'_>) -> Heard {
            let document = request.document();
            let Self { host, draws, now, outside, .. } = self;
            let talk = host.answer(&document, *now, draws, outside);
            assert!(talk.lines.is_sorted_by_key(|(at, _)| *at), "{talk:?}");
            assert!(talk.lines.iter().all(|(at, _)| (*now..=talk.at).contains(at)), "{talk:?}");
            let lines: Vec<String> = talk.lines.into_iter().map(|(_, line)| line).collect();
            self.pass(talk.at.since(self.now));
            let heard = match talk.end {
                End::Lost => Heard { lines, code: None, stderr: String::new() },
                End::Exit { code, stderr } => {
                    let mut lines = lines;
                    assert_eq!(lines.pop(), Some(format!("cgw-exit {code}")));
                    Heard { lines, code: Some(code), stderr }
                }
            };
            for text in [format!("{heard:?}"), format!("{:?}{:?}", self.host, self.host.traces())] {
                assert!(!self.setup.keys.iter().any(|key| text.contains(&key.repeat(64))));
            }
            assert!(self.host.alarms().is_empty(), "{:?}", self.host.alarms());
            heard
        }

        pub(in crate::sandbox::host) fn pass(&mut self, span: Duration) {
            self.now = self.now.after(span);
            self.host.advance(self.now);
        }

        pub(in crate::sandbox::host) fn set_up(&mut self) -> Heard {
            let bundle = self.setup.bundle();
            self.ask(&Request::Run(&bundle))
        }

        pub(in crate::sandbox::host) fn follow(&mut self) -> Heard {
            let (bundle, stack) = (self.setup.bundle(), self.setup.stack());
            self.ask(&Request::Follow { stack: &stack, run: &bundle.digest })
        }

        pub(in crate::sandbox::host) fn confirm(&mut self, then: Then<'_>) -> serde_json::Value {
            let stack = self.setup.stack();
            self.ask(&Request::Confirm { stack: &stack, then }).told("cgw-state ")
        }

        pub(in crate::sandbox::host) fn undo(&mut self) -> Heard {
            let stack = self.setup.stack();
            self.ask(&Request::Undo { stack: &stack, remove_roles: false })
        }

        /// Waits until the server lets people in and has settled.
        pub(in crate::sandbox::host) fn wait_for_start(&mut self) {
            for _ in 0..60 {
                self.pass(Duration::from_secs(30));
                if self.host.lets_in(self.now) && self.now >= self.host.power.settled {
                    return;
                }
            }
            panic!("it does not come back");
        }
    }

    /// Does one thing of many, or lets time pass.
    fn stir(stand: &mut Stand, chance: &mut Draws) {
        let (setup, stack) = (stand.setup.clone(), stand.setup.stack());
        let ping = setup.target();
        let pick = chance.span("what", Duration::ZERO..=Duration::from_millis(15));
        let pick = usize::try_from(pick.as_millis()).unwrap();
        let step = ["mtu", "roles", "tunnels", "firewall", "5"][pick % 5];
        let undo = Request::Undo { stack: &stack, remove_roles: pick == 4 };
        let kept = Request::Failover { stack: &stack, ping, off: Off::Kept(stand.setup.peer(1)) };
        let mut only_begin = |request: &Request<'_>| {
            let Stand { host, draws, now, outside, .. } = &mut *stand;
            host.answer(&request.document(), *now, draws, outside);
        };
        match pick {
            0 => drop(stand.set_up()),
            1 => only_begin(&Request::Run(&setup.bundle())),
            2 => only_begin(&undo),
            3 | 4 => drop(stand.ask(&undo)),
            5 => drop(stand.follow()),
            6 => drop(stand.ask(&Request::Confirm { stack: &stack, then: Then::Restart })),
            7 => drop(stand.ask(&Request::Confirm { stack: &stack, then: Then::Nothing })),
            8 => drop(stand.ask(&kept)),
            9 => drop(stand.ask(&Request::SwitchOn { stack: &stack })),
            10 => stand.host.restart(stand.now, &mut stand.draws),
            11 => stand.host.trouble(Trouble::StepFails(step.to_owned())),
            12 => stand.host.trouble(Trouble::RestartDuring(step.to_owned())),
            13 => stand.host.trouble(Trouble::GuardFires),
            14 => stand.host.hang_up(&stack),
            _ => stand.setup.keys = [["a", "b"], ["c", "d"]][pick % 2],
        }
        stand.pass(chance.span("rest", Duration::ZERO..=Duration::from_mins(8)));
    }

    /// Lets all kinds of things happen to these stacks, then undoes them.
    fn live_through(seed: u64, setups: &[Setup]) -> Stand {
        let mut stand = Setup::default().ready();
        stand.draws = Draws::new(seed);
        let (mut chance, mut setups) = (Draws::new(seed + 1000), setups.to_vec());
        for _ in 0..30 {
            let which = usize::from(chance.percent("which", 40)) % setups.len();
            stand.setup = setups[which].clone();
            stir(&mut stand, &mut chance);
            setups[which] = stand.setup.clone();
        }
        stand.host.troubles.clear();
        stand.pass(Duration::from_hours(2));
        for setup in setups {
            stand.setup = setup;
            let undone = stand.undo();
            assert!(matches!(undone.code, Some(0 | 4)), "{seed}: {undone:?}");
        }
        assert_eq!(stand.host.alarms(), <[&str; 0]>::default(), "{seed}");
        stand
    }

    #[test]
    fn whatever_has_come_an_undo_leaves_nothing() {
        for seed in 0..40 {
            let stand = live_through(seed, &[Setup::default()]);
            assert_eq!(stand.host.traces(), <[&str; 0]>::default(), "{seed}");
        }
    }

    #[test]
    fn whatever_comes_of_two_stacks_an_undo_of_both_leaves_nothing() {
        let other = Setup { name: "branch", net: 7, crypto: Crypto::Strict, ..Setup::default() };
        for seed in 0..20 {
            let stand = live_through(seed, &[Setup::default(), other.clone()]);
            assert_eq!(stand.host.traces(), <[&str; 0]>::default(), "{seed}");
        }
    }
}
