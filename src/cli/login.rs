//! How to log in to the server.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use zeroize::Zeroizing;

use super::Stopped;
use super::session::Session;
use crate::aws::password;
use crate::secret::Secret;
use crate::server::{FirstMet, Restart, Way};
use crate::spec::Via;
use crate::transport::Transport;
use crate::transport::ssh::{Auth, HostKeys, Ssh, Tell};
use crate::transport::ssm::Ssm;
use crate::transport::winrm::{self, NoFingerprint, Security, Trust, Winrm};
use crate::ui;

/// Options of every command that logs in to the server.
#[derive(Debug, Clone, Args)]
pub struct Login {
    /// Read the password for the server from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// Send the password itself over WinRM's TLS, where NTLM is forbidden
    #[arg(long)]
    pub winrm_basic: bool,
    /// The file of known host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
}

impl Login {
    /// Returns the way to the server of a stack that is there.
    pub(super) async fn way(&self, session: &Session, patience: Duration) -> Result<Way, Stopped> {
        let via = session.declared.via.unwrap_or(Via::Ssh);
        let host = session.server_address().ok_or_else(|| {
            Stopped::refused("the server's address is not known", "name it with --host")
        })?;
        Ok(Way { host: Some(host), ..self.way_by(session, via, patience).await? })
    }

    /// Returns the way to a server whose address may be known only later, unless it was declared.
    pub(super) async fn way_by(
        &self,
        session: &Session,
        via: Via,
        patience: Duration,
    ) -> Result<Way, Stopped> {
        let met = FirstMet::default();
        Ok(Way {
            transport: self.transport(session, via, met.clone()).await?,
            met,
            host: session.declared.host.clone(),
            patience,
            restart: Restart::Never,
            remove_roles: false,
            interrupt: session.cloud_reader().interrupt().clone(),
        })
    }

    /// Returns the way in, to a host that is still to be told.
    ///
    /// What can be known without a connection is known here, before anything is made.
    async fn transport(
        &self,
        session: &Session,
        via: Via,
        met: FirstMet,
    ) -> Result<Transport, Stopped> {
        // A sandbox has Systems Manager, but no network.
        if let Some(sandbox) = session.outside.sandbox().filter(|_| via != Via::Ssm) {
            return Ok(Transport::Simulated(sandbox.machine(way_of(via))));
        }
        let transport = match via {
            Via::Ssm => Transport::Ssm(ssm(session)?),
            Via::Winrm | Via::WinrmHttp => Transport::Winrm(self.winrm(session, via).await?),
            Via::Ssh | Via::Files | Via::None => Transport::Ssh(self.ssh(session, met)?),
        };
        transport.check().map_err(|error| {
            Stopped::refused(error.to_string(), error.hint().unwrap_or_default())
        })?;
        Ok(transport)
    }

    /// Refuses what can be known to fail before there is a server to log in to.
    pub(super) fn check(&self, session: &Session, via: Via) -> Result<(), Stopped> {
        if session.outside.sandbox().is_some() {
            return Ok(());
        }
        if let Some(key) = session.declared.identity.as_ref().filter(|_| via.is_remote()) {
            private_key(&key.0)?;
        }
        match via {
            Via::Winrm | Via::WinrmHttp => trust(session).map(drop),
            Via::Ssh => host_keys(self, session, FirstMet::default()).map(drop),
            Via::Ssm | Via::Files | Via::None => Ok(()),
        }
    }

    fn ssh(&self, session: &Session, met: FirstMet) -> Result<Ssh, Stopped> {
        let declared = &session.declared;
        Ok(Ssh {
            host: String::new(),
            port: declared.port.map_or(22, NonZeroU16::get),
            user: user(session),
            auth: auth(self, session)?,
            host_keys: host_keys(self, session, met)?,
            connect_timeout: CONNECT,
        })
    }

    async fn winrm(&self, session: &Session, via: Via) -> Result<Winrm, Stopped> {
        let declared = &session.declared;
        let (port, security) = match via {
            Via::WinrmHttp => (5985, Security::Sealed),
            Via::Winrm | Via::Ssm | Via::Ssh | Via::Files | Via::None => {
                let login = if self.winrm_basic { winrm::Login::Basic } else { winrm::Login::Ntlm };
                (5986, Security::Tls { trust: trust(session)?, login })
            }
        };
        Ok(Winrm {
            host: String::new(),
            port: declared.port.map_or(port, NonZeroU16::get),
            user: user(session),
            password: self.password(session).await?,
            security,
            connect_timeout: CONNECT,
        })
    }

    /// The password that was given; else that of the EC2 instance, which the private key of its key
    /// pair opens; else one that somebody types.
    async fn password(&self, session: &Session) -> Result<Secret, Stopped> {
        if self.password_stdin {
            return password_from_stdin();
        }
        let declared = &session.declared;
        if let (Some(key), Some(instance)) = (&declared.identity, &declared.instance) {
            let pem = private_key(&key.0)?;
            let told = |error: password::Error| {
                Stopped::refused(error.to_string(), error.hint().unwrap_or_default())
            };
            session.events.note("asking AWS for the administrator's password");
            let data = session.site_reader().password_data(instance.id(), BOOT).await;
            return password::open(&data.map_err(told)?, &pem, None).map_err(told);
        }
        typed("Password for the server").ok_or_else(|| {
            Stopped::refused(
                "WinRM needs a password, and nobody can be asked here",
                "give it on standard input with --password-stdin, or the private key of the \
                 instance's key pair with --identity",
            )
        })
    }
}

/// Names a way as addresses do.
fn way_of(via: Via) -> &'static str {
    match via {
        Via::Ssm => "ssm",
        Via::Winrm | Via::WinrmHttp => "winrm",
        Via::Ssh | Via::Files | Via::None => "ssh",
    }
}

/// How long connecting, and each step of logging in, may take.
const CONNECT: Duration = Duration::from_secs(15);
/// How long after its launch an instance may take to have a password (EC2, GetPasswordData).
const BOOT: Duration = Duration::from_mins(15);

fn private_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, Stopped> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| {
        let text = format!("cannot read the private key {}: {error}", path.display());
        Stopped::refused(text, "check the path")
    })
}

fn user(session: &Session) -> String {
    session.declared.user.clone().unwrap_or_else(|| "Administrator".to_owned())
}

fn ssm(session: &Session) -> Result<Ssm, Stopped> {
    let instance = session.declared.instance.as_ref().ok_or_else(|| {
        Stopped::refused(
            "Systems Manager reaches only EC2 instances here",
            "choose --via ssh, winrm or files for a server of your own",
        )
    })?;
    Ok(Ssm {
        instance: instance.id().clone(),
        stack: session.stack.clone(),
        carrier: session.site_reader().run_command(),
    })
}

/// What the server's certificate is held against; with nothing to hold it against, it is told.
fn trust(session: &Session) -> Result<Trust, Stopped> {
    let declared = &session.declared;
    match (&declared.winrm_fingerprint, &declared.winrm_ca) {
        (Some(text), _) => text.parse().map(Trust::Pinned).map_err(|error: NoFingerprint| {
            Stopped::refused(error.to_string(), "name it with --winrm-fingerprint")
        }),
        (None, Some(file)) => Ok(Trust::CaFile(file.0.clone())),
        (None, None) => Ok(Trust::Nobody),
    }
}

/// A password that somebody types, if there is somebody and it is not empty.
fn typed(prompt: &str) -> Option<Secret> {
    ui::password(prompt).filter(|text| !text.is_empty()).map(Secret::new)
}

fn password_from_stdin() -> Result<Secret, Stopped> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Stopped::refused(format!("no password on standard input: {error}"), ""))?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}

/// The key that was named, the agent's keys, a password: in this order.
fn auth(options: &Login, session: &Session) -> Result<Vec<Auth>, Stopped> {
    let mut ways = Vec::new();
    if let Some(identity) = &session.declared.identity {
        ways.push(Auth::Key { path: identity.0.clone(), passphrase: None });
    }
    if options.password_stdin {
        ways.push(Auth::Password(password_from_stdin()?));
    } else if ways.is_empty() {
        ways.push(Auth::Agent(None));
        let password = typed("Password for the server (empty: the agent's keys)");
        ways.extend(password.map(Auth::Password));
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
