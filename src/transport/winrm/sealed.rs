//! Packs a sealed message into a body of HTTP, and takes it out again (MS-WSMV 2.2.9.1).

use super::ntlm::Ntlm;
use crate::transport::Cause;

/// The type of such a body.
pub(super) const KIND: &str = "multipart/encrypted;\
    protocol=\"application/HTTP-SPNEGO-session-encrypted\";boundary=\"Encrypted Boundary\"";

const BOUNDARY: &str = "--Encrypted Boundary";
const OCTETS: &str = "Content-Type: application/octet-stream\r\n";

/// Seals a message into a body.
pub(super) fn seal(ntlm: &mut Ntlm, message: &[u8]) -> Result<Vec<u8>, Cause> {
    let (signature, sealed) = ntlm.seal(message)?;
    let head = format!(
        "{BOUNDARY}\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\
         \tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={}\r\n\
         {BOUNDARY}\r\n\t{OCTETS}",
        message.len()
    );
    let length = u32::try_from(signature.len())?.to_le_bytes();
    let end = format!("{BOUNDARY}--\r\n");
    Ok([head.as_bytes(), &length, &signature, &sealed, end.as_bytes()].concat())
}

/// Opens the sealed message in a body; whatever is not sealed is an error.
pub(super) fn open(ntlm: &mut Ntlm, body: &[u8]) -> Result<Vec<u8>, Cause> {
    let (signature, sealed) = parts(body).ok_or("the answer is not sealed as it should be")?;
    ntlm.open(signature, sealed)
}

/// Finds the signature and the sealed message.
fn parts(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let octets = OCTETS.as_bytes();
    let at = body.windows(octets.len()).position(|window| window == octets)?;
    let rest = body[at + octets.len()..].trim_ascii_end();
    let rest = rest.strip_suffix(format!("{BOUNDARY}--").as_bytes())?;
    let (length, rest) = rest.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_found_and_nothing_else_is_taken_for_them() {
        let head = b"--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n";
        let body = [
            head.as_slice(),
            &[3, 0, 0, 0],
            b"sig--Encrypted Boundary\r\n\r\n--Encrypted Boundary--\r\n",
        ]
        .concat();
        let sealed = b"--Encrypted Boundary\r\n\r\n".as_slice();
        assert_eq!(parts(&body), Some((b"sig".as_slice(), sealed)));
        assert_eq!(parts(&body[..body.len() - 4]), None);
        // A signature that is longer than all that is left.
        let short = [head.as_slice(), &[255, 0, 0, 0], &body[head.len() + 4..]].concat();
        assert_eq!(parts(&short), None);
        assert_eq!(parts(b"<Envelope/>"), None);
    }
}
