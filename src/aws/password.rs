//! Opens the administrator's password of a Windows instance, which EC2 keeps encrypted.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Padding;
use zeroize::Zeroizing;

use super::action::Action;
use super::client::Reader;
use crate::address::AwsId;
use crate::secret::Secret;
use crate::time::Backoff;

/// What an instance's password could not be opened for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EC2 was not asked, or did not answer.
    #[error(transparent)]
    Aws(#[from] super::Error),
    /// There is no password yet, or never will be.
    #[error("the instance has no password yet")]
    NotThere,
    /// What EC2 gives is not what it documents.
    #[error("what EC2 gives as the password is no base64")]
    NotBase64 {
        /// Why.
        source: base64::DecodeError,
    },
    /// The text holds no private key of a known form.
    #[error("the private key is in no known form (PKCS#1 or PKCS#8, in PEM)")]
    Unreadable {
        /// Why.
        source: ErrorStack,
    },
    /// The private key is in the form that only OpenSSH reads.
    #[error("the private key is in OpenSSH's own form")]
    OpenSsh,
    /// The private key is encrypted, and no passphrase was given.
    #[error("the private key needs its passphrase")]
    PassphraseMissing,
    /// The passphrase does not open the private key.
    #[error("the passphrase does not open the private key")]
    PassphraseWrong {
        /// Why.
        source: ErrorStack,
    },
    /// The private key is of another kind, such as Ed25519.
    #[error("the private key is no RSA key, and EC2 encrypts passwords for RSA keys only")]
    NotRsa,
    /// The key does not fit.
    #[error("the private key is not that of the instance's key pair")]
    WrongKey,
}

impl Error {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let advice = match self {
            Self::Aws(error) => return error.hint(),
            Self::NotThere => Some(
                "it comes some minutes after the launch; an image of one's own, or one that was \
                 made without sysprep, keeps the password that it had",
            ),
            Self::OpenSsh => Some(
                "convert a copy of it: ssh-keygen -p -m PEM -f <copy>; an Ed25519 key opens no \
                 password",
            ),
            Self::WrongKey | Self::NotRsa => {
                Some("give the private key of the key pair that the instance was launched with")
            }
            Self::Unreadable { .. } => Some("give the private key, not the public one"),
            Self::PassphraseMissing | Self::PassphraseWrong { .. } | Self::NotBase64 { .. } => None,
        };
        advice.map(Cow::Borrowed)
    }
}

impl Reader {
    /// Asks for an instance's encrypted password until it is there, for the first minutes it is not.
    pub async fn password_data(
        &self,
        instance: &AwsId,
        patience: Duration,
    ) -> Result<String, Error> {
        let mut rests = Backoff::new(Duration::from_secs(2), Duration::from_secs(15), patience);
        loop {
            let answer = self
                .call(Action::GetPasswordData, |ec2| {
                    ec2.get_password_data().instance_id(instance.as_str()).send()
                })
                .await?;
            // EC2 puts line feeds around it.
            let data = answer.password_data().unwrap_or_default().trim();
            if !data.is_empty() {
                return Ok(data.to_owned());
            }
            let rest = rests.next_rest().ok_or(Error::NotThere)?;
            self.interrupt().sleep(rest).await.map_err(|_| Error::NotThere)?;
        }
    }
}

/// Opens what [`Reader::password_data`] gives with the private key of the instance's key pair.
pub fn open(data: &str, pem: &[u8], passphrase: Option<&Secret>) -> Result<Secret, Error> {
    if data.trim().is_empty() {
        return Err(Error::NotThere);
    }
    let data = BASE64.decode(data.trim()).map_err(|source| Error::NotBase64 { source })?;
    let rsa = private_key(pem, passphrase)?.rsa().map_err(|_| Error::NotRsa)?;
    let size = usize::try_from(rsa.size()).expect("a key has some hundred bytes");
    let mut plain = Zeroizing::new(vec![0; size]);
    let length =
        rsa.private_decrypt(&data, &mut plain, Padding::PKCS1).map_err(|_| Error::WrongKey)?;
    // Newer versions of OpenSSL answer with random bytes where the key is wrong.
    match std::str::from_utf8(&plain[..length]) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => {
            Ok(Secret::new(text))
        }
        _ => Err(Error::WrongKey),
    }
}

fn private_key(pem: &[u8], passphrase: Option<&Secret>) -> Result<PKey<Private>, Error> {
    if pem.windows(19).any(|window| window == b"OPENSSH PRIVATE KEY") {
        return Err(Error::OpenSsh);
    }
    // Without an answer of ours OpenSSL would ask on the terminal.
    let mut was_asked = false;
    let key = PKey::private_key_from_pem_callback(pem, |buffer| {
        was_asked = true;
        let text = passphrase.map_or("", Secret::expose).as_bytes();
        let length = text.len().min(buffer.len());
        buffer[..length].copy_from_slice(&text[..length]);
        Ok(length)
    });
    key.map_err(|source| match (was_asked, passphrase) {
        (false, _) => Error::Unreadable { source },
        (true, None) => Error::PassphraseMissing,
        (true, Some(_)) => Error::PassphraseWrong { source },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs the openssl command, which makes keys as people have them.
    fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
        let words = arguments.split(' ');
        let output = Command::new("openssl").args(words).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What EC2 would give for a key.
    fn sealed(pem: &[u8], text: &[u8]) -> String {
        let rsa = PKey::private_key_from_pem(pem).unwrap().rsa().unwrap();
        let mut sealed = vec![0; usize::try_from(rsa.size()).unwrap()];
        rsa.public_encrypt(text, &mut sealed, Padding::PKCS1).unwrap();
        format!("\r\n{}\r\n", BASE64.encode(sealed))
    }

    #[test]
    fn a_password_opens_with_its_key_in_every_form_that_ec2_and_openssl_write() {
        let folder = tempfile::tempdir().unwrap();
        let of = |arguments: &str| openssl(folder.path(), arguments);
        of("genpkey -algorithm RSA -out key.pem");
        let pkcs8 = of("pkey -in key.pem");
        let pkcs1 = of("rsa -in key.pem -traditional");
        assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY"));
        let data = sealed(&pkcs8, b"Pa;ss(w0rd");
        for pem in [&pkcs8, &pkcs1] {
            assert_eq!(open(&data, pem, None).unwrap().expose(), "Pa;ss(w0rd");
        }
        let right = Secret::new("sesame");
        for arguments in [
            "pkcs8 -topk8 -in key.pem -passout pass:sesame",
            "rsa -in key.pem -traditional -aes128 -passout pass:sesame",
        ] {
            let pem = of(arguments);
            assert_eq!(open(&data, &pem, Some(&right)).unwrap().expose(), "Pa;ss(w0rd");
            let error = open(&data, &pem, Some(&Secret::new("wrong"))).unwrap_err();
            assert!(matches!(error, Error::PassphraseWrong { .. }), "{error:?}");
            let error = open(&data, &pem, None).unwrap_err();
            assert!(matches!(error, Error::PassphraseMissing), "{error:?}");
        }
    }

    #[test]
    fn what_cannot_be_opened_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let key =
            |algorithm: &str| openssl(folder.path(), &format!("genpkey -algorithm {algorithm}"));
        let (right, wrong) = (key("RSA"), key("RSA"));
        let data = sealed(&right, b"password");
        let fails = |data: &str, pem: &[u8]| open(data, pem, None).unwrap_err();
        assert!(matches!(fails(&data, &wrong), Error::WrongKey));
        assert!(matches!(fails(&sealed(&right, b"\x01\xff"), &right), Error::WrongKey));
        assert!(matches!(fails(&data, &key("ed25519")), Error::NotRsa));
        assert!(matches!(fails(&data, b"ssh-rsa AAAA"), Error::Unreadable { .. }));
        assert!(matches!(fails("\r\n", &right), Error::NotThere));
        assert!(matches!(fails("no base64", &right), Error::NotBase64 { .. }));
        let made = "-q -t ed25519 -N  -f ssh";
        let made = Command::new("ssh-keygen").args(made.split(' ')).current_dir(&folder).status();
        assert!(made.unwrap().success());
        let openssh = std::fs::read(folder.path().join("ssh")).unwrap();
        assert!(matches!(fails(&data, &openssh), Error::OpenSsh));
    }
}
