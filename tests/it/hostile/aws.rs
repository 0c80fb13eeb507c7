//! What answers as EC2 does, with whatever a test wants it to say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::cloud::Run;

pub(super) const VPC: &str = "vpc-00000001";
pub(super) const INSTANCE: &str = "i-00000001";

/// Says with which status and body an action is answered.
type Rule = dyn Fn(&str) -> (u16, String) + Send + Sync;

pub(super) struct Aws {
    port: u16,
    home: tempfile::TempDir,
}

impl Aws {
    pub(super) fn new(rule: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule: Arc<Rule> = Arc::new(rule);
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let rule = rule.clone();
                std::thread::spawn(move || serve(&tcp, &*rule));
            }
        });
        Self { port, home: tempfile::tempdir().unwrap() }
    }

    /// Runs cgw against it.
    pub(super) fn cgw(&self, words: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_cgw"))
            .args(words)
            .args(["--endpoint-url", &format!("http://127.0.0.1:{}", self.port)])
            .env_clear()
            .env("HOME", self.home.path())
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output();
        output.unwrap().into()
    }
}

/// Answers one call; an error is that the caller has gone.
fn serve(tcp: &TcpStream, rule: &Rule) {
    let mut reader = BufReader::new(tcp);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        let header = line.to_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8(body).unwrap();
    let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
    let (status, text) = rule(action);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    let mut writer = tcp;
    drop(writer.write_all(&[head.as_bytes(), text.as_bytes()].concat()));
}

/// An answer without anything in it.
pub(super) fn nothing(action: &str) -> String {
    answer(action, "")
}

fn answer(action: &str, body: &str) -> String {
    format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId>\
         {body}</{action}Response>"
    )
}

fn tags(name: &str) -> String {
    format!("<tagSet><item><key>Name</key><value>{name}</value></item></tagSet>")
}

/// One VPC of this name.
pub(super) fn vpc(name: &str) -> String {
    let item = format!(
        "<item><vpcId>{VPC}</vpcId><ownerId>111111111111</ownerId><state>available</state>\
         <cidrBlock>10.0.0.0/16</cidrBlock><cidrBlockAssociationSet><item><cidrBlock>10.0.0.0/16\
         </cidrBlock><cidrBlockState><state>associated</state></cidrBlockState></item>\
         </cidrBlockAssociationSet>{}</item>",
        tags(name)
    );
    answer("DescribeVpcs", &format!("<vpcSet>{item}</vpcSet>"))
}

/// One instance of this name, without Windows.
pub(super) fn instance(name: &str) -> String {
    let item = format!(
        "<item><instanceId>{INSTANCE}</instanceId><instanceState><code>16</code><name>running</name>\
         </instanceState><vpcId>vpc-00000002</vpcId>{}</item>",
        tags(name)
    );
    let reservation = format!("<item><instancesSet>{item}</instancesSet></item>");
    answer("DescribeInstances", &format!("<reservationSet>{reservation}</reservationSet>"))
}
