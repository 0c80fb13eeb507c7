"""Writes what a connection's owner downloads: the XML for any device, and AWS's text for a Windows Server."""

import ipaddress

from .tunnels import first

# Shape: batfish VpnConnectionTest.json; `vpn_connection_attributes` of static connections: TF #15806.
CIPHERS = {
    "AES128": "aes-128-cbc",
    "AES256": "aes-256-cbc",
    "AES128-GCM-16": "aes-128-gcm-16",
    "AES256-GCM-16": "aes-256-gcm-16",
}
# sha1 and hmac-sha1-96 have been seen; the names of the others are a belief.
HASHES = {"SHA1": "sha1", "SHA2-256": "sha256", "SHA2-384": "sha384", "SHA2-512": "sha512"}
CODES = {
    "SHA1": "hmac-sha1-96",
    "SHA2-256": "hmac-sha2-256-128",
    "SHA2-384": "hmac-sha2-384-192",
    "SHA2-512": "hmac-sha2-512-256",
}


def xml(connection, customer_ip: str, customer_asn: int, amazon_asn: int) -> str:
    asns = None if connection.static else (customer_asn, amazon_asn)
    tunnels = [_tunnel(t, connection.shown_key(t), customer_ip, asns) for t in connection.tunnels]
    # The order of the two elements is no promise, so it is not always the same one.
    if connection.swapped_in_xml:
        tunnels.reverse()
    attributes = (
        "  <vpn_connection_attributes>NoBGPVPNConnection</vpn_connection_attributes>\n" if connection.static else ""
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<vpn_connection id="{connection.id}">\n'
        f"  <customer_gateway_id>{connection.customer_gateway}</customer_gateway_id>\n"
        f"  <vpn_gateway_id>{connection.vpn_gateway or ''}</vpn_gateway_id>\n"
        "  <vpn_connection_type>ipsec.1</vpn_connection_type>\n"
        f"{attributes}{''.join(tunnels)}"
        "</vpn_connection>"
    )


def _tunnel(tunnel, key, customer_ip, asns):
    _, amazon, customer, _ = ipaddress.ip_network(tunnel["TunnelInsideCidr"])
    our_asn, amazon_asn = asns or (None, None)
    our_end = _end("customer_gateway", customer_ip, customer, our_asn)
    amazon_end = _end("vpn_gateway", tunnel["OutsideIpAddress"], amazon, amazon_asn)
    return f"""  <ipsec_tunnel>
{our_end}{amazon_end}\
    <ike>
      <authentication_protocol>{HASHES[first(tunnel, "Phase1IntegrityAlgorithms")]}</authentication_protocol>
      <encryption_protocol>{CIPHERS[first(tunnel, "Phase1EncryptionAlgorithms")]}</encryption_protocol>
      <lifetime>{tunnel.get("Phase1LifetimeSeconds", 28800)}</lifetime>
      <perfect_forward_secrecy>group{first(tunnel, "Phase1DHGroupNumbers")}</perfect_forward_secrecy>
      <mode>main</mode>
      <pre_shared_key>{key}</pre_shared_key>
    </ike>
    <ipsec>
      <protocol>esp</protocol>
      <authentication_protocol>{CODES[first(tunnel, "Phase2IntegrityAlgorithms")]}</authentication_protocol>
      <encryption_protocol>{CIPHERS[first(tunnel, "Phase2EncryptionAlgorithms")]}</encryption_protocol>
      <lifetime>{tunnel.get("Phase2LifetimeSeconds", 3600)}</lifetime>
      <perfect_forward_secrecy>group{first(tunnel, "Phase2DHGroupNumbers")}</perfect_forward_secrecy>
      <mode>tunnel</mode>
      <clear_df_bit>true</clear_df_bit>
      <fragmentation_before_encryption>true</fragmentation_before_encryption>
      <tcp_mss_adjustment>1379</tcp_mss_adjustment>
      <dead_peer_detection>
        <interval>10</interval>
        <retries>3</retries>
      </dead_peer_detection>
    </ipsec>
  </ipsec_tunnel>
"""


def _end(name, outside, inside, asn):
    bgp = (
        ""
        if asn is None
        else f"""      <bgp>
        <asn>{asn}</asn>
        <hold_time>30</hold_time>
      </bgp>
"""
    )
    return f"""    <{name}>
      <tunnel_outside_address>
        <ip_address>{outside}</ip_address>
      </tunnel_outside_address>
      <tunnel_inside_address>
        <ip_address>{inside}</ip_address>
        <network_mask>255.255.255.252</network_mask>
        <network_cidr>30</network_cidr>
      </tunnel_inside_address>
{bgp}    </{name}>
"""


def windows(connection, customer_ip: str) -> str:
    """The form of VPN, "Configure Windows Server as a customer gateway device".

    It shows the minimum algorithms whatever the tunnel's options say, as AWS's own does: VPN, "Download the
    configuration file".
    """
    head = f"""! VPN connection {connection.id}
! For Windows Server 2012 R2 behind {customer_ip}. An example only: it may not match the connection's tunnel options.

"""
    return head + "\n".join(
        _windows_tunnel(connection, customer_ip, number, tunnel) for number, tunnel in enumerate(connection.tunnels, 1)
    )


def _windows_tunnel(connection, customer_ip, number, tunnel):
    name, remote, key = (
        connection.vpn_gateway or connection.id,
        tunnel["OutsideIpAddress"],
        connection.shown_key(tunnel),
    )
    return f"""{name} Tunnel{number}
--------------------------------------------------------------------
Local Tunnel Endpoint:       {customer_ip}
Remote Tunnel Endpoint:      {remote}
Endpoint 1:                  [Your_Static_Route_IP_Prefix]
Endpoint 2:                  [Your_VPC_CIDR_Block]
Preshared key:               {key}

MainModeSecMethods:        DHGroup2-AES128-SHA1
MainModeKeyLifetime:       480min,0sess
QuickModeSecMethods:       ESP:SHA1-AES128+60min+100000kb
QuickModePFS:              DHGroup2

netsh advfirewall consec add rule Name="{name} Tunnel {number}" ^
Enable=Yes Profile=any Type=Static Mode=Tunnel ^
LocalTunnelEndpoint=Windows_Server_Private_IP_address ^
RemoteTunnelEndpoint={remote} Endpoint1=Your_Static_Route_IP_Prefix ^
Endpoint2=Your_VPC_CIDR_Block Protocol=Any Action=RequireInClearOut ^
Auth1=ComputerPSK Auth1PSK={key} ^
QMSecMethods=ESP:SHA1-AES128+60min+100000kb ^
ExemptIPsecProtectedConnections=No ApplyAuthz=No QMPFS=dhgroup2
"""
