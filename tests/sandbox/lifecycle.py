"""Has boto3 make a VPN and take it away again: requests, answers, waiters, pages and errors as with EC2.

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
pages = ec2.get_paginator("describe_security_group_rules").paginate(PaginationConfig={"PageSize": 5})
rules = [rule["SecurityGroupRuleId"] for page in pages for rule in page["SecurityGroupRules"]]
assert len(rules) == len(set(rules)) > 5, rules

refused("DryRunOperation", ec2.create_vpn_gateway, Type="ipsec.1", DryRun=True)
refused("InvalidVpnGatewayID.NotFound", ec2.describe_vpn_gateways, VpnGatewayIds=["vgw-00000000000000000"])
gateway = ec2.create_vpn_gateway(Type="ipsec.1", TagSpecifications=tags("vpn-gateway"))["VpnGateway"]["VpnGatewayId"]
customer = {"Type": "ipsec.1", "IpAddress": "203.0.113.9", "BgpAsn": 65000}
made = ec2.create_customer_gateway(**customer)["CustomerGateway"]["CustomerGatewayId"]
assert ec2.create_customer_gateway(**customer)["CustomerGateway"]["CustomerGatewayId"] == made, "an equal one is the same"
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

ec2.delete_vpn_connection(VpnConnectionId=connection)
ec2.get_waiter("vpn_connection_deleted").wait(VpnConnectionIds=[connection], **wait)
again(("InvalidParameterValue",), ec2.detach_vpn_gateway, VpnGatewayId=gateway, VpcId=vpc)
again(("IncorrectState",), ec2.delete_vpn_gateway, VpnGatewayId=gateway)
ec2.delete_customer_gateway(CustomerGatewayId=made)
