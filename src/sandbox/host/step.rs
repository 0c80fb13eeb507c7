//! The steps of the playbook, and what each of them sets.

use super::machine::Texts;
use super::parameters::Parameters;
use crate::playbook::Suite;

/// A step of `manifest.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Preflight,
    ChecksumOffload,
    Roles,
    Routing,
    IpsecSettings,
    UdpEncapsulation,
    MainMode,
    QuickMode,
    Firewall,
    Mtu,
    ForeignRules,
    Tunnels,
    Keepalive,
    DeadGateway,
}

/// The ids of the manifest.
const IDS: [(&str, Step); 14] = [
    ("preflight", Step::Preflight),
    ("checksum-offload", Step::ChecksumOffload),
    ("roles", Step::Roles),
    ("routing", Step::Routing),
    ("ipsec-settings", Step::IpsecSettings),
    ("udp-encapsulation", Step::UdpEncapsulation),
    ("main-mode", Step::MainMode),
    ("quick-mode", Step::QuickMode),
    ("firewall", Step::Firewall),
    ("mtu", Step::Mtu),
    ("foreign-rules", Step::ForeignRules),
    ("tunnels", Step::Tunnels),
    ("keepalive", Step::Keepalive),
    ("dead-gateway", Step::DeadGateway),
];

/// The features of the guide, and whether routing alone needs them.
const FEATURES: [(&str, bool); 5] = [
    ("NPAS", false),
    ("RemoteAccess", true),
    ("DirectAccess-VPN", false),
    ("Routing", true),
    ("RSAT-RemoteAccess-PowerShell", true),
];

/// How a step sets its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Its texts on a fresh server.
    fresh: &'static [(&'static str, &'static str)],
    /// A text that lists what each stack wants.
    pub(super) union: Option<&'static str>,
    /// An undo leaves all of it as soon as one text is somebody else's.
    pub(super) is_whole: bool,
    /// It takes effect with a restart.
    pub(super) wants_restart: bool,
    /// An export of the firewall's policy holds it.
    pub(super) is_in_policy: bool,
}

const PLAIN: Setting =
    Setting { fresh: &[], union: None, is_whole: false, wants_restart: false, is_in_policy: false };
const POLICY: Setting = Setting { is_in_policy: true, ..PLAIN };

impl Setting {
    /// Returns its texts on a fresh server.
    pub(super) fn fresh(&self) -> Texts {
        texts(self.fresh.iter().map(|(field, text)| (*field, (*text).to_owned())))
    }
}

fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Texts {
    pairs.into_iter().map(|(field, text)| (field.to_owned(), text)).collect()
}

impl Step {
    /// Finds a step by its id; a user's own step is none.
    pub(super) fn of(id: &str) -> Option<Self> {
        IDS.iter().find(|(is, _)| *is == id).map(|(_, step)| *step)
    }

    /// Returns its id.
    pub(super) fn id(self) -> &'static str {
        IDS.iter().find(|(_, step)| *step == self).expect("every step has an id").0
    }

    /// Says whether what it sets is the stack's own, and not the server's.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Firewall | Self::ForeignRules)
    }

    /// Says how it sets its texts; a step that sets none has none.
    pub(super) fn setting(self) -> Setting {
        match self {
            Self::Preflight | Self::ForeignRules | Self::Tunnels | Self::Keepalive => PLAIN,
            Self::ChecksumOffload => Setting {
                fresh: &[
                    ("adapter", "Ethernet"),
                    ("ipv4", "RxTxEnabled"),
                    ("tcp4", "RxTxEnabled"),
                    ("udp4", "TxEnabled"),
                ],
                wants_restart: true,
                ..PLAIN
            },
            Self::Roles => Setting {
                fresh: &[
                    ("DirectAccess-VPN", "Available"),
                    ("NPAS", "Available"),
                    ("RSAT-RemoteAccess-PowerShell", "Available"),
                    ("RemoteAccess", "Available"),
                    ("Routing", "Available"),
                ],
                ..PLAIN
            },
            Self::Routing => Setting {
                fresh: &[
                    ("forwarding", "Disabled"),
                    ("otherUses", ""),
                    ("routing", "Uninstalled"),
                    ("start", "Disabled"),
                    ("state", "Stopped"),
                ],
                is_whole: true,
                ..PLAIN
            },
            Self::IpsecSettings => Setting {
                fresh: &[
                    ("exemptions", "NotConfigured"),
                    ("idleSeconds", "300"),
                    ("machines", "None"),
                    ("throughNat", "None"),
                    ("users", "None"),
                ],
                ..POLICY
            },
            Self::UdpEncapsulation => Setting {
                fresh: &[("AssumeUDPEncapsulationContextOnSendRule", "absent")],
                wants_restart: true,
                ..PLAIN
            },
            Self::MainMode => Setting {
                fresh: &[
                    ("forceDiffieHellman", ""),
                    ("minutes", ""),
                    ("sessions", ""),
                    ("set", "absent"),
                    ("suites", ""),
                ],
                union: Some("suites"),
                is_whole: true,
                ..POLICY
            },
            Self::QuickMode => Setting {
                fresh: &[("proposals", ""), ("set", "absent")],
                union: Some("proposals"),
                is_whole: true,
                ..POLICY
            },
            Self::Firewall => Setting { fresh: &[("ike", "absent"), ("ping", "absent")], ..POLICY },
            Self::Mtu => Setting { fresh: &[("mtu", "9001")], ..PLAIN },
            Self::DeadGateway => {
                Setting { fresh: &[("EnableDeadGWDetect", "absent")], wants_restart: true, ..PLAIN }
            }
        }
    }

    /// Returns the texts that it wants, where `was` is what is there.
    pub(super) fn wanted(self, parameters: &Parameters, was: &Texts) -> Texts {
        let same = |pairs: &[(&'static str, &str)]| {
            texts(pairs.iter().map(|(field, text)| (*field, (*text).to_owned())))
        };
        match self {
            Self::Preflight | Self::ForeignRules | Self::Tunnels | Self::Keepalive => Texts::new(),
            Self::ChecksumOffload => {
                same(&[("ipv4", "Disabled"), ("tcp4", "Disabled"), ("udp4", "Disabled")])
            }
            Self::Roles => {
                let is_wanted =
                    |(_, is_minimal): &&(_, bool)| *is_minimal || !parameters.minimal_roles;
                let wanted = FEATURES.iter().filter(is_wanted);
                texts(wanted.map(|(feature, _)| (*feature, "Installed".to_owned())))
            }
            Self::Routing => same(&[
                ("forwarding", "Enabled"),
                ("routing", "Installed"),
                ("start", "Auto"),
                ("state", "Running"),
            ]),
            Self::IpsecSettings => same(&[
                ("exemptions", "Dhcp,NeighborDiscovery"),
                ("idleSeconds", "3600"),
                ("machines", "None"),
                ("throughNat", "Both"),
                ("users", "None"),
            ]),
            Self::UdpEncapsulation => same(&[("AssumeUDPEncapsulationContextOnSendRule", "2")]),
            Self::MainMode => main_mode(parameters),
            Self::QuickMode => quick_mode(parameters),
            Self::Firewall => openings(parameters),
            Self::Mtu => {
                // A smaller one is somebody's choice.
                let is: u32 = was["mtu"].parse().unwrap_or(u32::MAX);
                texts([("mtu", is.min(1500).to_string())])
            }
            Self::DeadGateway => same(&[("EnableDeadGWDetect", "1")]),
        }
    }
}

fn main_mode(parameters: &Parameters) -> Texts {
    let mode = &parameters.main_mode;
    let suite = |s: &Suite| format!("{}-{}-{}", s.key_exchange, s.encryption, s.hash);
    texts([
        ("forceDiffieHellman", "True".to_owned()),
        ("minutes", mode.minutes.to_string()),
        ("sessions", mode.sessions.to_string()),
        ("set", "present".to_owned()),
        ("suites", mode.suites.iter().map(suite).collect::<Vec<_>>().join(",")),
    ])
}

fn quick_mode(parameters: &Parameters) -> Texts {
    let mode = &parameters.quick_mode;
    // AES-GCM authenticates by itself; Windows wants the matching AES-GMAC named as its hash.
    let hash = match mode.encryption.strip_prefix("AESGCM") {
        Some(bits) => format!("AESGMAC{bits}"),
        None => mode.esp_hash.clone(),
    };
    let proposal = format!(
        "{}:{hash}-{}+{}min+{}kb",
        mode.encapsulation, mode.encryption, mode.minutes, mode.kilobytes
    );
    texts([("proposals", proposal), ("set", "present".to_owned())])
}

fn openings(parameters: &Parameters) -> Texts {
    let mut peers: Vec<String> = parameters.peers().map(|peer| peer.to_string()).collect();
    peers.sort();
    let begin = "Inbound Allow True Any";
    texts([
        ("ike", format!("{begin} UDP 4500,500 from {}", peers.join(","))),
        ("ping", format!("{begin} ICMPv4 8 from {}", parameters.cloud_cidr)),
    ])
}
