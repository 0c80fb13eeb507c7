//! Scripts pushed over SSH to a real sshd, where a real PowerShell runs them over a modelled server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cgw::address::AwsId;
use cgw::interrupt::Interrupt;
use cgw::playbook::{ADMIN_PORTS, Bundle, Own, Parameters};
use cgw::secret::Secret;
use cgw::server::{FirstMet, Reach, Restart, Way};
use cgw::transport::Transport;
use cgw::tunnel::{CidrPair, Crypto, Suites, Tunnel};
use serde_json::{Value, json};

use crate::cloud::{Cloud, Run, words};
use crate::sshd::{Setup, Sshd};

/// The PowerShell that plays the server: `CGW_PWSH`, which tests/run sets where there is one.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn engine() -> Option<String> {
    let engine = std::env::var("CGW_PWSH").ok();
    if engine.is_none() {
        eprintln!("left out: there is no pwsh to play the server (CGW_PWSH names one)");
    }
    engine
}

/// The text of a script that plays powershell.exe, for the server with this private address.
pub(crate) fn powershell(private_ip: &str) -> Option<String> {
    let (engine, stand) = (engine()?, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pwsh"));
    Some(format!(
        "CGW_PWSH='{engine}' CGW_WINDOWS_ADDRESS={private_ip} exec '{stand}/powershell.exe' \"$@\""
    ))
}

/// A bundle for two tunnels; the key of each is one letter.
pub(crate) fn bundle(private_ip: &str) -> Bundle {
    let crypto = Crypto::Modern;
    let parameters = Parameters {
        stack: "office".parse().unwrap(),
        instance: Some(AwsId::new("i-00000001")),
        private_ip: private_ip.parse().unwrap(),
        pair: CidrPair {
            site: "172.31.0.0/16".parse().unwrap(),
            cloud: "10.0.0.0/16".parse().unwrap(),
        },
        crypto,
        ping: None,
        minimal_roles: false,
        replace_rules: false,
        admin_ports: ADMIN_PORTS.into(),
        own: Own::default(),
    };
    let tunnel = |last, letter: &str| Tunnel {
        outside: Ipv4Addr::new(203, 0, 113, last),
        key: Some(Secret::new(letter.repeat(64))),
        suites: Suites::of(crypto),
    };
    Bundle::render(&parameters, &AwsId::new("vpn-1"), &[tunnel(1, "a"), tunnel(2, "b")]).unwrap()
}

/// A way that gives up at once and never restarts the server; `host` replaces the transport's own.
pub(crate) fn remote(transport: Transport, host: Option<&str>) -> Reach {
    Reach::Remote(Box::new(Way {
        transport,
        met: FirstMet::default(),
        host: host.map(str::to_owned),
        patience: Duration::ZERO,
        restart: Restart::Never,
        remove_roles: false,
        interrupt: Interrupt::never(),
    }))
}

/// A server to push to: a real sshd, behind it a real PowerShell over a modelled Windows Server.
pub(crate) struct Windows {
    sshd: Sshd,
    folder: tempfile::TempDir,
}

impl Windows {
    /// Starts the one that the seed has, if there is an engine.
    pub(crate) fn start(cloud: &Cloud) -> Option<Self> {
        Self::at(&cloud.id("private_ip"))
    }

    /// Starts one with this private address.
    pub(crate) fn at(address: &str) -> Option<Self> {
        Self::with_shell(address, &[])
    }

    /// Starts one where sshd hands each command to PowerShell, as `DefaultShell` can have it.
    fn with_powershell(cloud: &Cloud) -> Option<Self> {
        let call = r#"ForceCommand exec "$CGW_PWSH" -NoProfile -NonInteractive -c "$SSH_ORIGINAL_COMMAND""#;
        Self::with_shell(&cloud.id("private_ip"), &[call])
    }

    fn with_shell(address: &str, config: &[&'static str]) -> Option<Self> {
        let engine = engine()?;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let sshd = Sshd::with(&Setup {
            path_first: Some(format!("{}/tests/pwsh", env!("CARGO_MANIFEST_DIR")).into()),
            environment: vec![
                ("CGW_WINDOWS_STATE", state.to_str().unwrap().to_owned()),
                ("CGW_WINDOWS_ADDRESS", address.to_owned()),
                ("CGW_PWSH", engine),
            ],
            config: config.to_vec(),
        });
        Some(Self { sshd, folder })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("state").join(name)
    }

    /// The fingerprint of the host key that a first login finds.
    pub(crate) fn fingerprint(&self) -> String {
        self.sshd.fingerprint("ed25519")
    }

    /// The modelled server.
    pub(crate) fn server(&self) -> Value {
        let text = fs::read_to_string(self.path("server.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["server"].clone()
    }

    /// The folder of a stack on the server.
    pub(crate) fn stack_folder(&self, stack: &str) -> std::path::PathBuf {
        self.path("ProgramData/cgw").join(stack)
    }

    /// What happens at which command there; tests/pwsh/Server.psm1 says what can.
    pub(crate) fn faults(&self, faults: &Value) {
        fs::write(self.path("faults.json"), faults.to_string()).unwrap();
    }

    /// The flags that lead there.
    pub(crate) fn flags(&self) -> Vec<String> {
        let login = self.sshd.ssh();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (port, user) = (login.port.to_string(), login.user);
        let known = text(&self.folder.path().join("known_hosts"));
        let key = text(&self.sshd.key());
        ["--via", "ssh", "--host", "127.0.0.1", "--port", &port, "--user", &user]
            .into_iter()
            .chain(["--identity", &key, "--known-hosts", &known])
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn up(&self, cloud: &Cloud, more: &[&str]) -> Run {
        let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
        let flags = self.flags();
        let mut words =
            vec!["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--instance", &instance];
        words.extend(flags.iter().map(String::as_str));
        words.extend(more);
        cloud.cgw(&words)
    }

    /// Nothing more happens there.
    pub(crate) fn no_faults(&self) {
        fs::remove_file(self.path("faults.json")).unwrap();
    }

    /// Runs a command on a stack that is there: the record says the way to the server, `more` can
    /// say another.
    pub(crate) fn cgw(&self, cloud: &Cloud, command: &str, more: &[&str]) -> Run {
        cloud.cgw(&words(&self.words(command, more)))
    }

    /// The words of such a command.
    pub(crate) fn words(&self, command: &str, more: &[&str]) -> Vec<String> {
        let known = self.folder.path().join("known_hosts");
        let (known, key) = (known.to_str().unwrap(), self.sshd.key());
        let login = [command, "--known-hosts", known, "--identity", key.to_str().unwrap()];
        login.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    /// Takes the stack down.
    pub(crate) fn down(&self, cloud: &Cloud, more: &[&str]) -> Run {
        let stack = cloud.id("cloud_vpc");
        let words = ["--yes", "--consistency", "0", "--stack", &stack];
        self.cgw(cloud, "down", &[&words[..], more].concat())
    }

    /// Changes the modelled server, as a person or the other end would.
    pub(crate) fn set(&self, field: &str, value: &Value) {
        let (path, new) = (self.path("server.json"), self.path("server.json.new"));
        // One process has it at a time: a script that just ends may still be writing.
        let lock = fs::File::create(self.path("server.json.lock")).unwrap();
        lock.lock().unwrap();
        let mut all: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        all["server"][field] = value.clone();
        fs::write(&new, all.to_string()).unwrap();
        fs::rename(&new, &path).unwrap();
    }
}

#[test]
fn the_server_gets_what_aws_has_and_a_second_push_changes_nothing() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let run = windows.up(&cloud, &[]).ok();
    assert!(run.err.contains("the server's host key is new: SHA256:"), "{}", run.err);
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    assert!(run.err.contains("the server has restarted and is as it was set"), "{}", run.err);
    let server = windows.server();
    let nodes = cloud.nodes();
    let rules = server["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    let connection = &nodes["vpn-connection"][0];
    assert_eq!(rules[0]["name"], format!("{connection} Tunnel 1"));
    assert_eq!(rules[0]["localtunnelendpoint"], cloud.id("private_ip"));
    assert_eq!(rules[0]["endpoint1"], "172.31.0.0/16");
    assert_eq!(rules[0]["endpoint2"], "10.0.0.0/16");
    // Confirmed, restarted, confirmed: no guard is left, and no policy with keys in it.
    assert_eq!(server["tasks"], json!({}));
    assert!(!windows.stack_folder(&cloud.id("cloud_vpc")).join("guard").exists());
    let again = windows.up(&cloud, &[]).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
    let push = |more: &[&str]| {
        let words = ["--yes", "--consistency", "0", "--stack", &cloud.id("cloud_vpc")];
        windows.cgw(&cloud, "push", &[&words[..], more].concat())
    };
    let pushed = push(&[]).ok();
    assert!(pushed.err.contains("no change on the server"), "{}", pushed.err);
    assert!(pushed.err.contains("not proven"), "{}", pushed.err);
    // The host that was met first is remembered in the record: another is refused from anywhere.
    let dump = cloud.dump();
    assert!(dump.contains("cgw:declared:host-key") && dump.contains(&windows.fingerprint()));
    let other = "SHA256:".to_owned() + &"A".repeat(43);
    let refused = push(&["--host-key", &other]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.err.contains("HAS CHANGED"), "{}", refused.err);
}

#[test]
fn down_gives_the_server_back_what_it_had() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let stack = cloud.id("cloud_vpc");
    windows.up(&cloud, &["--reboot", "never"]).ok();
    let run = windows.down(&cloud, &["--remove-roles"]).ok();
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    let server = windows.server();
    assert_eq!(server["rules"], json!([]));
    assert_eq!(server["openings"], json!({}));
    assert_eq!(server["exemptions"], "NotConfigured");
    assert_eq!(server["features"], json!({}));
    assert_eq!(server["registry"], json!({}));
    assert!(!windows.stack_folder(&stack).exists());
}

#[test]
fn a_server_that_cannot_be_reached_keeps_what_it_has_and_stops_nothing() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let before = cloud.dump();
    windows.up(&cloud, &["--reboot", "never"]).ok();
    // Nothing listens there.
    let refused = windows.down(&cloud, &["--user", "nobody"]);
    assert_eq!(refused.code(), Some(1), "a login that is refused is no silence: {}", refused.err);
    assert!(refused.err.contains("--keep-windows"), "{}", refused.err);
    assert!(cloud.nodes().contains_key("windows-setup"), "the server is not forgotten");
    let run = windows.down(&cloud, &["--host", "127.0.0.2", "--port", "1"]).ok();
    assert!(run.err.contains("the server keeps what was set there"), "{}", run.err);
    assert!(run.err.contains("undo.ps1"), "{}", run.err);
    assert_eq!(windows.server()["rules"].as_array().unwrap().len(), 2);
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_server_that_is_to_be_kept_is_not_touched() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.up(&cloud, &["--reboot", "never"]).ok();
    let server = windows.server();
    let run = windows.down(&cloud, &["--keep-windows"]).ok();
    assert!(run.out.contains("keeps what was set there"), "{}", run.out);
    assert_eq!(windows.server(), server);
}

#[test]
fn a_step_that_fails_is_named_and_the_next_run_goes_on() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.faults(&json!({ "fail": "Set-NetFirewallSetting", "once": true }));
    let run = windows.up(&cloud, &["--reboot", "never"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.err.contains("step ipsec-settings failed on the server"), "{}", run.err);
    // The way was confirmed all the same: what was set so far stays.
    assert_eq!(windows.server()["tasks"], json!({}));
    let run = windows.up(&cloud, &["--reboot", "never"]).ok();
    assert!(run.err.contains("take effect only when the server restarts"), "{}", run.err);
}

#[test]
fn a_run_goes_on_when_the_session_is_lost_and_is_followed_again() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    // The session that follows is lost as soon as it waits; the run is a process of its own.
    windows.faults(&json!({ "lose": "Start-Sleep", "once": true }));
    let run = windows.up(&cloud, &["--reboot", "never"]).ok();
    assert!(run.err.contains("lost the connection"), "{}", run.err);
    assert_eq!(run.err.matches("windows-setup: tunnels: changed").count(), 1, "{}", run.err);
    assert_eq!(windows.server()["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_that_dies_is_begun_again() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.faults(&json!({ "die": "Set-NetIPInterface", "once": true }));
    let run = windows.up(&cloud, &["--reboot", "never"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.err.contains("without its last line"), "{}", run.err);
    windows.up(&cloud, &["--reboot", "never"]).ok();
}

#[test]
fn a_restart_that_must_come_first_comes_and_the_steps_go_on() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.faults(&json!({ "restart": "Install-WindowsFeature", "once": true }));
    let run = windows.up(&cloud, &["--reboot", "never"]);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("a restart of the server must come first"), "{}", run.err);
    let run = windows.up(&cloud, &[]).ok();
    assert!(run.err.contains("the server has restarted"), "{}", run.err);
    assert_eq!(windows.server()["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn a_server_that_locks_everybody_out_restores_itself() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.faults(&json!({ "lockout": "netsh -f", "once": true }));
    let run = windows.up(&cloud, &["--reboot", "never"]);
    assert_eq!(run.code(), Some(1), "{}", run.err);
    assert!(run.err.contains("it has put its firewall back as it was before"), "{}", run.err);
    let server = windows.server();
    assert_eq!(server["rules"], json!([]));
    assert_eq!(server["exemptions"], "NotConfigured");
    assert_eq!(server["tasks"], json!({}));
    windows.up(&cloud, &["--reboot", "never"]).ok();
    assert_eq!(windows.server()["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn a_ping_proves_the_tunnel_and_how_far_a_failed_one_came_tells_what_is_wrong() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let run = windows.up(&cloud, &["--reboot", "never", "--ping", "10.0.1.10"]).ok();
    assert!(run.out.contains("ping 10.0.1.10: 5 of 5 answered"), "{}", run.out);
    assert!(run.out.contains(": AES256-SHA256-DH14"), "{}", run.out);
    let stack = cloud.id("cloud_vpc");
    let task = &windows.server()["tasks"][format!("cgw keepalive {stack}")]["arguments"];
    assert!(task.as_str().unwrap().ends_with("-Ping 10.0.1.10"), "{task}");
    let test = |more: &[&str]| windows.cgw(&cloud, "test", &[&["--stack", &stack], more].concat());
    let proof = test(&["--json"]).ok();
    assert!(proof.out.contains(r#""proven":true"#), "{}", proof.out);
    let failed_over = test(&["--failover"]).ok();
    assert!(failed_over.out.contains("failover from 192.0.2."), "{}", failed_over.out);
    assert!(windows.server()["rules"][0]["enable"] == "True", "it is on again");
    windows.set("peer", &json!("no-host"));
    let run = test(&[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.out.contains("0 of 5 answered"), "{}", run.out);
    assert!(run.err.contains("a tunnel is up, but no ping came back"), "{}", run.err);
    windows.down(&cloud, &[]).ok();
    assert_eq!(windows.server()["tasks"], json!({}));
}

#[test]
fn scripts_that_a_person_was_to_run_are_pushed_when_that_is_asked_and_forgotten_when_not() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let up = ["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--instance", &instance];
    let via = |way: &str| cloud.cgw(&[&up[..], &["--via", way]].concat()).ok();
    via("files");
    let folder = cloud.home.path().join(format!("cgw-{}", cloud.id("cloud_vpc")));
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(folder.join("keys.txt")).unwrap().lines().count(), 2);
    assert!(via("files").out.contains("nothing to change"));
    let pushed = windows.up(&cloud, &["--reboot", "never"]).ok();
    assert!(pushed.err.contains("windows-setup: tunnels: changed"), "{}", pushed.err);
    let forgotten = via("none");
    assert!(forgotten.out.contains("delete  windows-setup"), "{}", forgotten.out);
    assert!(via("none").out.contains("nothing to change"));
    assert!(!cloud.nodes().contains_key("windows-setup"));
    assert_eq!(windows.server()["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_waits_until_another_one_lets_go_of_the_server() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.up(&cloud, &["--reboot", "never"]).ok();
    waits_for_the_other_run(&cloud, &windows);
}

#[test]
fn where_powershell_is_the_shell_of_sshd_each_exit_code_is_told_all_the_same() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::with_powershell(&cloud) else { return };
    let before = cloud.dump();
    windows.up(&cloud, &["--reboot", "never"]).ok();
    waits_for_the_other_run(&cloud, &windows);
    // As where nothing was ever pushed.
    fs::remove_dir_all(windows.stack_folder(&cloud.id("cloud_vpc"))).unwrap();
    let run = windows.down(&cloud, &[]).ok();
    assert!(!run.err.contains("windows-setup: tunnels"), "{}", run.err);
    assert_eq!(cloud.dump(), before);
}

/// Holds what a run on the server holds while another one is to be pushed.
fn waits_for_the_other_run(cloud: &Cloud, windows: &Windows) {
    // .NET's `FileShare.None` is flock on this system, as is this lock.
    let lock = fs::File::open(windows.path("ProgramData/cgw/lock")).unwrap();
    lock.lock().unwrap();
    let stack = cloud.id("cloud_vpc");
    let more = ["--yes", "--consistency", "0", "--reboot", "never", "--stack", &stack];
    let words = windows.words("push", &more);
    let mut command = cloud.command(&crate::cloud::endpoint(), &crate::cloud::words(&words));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut held = Some(lock);
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("another run is under way on the server; waiting for its end") {
            drop(held.take());
        }
        said += &(line + "\n");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(held.is_none(), "it did not wait: {said}");
    assert!(said.contains("no change on the server"), "{said}");
}

#[test]
fn a_step_of_the_users_own_is_run_once_and_undone() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let playbook = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/windows-server/manifest.json");
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(playbook).unwrap()).unwrap();
    let steps = manifest.as_array_mut().unwrap();
    // The modelled registry has only the values of the playbook: this one comes in place of a step.
    steps.retain(|step| step["id"] != "dead-gateway");
    steps.push(json!({
        "id": "mine", "file": "95-mine.ps1", "title": "My own", "needs": ["tunnels"],
        "reboot": true, "guard": false, "on": ["ec2", "external"],
    }));
    let own = cloud.home.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("manifest.json"), manifest.to_string()).unwrap();
    let step = r"
        param($Parameters, [switch] $Undo)
        $ErrorActionPreference = 'Stop'
        . (Join-Path $PSScriptRoot 'common.ps1')
        $key = 'HKLM:\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters'
        Complete-RegistryValue 'mine' $key 'EnableDeadGWDetect' 7
    ";
    fs::write(own.join("95-mine.ps1"), step).unwrap();
    let flags = ["--reboot", "never", "--playbook", own.to_str().unwrap()];
    let run = windows.up(&cloud, &flags).ok();
    assert!(run.err.contains("windows-setup: mine: changed"), "{}", run.err);
    let value = || windows.server()["registry"]["EnableDeadGWDetect"].clone();
    assert_eq!(value(), 7);
    let again = windows.up(&cloud, &flags).ok();
    assert!(again.out.contains("nothing to change"), "{}", again.out);
    // Where it is another step now, it is pushed again.
    fs::write(own.join("95-mine.ps1"), step.replace(" 7", " 8")).unwrap();
    let run = windows.up(&cloud, &flags).ok();
    assert!(run.err.contains("windows-setup: mine: changed"), "{}", run.err);
    assert!(run.err.contains("windows-setup: tunnels: no change"), "{}", run.err);
    assert_eq!(value(), 8);
    let run = windows.down(&cloud, &[]).ok();
    assert!(run.err.contains("windows-setup: mine: changed"), "{}", run.err);
    assert_eq!(value(), Value::Null);
}

#[test]
fn what_is_wrong_with_the_login_is_said_before_anything_is_made() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    let before = cloud.dump();
    let key = windows.flags().iter().position(|flag| flag == "--identity").unwrap() + 1;
    for (flags, sentence) in [
        (vec!["--host-key".to_owned(), "foo".to_owned()], "is no fingerprint of a host key"),
        (vec![], "cannot read the private key"),
    ] {
        let mut all = windows.flags();
        if flags.is_empty() {
            all[key] = "/nope".to_owned();
        }
        all.extend(flags);
        let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
        let mut words = vec!["up", "--yes", "--vpc", &vpc, "--instance", &instance];
        words.extend(all.iter().map(String::as_str));
        let run = cloud.cgw(&words);
        assert_eq!(run.code(), Some(2), "{}", run.err);
        assert!(run.err.contains(sentence), "{}", run.err);
    }
    assert_eq!(cloud.dump(), before);
}

#[test]
fn a_step_that_hangs_is_left_by_interrupting_twice_and_the_next_run_goes_on() {
    let cloud = Cloud::new();
    let Some(windows) = Windows::start(&cloud) else { return };
    windows.faults(&json!({ "hang": "Install-RemoteAccess" }));
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let flags = windows.flags();
    let mut words =
        vec!["up", "--yes", "--consistency", "0", "--vpc", &vpc, "--instance", &instance];
    words.extend(flags.iter().map(String::as_str));
    let mut command = cloud.command(&crate::cloud::endpoint(), &words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id().to_string();
    let interrupt = || {
        assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    };
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        // The step before the one that hangs; then what the first interrupt brings.
        if line.contains("windows-setup: roles:") || line.contains("finishing what is in flight") {
            interrupt();
        }
        said.push_str(&line);
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
    windows.faults(&json!({}));
    windows.up(&cloud, &["--reboot", "never"]).ok();
}
