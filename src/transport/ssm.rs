//! Runs a command by Systems Manager: no port of the server is open for it, and nobody logs in.
//!
//! What a command is given, Systems Manager keeps for 30 days and shows to many. So the command
//! line and its standard input go there encrypted, under keys that were never used before and that
//! the server reads from a parameter, which is gone when the command has ended.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Call, Error, Exit, Lines};
use crate::address::{AwsId, Stack};
use crate::aws::{Command, Ended, Invocation, RunCommand, Verdict};
use crate::time::{self, Backoff, TimedOut};

mod seal;
mod traces;

use seal::Sealed;
use traces::{Sent, Traces};

/// What runs on the server; its head says what it is given.
const SCRIPT: &str = include_str!("ssm.ps1");
/// The bytes of a script that Systems Manager takes: 64 KB a document (AWS General Reference,
/// «Systems Manager quotas»), less what stands around the script.
const LARGEST: usize = 63 << 10;
/// The characters of a command's output that Systems Manager keeps (API, GetCommandInvocation).
const KEPT: usize = 24_000;

/// A machine that Systems Manager reaches.
#[derive(Debug, Clone)]
pub struct Ssm {
    /// The instance.
    pub instance: AwsId,
    /// Whose name is on what a command leaves in AWS for as long as it runs.
    pub stack: Stack,
    /// What takes the commands there.
    pub carrier: RunCommand,
}

impl Ssm {
    /// Says where the commands go, as in `ssm i-0abc`.
    pub(super) fn describe(&self) -> String {
        format!("ssm {}", self.instance)
    }

    /// Runs `call`; [`super::Transport::exec`] says the rest.
    ///
    /// Systems Manager streams nothing: all lines come when the command has ended.
    pub(super) async fn exec(
        &self,
        call: &Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let mut traces = Traces::new(self.clone(), hex(seal::random::<16>().as_ref()));
        let sealed = Sealed::new(call);
        let script = self.script(&traces, &sealed)?;
        let work = self.follow(&mut traces, &sealed, &script, call.deadline);
        let outcome = time::within(call.deadline, work).await;
        traces.remove().await;
        let late = |TimedOut| Err(Error::Deadline { at: self.describe(), limit: call.deadline });
        self.judge(&traces.id, &outcome.unwrap_or_else(late)?, on_line)
    }

    /// Returns the script as it is sent: no value that it is given has a quote in it.
    fn script(&self, traces: &Traces, sealed: &Sealed) -> Result<String, Error> {
        let mut script = String::new();
        for (name, value) in [
            ("id", traces.id.as_str()),
            ("region", self.carrier.region()),
            ("parameter", &traces.parameter()),
            ("sealed", &sealed.text),
        ] {
            writeln!(script, "${name} = '{value}'").expect("a String takes all that is written");
        }
        let code = SCRIPT.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        code.for_each(|line| script.extend([line, "\n"]));
        // It travels in a text of JSON.
        let size = serde_json::Value::from(script.as_str()).to_string().len();
        if size > LARGEST {
            return Err(Error::TooLarge { at: self.describe(), size, largest: LARGEST });
        }
        Ok(script)
    }

    /// Leaves the keys for the server, sends the command and waits for its end.
    async fn follow(
        &self,
        traces: &mut Traces,
        sealed: &Sealed,
        script: &str,
        limit: Duration,
    ) -> Result<Ended, Error> {
        traces.key = true;
        self.carrier.put_secret(&self.stack, &traces.parameter(), &sealed.keys).await?;
        let (instance, comment) = (&self.instance, &traces.comment());
        traces.sent = Sent::Perhaps;
        let id = match self.carrier.send(&Command { instance, script, comment, limit }).await {
            Ok(id) => id,
            Err(source) if source.verdict == Verdict::Lost => match traces.find().await? {
                Some(id) => id,
                None => return Err(Error::Unheard { at: self.describe(), source }),
            },
            Err(error) => {
                traces.sent = Sent::No;
                let is_unknown = error.verdict == Verdict::Gone;
                let at = self.describe();
                return Err(if is_unknown {
                    Error::NotManaged { at, source: error }
                } else {
                    error.into()
                });
            }
        };
        traces.sent = Sent::As(id.clone());
        let mut rests = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), limit);
        while let Some(rest) = rests.next_rest() {
            time::sleep(rest).await;
            match self.carrier.invocation(&id, instance).await {
                Ok(Invocation::UnderWay) => {}
                Ok(Invocation::Ended(ended)) => {
                    traces.sent = Sent::No;
                    return Ok(ended);
                }
                // The command goes on, whether it can be seen or not.
                Err(error) if matches!(error.verdict, Verdict::Lost | Verdict::Again) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Deadline { at: self.describe(), limit })
    }

    /// Tells how the command ended.
    ///
    /// INVARIANT: an exit code comes from the script's own last line, never from a status.
    fn judge(
        &self,
        id: &str,
        ended: &Ended,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, Error> {
        let (at, said) = (self.describe(), ended.stderr.trim());
        if let Some((output, code)) = whole_output(&ended.stdout, id) {
            let mut lines = Lines::default();
            lines.feed(output.as_bytes(), &mut |line| on_line(&line));
            lines.end(&mut |line| on_line(&line));
            return Ok(Exit { code, stderr: ended.stderr.clone() });
        }
        if let Some(why) = said.strip_prefix("cgw-not-started ") {
            return Err(Error::Start { at, source: why.into() });
        }
        if ended.stdout.chars().count() >= KEPT {
            return Err(Error::OutputCut { at, kept: KEPT });
        }
        Err(Error::Ended { at, ending: ended.ending.clone(), said: said.to_owned() })
    }
}

/// Returns what the command wrote, and its exit code, if its output has its last line.
fn whole_output<'a>(stdout: &'a str, id: &str) -> Option<(&'a str, i32)> {
    let (output, code) = stdout.rsplit_once(&format!("cgw-exit {id} "))?;
    // The script begins its last line with a line feed of its own.
    Some((output.strip_suffix('\n').unwrap_or(output), code.trim_end().parse().ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_whole_only_with_the_last_line_of_its_own_run() {
        assert_eq!(whole_output("one\r\n\ncgw-exit 0f 3010\n", "0f"), Some(("one\r\n", 3010)));
        assert_eq!(whole_output("one\ncgw-exit 0f -1\r\n", "0f"), Some(("one", -1)));
        assert_eq!(whole_output("cgw-exit 0f 0", "0f"), Some(("", 0)));
        assert_eq!(whole_output("one\ncgw-exit 0e 0\n", "0f"), None, "of another run");
        assert_eq!(whole_output("one\ncgw-exit 0f ", "0f"), None, "cut before its code");
        assert_eq!(whole_output("one\ncgw-exit 0f 0\nmore", "0f"), None, "not the last line");
        assert_eq!(whole_output("one\n", "0f"), None);
    }

    #[test]
    fn nothing_in_the_script_is_taken_for_a_parameter_of_the_document() {
        // Systems Manager puts its own values where a command has two braces.
        assert!(!SCRIPT.contains("{{") && !SCRIPT.contains("}}"));
    }
}
