//! The VPN connection in a template, with what AWS accepts on its tunnels.

use super::Format;
use super::declare::{Declaring, ID};
use super::model::{Arguments, Value};
use crate::resource::spec;
use crate::tunnel::{PHASE1_SECONDS, PHASE2_SECONDS, Suites};

impl Declaring<'_> {
    /// Declares it without keys, which AWS makes then.
    pub(super) fn connection(&self, kind: &str, spec: &spec::VpnConnection) -> Arguments {
        let mut all = vec![
            self.arg("Type", "type", Value::text("ipsec.1")),
            self.arg("CustomerGatewayId", "customer_gateway_id", self.of(&spec.customer.0, ID)),
            self.arg("VpnGatewayId", "vpn_gateway_id", self.of(&spec.gateway.0, ID)),
            self.arg("StaticRoutesOnly", "static_routes_only", Value::Flag(true)),
        ];
        let options = tunnel_options(&Suites::of(spec.crypto));
        match self.format {
            Format::Cloudformation => {
                let one = options.into_iter().map(|(name, _, value)| {
                    let each = |value| Value::Map(vec![("Value".to_owned(), value)]);
                    let value = if let Value::List(all) = value {
                        Value::List(all.into_iter().map(each).collect())
                    } else {
                        value
                    };
                    (name.to_owned(), value)
                });
                let one = Value::Map(one.collect());
                let both = Value::List(vec![one.clone(), one]);
                all.push(("VpnTunnelOptionsSpecifications".to_owned(), both));
            }
            Format::Terraform => {
                for tunnel in ["tunnel1", "tunnel2"] {
                    let named =
                        |(_, name, value): (_, &str, Value)| (format!("{tunnel}_{name}"), value);
                    all.extend(options.iter().cloned().map(named));
                }
            }
        }
        all.push(self.tag(kind));
        all
    }
}

/// What AWS accepts on one tunnel, by both names.
fn tunnel_options(suites: &Suites) -> Vec<(&'static str, &'static str, Value)> {
    let texts = |all: &[String]| Value::List(all.iter().map(Value::text).collect());
    let numbers =
        |all: &[i32]| Value::List(all.iter().map(|n| Value::Number((*n).into())).collect());
    let seconds = |seconds: u32| Value::Number(seconds.into());
    vec![
        ("IKEVersions", "ike_versions", texts(&suites.ike_versions)),
        (
            "Phase1EncryptionAlgorithms",
            "phase1_encryption_algorithms",
            texts(&suites.phase1_ciphers),
        ),
        ("Phase1IntegrityAlgorithms", "phase1_integrity_algorithms", texts(&suites.phase1_hashes)),
        ("Phase1DHGroupNumbers", "phase1_dh_group_numbers", numbers(&suites.phase1_groups)),
        ("Phase1LifetimeSeconds", "phase1_lifetime_seconds", seconds(PHASE1_SECONDS)),
        (
            "Phase2EncryptionAlgorithms",
            "phase2_encryption_algorithms",
            texts(&suites.phase2_ciphers),
        ),
        ("Phase2IntegrityAlgorithms", "phase2_integrity_algorithms", texts(&suites.phase2_hashes)),
        ("Phase2DHGroupNumbers", "phase2_dh_group_numbers", numbers(&suites.phase2_groups)),
        ("Phase2LifetimeSeconds", "phase2_lifetime_seconds", seconds(PHASE2_SECONDS)),
    ]
}
