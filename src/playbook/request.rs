//! What a session on the server can ask of the scripts there.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{BOOTSTRAP, Bundle, SCRIPTS};
use crate::address::Stack;

/// The first word of the last line that the bootstrap writes; its exit code is the second.
pub const END: &str = "cgw-exit";

/// One thing that is asked of the server; the documents are those of `bootstrap.ps1`.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Put a bundle there, run its steps, and follow them.
    Run(&'a Bundle),
    /// Take back what the steps have set, and follow that.
    Undo {
        /// Whose steps.
        stack: &'a Stack,
        /// Whether the roles that they installed go too.
        remove_roles: bool,
    },
    /// Follow a run from its beginning, wherever it is by now.
    Follow {
        /// Whose run.
        stack: &'a Stack,
        /// Which one: [`Request::run`].
        run: &'a str,
    },
    /// Ping a host in the VPC through a tunnel, and hear what came of it.
    Prove {
        /// Whose tunnels.
        stack: &'a Stack,
        /// The host.
        ping: Ipv4Addr,
    },
    /// Switch a tunnel off until the other one carries the traffic.
    Failover {
        /// Whose tunnels.
        stack: &'a Stack,
        /// The host that is pinged meanwhile.
        ping: Ipv4Addr,
        /// Which one.
        off: Off,
    },
    /// Switch on again what was switched off.
    SwitchOn {
        /// Whose tunnels.
        stack: &'a Stack,
    },
    /// Say that the server can still be reached, and hear how it is.
    Confirm {
        /// Whose guard is disarmed.
        stack: &'a Stack,
        /// What comes with it.
        then: Then<'a>,
    },
}

/// Which tunnel is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// The one that carries the traffic.
    Carrier,
    /// The one to this outside address.
    Tunnel(Ipv4Addr),
    /// The same, and it stays off until its rule is set anew, or for an hour.
    Kept(Ipv4Addr),
}

/// What comes with a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// The server restarts, with its guard armed for after that.
    Restart,
    /// The server restarts at this time of its own clock, `HH:MM`.
    RestartAt(&'a str),
    /// It only counts in another boot than this one (seconds since 1970).
    After(i64),
}

impl Request<'_> {
    /// Returns what the journal calls the run that this begins or follows; `None` if it is none.
    #[must_use]
    pub fn run(&self) -> Option<&str> {
        match self {
            Self::Run(bundle) => Some(&bundle.digest),
            Self::Undo { .. } => Some("undo"),
            Self::Follow { run, .. } => Some(run),
            Self::Prove { .. }
            | Self::Failover { .. }
            | Self::SwitchOn { .. }
            | Self::Confirm { .. } => None,
        }
    }

    /// Returns whose server it is for.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        match self {
            Self::Run(bundle) => &bundle.stack,
            Self::Undo { stack, .. }
            | Self::Follow { stack, .. }
            | Self::Prove { stack, .. }
            | Self::Failover { stack, .. }
            | Self::SwitchOn { stack }
            | Self::Confirm { stack, .. } => stack,
        }
    }

    /// Returns what the bootstrap reads: a line of JSON, and with a bundle one with its keys.
    #[must_use]
    pub fn document(&self) -> Zeroizing<Vec<u8>> {
        let run = self.run();
        let (script, arguments, files) = match self {
            Self::Run(bundle) => {
                ("follow.ps1", json!({ "Digest": run, "Start": "run.ps1" }), encoded(bundle))
            }
            // What was pushed is there, and knows what it has set.
            Self::Undo { remove_roles, .. } => {
                let arguments =
                    json!({ "Digest": run, "Start": "undo.ps1", "RemoveRoles": remove_roles });
                ("follow.ps1", arguments, Map::new())
            }
            Self::Follow { .. } => ("follow.ps1", json!({ "Digest": run }), Map::new()),
            Self::Prove { ping, .. } => ("prove.ps1", json!({ "Ping": ping }), Map::new()),
            Self::Failover { ping, off, .. } => {
                let arguments = match off {
                    Off::Carrier => json!({ "Ping": ping }),
                    Off::Tunnel(from) => json!({ "Ping": ping, "From": from }),
                    Off::Kept(from) => json!({ "Ping": ping, "From": from, "Keep": true }),
                };
                ("failover.ps1", arguments, Map::new())
            }
            Self::SwitchOn { .. } => ("failover.ps1", json!({ "Enable": true }), Map::new()),
            Self::Confirm { then, .. } => {
                let arguments = match then {
                    Then::Nothing => json!({}),
                    Then::Restart => json!({ "Restart": true }),
                    Then::RestartAt(time) => json!({ "At": time }),
                    Then::After(boot) => json!({ "After": boot }),
                };
                ("confirm.ps1", arguments, Map::new())
            }
        };
        let document = json!({
            "stack": self.stack(), "script": script, "arguments": arguments, "files": files,
            "end": END,
        });
        let mut lines = Zeroizing::new(serde_json::to_vec(&document).expect("JSON of text"));
        if let Self::Run(bundle) = self {
            lines.push(b'\n');
            lines.extend(Zeroizing::new(BASE64.encode(&bundle.keys)).bytes());
        }
        lines
    }
}

/// All files but the keys.
fn encoded(bundle: &Bundle) -> Map<String, Value> {
    bundle
        .files
        .iter()
        .map(|(name, text)| (name.clone(), Value::String(BASE64.encode(text))))
        .collect()
}

/// Returns the command line that reads such a document from standard input and does what it says.
///
/// Holds nothing but the bootstrap: no name, no value, no key.
#[must_use]
pub fn command() -> String {
    let script = SCRIPTS.get_file(BOOTSTRAP).and_then(|f| f.contents_utf8());
    let script = script.expect("the playbook has its bootstrap, in UTF-8");
    let code = script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let utf16: Vec<u8> =
        code.flat_map(|l| l.encode_utf16().chain([10])).flat_map(u16::to_le_bytes).collect();
    format!(
        "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand {}",
        BASE64.encode(utf16)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_fits_the_shell_of_windows() {
        // Microsoft, «Command prompt line string limitation»: 8191 characters.
        assert!(command().len() < 8191, "{}", command().len());
    }

    #[test]
    fn only_a_bundle_carries_files() {
        let stack: Stack = "office".parse().unwrap();
        let read = |request: Request<'_>| -> Value {
            serde_json::from_slice(&request.document()).unwrap()
        };
        let confirm = read(Request::Confirm { stack: &stack, then: Then::After(7) });
        assert_eq!(
            confirm,
            json!({ "stack": "office", "script": "confirm.ps1", "arguments": { "After": 7 },
                "files": {}, "end": "cgw-exit" })
        );
        let undo = read(Request::Undo { stack: &stack, remove_roles: true });
        assert_eq!(undo["arguments"]["Start"], "undo.ps1");
        assert_eq!(undo["files"], json!({}));
    }
}
