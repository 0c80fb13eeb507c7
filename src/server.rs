//! Drives a bundle on the server: sends it, follows it; or leaves it for a person.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::event::{Event, Events};
use crate::interrupt::Interrupt;
use crate::playbook::{self, Bundle};
use crate::time::Backoff;
use crate::transport::ssh::Ssh;
use crate::transport::{self, Call, Transport};

/// How long all steps may take: installing roles is the slowest.
const LIMIT: Duration = Duration::from_mins(45);

/// The Windows Server.
#[derive(Debug)]
pub enum Server {
    /// One that commands can be run on.
    Reached(Transport),
    /// One whose scripts a person will run: they are left in this folder.
    ByHand(PathBuf),
}

/// How the server is reached once its address is known.
#[derive(Debug)]
pub enum Reach {
    /// Over SSH, at its public address unless another host is given.
    Ssh {
        /// Where to log in, but for the host.
        login: Box<Ssh>,
        /// Another host than the public address.
        host: Option<String>,
        /// How long to go on while the server cannot be reached: its address may be a new one.
        patience: Duration,
        /// Ends that.
        interrupt: Interrupt,
    },
    /// By a person, from this folder.
    ByHand(PathBuf),
}

/// Why the scripts did not run, or not to their end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, or the connection broke.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// A step failed; those after it did not run.
    #[error("step {id} failed on the server: {error}")]
    Step {
        /// The step's id in the playbook.
        id: String,
        /// What the step said.
        error: String,
    },
    /// The steps after this one come only after a restart, which the server begins now.
    #[error(
        "a restart must come first, before step {id} on the server; it restarts within 15 seconds"
    )]
    RestartFirst {
        /// The first step that was not run.
        id: String,
    },
    /// The scripts ended without saying so.
    #[error("the scripts ended with exit code {code} and without their last line{}", said(stderr))]
    Unfinished {
        /// The exit code.
        code: i32,
        /// The last that the server said on standard error.
        stderr: String,
    },
    /// The folder holds other things than scripts.
    #[error("{} is not a folder of scripts: it holds {name}", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// One of the other things.
        name: String,
    },
    /// A folder or file could not be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn said(stderr: &str) -> String {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| format!("; it said: {}", line.trim())).unwrap_or_default()
}

impl Error {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Transport(error) => error.hint().map(str::to_owned),
            Self::RestartFirst { .. } => {
                Some("run the same command again when the server is back".to_owned())
            }
            Self::Step { .. } | Self::Unfinished { .. } => Some(
                "all steps can be run again: mend what the step names, then run the same command"
                    .to_owned(),
            ),
            Self::Write { .. } | Self::Occupied { .. } => Some(
                "take a folder that is empty or not there yet, or move that one away".to_owned(),
            ),
        }
    }
}

/// What the scripts did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// How many steps changed the server.
    pub changed: usize,
    /// Whether the server restarts now.
    pub reboots: bool,
}

/// One line that a step writes.
#[derive(Debug, Deserialize)]
struct StepLine {
    id: String,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    reboot: bool,
    #[serde(default)]
    skipped: bool,
    error: Option<String>,
}

impl Reach {
    /// Runs the bundle on the server with a public address, or leaves it for a person.
    pub async fn push(
        &self,
        public_ip: Ipv4Addr,
        bundle: &Bundle,
        events: &Events,
    ) -> Result<Report, Error> {
        let (login, host, patience, interrupt) = match self {
            Self::ByHand(folder) => {
                return Server::ByHand(folder.clone()).push(bundle, events).await;
            }
            Self::Ssh { login, host, patience, interrupt } => (login, host, *patience, interrupt),
        };
        let host = host.clone().unwrap_or_else(|| public_ip.to_string());
        let server = Server::Reached(Transport::Ssh(Ssh { host, ..(**login).clone() }));
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(10), patience);
        loop {
            let error = match server.push(bundle, events).await {
                Err(Error::Transport(error)) if error.may_pass() => error,
                other => return other,
            };
            let Some(rest) = backoff.next_rest() else {
                return Err(error.into());
            };
            events.say(&Event::Retrying { action: "SSH", why: error.to_string() });
            if interrupt.sleep(rest).await.is_err() {
                return Err(error.into());
            }
        }
    }
}

impl Server {
    /// Runs the bundle on the server, or leaves it for a person.
    ///
    /// Success is the scripts' own last line with this bundle's digest *and* exit code 0: either
    /// alone also comes from a connection that broke or a shell that gave up.
    pub async fn push(&self, bundle: &Bundle, events: &Events) -> Result<Report, Error> {
        match self {
            Self::Reached(transport) => run(transport, bundle, events).await,
            Self::ByHand(folder) => {
                let files =
                    bundle.files.iter().map(|(name, text)| (name.as_str(), text.as_slice()));
                write_folder(folder, files)?;
                events.note(format!(
                    "the scripts are in {}: copy the folder to the server and run run.ps1 there as \
                     Administrator; parameters.json holds the keys, delete it afterwards",
                    folder.display()
                ));
                Ok(Report { changed: 0, reboots: false })
            }
        }
    }
}

async fn run(transport: &Transport, bundle: &Bundle, events: &Events) -> Result<Report, Error> {
    let call = Call { program: Bundle::command(), stdin: bundle.document(), deadline: LIMIT };
    let mut failed = None;
    let mut waits = None;
    let mut last = None;
    let mut changed = 0;
    let mut reboots = false;
    let exit = transport
        .exec(&call, &mut |line: &str| {
            if let Ok(step) = serde_json::from_str::<StepLine>(line) {
                changed += usize::from(step.changed);
                // A skipped step says why: an earlier one failed, or a restart comes first.
                if let (None, Some(error), false) = (&failed, &step.error, step.skipped) {
                    failed = Some((step.id.clone(), error.clone()));
                }
                if step.skipped && step.error.is_some() && waits.is_none() {
                    waits = Some(step.id.clone());
                }
                let StepLine { id, changed, reboot, error, .. } = step;
                events.say(&Event::Step { id, changed, reboot, error });
            } else if let Some(rest) = line.strip_prefix("cgw-done ") {
                let mut words = rest.split_whitespace();
                last = words.next().map(str::to_owned);
                reboots = words.any(|word| word == "reboot=true");
            }
        })
        .await?;
    if let Some((id, error)) = failed {
        return Err(Error::Step { id, error });
    }
    if exit.code != 0 || last.as_deref() != Some(bundle.digest.as_str()) {
        return Err(Error::Unfinished { code: exit.code, stderr: exit.stderr });
    }
    // Nothing failed, yet some steps did not run.
    match waits {
        Some(id) => Err(Error::RestartFirst { id }),
        None => Ok(Report { changed, reboots }),
    }
}

/// Returns the names of the scripts that a folder holds already; none where there is no folder.
///
/// Whose rights change and whose files are overwritten is a folder of scripts, or none at all: one
/// that holds anything else is an error.
pub fn scripts_in(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Write { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        // A part is what an interrupted run left.
        let part = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
        if !playbook::is_script(part.unwrap_or(&name)) {
            return Err(Error::Occupied { folder: folder.to_owned(), name });
        }
        found.push(name);
    }
    Ok(found)
}

/// Writes files that only their owner may read into a folder that only its owner may enter.
///
/// Of what was written there before nothing stays, and nobody ever sees half of a file.
pub fn write_folder<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    let files: Vec<(&str, &[u8])> = files.into_iter().collect();
    let old = scripts_in(folder)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    for path in old.iter().map(|name| folder.join(name)) {
        fs::remove_file(&path).map_err(failed(&path))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed(folder))?;
    for (name, contents) in files {
        let path = folder.join(name);
        let part = folder.join(format!(".{name}.part"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .map_err(failed(&part))?;
        file.write_all(contents).map_err(failed(&part))?;
        fs::rename(&part, &path).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_scripts_is_its_owners_alone_even_when_it_was_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("scripts");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("run.ps1"), "old").unwrap();
        fs::write(folder.join(".run.ps1.part"), "left over").unwrap();
        write_folder(&folder, [("run.ps1", b"new".as_slice())]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("run.ps1")), 0o600);
        assert_eq!(fs::read_to_string(folder.join("run.ps1")).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_holds_other_things_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(parent.path().join("thesis.txt"), "years").unwrap();
        fs::write(parent.path().join("run.ps1"), "old").unwrap();
        let error = write_folder(parent.path(), [("run.ps1", b"new".as_slice())]).unwrap_err();
        assert!(error.to_string().contains("it holds thesis.txt"), "{error}");
        let mode = fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o755);
        assert_eq!(fs::read_to_string(parent.path().join("run.ps1")).unwrap(), "old");
    }

    #[test]
    fn what_the_server_said_last_is_told() {
        let error = Error::Unfinished { code: 1, stderr: "first\nno such command\n\n".to_owned() };
        assert!(error.to_string().ends_with("; it said: no such command"), "{error}");
    }
}
