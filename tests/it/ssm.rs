//! `transport::ssm` against LocalStack, which really runs what it is sent.

#![expect(clippy::unwrap_used, reason = "a helper fails like the test that uses it")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_ssm::types::{Command, CommandStatus};
use cgw::address::AwsId;
use cgw::aws::{Clients, Ending, Place, Reader};
use cgw::event::{Event, Events, Listener};
use cgw::interrupt::Interrupt;
use cgw::transport::ssm::{self, Ssm};
use cgw::transport::{Call, Error, Exit, Transport};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cloud::{Cloud, endpoint};
use crate::contract::exec;
use crate::proxy::Proxy;

mod needs_pwsh;
mod password;

/// No test comes near it; it only ends a test that hangs.
const LONG: Duration = Duration::from_mins(2);
const REGION: &str = "eu-west-1";

/// A managed instance of an account of its own.
pub(crate) struct Server {
    cloud: Cloud,
    pub(crate) folder: tempfile::TempDir,
    api: aws_sdk_ssm::Client,
}

impl Server {
    /// One whose PowerShell is any program of this machine.
    pub(crate) fn with_engine(engine: &str) -> Self {
        let (cloud, folder) = (Cloud::new(), tempfile::tempdir().unwrap());
        let api = aws_sdk_ssm::Client::from_conf(
            aws_sdk_ssm::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(REGION))
                .endpoint_url(endpoint())
                .credentials_provider(credentials(&cloud))
                .build(),
        );
        fs::create_dir(folder.path().join("tmp")).unwrap();
        let server = Self { cloud, folder, api };
        server.manage(engine, None);
        server
    }

    /// One whose commands never end.
    fn that_hangs() -> Self {
        let server = Self::with_engine("");
        let engine = server.script("engine", "exec sleep 600");
        server.manage(engine.to_str().unwrap(), None);
        server
    }

    /// Lets Systems Manager reach the instance; `fate` is what becomes of every command.
    fn manage(&self, engine: &str, fate: Option<&str>) {
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let environment = json!({
            "PATH": path,
            "HOME": std::env::var("HOME").unwrap(),
            "TMPDIR": self.folder.path().join("tmp"),
            "CGW_WINDOWS_STATE": self.folder.path().join("state"),
        });
        let machine = json!({ "engine": engine, "environment": environment, "fate": fate });
        let instance = self.cloud.id("instance");
        let body = json!({ "region": REGION, "instance": instance, "machine": machine });
        self.cloud.control("managed", body);
    }

    /// Writes a program of the server.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A call of such a program.
    fn call(&self, text: &str, stdin: &[u8]) -> Call {
        let program = format!("/bin/sh {}", self.script("program", text).display());
        Call { program, stdin: Zeroizing::new(stdin.to_vec()), deadline: LONG }
    }

    /// The private address of the instance.
    pub(crate) fn private_ip(&self) -> String {
        self.cloud.id("private_ip")
    }

    pub(crate) async fn clients(&self, url: &str) -> (Transport, Reader) {
        self.reach(Clients::new(Events::silent(), Interrupt::never()), url).await
    }

    async fn reach(&self, clients: Clients, url: &str) -> (Transport, Reader) {
        let place =
            Place { profile: None, region: REGION.to_owned(), endpoint: Some(url.to_owned()) };
        let mut clients = clients.with_credentials(credentials(&self.cloud));
        let ssm = Ssm {
            instance: AwsId::new(self.cloud.id("instance")),
            stack: "office".parse().unwrap(),
            carrier: clients.reader(&place).await.run_command(),
        };
        (Transport::Ssm(ssm), clients.reader(&place).await)
    }

    async fn transport(&self) -> Transport {
        self.clients(&endpoint()).await.0
    }

    async fn exec(&self, call: &Call) -> (Result<Exit, Error>, Vec<String>) {
        exec(&self.transport().await, call).await
    }

    /// Everything that AWS keeps of commands.
    async fn commands(&self) -> Vec<Command> {
        self.api.list_commands().send().await.unwrap().commands.unwrap_or_default()
    }

    /// All that AWS keeps of what was sent, which the SDK's own `Debug` does not show.
    async fn history(&self) -> String {
        let scripts = self.commands().await.into_iter().map(|one| one.parameters.unwrap());
        scripts.map(|parameters| parameters["commands"].concat()).collect()
    }

    /// The parameters that are left.
    async fn parameters(&self) -> Vec<aws_sdk_ssm::types::Parameter> {
        let asked = self.api.get_parameters_by_path().path("/cgw").with_decryption(true);
        asked.send().await.unwrap().parameters.unwrap_or_default()
    }

    fn deny(&self, action: &str) {
        let errors = json!([["AccessDeniedException", "not authorized", 400]]);
        self.cloud.control("faults", json!({ "op": action, "errors": errors }));
    }
}

fn credentials(cloud: &Cloud) -> Credentials {
    Credentials::new(&cloud.account, "any", None, None, "tests")
}

/// Bytes that no compression makes fewer.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

/// Looks again and again until what is to come has come.
async fn until(look: impl AsyncFn() -> bool) {
    let come = async { while !look().await {} };
    tokio::time::timeout(LONG, come).await.expect("it never comes");
}

#[tokio::test]
async fn an_instance_that_is_not_managed_is_told_with_what_it_takes() {
    let server = Server::that_hangs();
    let (_, reader) = server.clients(&endpoint()).await;
    let instance = server.cloud.id("instance");
    assert!(reader.is_managed(&AwsId::new(instance.as_str())).await.unwrap());
    let body = json!({ "region": REGION, "instance": instance, "machine": null });
    server.cloud.control("managed", body);
    assert!(!reader.is_managed(&AwsId::new(instance.as_str())).await.unwrap());
    let error = server.exec(&server.call("true", b"")).await.0.unwrap_err();
    assert_eq!(error.to_string(), format!("Systems Manager does not reach ssm {instance}"));
    assert!(error.hint().unwrap().contains("AmazonSSMManagedInstanceCore"));
    assert!(error.may_pass() && !error.had_begun());
    assert_eq!(server.parameters().await, []);
}

#[tokio::test]
async fn a_refused_call_names_its_action_and_leaves_nothing() {
    let server = Server::that_hangs();
    for action in ["PutParameter", "SendCommand", "GetCommandInvocation"] {
        server.deny(action);
        let error = server.exec(&server.call("true", b"")).await.0.unwrap_err();
        let said = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let said = said.last().unwrap().to_string();
        assert!(said.starts_with(&format!("{action} failed: AccessDenied")), "{said}");
        assert!(error.hint().unwrap().contains("iam-policy"));
        assert_eq!(server.parameters().await, []);
    }
    let statuses: Vec<_> = server.commands().await.into_iter().map(|one| one.status).collect();
    assert_eq!(statuses, [Some(CommandStatus::Cancelled)], "only what was sent, and it ended");
}

#[tokio::test]
async fn what_systems_manager_does_not_take_is_refused_before_anything_is_sent() {
    let server = Server::that_hangs();
    let proxy = Proxy::watching(&endpoint());
    let noise = noise(400_000);
    let (transport, _) = server.clients(proxy.url()).await;
    let error = exec(&transport, &server.call("true", &noise)).await.0.unwrap_err();
    let Error::Ssm(ssm::Error::TooLarge { size, largest, .. }) = error else { panic!("{error:?}") };
    assert!(size > 500_000 && largest < 400_000);
    assert!(proxy.calls().is_empty());
}

#[tokio::test]
async fn a_command_that_never_arrives_has_not_begun() {
    let server = Server::that_hangs();
    for (fate, sentence) in [
        ("DeliveryTimedOut", "was not fetched by the server's agent in time"),
        ("Undeliverable", "could not be delivered: no agent answers there"),
    ] {
        server.manage("", Some(fate));
        let error = server.exec(&server.call("true", b"")).await.0.unwrap_err();
        assert!(error.to_string().ends_with(sentence), "{error}");
        assert!(error.may_pass() && !error.had_begun() && error.hint().is_some());
    }
    assert_eq!(server.parameters().await, []);
}

#[tokio::test]
async fn a_deadline_cancels_the_command_and_deletes_its_key() {
    let server = Server::that_hangs();
    let late = Call { deadline: Duration::from_secs(3), ..server.call("true", b"") };
    let error = server.exec(&late).await.0.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    assert_eq!(server.parameters().await, []);
    let [command] = server.commands().await.try_into().unwrap();
    assert_eq!(command.status, Some(CommandStatus::Cancelled));
    assert_eq!(command.parameters.unwrap()["executionTimeout"], ["33"]);
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_key_and_no_command() {
    let server = Server::that_hangs();
    let (transport, call) = (server.transport().await, server.call("true", b""));
    // The key is counted while the call still runs: once it is dropped, its key is being deleted.
    let begun = async {
        while server.commands().await.is_empty() {}
        server.parameters().await.len()
    };
    tokio::select! {
        outcome = exec(&transport, &call) => panic!("it ended by itself: {outcome:?}"),
        keys = begun => assert_eq!(keys, 1),
    }
    until(async || server.parameters().await.is_empty()).await;
    until(async || server.commands().await[0].status == Some(CommandStatus::Cancelled)).await;
}

#[test]
fn a_run_that_ends_at_once_says_which_key_it_leaves() {
    struct Heard(mpsc::Sender<String>);
    impl Listener for Heard {
        fn hear(&self, event: &Event) {
            if let Event::Warning { text } = event {
                self.0.send(text.clone()).unwrap();
            }
        }
    }
    let (tell, told) = mpsc::channel();
    let server = Server::that_hangs();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let name = runtime.block_on(async {
        let clients = Clients::new(Events::new(Heard(tell)), Interrupt::never());
        let (transport, _) = server.reach(clients, &endpoint()).await;
        let (call, left) = (server.call("true", b""), Mutex::new(None));
        let is_left = async || {
            let found = server.parameters().await.pop().and_then(|one| one.name);
            *left.lock().unwrap() = found;
            left.lock().unwrap().is_some()
        };
        tokio::select! {
            outcome = exec(&transport, &call) => panic!("it ended by itself: {outcome:?}"),
            () = until(is_left) => {}
        }
        // Nothing is awaited from here on: what was spawned never gets its turn.
        left.into_inner().unwrap().unwrap()
    });
    drop(runtime);
    let [text] = told.into_iter().collect::<Vec<_>>().try_into().unwrap();
    assert!(text.ends_with(&format!("--region {REGION} --name {name}")), "{text}");
}

#[tokio::test]
async fn an_agent_that_ends_without_the_last_line_is_no_success() {
    let server = Server::with_engine("/bin/true");
    let error = server.exec(&server.call("true", b"")).await.0.unwrap_err();
    assert!(
        matches!(&error, Error::Ssm(ssm::Error::Ended { ending: Ending::Success, .. })),
        "{error:?}"
    );
    server.manage("/bin/false", None);
    let error = server.exec(&server.call("true", b"")).await.0.unwrap_err();
    assert!(
        matches!(&error, Error::Ssm(ssm::Error::Ended { ending: Ending::Failed, .. })),
        "{error:?}"
    );
    assert!(error.had_begun());
}
