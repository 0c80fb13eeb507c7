//! Runs a command by Systems Manager: no port of the server is open for it, and nobody logs in.
//!
//! What a command is given, Systems Manager keeps for 30 days and shows to many. So the command
//! line and its standard input go there encrypted, under keys that were never used before and that
//! the server reads from a parameter, which is gone when the command has ended; where cgw is killed
//! before, AWS deletes it.

use std::fmt::Write as _;
use std::time::Duration;

use super::{self as transport, Call, Exit, Lines};
use crate::address::{AwsId, Stack};
use crate::aws::{Command, Ended, Invocation, RunCommand, Verdict};
use crate::time::{self, Backoff, TimedOut};

mod error;
mod seal;
mod traces;

pub use error::Error;
use seal::Sealed;
pub(crate) use seal::open;
use traces::{Sent, Traces};

/// What runs the command on the server, and what leaves a part of it there; their heads say what
/// they are given.
const RUN: &str = include_str!("ssm.ps1");
const LEAVE: &str = include_str!("ssm-part.ps1");
/// The sealed text that goes with one script: Systems Manager takes 64 KB of both (AWS General
/// Reference, «Systems Manager quotas»).
const PART: usize = 48 << 10;
/// Each part is a command of its own, which takes seconds.
const MOST_PARTS: usize = 8;
/// How much later than cgw itself the server's agent ends a command: it is for when cgw is gone.
const GRACE: Duration = Duration::from_secs(30);
/// How wrong this host's clock may be.
const CLOCK: Duration = Duration::from_hours(1);
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
        call: Call,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, transport::Error> {
        let id = hex(seal::random::<16>().as_ref());
        let mut traces = Traces::new(self.clone(), id.clone());
        let (sealed, limit) = (Sealed::new(&call), call.deadline);
        drop(call);
        let parameter = traces.parameter();
        let scripts = self.scripts(&id, &parameter, &sealed.text)?;
        let (run, parts) = scripts.split_last().expect("the last one runs the command");
        let work = async {
            for part in parts {
                let left = self.follow(&mut traces, part, limit).await?;
                drop(self.judge(&id, &left, &mut |_| {})?);
            }
            traces.key = true;
            // So long the agent may take to fetch the command, and to run it.
            let until = time::wall_clock() + 2 * (limit + GRACE) + CLOCK;
            let put = self.carrier.put_secret(&self.stack, &parameter, &sealed.keys, until);
            put.await.map_err(Error::Aws)?;
            self.follow(&mut traces, run, limit).await
        };
        let outcome = time::within(limit, work).await;
        traces.remove().await;
        let late = |TimedOut| Err(transport::Error::Deadline { at: self.describe(), limit });
        self.judge(&id, &outcome.unwrap_or_else(late)?, on_line)
    }

    /// Returns the scripts in the order in which they are sent.
    fn scripts(&self, id: &str, parameter: &str, sealed: &str) -> Result<Vec<String>, Error> {
        if sealed.len() > MOST_PARTS * PART {
            let (at, size, largest) = (self.describe(), sealed.len(), MOST_PARTS * PART);
            return Err(Error::TooLarge { at, size, largest });
        }
        let parts: Vec<&str> = sealed
            .as_bytes()
            .chunks(PART)
            .map(|part| std::str::from_utf8(part).expect("base64 is ASCII"))
            .collect();
        let (last, before) = parts.split_last().expect("nothing is sealed without a code");
        let mut scripts: Vec<String> = before
            .iter()
            .enumerate()
            .map(|(n, part)| {
                script(LEAVE, &[("id", id), ("part", &n.to_string()), ("sealed", part)])
            })
            .collect();
        scripts.push(script(
            RUN,
            &[
                ("id", id),
                ("region", self.carrier.region()),
                ("parameter", parameter),
                ("parts", &before.len().to_string()),
                ("sealed", last),
            ],
        ));
        Ok(scripts)
    }

    /// Sends a script and waits for its end.
    async fn follow(
        &self,
        traces: &mut Traces,
        script: &str,
        limit: Duration,
    ) -> Result<Ended, transport::Error> {
        let (instance, comment) = (&self.instance, &traces.begin());
        let command = Command { instance, script, comment, limit: limit + GRACE };
        let at = || self.describe();
        let id = match self.carrier.send(&command).await {
            Ok(id) => id,
            Err(source) if source.verdict == Verdict::Lost => match traces.find().await {
                Ok(Some(id)) => id,
                Ok(None) | Err(_) => return Err(Error::Unheard { at: at(), source }.into()),
            },
            Err(source) => {
                traces.sent = Sent::No;
                let is_unknown = source.verdict == Verdict::Gone;
                return Err(if is_unknown {
                    Error::NotManaged { at: at(), source }.into()
                } else {
                    Error::Aws(source).into()
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
                Err(source) => return Err(Error::Unwatched { at: at(), source }.into()),
            }
        }
        Err(transport::Error::Deadline { at: at(), limit })
    }

    /// Tells how the command ended.
    ///
    /// INVARIANT: an exit code comes from the script's own last line, never from a status.
    fn judge(
        &self,
        id: &str,
        ended: &Ended,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Exit, transport::Error> {
        let (at, said) = (self.describe(), ended.stderr.trim());
        if let Some((output, code)) = whole_output(&ended.stdout, id) {
            let mut lines = Lines::default();
            lines.feed(output.as_bytes(), &mut |line| on_line(&line));
            lines.end(&mut |line| on_line(&line));
            return Ok(Exit { code, stderr: ended.stderr.clone() });
        }
        if let Some(why) = said.strip_prefix("cgw-not-started ") {
            return Err(transport::Error::Start { at, source: why.into() });
        }
        if ended.stdout.chars().count() >= KEPT {
            return Err(Error::OutputCut { at, kept: KEPT }.into());
        }
        Err(Error::Ended { at, ending: ended.ending.clone(), said: said.to_owned() }.into())
    }
}

/// Returns what the command wrote, and its exit code, if its output has its last line.
fn whole_output<'a>(stdout: &'a str, id: &str) -> Option<(&'a str, i32)> {
    let (output, code) = stdout.rsplit_once(&format!("cgw-exit {id} "))?;
    // The script begins its last line with a line feed of its own.
    Some((output.strip_suffix('\n').unwrap_or(output), code.trim_end().parse().ok()?))
}

/// Returns a script as it is sent: no value that it is given has a quote in it.
fn script(code: &str, given: &[(&str, &str)]) -> String {
    let mut script = String::new();
    for (name, value) in given {
        writeln!(script, "${name} = '{value}'").expect("a String takes all that is written");
    }
    let code = code.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    code.for_each(|line| script.extend([line, "\n"]));
    script
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
    fn what_is_sent_is_small_enough_and_is_not_taken_for_parameters_of_the_document() {
        let part = "x".repeat(PART);
        for code in [RUN, LEAVE] {
            let script = script(code, &[("sealed", &part), ("others", &"x".repeat(300))]);
            assert!(serde_json::Value::from(script).to_string().len() < 64_000 - 500);
            // Systems Manager puts its own values where a command has two braces.
            assert!(!code.contains("{{") && !code.contains("}}"));
        }
    }
}
