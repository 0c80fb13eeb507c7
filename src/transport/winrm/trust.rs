//! Decides whether a server's certificate is the right one.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio_rustls::rustls;

use crate::transport::{Cause, Error};

/// How a server proves that it is the right one.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Its certificate is for its name and was signed by one of those in this file (PEM).
    CaFile(PathBuf),
    /// Its certificate is this one, whoever signed it and whatever name it is for.
    Pinned(Fingerprint),
    /// Not at all: the call fails and tells which certificate was seen.
    Nobody,
}

/// The SHA-256 hash of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// What is no SHA-256 hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no SHA-256 fingerprint of a certificate: it has 64 hexadecimal digits (a thumbprint, \
     which has 40, is a SHA-1 hash)"
)]
pub struct NoFingerprint(String);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Takes what openssl and PowerShell show: either case, digits alone or parted by `:` or `-`.
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let refused = || NoFingerprint(text.to_owned());
        let digits: String = text.trim().chars().filter(|c| !matches!(c, ':' | '-')).collect();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(refused());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| refused())?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Makes the settings of a TLS client that trusts nobody else.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let check = match trust {
        Trust::CaFile(file) => {
            let authorities = authorities(file, &provider)
                .map_err(|source| Error::ReadCertificates { file: file.clone(), source })?;
            Check::Signed(authorities)
        }
        Trust::Pinned(fingerprint) => Check::Pinned(*fingerprint),
        Trust::Nobody => Check::Nothing,
    };
    let verifier = Verifier { check, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions of TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn authorities(
    file: &PathBuf,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&fs::read(file)?) {
        roots.add(certificate?)?;
    }
    let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
    Ok(builder.build()?)
}

/// A certificate that is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is not trusted")]
pub(super) struct Untrusted {
    /// The certificate.
    pub(super) seen: Fingerprint,
    /// The one that was expected, or nothing if any would do that was signed.
    pub(super) expected: Option<Fingerprint>,
    /// What is wrong with its signature, if that was looked at.
    source: Option<rustls::Error>,
}

impl Untrusted {
    /// Finds out whether this is why a handshake failed.
    pub(super) fn behind(error: &std::io::Error) -> Option<&Self> {
        let rustls::Error::Other(OtherError(cause)) = error.get_ref()?.downcast_ref()? else {
            return None;
        };
        cause.downcast_ref()
    }

    /// Says what is wrong, for a certificate that nobody has pinned.
    pub(super) fn why(&self) -> String {
        match &self.source {
            Some(error) => error.to_string(),
            None => "no authority and no fingerprint is given".to_owned(),
        }
    }
}

#[derive(Debug)]
enum Check {
    Signed(Arc<WebPkiServerVerifier>),
    Pinned(Fingerprint),
    Nothing,
}

/// INVARIANT: the signature of the handshake is checked whatever is trusted, since anybody can show
/// a copy of a certificate.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Fingerprint::of(certificate);
        let (expected, source) = match &self.check {
            Check::Signed(signed) => {
                match signed.verify_server_cert(certificate, others, name, ocsp, now) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => (None, Some(error)),
                }
            }
            Check::Pinned(pin) if *pin == seen => return Ok(ServerCertVerified::assertion()),
            Check::Pinned(pin) => (Some(*pin), None),
            Check::Nothing => (None, None),
        };
        let untrusted = Arc::new(Untrusted { seen, expected, source });
        Err(rustls::Error::Other(OtherError(untrusted)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Names the connection after the server's certificate: its hash by the hash of its own signature,
/// but by SHA-256 where that is MD5 or SHA-1 (RFC 5929, 4.1).
pub(super) fn channel_binding(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let algorithm = signature_algorithm(certificate).unwrap_or_default();
    let names = |oids: &[&[u8]]| {
        oids.iter().any(|oid| algorithm.windows(oid.len()).any(|window| window == *oid))
    };
    let hash = if names(&SHA384) {
        Sha384::digest(certificate).to_vec()
    } else if names(&SHA512) {
        Sha512::digest(certificate).to_vec()
    } else {
        Sha256::digest(certificate).to_vec()
    };
    [b"tls-server-end-point:".as_slice(), &hash].concat()
}

/// With RSA, with ECDSA, and alone, as in the parameters of RSASSA-PSS.
const SHA384: [&[u8]; 3] = [
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
    &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
];
const SHA512: [&[u8]; 3] = [
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
    &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
];

/// Returns the second of the three members of a certificate (RFC 5280, 4.1).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (members, _) = element(certificate)?;
    let (_, rest) = element(members)?;
    Some(element(rest)?.0)
}

/// Returns the contents of the first DER element, and what comes after it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_and_powershell_show_it() {
        let hash: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8).unwrap());
        let shown = Fingerprint(hash).to_string();
        let pairs: Vec<String> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [&shown, &shown.to_lowercase(), &pairs.join(":"), &pairs.join("-")] {
            assert_eq!(text.parse(), Ok(Fingerprint(hash)));
        }
    }

    #[test]
    fn a_thumbprint_is_no_fingerprint() {
        let thumbprint = "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334";
        let error = thumbprint.parse::<Fingerprint>().unwrap_err();
        assert!(error.to_string().contains("SHA-1"), "{error}");
        for text in ["", &"ü".repeat(32), &"+1".repeat(32)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }

    /// Members that are long enough for each form of a length.
    #[test]
    fn the_binding_takes_the_hash_of_the_certificates_own_signature() {
        for (oid, length) in [(SHA384[1], 32 + 16), (SHA512[0], 64), (&[0x06, 0x01, 0x2a], 32)] {
            for padding in [1, 200, 300] {
                // The other hash's name elsewhere in the certificate means nothing.
                let body = [SHA384[0], SHA512[1], &vec![0; padding]].concat();
                let members = [der(&body), der(oid), der(&[0; 4])].concat();
                let certificate = CertificateDer::from(der(&members));
                let binding = channel_binding(&certificate);
                assert_eq!(binding.len(), b"tls-server-end-point:".len() + length);
            }
        }
    }

    fn der(contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        let head = match contents.len() {
            0..0x80 => vec![0x30, length[1]],
            0x80..0x100 => vec![0x30, 0x81, length[1]],
            _ => vec![0x30, 0x82, length[0], length[1]],
        };
        [head.as_slice(), contents].concat()
    }
}
