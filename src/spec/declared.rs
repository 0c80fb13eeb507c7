//! The one table of what can be declared: each row is a flag, a key of `cgw.toml` and a tag of the
//! stack's record.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use schemars::SchemaGenerator;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::key;
use super::values::{Choice, Cidr, Endpoint, Fingerprint, List, Via};
use crate::address::{AllocationId, InstanceId, RouteTableId, SubnetId, VpcId};
use crate::tunnel::Crypto;

/// The longest value that a tag can have (EC2 user guide, «Tag restrictions»), counted in UTF-16
/// units: nobody counts more.
const TAG_LENGTH: usize = 256;
/// What the names of the record's tags begin with.
const TAG: &str = "cgw:declared:";

macro_rules! declared {
    ($(#[doc = $about:literal] $(#[$meta:meta])* $field:ident: $type:ty, $flag:literal, $value:literal, $recorded:literal;)*) => {
        /// All that can be declared of a stack; what is `None` was not said.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        #[command(next_help_heading = "What to declare (also keys of cgw.toml)")]
        pub struct Declared {
            $(
                #[doc = $about]
                $(#[$meta])*
                #[arg(long = $flag, value_name = $value)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl Declared {
            /// Fills what was not said from what goes after it.
            #[must_use]
            pub fn or(self, then: Self) -> Self {
                Self { $($field: self.$field.or(then.$field)),* }
            }

            /// The flags, in the table's order.
            pub const FLAGS: &[&str] = &[$($flag),*];

            /// What each flag says, in the table's order.
            pub const ABOUT: &[(&str, &str)] = &[$(($flag, $about)),*];

            /// Returns the flags with which something is said, in the table's order.
            #[must_use]
            pub fn flags(&self) -> Vec<&'static str> {
                let all = [$(self.$field.is_some().then_some($flag)),*];
                all.into_iter().flatten().collect()
            }

            /// Returns the schema of each key of the file.
            pub(super) fn keys(generator: &mut SchemaGenerator) -> serde_json::Map<String, Value> {
                let mut keys = serde_json::Map::new();
                $(keys.insert($flag.to_owned(), key::<$type>(generator, $about));)*
                keys
            }

            /// Forgets what was said with some flags.
            #[must_use]
            pub fn without(mut self, flags: &[impl AsRef<str>]) -> Self {
                $(
                    if flags.iter().any(|flag| flag.as_ref() == $flag) {
                        self.$field = None;
                    }
                )*
                self
            }

            /// Returns the flags whose value has a control character: nothing that is declared has a
            /// use for one, and most of them cannot come back in a tag (XML 1.0, 2.2).
            #[must_use]
            pub fn unprintable(&self) -> Vec<&'static str> {
                let mut flags = Vec::new();
                $(
                    let value = self.$field.as_ref().map(ToString::to_string);
                    if value.is_some_and(|value| value.contains(char::is_control)) {
                        flags.push($flag);
                    }
                )*
                flags
            }

            /// Returns the tags of the stack's record that say this.
            ///
            /// A value that is longer than a tag can hold goes on in further tags.
            #[must_use]
            pub fn to_tags(&self) -> BTreeMap<String, String> {
                let mut tags = BTreeMap::new();
                $(
                    if let (Some(value), true) = (&self.$field, $recorded) {
                        put(&mut tags, $flag, &value.to_string());
                    }
                )*
                tags
            }

            /// Reads the tags of a stack's record; what cannot be read counts as not said.
            #[must_use]
            pub fn from_tags(tags: &BTreeMap<String, String>) -> Self {
                Self { $($field: read(tags, $flag, $recorded)),* }
            }
        }
    };
}

/// What is said of one server and of no other.
const SERVER: &[&str] = &[
    "instance",
    "launch",
    "launch-subnet",
    "key-pair",
    "site-region",
    "site-profile",
    "gateway-ip",
    "private-ip",
    "eip",
    "site-cidr",
    "site-route-tables",
    "host",
    "port",
    "user",
    "host-key",
    "winrm-fingerprint",
    "identity",
];

/// What is known of one machine: another one that is launched in its place has none of it.
const MACHINE: &[&str] = &["private-ip", "host", "host-key", "winrm-fingerprint"];

/// The record's tag that says by which host key the server was met first.
#[must_use]
pub fn host_key_tag() -> String {
    format!("{TAG}host-key")
}

impl Declared {
    /// Returns what names the server, if anything does.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        let own = || self.gateway_ip.map(|ip| ip.to_string());
        self.instance.as_ref().map(ToString::to_string).or_else(own)
    }

    /// Forgets flags that the record says; with the instance all that is known of that machine.
    #[must_use]
    pub fn forget(self, flags: &[String]) -> Self {
        let is_other = flags.iter().any(|flag| flag == "instance");
        let without = self.without(flags);
        if is_other { without.without(MACHINE) } else { without }
    }

    /// Fills what was not said from the stack's record, unless that is about another server.
    #[must_use]
    pub fn over_record(self, record: Self) -> Self {
        let other_instance = self.instance.is_some() && self.instance != record.instance;
        let own_server = self.gateway_ip.is_some() && record.instance.is_some();
        let is_of_another = other_instance || own_server;
        self.or(if is_of_another { record.without(SERVER) } else { record })
    }
}

fn put(tags: &mut BTreeMap<String, String>, flag: &str, value: &str) {
    // A list without members is something that was said.
    let mut parts = vec![String::new()];
    let mut length = 0;
    for c in value.chars() {
        length += c.len_utf16();
        if length > TAG_LENGTH {
            parts.push(String::new());
            length = c.len_utf16();
        }
        parts.last_mut().expect("there is a first part").push(c);
    }
    for (n, part) in parts.into_iter().enumerate() {
        let number = if n == 0 { String::new() } else { format!(":{}", n + 1) };
        tags.insert(format!("{TAG}{flag}{number}"), part);
    }
}

fn read<T: std::str::FromStr>(
    tags: &BTreeMap<String, String>,
    flag: &str,
    recorded: bool,
) -> Option<T> {
    let mut text = tags.get(&format!("{TAG}{flag}")).filter(|_| recorded)?.clone();
    let mut number = 2;
    while let Some(part) = tags.get(&format!("{TAG}{flag}:{number}")) {
        text.push_str(part);
        number += 1;
    }
    text.parse().ok()
}

/// Shows a path as text, so that a row of the table can be a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilePath(pub PathBuf);

impl std::str::FromStr for FilePath {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl std::fmt::Display for FilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

declared! {
    /// The VPC that gets the VPN gateway
    vpc: VpcId, "vpc", "VPC-ID", true;
    /// The VPC's region [default: that of the profile or the environment]
    region: String, "region", "REGION", false;
    /// The AWS profile for the VPC's side
    profile: String, "profile", "NAME", false;
    /// The VPC's network behind the tunnels: the VPC's CIDR, a subnet's, or a supernet [default: the VPC's]
    cloud_cidr: Cidr, "cloud-cidr", "CIDR", true;
    /// The Windows Server, when it is an EC2 instance
    instance: InstanceId, "instance", "INSTANCE-ID", true;
    /// Launch a new Windows Server of this type, such as t3.large, to be the gateway; `down` terminates it
    launch: String, "launch", "TYPE", true;
    /// The public subnet of the new server
    launch_subnet: SubnetId, "launch-subnet", "SUBNET-ID", true;
    /// The key pair that logs in to the new server; its private key is given with --identity
    key_pair: String, "key-pair", "NAME", true;
    /// The instance's region [default: the VPC's]
    site_region: String, "site-region", "REGION", true;
    /// The AWS profile for the instance's side [default: that of the VPC's side]
    site_profile: String, "site-profile", "NAME", false;
    /// An own server's public address (or its NAT's), when it is no EC2 instance
    gateway_ip: Ipv4Addr, "gateway-ip", "ADDRESS", true;
    /// An own server's private address
    private_ip: Ipv4Addr, "private-ip", "ADDRESS", true;
    /// An Elastic IP to use; never released [default: the instance's own, else a new one]
    eip: AllocationId, "eip", "ALLOCATION-ID", true;
    /// The network behind the server [default: that of the instance's VPC]
    site_cidr: Cidr, "site-cidr", "CIDR", true;
    /// Route tables of the VPC that get a route to the site [default: those without a route to an Internet gateway]
    route_tables: List<RouteTableId>, "route-tables", "IDS", true;
    /// Route tables of the site's VPC that get a route to the VPC: `all`, `none`, or ids [default: all]
    site_route_tables: Choice<RouteTableId>, "site-route-tables", "IDS", true;
    /// Make a private subnet with this CIDR in the VPC
    subnet_cidr: Cidr, "subnet-cidr", "CIDR", true;
    /// Networks that may reach the server by RDP and SSH [default: nobody new]
    admin_cidr: List<Cidr>, "admin-cidr", "CIDRS", true;
    /// TCP ports of instances in the VPC that the site may reach [default: 22,3389]
    workload_ports: List<NonZeroU16>, "workload-ports", "PORTS", true;
    /// Which suites both ends are set to [default: modern]
    crypto: Crypto, "crypto", "PROFILE", true;
    /// A host in the VPC that answers pings: proves the tunnel, and keeps it up from then on
    ping: Ipv4Addr, "ping", "ADDRESS", true;
    /// Install only the roles that routing itself needs
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    minimal_roles: bool, "minimal-roles", "BOOL", true;
    /// Switch off the server's rules of others that lead to the same tunnels or networks; `down` switches them on again
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    replace_rules: bool, "replace-rules", "BOOL", true;
    /// A folder with steps for the server that replace or join those of the playbook
    playbook: FilePath, "playbook", "FOLDER", true;
    /// How the scripts reach the server [default: ssm if it is managed, else ssh with --identity, else winrm]
    via: Via, "via", "WAY", true;
    /// Where to reach the server [default: its public address]
    host: String, "host", "HOST", true;
    /// Its port [default: that of the way: 22, 5986, 5985]
    port: NonZeroU16, "port", "PORT", true;
    /// Whom to log in as [default: Administrator]
    user: String, "user", "NAME", true;
    /// The server's host key has this fingerprint [default: what the first login found]
    host_key: Fingerprint, "host-key", "SHA256:…", true;
    /// Its certificate for WinRM has this SHA-256 fingerprint
    winrm_fingerprint: String, "winrm-fingerprint", "HEX", true;
    /// Its certificate for WinRM was signed by one of those in this file (PEM)
    winrm_ca: FilePath, "winrm-ca", "FILE", false;
    /// The private key to log in with, or to open the password of an EC2 instance with [default: the agent's keys, then a password]
    identity: FilePath, "identity", "FILE", false;
    /// Another endpoint than AWS's own, such as LocalStack's
    endpoint_url: Endpoint, "endpoint-url", "URL", false;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Declared {
        Declared {
            vpc: Some("vpc-0a1b2c3d".parse().unwrap()),
            region: Some("eu-west-1".to_owned()),
            instance: Some("i-0a1b2c3d".parse().unwrap()),
            route_tables: Some(List(
                (10..40).map(|n| format!("rtb-0a1b2c3d4e5f600{n}").parse().unwrap()).collect(),
            )),
            site_route_tables: Some(Choice::None),
            crypto: Some(Crypto::Strong),
            via: Some(Via::None),
            port: NonZeroU16::new(2222),
            workload_ports: Some(List(Vec::new())),
            identity: Some(FilePath("/home/me/key".into())),
            ..Declared::default()
        }
    }

    #[test]
    fn the_record_says_what_was_declared_in_tags_that_aws_takes() {
        let tags = full().to_tags();
        assert!(tags.len() < 40, "AWS allows 50 tags");
        for (key, value) in &tags {
            assert!(key.len() <= 128 && value.len() <= 256, "{key}={value}");
        }
        let of_this_machine = Declared { region: None, identity: None, ..full() };
        assert_eq!(Declared::from_tags(&tags), of_this_machine);
    }

    #[test]
    fn a_long_value_of_any_characters_goes_on_in_further_tags() {
        let host = "🏳️‍🌈é".repeat(100);
        let declared = Declared { host: Some(host), ..Declared::default() };
        let tags = declared.to_tags();
        assert_eq!(tags.len(), 3);
        assert!(tags.values().all(|value| value.encode_utf16().count() <= 256));
        assert_eq!(Declared::from_tags(&tags), declared);
    }

    #[test]
    fn control_characters_are_named_by_their_flag() {
        assert_eq!(full().unprintable(), [""; 0]);
        let declared = Declared {
            user: Some("a\u{9b}31m".to_owned()),
            host: Some("a\nb".to_owned()),
            ..full()
        };
        assert_eq!(declared.unprintable(), ["host", "user"]);
    }

    #[test]
    fn what_was_said_first_wins() {
        let flags = Declared { port: NonZeroU16::new(1), ..Declared::default() };
        let merged = flags.or(full());
        assert_eq!(merged.port, NonZeroU16::new(1));
        assert_eq!(merged.via, Some(Via::None));
    }

    #[test]
    fn what_the_record_says_of_one_server_is_not_said_of_another() {
        let (gateway_ip, instance) = (Some(Ipv4Addr::new(203, 0, 113, 7)), full().instance);
        let same = Declared { instance: instance.clone(), ..Declared::default() };
        assert_eq!(same.over_record(full()).port, NonZeroU16::new(2222));
        let other =
            Declared { instance: Some("i-0a1b2c3e".parse().unwrap()), ..Declared::default() };
        let merged = other.over_record(full());
        assert_eq!((merged.port, merged.crypto), (None, Some(Crypto::Strong)));
        let own = Declared { gateway_ip, ..Declared::default() }.over_record(full());
        assert_eq!((own.instance, own.site_route_tables), (None, None));
        let moved = Declared { gateway_ip, ..Declared::default() };
        let record = Declared { gateway_ip: Some(Ipv4Addr::LOCALHOST), instance: None, ..full() };
        assert_eq!(
            moved.over_record(record).port,
            NonZeroU16::new(2222),
            "the same server's new address"
        );
    }

    #[test]
    fn what_is_forgotten_counts_as_not_said() {
        let left = full().without(&["route-tables", "port"]);
        assert_eq!((left.route_tables, left.port), (None, None));
        assert_eq!(left.crypto, Some(Crypto::Strong));
        assert!(SERVER.iter().all(|flag| Declared::FLAGS.contains(flag)));
    }
}
