//! The values that flags, file and record have in common.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ipnet::Ipv4Net;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// An IPv4 network that begins where it says: AWS keeps no bits of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr(pub Ipv4Net);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCidr {
    /// It is no address with a length.
    #[error("{0:?} is not an IPv4 network such as 10.0.0.0/16")]
    Malformed(String),
    /// It names a host in a network.
    #[error("{0} is a host's address; the network is {net}", net = .0.trunc())]
    Host(Ipv4Net),
}

impl FromStr for Cidr {
    type Err = NoCidr;
    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let net: Ipv4Net = text.parse().map_err(|_| NoCidr::Malformed(text.to_owned()))?;
        if net == net.trunc() { Ok(Self(net)) } else { Err(NoCidr::Host(net)) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = NoCidr;
    fn try_from(text: String) -> Result<Self, NoCidr> {
        text.parse()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fingerprint of a host key, as `ssh-keygen -lf` shows it: `SHA256:` and 43 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Fingerprint(String);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fingerprint of a host key: ssh-keygen -lf shows it as SHA256: and 43 characters"
)]
pub struct NoFingerprint(String);

impl FromStr for Fingerprint {
    type Err = NoFingerprint;
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digest = text.strip_prefix("SHA256:").unwrap_or_default();
        match STANDARD_NO_PAD.decode(digest) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text.to_owned())),
            Ok(_) | Err(_) => Err(NoFingerprint(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NoFingerprint;
    fn try_from(text: String) -> Result<Self, NoFingerprint> {
        text.parse()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an API is reached: `http://` or `https://`, a host, perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(pub String);

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an endpoint such as http://127.0.0.1:4566")]
pub struct NoEndpoint(String);

impl FromStr for Endpoint {
    type Err = NoEndpoint;
    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default();
        let fits = !host.is_empty() && !text.contains(char::is_whitespace);
        if fits { Ok(Self(text.to_owned())) } else { Err(NoEndpoint(text.to_owned())) }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = NoEndpoint;
    fn try_from(text: String) -> Result<Self, NoEndpoint> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Several values: separated by commas or blanks in a flag, an array in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;
    fn from_str(text: &str) -> Result<Self, T::Err> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, value) in self.0.iter().enumerate() {
            let blank = if n == 0 { "" } else { " " };
            write!(f, "{blank}{value}")?;
        }
        Ok(())
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self)
    }
}

/// Which route tables: all that fit, none, or just these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<T> {
    /// All that fit.
    All,
    /// None.
    None,
    /// Just these.
    These(Vec<T>),
}

impl<T: FromStr> FromStr for Choice<T> {
    type Err = T::Err;
    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            list => list.parse().map(|List(these)| Self::These(these)),
        }
    }
}

impl<T: fmt::Display + Clone> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::These(these) => List(these.clone()).fmt(f),
        }
    }
}

impl<T: Serialize> Serialize for Choice<T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => to.serialize_str("all"),
            Self::None => to.serialize_str("none"),
            Self::These(these) => these.serialize(to),
        }
    }
}

impl<'de, T> Deserialize<'de> for Choice<T>
where
    T: FromStr<Err: fmt::Display> + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<T> {
            Word(String),
            These(Vec<T>),
        }
        match Written::deserialize(from)? {
            Written::Word(word) => word.parse().map_err(de::Error::custom),
            Written::These(these) => Ok(Self::These(these)),
        }
    }
}

/// How the scripts reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// By AWS Systems Manager, if the instance is managed by it: needs no open port and no password.
    Ssm,
    /// Pushed over SSH.
    Ssh,
    /// Pushed over WinRM with TLS.
    Winrm,
    /// Pushed over WinRM without TLS, every message sealed by NTLM.
    WinrmHttp,
    /// Written into the folder `cgw-STACK`, for a person to run.
    Files,
    /// Not at all: the AWS side only.
    None,
}

impl Via {
    /// Says whether cgw itself runs the scripts on the server.
    #[must_use]
    pub fn is_remote(self) -> bool {
        match self {
            Self::Ssm | Self::Ssh | Self::Winrm | Self::WinrmHttp => true,
            Self::Files | Self::None => false,
        }
    }
}

macro_rules! by_value_enum {
    ($($name:ident),*) => {$(
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                clap::ValueEnum::from_str(text, false)
            }
        }
    )*};
}

use crate::tunnel::Crypto;
by_value_enum!(Via, Crypto);

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ssm => "ssm",
            Self::Ssh => "ssh",
            Self::Winrm => "winrm",
            Self::WinrmHttp => "winrm-http",
            Self::Files => "files",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_commas_and_blanks_and_prints_blanks() {
        let list: List<u16> = "22,3389 80".parse().unwrap();
        assert_eq!(list.0, [22, 3389, 80]);
        assert_eq!(list.to_string(), "22 3389 80");
        assert!("22,x".parse::<List<u16>>().is_err());
    }

    #[test]
    fn a_choice_is_a_word_or_a_list() {
        assert_eq!("none".parse::<Choice<u16>>(), Ok(Choice::None));
        assert_eq!("1,2".parse::<Choice<u16>>(), Ok(Choice::These(vec![1, 2])));
        assert_eq!(Choice::These(vec![1, 2]).to_string(), "1 2");
    }
}
