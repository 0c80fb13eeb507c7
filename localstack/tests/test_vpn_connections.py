"""VPN connections: options, downloads, static routes, telemetry."""

import re
from xml.etree import ElementTree

import pytest


def by_key(connection):
    return {t["PreSharedKey"]: t for t in connection["Options"]["TunnelOptions"]}


def xml_tunnels(connection):
    root = ElementTree.fromstring(connection["CustomerGatewayConfiguration"].encode())
    return root, {t.findtext("ike/pre_shared_key"): t for t in root.iter("ipsec_tunnel")}


FULL = {
    "TunnelInsideCidr": "169.254.44.40/30",
    "PreSharedKey": "first.Tunnel_Key.0123",
    "Phase1EncryptionAlgorithms": [{"Value": "AES256"}],
    "Phase2EncryptionAlgorithms": [{"Value": "AES256"}],
    "Phase1IntegrityAlgorithms": [{"Value": "SHA2-256"}],
    "Phase2IntegrityAlgorithms": [{"Value": "SHA2-256"}],
    "Phase1DHGroupNumbers": [{"Value": 14}],
    "Phase2DHGroupNumbers": [{"Value": 14}],
    "IKEVersions": [{"Value": "ikev1"}],
    "DPDTimeoutAction": "clear",
    "DPDTimeoutSeconds": 40,
    "StartupAction": "add",
}


def test_options_are_kept_and_shown(aws):
    made = aws.connection(
        options={
            "LocalIpv4NetworkCidr": "172.31.0.0/16",
            "RemoteIpv4NetworkCidr": "10.0.0.0/16",
            "TunnelOptions": [FULL, {"PreSharedKey": "second.Tunnel_Key.0123"}],
        }
    )
    assert made["State"] == "pending"
    shown = aws.the_connection(made["VpnConnectionId"])
    options = shown["Options"]
    assert (options["StaticRoutesOnly"], options["LocalIpv4NetworkCidr"]) == (True, "172.31.0.0/16")
    assert options["RemoteIpv4NetworkCidr"] == "10.0.0.0/16"
    tunnels = by_key(shown)
    first = tunnels["first.Tunnel_Key.0123"]
    assert first["Phase1DHGroupNumbers"] == [{"Value": 14}]
    assert first["IkeVersions"] == [{"Value": "ikev1"}]
    assert (first["DpdTimeoutAction"], first["DpdTimeoutSeconds"]) == ("clear", 40)
    second = tunnels["second.Tunnel_Key.0123"]
    assert "Phase1DHGroupNumbers" not in second
    assert first["OutsideIpAddress"] != second["OutsideIpAddress"]
    assert first["TunnelInsideCidr"] == "169.254.44.40/30" != second["TunnelInsideCidr"]
    assert (shown["Category"], shown["GatewayAssociationState"]) == ("VPN", "associated")


def test_keys_and_networks_are_made_when_none_are_given(aws):
    shown = aws.the_connection(aws.connection()["VpnConnectionId"])
    keys = set(by_key(shown))
    assert len(keys) == 2
    assert all(re.fullmatch(r"[A-Za-z1-9._][A-Za-z0-9._]{31}", k) for k in keys)
    networks = {t["TunnelInsideCidr"] for t in shown["Options"]["TunnelOptions"]}
    assert len(networks) == 2 and all(re.fullmatch(r"169\.254\.\d+\.\d+/30", n) for n in networks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"PreSharedKey": "short"},
        {"PreSharedKey": "0startsWithZero"},
        {"PreSharedKey": "has+plus+signs"},
        {"PreSharedKey": "x" * 65},
        {"TunnelInsideCidr": "169.254.5.0/30"},
        {"TunnelInsideCidr": "169.254.169.252/30"},
        {"TunnelInsideCidr": "10.0.0.0/30"},
        {"TunnelInsideCidr": "169.254.44.0/29"},
        {"TunnelInsideCidr": "169.254.44.1/30"},
        {"Phase1DHGroupNumbers": [{"Value": 5}]},
        {"Phase2DHGroupNumbers": [{"Value": 1}]},
        {"Phase1EncryptionAlgorithms": [{"Value": "3DES"}]},
        {"Phase2IntegrityAlgorithms": [{"Value": "MD5"}]},
        {"IKEVersions": [{"Value": "ikev3"}]},
        {"Phase1LifetimeSeconds": 899},
        {"Phase2LifetimeSeconds": 3601},
        {"Phase1LifetimeSeconds": 900, "Phase2LifetimeSeconds": 900},
        {"RekeyMarginTimeSeconds": 1801},
        {"RekeyFuzzPercentage": 101},
        {"ReplayWindowSize": 63},
        {"DPDTimeoutSeconds": 29},
        {"DPDTimeoutAction": "reboot"},
        {"StartupAction": "maybe"},
    ],
    ids=str,
)
def test_wrong_tunnel_options_are_refused(aws, wrong):
    text = aws.refused(
        "InvalidParameterValue",
        "create_vpn_connection",
        Type="ipsec.1",
        VpnGatewayId=aws.vpn_gateway(),
        CustomerGatewayId=aws.customer_gateway(),
        Options={"TunnelOptions": [wrong]},
    )
    assert wrong.get("PreSharedKey", "never") not in text
    assert aws.ec2.describe_vpn_connections()["VpnConnections"] == []


def test_inside_networks_are_unique_on_a_gateway(aws):
    gateway = aws.vpn_gateway()
    aws.connection(gateway, options={"TunnelOptions": [{"TunnelInsideCidr": "169.254.44.40/30"}]})
    aws.refused(
        "InvalidCidr.InUse",
        "create_vpn_connection",
        Type="ipsec.1",
        VpnGatewayId=gateway,
        CustomerGatewayId=aws.customer_gateway("203.0.113.201"),
        Options={"TunnelOptions": [{"TunnelInsideCidr": "169.254.44.40/30"}]},
    )


def test_the_configuration_says_what_the_options_say(aws):
    gateway, customer = aws.vpn_gateway(), aws.customer_gateway("203.0.113.7")
    made = aws.connection(gateway, customer, options={"TunnelOptions": [FULL, {}]})
    root, tunnels = xml_tunnels(made)
    assert root.get("id") == made["VpnConnectionId"]
    assert (root.findtext("customer_gateway_id"), root.findtext("vpn_gateway_id")) == (customer, gateway)
    assert root.findtext("vpn_connection_attributes") == "NoBGPVPNConnection"
    assert root.find(".//bgp") is None
    assert tunnels.keys() == by_key(made).keys()
    for key, tunnel in tunnels.items():
        option = by_key(made)[key]
        assert tunnel.findtext("customer_gateway/tunnel_outside_address/ip_address") == "203.0.113.7"
        assert tunnel.findtext("vpn_gateway/tunnel_outside_address/ip_address") == option["OutsideIpAddress"]
    first = tunnels[FULL["PreSharedKey"]]
    assert first.findtext("vpn_gateway/tunnel_inside_address/ip_address") == "169.254.44.41"
    assert first.findtext("customer_gateway/tunnel_inside_address/ip_address") == "169.254.44.42"
    assert first.findtext("ike/encryption_protocol") == "aes-256-cbc"
    assert first.findtext("ike/perfect_forward_secrecy") == "group14"
    second = next(t for key, t in tunnels.items() if key != FULL["PreSharedKey"])
    assert second.findtext("ipsec/authentication_protocol") == "hmac-sha1-96"
    assert second.findtext("ipsec/encryption_protocol") == "aes-128-cbc"


def test_a_bgp_connection_has_asns(aws):
    made = aws.connection(static=False)
    root, _ = xml_tunnels(made)
    assert root.find("vpn_connection_attributes") is None
    assert root.findtext("ipsec_tunnel/customer_gateway/bgp/asn") == "65000"
    assert root.findtext("ipsec_tunnel/vpn_gateway/bgp/asn") == "64512"


def test_neither_order_of_the_tunnels_is_a_promise(aws):
    aws.control("quota", quota={"vpn-gateways": 99})
    seen = set()
    for number in range(40):
        made = aws.connection(
            customer=aws.customer_gateway(f"203.0.113.{number + 1}"),
            options={"TunnelOptions": [{"PreSharedKey": "tunnel.number.one"}, {"PreSharedKey": "tunnel.number.two"}]},
        )
        _, in_xml = xml_tunnels(made)
        seen.add((next(iter(in_xml)), made["Options"]["TunnelOptions"][0]["PreSharedKey"]))
    assert len(seen) == 4


def test_the_configuration_is_there_only_while_it_is_of_use(aws):
    connection = aws.connection()["VpnConnectionId"]
    assert "CustomerGatewayConfiguration" in aws.the_connection(connection)
    aws.control("settle", seconds=3600)
    aws.ec2.delete_vpn_connection(VpnConnectionId=connection)
    shown = aws.the_connection(connection)
    assert shown["State"] == "deleting" and "CustomerGatewayConfiguration" not in shown
    aws.control("settle", seconds=0)
    shown = aws.the_connection(connection)
    assert shown["State"] == "deleted" and "CustomerGatewayConfiguration" not in shown
    aws.refused("InvalidVpnConnectionID.NotFound", "delete_vpn_connection", VpnConnectionId=connection)


def test_keys_kept_as_a_secret_are_not_shown(aws):
    made = aws.connection(PreSharedKeyStorage="SecretsManager")
    assert [t["PreSharedKey"] for t in made["Options"]["TunnelOptions"]] == ["REDACTED"] * 2
    assert made["PreSharedKeyArn"].startswith("arn:aws:secretsmanager:")


def test_the_same_pair_of_gateways_is_the_same_connection(aws):
    gateway, customer = aws.vpn_gateway(), aws.customer_gateway()
    first = aws.connection(gateway, customer)["VpnConnectionId"]
    assert aws.connection(gateway, customer)["VpnConnectionId"] == first
    assert len(aws.ec2.describe_vpn_connections()["VpnConnections"]) == 1
    aws.refused(
        "InvalidCustomerGateway.DuplicateIpAddress",
        "create_vpn_connection",
        Type="ipsec.1",
        VpnGatewayId=aws.vpn_gateway(),
        CustomerGatewayId=customer,
    )
    aws.ec2.delete_vpn_connection(VpnConnectionId=first)
    assert aws.connection(gateway, customer)["VpnConnectionId"] != first


def test_gateways_must_be_there_and_available(aws):
    gateway, customer = aws.vpn_gateway(), aws.customer_gateway()
    request = {"Type": "ipsec.1", "VpnGatewayId": gateway, "CustomerGatewayId": customer}
    unknown = {"VpnGatewayId": "vgw-00000000000000000", "CustomerGatewayId": "cgw-00000000000000000"}
    for member, code in (
        ("VpnGatewayId", "InvalidVpnGatewayID.NotFound"),
        ("CustomerGatewayId", "InvalidCustomerGatewayID.NotFound"),
    ):
        aws.refused(code, "create_vpn_connection", **request | {member: unknown[member]})
    same = aws.customer_gateway(BgpAsn=64512)
    aws.refused("AsnConflict", "create_vpn_connection", **request | {"CustomerGatewayId": same})
    aws.control("settle", seconds=3600)
    young = aws.customer_gateway("203.0.113.8")
    aws.refused("InvalidCustomerGatewayState", "create_vpn_connection", **request | {"CustomerGatewayId": young})
    young = aws.vpn_gateway()
    aws.refused("InvalidVpnGatewayState", "create_vpn_connection", **request | {"VpnGatewayId": young})


def test_connections_are_found_by_filters(aws):
    tags = [{"ResourceType": "vpn-connection", "Tags": [{"Key": "cgw:stack", "Value": "one"}]}]
    gateway, customer = aws.vpn_gateway(), aws.customer_gateway()
    one = aws.connection(gateway, customer, TagSpecifications=tags)["VpnConnectionId"]
    two = aws.connection(static=False, customer=aws.customer_gateway("203.0.113.9"))["VpnConnectionId"]
    aws.ec2.create_vpn_connection_route(VpnConnectionId=one, DestinationCidrBlock="172.31.0.0/16")

    def found(name, *values):
        wanted = [{"Name": name, "Values": list(values)}]
        return [c["VpnConnectionId"] for c in aws.ec2.describe_vpn_connections(Filters=wanted)["VpnConnections"]]

    assert found("tag:cgw:stack", "one") == [one]
    assert found("vpn-connection-id", two) == [two]
    assert found("vpn-gateway-id", gateway) == [one]
    assert found("customer-gateway-id", customer) == [one]
    assert found("option.static-routes-only", "false") == [two]
    assert found("route.destination-cidr-block", "172.31.0.0/16") == [one]
    aws.ec2.delete_vpn_connection(VpnConnectionId=two)
    assert found("state", "pending", "available") == [one]
    unknown = ["vpn-00000000000000000"]
    aws.refused("InvalidVpnConnectionID.NotFound", "describe_vpn_connections", VpnConnectionIds=unknown)


def test_the_quota_of_connections_of_a_gateway_holds(aws):
    aws.control("quota", quota={"vpn-connections-per-gateway": 1})
    gateway = aws.vpn_gateway()
    aws.connection(gateway)
    aws.refused(
        "VpnConnectionLimitExceeded",
        "create_vpn_connection",
        Type="ipsec.1",
        VpnGatewayId=gateway,
        CustomerGatewayId=aws.customer_gateway("203.0.113.9"),
    )


def test_static_routes_come_and_go(aws):
    gateway, customer = aws.vpn_gateway(), aws.customer_gateway()
    aws.control("settle", seconds=3600)
    connection = aws.connection(gateway, customer)["VpnConnectionId"]
    request = {"VpnConnectionId": connection, "DestinationCidrBlock": "172.31.0.0/16"}
    aws.refused("InvalidVpnConnection.InvalidState", "create_vpn_connection_route", **request)
    aws.control("settle", seconds=0)
    assert aws.the_connection(connection)["State"] == "available"
    aws.control("settle", seconds=3600)
    aws.ec2.create_vpn_connection_route(**request)
    route = {"DestinationCidrBlock": "172.31.0.0/16", "Source": "Static"}
    assert aws.the_connection(connection)["Routes"] == [route | {"State": "pending"}]
    aws.control("settle", seconds=0)
    assert aws.the_connection(connection)["Routes"] == [route | {"State": "available"}]
    aws.ec2.create_vpn_connection_route(**request)
    assert len(aws.the_connection(connection)["Routes"]) == 1
    aws.ec2.delete_vpn_connection_route(**request)
    assert aws.the_connection(connection)["Routes"] == []
    aws.refused("InvalidRoute.NotFound", "delete_vpn_connection_route", **request)


def test_a_bgp_connection_takes_no_static_route(aws):
    aws.refused(
        "InvalidVpnConnection.InvalidType",
        "create_vpn_connection_route",
        VpnConnectionId=aws.connection(static=False)["VpnConnectionId"],
        DestinationCidrBlock="172.31.0.0/16",
    )


def statuses(aws, connection):
    return sorted(t["Status"] for t in aws.the_connection(connection)["VgwTelemetry"])


def test_tunnels_are_down_until_told_otherwise(aws):
    connection = aws.connection()["VpnConnectionId"]
    aws.ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock="172.31.0.0/16")
    assert statuses(aws, connection) == ["DOWN", "DOWN"]
    aws.control("tunnels", up_after=3600)
    assert statuses(aws, connection) == ["DOWN", "DOWN"]
    aws.control("tunnels", up_after=0)
    assert statuses(aws, connection) == ["DOWN", "UP"]
    shown = aws.the_connection(connection)
    up = next(t for t in shown["VgwTelemetry"] if t["Status"] == "UP")
    assert up["AcceptedRouteCount"] == 1
    assert {t["OutsideIpAddress"] for t in shown["VgwTelemetry"]} == {
        t["OutsideIpAddress"] for t in shown["Options"]["TunnelOptions"]
    }
    aws.control("tunnels", up_after=0, count=2)
    assert statuses(aws, connection) == ["UP", "UP"]
    aws.control("tunnels", up_after=None)
    assert statuses(aws, connection) == ["DOWN", "DOWN"]


def test_changing_one_tunnel_leaves_the_other_alone(aws):
    made = aws.connection(options={"TunnelOptions": [FULL, {"PreSharedKey": "second.Tunnel_Key.0123"}]})
    connection, first = made["VpnConnectionId"], by_key(made)[FULL["PreSharedKey"]]
    aws.control("tunnels", up_after=0, count=2)
    aws.control("settle", seconds=3600)
    reply = aws.ec2.modify_vpn_tunnel_options(
        VpnConnectionId=connection,
        VpnTunnelOutsideIpAddress=first["OutsideIpAddress"],
        TunnelOptions={"PreSharedKey": "changed.Tunnel_Key.0123"},
    )["VpnConnection"]
    assert reply["State"] == aws.the_connection(connection)["State"] == "modifying"
    aws.control("settle", seconds=0)
    shown = aws.the_connection(connection)
    assert shown["State"] == "available"
    assert set(by_key(shown)) == {"changed.Tunnel_Key.0123", "second.Tunnel_Key.0123"}
    changed = by_key(shown)["changed.Tunnel_Key.0123"]
    assert changed["OutsideIpAddress"] == first["OutsideIpAddress"]
    assert changed["Phase1DHGroupNumbers"] == [{"Value": 14}]
    assert set(xml_tunnels(shown)[1]) == set(by_key(shown))
    for wrong in ({"VpnTunnelOutsideIpAddress": "192.0.2.255"}, {"TunnelOptions": {"PreSharedKey": "0bad"}}):
        request = {
            "VpnConnectionId": connection,
            "VpnTunnelOutsideIpAddress": first["OutsideIpAddress"],
            "TunnelOptions": {"StartupAction": "add"},
        }
        aws.refused("InvalidParameterValue", "modify_vpn_tunnel_options", **request | wrong)


def test_what_was_negotiated_is_told_of_a_tunnel_that_is_up(aws):
    made = aws.connection(options={"TunnelOptions": [FULL, {}]})
    request = {
        "VpnConnectionId": made["VpnConnectionId"],
        "VpnTunnelOutsideIpAddress": by_key(made)[FULL["PreSharedKey"]]["OutsideIpAddress"],
    }
    assert "IkeVersion" not in aws.ec2.get_active_vpn_tunnel_status(**request)["ActiveVpnTunnelStatus"]
    aws.control("tunnels", up_after=0)
    status = aws.ec2.get_active_vpn_tunnel_status(**request)["ActiveVpnTunnelStatus"]
    assert (status["IkeVersion"], status["Phase1DHGroup"], status["Phase2EncryptionAlgorithm"]) == (
        "ikev1",
        14,
        "AES256",
    )


def windows(aws):
    types = aws.ec2.get_vpn_connection_device_types()["VpnConnectionDeviceTypes"]
    wanted = ("Microsoft", "Windows Server", "2012 R2")
    return next(t["VpnConnectionDeviceTypeId"] for t in types if (t["Vendor"], t["Platform"], t["Software"]) == wanted)


def test_the_windows_text_has_both_tunnels(aws):
    made = aws.connection(options={"TunnelOptions": [FULL, {}]})
    text = aws.ec2.get_vpn_connection_device_sample_configuration(
        VpnConnectionId=made["VpnConnectionId"],
        VpnConnectionDeviceTypeId=windows(aws),
        InternetKeyExchangeVersion="ikev1",
        SampleType="compatibility",
    )["VpnConnectionDeviceSampleConfiguration"]
    for key, tunnel in by_key(made).items():
        block = re.search(
            rf"^Remote Tunnel Endpoint: +{re.escape(tunnel['OutsideIpAddress'])}$.*?^Preshared key: +(\S+)$",
            text,
            re.M | re.S,
        )
        assert block and block[1] == key
        assert f"Auth1PSK={key} ^" in text
    assert text.count("netsh advfirewall consec add rule") == 2
    # As AWS's own: the least that is offered, whatever the options say.
    assert text.count("MainModeSecMethods:        DHGroup2-AES128-SHA1") == 2


@pytest.mark.parametrize("version, sample", [("ikev1", "recommended"), ("ikev2", "compatibility")])
def test_there_is_no_other_windows_text(aws, version, sample):
    aws.refused(
        "UnsupportedOperationException",
        "get_vpn_connection_device_sample_configuration",
        VpnConnectionId=aws.connection()["VpnConnectionId"],
        VpnConnectionDeviceTypeId=windows(aws),
        InternetKeyExchangeVersion=version,
        SampleType=sample,
    )
