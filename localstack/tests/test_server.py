"""What stands for the Windows server: instance, interface, address, security groups, network."""

import base64
import ipaddress

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

ESP = [{"IpProtocol": "50", "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}]


def test_the_source_destination_check_is_one_flag(aws):
    instance, interface = aws.instance(aws.subnet(aws.vpc()))

    def flags():
        shown = aws.the_instance(instance)
        return {
            shown["SourceDestCheck"],
            shown["NetworkInterfaces"][0]["SourceDestCheck"],
            aws.the_interface(interface)["SourceDestCheck"],
            aws.ec2.describe_instance_attribute(InstanceId=instance, Attribute="sourceDestCheck")["SourceDestCheck"][
                "Value"
            ],
        }

    assert flags() == {True}
    aws.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, SourceDestCheck={"Value": False})
    assert flags() == {False}
    aws.ec2.modify_instance_attribute(InstanceId=instance, SourceDestCheck={"Value": True})
    assert flags() == {True}


def test_groups_are_the_interface_s_and_shown_by_the_instance(aws):
    vpc = aws.vpc()
    one, two = aws.group(vpc, "one"), aws.group(vpc, "two")
    instance, interface = aws.instance(aws.subnet(vpc), SecurityGroupIds=[one])

    def groups():
        shown = aws.the_instance(instance)
        views = [
            shown["SecurityGroups"],
            shown["NetworkInterfaces"][0]["Groups"],
            aws.the_interface(interface)["Groups"],
        ]
        views = [sorted(g["GroupId"] for g in view) for view in views]
        assert views[0] == views[1] == views[2]
        return views[0]

    assert groups() == [one]
    aws.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[one, two])
    assert groups() == sorted([one, two])
    aws.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[two])
    assert groups() == [two]
    aws.ec2.modify_instance_attribute(InstanceId=instance, Groups=[one])
    assert groups() == [one]
    elsewhere = aws.group(aws.vpc("10.9.0.0/16"), "elsewhere")
    for wrong in ("sg-00000000000000000", elsewhere):
        request = {"NetworkInterfaceId": interface, "Groups": [wrong]}
        aws.refused("InvalidGroup.NotFound", "modify_network_interface_attribute", **request)
    assert groups() == [one]


def test_an_interface_is_changed_in_one_respect_at_a_time(aws):
    vpc = aws.vpc()
    _, interface = aws.instance(aws.subnet(vpc))
    aws.refused(
        "InvalidParameterCombination",
        "modify_network_interface_attribute",
        NetworkInterfaceId=interface,
        SourceDestCheck={"Value": False},
        Groups=[aws.group(vpc)],
    )
    assert aws.the_interface(interface)["SourceDestCheck"] is True


def test_with_two_interfaces_the_instance_call_is_ambiguous(aws):
    subnet = aws.subnet(aws.vpc(internet=True))
    instance, interface = aws.instance(subnet)
    second = aws.interface(subnet)
    aws.ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=instance, DeviceIndex=1)
    aws.refused("InvalidInstanceID", "modify_instance_attribute", InstanceId=instance, SourceDestCheck={"Value": False})
    allocation, _ = aws.address()
    aws.refused("InvalidInstanceID", "associate_address", InstanceId=instance, AllocationId=allocation)
    aws.ec2.modify_network_interface_attribute(NetworkInterfaceId=second, SourceDestCheck={"Value": False})
    assert aws.the_interface(second)["SourceDestCheck"] is False
    assert aws.the_interface(interface)["SourceDestCheck"] is True


def test_an_instance_without_a_group_is_in_the_default_one(aws):
    vpc = aws.vpc()
    instance, interface = aws.instance(aws.subnet(vpc))
    assert [g["GroupName"] for g in aws.the_interface(interface)["Groups"]] == ["default"]
    assert [g["GroupName"] for g in aws.the_instance(instance)["SecurityGroups"]] == ["default"]


def test_instances_are_found_by_what_their_interfaces_are(aws):
    vpc = aws.vpc()
    group = aws.group(vpc)
    instance, interface = aws.instance(aws.subnet(vpc), SecurityGroupIds=[group])
    aws.instance(aws.subnet(vpc, "10.0.2.0/24"))
    zone = aws.the_instance(instance)["Placement"]["AvailabilityZone"]

    def found(name, *values):
        pages = aws.ec2.describe_instances(Filters=[{"Name": name, "Values": list(values)}])["Reservations"]
        return [i["InstanceId"] for r in pages for i in r["Instances"]]

    assert found("network-interface.network-interface-id", interface) == [instance]
    assert found("network-interface.group-id", group) == [instance]
    assert len(found("platform", "windows")) == 2
    assert instance in found("availability-zone", zone)
    assert found("network-interface.network-interface-id", "eni-0") == []


def test_addresses_look_public_and_are_unique(aws):
    aws.control("quota", quota={"addresses": 600})
    found = [aws.address()[1] for _ in range(520)]
    assert len(set(found)) == 520
    nets = [ipaddress.ip_network(n) for n in ("203.0.113.0/24", "198.51.100.0/24", "198.18.0.0/15")]
    assert all(any(ipaddress.ip_address(ip) in n for n in nets) for ip in found)


def test_the_quota_of_addresses_is_five(aws):
    held = [aws.address()[0] for _ in range(5)]
    aws.refused("AddressLimitExceeded", "allocate_address", Domain="vpc")
    aws.ec2.release_address(AllocationId=held[0])
    aws.address()


def test_an_address_needs_an_internet_gateway(aws):
    vpc = aws.vpc()
    _, interface = aws.instance(aws.subnet(vpc))
    allocation, _ = aws.address()
    request = {"NetworkInterfaceId": interface, "AllocationId": allocation}
    aws.refused("Gateway.NotAttached", "associate_address", **request)
    aws.internet_gateway(vpc)
    assert aws.ec2.associate_address(**request)["AssociationId"].startswith("eipassoc-")


@pytest.mark.parametrize("form", ["instance", "interface"])
def test_an_associated_address_is_shown_everywhere(aws, form):
    vpc = aws.vpc(internet=True)
    instance, interface = aws.instance(aws.subnet(vpc))
    allocation, ip = aws.address()
    target = {"InstanceId": instance} if form == "instance" else {"NetworkInterfaceId": interface}
    association = aws.ec2.associate_address(AllocationId=allocation, **target)["AssociationId"]
    (address,) = aws.ec2.describe_addresses(AllocationIds=[allocation])["Addresses"]
    shown = aws.the_instance(instance)
    assert (address["InstanceId"], address["NetworkInterfaceId"]) == (instance, interface)
    assert (address["AssociationId"], address["PrivateIpAddress"]) == (association, shown["PrivateIpAddress"])
    seen = aws.the_interface(interface)["Association"]
    assert (seen["PublicIp"], seen["AllocationId"], seen["AssociationId"]) == (ip, allocation, association)
    assert shown["PublicIpAddress"] == ip
    # Once more is the same association, however it is named.
    for again in ({"InstanceId": instance}, {"NetworkInterfaceId": interface}):
        assert aws.ec2.associate_address(AllocationId=allocation, **again)["AssociationId"] == association


def test_no_reassociation_when_it_is_forbidden(aws):
    subnet = aws.subnet(aws.vpc(internet=True))
    (_, one), (_, two) = aws.instance(subnet), aws.instance(subnet)
    first, second = aws.address()[0], aws.address()[0]
    aws.ec2.associate_address(AllocationId=first, NetworkInterfaceId=one)
    for allocation, interface in ((first, two), (second, one)):
        request = {"AllocationId": allocation, "NetworkInterfaceId": interface, "AllowReassociation": False}
        aws.refused("Resource.AlreadyAssociated", "associate_address", **request)
    aws.ec2.associate_address(AllocationId=first, NetworkInterfaceId=two, AllowReassociation=True)
    assert "Association" not in aws.the_interface(one)
    assert aws.the_interface(two)["Association"]["AllocationId"] == first


def test_an_address_in_use_is_not_released(aws):
    instance, interface = aws.instance(aws.subnet(aws.vpc(internet=True)))
    allocation, ip = aws.address()
    association = aws.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=interface)["AssociationId"]
    aws.refused("InvalidIPAddress.InUse", "release_address", AllocationId=allocation)
    aws.ec2.disassociate_address(AssociationId=association)
    (address,) = aws.ec2.describe_addresses()["Addresses"]
    assert not {"InstanceId", "NetworkInterfaceId", "AssociationId"} & address.keys()
    assert "PublicIpAddress" not in aws.the_instance(instance)
    aws.refused("InvalidAssociationID.NotFound", "disassociate_address", AssociationId=association)
    aws.ec2.release_address(AllocationId=allocation)
    aws.refused("InvalidAllocationID.NotFound", "release_address", AllocationId=allocation)
    aws.refused("InvalidAllocationID.NotFound", "describe_addresses", AllocationIds=[allocation])


def test_the_tags_of_an_address_are_of_its_kind(aws):
    tags = [{"Key": "cgw:stack", "Value": "one"}]
    specification = [{"ResourceType": "elastic-ip", "Tags": tags}]
    one = aws.ec2.allocate_address(Domain="vpc", TagSpecifications=specification)["AllocationId"]
    aws.address()
    wanted = [{"Name": "tag:cgw:stack", "Values": ["one"]}]
    assert [a["AllocationId"] for a in aws.ec2.describe_addresses(Filters=wanted)["Addresses"]] == [one]
    (tag,) = aws.ec2.describe_tags(Filters=[{"Name": "resource-type", "Values": ["elastic-ip"]}])["Tags"]
    assert (tag["ResourceId"], tag["ResourceType"]) == (one, "elastic-ip")


def test_what_an_instance_held_goes_with_it(aws):
    vpc = aws.vpc(internet=True)
    subnet, group = aws.subnet(vpc), aws.group(vpc)
    instance, interface = aws.instance(subnet, SecurityGroupIds=[group])
    allocation, _ = aws.address()
    aws.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=interface)
    aws.refused("DependencyViolation", "delete_subnet", SubnetId=subnet)
    aws.ec2.terminate_instances(InstanceIds=[instance])
    assert "AssociationId" not in aws.ec2.describe_addresses()["Addresses"][0]
    assert aws.ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    aws.ec2.delete_security_group(GroupId=group)
    aws.ec2.delete_subnet(SubnetId=subnet)


def test_an_internet_gateway_stays_while_addresses_need_it(aws):
    vpc = aws.vpc()
    gateway = aws.internet_gateway(vpc)
    _, interface = aws.instance(aws.subnet(vpc))
    allocation, _ = aws.address()
    association = aws.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=interface)["AssociationId"]
    request = {"InternetGatewayId": gateway, "VpcId": vpc}
    aws.refused("DependencyViolation", "detach_internet_gateway", **request)
    aws.ec2.disassociate_address(AssociationId=association)
    aws.ec2.detach_internet_gateway(**request)
    assert aws.ec2.describe_internet_gateways(InternetGatewayIds=[gateway])["InternetGateways"][0]["Attachments"] == []


@pytest.mark.parametrize("protocol, number", [("50", "50"), ("51", "51"), ("esp", "50"), ("ah", "51")])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_ipsec_protocols_have_no_ports(aws, protocol, number, direction):
    group = aws.group(aws.vpc())
    permission = {"IpProtocol": protocol, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}
    authorize = getattr(aws.ec2, f"authorize_security_group_{direction}")
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "cgw:node", "Value": "tunnel-rules/esp"}]}]
    made = authorize(GroupId=group, IpPermissions=[permission], TagSpecifications=tags)["SecurityGroupRules"][0]
    assert (made["IpProtocol"], made["FromPort"], made["ToPort"]) == (number, -1, -1)
    (shown,) = aws.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    member = "IpPermissions" if direction == "ingress" else "IpPermissionsEgress"
    (seen,) = [p for p in shown[member] if p["IpProtocol"] == number]
    assert not {"FromPort", "ToPort"} & seen.keys()
    assert [r["CidrIp"] for r in seen["IpRanges"]] == ["192.0.2.1/32"]
    wanted = [{"Name": "tag:cgw:node", "Values": ["tunnel-rules/*"]}]
    (rule,) = aws.ec2.describe_security_group_rules(Filters=wanted)["SecurityGroupRules"]
    assert (rule["SecurityGroupRuleId"], rule["FromPort"]) == (made["SecurityGroupRuleId"], -1)
    assert (rule["IsEgress"], rule["CidrIpv4"]) == (direction == "egress", "192.0.2.1/32")
    assert rule["Tags"] == [{"Key": "cgw:node", "Value": "tunnel-rules/esp"}]
    duplicate = {"GroupId": group, "IpPermissions": [permission]}
    aws.refused("InvalidPermission.Duplicate", f"authorize_security_group_{direction}", **duplicate)
    getattr(aws.ec2, f"revoke_security_group_{direction}")(GroupId=group, IpPermissions=[permission])
    assert aws.ec2.describe_security_group_rules(Filters=wanted)["SecurityGroupRules"] == []


def test_rules_of_a_request_are_made_together_or_not_at_all(aws):
    group = aws.group(aws.vpc())
    udp = [
        {"IpProtocol": "udp", "FromPort": p, "ToPort": p, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]} for p in (500, 4500)
    ]
    made = aws.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=udp)["SecurityGroupRules"]
    assert sorted(r["FromPort"] for r in made) == [500, 4500]
    before = aws.ec2.describe_security_group_rules()["SecurityGroupRules"]
    request = {"GroupId": group, "IpPermissions": ESP + udp[:1]}
    aws.refused("InvalidPermission.Duplicate", "authorize_security_group_ingress", **request)
    assert aws.ec2.describe_security_group_rules()["SecurityGroupRules"] == before
    aws.refused(
        "InvalidParameterValue",
        "authorize_security_group_ingress",
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}],
    )
    aws.ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[made[0]["SecurityGroupRuleId"]])
    left = aws.ec2.describe_security_group_rules()["SecurityGroupRules"]
    assert made[0]["SecurityGroupRuleId"] not in [r["SecurityGroupRuleId"] for r in left]
    assert made[1]["SecurityGroupRuleId"] in [r["SecurityGroupRuleId"] for r in left]


def test_a_group_in_use_stays(aws):
    vpc = aws.vpc()
    used, named, namer = aws.group(vpc, "used"), aws.group(vpc, "named"), aws.group(vpc, "namer")
    interface = aws.interface(aws.subnet(vpc), Groups=[used])
    permission = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": named}]}]
    aws.ec2.authorize_security_group_ingress(GroupId=namer, IpPermissions=permission)
    for group in (used, named):
        aws.refused("DependencyViolation", "delete_security_group", GroupId=group)
    aws.ec2.delete_network_interface(NetworkInterfaceId=interface)
    aws.ec2.revoke_security_group_ingress(GroupId=namer, IpPermissions=permission)
    for group in (used, named, namer):
        aws.ec2.delete_security_group(GroupId=group)
    aws.refused("InvalidGroup.NotFound", "describe_security_groups", GroupIds=[used])
    (default,) = aws.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    aws.refused("CannotDelete", "delete_security_group", GroupId=default["GroupId"])


def test_the_password_is_encrypted_with_the_launch_key(aws):
    instance, _ = aws.instance(aws.subnet(aws.vpc()))
    data = aws.ec2.get_password_data(InstanceId=instance)["PasswordData"]
    private = load_pem_private_key(aws.key.encode(), None)
    assert private.decrypt(base64.b64decode(data), padding.PKCS1v15()) == b"Example-Passw0rd.For.Tests"
    aws.ec2.stop_instances(InstanceIds=[instance])
    assert aws.ec2.get_password_data(InstanceId=instance)["PasswordData"] == ""
