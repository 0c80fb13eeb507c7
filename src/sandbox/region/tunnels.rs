//! The tunnels of a connection: their options, checked and completed.
//!
//! Source: EC2 API, «VpnTunnelOptionsSpecification».

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::sandbox::Moment;
use crate::sandbox::query::Query;
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{Tree, list, map};
use crate::sandbox::unshown::Unshown;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tunnel {
    pub(super) outside: Ipv4Addr,
    pub(super) inside: Ipv4Net,
    pub(super) key: Unshown,
    /// Lists of choices by the request's name of them; empty: all that AWS offers.
    choices: BTreeMap<String, Vec<String>>,
    numbers: BTreeMap<String, u32>,
    /// It is down until then, because AWS replaces its end.
    pub(super) replaced: Moment,
    pub(super) up_since: Option<Moment>,
}

/// A list of choices: the request's name, the answer's, and what may stand in it.
const CHOICES: &[(&str, &str, &[&str])] = &[
    ("Phase1EncryptionAlgorithm", "phase1EncryptionAlgorithmSet", CIPHERS),
    ("Phase2EncryptionAlgorithm", "phase2EncryptionAlgorithmSet", CIPHERS),
    ("Phase1IntegrityAlgorithm", "phase1IntegrityAlgorithmSet", HASHES),
    ("Phase2IntegrityAlgorithm", "phase2IntegrityAlgorithmSet", HASHES),
    ("Phase1DHGroupNumber", "phase1DHGroupNumberSet", GROUPS.split_at(1).1),
    ("Phase2DHGroupNumber", "phase2DHGroupNumberSet", GROUPS),
    ("IKEVersion", "ikeVersionSet", &["ikev1", "ikev2"]),
];
const CIPHERS: &[&str] = &["AES128", "AES256", "AES128-GCM-16", "AES256-GCM-16"];
const HASHES: &[&str] = &["SHA1", "SHA2-256", "SHA2-384", "SHA2-512"];
/// The first only in phase 2.
const GROUPS: &[&str] =
    &["5", "2", "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24"];
/// A number: the request's name, the answer's, the least, the most, what it is by default.
const NUMBERS: &[(&str, &str, u32, u32, u32)] = &[
    ("Phase1LifetimeSeconds", "phase1LifetimeSeconds", 900, 28_800, 28_800),
    ("Phase2LifetimeSeconds", "phase2LifetimeSeconds", 900, 3_600, 3_600),
    ("RekeyMarginTimeSeconds", "rekeyMarginTimeSeconds", 60, 1_800, 270),
    ("RekeyFuzzPercentage", "rekeyFuzzPercentage", 0, 100, 100),
    ("ReplayWindowSize", "replayWindowSize", 64, 2_048, 1_024),
    ("DPDTimeoutSeconds", "dpdTimeoutSeconds", 30, u32::MAX, 30),
];

impl Tunnel {
    /// Makes a new one.
    pub(super) fn make(
        call: &mut Call<'_>,
        asked: &Query,
        taken: &[Ipv4Net],
    ) -> Result<Self, Refusal> {
        let inside = match inside(asked)? {
            Some(net) if taken.contains(&net) => {
                let text = format!("The inside tunnel CIDR {net} is already in use.");
                return Err(Refusal::new("InvalidCidr.InUse", text));
            }
            Some(net) => net,
            None => free_inside(call, taken),
        };
        let [_, b, c, d] = call.draws.number("tunnel").to_be_bytes();
        let mut tunnel = Self {
            // Of RFC 2544's network for tests, apart from those of Elastic IPs.
            outside: Ipv4Addr::new(192, 0, 2, 0),
            inside,
            key: Unshown::new(format!("k{}{}", call.draws.digits("key"), call.draws.digits("key"))),
            choices: BTreeMap::new(),
            numbers: BTreeMap::new(),
            replaced: Moment::EARLIEST,
            up_since: None,
        };
        tunnel.outside = Ipv4Addr::new(100, 64 + (b & 63), c, d);
        tunnel.set(asked)?;
        Ok(tunnel)
    }

    /// Sets what is asked for.
    pub(super) fn set(&mut self, asked: &Query) -> Result<(), Refusal> {
        for (name, _, allowed) in CHOICES {
            let items = asked.items(name);
            let values: Vec<String> = items
                .iter()
                .map(|item| item.must("Value").map(str::to_owned))
                .collect::<Result<_, _>>()?;
            if let Some(wrong) = values.iter().find(|value| !allowed.contains(&value.as_str())) {
                return Err(Refusal::invalid(name, wrong));
            }
            if !values.is_empty() {
                self.choices.insert((*name).to_owned(), values);
            }
        }
        for (name, _, least, most, _) in NUMBERS {
            match asked.read::<u32>(name)? {
                Some(number) if !(*least..=*most).contains(&number) => {
                    return Err(Refusal::invalid(name, &number.to_string()));
                }
                Some(number) => {
                    self.numbers.insert((*name).to_owned(), number);
                }
                None => {}
            }
        }
        if self.number("Phase2LifetimeSeconds") >= self.number("Phase1LifetimeSeconds") {
            return Err(Refusal::invalid("Phase2LifetimeSeconds", "not below that of phase 1"));
        }
        if let Some(key) = asked.text("PreSharedKey") {
            if !is_key(key) {
                // GoogleCloudPlatform/pbmm-on-gcp-onboarding #299 shows the message.
                let text = "Value for parameter PreSharedKey is invalid.";
                return Err(Refusal::new("InvalidParameterValue", text));
            }
            self.key = Unshown::new(key);
        }
        Ok(())
    }

    pub(super) fn number(&self, name: &str) -> u32 {
        let default = NUMBERS.iter().find(|row| row.0 == name).map_or(0, |row| row.4);
        self.numbers.get(name).copied().unwrap_or(default)
    }

    /// Returns the first choice on offer; where nothing was asked for, AWS's least.
    pub(super) fn first(&self, name: &str) -> &str {
        self.choice(name, |all| all.first())
    }

    /// Returns what both ends settle on with a server that offers its strongest suite first.
    pub(super) fn settled(&self, name: &str) -> &str {
        self.choice(name, |all| all.iter().max_by_key(|value| (value.len(), value.as_str())))
    }

    fn choice<'a>(
        &'a self,
        name: &str,
        pick: impl Fn(&'a [String]) -> Option<&'a String>,
    ) -> &'a str {
        let least = match name {
            "Phase1EncryptionAlgorithm" | "Phase2EncryptionAlgorithm" => "AES128",
            "Phase1IntegrityAlgorithm" | "Phase2IntegrityAlgorithm" => "SHA1",
            "IKEVersion" => "ikev1",
            _ => "2",
        };
        self.choices.get(name).and_then(|all| pick(all)).map_or(least, String::as_str)
    }

    pub(super) fn tree(&self) -> Tree {
        let mut parts = vec![
            ("outsideIpAddress", self.outside.into()),
            ("tunnelInsideCidr", self.inside.into()),
            ("preSharedKey", self.key.expose().into()),
        ];
        for (name, shown, ..) in NUMBERS {
            parts.push((shown, self.numbers.get(*name).copied().into()));
        }
        for (name, shown, _) in CHOICES {
            let values = self.choices.get(*name);
            let item = |value: &String| map([("value", value.into())]);
            parts.push((shown, values.map(|all| list(all.iter().map(item))).into()));
        }
        Tree::Map(parts)
    }
}

/// EC2 API: 8 to 64 letters, digits, periods and underscores, not beginning with zero.
fn is_key(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
}

fn inside(asked: &Query) -> Result<Option<Ipv4Net>, Refusal> {
    let Some(text) = asked.text("TunnelInsideCidr") else { return Ok(None) };
    let wrong = || Refusal::invalid("TunnelInsideCidr", text);
    let net: Ipv4Net = text.parse().map_err(|_| wrong())?;
    let [a, b, c, d] = net.addr().octets();
    let is_reserved = (c < 6 && d == 0) || (c, d) == (169, 252);
    if net != net.trunc() || net.prefix_len() != 30 || (a, b) != (169, 254) || is_reserved {
        return Err(wrong());
    }
    Ok(Some(net))
}

fn free_inside(call: &mut Call<'_>, taken: &[Ipv4Net]) -> Ipv4Net {
    loop {
        let [_, _, c, d] = call.draws.number("inside").to_be_bytes();
        let ip = Ipv4Addr::new(169, 254, 6 + c % 160, d & !3);
        let net = Ipv4Net::new_assert(ip, 30);
        if !taken.contains(&net) {
            return net;
        }
    }
}
