"""Gives each test an account of its own in one LocalStack, with what a VPN needs."""

import itertools
import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE))

import client  # noqa: E402

REGION = "eu-west-1"
WINDOWS = "ami-0c1a0000000002022"


def free_port() -> int:
    """Always the same few ports: each has a folder with a warm cache."""
    for port in range(14566, 14600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


def run(*command) -> str:
    # What is started must not keep this process's output open, so the output goes through a pipe that is read.
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture(scope="session")
def url():
    """A LocalStack with the plug-in: the one that CGW_LOCALSTACK_URL names, or one just for this run."""
    if given := os.environ.get("CGW_LOCALSTACK_URL"):
        yield given
        return
    port = free_port()
    try:
        yield run(HERE / "start", "--port", port)
    finally:
        run(HERE / "stop", "--port", port)


_accounts = itertools.count(int.from_bytes(os.urandom(4)) + 100_000_000_000)


class Aws:
    """One account, and the short way to what tests make again and again."""

    def __init__(self, url, region=REGION, account=None):
        self.url, self.account = url, account or str(next(_accounts))
        self.ec2 = client.ec2(url, self.account, region)

    def control(self, what, **body):
        request = urllib.request.Request(
            f"{self.url}/_cgw/{what}", json.dumps({"account": self.account, **body}).encode(), method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def refused(self, code, operation, status=400, **request):
        """Makes a call that must fail with this code; gives back the error's text."""
        with pytest.raises(ClientError) as caught:
            getattr(self.ec2, operation)(**request)
        answer = caught.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
        return answer["Error"]["Message"]

    def vpc(self, cidr="10.0.0.0/16", internet=False):
        vpc = self.ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        if internet:
            self.internet_gateway(vpc)
        return vpc

    def internet_gateway(self, vpc=None):
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        if vpc:
            self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        return gateway

    def subnet(self, vpc, cidr="10.0.1.0/24"):
        return self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]

    def table(self, vpc):
        return self.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]

    def group(self, vpc, name="group"):
        return self.ec2.create_security_group(VpcId=vpc, GroupName=name, Description=name)["GroupId"]

    def interface(self, subnet, **more):
        return self.ec2.create_network_interface(SubnetId=subnet, **more)["NetworkInterface"]["NetworkInterfaceId"]

    def instance(self, subnet, **more):
        """An instance and its interface, by their identifiers."""
        if not self.ec2.describe_key_pairs()["KeyPairs"]:
            self.key = self.ec2.create_key_pair(KeyName="key")["KeyMaterial"]
        made = self.ec2.run_instances(ImageId=WINDOWS, MinCount=1, MaxCount=1, KeyName="key", SubnetId=subnet, **more)[
            "Instances"
        ][0]
        return made["InstanceId"], made["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def vpn_gateway(self, vpc=None, **more):
        gateway = self.ec2.create_vpn_gateway(Type="ipsec.1", **more)["VpnGateway"]["VpnGatewayId"]
        if vpc:
            self.ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
        return gateway

    def customer_gateway(self, ip="203.0.113.200", **more):
        made = self.ec2.create_customer_gateway(Type="ipsec.1", IpAddress=ip, **({"BgpAsn": 65000} | more))
        return made["CustomerGateway"]["CustomerGatewayId"]

    def address(self):
        made = self.ec2.allocate_address(Domain="vpc")
        return made["AllocationId"], made["PublicIp"]

    def connection(self, gateway=None, customer=None, static=True, options=None, **more):
        """A VPN connection as the reply shows it."""
        return self.ec2.create_vpn_connection(
            Type="ipsec.1",
            VpnGatewayId=gateway or self.vpn_gateway(),
            CustomerGatewayId=customer or self.customer_gateway(),
            Options={"StaticRoutesOnly": static, **(options or {})},
            **more,
        )["VpnConnection"]

    def the_connection(self, identifier):
        return self.ec2.describe_vpn_connections(VpnConnectionIds=[identifier])["VpnConnections"][0]

    def the_vpn_gateway(self, identifier):
        return self.ec2.describe_vpn_gateways(VpnGatewayIds=[identifier])["VpnGateways"][0]

    def the_table(self, identifier):
        return self.ec2.describe_route_tables(RouteTableIds=[identifier])["RouteTables"][0]

    def the_interface(self, identifier):
        return self.ec2.describe_network_interfaces(NetworkInterfaceIds=[identifier])["NetworkInterfaces"][0]

    def the_instance(self, identifier):
        return self.ec2.describe_instances(InstanceIds=[identifier])["Reservations"][0]["Instances"][0]


@pytest.fixture
def aws(url):
    return Aws(url)
