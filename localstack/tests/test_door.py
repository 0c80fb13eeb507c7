"""What holds for every operation: dry runs, faults, pages, client tokens, turns, accounts."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from conftest import Aws


def test_a_dry_run_of_any_kind_is_refused_and_does_nothing(aws):
    vpc = aws.vpc()
    gateway, customer, table = aws.vpn_gateway(), aws.customer_gateway(), aws.table(vpc)
    for operation, request in {
        "attach_vpn_gateway": {"VpnGatewayId": gateway, "VpcId": vpc},
        "create_customer_gateway": {"Type": "ipsec.1", "IpAddress": "203.0.113.9", "BgpAsn": 65000},
        "create_route": {"RouteTableId": table, "DestinationCidrBlock": "10.9.0.0/16", "GatewayId": gateway},
        "create_route_table": {"VpcId": vpc},
        "create_vpc": {"CidrBlock": "10.9.0.0/16"},
        "create_vpn_connection": {"Type": "ipsec.1", "CustomerGatewayId": customer, "VpnGatewayId": gateway},
        "create_vpn_gateway": {"Type": "ipsec.1"},
        "delete_route_table": {"RouteTableId": table},
        "delete_vpn_gateway": {"VpnGatewayId": gateway},
        "describe_vpn_gateways": {},
        "describe_security_groups": {},
        "enable_vgw_route_propagation": {"RouteTableId": table, "GatewayId": gateway},
        "allocate_address": {"Domain": "vpc"},
    }.items():
        aws.refused("DryRunOperation", operation, status=412, DryRun=True, **request)
    assert [g["VpnGatewayId"] for g in aws.ec2.describe_vpn_gateways()["VpnGateways"]] == [gateway]
    assert aws.the_vpn_gateway(gateway)["State"] == "available"
    assert aws.the_vpn_gateway(gateway)["VpcAttachments"] == []
    assert len(aws.ec2.describe_customer_gateways()["CustomerGateways"]) == 1
    assert aws.ec2.describe_vpn_connections()["VpnConnections"] == []
    assert aws.ec2.describe_addresses()["Addresses"] == []
    assert len(aws.the_table(table)["Routes"]) == 1
    assert len(aws.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]) == 2
    assert "10.9.0.0/16" not in [v["CidrBlock"] for v in aws.ec2.describe_vpcs()["Vpcs"]]


def test_faults_come_one_a_call_and_in_one_account_only(aws, url):
    aws.control("faults", op="DescribeVpcs", errors=[["RequestLimitExceeded", "slow", 503], ["Other", "no", 400]])
    Aws(url).ec2.describe_vpcs()
    assert aws.refused("RequestLimitExceeded", "describe_vpcs", status=503) == "slow"
    aws.ec2.describe_subnets()
    aws.refused("Other", "describe_vpcs")
    assert aws.ec2.describe_vpcs()["Vpcs"]


def test_a_fault_may_lose_the_reply_of_work_that_was_done(aws):
    aws.control("faults", op="CreateVpnGateway", errors=[["InternalError", "lost", 500, "after"]])
    aws.refused("InternalError", "create_vpn_gateway", status=500, Type="ipsec.1")
    assert len(aws.ec2.describe_vpn_gateways()["VpnGateways"]) == 1


def test_faults_can_be_taken_back(aws):
    aws.control("faults", op="DescribeVpcs", errors=[["Other", "no", 400]] * 3)
    assert aws.control("faults", op="DescribeVpcs", errors=[])["faults"] == {}
    assert aws.ec2.describe_vpcs()["Vpcs"]


def test_a_fault_comes_before_a_dry_run(aws):
    aws.control("faults", op="CreateVpc", errors=[["UnauthorizedOperation", "no", 403]])
    aws.refused("UnauthorizedOperation", "create_vpc", status=403, CidrBlock="10.0.0.0/16", DryRun=True)


def test_a_wrong_control_request_is_told(aws):
    with pytest.raises(Exception, match="400"):
        aws.control("quota", quota={"addreses": 1})


def test_describes_come_in_pages(aws):
    vpc = aws.vpc()
    made = {aws.table(vpc) for _ in range(11)}
    wanted = {"Filters": [{"Name": "vpc-id", "Values": [vpc]}]}
    pages = list(aws.ec2.get_paginator("describe_route_tables").paginate(**wanted, PaginationConfig={"PageSize": 5}))
    assert [len(p["RouteTables"]) for p in pages] == [5, 5, 2]
    assert made < {t["RouteTableId"] for p in pages for t in p["RouteTables"]}
    groups = list(aws.ec2.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5}))
    assert len(groups) == 1 and len(groups[0]["SecurityGroups"]) == 2
    aws.refused("InvalidParameterValue", "describe_vpcs", MaxResults=1)


@pytest.mark.parametrize("operation", ["create_route_table", "run_instances"])
def test_a_client_token_makes_a_call_happen_once(aws, operation):
    vpc = aws.vpc()
    subnet = aws.subnet(vpc)
    aws.instance(subnet)
    request = {
        "create_route_table": {"VpcId": vpc},
        "run_instances": {
            "ImageId": "ami-0c1a0000000002022",
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": subnet,
            "KeyName": "key",
        },
    }[operation]
    identifier = {
        "create_route_table": lambda r: r["RouteTable"]["RouteTableId"],
        "run_instances": lambda r: r["Instances"][0]["InstanceId"],
    }[operation]
    call = getattr(aws.ec2, operation)
    first = identifier(call(ClientToken="one", **request))
    assert identifier(call(ClientToken="one", **request)) == first
    assert identifier(call(ClientToken="two", **request)) != first
    other = request | ({"VpcId": aws.vpc()} if operation == "create_route_table" else {"MaxCount": 2})
    aws.refused("IdempotentParameterMismatch", operation, ClientToken="one", **other)


def test_of_many_creations_of_one_group_one_succeeds(aws):
    vpc = aws.vpc()

    def create(_):
        try:
            return aws.group(vpc, "lock")
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(create, range(16)))
    assert outcomes.count("InvalidGroup.Duplicate") == 15


def test_reads_beside_writes_never_fail(aws):
    def work(number):
        if number % 2:
            return len(aws.ec2.describe_route_tables()["RouteTables"])
        return aws.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(work, range(80)))) == 80
    assert len(aws.ec2.describe_vpcs()["Vpcs"]) == 41


def test_accounts_are_worlds_of_their_own(aws, url):
    gateway = aws.vpn_gateway()
    Aws(url).refused("InvalidVpnGatewayID.NotFound", "describe_vpn_gateways", VpnGatewayIds=[gateway])


@pytest.mark.parametrize(
    "operation, member",
    {
        "describe_vpcs": "Vpcs",
        "describe_subnets": "Subnets",
        "describe_route_tables": "RouteTables",
        "describe_internet_gateways": "InternetGateways",
        "describe_security_groups": "SecurityGroups",
        "describe_security_group_rules": "SecurityGroupRules",
        "describe_instances": "Reservations",
        "describe_network_interfaces": "NetworkInterfaces",
        "describe_addresses": "Addresses",
        "describe_vpn_gateways": "VpnGateways",
        "describe_customer_gateways": "CustomerGateways",
        "describe_vpn_connections": "VpnConnections",
        "describe_transit_gateway_vpc_attachments": "TransitGatewayVpcAttachments",
    }.items(),
)
def test_every_describe_answers_without_filters(aws, operation, member):
    assert isinstance(getattr(aws.ec2, operation)()[member], list)
