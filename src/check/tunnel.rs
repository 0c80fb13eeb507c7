//! Where a tunnel stops, and what was negotiated against what was asked.

use crate::playbook::{Suite, main_mode, quick_mode};
use crate::server::Proof;
use crate::tunnel::{Crypto, Suites};

/// Why no ping came back: how far the negotiation came tells what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The other end has not proven who it is.
    #[error("no ping came back, and the key exchange with AWS did not get through its first phase")]
    Phase1,
    /// The two ends do not agree on what goes through.
    #[error("no ping came back: the key exchange stopped at its second phase")]
    Phase2,
    /// The host answers, but not through a tunnel.
    #[error("the host answers, but not through a tunnel")]
    Beside,
    /// A tunnel is up, and the ping is lost beside it or behind it.
    #[error("a tunnel is up, but no ping came back")]
    Behind,
}

impl Fault {
    /// Says where to look, in the order in which packets come along.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Phase1 => {
                "if AWS does not answer at all, look at UDP 500 between the server and the tunnels' \
                 addresses (security group, network ACL, router) and at the public address (is it \
                 the customer gateway's?); if the exchange stops half way, at UDP 4500, which may be \
                 blocked, and at the keys, which may be wrong or those of the two tunnels swapped \
                 (`cgw push` sets them again); if AWS refuses, at --crypto and at the IKE version of \
                 the VPN connection's tunnels, which has to be ikev1"
            }
            Self::Phase2 => {
                "the second phase's suite, its forward secrecy or the networks differ: run `cgw \
                 push`, and compare the networks of the VPN connection with --site-cidr and the VPC, \
                 which are Endpoint 1 and 2 of the tunnels' rules"
            }
            Self::Beside => {
                "another way leads there (a peering, a transit gateway, a public address), or the \
                 rules of the tunnels are not in force: run `cgw push`"
            }
            Self::Behind => {
                "look at the host (does it answer a ping: security group, its own firewall?), at the \
                 route tables of its subnet, at Endpoint 1 (the site) and 2 (the VPC) of the tunnels' \
                 rules, which may be wrong or swapped although the tunnel comes up (`cgw push` sets \
                 them again), and at forwarding and the source/destination check of the server"
            }
        }
    }
}

/// Judges pings; what is to be warned of, or why none came back.
pub fn judge(proof: &Proof, crypto: Crypto) -> Result<Vec<String>, Fault> {
    if proof.received == 0 {
        return Err(match (proof.main_mode.is_empty(), proof.quick_mode.is_empty()) {
            (_, false) => Fault::Behind,
            (false, true) => Fault::Phase2,
            (true, true) => Fault::Phase1,
        });
    }
    let is_counted = proof.tunnel_bytes.is_none_or(|bytes| bytes.sent > 0 && bytes.received > 0);
    if proof.quick_mode.is_empty() || !is_counted {
        return Err(Fault::Beside);
    }
    let mut warnings = Vec::new();
    if proof.received < proof.sent {
        let lost = proof.sent - proof.received;
        warnings.push(format!("{lost} of {} pings were lost", proof.sent));
    }
    let wanted = main_mode(crypto);
    for one in &proof.main_mode {
        warnings.extend(difference(one.peer, "first phase", &one.suite, &wanted[0]));
    }
    let wanted = quick_mode(crypto);
    for one in &proof.quick_mode {
        warnings.extend(difference(one.peer, "second phase", &one.suite, &wanted));
    }
    warnings.sort();
    warnings.dedup();
    Ok(warnings)
}

/// Says what AWS has negotiated for a tunnel, if it is not what was asked for.
#[must_use]
pub fn fallback(peer: std::net::Ipv4Addr, negotiated: &Suites, crypto: Crypto) -> Option<String> {
    let best = Suites::best(crypto);
    (*negotiated != best).then(|| {
        format!(
            "AWS says of {peer}: {negotiated} was negotiated, although {best} was offered first"
        )
    })
}

fn difference(peer: std::net::Ipv4Addr, phase: &str, is: &Suite, wanted: &Suite) -> Option<String> {
    (is != wanted).then(|| {
        format!("the {phase} with {peer} fell back to {is}, although {wanted} was offered first")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Associated, TunnelBytes};

    fn proof(received: usize, main: &[Suite], quick: &[Suite]) -> Proof {
        let peer = "203.0.113.10".parse().unwrap();
        let associated = |suites: &[Suite]| {
            suites.iter().map(|suite| Associated { peer, suite: suite.clone() }).collect()
        };
        let (main_mode, quick_mode) = (associated(main), associated(quick));
        let through = TunnelBytes { sent: 600, received: 600 };
        Proof { sent: 5, received, tunnel_bytes: Some(through), main_mode, quick_mode }
    }

    #[test]
    fn how_far_it_came_tells_what_is_wrong() {
        let (main, quick) = (main_mode(Crypto::Modern), [quick_mode(Crypto::Modern)]);
        let of = |proof: Proof| judge(&proof, Crypto::Modern);
        assert_eq!(of(proof(0, &[], &[])), Err(Fault::Phase1));
        assert_eq!(of(proof(0, &main[..1], &[])), Err(Fault::Phase2));
        assert_eq!(of(proof(0, &main[..1], &quick)), Err(Fault::Behind));
        assert_eq!(of(proof(5, &main[..1], &quick)), Ok(vec![]));
    }

    #[test]
    fn each_cause_of_where_a_tunnel_stops_is_named() {
        for (fault, causes) in [
            (Fault::Phase1, ["UDP 500", "security group", "customer gateway's"]),
            (Fault::Phase1, ["UDP 4500, which may be blocked", "keys", "two tunnels swapped"]),
            (Fault::Phase1, ["--crypto", "IKE version", "ikev1"]),
            (Fault::Phase2, ["suite", "forward secrecy", "networks of the VPN connection"]),
            (Fault::Behind, ["Endpoint 1", "swapped although the tunnel comes up", "route tables"]),
            (Fault::Behind, ["forwarding", "source/destination check", "answer a ping"]),
        ] {
            let hint = fault.hint();
            assert!(causes.iter().all(|cause| hint.contains(cause)), "{causes:?}: {hint}");
        }
    }

    #[test]
    fn a_fallback_a_loss_and_another_way_are_warned_of() {
        let (main, quick) = (main_mode(Crypto::Modern), [quick_mode(Crypto::Modern)]);
        let warned = judge(&proof(3, &main[1..], &quick), Crypto::Modern).unwrap();
        assert_eq!(warned.len(), 2, "{warned:?}");
        assert!(warned[0].contains("2 of 5"), "{warned:?}");
        assert!(warned[1].contains("fell back to AES128-SHA1-DH2"), "{warned:?}");
        assert_eq!(judge(&proof(5, &[], &[]), Crypto::Modern), Err(Fault::Beside));
    }

    #[test]
    fn what_the_tunnels_do_not_count_went_beside_them() {
        let (main, quick) = (main_mode(Crypto::Modern), [quick_mode(Crypto::Modern)]);
        let counted = |tunnel_bytes| {
            judge(&Proof { tunnel_bytes, ..proof(5, &main[..1], &quick) }, Crypto::Modern)
        };
        assert_eq!(counted(Some(TunnelBytes { sent: 0, received: 0 })), Err(Fault::Beside));
        assert_eq!(counted(Some(TunnelBytes { sent: 600, received: 0 })), Err(Fault::Beside));
        assert_eq!(counted(None), Ok(vec![]));
    }

    #[test]
    fn what_aws_negotiated_is_held_against_what_was_offered_first() {
        let peer = "203.0.113.10".parse().unwrap();
        for crypto in [Crypto::Guide, Crypto::Modern, Crypto::Strict, Crypto::Strong] {
            assert_eq!(fallback(peer, &Suites::best(crypto), crypto), None, "{crypto}");
        }
        let told = fallback(peer, &Suites::best(Crypto::Guide), Crypto::Modern).unwrap();
        assert!(told.contains("AES128 SHA1 group 2 then AES128 SHA1 group 2 was"), "{told}");
    }

    #[test]
    fn each_profile_as_it_was_asked_for_warns_of_nothing() {
        for crypto in [Crypto::Guide, Crypto::Modern, Crypto::Strict, Crypto::Strong] {
            let asked = proof(5, &main_mode(crypto)[..1], &[quick_mode(crypto)]);
            assert_eq!(judge(&asked, crypto), Ok(vec![]), "{crypto}");
        }
    }
}
