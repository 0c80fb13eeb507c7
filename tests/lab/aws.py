"""Reads a connection's two endpoints out of what DescribeVpnConnections says, and nothing else."""

import xml.etree.ElementTree as xml
from dataclasses import dataclass, field
from itertools import product

from charon import GROUPS, Connection

# The API's words (VpnTunnelOptions) → strongSwan's.
CIPHERS = {"AES128": "aes128", "AES256": "aes256", "AES128-GCM-16": "aes128gcm16", "AES256-GCM-16": "aes256gcm16"}
HASHES = {"SHA1": "sha1", "SHA2-256": "sha256", "SHA2-384": "sha384", "SHA2-512": "sha512"}


@dataclass(frozen=True)
class Endpoint:
    """AWS's end of one tunnel. In the API's words the customer's network is «local», the VPC's «remote»."""

    outside: str
    customer: str
    key: str = field(repr=False)
    phase1: tuple
    phase2: tuple
    phase1_seconds: int
    phase2_seconds: int
    customer_network: str
    cloud_network: str

    def connection(self):
        return Connection(
            name="customer",
            local=self.outside,
            remote=self.customer,
            key=self.key,
            phase1=self.phase1,
            phase1_seconds=self.phase1_seconds,
            phase2=self.phase2,
            phase2_seconds=self.phase2_seconds,
            local_network=self.cloud_network,
            remote_network=self.customer_network,
        )


def read(answer):
    """The endpoints in AWS's order, from an answer that holds just one connection."""
    (connection,) = answer["VpnConnections"]
    return tuple(_endpoint(connection, tunnel) for tunnel in connection["Options"]["TunnelOptions"])


def _endpoint(connection, tunnel):
    def words(attribute):
        return [one["Value"] for one in tunnel[attribute]]

    def proposals(phase):
        # AWS has a list an attribute, and accepts each combination.
        lists = (words(phase + of) for of in ("EncryptionAlgorithms", "IntegrityAlgorithms", "DHGroupNumbers"))
        return tuple(_proposal(*choice) for choice in product(*lists))

    assert words("IkeVersions") == ["ikev1"]
    options = connection["Options"]
    return Endpoint(
        outside=tunnel["OutsideIpAddress"],
        customer=_customer(connection, tunnel["OutsideIpAddress"]),
        key=tunnel["PreSharedKey"],
        phase1=proposals("Phase1"),
        phase2=proposals("Phase2"),
        # The API leaves out what is at its default.
        phase1_seconds=tunnel.get("Phase1LifetimeSeconds", 28800),
        phase2_seconds=tunnel.get("Phase2LifetimeSeconds", 3600),
        customer_network=options["LocalIpv4NetworkCidr"],
        cloud_network=options["RemoteIpv4NetworkCidr"],
    )


def _proposal(cipher, integrity, group):
    # GCM protects integrity too.
    protection = [CIPHERS[cipher]] if "GCM" in cipher else [CIPHERS[cipher], HASHES[integrity]]
    return "-".join([*protection, GROUPS[group]])


def _customer(connection, outside):
    """The customer gateway's address, which only the configuration file tells, its tunnels in any order."""
    for tunnel in xml.fromstring(connection["CustomerGatewayConfiguration"]).iter("ipsec_tunnel"):
        if tunnel.findtext("vpn_gateway/tunnel_outside_address/ip_address").strip() == outside:
            return tunnel.findtext("customer_gateway/tunnel_outside_address/ip_address").strip()
    raise AssertionError(f"AWS's configuration file has no tunnel to {outside}")
