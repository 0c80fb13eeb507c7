//! The connection security rule of a tunnel.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::parameters::{Parameters, TunnelTo};
use crate::address::Stack;
use crate::playbook::Suite;
use crate::sandbox::Unshown;

/// A rule that leads traffic between two networks through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The name that Windows shows.
    pub name: String,
    /// Whose rule it is.
    pub stack: Stack,
    /// The server's own end.
    pub local: Ipv4Addr,
    /// The other end: a tunnel's outside address.
    pub remote: Ipv4Addr,
    /// The networks on the server's side.
    pub endpoint1: Ipv4Net,
    /// The networks on the other side.
    pub endpoint2: Ipv4Net,
    /// The pre-shared key.
    pub key: Unshown,
    /// Quick mode in netsh's words, such as `ESP:SHA256-AES256+60min+100000kb`.
    pub quick_mode: String,
    /// The group for perfect forward secrecy in netsh's words, such as `dhgroup14`.
    pub pfs: String,
    /// Whether it is switched on.
    pub is_enabled: bool,
}

impl Rule {
    /// Returns the rule that the parameters want for one of their tunnels.
    pub(super) fn of(parameters: &Parameters, tunnel: &TunnelTo, key: &Unshown) -> Self {
        Self {
            name: tunnel.name.clone(),
            stack: parameters.stack.clone(),
            local: parameters.private_ip,
            remote: tunnel.outside_ip,
            endpoint1: parameters.site_cidr,
            endpoint2: parameters.cloud_cidr,
            key: key.clone(),
            quick_mode: tunnel.quick_mode.clone(),
            pfs: tunnel.pfs.clone(),
            is_enabled: true,
        }
    }

    /// Says whether Windows would show both rules alike: a key cannot be read back.
    pub(super) fn reads_like(&self, other: &Self) -> bool {
        Self { key: other.key.clone(), ..self.clone() } == *other
    }

    /// Returns what quick mode offers, in the words of a proof.
    #[must_use]
    pub fn suite(&self) -> Suite {
        let methods = self.quick_mode.split([':', '+']).nth(1).unwrap_or_default();
        let (hash, encryption) = methods.split_once('-').unwrap_or_default();
        Suite {
            key_exchange: group(&self.pfs).to_owned(),
            encryption: encryption.to_owned(),
            // What AES-GCM also does for integrity Windows calls GMAC.
            hash: hash.replace("AESGCM", "AESGMAC"),
        }
    }
}

/// Netsh's groups, as a security association names them.
fn group(pfs: &str) -> &'static str {
    const GROUPS: [(&str, &str); 6] = [
        ("dhgroup1", "DH1"),
        ("dhgroup2", "DH2"),
        ("dhgroup14", "DH14"),
        ("dhgroup24", "DH24"),
        ("ecdhp256", "DH19"),
        ("ecdhp384", "DH20"),
    ];
    GROUPS.iter().find(|(word, _)| *word == pfs).map_or("None", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::quick_mode;
    use crate::sandbox::host::stand::tests::Setup;
    use crate::tunnel::Crypto;

    #[test]
    fn a_rule_negotiates_what_its_profile_offers() {
        for crypto in [Crypto::Guide, Crypto::Modern, Crypto::Strict, Crypto::Strong] {
            let mut stand = Setup { crypto, ..Setup::default() }.ready();
            stand.set_up();
            let rule = stand.host.rules().next().unwrap();
            assert_eq!(rule.suite(), quick_mode(crypto), "{crypto}");
        }
    }

    #[test]
    fn a_key_is_in_no_debug_text() {
        assert_eq!(format!("{:?}", Unshown::new("hunter2")), "Unshown");
    }
}
