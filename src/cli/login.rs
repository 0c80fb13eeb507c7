//! How to log in to the server.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Stopped;
use super::session::Session;
use crate::secret::Secret;
use crate::server::{FirstMet, Restart, Way};
use crate::spec::{Declared, FilePath, Fingerprint};
use crate::transport::Transport;
use crate::transport::ssh::{Auth, HostKeys, Ssh, Tell};
use crate::ui;

/// Where the server is and who logs in, for commands that declare nothing.
#[derive(Debug, Clone, Args)]
pub struct ServerAt {
    /// The server's name or address [default: what the record says, else its public address]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Its port [default: what the record says]
    #[arg(long, value_name = "PORT")]
    pub port: Option<NonZeroU16>,
    /// Who logs in [default: what the record says]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The private key to log in with [default: the agent's]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<FilePath>,
    /// Its host key has this fingerprint [default: what the record says]
    #[arg(long, value_name = "SHA256:…")]
    pub host_key: Option<Fingerprint>,
}

impl From<ServerAt> for Declared {
    fn from(at: ServerAt) -> Self {
        let ServerAt { host, port, user, identity, host_key } = at;
        Self { host, port, user, identity, host_key, ..Self::default() }
    }
}

/// Options of every command that logs in to the server.
#[derive(Debug, Clone, Args)]
pub struct Login {
    /// Read the password for the server from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// The file of known host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
}

impl Login {
    /// Returns the way to the server of a stack that is there.
    pub(super) fn way(&self, session: &Session, patience: Duration) -> Result<Way, Stopped> {
        let host = session.server_address().ok_or_else(|| {
            Stopped::refused("the server's address is not known", "name it with --host")
        })?;
        let met = FirstMet::default();
        Ok(Way {
            transport: self.ssh(session, met.clone())?,
            met,
            host: Some(host),
            patience,
            restart: Restart::Never,
            remove_roles: false,
            interrupt: session.cloud_reader().interrupt().clone(),
        })
    }

    /// Returns the way in over SSH, to a host that is still to be told.
    ///
    /// What can be known without a connection is known here, before anything is made.
    pub(super) fn ssh(&self, session: &Session, met: FirstMet) -> Result<Transport, Stopped> {
        let declared = &session.declared;
        let login = Ssh {
            host: String::new(),
            port: declared.port.map_or(22, NonZeroU16::get),
            user: declared.user.clone().unwrap_or_else(|| "Administrator".to_owned()),
            auth: auth(self, session)?,
            host_keys: host_keys(self, session, met)?,
            connect_timeout: Duration::from_secs(15),
        };
        login.check().map_err(|error| {
            Stopped::refused(error.to_string(), error.hint().unwrap_or_default())
        })?;
        Ok(Transport::Ssh(login))
    }
}

/// The key that was named, the agent's keys, a password: in this order.
fn auth(options: &Login, session: &Session) -> Result<Vec<Auth>, Stopped> {
    let mut ways = Vec::new();
    if let Some(identity) = &session.declared.identity {
        ways.push(Auth::Key { path: identity.0.clone(), passphrase: None });
    }
    if options.password_stdin {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| {
            Stopped::refused(format!("no password on standard input: {error}"), "")
        })?;
        let line = zeroize::Zeroizing::new(line);
        ways.push(Auth::Password(Secret::new(line.trim_end_matches(['\r', '\n']))));
    } else if ways.is_empty() {
        ways.push(Auth::Agent(None));
        let password = ui::password("Password for the server (empty: the agent's keys)");
        let password = password.filter(|text| !text.is_empty());
        ways.extend(password.map(|text| Auth::Password(Secret::new(text))));
    } else {
        ways.push(Auth::Agent(None));
    }
    Ok(ways)
}

/// What was met first, or named, is what it must be; else the file of known hosts knows it.
fn host_keys(options: &Login, session: &Session, met: FirstMet) -> Result<HostKeys, Stopped> {
    if let Some(pin) = &session.declared.host_key {
        return Ok(HostKeys::Pinned(pin.to_string()));
    }
    let home = || std::env::home_dir().map(|home| home.join(".ssh/known_hosts"));
    let file = options.known_hosts.clone().or_else(home).ok_or_else(|| {
        Stopped::refused("there is no home folder", "name a file with --known-hosts")
    })?;
    let events = session.events.clone();
    let shown = file.display().to_string();
    let tell = Tell::new(move |fingerprint| {
        events.warn(format!(
            "the server's host key is new: {fingerprint}; kept in {shown} and in the stack's record"
        ));
        met.keep(fingerprint);
    });
    Ok(HostKeys::AcceptNew { file, tell })
}
