//! Packs the scripts for a carrier that takes little text, and that must not see a key.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};

use super::{BOOTSTRAP, Bundle, Error, Parameters, SCRIPTS};
use crate::address::AwsId;
use crate::secret::Secret;
use crate::tunnel::{Suites, Tunnel};

/// Returns base64 of a gzip stream of a JSON object: the files of a bundle by name, and the bootstrap.
///
/// `parameters.json` in it is of a connection that does not exist: whoever unpacks it puts the real
/// connection and its tunnels in. Comments are left out, which halves it.
pub fn packed(parameters: &Parameters) -> Result<String, Error> {
    let tunnel = |last| Tunnel {
        outside: Ipv4Addr::new(192, 0, 2, last),
        key: Some(Secret::new("no.key.of.anybody")),
        suites: Suites::of(parameters.crypto),
    };
    let example = [tunnel(1), tunnel(2)];
    let bundle = Bundle::render(parameters, &AwsId::new("vpn-00000000000000000"), &example)?;
    let bootstrap = SCRIPTS.get_file(BOOTSTRAP).expect("the playbook has its bootstrap");
    let files = bundle.files.iter().map(|(name, text)| (name.as_str(), text.as_ref()));
    let mut all = Map::new();
    for (name, text) in files.chain([(BOOTSTRAP, bootstrap.contents())]) {
        let text = String::from_utf8_lossy(text);
        let is_ours = SCRIPTS.get_file(name).is_some_and(|f| f.contents() == text.as_bytes());
        let is_script = is_ours && name.to_ascii_lowercase().ends_with(".ps1");
        let text = if is_script { Cow::Owned(code(&text).join("\n")) } else { text };
        all.insert(name.to_owned(), Value::String(text.into_owned()));
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(Value::Object(all).to_string().as_bytes()).expect("a Vec takes all");
    Ok(BASE64.encode(gzip.finish().expect("a Vec takes all")))
}

/// Returns the lines of one of cgw's own scripts without comments, empty lines and indentation.
///
/// None of them has a text of several lines.
#[must_use]
pub fn code(script: &str) -> Vec<&str> {
    let lines = script.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scripts;

    #[test]
    fn no_script_has_a_text_or_comment_of_several_lines() {
        for (name, text) in scripts() {
            let text = String::from_utf8_lossy(text);
            for mark in ["@'", "@\"", "<#"] {
                assert!(!text.contains(mark), "{name} has {mark}");
            }
        }
    }
}
