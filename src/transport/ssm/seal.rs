//! Packs a call so that only who has its keys can read it.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
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
    use std::io::Read as _;
    use std::time::Duration;

    use flate2::read::GzDecoder;

    use super::*;

    fn call(stdin: &[u8]) -> Call {
        let stdin = Zeroizing::new(stdin.to_vec());
        Call { program: "cmd.exe /c rem".to_owned(), stdin, deadline: Duration::ZERO }
    }

    #[test]
    fn what_was_sealed_opens_with_its_keys_and_shows_every_change() {
        let sealed = Sealed::new(&call(b"hunter2"));
        let keys = BASE64.decode(sealed.keys.expose()).unwrap();
        let text = BASE64.decode(&sealed.text).unwrap();
        let (body, sent) = text.split_at(text.len() - 32);
        assert_eq!(code(&keys[32..], body), sent);
        let mut changed = body.to_vec();
        changed[20] ^= 1;
        assert_ne!(code(&keys[32..], &changed), sent);
        let (vector, body) = body.split_at(16);
        let packed = symm::decrypt(Cipher::aes_256_cbc(), &keys[..32], Some(vector), body).unwrap();
        let mut open = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut open).unwrap();
        assert_eq!(open, "cmd.exe /c rem\nhunter2");
    }

    #[test]
    fn the_same_call_is_never_sealed_alike() {
        let (one, two) = (Sealed::new(&call(b"hunter2")), Sealed::new(&call(b"hunter2")));
        assert_ne!(one.text, two.text);
        assert_ne!(one.keys, two.keys);
    }
}
