//! Turns `playbooks/` and parameters into a script bundle with a digest.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::address::{AwsId, Stack};
use crate::secret::Secret;
use crate::tunnel::{
    CidrPair, Cipher, Crypto, DhGroup, Hash, PHASE1_SECONDS, PHASE2_KILOBYTES, PHASE2_SECONDS,
    Phase1, Phase2, Tunnel, read_configuration,
};

static SCRIPTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/playbooks/windows-server");

mod first_start;
mod own;
mod packed;
mod request;

pub use first_start::{Opening, user_data};
pub use own::{Own, OwnError};
pub use packed::{code, packed};
pub use request::{END, Off, Request, Then, command};

/// The script that unpacks a bundle on the server; it comes on the command line, not in the bundle.
const BOOTSTRAP: &str = "bootstrap.ps1";

/// The files that go to every server, by name.
fn scripts() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let named = |file: &'static include_dir::File<'static>| {
        file.path().to_str().map(|name| (name, file.contents()))
    };
    SCRIPTS.files().filter_map(named).filter(|(name, _)| *name != BOOTSTRAP)
}

/// What the steps need to know, but for the tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// Whose server it is.
    pub stack: Stack,
    /// The EC2 instance that the server is: another one has nothing of it yet.
    pub instance: Option<AwsId>,
    /// The server's own end of both tunnels: its private address.
    pub private_ip: Ipv4Addr,
    /// What the tunnels carry.
    pub pair: CidrPair,
    /// Which suites the server is set to.
    pub crypto: Crypto,
    /// A host in the VPC that is pinged to keep a tunnel up.
    pub ping: Option<Ipv4Addr>,
    /// Whether only the roles are installed that routing needs.
    pub minimal_roles: bool,
    /// Whether rules of others for the same tunnels are switched off.
    pub replace_rules: bool,
    /// The ports over which the server is administered: who is connected must not be cut off.
    pub admin_ports: BTreeSet<u16>,
    /// Steps that replace or join those of the playbook.
    pub own: Own,
}

/// The ports of SSH, remote desktop and WinRM.
pub const ADMIN_PORTS: [u16; 4] = [22, 3389, 5985, 5986];

/// Why no scripts could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// AWS does not tell a tunnel's key.
    #[error("AWS does not tell the pre-shared key of the tunnel to {0}")]
    KeyWithheld(Ipv4Addr),
    /// A key has characters that AWS would never have taken.
    #[error("the pre-shared key of the tunnel to {0} is not one that AWS allows")]
    BadKey(Ipv4Addr),
    /// A connection has not two tunnels.
    #[error("{connection} has {count} tunnels instead of two")]
    NotTwo {
        /// The connection.
        connection: AwsId,
        /// How many it has.
        count: usize,
    },
}

/// Scripts and parameters, ready to be run on the server.
pub struct Bundle {
    /// Tells bundles apart; the same input gives the same digest.
    pub digest: String,
    /// Whose server it is for.
    pub stack: Stack,
    /// The files by name, without the keys.
    pub files: BTreeMap<String, Cow<'static, [u8]>>,
    /// What stands in [`KEYS`].
    pub keys: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bundle({})", self.digest)
    }
}

/// The name of the file in a bundle that says what is to be set; the keys are not in it.
pub const PARAMETERS: &str = "parameters.json";
/// The name of the file in a bundle that holds the keys: a line for each tunnel, its outside address
/// and its key.
///
/// They are apart because the server reads JSON with a command whose input it may log.
pub const KEYS: &str = "keys.txt";
/// The names of the files with the guide's own commands, one a tunnel.
pub const NETSH: [&str; 2] = ["tunnel-1.cmd", "tunnel-2.cmd"];
/// The name of the file that holds AWS's configuration of the connection as it is.
pub const CONFIGURATION: &str = "aws-configuration.xml";
/// The name of the file that holds AWS's own sample for Windows Server.
pub const SAMPLE: &str = "aws-windows-sample.txt";

/// Says whether a file of this name can be one that cgw wrote into a folder of scripts.
#[must_use]
pub fn is_script(name: &str) -> bool {
    let others = [PARAMETERS, KEYS, CONFIGURATION, SAMPLE];
    SCRIPTS.get_file(name).is_some()
        || others.contains(&name)
        || NETSH.contains(&name)
        || own::is_step(name)
}

impl Bundle {
    /// Renders a bundle for a connection.
    pub fn render(
        parameters: &Parameters,
        connection: &AwsId,
        tunnels: &[Tunnel],
    ) -> Result<Self, Error> {
        let values = values(parameters, connection, tunnels)?;
        let text = serde_json::to_vec_pretty(&values).expect("JSON of text and numbers");
        let mut keys = Zeroizing::new(Vec::with_capacity(256));
        for tunnel in tunnels {
            writeln!(keys, "{} {}", tunnel.outside, usable_key(tunnel)?.expose())
                .expect("a Vec takes all that is written");
        }
        let ours = scripts().filter(|(name, _)| !parameters.own.has(name));
        let ours = ours.map(|(name, text)| (name.to_owned(), Cow::Borrowed(text)));
        let theirs = parameters.own.files();
        let theirs = theirs.map(|(name, text)| (name.to_owned(), Cow::Owned(text.to_vec())));
        let values = (PARAMETERS.to_owned(), Cow::Owned(text));
        let files = ours.chain(theirs).chain([values]).collect();
        let stack = parameters.stack.clone();
        let bundle = Self { digest: String::new(), stack, files, keys };
        let mut digest = Sha256::new();
        for (name, contents) in bundle.all() {
            digest.update(u64::try_from(name.len()).expect("names are short").to_be_bytes());
            digest.update(name.as_bytes());
            digest.update(Sha256::digest(contents));
        }
        let digest = digest.finalize().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all that is written");
            hex
        });
        Ok(Self { digest, ..bundle })
    }

    /// Returns all files by name, that of the keys too.
    pub fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let plain = self.files.iter().map(|(name, text)| (name.as_str(), text.as_ref()));
        let all: BTreeMap<&str, &[u8]> = plain.chain([(KEYS, self.keys.as_slice())]).collect();
        all.into_iter()
    }
}

fn values(parameters: &Parameters, connection: &AwsId, tunnels: &[Tunnel]) -> Result<Value, Error> {
    if tunnels.len() != 2 {
        return Err(Error::NotTwo { connection: connection.clone(), count: tunnels.len() });
    }
    let mut rules = Vec::new();
    let mut suites = main_mode(parameters.crypto);
    for (n, tunnel) in tunnels.iter().enumerate() {
        let crypto = crypto_of(parameters, tunnel);
        rules.push(json!({
            "name": rule_name(connection, n),
            "outsideIp": tunnel.outside,
            "quickMode": netsh_quick_mode(crypto),
            "pfs": netsh_group(crypto.phase2().group),
        }));
        let more = main_mode(crypto).into_iter().filter(|suite| !suites.contains(suite));
        suites.extend(more.collect::<Vec<_>>());
    }
    let Phase2 { cipher, hash, .. } = parameters.crypto.phase2();
    // With GCM the cmdlets, like netsh, want the cipher's name for the hash too.
    let esp_hash = if cipher == Cipher::Aes256Gcm { "AESGCM256" } else { cmdlet_hash(hash) };
    Ok(json!({
        "version": 1,
        "stack": parameters.stack,
        "connection": connection,
        "device": if parameters.instance.is_some() { "ec2" } else { "external" },
        "instance": parameters.instance,
        "privateIp": parameters.private_ip,
        "siteCidr": parameters.pair.site,
        "cloudCidr": parameters.pair.cloud,
        "minimalRoles": parameters.minimal_roles,
        "replaceRules": parameters.replace_rules,
        "adminPorts": parameters.admin_ports,
        "ping": parameters.ping,
        "mainMode": {
            "suites": suites,
            "minutes": PHASE1_SECONDS / 60,
            "sessions": 0,
        },
        "quickMode": {
            "encapsulation": "ESP",
            "espHash": esp_hash,
            "encryption": cmdlet_cipher(cipher),
            "minutes": PHASE2_SECONDS / 60,
            "kilobytes": PHASE2_KILOBYTES,
        },
        "tunnels": rules,
    }))
}

/// Suites in Microsoft's words, as the steps set them and as a proof says what was negotiated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suite {
    /// Such as `DH14`; in quick mode it is the group for perfect forward secrecy.
    pub key_exchange: String,
    /// Such as `AES256`.
    pub encryption: String,
    /// Such as `SHA256`.
    pub hash: String,
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.encryption, self.hash, self.key_exchange)
    }
}

/// Returns what main mode offers, the best first.
#[must_use]
pub fn main_mode(crypto: Crypto) -> Vec<Suite> {
    let suite = |p: &Phase1| Suite {
        key_exchange: format!("DH{}", p.group.number()),
        encryption: cmdlet_cipher(p.cipher).to_owned(),
        hash: cmdlet_hash(p.hash).to_owned(),
    };
    crypto.phase1().iter().map(suite).collect()
}

/// Returns what quick mode offers.
#[must_use]
pub fn quick_mode(crypto: Crypto) -> Suite {
    let Phase2 { cipher, hash, group } = crypto.phase2();
    // What AES-GCM also does for integrity Windows calls GMAC.
    let hash = if cipher == Cipher::Aes256Gcm { "AESGMAC256" } else { cmdlet_hash(hash) };
    Suite {
        key_exchange: format!("DH{}", group.number()),
        encryption: cmdlet_cipher(cipher).to_owned(),
        hash: hash.to_owned(),
    }
}

/// The profile that AWS has a tunnel set to: while they are changed one after the other, not that of
/// the other one.
fn crypto_of(parameters: &Parameters, tunnel: &Tunnel) -> Crypto {
    tunnel.suites.profile().unwrap_or(parameters.crypto)
}

/// The name of a tunnel's rule, as the guide forms it.
fn rule_name(connection: &AwsId, n: usize) -> String {
    format!("{connection} Tunnel {}", n + 1)
}

/// A key whose every character is inert in a command, in JSON and in a file for netsh.
fn usable_key(tunnel: &Tunnel) -> Result<&Secret, Error> {
    let key = tunnel.key.as_ref().ok_or(Error::KeyWithheld(tunnel.outside))?;
    if crate::tunnel::is_valid_key(key) { Ok(key) } else { Err(Error::BadKey(tunnel.outside)) }
}

/// Microsoft's words («New-NetIPsecMainModeCryptoProposal»).
fn cmdlet_cipher(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::Aes128 => "AES128",
        Cipher::Aes256 => "AES256",
        Cipher::Aes256Gcm => "AESGCM256",
    }
}

fn cmdlet_hash(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "SHA1",
        Hash::Sha256 => "SHA256",
        Hash::Sha384 => "SHA384",
    }
}

/// Microsoft's words («netsh advfirewall»).
fn netsh_group(group: DhGroup) -> &'static str {
    match group {
        DhGroup::Group2 => "dhgroup2",
        DhGroup::Group14 => "dhgroup14",
        DhGroup::Group20 => "ecdhp384",
    }
}

fn netsh_quick_mode(crypto: Crypto) -> String {
    let Phase2 { cipher, hash, .. } = crypto.phase2();
    // AES-GCM must be named for both integrity and encryption.
    let hash = if cipher == Cipher::Aes256Gcm { "AESGCM256" } else { cmdlet_hash(hash) };
    let minutes = PHASE2_SECONDS / 60;
    format!("ESP:{hash}-{}+{minutes}min+{PHASE2_KILOBYTES}kb", cmdlet_cipher(cipher))
}

/// Renders the guide's own netsh command for one tunnel, as a file that a person can run.
///
/// In a batch file `"name=value"` passes every character but `%` and `"`, which none of the values
/// can have.
pub fn netsh_file(
    parameters: &Parameters,
    connection: &AwsId,
    n: usize,
    tunnel: &Tunnel,
) -> Result<Secret, Error> {
    let name = rule_name(connection, n);
    let crypto = crypto_of(parameters, tunnel);
    let rule = [
        ("Name", name.clone()),
        ("Enable", "Yes".to_owned()),
        ("Profile", "any".to_owned()),
        ("Type", "Static".to_owned()),
        ("Mode", "Tunnel".to_owned()),
        ("LocalTunnelEndpoint", parameters.private_ip.to_string()),
        ("RemoteTunnelEndpoint", tunnel.outside.to_string()),
        ("Endpoint1", parameters.pair.site.to_string()),
        ("Endpoint2", parameters.pair.cloud.to_string()),
        ("Protocol", "Any".to_owned()),
        ("Action", "RequireInClearOut".to_owned()),
        ("Auth1", "ComputerPSK".to_owned()),
        ("Auth1PSK", usable_key(tunnel)?.expose().to_owned()),
        ("QMSecMethods", netsh_quick_mode(crypto)),
        ("ExemptIPsecProtectedConnections", "No".to_owned()),
        ("ApplyAuthz", "No".to_owned()),
        ("QMPFS", netsh_group(crypto.phase2().group).to_owned()),
    ];
    let words: Vec<String> = rule.iter().map(|(key, value)| format!("\"{key}={value}\"")).collect();
    Ok(Secret::new(format!(
        "@echo off\r\n\
         rem Run as Administrator. Holds a pre-shared key: delete this file afterwards.\r\n\
         netsh advfirewall consec delete rule \"Name={name}\" >nul 2>&1\r\n\
         netsh advfirewall consec add rule {}\r\n\
         exit /b %errorlevel%\r\n",
        words.join(" ^\r\n    ")
    )))
}

/// Parses a bundle back and holds it against what AWS says, tunnel by tunnel.
///
/// INVARIANT: nothing is pushed that this refuses. `configuration` is AWS's own file, which names
/// addresses and keys a second time.
pub fn check(
    bundle: &Bundle,
    parameters: &Parameters,
    tunnels: &[Tunnel],
    configuration: Option<&Secret>,
) -> Result<(), String> {
    let values: Value = serde_json::from_slice(&bundle.files[PARAMETERS])
        .map_err(|_| "the parameters are no JSON")?;
    let keys = std::str::from_utf8(&bundle.keys).map_err(|_| "the keys are no text")?;
    let keys: BTreeMap<&str, &str> = keys.lines().filter_map(|l| l.split_once(' ')).collect();
    let told = |path: &str| values.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let mut wrong = Vec::new();
    let mut expect = |what: &str, is: &str, should: &str| {
        if is != should {
            wrong.push(what.to_owned());
        }
    };
    expect("private address", told("/privateIp"), &parameters.private_ip.to_string());
    expect("site CIDR", told("/siteCidr"), &parameters.pair.site.to_string());
    expect("VPC CIDR", told("/cloudCidr"), &parameters.pair.cloud.to_string());
    let configured = match configuration {
        Some(xml) => read_configuration(xml.expose()).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    let rules = values.pointer("/tunnels").and_then(Value::as_array).map_or(0, Vec::len);
    expect("number of rules", &rules.to_string(), &tunnels.len().to_string());
    for n in 0..rules {
        let address = told(&format!("/tunnels/{n}/outsideIp"));
        let key = keys.get(address).copied().unwrap_or_default();
        let of_api = tunnels.iter().find(|t| t.outside.to_string() == address);
        let crypto = of_api.map_or(parameters.crypto, |tunnel| crypto_of(parameters, tunnel));
        let quick_mode = told(&format!("/tunnels/{n}/quickMode"));
        expect(&format!("rule {}: quick mode", n + 1), quick_mode, &netsh_quick_mode(crypto));
        let api_key = of_api.and_then(|t| t.key.as_ref()).map_or("", Secret::expose);
        expect(&format!("rule {}: key", n + 1), key, api_key);
        let of_file = configured.iter().find(|t| t.outside.to_string() == address);
        if let Some(file_key) = of_file.and_then(|t| t.key.as_ref()) {
            expect(&format!("rule {}: key in AWS's file", n + 1), key, file_key.expose());
        }
        if configuration.is_some() && of_file.is_none() {
            expect(&format!("rule {}: address in AWS's file", n + 1), "", address);
        }
    }
    for tunnel in tunnels {
        if parameters.pair.cloud.contains(&tunnel.outside) {
            wrong.push(format!("{} lies in the VPC's network", tunnel.outside));
        }
        if tunnel.suites.profile().is_none() {
            wrong.push(format!("AWS's suites of the tunnel to {}", tunnel.outside));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::Suites;

    const ALL: [Crypto; 4] = [Crypto::Guide, Crypto::Modern, Crypto::Strict, Crypto::Strong];

    fn parameters(crypto: Crypto) -> Parameters {
        Parameters {
            stack: "office".parse().unwrap(),
            instance: Some(AwsId::new("i-00000001")),
            private_ip: Ipv4Addr::new(172, 31, 16, 10),
            pair: CidrPair {
                site: "172.31.0.0/16".parse().unwrap(),
                cloud: "10.0.0.0/16".parse().unwrap(),
            },
            crypto,
            ping: None,
            minimal_roles: false,
            replace_rules: false,
            admin_ports: ADMIN_PORTS.into(),
            own: Own::default(),
        }
    }

    fn tunnels(crypto: Crypto) -> Vec<Tunnel> {
        let tunnel = |last, letter: &str| Tunnel {
            outside: Ipv4Addr::new(203, 0, 113, last),
            key: Some(Secret::new(letter.repeat(64))),
            suites: Suites::of(crypto),
        };
        vec![tunnel(1, "a"), tunnel(2, "b")]
    }

    #[test]
    fn scripts_carry_what_aws_has_for_every_profile_and_either_order() {
        let connection = AwsId::new("vpn-1");
        for crypto in ALL {
            let parameters = parameters(crypto);
            let mut tunnels = tunnels(crypto);
            for _ in 0..2 {
                let bundle = Bundle::render(&parameters, &connection, &tunnels).unwrap();
                assert_eq!(check(&bundle, &parameters, &tunnels, None), Ok(()), "{crypto}");
                let file = netsh_file(&parameters, &connection, 0, &tunnels[0]).unwrap();
                let address = format!("\"RemoteTunnelEndpoint={}\"", tunnels[0].outside);
                let key = tunnels[0].key.as_ref().unwrap().expose();
                assert!(file.expose().contains(&address));
                assert!(file.expose().contains(&format!("\"Auth1PSK={key}\"")));
                tunnels.reverse();
            }
        }
    }

    #[test]
    fn swapped_keys_are_found_before_anything_is_pushed() {
        let parameters = parameters(Crypto::Modern);
        let right = tunnels(Crypto::Modern);
        let mut wrong = right.clone();
        wrong[0].key = right[1].key.clone();
        wrong[1].key = right[0].key.clone();
        let bundle = Bundle::render(&parameters, &AwsId::new("vpn-1"), &wrong).unwrap();
        let found = check(&bundle, &parameters, &right, None).unwrap_err();
        assert_eq!(found, "rule 1: key, rule 2: key");
    }

    #[test]
    fn no_key_is_in_the_command_line_and_none_is_invented() {
        let mut tunnels = tunnels(Crypto::Modern);
        assert!(!command().contains(&"a".repeat(64)));
        tunnels[1].key = None;
        let refused = Bundle::render(&parameters(Crypto::Modern), &AwsId::new("vpn-1"), &tunnels);
        assert!(matches!(refused, Err(Error::KeyWithheld(ip)) if ip == tunnels[1].outside));
    }
}
