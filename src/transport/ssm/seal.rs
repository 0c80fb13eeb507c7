//! Packs a call so that only who has its keys can read it.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::sign::Signer;
use openssl::symm::{self, Cipher};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::transport::Call;

/// A call in two halves: either alone tells nothing.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Base64 of the keys for cipher and code, 32 bytes each.
    pub(super) keys: Secret,
    /// Base64 of vector, ciphertext and code, as `ssm.ps1` reads them.
    pub(super) text: String,
}

/// Returns random bytes that nobody can guess.
///
/// These are keys and names for one call: drawn from a seed, as all else is, they would be none.
pub(super) fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    rand_bytes(bytes.as_mut()).expect("the system gives random bytes");
    bytes
}

impl Sealed {
    /// Compresses and encrypts a call, then authenticates the ciphertext: AES-256-CBC and
    /// HMAC-SHA256 are what Windows PowerShell 4 finds in .NET Framework 4.5.
    pub(super) fn new(call: &Call) -> Self {
        let keys = random::<64>();
        let vector = random::<16>();
        let packed = pack(call);
        let cipher = Cipher::aes_256_cbc();
        let mut sealed = vector.to_vec();
        sealed.extend(
            symm::encrypt(cipher, &keys[..32], Some(vector.as_ref()), &packed)
                .expect("OpenSSL has AES, and key and vector have its sizes"),
        );
        sealed.extend(code(&keys[32..], &sealed));
        Self { keys: Secret::new(BASE64.encode(keys.as_ref())), text: BASE64.encode(sealed) }
    }
}

/// Opens what was sealed, as `ssm.ps1` does: gives the command line, and what the command reads.
///
/// `None` where it was changed on its way, or these are not its keys.
pub(crate) fn open(keys: &str, text: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let keys = Zeroizing::new(BASE64.decode(keys).ok()?);
    let text = BASE64.decode(text).ok()?;
    let (cipher_key, code_key) = keys.split_at_checked(32)?;
    let (body, sent) = text.split_at_checked(text.len().checked_sub(32)?)?;
    if code(code_key, body) != sent {
        return None;
    }
    let (vector, body) = body.split_at_checked(16)?;
    let packed = symm::decrypt(Cipher::aes_256_cbc(), cipher_key, Some(vector), body).ok()?;
    let mut open = Zeroizing::new(Vec::new());
    GzDecoder::new(Zeroizing::new(packed).as_slice()).read_to_end(&mut open).ok()?;
    let end = open.iter().position(|byte| *byte == b'\n')?;
    let program = String::from_utf8_lossy(&open[..end]).into_owned();
    Some((program, Zeroizing::new(open[end + 1..].to_vec())))
}

fn pack(call: &Call) -> Zeroizing<Vec<u8>> {
    let memory = "memory takes all that is written";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(call.program.as_bytes()).expect(memory);
    gzip.write_all(b"\n").expect(memory);
    gzip.write_all(&call.stdin).expect(memory);
    Zeroizing::new(gzip.finish().expect(memory))
}

fn code(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).expect("any bytes are a key");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("OpenSSL has SHA-256");
    signer.sign_oneshot_to_vec(text).expect("OpenSSL has HMAC")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(stdin: &[u8]) -> Call {
        let stdin = Zeroizing::new(stdin.to_vec());
        Call { program: "cmd.exe /c rem".to_owned(), stdin, deadline: Duration::ZERO }
    }

    #[test]
    fn what_was_sealed_opens_with_its_keys_and_shows_every_change() {
        let sealed = Sealed::new(&call(b"hunter2"));
        let (program, stdin) = open(sealed.keys.expose(), &sealed.text).unwrap();
        assert_eq!((program.as_str(), stdin.as_slice()), ("cmd.exe /c rem", &b"hunter2"[..]));
        let whole = BASE64.decode(&sealed.text).unwrap();
        for n in 0..whole.len() {
            let mut changed = whole.clone();
            changed[n] ^= 1;
            assert_eq!(open(sealed.keys.expose(), &BASE64.encode(&changed)), None, "byte {n}");
        }
        let other = Sealed::new(&call(b"hunter2"));
        assert_eq!(open(other.keys.expose(), &sealed.text), None);
    }

    #[test]
    fn the_same_call_is_never_sealed_alike() {
        let (one, two) = (Sealed::new(&call(b"hunter2")), Sealed::new(&call(b"hunter2")));
        assert_ne!(one.text, two.text);
        assert_ne!(one.keys, two.keys);
    }
}
