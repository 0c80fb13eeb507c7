//! An account of its own on the LocalStack that `tests/run` started, seeded, with decoys.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::proxy::{Fate, Proxy, Weather};

/// The region that the seed uses.
const REGION: &str = "eu-west-1";

pub(crate) fn endpoint() -> String {
    std::env::var("CGW_LOCALSTACK_URL").expect("tests/run starts LocalStack and names it here")
}

/// A Python that runs `cloud.py`.
struct Python {
    process: Child,
    answers: BufReader<ChildStdout>,
}

/// Those that have nothing to do; each ends with this process.
static IDLE: Mutex<Vec<Python>> = Mutex::new(Vec::new());

/// Has something done by an idle Python, and returns what it printed.
fn ask_python(words: &[&str]) -> String {
    let idle = IDLE.lock().unwrap().pop();
    let mut python = idle.unwrap_or_else(Python::start);
    let answer = python.ask(words);
    IDLE.lock().unwrap().push(python);
    answer
}

impl Python {
    fn start() -> Self {
        let python = std::env::var("CGW_PYTHON").expect("tests/run names a Python with boto3");
        let script = format!("{}/tests/it/cloud.py", env!("CARGO_MANIFEST_DIR"));
        let (piped, mut command) = (Stdio::piped, Command::new(python));
        let mut process = command.arg(script).stdin(piped()).stdout(piped()).spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let stdin = self.process.stdin.as_mut().unwrap();
        writeln!(stdin, "{}", serde_json::json!(words)).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "{words:?} failed, as Python says on stderr");
        serde_json::from_str(&answer).unwrap()
    }
}

/// A seeded account.
pub(crate) struct Cloud {
    endpoint: String,
    pub(crate) account: String,
    pub(crate) seed: Value,
    pub(crate) home: tempfile::TempDir,
}

/// What a run of cgw left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts success.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code(), Some(0), "{}\n{}", self.out, self.err);
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Cloud {
    pub(crate) fn new() -> Self {
        Self::seeded(&[])
    }

    pub(crate) fn seeded(options: &[&str]) -> Self {
        Self::on(&endpoint(), options)
    }

    pub(crate) fn on(endpoint: &str, options: &[&str]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let account =
            format!("{:012}", 500_000_000_000 + u64::from(std::process::id()) * 1000 + number);
        let mut cloud = Self {
            endpoint: endpoint.to_owned(),
            account,
            seed: Value::Null,
            home: tempfile::tempdir().unwrap(),
        };
        cloud.seed = serde_json::from_str(&cloud.script("seed", options)).unwrap();
        cloud
    }

    pub(crate) fn id(&self, name: &str) -> String {
        self.seed[name].as_str().expect("the seed has it").to_owned()
    }

    fn script(&self, name: &str, options: &[&str]) -> String {
        let place = ["--endpoint-url", &self.endpoint, "--account", &self.account];
        ask_python(&[&[name][..], &place, &["--region", REGION], options].concat())
    }

    /// Everything in the account that matters, as text that is equal when nothing changed.
    pub(crate) fn dump(&self) -> String {
        self.script("dump", &[])
    }

    /// The same of another region.
    pub(crate) fn dump_of(&self, region: &str) -> String {
        self.script("dump", &["--region", region])
    }

    /// Calls EC2 as somebody else in the account would.
    pub(crate) fn stranger(&self, action: &str, parameters: &Value) {
        let parameters = parameters.to_string();
        ask_python(&["call", &self.endpoint, &self.account, REGION, action, &parameters]);
    }

    /// Sets one of the plug-in's switches for this account.
    pub(crate) fn control(&self, what: &str, mut body: Value) {
        body["account"] = Value::String(self.account.clone());
        let status = Command::new("curl")
            .args(["-sf", "-o", "/dev/null", "-X", "POST", "-H", "Content-Type: application/json"])
            .args(["-d", &body.to_string(), &format!("{}/_cgw/{what}", endpoint())])
            .status()
            .unwrap();
        assert!(status.success(), "{what}");
    }

    /// A command that runs cgw against an endpoint as this account's user.
    pub(crate) fn command(&self, endpoint: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cgw"));
        command
            .args(arguments)
            .args(["--endpoint-url", endpoint])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("AWS_ACCESS_KEY_ID", &self.account)
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .env("AWS_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn cgw(&self, arguments: &[&str]) -> Run {
        self.command(&self.endpoint, arguments).output().unwrap().into()
    }

    pub(crate) fn through(&self, proxy: &Proxy, arguments: &[&str]) -> Run {
        self.command(proxy.url(), arguments).output().unwrap().into()
    }

    /// Runs cgw, and presses Ctrl-C as soon as AWS has carried out an action.
    pub(crate) fn interrupted_at(&self, interrupt_at: &'static str, arguments: &[&str]) -> Run {
        let victim = Arc::new(AtomicU32::new(0));
        let process = victim.clone();
        let proxy = Proxy::new(&endpoint(), Weather::Fair, move |action, _| {
            if action == interrupt_at {
                press_ctrl_c(process.load(Ordering::SeqCst));
            }
            Fate::Pass
        });
        let child = self.begin(proxy.url(), arguments);
        victim.store(child.id(), Ordering::SeqCst);
        child.wait_with_output().unwrap().into()
    }

    /// Starts cgw, with pipes for what it says.
    pub(crate) fn begin(&self, endpoint: &str, arguments: &[&str]) -> Child {
        let mut command = self.command(endpoint, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The flags of an `up` that makes the AWS side only.
    pub(crate) fn up(&self) -> Vec<String> {
        let (vpc, instance) = (self.id("cloud_vpc"), self.id("instance"));
        let flags = ["up", "--yes", "--via", "none", "--consistency", "0"];
        let mut flags: Vec<String> = flags.map(str::to_owned).to_vec();
        flags.extend(["--vpc".to_owned(), vpc, "--instance".to_owned(), instance]);
        flags
    }

    /// The flags of a `down` of the stack that [`Cloud::up`] makes.
    pub(crate) fn down(&self) -> Vec<String> {
        let stack = self.id("cloud_vpc");
        ["down", "--yes", "--consistency", "0", "--stack", &stack].map(str::to_owned).to_vec()
    }

    /// The stack's nodes, each with all ids that were found for it.
    pub(crate) fn nodes(&self) -> BTreeMap<String, Vec<String>> {
        let run = self.cgw(&["status", "--json", "--stack", &self.id("cloud_vpc")]).ok();
        let status = lines(&run.out).into_iter().find(|line| line["event"] == "status").unwrap();
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in status["status"]["nodes"].as_array().unwrap() {
            let text = |key: &str| node[key].as_str().unwrap().to_owned();
            nodes.entry(text("node")).or_default().push(text("id"));
        }
        nodes
    }

    /// Asserts that all nodes are there, each once.
    pub(crate) fn assert_whole(&self) {
        let nodes = self.nodes();
        assert_eq!(nodes.len(), 19, "{nodes:?}");
        assert!(nodes.values().all(|ids| ids.len() == 1), "made twice: {nodes:?}");
    }
}

/// Words as the `&[&str]` that a command takes.
pub(crate) fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

pub(crate) fn press_ctrl_c(process: u32) {
    let mut kill = Command::new("kill");
    assert!(kill.args(["-INT", &process.to_string()]).status().unwrap().success());
}

/// JSON, one value a line.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
