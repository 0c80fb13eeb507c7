"""Prints a region of an account as sorted JSON in which equal worlds are equal text."""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor

import client

# What to ask, where the answer is, and what names an object.
ASKED = {
    "addresses": ("describe_addresses", "Addresses", "AllocationId"),
    "customer_gateways": ("describe_customer_gateways", "CustomerGateways", "CustomerGatewayId"),
    "instances": ("describe_instances", "Reservations", "InstanceId"),
    "internet_gateways": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "network_interfaces": ("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    "route_tables": ("describe_route_tables", "RouteTables", "RouteTableId"),
    "security_group_rules": ("describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
    "security_groups": ("describe_security_groups", "SecurityGroups", "GroupId"),
    "subnets": ("describe_subnets", "Subnets", "SubnetId"),
    "vpcs": ("describe_vpcs", "Vpcs", "VpcId"),
    "vpn_connections": ("describe_vpn_connections", "VpnConnections", "VpnConnectionId"),
    "vpn_gateways": ("describe_vpn_gateways", "VpnGateways", "VpnGatewayId"),
}

# Times, keys, what is drawn by chance, and what only counts other things.
LEFT_OUT = {
    "AttachTime",
    "AvailableIpAddressCount",
    "CustomerGatewayConfiguration",
    "LastStatusChange",
    "LaunchTime",
    "PreSharedKey",
    "StateTransitionReason",
    "UsageOperationUpdateTime",
}


def tidy(value):
    """The same value with members left out and lists in an order of their own."""
    if isinstance(value, dict):
        return {k: tidy(v) for k, v in value.items() if k not in LEFT_OUT}
    if isinstance(value, list):
        return sorted((tidy(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True, default=str))
    return value


def objects(ec2, call, member, name):
    found = getattr(ec2, call)()[member]
    if member == "Reservations":
        found = [i for reservation in found for i in reservation["Instances"]]
    # A gateway's state is a word, an instance's a code and a word; both stay listed for a while when they are gone.
    living = [o for o in found if o.get("State") != "deleted" and o.get("State", {}) != {"Code": 48, "Name": "terminated"}]
    for one in living:
        # A detached gateway goes on naming the VPC that it has left.
        if "VpcAttachments" in one:
            one["VpcAttachments"] = [a for a in one["VpcAttachments"] if a["State"] != "detached"]
    return {o[name]: tidy(o) for o in living}


def main():
    parser = argparse.ArgumentParser(prog="dump", description=__doc__)
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--account", default="111111111111")
    parser.add_argument("--region", default="eu-west-1")
    asked = parser.parse_args()
    ec2 = client.ec2(asked.endpoint_url, asked.account, asked.region)
    with ThreadPoolExecutor() as pool:
        jobs = {name: pool.submit(objects, ec2, *question) for name, question in ASKED.items()}
        world = {name: job.result() for name, job in jobs.items()}
    print(json.dumps(world, indent=2, sort_keys=True, default=str))


if __name__ == "__main__":
    main()
