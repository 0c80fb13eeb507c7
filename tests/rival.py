#!/usr/bin/env python3
"""A yardstick for tests/bench, not a product: the AWS side of a VPN with boto3, as fast as a script by hand can be.

    tests/rival.py up|again|down --endpoint-url URL --account 12DIGITS --vpc VPC --instance INSTANCE

`up` and `down` do what `cgw up --via none` and `cgw down` do in one account and region; `again` finds that nothing is
to do. Every call starts as soon as what it needs is there. There is no plan, no lock, no going on where an earlier run
stopped, and no care for other people's things beyond never touching them. What it makes carries the tag `rival`.
"""

import argparse
import gc
import ipaddress
import secrets
import string
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

Thing = dict[str, Any]
Call = Callable[..., Thing]
Rule = tuple[str, int, int, str]

REGION = "eu-west-1"
# More than there ever are calls and chains of calls at a time: nothing waits for a thread or a connection.
THREADS = 64
PAUSE = 0.5
LIMIT = time.monotonic() + 20 * 60

TAG = {"Key": "rival", "Value": "1"}
# On the gateway's group: what the interface's source/destination check was before.
CHECKED = "rival:checked"
ANYWHERE = "0.0.0.0/0"
LETTERS = string.ascii_letters + string.digits + "._"
SUITES = {
    "Phase1EncryptionAlgorithms": [{"Value": "AES256"}],
    "Phase1IntegrityAlgorithms": [{"Value": "SHA2-256"}],
    "Phase1DHGroupNumbers": [{"Value": 14}],
    "Phase2EncryptionAlgorithms": [{"Value": "AES256"}],
    "Phase2IntegrityAlgorithms": [{"Value": "SHA2-256"}],
    "Phase2DHGroupNumbers": [{"Value": 14}],
}

# What AWS refuses with while something else is not through yet.
NOT_AVAILABLE = {"InvalidVpnGatewayState", "InvalidCustomerGatewayState"}
PENDING = {"InvalidParameterValue"}
IN_USE = {"IncorrectState", "DependencyViolation", "InvalidIPAddress.InUse"}


def tagged(kind: str, **more: str) -> list[Thing]:
    tags = [TAG, *({"Key": key, "Value": value} for key, value in more.items())]
    return [{"ResourceType": kind, "Tags": tags}]


def ours(things: list[Thing], **members: str) -> list[Thing]:
    """Those that an earlier `up` made, are not deleted, and have these members."""
    alive = [t for t in things if TAG in t["Tags"] and t.get("State") not in ("deleting", "deleted")]
    return [t for t in alive if members.items() <= t.items()]


def new_key() -> str:
    # AWS takes no key that begins with 0.
    return secrets.choice(LETTERS.replace("0", "")) + "".join(secrets.choice(LETTERS) for _ in range(47))


def outside_addresses(connection: Thing) -> list[str]:
    tunnels = connection["Options"].get("TunnelOptions", [])
    return [t["OutsideIpAddress"] for t in tunnels if t.get("OutsideIpAddress")]


def attachments(gateway: Thing) -> list[tuple[str, str]]:
    return [(a["VpcId"], a["State"]) for a in gateway["VpcAttachments"]]


def permissions(rules: Iterable[Rule]) -> list[Thing]:
    return [
        {"IpProtocol": protocol, "FromPort": first, "ToPort": last, "IpRanges": [{"CidrIp": cidr}]}
        for protocol, first, last, cidr in rules
    ]


def rules_of(some: list[Thing]) -> set[Rule]:
    return {
        (p["IpProtocol"], p.get("FromPort", -1), p.get("ToPort", -1), r["CidrIp"]) for p in some for r in p["IpRanges"]
    }


def tunnel_rules(outside: list[str]) -> set[Rule]:
    ports = [("50", -1), ("51", -1), ("udp", 500), ("udp", 4500)]
    return {(protocol, port, port, f"{address}/32") for address in outside for protocol, port in ports}


class Rival:
    """The client, the threads, and the calls that are on their way."""

    def __init__(self, asked: argparse.Namespace, pool: ThreadPoolExecutor) -> None:
        self.asked = asked
        self.pool = pool
        self.jobs: list[Future[Any]] = []
        self.ec2 = boto3.client(
            "ec2",
            endpoint_url=asked.endpoint_url,
            region_name=REGION,
            aws_access_key_id=asked.account,
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, max_pool_connections=THREADS),
        )

    def start(self, work: Callable[..., Any], *given: Any, **named: Any) -> Future[Any]:
        job = self.pool.submit(work, *given, **named)
        self.jobs.append(job)
        return job

    def finish(self) -> None:
        # Jobs that start others do so before they end.
        for job in self.jobs:
            job.result()

    def look(self, without: Collection[str] = ()) -> "World":
        """One round of Describes."""
        ec2, instance = self.ec2, self.asked.instance
        attached = [{"Name": "attachment.instance-id", "Values": [instance]}]
        reads = {
            "VpnConnections": (ec2.describe_vpn_connections, {}),
            "RouteTables": (ec2.describe_route_tables, {}),
            "SecurityGroups": (ec2.describe_security_groups, {}),
            "Vpcs": (ec2.describe_vpcs, {}),
            "Subnets": (ec2.describe_subnets, {}),
            "Reservations": (ec2.describe_instances, {"InstanceIds": [instance]}),
            "NetworkInterfaces": (ec2.describe_network_interfaces, {"Filters": attached}),
            "Addresses": (ec2.describe_addresses, {}),
            "VpnGateways": (ec2.describe_vpn_gateways, {}),
            "CustomerGateways": (ec2.describe_customer_gateways, {}),
        }
        jobs = {name: self.start(call, **how) for name, (call, how) in reads.items() if name not in without}
        return World(self.asked, {name: job.result()[name] for name, job in jobs.items()})


class World:
    """What the Describes answered."""

    def __init__(self, asked: argparse.Namespace, found: dict[str, list[Thing]]) -> None:
        self.asked = asked
        self.tables, self.groups = found["RouteTables"], found["SecurityGroups"]
        self.addresses, self.connections = ours(found["Addresses"]), ours(found["VpnConnections"])
        self.gateways, self.customers = ours(found["VpnGateways"]), ours(found["CustomerGateways"])
        self.own_groups = ours(self.groups)
        self.found = found

    @cached_property
    def interface(self) -> Thing:
        return next(i for i in self.found["NetworkInterfaces"] if i["Attachment"]["DeviceIndex"] == 0)

    @cached_property
    def site(self) -> str:
        """The instance's VPC."""
        subnets: dict[str, str] = {s["SubnetId"]: s["VpcId"] for s in self.found["Subnets"]}
        return subnets[self.interface["SubnetId"]]

    def cidr(self, vpc: str) -> str:
        networks: dict[str, str] = {v["VpcId"]: v["CidrBlock"] for v in self.found["Vpcs"]}
        return networks[vpc]

    @property
    def cloud_cidr(self) -> str:
        return self.cidr(self.asked.vpc)

    @property
    def site_cidr(self) -> str:
        return self.cidr(self.site)

    @property
    def cloud_tables(self) -> list[Thing]:
        """The route tables of the VPC that lead to no Internet gateway."""

        def is_public(table: Thing) -> bool:
            return any(r.get("GatewayId", "").startswith("igw-") for r in table["Routes"])

        return [t for t in self.tables if t["VpcId"] == self.asked.vpc and not is_public(t)]

    @property
    def site_tables(self) -> list[Thing]:
        return [t for t in self.tables if t["VpcId"] == self.site]

    @property
    def gateway_rules(self) -> tuple[set[Rule], set[Rule]]:
        """In and out, without those for the tunnels."""
        whole = ("-1", -1, -1, self.site_cidr)
        return {("icmp", -1, -1, self.cloud_cidr), whole}, {whole}

    @property
    def workload_rules(self) -> set[Rule]:
        ports = [("tcp", 22), ("tcp", 3389), ("icmp", -1)]
        return {(protocol, port, port, self.site_cidr) for protocol, port in ports}

    def check_fit(self) -> None:
        state = self.found["Reservations"][0]["Instances"][0]["State"]["Name"]
        if state != "running":
            raise SystemExit(f"the instance is {state}")
        if ipaddress.ip_network(self.cloud_cidr).overlaps(ipaddress.ip_network(self.site_cidr)):
            raise SystemExit("the networks overlap")
        if self.addresses or self.connections or self.gateways or self.customers or self.own_groups:
            raise SystemExit("an earlier run left something: run down first")


def insist(call: Call, codes: Collection[str], **request: Any) -> Thing:
    """Calls, and again while AWS says that it is too early."""
    while True:
        try:
            return call(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] not in codes or time.monotonic() > LIMIT:
                raise
        time.sleep(PAUSE)


def until(look: Callable[[], Thing], is_ready: Callable[[Thing], bool]) -> Thing:
    while not is_ready(seen := look()):
        if time.monotonic() > LIMIT:
            raise SystemExit(f"not ready after 20 minutes: {seen}")
        time.sleep(PAUSE)
    return seen


def up(rival: Rival) -> None:
    ec2, start, vpc = rival.ec2, rival.start, rival.asked.vpc
    world = rival.look()
    world.check_fit()
    interface, checked = world.interface["NetworkInterfaceId"], world.interface["SourceDestCheck"]

    def gateway_side() -> None:
        identifier = gateway.result()["VpnGateway"]["VpnGatewayId"]
        insist(ec2.attach_vpn_gateway, NOT_AVAILABLE, VpnGatewayId=identifier, VpcId=vpc)
        until(
            lambda: ec2.describe_vpn_gateways(VpnGatewayIds=[identifier])["VpnGateways"][0],
            lambda seen: (vpc, "attached") in attachments(seen),
        )
        for table in world.cloud_tables:
            through = {"RouteTableId": table["RouteTableId"], "GatewayId": identifier}
            start(ec2.create_route, DestinationCidrBlock=world.site_cidr, **through)
            start(ec2.enable_vgw_route_propagation, **through)

    def tunnel_side() -> None:
        address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip"))
        start(ec2.associate_address, AllocationId=address["AllocationId"], NetworkInterfaceId=interface)
        customer = ec2.create_customer_gateway(
            Type="ipsec.1",
            IpAddress=address["PublicIp"],
            BgpAsn=65000,
            TagSpecifications=tagged("customer-gateway"),
        )
        tunnels = [{**SUITES, "IKEVersions": [{"Value": "ikev1"}], "PreSharedKey": new_key()} for _ in range(2)]
        made = insist(
            ec2.create_vpn_connection,
            NOT_AVAILABLE,
            Type="ipsec.1",
            CustomerGatewayId=customer["CustomerGateway"]["CustomerGatewayId"],
            VpnGatewayId=gateway.result()["VpnGateway"]["VpnGatewayId"],
            Options={"StaticRoutesOnly": True, "TunnelOptions": tunnels},
            TagSpecifications=tagged("vpn-connection"),
        )["VpnConnection"]
        identifier = made["VpnConnectionId"]
        if is_told := len(outside_addresses(made)) == 2:
            open_group(made)
        available = until(
            lambda: ec2.describe_vpn_connections(VpnConnectionIds=[identifier])["VpnConnections"][0],
            lambda seen: seen["State"] == "available",
        )
        if not is_told:
            open_group(available)
        ec2.create_vpn_connection_route(VpnConnectionId=identifier, DestinationCidrBlock=world.site_cidr)

    def open_group(connection: Thing) -> None:
        """All rules of the gateway's group at once, those for the tunnels and the others."""
        (into, out), tunnels = world.gateway_rules, tunnel_rules(outside_addresses(connection))
        named = {"GroupId": group.result()["GroupId"], "TagSpecifications": tagged("security-group-rule")}
        start(ec2.authorize_security_group_ingress, IpPermissions=permissions(into | tunnels), **named)
        start(ec2.authorize_security_group_egress, IpPermissions=permissions(out | tunnels), **named)

    def join_group() -> None:
        identifier = group.result()["GroupId"]
        default = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": ANYWHERE}]}]
        start(ec2.revoke_security_group_egress, GroupId=identifier, IpPermissions=default)
        groups = [g["GroupId"] for g in world.interface["Groups"]]
        ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[*groups, identifier])

    def workload_side() -> None:
        made = ec2.create_security_group(
            VpcId=vpc,
            GroupName="rival-workload",
            Description="rival: what the site may reach",
            TagSpecifications=tagged("security-group"),
        )
        ec2.authorize_security_group_ingress(
            GroupId=made["GroupId"],
            IpPermissions=permissions(world.workload_rules),
            TagSpecifications=tagged("security-group-rule"),
        )

    gateway = start(ec2.create_vpn_gateway, Type="ipsec.1", TagSpecifications=tagged("vpn-gateway"))
    group = start(
        ec2.create_security_group,
        VpcId=world.site,
        GroupName="rival-gateway",
        Description="rival: IPsec between the server and both tunnels",
        TagSpecifications=tagged("security-group", **{CHECKED: str(checked)}),
    )
    for side in (tunnel_side, gateway_side, join_group, workload_side):
        start(side)
    if checked:
        start(ec2.modify_network_interface_attribute, NetworkInterfaceId=interface, SourceDestCheck={"Value": False})
    for table in world.site_tables:
        start(
            ec2.create_route,
            RouteTableId=table["RouteTableId"],
            DestinationCidrBlock=world.cloud_cidr,
            NetworkInterfaceId=interface,
        )
    rival.finish()
    print("made")


def again(rival: Rival) -> None:
    world = rival.look()
    one_of_each = (world.addresses, world.customers, world.gateways, world.connections)
    gateway_groups, workload_groups = (
        ours(world.groups, GroupName="rival-gateway", VpcId=world.site),
        ours(world.groups, GroupName="rival-workload", VpcId=world.asked.vpc),
    )
    if any(len(things) != 1 for things in (*one_of_each, gateway_groups, workload_groups)):
        raise SystemExit("something is missing: run down, then up")
    (address,), (customer,), (gateway,), (connection,) = one_of_each
    (group,), (workload,) = gateway_groups, workload_groups
    interface, identifier = world.interface["NetworkInterfaceId"], gateway["VpnGatewayId"]
    (into, out), tunnels = world.gateway_rules, tunnel_rules(outside_addresses(connection))
    suites = {**SUITES, "IkeVersions": [{"Value": "ikev1"}]}

    def leads(table: Thing, cidr: str, **target: str) -> bool:
        wanted = {"DestinationCidrBlock": cidr, **target}.items()
        return any(wanted <= route.items() for route in table["Routes"])

    is_right = {
        "association": address.get("NetworkInterfaceId") == interface,
        "source/destination check": not world.interface["SourceDestCheck"],
        "membership": group["GroupId"] in [g["GroupId"] for g in world.interface["Groups"]],
        "gateway's rules in": rules_of(group["IpPermissions"]) == into | tunnels,
        "gateway's rules out": rules_of(group["IpPermissionsEgress"]) == out | tunnels,
        "workloads' rules": rules_of(workload["IpPermissions"]) == world.workload_rules,
        "customer gateway": customer["IpAddress"] == address["PublicIp"],
        "attachment": (world.asked.vpc, "attached") in attachments(gateway),
        "ends": connection["VpnGatewayId"] == identifier
        and connection["CustomerGatewayId"] == customer["CustomerGatewayId"],
        "connection": connection["State"] == "available" and connection["Options"]["StaticRoutesOnly"],
        "tunnels": len(tunnels) == 8
        and all(t.get(name) == value for t in connection["Options"]["TunnelOptions"] for name, value in suites.items()),
        "prefix": world.site_cidr in [r["DestinationCidrBlock"] for r in connection["Routes"]],
        "routes to the site": all(leads(t, world.site_cidr, GatewayId=identifier) for t in world.cloud_tables),
        "propagation": all({"GatewayId": identifier} in t["PropagatingVgws"] for t in world.cloud_tables),
        "routes to the VPC": all(leads(t, world.cloud_cidr, NetworkInterfaceId=interface) for t in world.site_tables),
    }
    if wrong := [name for name, is_so in is_right.items() if not is_so]:
        raise SystemExit(f"not as wanted: {', '.join(wrong)}")
    print("nothing to change")


def down(rival: Rival) -> None:
    """Asks for everything at once, and again where AWS says that something else must go first."""
    ec2, start = rival.ec2, rival.start
    world = rival.look(without=("Subnets", "Reservations"))
    interface = world.interface["NetworkInterfaceId"]
    gateways = {g["VpnGatewayId"] for g in world.gateways}
    own = {g["GroupId"] for g in world.own_groups}

    def after(jobs: Iterable[Future[Any]], call: Call, **request: Any) -> None:
        for job in jobs:
            job.result()
        insist(call, IN_USE, **request)

    disconnected = [start(ec2.delete_vpn_connection, VpnConnectionId=c["VpnConnectionId"]) for c in world.connections]
    detached, left = [], []
    for gateway in world.gateways:
        for vpc, state in attachments(gateway):
            if state != "detached":
                named = {"VpnGatewayId": gateway["VpnGatewayId"], "VpcId": vpc}
                detached.append(start(insist, ec2.detach_vpn_gateway, PENDING, **named))
    for table in world.tables:
        identifier = table["RouteTableId"]
        for route in table["Routes"]:
            cidr = route.get("DestinationCidrBlock")
            is_to_site = route.get("GatewayId") in gateways and route["Origin"] == "CreateRoute"
            is_to_cloud = route.get("NetworkInterfaceId") == interface and cidr == world.cloud_cidr
            if is_to_site or is_to_cloud:
                start(ec2.delete_route, RouteTableId=identifier, DestinationCidrBlock=cidr)
        for gateway in gateways & {g["GatewayId"] for g in table["PropagatingVgws"]}:
            detached.append(start(ec2.disable_vgw_route_propagation, RouteTableId=identifier, GatewayId=gateway))
    groups = [g["GroupId"] for g in world.interface["Groups"]]
    if own & set(groups):
        others = [g for g in groups if g not in own]
        left.append(start(ec2.modify_network_interface_attribute, NetworkInterfaceId=interface, Groups=others))
    for group in world.own_groups:
        if {"Key": CHECKED, "Value": "True"} in group["Tags"]:
            start(ec2.modify_network_interface_attribute, NetworkInterfaceId=interface, SourceDestCheck={"Value": True})
        needs = left if group["GroupId"] in groups else []
        start(after, needs, ec2.delete_security_group, GroupId=group["GroupId"])
    for address in world.addresses:
        association = address.get("AssociationId")
        needs = [start(ec2.disassociate_address, AssociationId=association)] if association else []
        start(after, needs, ec2.release_address, AllocationId=address["AllocationId"])
    for customer in world.customers:
        start(after, disconnected, ec2.delete_customer_gateway, CustomerGatewayId=customer["CustomerGatewayId"])
    for gateway in gateways:
        start(after, disconnected + detached, ec2.delete_vpn_gateway, VpnGatewayId=gateway)
    rival.finish()
    print("taken away")


COMMANDS = {"up": up, "again": again, "down": down}


def main() -> None:
    # A short life with much to load: collecting takes time, here and at the end, and frees nothing that matters.
    gc.disable()
    parser = argparse.ArgumentParser(prog="rival.py", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--account", required=True, help="12 digits, used as the access key")
    parser.add_argument("--vpc", required=True, help="the VPC that gets the VPN")
    parser.add_argument("--instance", required=True, help="the server, an instance in another VPC")
    asked = parser.parse_args()
    with ThreadPoolExecutor(THREADS) as pool:
        COMMANDS[asked.command](Rival(asked, pool))
    gc.freeze()


if __name__ == "__main__":
    main()
