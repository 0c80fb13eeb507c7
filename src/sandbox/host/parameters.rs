//! Reads `parameters.json`, `keys.txt` and `manifest.json` of a bundle, as the scripts do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::address::Stack;
use crate::playbook::Suite;
use crate::sandbox::Unshown;

/// What the steps are to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    version: u32,
    pub(super) stack: Stack,
    pub(super) device: Device,
    pub(super) private_ip: Ipv4Addr,
    pub(super) site_cidr: Ipv4Net,
    pub(super) cloud_cidr: Ipv4Net,
    pub(super) minimal_roles: bool,
    pub(super) replace_rules: bool,
    admin_ports: BTreeSet<u16>,
    pub(super) ping: Option<Ipv4Addr>,
    pub(super) main_mode: MainMode,
    pub(super) quick_mode: QuickMode,
    pub(super) tunnels: Vec<TunnelTo>,
}

/// What the server is to AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Device {
    Ec2,
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MainMode {
    pub(super) suites: Vec<Suite>,
    pub(super) minutes: u32,
    pub(super) sessions: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuickMode {
    pub(super) encapsulation: String,
    pub(super) esp_hash: String,
    pub(super) encryption: String,
    pub(super) minutes: u32,
    pub(super) kilobytes: u32,
}

/// One of the two tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TunnelTo {
    pub(super) name: String,
    pub(super) outside_ip: Ipv4Addr,
    pub(super) quick_mode: String,
    pub(super) pfs: String,
}

/// The pre-shared keys by the tunnels' outside addresses.
pub(super) type Keys = BTreeMap<Ipv4Addr, Unshown>;

impl Parameters {
    /// Reads the file's text; what is wrong is told as `run.ps1` tells it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(text).map_err(|e| format!("parameters.json: {e}"))?;
        let problems = read.problems();
        let told = problems.iter().map(|problem| format!("parameters.json: {problem}"));
        let told = told.collect::<Vec<_>>().join("; ");
        if told.is_empty() { Ok(read) } else { Err(told) }
    }

    fn problems(&self) -> Vec<&'static str> {
        let [names, addresses] = [
            self.tunnels.iter().map(|t| t.name.clone()).collect::<BTreeSet<_>>(),
            self.tunnels.iter().map(|t| t.outside_ip.to_string()).collect(),
        ];
        let is_outside = self.ping.is_some_and(|ping| !self.cloud_cidr.contains(&ping));
        let wrong = [
            (self.version != 1, "version is not 1"),
            (self.admin_ports.is_empty(), "adminPorts names no port"),
            (is_outside, "the host to ping is not in the VPC's network"),
            (self.tunnels.len() != 2, "there are not two tunnels"),
            (names.len() != self.tunnels.len(), "two tunnels have the same name"),
            (addresses.len() != self.tunnels.len(), "two tunnels have the same outsideIp"),
            (self.main_mode.suites.is_empty(), "main mode has no suite"),
        ];
        wrong.iter().filter(|(is_so, _)| *is_so).map(|(_, what)| *what).collect()
    }

    /// Returns the addresses of the tunnels' other ends.
    pub(super) fn peers(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.tunnels.iter().map(|tunnel| tunnel.outside_ip)
    }

    /// Reads the lines of `keys.txt` for these tunnels; what is wrong never quotes a key.
    pub(super) fn keys(&self, text: &Unshown) -> Result<Keys, String> {
        let words = text.expose().lines().filter_map(|line| line.split_once(' '));
        let given = words.filter_map(|(address, key)| Some((address.parse().ok()?, key)));
        let given: BTreeMap<Ipv4Addr, &str> = given.collect();
        let mut keys = Keys::new();
        for TunnelTo { name, outside_ip, .. } in &self.tunnels {
            let key = given.get(outside_ip).copied().filter(|key| is_key(key));
            let key = key
                .ok_or_else(|| format!("keys.txt: the key of {name} is not one that AWS allows"))?;
            if keys.values().any(|other| other.expose() == key) {
                return Err("keys.txt: two tunnels have the same key".to_owned());
            }
            keys.insert(*outside_ip, Unshown::new(key));
        }
        Ok(keys)
    }
}

fn is_key(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    (8..=64).contains(&text.len()) && !text.starts_with('0') && text.chars().all(is_plain)
}

/// What `manifest.json` says of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) id: String,
    needs: Vec<String>,
    #[serde(default)]
    pub(super) reboot: bool,
    #[serde(default)]
    pub(super) guard: bool,
    pub(super) on: Vec<Device>,
}

/// Reads the list of the steps, which must come after what they need.
pub(super) fn manifest(text: &str) -> Result<Vec<Listed>, String> {
    let steps: Vec<Listed> = serde_json::from_str(text)
        .map_err(|_| "manifest.json cannot be read as JSON".to_owned())?;
    for (n, Listed { id, needs, .. }) in steps.iter().enumerate() {
        let is_late = |need: &&String| !steps[..n].iter().any(|before| before.id == **need);
        if let Some(need) = needs.iter().find(is_late) {
            let why = "which does not come before it";
            return Err(format!("manifest.json: {id} needs {need}, {why}"));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::PARAMETERS;
    use crate::sandbox::host::stand::tests::Setup;

    fn parameters() -> String {
        let bundle = Setup::default().bundle();
        String::from_utf8(bundle.files[PARAMETERS].to_vec()).unwrap()
    }

    #[test]
    fn parameters_that_cannot_be_are_named() {
        let text = parameters();
        let read = Parameters::read(&text).unwrap();
        assert_eq!(read.tunnels.len(), 2);
        let wrong = text.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(Parameters::read(&wrong).unwrap_err(), "parameters.json: version is not 1");
        assert!(Parameters::read("{}").unwrap_err().starts_with("parameters.json: "));
    }

    #[test]
    fn keys_that_aws_would_not_take_are_refused_without_a_word_of_them() {
        let read = Parameters::read(&parameters()).unwrap();
        let of = |one: &str, two: &str| {
            read.keys(&Unshown::new(format!("203.0.113.1 {one}\n203.0.113.2 {two}\n")))
        };
        assert_eq!(of("aaaaaaaa", "bbbbbbbb").unwrap().len(), 2);
        for (one, two) in [("0aaaaaaa", "bbbbbbbb"), ("aaaaaaaa", "aaaaaaaa"), ("short", "b")] {
            let error = of(one, two).unwrap_err();
            assert!(error.starts_with("keys.txt: ") && !error.contains(one), "{error}");
        }
    }

    #[test]
    fn a_step_comes_after_what_it_needs() {
        let text = r#"[{"id": "a", "needs": ["b"], "on": ["ec2"]}]"#;
        assert!(manifest(text).unwrap_err().contains("a needs b"));
        assert!(manifest("{}").is_err());
    }
}
