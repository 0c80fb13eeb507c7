//! What a server that is launched runs at its first start, so that somebody can log in.

use std::fmt::Write as _;

use ipnet::Ipv4Net;

/// How a new server is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// OpenSSH, for the key pair of the launch.
    Ssh,
    /// WinRM over TLS.
    Winrm,
}

/// Returns the user data that opens a new Windows Server to some networks, and to no others.
///
/// EC2 user guide, «Run commands on your Windows instance at launch»: what stands between the marks
/// runs once, as an administrator.
#[must_use]
pub fn user_data(opening: Opening, admins: &[Ipv4Net]) -> String {
    let script = match opening {
        Opening::Ssh => include_str!("../../playbooks/first-start/ssh.ps1"),
        Opening::Winrm => include_str!("../../playbooks/first-start/winrm.ps1"),
    };
    let networks: Vec<String> = admins.iter().map(|cidr| format!("'{cidr}'")).collect();
    let mut text = String::from("<powershell>\n");
    writeln!(text, "$admins = @({})", networks.join(", ")).expect("a String takes all");
    text.push_str(script);
    text.push_str("</powershell>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_server_is_open_to_the_administrators_networks_only() {
        let admins = ["198.51.100.0/24".parse().unwrap(), "192.0.2.7/32".parse().unwrap()];
        for opening in [Opening::Ssh, Opening::Winrm] {
            let text = user_data(opening, &admins);
            let begin = "<powershell>\n$admins = @('198.51.100.0/24', '192.0.2.7/32')\n";
            assert!(text.starts_with(begin), "{text}");
            assert_eq!(text.matches("-RemoteAddress $admins").count(), 1);
            assert_eq!(text.matches("New-NetFirewallRule").count(), 1);
            // EC2 user guide: at most 16 KB before it is encoded.
            assert!(text.len() < 16_384);
        }
    }
}
