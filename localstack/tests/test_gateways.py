"""Virtual private gateways, their attachment, and customer gateways."""

import time

TAGS = [{"Key": "cgw:stack", "Value": "one"}]


def tagged(kind):
    return [{"ResourceType": kind, "Tags": TAGS}]


def test_a_vpn_gateway_has_the_default_asn_or_the_one_asked_for(aws):
    assert aws.the_vpn_gateway(aws.vpn_gateway())["AmazonSideAsn"] == 64512
    assert aws.the_vpn_gateway(aws.vpn_gateway(AmazonSideAsn=65111))["AmazonSideAsn"] == 65111
    aws.refused("InvalidParameterValue", "create_vpn_gateway", Type="ipsec.1", AmazonSideAsn=1234)


def test_objects_settle_after_the_account_s_time(aws):
    vpc = aws.vpc()
    aws.control("settle", seconds=3600)
    made = aws.ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]
    gateway = made["VpnGatewayId"]
    assert made["State"] == aws.the_vpn_gateway(gateway)["State"] == "pending"
    aws.refused("InvalidVpnGatewayState", "attach_vpn_gateway", VpnGatewayId=gateway, VpcId=vpc)
    # A shorter time holds for what is on its way already.
    aws.control("settle", seconds=0)
    assert aws.the_vpn_gateway(gateway)["State"] == "available"
    # A longer one unsettles nothing.
    aws.control("settle", seconds=3600)
    assert aws.the_vpn_gateway(gateway)["State"] == "available"

    attach = aws.ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)["VpcAttachment"]
    assert attach["State"] == aws.the_vpn_gateway(gateway)["VpcAttachments"][0]["State"] == "attaching"
    aws.control("settle", seconds=0)
    assert aws.the_vpn_gateway(gateway)["VpcAttachments"] == [{"VpcId": vpc, "State": "attached"}]
    aws.control("settle", seconds=3600)
    aws.ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    assert aws.the_vpn_gateway(gateway)["VpcAttachments"] == [{"VpcId": vpc, "State": "detaching"}]
    aws.refused("IncorrectState", "delete_vpn_gateway", VpnGatewayId=gateway)
    aws.control("settle", seconds=0)
    assert aws.the_vpn_gateway(gateway)["VpcAttachments"] == [{"VpcId": vpc, "State": "detached"}]
    aws.control("settle", seconds=3600)
    aws.ec2.delete_vpn_gateway(VpnGatewayId=gateway)
    assert aws.the_vpn_gateway(gateway)["State"] == "deleting"
    aws.control("settle", seconds=0)
    assert aws.the_vpn_gateway(gateway)["State"] == "deleted"


def test_settling_takes_the_time_that_was_set(aws):
    aws.control("settle", seconds=1)
    gateway, end = aws.vpn_gateway(), time.monotonic() + 30
    assert aws.the_vpn_gateway(gateway)["State"] == "pending"
    while aws.the_vpn_gateway(gateway)["State"] == "pending":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert aws.the_vpn_gateway(gateway)["State"] == "available"


def test_replies_say_pending_even_when_nothing_has_to_settle(aws):
    made = aws.ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]
    assert made["State"] == "pending"
    reply = aws.ec2.attach_vpn_gateway(VpnGatewayId=made["VpnGatewayId"], VpcId=aws.vpc())
    assert reply["VpcAttachment"]["State"] == "attaching"
    assert aws.the_vpn_gateway(made["VpnGatewayId"])["VpcAttachments"][0]["State"] == "attached"


def test_a_vpc_has_one_vpn_gateway_and_a_vpn_gateway_one_vpc(aws):
    vpc = aws.vpc()
    gateway = aws.vpn_gateway(vpc)
    text = aws.refused("InvalidVpcState", "attach_vpn_gateway", VpnGatewayId=aws.vpn_gateway(), VpcId=vpc)
    assert gateway in text
    aws.refused(
        "VpnGatewayAttachmentLimitExceeded", "attach_vpn_gateway", VpnGatewayId=gateway, VpcId=aws.vpc("10.1.0.0/16")
    )
    aws.refused("DependencyViolation", "delete_vpc", VpcId=vpc)


def test_an_attached_vpn_gateway_is_in_use(aws):
    vpc = aws.vpc()
    gateway = aws.vpn_gateway(vpc)
    aws.refused("IncorrectState", "delete_vpn_gateway", VpnGatewayId=gateway)
    aws.ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    aws.refused("InvalidVpnGatewayAttachment.NotFound", "detach_vpn_gateway", VpnGatewayId=gateway, VpcId=vpc)
    aws.ec2.delete_vpn_gateway(VpnGatewayId=gateway)
    aws.refused("InvalidVpnGatewayID.NotFound", "delete_vpn_gateway", VpnGatewayId=gateway)


def test_detaching_waits_for_connections_that_are_changing(aws):
    vpc = aws.vpc()
    gateway, customer = aws.vpn_gateway(vpc), aws.customer_gateway()
    aws.control("settle", seconds=3600)
    connection = aws.connection(gateway, customer)["VpnConnectionId"]
    request = {"VpnGatewayId": gateway, "VpcId": vpc}
    assert "pending VPNs" in aws.refused("InvalidParameterValue", "detach_vpn_gateway", **request)
    aws.control("settle", seconds=0)
    aws.the_connection(connection)
    aws.control("settle", seconds=3600)
    aws.ec2.delete_vpn_connection(VpnConnectionId=connection)
    aws.refused("InvalidParameterValue", "detach_vpn_gateway", **request)
    aws.control("settle", seconds=0)
    aws.ec2.detach_vpn_gateway(**request)
    assert aws.the_vpn_gateway(gateway)["VpcAttachments"][0]["State"] == "detached"


def test_the_quota_of_vpn_gateways_holds_and_can_be_changed(aws):
    gateways = [aws.vpn_gateway() for _ in range(5)]
    aws.refused("VpnGatewayLimitExceeded", "create_vpn_gateway", Type="ipsec.1")
    aws.ec2.delete_vpn_gateway(VpnGatewayId=gateways[0])
    aws.vpn_gateway()
    aws.control("quota", quota={"vpn-gateways": 6})
    aws.vpn_gateway()


def test_vpn_gateways_are_found_by_filters(aws):
    vpc = aws.vpc()
    one = aws.vpn_gateway(vpc, AmazonSideAsn=64600, TagSpecifications=tagged("vpn-gateway"))
    two = aws.vpn_gateway()

    def found(name, *values):
        wanted = [{"Name": name, "Values": list(values)}]
        return [g["VpnGatewayId"] for g in aws.ec2.describe_vpn_gateways(Filters=wanted)["VpnGateways"]]

    assert found("tag:cgw:stack", "one") == [one]
    assert found("tag:cgw:stack", "o*") == [one]
    assert found("tag:cgw:stack", "n*") == []
    assert found("tag-key", "cgw:stack") == [one]
    assert found("attachment.vpc-id", vpc) == [one]
    assert found("attachment.state", "attached", "attaching") == [one]
    assert found("amazon-side-asn", "64512") == [two]
    assert found("state", "available") == [one, two]
    aws.refused("InvalidParameterValue", "describe_vpn_gateways", Filters=[{"Name": "nonsense", "Values": ["x"]}])
    aws.ec2.create_tags(Resources=[two], Tags=TAGS)
    assert found("tag:cgw:stack", "one") == [one, two]
    aws.ec2.delete_tags(Resources=[one], Tags=[{"Key": "cgw:stack"}])
    assert found("tag:cgw:stack", "one") == [two]


def test_an_equal_customer_gateway_is_the_same_one(aws):
    first = aws.ec2.create_customer_gateway(
        Type="ipsec.1", IpAddress="203.0.113.7", BgpAsn=65000, TagSpecifications=tagged("customer-gateway")
    )["CustomerGateway"]
    again = aws.ec2.create_customer_gateway(
        Type="ipsec.1",
        IpAddress="203.0.113.7",
        BgpAsn=65000,
        TagSpecifications=[{"ResourceType": "customer-gateway", "Tags": [{"Key": "other", "Value": "x"}]}],
    )["CustomerGateway"]
    assert again["CustomerGatewayId"] == first["CustomerGatewayId"]
    assert again["Tags"] == TAGS
    assert aws.customer_gateway("203.0.113.7", DeviceName="second") != first["CustomerGatewayId"]
    assert aws.customer_gateway("203.0.113.7", BgpAsn=65001) != first["CustomerGatewayId"]
    aws.ec2.delete_customer_gateway(CustomerGatewayId=first["CustomerGatewayId"])
    assert aws.customer_gateway("203.0.113.7") != first["CustomerGatewayId"]


def test_customer_gateways_are_checked(aws):
    aws.refused("InvalidParameterValue", "create_customer_gateway", Type="ipsec.1", IpAddress="1.2.3", BgpAsn=65000)
    aws.refused("MissingParameter", "create_customer_gateway", Type="ipsec.1", BgpAsn=65000)
    unknown = ["cgw-00000000000000000"]
    aws.refused("InvalidCustomerGatewayID.NotFound", "describe_customer_gateways", CustomerGatewayIds=unknown)


def test_customer_gateways_are_found_by_filters(aws):
    made = aws.ec2.create_customer_gateway(
        Type="ipsec.1",
        IpAddress="203.0.113.7",
        BgpAsn=65010,
        DeviceName="server",
        TagSpecifications=tagged("customer-gateway"),
    )["CustomerGateway"]
    assert (made["State"], made["DeviceName"], made["BgpAsn"]) == ("pending", "server", "65010")
    one, two = made["CustomerGatewayId"], aws.customer_gateway("203.0.113.8")

    def found(name, *values):
        wanted = [{"Name": name, "Values": list(values)}]
        return [g["CustomerGatewayId"] for g in aws.ec2.describe_customer_gateways(Filters=wanted)["CustomerGateways"]]

    assert found("tag:cgw:stack", "one") == [one]
    assert found("tag-key", "cgw:stack") == [one]
    assert found("ip-address", "203.0.113.8") == [two]
    assert found("bgp-asn", "65010") == [one]
    aws.ec2.delete_customer_gateway(CustomerGatewayId=two)
    assert found("state", "available") == [one]
    assert found("state", "deleted") == [two]
    aws.refused("InvalidParameterValue", "describe_customer_gateways", Filters=[{"Name": "nonsense", "Values": ["x"]}])


def test_a_customer_gateway_in_use_stays(aws):
    customer = aws.customer_gateway()
    connection = aws.connection(customer=customer)["VpnConnectionId"]
    aws.refused("IncorrectState", "delete_customer_gateway", CustomerGatewayId=customer)
    aws.ec2.delete_vpn_connection(VpnConnectionId=connection)
    aws.ec2.delete_customer_gateway(CustomerGatewayId=customer)
    aws.refused("InvalidCustomerGatewayID.NotFound", "delete_customer_gateway", CustomerGatewayId=customer)
