//! Logs in at a server, in each way that was given until one is accepted.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ssh2::Session;
use zeroize::Zeroizing;

use super::{Auth, Meaning, Worker, meaning};
use crate::secret::Secret;
use crate::transport::{Error, Step, known_hosts};

impl Worker {
    /// Tries each way to log in until one is accepted.
    pub(super) fn log_in(&self, session: &Session) -> Result<(), Error> {
        let user = self.ssh.user.as_str();
        // Asking for the offer is itself a login without any proof, which a server may accept.
        let offered = match session.auth_methods(user) {
            Ok(offered) => offered.to_owned(),
            Err(_) if session.authenticated() => String::new(),
            Err(error) => return Err(self.failed(Step::Login, error)),
        };
        let mut tried = Vec::new();
        let mut unusable = None;
        for auth in &self.ssh.auth {
            if session.authenticated() {
                break;
            }
            match auth {
                Auth::Key { path, passphrase } => {
                    match self.try_key(session, path, passphrase.as_ref()) {
                        Ok(()) => tried.push(format!("key {}", path.display())),
                        Err(error @ (Error::Silent { .. } | Error::Lost { .. })) => {
                            return Err(error);
                        }
                        Err(error) => unusable = unusable.or(Some(error)),
                    }
                }
                Auth::Agent(socket) => {
                    let keys = self.try_agent(session, socket.as_deref())?;
                    tried.push(format!("agent ({keys})"));
                }
                Auth::Password(password) => {
                    let password = password.expose();
                    tried.push("password".to_owned());
                    self.is_accepted(session.userauth_password(user, password))?;
                    if !session.authenticated() {
                        tried.push("keyboard-interactive".to_owned());
                        let mut answer = Answer(Some(password));
                        let result = session.userauth_keyboard_interactive(user, &mut answer);
                        self.is_accepted(result)?;
                    }
                }
            }
        }
        if session.authenticated() {
            return Ok(());
        }
        let refused = Error::LoginRefused { at: self.ssh.describe(), tried, offered };
        Err(unusable.unwrap_or(refused))
    }

    /// Tries a private key; `Ok` means that the server has judged it.
    fn try_key(
        &self,
        session: &Session,
        path: &Path,
        passphrase: Option<&Secret>,
    ) -> Result<(), Error> {
        let file = path.to_path_buf();
        let is_encrypted = readable(path, passphrase)?;
        let passphrase = passphrase.map(Secret::expose);
        let Err(error) = session.userauth_pubkey_file(&self.ssh.user, None, path, passphrase)
        else {
            return Ok(());
        };
        match meaning(&error) {
            Meaning::Refused => Ok(()),
            Meaning::Silent | Meaning::Lost => Err(self.failed(Step::Login, error)),
            // libssh2 says «unable to extract public key» when it cannot decrypt the private one.
            Meaning::Other if is_encrypted => Err(Error::PassphraseWrong { file }),
            Meaning::Other => Err(Error::KeyUnusable { file, source: error.into() }),
        }
    }

    /// Tries each key of an agent; returns what a person should know of it.
    fn try_agent(&self, session: &Session, socket: Option<&Path>) -> Result<String, Error> {
        let reach = || {
            let mut agent = session.agent()?;
            socket.map_or(Ok(()), |socket| agent.set_identity_path(socket))?;
            agent.connect()?;
            agent.list_identities()?;
            let keys = agent.identities()?;
            Ok((agent, keys))
        };
        let (agent, keys) = match reach() {
            Ok(reached) => reached,
            Err(error) => {
                let error: ssh2::Error = error;
                return Ok(format!("not reached: {}", error.message()));
            }
        };
        for key in &keys {
            if self.is_accepted(agent.userauth(&self.ssh.user, key))? {
                break;
            }
        }
        Ok(format!("{} keys", keys.len()))
    }

    /// Tells a login that was not accepted from a connection that broke.
    fn is_accepted(&self, result: Result<(), ssh2::Error>) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(true),
            Err(error) => match meaning(&error) {
                Meaning::Refused | Meaning::Other => Ok(false),
                Meaning::Silent | Meaning::Lost => Err(self.failed(Step::Login, error)),
            },
        }
    }
}

/// Checks that a private key can be read and opened; says whether it is encrypted.
pub(super) fn readable(path: &Path, passphrase: Option<&Secret>) -> Result<bool, Error> {
    let file = path.to_path_buf();
    let text = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(source) => return Err(Error::ReadKey { file, source }),
    };
    let is_encrypted = is_encrypted(&text);
    if is_encrypted && passphrase.is_none() {
        return Err(Error::PassphraseMissing { file });
    }
    Ok(is_encrypted)
}

/// Answers the one hidden question of a keyboard-interactive login.
struct Answer<'a>(Option<&'a str>);

impl ssh2::KeyboardInteractivePrompt for Answer<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[ssh2::Prompt<'_>]) -> Vec<String> {
        let mut answer = |prompt: &ssh2::Prompt<'_>| {
            // Asked again, as for a new password in place of an expired one, it stays silent.
            let password = if prompt.echo { None } else { self.0.take() };
            password.unwrap_or_default().to_owned()
        };
        prompts.iter().map(&mut answer).collect()
    }
}

/// Says whether a private key needs a passphrase: PEM says so in its head, OpenSSH's own form by
/// the name of its cipher (PROTOCOL.key).
fn is_encrypted(text: &[u8]) -> bool {
    let text = Zeroizing::new(String::from_utf8_lossy(text).into_owned());
    if text.lines().take(3).any(|line| line.contains("ENCRYPTED")) {
        return true;
    }
    // 64 characters are far more than magic and cipher need.
    let Some(body) = text.lines().nth(1).and_then(|line| line.trim_end().get(..64)) else {
        return false;
    };
    let head = BASE64_STANDARD.decode(body).unwrap_or_default();
    let cipher = head.strip_prefix(b"openssh-key-v1\0").and_then(known_hosts::first_string);
    cipher.is_some_and(|cipher| cipher != b"none")
}
