"""Makes the two ends of a VPN, and beside them other people's things that nothing may touch."""

import argparse
import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import client
from botocore.exceptions import ClientError

WINDOWS = "ami-0c1a0000000002022"
LINUX = "ami-0c1a0000000000001"
ADMINISTRATORS = "192.0.2.0/24"


def until_ready(look):
    """Waits as long as any of what is looked at is pending: a LocalStack may be started to be slow."""
    while any(found["State"] == "pending" for found in look()):
        time.sleep(0.1)


class Side:
    """One region of the account, with the calls that all of the seed is made of."""

    def __init__(self, ec2):
        self.ec2 = ec2

    @staticmethod
    def tags(kind, name=None, **tags):
        tags = {"Name": name, **tags} if name else tags
        pairs = [{"Key": k, "Value": v} for k, v in tags.items()]
        return [{"ResourceType": kind, "Tags": pairs}] if pairs else []

    def vpc(self, name, cidr):
        return self.ec2.create_vpc(CidrBlock=cidr, TagSpecifications=self.tags("vpc", name))["Vpc"]["VpcId"]

    def subnet(self, vpc, name, cidr, table=None):
        subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, TagSpecifications=self.tags("subnet", name))
        identifier = subnet["Subnet"]["SubnetId"]
        if table:
            self.ec2.associate_route_table(RouteTableId=table, SubnetId=identifier)
        return identifier

    def table(self, vpc, name, gateway=None, **tags):
        made = self.ec2.create_route_table(VpcId=vpc, TagSpecifications=self.tags("route-table", name, **tags))
        identifier = made["RouteTable"]["RouteTableId"]
        if gateway:
            self.ec2.create_route(RouteTableId=identifier, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        return identifier

    def main_table(self, vpc):
        wanted = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]
        return self.ec2.describe_route_tables(Filters=wanted)["RouteTables"][0]["RouteTableId"]

    def internet_gateway(self, vpc, name):
        made = self.ec2.create_internet_gateway(TagSpecifications=self.tags("internet-gateway", name))
        identifier = made["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=identifier, VpcId=vpc)
        return identifier

    def group(self, vpc, name, ports=(), **tags):
        group = self.ec2.create_security_group(
            VpcId=vpc, GroupName=name, Description=name, TagSpecifications=self.tags("security-group", name, **tags)
        )["GroupId"]
        if ports:
            self.ec2.authorize_security_group_ingress(
                GroupId=group,
                IpPermissions=[
                    {"IpProtocol": "tcp", "FromPort": p, "ToPort": p, "IpRanges": [{"CidrIp": ADMINISTRATORS}]}
                    for p in ports
                ],
            )
        return group

    def instance(self, name, subnet, group, image=WINDOWS, key="administrators"):
        made = self.ec2.run_instances(
            ImageId=image,
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            KeyName=key,
            SubnetId=subnet,
            SecurityGroupIds=[group],
            ClientToken=str(uuid.uuid4()),
            TagSpecifications=self.tags("instance", name),
        )["Instances"][0]
        interface = made["NetworkInterfaces"][0]
        return {
            "instance": made["InstanceId"],
            "eni": interface["NetworkInterfaceId"],
            "private_ip": interface["PrivateIpAddress"],
        }

    def vpn_gateway(self, **tags):
        made = self.ec2.create_vpn_gateway(Type="ipsec.1", TagSpecifications=self.tags("vpn-gateway", **tags))
        identifier = made["VpnGateway"]["VpnGatewayId"]
        until_ready(lambda: self.ec2.describe_vpn_gateways(VpnGatewayIds=[identifier])["VpnGateways"])
        return identifier

    def customer_gateway(self, ip, **tags):
        made = self.ec2.create_customer_gateway(
            Type="ipsec.1", IpAddress=ip, BgpAsn=65000, TagSpecifications=self.tags("customer-gateway", **tags)
        )
        identifier = made["CustomerGateway"]["CustomerGatewayId"]
        until_ready(lambda: self.ec2.describe_customer_gateways(CustomerGatewayIds=[identifier])["CustomerGateways"])
        return identifier

    def elastic_ip(self, **tags):
        made = self.ec2.allocate_address(Domain="vpc", TagSpecifications=self.tags("elastic-ip", **tags))
        return made["AllocationId"], made["PublicIp"]


def cloud(side):
    """The VPC that gets the VPN: a private subnet, and a public one that a VPN has no business with."""
    vpc = side.vpc("cloud", "10.0.0.0/16")
    gateway = side.internet_gateway(vpc, "cloud")
    table, public = side.table(vpc, "private"), side.table(vpc, "public", gateway)
    return {
        "cloud_vpc": vpc,
        "cloud_cidr": "10.0.0.0/16",
        "cloud_subnet": side.subnet(vpc, "private", "10.0.1.0/24", table),
        "cloud_table": table,
        "main_table": side.main_table(vpc),
        "public_subnet": side.subnet(vpc, "public", "10.0.0.0/24", public),
        "public_table": public,
        "cloud_igw": gateway,
    }


def write_key(path, text):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def site(side, second_server, key_file):
    """The network with the Windows server, and two instances in it that are nobody's gateway."""
    key = side.ec2.create_key_pair(KeyName="administrators")
    if key_file:
        write_key(key_file, key["KeyMaterial"])
    vpc = side.vpc("site", "172.31.0.0/16")
    gateway = side.internet_gateway(vpc, "site")
    table = side.table(vpc, "site", gateway)
    subnet = side.subnet(vpc, "site", "172.31.16.0/20", table)
    group = side.group(vpc, "gateway", ports=(3389,))
    server = side.instance("gateway", subnet, group)
    found = {
        "site_vpc": vpc,
        "site_cidr": "172.31.0.0/16",
        "site_subnet": subnet,
        "site_table": table,
        "site_main_table": side.main_table(vpc),
        "site_igw": gateway,
        "key_name": "administrators",
        "server_group": group,
        **server,
    }
    if second_server:
        found["second_server"] = side.instance("second gateway", subnet, group)
    strangers = side.group(vpc, "strangers", ports=(22,))
    stopped = side.instance("old windows server", subnet, strangers)
    side.ec2.stop_instances(InstanceIds=[stopped["instance"]])
    linux = side.instance("linux host", subnet, strangers, image=LINUX)
    return found, {"stopped_windows": stopped, "linux": linux, "site_group": strangers}


def other_stack(side):
    """A whole VPN of somebody else's `cgw`, told from ours by its tags alone."""

    def tags(node):
        return {"cgw:stack": "other", "cgw:node": node}

    vpc = side.vpc("other", "10.50.0.0/16")
    record = side.group(vpc, "cgw-other", **tags("stack-record"))
    gateway_group = side.group(vpc, "cgw-other-gateway", ports=(3389,), **tags("gateway-security-group"))
    vpn_gateway = side.vpn_gateway(**tags("vpn-gateway"))
    side.ec2.attach_vpn_gateway(VpnGatewayId=vpn_gateway, VpcId=vpc)
    allocation, ip = side.elastic_ip(**tags("elastic-ip"))
    customer_gateway = side.customer_gateway(ip, **tags("customer-gateway"))
    connection = side.ec2.create_vpn_connection(
        Type="ipsec.1",
        CustomerGatewayId=customer_gateway,
        VpnGatewayId=vpn_gateway,
        Options={"StaticRoutesOnly": True},
        TagSpecifications=side.tags("vpn-connection", **tags("vpn-connection")),
    )["VpnConnection"]["VpnConnectionId"]
    table = side.table(vpc, None, **tags("route-table"))
    found = {
        "vpc": vpc,
        "record_group": record,
        "gateway_group": gateway_group,
        "vpn_gateway": vpn_gateway,
        "customer_gateway": customer_gateway,
        "vpn_connection": connection,
        "elastic_ip": allocation,
        "public_ip": ip,
        "table": table,
        "subnet": side.subnet(vpc, "other", "10.50.1.0/24", table),
    }
    _settled(side, vpn_gateway, connection)
    side.ec2.create_route(RouteTableId=table, DestinationCidrBlock="192.168.77.0/24", GatewayId=vpn_gateway)
    try:
        side.ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock="192.168.77.0/24")
        side.ec2.enable_vgw_route_propagation(RouteTableId=table, GatewayId=vpn_gateway)
    except ClientError as error:
        # A LocalStack without the plug-in has neither call.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 501:
            raise
    return found


def _settled(side, vpn_gateway, connection):
    """An account that is to be slow is made slow after the seed; a LocalStack that always is costs its settle time."""
    side.ec2.get_waiter("vpn_connection_available").wait(
        VpnConnectionIds=[connection], WaiterConfig={"Delay": 1, "MaxAttempts": 600}
    )
    attached = [{"Name": "attachment.state", "Values": ["attached"]}]
    while not side.ec2.describe_vpn_gateways(VpnGatewayIds=[vpn_gateway], Filters=attached)["VpnGateways"]:
        pass


def strangers(side):
    """Things without any tag of cgw's, such as any account has."""
    allocation, ip = side.elastic_ip()
    return {
        "elastic_ip": allocation,
        "public_ip": ip,
        "vpn_gateway": side.vpn_gateway(),
        "customer_gateway": side.customer_gateway("198.51.100.250"),
    }


def main():
    parser = argparse.ArgumentParser(prog="seed", description=__doc__)
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--account", default="111111111111")
    parser.add_argument("--region", default="eu-west-1")
    parser.add_argument("--site-region", help="put the site's VPC in this region")
    parser.add_argument("--second-server", action="store_true", help="launch another usable Windows server")
    parser.add_argument("--key-file", help="write the instances' private key here")
    parser.add_argument("--json", action="store_true", help="the only form there is; accepted for clarity")
    asked = parser.parse_args()

    site_region = asked.site_region or asked.region
    here = Side(client.ec2(asked.endpoint_url, asked.account, asked.region))
    there = here if site_region == asked.region else Side(client.ec2(asked.endpoint_url, asked.account, site_region))
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(cloud, here), pool.submit(site, there, asked.second_server, asked.key_file)]
        jobs += [pool.submit(other_stack, here), pool.submit(strangers, here)]
        cloud_ids, (site_ids, site_decoys), other, untagged = (job.result() for job in jobs)
    seeded = {
        "endpoint_url": asked.endpoint_url,
        "account": asked.account,
        "region": asked.region,
        "site_region": site_region,
        **cloud_ids,
        **site_ids,
        "decoys": {"other_stack": other, "strangers": untagged | site_decoys},
    }
    print(json.dumps(seeded, indent=2))


if __name__ == "__main__":
    main()
