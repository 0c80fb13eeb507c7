"""VPN connections: their two tunnels, static routes, telemetry and downloads."""

import ipaddress
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from . import configuration, customer_gateways, tunnels, vpn_gateways
from .account import Life
from .errors import invalid, not_found, refusal
from .filters import select

# 9005b6c1 (Generic) and 5fb390ba are in AWS's own examples. The identifier of the Windows text is in no public source:
# clients must look it up by name, so any will do.
DEVICES = {
    "9005b6c1": ("Generic", "Generic", "Vendor Agnostic"),
    "5fb390ba": ("Cisco Systems, Inc.", "ISR Series Routers", "IOS 12.4+"),
    "b3c1f2a7": ("Microsoft", "Windows Server", "2008 R2"),
    "d2a4e6c8": ("Microsoft", "Windows Server", "2012 R2"),
}
WINDOWS = {i for i, (vendor, _, _) in DEVICES.items() if vendor == "Microsoft"}


@dataclass
class Connection:
    id: str
    customer_gateway: str
    vpn_gateway: str | None
    transit_gateway: str | None
    static: bool
    options: dict
    tunnels: list[dict]
    keys_in_secret: bool
    life: Life
    routes: dict[str, Life] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    # Neither the XML nor Options.TunnelOptions promises an order, nor the same one: each connection draws both.
    swapped_in_xml: bool = field(default_factory=lambda: random.random() < 0.5)
    swapped_in_options: bool = field(default_factory=lambda: random.random() < 0.5)
    # Outside address -> the replacement of that endpoint: it is down meanwhile.
    replacements: dict[str, Life] = field(default_factory=dict)

    def shown_key(self, tunnel: dict) -> str:
        # TF #42819
        return "REDACTED" if self.keys_in_secret else tunnel["PreSharedKey"]

    def prefixes(self) -> list[str]:
        return [cidr for cidr, life in self.routes.items() if life.state == "available"]

    def up_since(self, tunnel: dict) -> float | None:
        """When the tunnel came up, None while it is down. Only the first so many are ever used."""
        owner = self.life.owner
        replacement = self.replacements.get(tunnel["OutsideIpAddress"])
        if owner.tunnel_up is None or self.life.state != "available" or (replacement and replacement.state != "done"):
            return None
        if self.tunnels.index(tunnel) >= owner.tunnels_up:
            return None
        since = self.created + owner.tunnel_up
        return since if time.time() >= since else None

    def is_up(self) -> bool:
        return any(self.up_since(t) is not None for t in self.tunnels)


def find(call, identifier: str) -> Connection:
    connection = call.region.vpn_connections.get(identifier)
    if connection is None or connection.life.is_gone:
        raise not_found("vpnConnection", identifier)
    return connection


def _view(call, connection, state=None):
    state = state or connection.life.state
    shown = [t | {"PreSharedKey": connection.shown_key(t)} for t in connection.tunnels]
    if connection.swapped_in_options:
        shown.reverse()
    view = {
        "VpnConnectionId": connection.id,
        "State": state,
        "Type": "ipsec.1",
        "Category": "VPN",
        "CustomerGatewayId": connection.customer_gateway,
        "GatewayAssociationState": "associated" if connection.vpn_gateway else "not-associated",
        "Options": connection.options | {"StaticRoutesOnly": connection.static, "TunnelOptions": shown},
        "Routes": [
            {"DestinationCidrBlock": cidr, "Source": "Static", "State": life.state}
            for cidr, life in connection.routes.items()
            if not life.is_gone
        ],
        "Tags": call.tags(connection.id),
        "VgwTelemetry": _telemetry(connection),
    }
    if connection.vpn_gateway:
        view["VpnGatewayId"] = connection.vpn_gateway
    if connection.transit_gateway:
        view["TransitGatewayId"] = connection.transit_gateway
    if connection.keys_in_secret:
        owner = f"{call.context.region}:{call.context.account_id}"
        view["PreSharedKeyArn"] = f"arn:aws:secretsmanager:{owner}:secret:s2svpn!{connection.id}"
    # API, VpnConnection: "only if the VPN connection is in the pending or available state".
    if state in ("pending", "available"):
        customer = call.region.customer_gateways[connection.customer_gateway]
        gateway = call.region.vpn_gateways.get(connection.vpn_gateway)
        view["CustomerGatewayConfiguration"] = configuration.xml(
            connection, customer.ip or "", customer.asn, gateway.asn if gateway else 64512
        )
    return view


def _telemetry(connection):
    found = []
    for tunnel in connection.tunnels:
        since = connection.up_since(tunnel)
        found.append(
            {
                "OutsideIpAddress": tunnel["OutsideIpAddress"],
                "Status": "DOWN" if since is None else "UP",
                "StatusMessage": "",
                "AcceptedRouteCount": 0 if since is None else len(connection.prefixes()),
                "LastStatusChange": datetime.fromtimestamp(since or connection.created, UTC),
            }
        )
    return sorted(found, key=lambda t: ipaddress.ip_address(t["OutsideIpAddress"]))


def CreateVpnConnection(call):
    request, options = call.request, call.request.get("Options") or {}
    customer = customer_gateways.find(call, request["CustomerGatewayId"])
    gateway = vpn_gateways.find(call, request["VpnGatewayId"]) if request.get("VpnGatewayId") else None
    if request["Type"] != "ipsec.1":
        raise invalid("type", request["Type"])
    if gateway and request.get("TransitGatewayId"):
        raise refusal("InvalidParameterCombination", "Give a VPN gateway or a transit gateway, not both.")
    asked = [dict(t) for t in options.get("TunnelOptions") or []]
    if len(asked) > 2:
        raise invalid("TunnelOptions", len(asked), "A connection has two tunnels.")
    for one in asked:
        tunnels.check(one)
    for name in ("LocalIpv4NetworkCidr", "RemoteIpv4NetworkCidr"):
        if name in options:
            _network(name, options[name])

    alive = [c for c in call.region.vpn_connections.values() if not c.life.is_leaving]
    for connection in alive:
        if connection.customer_gateway == customer.id and (gateway or connection.vpn_gateway):
            if gateway and connection.vpn_gateway == gateway.id:
                # API: "This is an idempotent operation"; TF #17631: the pair of gateways is what is compared.
                return {"VpnConnection": _view(call, connection)}
            # ERR
            raise refusal("InvalidCustomerGateway.DuplicateIpAddress", "Conflict among chosen gateway IP addresses.")
    # ERR: both must be available.
    if customer.life.state != "available":
        raise refusal("InvalidCustomerGatewayState", "The customer gateway is not in the available state.")
    if gateway and gateway.life.state != "available":
        raise refusal("InvalidVpnGatewayState", "The virtual private gateway is not in an available state.")
    if gateway and gateway.asn == customer.asn:
        # ERR
        raise refusal("AsnConflict", "The ASN of the customer gateway is that of the virtual private gateway.")
    neighbours = [c for c in alive if gateway and c.vpn_gateway == gateway.id]
    quotas = call.account.quotas
    if len(alive) >= quotas["vpn-connections"] or len(neighbours) >= quotas["vpn-connections-per-gateway"]:
        # ERR
        raise refusal("VpnConnectionLimitExceeded", "The maximum number of VPN connections has been reached.")

    taken = {t["TunnelInsideCidr"] for c in neighbours for t in c.tunnels}
    made = [tunnels.make(o, next(call.account.tunnel_addresses), taken) for o in (asked + [{}, {}])[:2]]
    # LocalStack's own object carries the tags and is what CreateTags looks for.
    carrier = call.backend.create_vpn_connection(
        "ipsec.1", customer.id, request.get("VpnGatewayId"), request.get("TransitGatewayId"), call.wanted_tags()
    )
    connection = Connection(
        id=carrier.id,
        customer_gateway=customer.id,
        vpn_gateway=request.get("VpnGatewayId"),
        transit_gateway=request.get("TransitGatewayId"),
        static=bool(options.get("StaticRoutesOnly")),
        options={
            "EnableAcceleration": bool(options.get("EnableAcceleration")),
            "LocalIpv4NetworkCidr": options.get("LocalIpv4NetworkCidr") or "0.0.0.0/0",
            "RemoteIpv4NetworkCidr": options.get("RemoteIpv4NetworkCidr") or "0.0.0.0/0",
            "OutsideIpAddressType": options.get("OutsideIpAddressType") or "PublicIpv4",
            "TunnelInsideIpVersion": options.get("TunnelInsideIpVersion") or "ipv4",
            "TunnelBandwidth": options.get("TunnelBandwidth") or "standard",
        },
        tunnels=made,
        keys_in_secret=request.get("PreSharedKeyStorage") == "SecretsManager",
        life=Life(call.account, "pending", "available"),
    )
    call.region.vpn_connections[connection.id] = connection
    return {"VpnConnection": _view(call, connection, connection.life.passing)}


def DescribeVpnConnections(call):
    known, wanted = call.region.vpn_connections, call.ids("VpnConnectionIds")
    for identifier in wanted:
        if identifier not in known:
            raise not_found("vpnConnection", identifier)
    customers = call.region.customer_gateways
    views = [_view(call, known[i]) for i in wanted or known]
    return {
        "VpnConnections": select(
            views,
            call.request.get("Filters"),
            {
                "bgp-asn": lambda v: customers[v["CustomerGatewayId"]].asn,
                "customer-gateway-configuration": "CustomerGatewayConfiguration",
                "customer-gateway-id": "CustomerGatewayId",
                "option.static-routes-only": lambda v: v["Options"]["StaticRoutesOnly"],
                "route.destination-cidr-block": lambda v: [r["DestinationCidrBlock"] for r in v["Routes"]],
                "state": "State",
                "transit-gateway-id": "TransitGatewayId",
                "type": "Type",
                "vpn-connection-id": "VpnConnectionId",
                "vpn-gateway-id": "VpnGatewayId",
            },
        )
    }


def DeleteVpnConnection(call):
    connection = find(call, call.request["VpnConnectionId"])
    if not connection.life.is_leaving:
        connection.life.turn("deleting", "deleted")


def _network(name, text):
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError:
        raise invalid(name, text, "This is not a valid CIDR block.") from None


def _connection_for_routes(call):
    connection = find(call, call.request["VpnConnectionId"])
    # ERR, both; the connection must be available first.
    if connection.life.state != "available":
        raise refusal("InvalidVpnConnection.InvalidState", "The VPN connection must be in the available state.")
    if not connection.static:
        raise refusal("InvalidVpnConnection.InvalidType", "The VPN connection does not support static routes.")
    return connection, _network("destinationCidrBlock", call.request["DestinationCidrBlock"])


def CreateVpnConnectionRoute(call):
    connection, cidr = _connection_for_routes(call)
    if cidr not in connection.routes or connection.routes[cidr].is_leaving:
        connection.routes[cidr] = Life(call.account, "pending", "available")


def DeleteVpnConnectionRoute(call):
    connection, cidr = _connection_for_routes(call)
    if cidr not in connection.routes or connection.routes[cidr].is_gone:
        # belief
        raise refusal("InvalidRoute.NotFound", f"The specified route {cidr} does not exist")
    connection.routes[cidr].turn("deleting", "deleted")


def _tunnel_of(call, connection):
    wanted = call.request["VpnTunnelOutsideIpAddress"]
    for tunnel in connection.tunnels:
        if tunnel["OutsideIpAddress"] == wanted:
            return tunnel
    raise invalid("vpnTunnelOutsideIpAddress", wanted, "It is not an address of this connection.")


def ModifyVpnTunnelOptions(call):
    """API: one tunnel a call, named by its outside address; the endpoint is replaced, so that tunnel goes down."""
    connection = find(call, call.request["VpnConnectionId"])
    tunnel, wanted = _tunnel_of(call, connection), dict(call.request.get("TunnelOptions") or {})
    if connection.life.state != "available":
        raise refusal("IncorrectState", "The VPN connection must be in the available state.")
    tunnels.check(wanted)
    taken = {
        t["TunnelInsideCidr"]
        for c in call.region.vpn_connections.values()
        if c.vpn_gateway == connection.vpn_gateway and not c.life.is_gone
        for t in c.tunnels
        if t is not tunnel
    }
    if wanted.get("TunnelInsideCidr") in taken:
        raise refusal("InvalidCidr.InUse", f"The inside tunnel CIDR {wanted['TunnelInsideCidr']} is already in use.")
    tunnel.update(tunnels.shown(wanted))
    if storage := call.request.get("PreSharedKeyStorage"):
        connection.keys_in_secret = storage == "SecretsManager"
    connection.replacements[tunnel["OutsideIpAddress"]] = Life(call.account, "replacing", "done")
    connection.life.turn("modifying", "available")
    return {"VpnConnection": _view(call, connection, "modifying")}


def ModifyVpnConnectionOptions(call):
    connection = find(call, call.request["VpnConnectionId"])
    if connection.life.state != "available":
        raise refusal("IncorrectState", "The VPN connection must be in the available state.")
    for name in ("LocalIpv4NetworkCidr", "RemoteIpv4NetworkCidr"):
        if call.request.get(name):
            connection.options[name] = _network(name, call.request[name])
    connection.life.turn("modifying", "available")
    return {"VpnConnection": _view(call, connection, "modifying")}


def GetActiveVpnTunnelStatus(call):
    """API. What a tunnel that is down answers is a belief: nothing was negotiated, so nothing is told."""
    connection = find(call, call.request["VpnConnectionId"])
    tunnel = _tunnel_of(call, connection)
    status = {"ProvisioningStatus": "available"}
    if connection.up_since(tunnel) is not None:
        status |= {
            "IkeVersion": tunnels.settled(tunnel, "IkeVersions"),
            "Phase1EncryptionAlgorithm": tunnels.settled(tunnel, "Phase1EncryptionAlgorithms"),
            "Phase1IntegrityAlgorithm": tunnels.settled(tunnel, "Phase1IntegrityAlgorithms"),
            "Phase1DHGroup": tunnels.settled(tunnel, "Phase1DHGroupNumbers"),
            "Phase2EncryptionAlgorithm": tunnels.settled(tunnel, "Phase2EncryptionAlgorithms"),
            "Phase2IntegrityAlgorithm": tunnels.settled(tunnel, "Phase2IntegrityAlgorithms"),
            "Phase2DHGroup": tunnels.settled(tunnel, "Phase2DHGroupNumbers"),
        }
    return {"ActiveVpnTunnelStatus": status}


def GetVpnConnectionDeviceTypes(call):
    return {
        "VpnConnectionDeviceTypes": [
            {"VpnConnectionDeviceTypeId": i, "Vendor": vendor, "Platform": platform, "Software": software}
            for i, (vendor, platform, software) in DEVICES.items()
        ]
    }


def GetVpnConnectionDeviceSampleConfiguration(call):
    connection = find(call, call.request["VpnConnectionId"])
    device = call.request["VpnConnectionDeviceTypeId"]
    if device not in DEVICES:
        raise invalid("vpnConnectionDeviceTypeId", device)
    version = call.request.get("InternetKeyExchangeVersion") or "ikev1"
    sample = call.request.get("SampleType") or "compatibility"
    if version not in ("ikev1", "ikev2"):
        raise invalid("internetKeyExchangeVersion", version)
    if sample not in ("compatibility", "recommended"):
        raise invalid("sampleType", sample)
    # API: no recommended sample for IKEv1. The text for Windows has IKEv1 alone.
    if (version, sample) == ("ikev1", "recommended") or (device in WINDOWS and version == "ikev2"):
        raise refusal("UnsupportedOperationException", f"There is no {sample} sample for {version}.")
    if connection.life.state not in ("pending", "available"):
        raise refusal("IncorrectState", "The VPN connection has no configuration in this state.")
    customer = call.region.customer_gateways[connection.customer_gateway]
    if device in WINDOWS:
        text = configuration.windows(connection, customer.ip or "")
    else:
        text = _view(call, connection)["CustomerGatewayConfiguration"]
    return {"VpnConnectionDeviceSampleConfiguration": text}
