//! Reads what a session sends, as `bootstrap.ps1` does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::address::Stack;
use crate::sandbox::Unshown;

/// What a session asks for.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) stack: Stack,
    pub(super) script: Script,
    /// What comes with it; no keys among it.
    pub(super) files: BTreeMap<String, String>,
    /// `keys.txt`.
    pub(super) keys: Option<Unshown>,
    /// The word before the exit code in the last line.
    pub(super) end: Option<String>,
}

/// One of the scripts that a session may run.
#[derive(Debug)]
pub(super) enum Script {
    Follow(Follow),
    Confirm(Confirm),
    Prove(Prove),
    Failover(Failover),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Follow {
    pub(super) digest: String,
    pub(super) start: Option<Start>,
    #[serde(default)]
    pub(super) remove_roles: bool,
}

/// What is begun before it is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Start {
    #[serde(rename = "run.ps1")]
    Run,
    #[serde(rename = "undo.ps1")]
    Undo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Confirm {
    #[serde(default)]
    pub(super) restart: bool,
    pub(super) at: Option<String>,
    #[serde(default)]
    pub(super) after: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Prove {
    pub(super) ping: Ipv4Addr,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Failover {
    pub(super) ping: Option<Ipv4Addr>,
    pub(super) from: Option<Ipv4Addr>,
    #[serde(default)]
    pub(super) keep: bool,
    #[serde(default)]
    pub(super) enable: bool,
}

/// Why a document is not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) end: Option<String>,
}

impl Document {
    /// Reads a line of JSON, and with files one with the keys.
    pub(super) fn read(document: &[u8]) -> Result<Self, Refused> {
        let text = String::from_utf8_lossy(document);
        let mut lines = text.split('\n');
        let Ok(told) = serde_json::from_str::<Value>(lines.next().unwrap_or_default()) else {
            let why = "standard input is not a JSON document".to_owned();
            return Err(Refused { why, end: None });
        };
        let end = told["end"].as_str().map(str::to_owned);
        Self::take(&told, lines.next(), end.clone()).map_err(|why| Refused { why, end })
    }

    fn take(told: &Value, second: Option<&str>, end: Option<String>) -> Result<Self, String> {
        let stack = told["stack"].as_str().unwrap_or_default().parse();
        let stack = stack.map_err(|_| "the name of the stack is not allowed")?;
        let script = script(told["script"].as_str().unwrap_or_default(), &told["arguments"])?;
        let mut files = BTreeMap::new();
        for (name, contents) in told["files"].as_object().into_iter().flatten() {
            if !is_file_name(name) {
                return Err("the name of a file is not allowed".to_owned());
            }
            files.insert(name.clone(), decoded(contents.as_str())?);
        }
        let keys = if files.is_empty() { None } else { Some(Unshown::new(decoded(second)?)) };
        Ok(Self { stack, script, files, keys, end })
    }
}

fn script(name: &str, arguments: &Value) -> Result<Script, String> {
    match name {
        "follow.ps1" => {
            let follow: Follow = bound(arguments)?;
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if follow.digest.is_empty() || !follow.digest.chars().all(is_plain) {
                return Err("cannot validate argument on parameter 'Digest'".to_owned());
            }
            Ok(Script::Follow(follow))
        }
        "confirm.ps1" => bound(arguments).map(Script::Confirm),
        "prove.ps1" => bound(arguments).map(Script::Prove),
        "failover.ps1" => bound(arguments).map(Script::Failover),
        _ => Err("the name of the script is not allowed".to_owned()),
    }
}

/// Binds arguments to a script's parameters.
fn bound<T: DeserializeOwned>(arguments: &Value) -> Result<T, String> {
    let arguments =
        if arguments.is_null() { Value::Object(<_>::default()) } else { arguments.clone() };
    serde_json::from_value(arguments)
        .map_err(|error| format!("cannot bind the parameters: {error}"))
}

fn decoded(text: Option<&str>) -> Result<String, String> {
    let bytes = text.and_then(|text| BASE64.decode(text.trim_end()).ok());
    let bytes = bytes.ok_or("the input is not a valid Base-64 string")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_file_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::{Off, Request, Then};
    use crate::sandbox::host::stand::tests::Setup;

    #[test]
    fn every_request_is_understood() {
        let (setup, stack) = (Setup::default(), Setup::default().stack());
        let bundle = setup.bundle();
        let ping = Ipv4Addr::new(10, 0, 1, 10);
        let requests = [
            Request::Run(&bundle),
            Request::Undo { stack: &stack, remove_roles: true },
            Request::Follow { stack: &stack, run: "undo" },
            Request::Prove { stack: &stack, ping },
            Request::Failover { stack: &stack, ping, off: Off::Carrier },
            Request::Failover { stack: &stack, ping, off: Off::Kept(ping) },
            Request::SwitchOn { stack: &stack },
            Request::Confirm { stack: &stack, then: Then::RestartAt("03:30") },
            Request::Confirm { stack: &stack, then: Then::After(7) },
        ];
        for request in requests {
            let read = Document::read(&request.document()).unwrap();
            assert_eq!(read.stack, stack);
            assert_eq!(read.keys.is_some(), matches!(request, Request::Run(_)));
        }
    }

    #[test]
    fn a_document_that_is_none_is_refused_with_a_reason() {
        let why = |text: &str| Document::read(text.as_bytes()).unwrap_err().why;
        for garbage in ["", "\n", "{", "cgw", "\u{0}"] {
            assert_eq!(why(garbage), "standard input is not a JSON document");
        }
        for other in ["[]", "7", "{}", r#"{"stack":"../x"}"#, r#"{"stack":["a"]}"#] {
            assert_eq!(why(other), "the name of the stack is not allowed", "{other}");
        }
        let with = |rest: &str| why(&format!(r#"{{"stack":"office",{rest}}}"#));
        assert!(with(r#""script":"run.ps1""#).contains("name of the script"));
        assert!(with(r#""script":"follow.ps1""#).contains("bind"));
        assert!(with(r#""script":"confirm.ps1","arguments":{"Boo":1}"#).contains("bind"));
        let files = r#""script":"confirm.ps1","files":{"a.ps1":"*"}"#;
        assert!(with(files).contains("Base-64"));
        assert!(with(&files.replace("a.ps1", "..\\\\a")).contains("name of a file"));
        assert!(with(&files.replace('*', "")).contains("Base-64"), "the keys are missing");
    }
}
