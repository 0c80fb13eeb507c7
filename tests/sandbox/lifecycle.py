"""Has boto3 make a VPN and take it away again: requests, answers, waiters, pages, filters, dry runs and errors as with EC2.

Runs against the sandbox and against LocalStack with the plug-in: neither is believed alone. It is given the address and the
access key.
"""

import sys

import boto3
from botocore.exceptions import ClientError

common = {"endpoint_url": sys.argv[1], "region_name": "eu-west-1", "aws_access_key_id": sys.argv[2], "aws_secret_access_key": "any"}
ec2 = boto3.client("ec2", **common)
assert boto3.client("sts", **common).get_caller_identity()["Account"].isdigit()


def refused(code, call, **request):
    try:
        call(**request)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was expected")


def again(code, call, **request):
    """Calls until an error passes that passes by itself."""
    for _ in range(2000):
        try:
            return call(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] not in code:
                raise
    raise AssertionError(f"{code} stays")


def tags(kind):
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": "boto3 & <friends>"}]}]


vpcs = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": ["cloud"]}])["Vpcs"]
vpc = vpcs[0]["VpcId"]

# Pages: each thing once, whichever its size, and a token that was never given is refused.
groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
for number in range(6):
    made = ec2.create_security_group(GroupName=f"page {number}", Description="pages", VpcId=vpc)
    groups.append(made)
paged = {
    "describe_security_group_rules": ("SecurityGroupRules", "SecurityGroupRuleId", 7),
    "describe_security_groups": ("SecurityGroups", "GroupId", 7),
    "describe_subnets": ("Subnets", "SubnetId", 1),
    "describe_route_tables": ("RouteTables", "RouteTableId", 1),
    "describe_vpcs": ("Vpcs", "VpcId", 1),
    "describe_network_interfaces": ("NetworkInterfaces", "NetworkInterfaceId", 0),
    "describe_instances": ("Reservations", "ReservationId", 0),
}
for call, (part, name, least) in paged.items():
    pages = ec2.get_paginator(call).paginate(PaginationConfig={"PageSize": 5})
    paged_ids = [one[name] for page in pages for one in page[part]]
    whole = [one[name] for one in getattr(ec2, call)()[part]]
    assert len(paged_ids) == len(set(paged_ids)) > least and set(paged_ids) == set(whole), (call, paged_ids, whole)
first = ec2.describe_security_groups(MaxResults=5)
assert len(first["SecurityGroups"]) == 5 and first["NextToken"]
rest = ec2.describe_security_groups(MaxResults=1000, NextToken=first["NextToken"])
assert "NextToken" not in rest

refused("DryRunOperation", ec2.create_vpn_gateway, Type="ipsec.1", DryRun=True)
refused("InvalidVpnGatewayID.NotFound", ec2.describe_vpn_gateways, VpnGatewayIds=["vgw-00000000000000000"])
gateway = ec2.create_vpn_gateway(Type="ipsec.1", TagSpecifications=tags("vpn-gateway"))["VpnGateway"]["VpnGatewayId"]
customer = {"Type": "ipsec.1", "IpAddress": "203.0.113.9", "BgpAsn": 65000}
made = ec2.create_customer_gateway(**customer)["CustomerGateway"]["CustomerGatewayId"]
assert ec2.create_customer_gateway(**customer)["CustomerGateway"]["CustomerGatewayId"] == made, "an equal one is the same"
other = ec2.create_customer_gateway(**customer, DeviceName="second")["CustomerGateway"]["CustomerGatewayId"]
assert other != made, "another device is another gateway"
early = ("InvalidVpnGatewayID.NotFound", "InvalidVpnGatewayState")
again(early, ec2.attach_vpn_gateway, VpnGatewayId=gateway, VpcId=vpc)
late = early + ("InvalidCustomerGatewayID.NotFound", "InvalidCustomerGatewayState")
connection = again(
    late,
    ec2.create_vpn_connection,
    Type="ipsec.1",
    VpnGatewayId=gateway,
    CustomerGatewayId=made,
    Options={"StaticRoutesOnly": True, "TunnelOptions": [{"PreSharedKey": "first.Tunnel_Key"}, {}]},
)["VpnConnection"]["VpnConnectionId"]
wait = {"WaiterConfig": {"Delay": 1, "MaxAttempts": 60}}
ec2.get_waiter("vpn_connection_available").wait(VpnConnectionIds=[connection], **wait)
ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock="172.31.0.0/16")
shown = ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]
keys = {tunnel["PreSharedKey"] for tunnel in shown["Options"]["TunnelOptions"]}
assert "first.Tunnel_Key" in keys and len(keys) == 2
assert "<pre_shared_key>first.Tunnel_Key</pre_shared_key>" in shown["CustomerGatewayConfiguration"]
assert [t["Status"] for t in shown["VgwTelemetry"]] == ["DOWN", "DOWN"]
refused("IncorrectState", ec2.delete_customer_gateway, CustomerGatewayId=made)
named = ec2.describe_vpn_gateways(VpnGatewayIds=[gateway])["VpnGateways"][0]
assert named["Tags"] == [{"Key": "Name", "Value": "boto3 & <friends>"}], named


def filtered(what, filters):
    """The ids of what passes all filters and is not gone."""
    call, part, name = what
    found = getattr(ec2, call)(Filters=[{"Name": key, "Values": values} for key, values in filters.items()])[part]
    return sorted(one[name] for one in found if one["State"] not in ("deleted", "deleting"))


vgws = ("describe_vpn_gateways", "VpnGateways", "VpnGatewayId")
cgws = ("describe_customer_gateways", "CustomerGateways", "CustomerGatewayId")
vpns = ("describe_vpn_connections", "VpnConnections", "VpnConnectionId")
for what, filters, expected in (
    (vgws, {"tag:Name": ["boto3 & <friends>"], "state": ["available"]}, [gateway]),
    (vgws, {"tag:Name": ["boto3*"]}, [gateway]),
    (vgws, {"tag:Name": ["Boto3*"]}, []),
    (vgws, {"tag:Name": ["boto"]}, []),
    (vgws, {"attachment.vpc-id": [vpc]}, [gateway]),
    (vgws, {"tag-key": ["Name"], "attachment.vpc-id": ["vpc-00000000000000000", vpc]}, [gateway]),
    (cgws, {"ip-address": ["203.0.113.9"]}, sorted([made, other])),
    (cgws, {"ip-address": ["203.0.113.9"], "tag:Name": ["nobody"]}, []),
    (vpns, {"vpn-gateway-id": [gateway], "customer-gateway-id": [made]}, [connection]),
    (vpns, {"customer-gateway-id": [other]}, []),
):
    assert filtered(what, filters) == expected, (filters, filtered(what, filters))
refused("InvalidParameterValue", ec2.describe_vpn_gateways, Filters=[{"Name": "colour", "Values": ["red"]}])
for missing, call, ids in (
    ("InvalidCustomerGatewayID.NotFound", ec2.describe_customer_gateways, {"CustomerGatewayIds": ["cgw-00000000000000000"]}),
    ("InvalidVpnConnectionID.NotFound", ec2.describe_vpn_connections, {"VpnConnectionIds": ["vpn-00000000000000000"]}),
    ("InvalidGroup.NotFound", ec2.describe_security_groups, {"GroupIds": ["sg-00000000000000000"]}),
    ("InvalidRouteTableID.NotFound", ec2.describe_route_tables, {"RouteTableIds": ["rtb-00000000000000000"]}),
    ("InvalidSubnetID.NotFound", ec2.describe_subnets, {"SubnetIds": ["subnet-00000000000000000"]}),
    ("InvalidInstanceID.NotFound", ec2.describe_instances, {"InstanceIds": ["i-00000000000000000"]}),
):
    refused(missing, call, **ids)

# A dry run says whether it would have worked, and does nothing.
before = len(ec2.describe_vpn_gateways()["VpnGateways"])
for call, request in (
    (ec2.create_vpn_gateway, {"Type": "ipsec.1"}),
    (ec2.create_customer_gateway, {"Type": "ipsec.1", "IpAddress": "203.0.113.77", "BgpAsn": 65000}),
    (ec2.delete_vpn_connection, {"VpnConnectionId": connection}),
    (ec2.create_security_group, {"GroupName": "dry", "Description": "dry", "VpcId": vpc}),
    (ec2.allocate_address, {"Domain": "vpc"}),
):
    refused("DryRunOperation", call, **request, DryRun=True)
assert len(ec2.describe_vpn_gateways()["VpnGateways"]) == before
assert filtered(cgws, {"ip-address": ["203.0.113.77"]}) == []
assert ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]["State"] == "available"

# The same token makes the same table.
tables = [ec2.create_route_table(VpcId=vpc, ClientToken=token)["RouteTable"]["RouteTableId"] for token in ("one", "one", "two")]
assert tables[0] == tables[1] != tables[2], tables

# Routes: by hand and by propagation.
table, spare = tables[1], tables[2]
again(("InvalidRouteTableID.NotFound",), ec2.create_route, RouteTableId=table, DestinationCidrBlock="172.31.0.0/16", GatewayId=gateway)
refused("RouteAlreadyExists", ec2.create_route, RouteTableId=table, DestinationCidrBlock="172.31.0.0/16", GatewayId=gateway)
again(("Gateway.NotAttached", "InvalidRouteTableID.NotFound"), ec2.enable_vgw_route_propagation, RouteTableId=table, GatewayId=gateway)
ec2.enable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)


def table_of(id, is_so):
    """What a table is, once a read shows that it is so."""
    for _ in range(2000):
        found = ec2.describe_route_tables(RouteTableIds=[id])["RouteTables"][0]
        if is_so(found):
            return found
    raise AssertionError(found)


shown = table_of(table, lambda one: one["PropagatingVgws"] == [{"GatewayId": gateway}])
assert [(r["GatewayId"], r["Origin"]) for r in shown["Routes"] if r["DestinationCidrBlock"] == "172.31.0.0/16"] == [(gateway, "CreateRoute")]
ec2.disable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)
table_of(table, lambda one: one["PropagatingVgws"] == [])
ec2.delete_route(RouteTableId=table, DestinationCidrBlock="172.31.0.0/16")
again_gone = {"RouteTableId": table, "DestinationCidrBlock": "172.31.0.0/16"}
refused("InvalidRoute.NotFound", ec2.delete_route, **again_gone)
for one in (table, spare):
    again(("InvalidRouteTableID.NotFound",), ec2.delete_route_table, RouteTableId=one)

# Rules of a group: the same one twice, one that is not there, and a group that is in use.
group = groups[-1]["GroupId"]
rule = {"IpProtocol": "udp", "FromPort": 500, "ToPort": 500, "IpRanges": [{"CidrIp": "203.0.113.9/32"}]}
again(("InvalidGroup.NotFound",), ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
esp = {"IpProtocol": "50", "IpRanges": [{"CidrIp": "203.0.113.9/32"}]}
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[esp])
ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
refused("InvalidPermission.NotFound", ec2.revoke_security_group_ingress, GroupId=group, IpPermissions=[rule])
refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="page 0", Description="again", VpcId=vpc)
for one in groups:
    if one.get("GroupName", "").startswith("page") or "VpcId" not in one:
        again(("InvalidGroup.NotFound",), ec2.delete_security_group, GroupId=one["GroupId"])

# Tunnel options: what AWS does not take is refused; a change of one tunnel leaves the other.
bad = {"Type": "ipsec.1", "VpnGatewayId": gateway, "CustomerGatewayId": other}
for options in ({"PreSharedKey": "short"}, {"PreSharedKey": "0begins.with.zero"}, {"PreSharedKey": "has+a+plus+sign"}, {"TunnelInsideCidr": "169.254.0.0/30"},
                {"TunnelInsideCidr": "10.0.0.0/30"}, {"Phase1LifetimeSeconds": 60}, {"Phase1EncryptionAlgorithms": [{"Value": "DES"}]}, {"Phase1DHGroupNumbers": [{"Value": 5}]}):
    refused("InvalidParameterValue", ec2.create_vpn_connection, **bad, Options={"StaticRoutesOnly": True, "TunnelOptions": [options, {}]})


def tunnels():
    shown = ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]
    return {tunnel["OutsideIpAddress"]: tunnel for tunnel in shown["Options"]["TunnelOptions"]}


one, two = sorted(tunnels())
kept = tunnels()[two]
assert kept["TunnelInsideCidr"].startswith("169.254."), kept
refused("InvalidParameterValue", ec2.modify_vpn_tunnel_options, VpnConnectionId=connection, VpnTunnelOutsideIpAddress="203.0.113.250", TunnelOptions={"PreSharedKey": "second.Tunnel_Key"})
change = {"PreSharedKey": "second.Tunnel_Key", "Phase1DHGroupNumbers": [{"Value": 14}]}
ec2.modify_vpn_tunnel_options(VpnConnectionId=connection, VpnTunnelOutsideIpAddress=one, TunnelOptions=change)
ec2.get_waiter("vpn_connection_available").wait(VpnConnectionIds=[connection], **wait)
for _ in range(2000):
    if tunnels()[one].get("PreSharedKey") == "second.Tunnel_Key":
        break
changed = tunnels()
assert changed[one]["PreSharedKey"] == "second.Tunnel_Key" and changed[one]["Phase1DHGroupNumbers"] == [{"Value": 14}], changed[one]
assert changed[two] == kept, "the other tunnel is as it was"

# Static prefixes.
ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock="172.31.0.0/16")
ec2.delete_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock="172.31.0.0/16")

# What is in use stays.
ec2.delete_customer_gateway(CustomerGatewayId=other)
second = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
refused("InvalidVpcState", lambda: again(early, ec2.attach_vpn_gateway, VpnGatewayId=second, VpcId=vpc))
ec2.delete_vpn_gateway(VpnGatewayId=second)

ec2.delete_vpn_connection(VpnConnectionId=connection)
ec2.get_waiter("vpn_connection_deleted").wait(VpnConnectionIds=[connection], **wait)
again(("InvalidParameterValue",), ec2.detach_vpn_gateway, VpnGatewayId=gateway, VpcId=vpc)
again(("IncorrectState",), ec2.delete_vpn_gateway, VpnGatewayId=gateway)
ec2.delete_customer_gateway(CustomerGatewayId=made)

# What is deleted stays listed for a while, and is not there for anything else.
listed = ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]
assert listed["State"] == "deleted" and not listed.get("CustomerGatewayConfiguration"), listed
refused("InvalidVpnConnectionID.NotFound", ec2.delete_vpn_connection, VpnConnectionId=connection)
