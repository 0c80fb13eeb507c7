//! Reads and extends a file of known host keys, in the form of OpenSSH (sshd(8), `SSH_KNOWN_HOSTS`).

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A line of the file that speaks of our host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    line: usize,
    key: Vec<u8>,
    standing: Standing,
}

/// How far a line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It names the host and the port.
    Exact,
    /// It names the host, whose key on another port it may be: only a match says anything.
    OtherPort,
    /// Its key must not be trusted.
    Revoked,
}

/// What the file says of the key that a host shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    Unknown,
    /// Another key stands in this line.
    Changed(usize),
    /// The key is revoked by this line.
    Revoked(usize),
}

/// Returns the file's text; a file that does not exist is an empty one.
pub(super) fn read(file: &Path) -> io::Result<String> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Returns how the file names a host.
pub(super) fn name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Finds the lines for a host; `names(field, name)` says whether a first field, which may be
/// hashed, means a name. Lines that cannot be read are skipped, as OpenSSH does.
pub(super) fn entries(
    text: &str,
    host: &str,
    port: u16,
    names: impl Fn(&str, &str) -> bool,
) -> Vec<Entry> {
    let (exact, plain) = (name(host, port), name(host, 22));
    let entry = |(index, line): (usize, &str)| {
        let mut fields = line.split_ascii_whitespace();
        let first = fields.next().filter(|first| !first.starts_with('#'))?;
        let (revoked, field) = match first {
            "@revoked" => (true, fields.next()?),
            "@cert-authority" => return None,
            field => (false, field),
        };
        let key = BASE64_STANDARD.decode(fields.nth(1)?).ok()?;
        let (is_exact, is_plain) = (names(field, &exact), names(field, &plain));
        let standing = match (revoked, is_exact, is_plain) {
            (true, ..) if is_exact || is_plain || field == "*" => Standing::Revoked,
            (false, true, _) => Standing::Exact,
            (false, false, true) => Standing::OtherPort,
            (true | false, ..) => return None,
        };
        Some(Entry { line: index + 1, key, standing })
    };
    text.lines().enumerate().filter_map(entry).collect()
}

/// Judges the key that a host shows.
pub(super) fn judge(entries: &[Entry], shown: &[u8]) -> Verdict {
    let same = |entry: &&Entry| entry.key == shown;
    let of = |standing| move |entry: &&Entry| entry.standing == standing;
    if let Some(entry) = entries.iter().filter(of(Standing::Revoked)).find(same) {
        Verdict::Revoked(entry.line)
    } else if entries.iter().any(|entry| same(&entry)) {
        Verdict::Known
    } else if let Some(entry) = entries.iter().find(of(Standing::Exact)) {
        Verdict::Changed(entry.line)
    } else {
        Verdict::Unknown
    }
}

/// Orders signature algorithms so that the host shows the kind of key that we know it by; else a
/// host with several keys could seem to have changed.
pub(super) fn preferred(entries: &[Entry], supported: &[&str]) -> String {
    let is_known = |algorithm: &&str| {
        let kind = if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm };
        let known = entries.iter().filter(|entry| entry.standing != Standing::Revoked);
        known.into_iter().any(|entry| key_kind(&entry.key) == kind)
    };
    let (known, others): (Vec<&str>, Vec<&str>) =
        supported.iter().partition(|algorithm| is_known(algorithm));
    [known, others].concat().join(",")
}

/// Returns the kind of a public key, which is the first string in it (RFC 4253, 6.6).
pub(super) fn key_kind(key: &[u8]) -> &str {
    first_string(key).and_then(|kind| str::from_utf8(kind).ok()).unwrap_or("unknown kind")
}

/// Returns a string that begins with its length (RFC 4251, 5).
pub(super) fn first_string(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Adds a host's key to the file, which only its owner may read if it is new.
pub(super) fn append(file: &Path, host: &str, port: u16, key: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let last = read(file)?;
    let gap = if last.is_empty() || last.ends_with('\n') { "" } else { "\n" };
    let line =
        format!("{gap}{} {} {}\n", name(host, port), key_kind(key), BASE64_STANDARD.encode(key));
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // One write, so that two runs at once do not mix their lines.
    options.open(file)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, body: &str) -> Vec<u8> {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        [&length[..], kind.as_bytes(), body.as_bytes()].concat()
    }

    fn found(text: &str) -> Vec<Entry> {
        entries(text, "Host.example", 2222, |field, name| field.split(',').any(|one| one == name))
    }

    fn line(names: &str, key: &[u8]) -> String {
        format!("{names} {} {} comment\n", key_kind(key), BASE64_STANDARD.encode(key))
    }

    #[test]
    fn a_key_is_known_changed_unknown_or_revoked() {
        let (old, new) = (key("ssh-ed25519", "old"), key("ssh-ed25519", "new"));
        let exact = line("other,[host.example]:2222", &old);
        assert_eq!(judge(&found(&exact), &old), Verdict::Known);
        assert_eq!(judge(&found(&format!("# note\n\n{exact}")), &new), Verdict::Changed(3));
        assert_eq!(judge(&found(&line("other", &old)), &old), Verdict::Unknown);
        let revoked = format!("{exact}{}", line("@revoked *", &old));
        assert_eq!(judge(&found(&revoked), &old), Verdict::Revoked(2));
    }

    #[test]
    fn a_line_for_another_port_can_only_confirm() {
        let (old, new) = (key("ssh-ed25519", "old"), key("ssh-ed25519", "new"));
        let plain = found(&line("host.example", &old));
        assert_eq!(judge(&plain, &old), Verdict::Known);
        assert_eq!(judge(&plain, &new), Verdict::Unknown);
    }

    #[test]
    fn authorities_and_broken_lines_are_skipped() {
        let good = key("ssh-ed25519", "old");
        let text = format!(
            "host.example\nhost.example ssh-rsa ###\n{}{}",
            line("@cert-authority host.example", &good),
            line("host.example", &good)
        );
        assert_eq!(found(&text).iter().map(|entry| entry.line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn the_kind_of_key_that_is_known_comes_first() {
        let supported = ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"];
        let rsa = found(&line("host.example", &key("ssh-rsa", "x")));
        assert_eq!(preferred(&rsa, &supported), "rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519");
        assert_eq!(preferred(&[], &supported), supported.join(","));
    }
}
