//! What a connection's owner downloads: the XML for any device, and AWS's text for a Windows Server.
//!
//! Shapes: batfish's samples of the XML; the VPN user guide's «Configure Windows Server».

use std::fmt::Write as _;

use super::connections::{Connection, connection};
use super::tunnels::Tunnel;
use super::{Answer, Call};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{list, map};

/// Ids and names of devices; the id of the text for Windows is in no public source.
const DEVICES: &[(&str, &str, &str, &str)] = &[
    ("9005b6c1", "Generic", "Generic", "Vendor Agnostic"),
    ("5fb390ba", "Cisco Systems, Inc.", "ISR Series Routers", "IOS 12.4+"),
    ("d2a4e6c8", "Microsoft", "Windows Server", "2012 R2"),
];

/// The API's words and those of the file.
const WORDS: &[(&str, &str)] = &[
    ("AES128", "aes-128-cbc"),
    ("AES256", "aes-256-cbc"),
    ("AES128-GCM-16", "aes-128-gcm-16"),
    ("AES256-GCM-16", "aes-256-gcm-16"),
    ("SHA1", "sha1"),
    ("SHA2-256", "sha256"),
    ("SHA2-384", "sha384"),
    ("SHA2-512", "sha512"),
];

fn word(text: &str) -> &str {
    WORDS.iter().find(|(own, _)| *own == text).map_or(text, |(_, theirs)| theirs)
}

pub(super) fn xml(id: &str, one: &Connection) -> String {
    let customer = one.customer_ip.to_string();
    let mut tunnels: Vec<String> = one.tunnels.iter().map(|t| tunnel_xml(t, &customer)).collect();
    // The order of the two elements is no promise, so it is not always the same one.
    if one.is_swapped[1] {
        tunnels.reverse();
    }
    let attributes = if one.is_static {
        "<vpn_connection_attributes>NoBGPVPNConnection</vpn_connection_attributes>"
    } else {
        ""
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<vpn_connection id=\"{id}\">\
         <customer_gateway_id>{}</customer_gateway_id><vpn_gateway_id>{}</vpn_gateway_id>\
         <vpn_connection_type>ipsec.1</vpn_connection_type>{attributes}{}</vpn_connection>",
        one.customer,
        one.gateway,
        tunnels.concat()
    )
}

fn tunnel_xml(tunnel: &Tunnel, customer: &str) -> String {
    let mut inside = tunnel.inside.hosts().map(|ip| ip.to_string());
    let (amazon, ours) = (inside.next().unwrap_or_default(), inside.next().unwrap_or_default());
    let end = |name: &str, outside: &str, inside: &str| {
        format!(
            "<{name}><tunnel_outside_address><ip_address>{outside}</ip_address>\
             </tunnel_outside_address><tunnel_inside_address><ip_address>{inside}</ip_address>\
             <network_mask>255.255.255.252</network_mask><network_cidr>30</network_cidr>\
             </tunnel_inside_address></{name}>"
        )
    };
    let hmac = match tunnel.first("Phase2IntegrityAlgorithm") {
        "SHA1" => "hmac-sha1-96",
        "SHA2-256" => "hmac-sha2-256-128",
        "SHA2-384" => "hmac-sha2-384-192",
        _ => "hmac-sha2-512-256",
    };
    format!(
        "<ipsec_tunnel>{}{}<ike><authentication_protocol>{}</authentication_protocol>\
         <encryption_protocol>{}</encryption_protocol><lifetime>{}</lifetime>\
         <perfect_forward_secrecy>group{}</perfect_forward_secrecy><mode>main</mode>\
         <pre_shared_key>{}</pre_shared_key></ike><ipsec><protocol>esp</protocol>\
         <authentication_protocol>{hmac}</authentication_protocol>\
         <encryption_protocol>{}</encryption_protocol><lifetime>{}</lifetime>\
         <perfect_forward_secrecy>group{}</perfect_forward_secrecy><mode>tunnel</mode>\
         <clear_df_bit>true</clear_df_bit>\
         <fragmentation_before_encryption>true</fragmentation_before_encryption>\
         <tcp_mss_adjustment>1379</tcp_mss_adjustment><dead_peer_detection><interval>10</interval>\
         <retries>3</retries></dead_peer_detection></ipsec></ipsec_tunnel>",
        end("customer_gateway", customer, &ours),
        end("vpn_gateway", &tunnel.outside.to_string(), &amazon),
        word(tunnel.first("Phase1IntegrityAlgorithm")),
        word(tunnel.first("Phase1EncryptionAlgorithm")),
        tunnel.number("Phase1LifetimeSeconds"),
        tunnel.first("Phase1DHGroupNumber"),
        tunnel.key.expose(),
        word(tunnel.first("Phase2EncryptionAlgorithm")),
        tunnel.number("Phase2LifetimeSeconds"),
        tunnel.first("Phase2DHGroupNumber"),
    )
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of many actions")]
pub(super) fn types(_: &mut Call<'_>) -> Answer {
    let device = |(id, vendor, platform, software): &(&str, &str, &str, &str)| {
        map([
            ("vpnConnectionDeviceTypeId", (*id).into()),
            ("vendor", (*vendor).into()),
            ("platform", (*platform).into()),
            ("software", (*software).into()),
        ])
    };
    Ok(map([("vpnConnectionDeviceTypeSet", list(DEVICES.iter().map(device)))]))
}

pub(super) fn sample(call: &mut Call<'_>) -> Answer {
    let (id, one) = connection(call)?;
    let device = call.query.must("VpnConnectionDeviceTypeId")?;
    let Some((_, vendor, ..)) = DEVICES.iter().find(|(own, ..)| *own == device) else {
        return Err(Refusal::invalid("vpnConnectionDeviceTypeId", device));
    };
    let version = call.query.text("InternetKeyExchangeVersion").unwrap_or("ikev2");
    let sample = call.query.text("SampleType").unwrap_or("compatibility");
    let is_windows = *vendor == "Microsoft";
    if (version, sample) == ("ikev1", "recommended") || (is_windows && version != "ikev1") {
        let text = format!("There is no {sample} sample for {version}.");
        return Err(Refusal::new("UnsupportedOperationException", text));
    }
    let text = if is_windows { windows(&id, &one) } else { xml(&id, &one) };
    Ok(map([("vpnConnectionDeviceSampleConfiguration", text.into())]))
}

/// AWS's text shows the least algorithms, whatever the tunnels' options say.
fn windows(id: &str, one: &Connection) -> String {
    let mut text =
        format!("! VPN connection {id}\n! For Windows Server 2012 R2. An example only.\n");
    for (n, tunnel) in one.tunnels.iter().enumerate() {
        let (n, outside, key) = (n + 1, tunnel.outside, tunnel.key.expose());
        let gateway = &one.gateway;
        let written = write!(
            text,
            "\n{gateway} Tunnel{n}\n\
             --------------------------------------------------------------------\n\
             Local Tunnel Endpoint:       {}\n\
             Remote Tunnel Endpoint:      {outside}\n\
             Endpoint 1:                  [Your_Static_Route_IP_Prefix]\n\
             Endpoint 2:                  [Your_VPC_CIDR_Block]\n\
             Preshared key:               {key}\n\n\
             MainModeSecMethods:        DHGroup2-AES128-SHA1\n\
             MainModeKeyLifetime:       480min,0sess\n\
             QuickModeSecMethods:       ESP:SHA1-AES128+60min+100000kb\n\
             QuickModePFS:              DHGroup2\n\n\
             netsh advfirewall consec add rule Name=\"{gateway} Tunnel {n}\" ^\n\
             Enable=Yes Profile=any Type=Static Mode=Tunnel ^\n\
             LocalTunnelEndpoint=Windows_Server_Private_IP_address ^\n\
             RemoteTunnelEndpoint={outside} Endpoint1=Your_Static_Route_IP_Prefix ^\n\
             Endpoint2=Your_VPC_CIDR_Block Protocol=Any Action=RequireInClearOut ^\n\
             Auth1=ComputerPSK Auth1PSK={key} ^\n\
             QMSecMethods=ESP:SHA1-AES128+60min+100000kb ^\n\
             ExemptIPsecProtectedConnections=No ApplyAuthz=No QMPFS=dhgroup2\n",
            one.customer_ip
        );
        written.expect("writing to a String cannot fail");
    }
    text
}
