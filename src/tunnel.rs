//! The two tunnels as one model (addresses, keys, crypto, CIDR pair); renders nothing.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::xml;

/// What an IPsec phase protects its packets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Cipher {
    /// AES-CBC with a key of 128 bits.
    Aes128,
    /// AES-CBC with a key of 256 bits.
    Aes256,
    /// AES-GCM with a key of 256 bits; protects integrity too.
    Aes256Gcm,
}

/// What integrity is checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Hash {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
}

/// The Diffie-Hellman groups that Windows and AWS share and that cgw uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum DhGroup {
    /// MODP 1024.
    Group2,
    /// MODP 2048.
    Group14,
    /// NIST P-384.
    Group20,
}

impl DhGroup {
    /// Returns the group's number in the IANA registry, which AWS uses too.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Group2 => 2,
            Self::Group14 => 14,
            Self::Group20 => 20,
        }
    }
}

/// One proposal of IKE's main mode (phase 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Phase1 {
    /// Key exchange.
    pub group: DhGroup,
    /// Encryption.
    pub cipher: Cipher,
    /// Integrity.
    pub hash: Hash,
}

/// The one proposal of quick mode (phase 2), with perfect forward secrecy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Phase2 {
    /// Encryption.
    pub cipher: Cipher,
    /// Integrity; of no meaning with GCM.
    pub hash: Hash,
    /// Perfect forward secrecy.
    pub group: DhGroup,
}

/// Seconds that a phase-1 key lives on both ends (480 minutes, the guide's).
pub const PHASE1_SECONDS: u32 = 28_800;
/// Seconds that a phase-2 key lives on both ends (60 minutes, the guide's).
pub const PHASE2_SECONDS: u32 = 3_600;
/// Kilobytes after which Windows renews a phase-2 key (the guide's).
pub const PHASE2_KILOBYTES: u32 = 100_000;

/// Which suites both ends of the tunnels are set to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Crypto {
    /// The guide's own values: DH group 2, AES-128, SHA-1.
    Guide,
    /// Phase 2 strong (AES-256, SHA-256, group 14); phase 1 strong first, the guide's after it.
    #[default]
    Modern,
    /// As `modern`, without the guide's suite in phase 1.
    Strict,
    /// P-384, AES-256-GCM; never yet seen with a real Windows Server.
    Strong,
}

impl Crypto {
    /// Returns the proposals for phase 1, the best first.
    #[must_use]
    pub fn phase1(self) -> &'static [Phase1] {
        const GUIDE: Phase1 =
            Phase1 { group: DhGroup::Group2, cipher: Cipher::Aes128, hash: Hash::Sha1 };
        const MODERN: Phase1 =
            Phase1 { group: DhGroup::Group14, cipher: Cipher::Aes256, hash: Hash::Sha256 };
        const STRONG: Phase1 =
            Phase1 { group: DhGroup::Group20, cipher: Cipher::Aes256, hash: Hash::Sha384 };
        match self {
            Self::Guide => &[GUIDE],
            Self::Modern => &[MODERN, GUIDE],
            Self::Strict => &[MODERN],
            Self::Strong => &[STRONG],
        }
    }

    /// Returns the proposal for phase 2.
    #[must_use]
    pub fn phase2(self) -> Phase2 {
        match self {
            Self::Guide => {
                Phase2 { cipher: Cipher::Aes128, hash: Hash::Sha1, group: DhGroup::Group2 }
            }
            Self::Modern | Self::Strict => {
                Phase2 { cipher: Cipher::Aes256, hash: Hash::Sha256, group: DhGroup::Group14 }
            }
            Self::Strong => {
                Phase2 { cipher: Cipher::Aes256Gcm, hash: Hash::Sha384, group: DhGroup::Group20 }
            }
        }
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guide => "guide",
            Self::Modern => "modern",
            Self::Strict => "strict",
            Self::Strong => "strong",
        })
    }
}

/// One of the connection's two tunnels, as AWS has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// AWS's end.
    pub outside: Ipv4Addr,
    /// The pre-shared key; `None` where AWS keeps it back.
    #[serde(skip)]
    pub key: Option<Secret>,
    /// The suites that AWS accepts, in AWS's own words, sorted: compared, never guessed at.
    pub suites: Suites,
}

/// One tunnel that is changed while the other carries the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// AWS's end of it.
    pub outside: Ipv4Addr,
    /// Its new key; `None`: it keeps its own.
    #[serde(skip)]
    pub key: Option<Secret>,
}

/// What AWS accepts on one tunnel, each list sorted, in the API's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Suites {
    /// `Phase1EncryptionAlgorithms`.
    pub phase1_ciphers: Vec<String>,
    /// `Phase1IntegrityAlgorithms`.
    pub phase1_hashes: Vec<String>,
    /// `Phase1DHGroupNumbers`.
    pub phase1_groups: Vec<i32>,
    /// `Phase2EncryptionAlgorithms`.
    pub phase2_ciphers: Vec<String>,
    /// `Phase2IntegrityAlgorithms`.
    pub phase2_hashes: Vec<String>,
    /// `Phase2DHGroupNumbers`.
    pub phase2_groups: Vec<i32>,
    /// `IKEVersions`.
    pub ike_versions: Vec<String>,
}

impl fmt::Display for Suites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups =
            |all: &[i32]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
        write!(
            f,
            "{} {} group {} then {} {} group {}",
            self.phase1_ciphers.join("+"),
            self.phase1_hashes.join("+"),
            groups(&self.phase1_groups),
            self.phase2_ciphers.join("+"),
            self.phase2_hashes.join("+"),
            groups(&self.phase2_groups),
        )?;
        if self.ike_versions != ["ikev1"] {
            write!(f, " {}", self.ike_versions.join("+"))?;
        }
        Ok(())
    }
}

impl Suites {
    /// Returns the profile that makes AWS accept just this, if one does.
    #[must_use]
    pub fn profile(&self) -> Option<Crypto> {
        use clap::ValueEnum as _;
        Crypto::value_variants().iter().copied().find(|crypto| Self::of(*crypto) == *self)
    }

    /// Returns what AWS must be set to so that it accepts just a profile's proposals.
    ///
    /// AWS takes a list an attribute, not a list of proposals (EC2 API, `VpnTunnelOptions`).
    #[must_use]
    pub fn of(crypto: Crypto) -> Self {
        Self::with(crypto.phase1(), crypto.phase2())
    }

    /// Returns what is negotiated if both ends take a profile's best proposals.
    #[must_use]
    pub fn best(crypto: Crypto) -> Self {
        Self::with(&crypto.phase1()[..1], crypto.phase2())
    }

    fn with(p1: &[Phase1], p2: Phase2) -> Self {
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list.dedup();
            list
        };
        let mut groups: Vec<i32> = p1.iter().map(|p| p.group.number()).collect();
        groups.sort_unstable();
        Self {
            phase1_ciphers: sorted(p1.iter().map(|p| cipher(p.cipher).to_owned()).collect()),
            phase1_hashes: sorted(p1.iter().map(|p| hash(p.hash).to_owned()).collect()),
            phase1_groups: groups,
            phase2_ciphers: vec![cipher(p2.cipher).to_owned()],
            phase2_hashes: vec![hash(p2.hash).to_owned()],
            phase2_groups: vec![p2.group.number()],
            ike_versions: vec!["ikev1".to_owned()],
        }
    }
}

/// AWS's word for a cipher (EC2 API, `Phase1EncryptionAlgorithmsRequestListValue`).
fn cipher(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::Aes128 => "AES128",
        Cipher::Aes256 => "AES256",
        Cipher::Aes256Gcm => "AES256-GCM-16",
    }
}

/// AWS's word for a hash (EC2 API, `Phase1IntegrityAlgorithmsRequestListValue`).
fn hash(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "SHA1",
        Hash::Sha256 => "SHA2-256",
        Hash::Sha384 => "SHA2-384",
    }
}

/// What both tunnels carry: the traffic between one pair of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CidrPair {
    /// The network behind the Windows Server (Endpoint 1).
    pub site: Ipv4Net,
    /// The VPC's network (Endpoint 2).
    pub cloud: Ipv4Net,
}

/// A tunnel as AWS's own configuration file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// AWS's end.
    pub outside: Ipv4Addr,
    /// The customer gateway's public address.
    pub gateway: Ipv4Addr,
    /// The pre-shared key; `None` when it is missing, empty or withheld.
    pub key: Option<Secret>,
}

/// AWS's configuration file is not of the form that is documented.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is no XML, or larger than any such file.
    #[error("AWS's configuration file cannot be read")]
    Xml(#[source] xml::Error),
    /// Something that must be in it is not, or is no address.
    #[error("AWS's configuration file has no usable {0}")]
    Lacks(&'static str),
}

/// Reads the tunnels out of `CustomerGatewayConfiguration`.
///
/// Their order in the file is not a promise: match them by [`Configured::outside`]. With keys kept
/// in Secrets Manager the key reads `REDACTED`, which counts as missing.
pub fn read_configuration(text: &str) -> Result<Vec<Configured>, ConfigurationError> {
    let document = xml::parse(text).map_err(ConfigurationError::Xml)?;
    document.descendants().filter(|n| n.has_tag_name("ipsec_tunnel")).map(read_tunnel).collect()
}

fn read_tunnel(tunnel: roxmltree::Node<'_, '_>) -> Result<Configured, ConfigurationError> {
    let at = |path: &[&str]| {
        path.iter()
            .try_fold(tunnel, |node, name| node.children().find(|c| c.has_tag_name(*name)))
            .and_then(|node| node.text())
            .map(str::trim)
    };
    let address = |end: &'static str| {
        at(&[end, "tunnel_outside_address", "ip_address"])
            .and_then(|text| Ipv4Addr::from_str(text).ok())
            .ok_or(ConfigurationError::Lacks(end))
    };
    Ok(Configured {
        outside: address("vpn_gateway")?,
        gateway: address("customer_gateway")?,
        key: at(&["ike", "pre_shared_key"]).and_then(known_key),
    })
}

/// Returns a key unless AWS kept it back.
#[must_use]
pub fn known_key(text: &str) -> Option<Secret> {
    (!text.is_empty() && text != "REDACTED").then(|| Secret::new(text))
}

/// The characters that AWS allows in a pre-shared key (EC2 API, `PreSharedKey`): none of them
/// needs quoting anywhere.
pub const KEY_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

/// Says whether AWS accepts a key: 8–64 characters of the alphabet, not beginning with `0`.
#[must_use]
pub fn is_valid_key(key: &Secret) -> bool {
    let bytes = key.expose().as_bytes();
    (8..=64).contains(&bytes.len())
        && bytes[0] != b'0'
        && bytes.iter().all(|b| KEY_ALPHABET.contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(first: &str, second: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><vpn_connection id=\"vpn-1\">{first}{second}</vpn_connection>"
        )
    }

    fn tunnel(outside: &str, key: &str) -> String {
        format!(
            "<ipsec_tunnel><customer_gateway><tunnel_outside_address><ip_address>203.0.113.1\
             </ip_address></tunnel_outside_address></customer_gateway><vpn_gateway>\
             <tunnel_outside_address><ip_address> {outside} </ip_address></tunnel_outside_address>\
             </vpn_gateway><ike>{key}</ike></ipsec_tunnel>"
        )
    }

    #[test]
    fn both_tunnels_are_read_in_either_order() {
        let key = |k: &str| format!("<pre_shared_key>{k}</pre_shared_key>");
        let (a, b) =
            (tunnel("198.51.100.1", &key("keykeykey1")), tunnel("198.51.100.2", &key("k2")));
        let read = read_configuration(&xml(&a, &b)).unwrap();
        let mut turned = read_configuration(&xml(&b, &a)).unwrap();
        turned.reverse();
        assert_eq!(read, turned);
        assert_eq!(read[0].outside, Ipv4Addr::new(198, 51, 100, 1));
        assert_eq!(read[0].key.as_ref().unwrap().expose(), "keykeykey1");
    }

    #[test]
    fn a_key_that_aws_keeps_back_counts_as_missing() {
        for key in ["", "<pre_shared_key/>", "<pre_shared_key>REDACTED</pre_shared_key>"] {
            let text = xml(&tunnel("198.51.100.1", key), "");
            assert_eq!(read_configuration(&text).unwrap()[0].key, None, "{key}");
        }
    }

    #[test]
    fn a_broken_file_is_refused() {
        assert!(matches!(read_configuration("<a>"), Err(ConfigurationError::Xml(_))));
        let nameless = xml(&tunnel("no address", ""), "");
        assert!(matches!(
            read_configuration(&nameless),
            Err(ConfigurationError::Lacks("vpn_gateway"))
        ));
    }

    #[test]
    fn only_modern_offers_the_guides_phase_1_beside_a_strong_one() {
        assert_eq!(Suites::of(Crypto::Modern).phase1_groups, [2, 14]);
        assert_eq!(Suites::of(Crypto::Strict).phase1_groups, [14]);
        assert_eq!(Suites::of(Crypto::Guide).phase2_hashes, ["SHA1"]);
        assert_eq!(Suites::of(Crypto::Strong).phase2_ciphers, ["AES256-GCM-16"]);
        assert_eq!(Suites::of(Crypto::Strict).profile(), Some(Crypto::Strict));
        assert_eq!(Suites::default().profile(), None);
    }

    #[test]
    fn keys_that_aws_would_refuse_are_not_valid() {
        for bad in ["short", "0eadingzero", "has+plus", "has space", &"a".repeat(65)] {
            assert!(!is_valid_key(&Secret::new(bad)), "{bad}");
        }
        assert!(is_valid_key(&Secret::new("a".repeat(64))));
    }
}
