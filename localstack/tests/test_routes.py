"""Route tables: routes, associations, propagation."""

SITE = "172.31.0.0/16"


def route_to(aws, table, cidr=SITE):
    return next((r for r in aws.the_table(table)["Routes"] if r.get("DestinationCidrBlock") == cidr), None)


def test_a_route_needs_an_attached_vpn_gateway_and_falls_with_it(aws):
    vpc = aws.vpc()
    table, gateway = aws.table(vpc), aws.vpn_gateway()
    request = {"RouteTableId": table, "DestinationCidrBlock": SITE, "GatewayId": gateway}
    aws.refused("Gateway.NotAttached", "create_route", **request)
    aws.refused("InvalidGatewayID.NotFound", "create_route", **request | {"GatewayId": "vgw-00000000000000000"})
    aws.ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    aws.ec2.create_route(**request)
    route = {"DestinationCidrBlock": SITE, "GatewayId": gateway, "Origin": "CreateRoute"}
    assert route_to(aws, table) == route | {"State": "active"}
    aws.ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    assert route_to(aws, table) == route | {"State": "blackhole"}
    aws.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=SITE)
    aws.refused("InvalidRoute.NotFound", "delete_route", RouteTableId=table, DestinationCidrBlock=SITE)


def test_a_route_to_an_internet_gateway_needs_it_in_the_vpc(aws):
    vpc = aws.vpc()
    table, gateway = aws.table(vpc), aws.internet_gateway()
    request = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway}
    aws.refused("Gateway.NotAttached", "create_route", **request)
    aws.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    aws.ec2.create_route(**request)
    assert route_to(aws, table, "0.0.0.0/0")["GatewayId"] == gateway


def test_a_second_route_to_one_place_is_refused_whatever_its_target(aws):
    vpc = aws.vpc(internet=True)
    subnet = aws.subnet(vpc)
    instance, interface = aws.instance(subnet)
    gateway, table = aws.vpn_gateway(vpc), aws.table(vpc)
    for target in ({"NetworkInterfaceId": interface}, {"InstanceId": instance}, {"GatewayId": gateway}):
        aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock=SITE, **target)
        for again in ({"NetworkInterfaceId": interface}, {"InstanceId": instance}, {"GatewayId": gateway}):
            request = {"RouteTableId": table, "DestinationCidrBlock": SITE}
            aws.refused("RouteAlreadyExists", "create_route", **request, **again)
        aws.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=SITE)


def test_a_route_to_an_instance_is_one_to_its_interface(aws):
    vpc = aws.vpc()
    instance, interface = aws.instance(aws.subnet(vpc))
    table = aws.table(vpc)
    aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock=SITE, InstanceId=instance)
    aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock="172.30.0.0/16", NetworkInterfaceId=interface)
    for cidr in (SITE, "172.30.0.0/16"):
        route = route_to(aws, table, cidr)
        assert (route["InstanceId"], route["NetworkInterfaceId"]) == (instance, interface)
        assert (route["InstanceOwnerId"], route["State"]) == (aws.account, "active")
    aws.ec2.terminate_instances(InstanceIds=[instance])
    assert route_to(aws, table)["State"] == "blackhole"


def test_routes_are_written_in_canonical_form(aws):
    vpc = aws.vpc()
    table, gateway = aws.table(vpc), aws.vpn_gateway(vpc)
    aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock="172.31.5.6/16", GatewayId=gateway)
    assert route_to(aws, table)["State"] == "active"
    aws.refused(
        "InvalidParameterValue", "create_route", RouteTableId=table, DestinationCidrBlock="172.31", GatewayId=gateway
    )
    aws.refused(
        "InvalidParameterValue",
        "create_route",
        RouteTableId=table,
        DestinationCidrBlock="10.0.0.0/16",
        GatewayId=gateway,
    )


def test_an_interface_of_another_vpc_is_no_target(aws):
    elsewhere = aws.interface(aws.subnet(aws.vpc("10.9.0.0/16"), "10.9.1.0/24"))
    table = aws.table(aws.vpc())
    request = {"RouteTableId": table, "DestinationCidrBlock": SITE, "NetworkInterfaceId": elsewhere}
    aws.refused("InvalidParameterValue", "create_route", **request)


def test_replacing_a_route_changes_its_target(aws):
    vpc = aws.vpc()
    instance, interface = aws.instance(aws.subnet(vpc))
    table, gateway = aws.table(vpc), aws.vpn_gateway(vpc)
    request = {"RouteTableId": table, "DestinationCidrBlock": SITE}
    aws.refused("InvalidParameterValue", "replace_route", **request, GatewayId=gateway)
    aws.ec2.create_route(**request, NetworkInterfaceId=interface)
    aws.refused("Gateway.NotAttached", "replace_route", **request, GatewayId=aws.vpn_gateway())
    aws.ec2.replace_route(**request, GatewayId=gateway)
    route = route_to(aws, table)
    assert route["GatewayId"] == gateway and "NetworkInterfaceId" not in route


def test_a_subnet_has_one_table(aws):
    vpc = aws.vpc()
    subnet, one, two = aws.subnet(vpc), aws.table(vpc), aws.table(vpc)
    aws.ec2.associate_route_table(RouteTableId=one, SubnetId=subnet)
    aws.refused("Resource.AlreadyAssociated", "associate_route_table", RouteTableId=two, SubnetId=subnet)
    aws.refused("Resource.AlreadyAssociated", "associate_route_table", RouteTableId=one, SubnetId=subnet)
    association = aws.the_table(one)["Associations"][0]
    assert (association["SubnetId"], association["Main"]) == (subnet, False)
    aws.refused("DependencyViolation", "delete_route_table", RouteTableId=one)
    aws.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    aws.ec2.delete_route_table(RouteTableId=one)
    assert aws.ec2.describe_route_tables(Filters=[{"Name": "route-table-id", "Values": [one]}])["RouteTables"] == []


def test_the_main_table_stays(aws):
    vpc = aws.vpc()
    wanted = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]
    (main,) = aws.ec2.describe_route_tables(Filters=wanted)["RouteTables"]
    aws.refused("DependencyViolation", "delete_route_table", RouteTableId=main["RouteTableId"])


def test_propagation_needs_an_attached_gateway(aws):
    vpc = aws.vpc()
    table, gateway = aws.table(vpc), aws.vpn_gateway()
    request = {"RouteTableId": table, "GatewayId": gateway}
    aws.refused("Gateway.NotAttached", "enable_vgw_route_propagation", **request)
    aws.control("settle", seconds=3600)
    aws.ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    aws.refused("Gateway.NotAttached", "enable_vgw_route_propagation", **request)
    aws.control("settle", seconds=0)
    aws.ec2.enable_vgw_route_propagation(**request)
    assert aws.the_table(table)["PropagatingVgws"] == [{"GatewayId": gateway}]
    aws.ec2.disable_vgw_route_propagation(**request)
    assert aws.the_table(table)["PropagatingVgws"] == []
    unknown = request | {"GatewayId": "vgw-00000000000000000"}
    aws.refused("InvalidGatewayID.NotFound", "enable_vgw_route_propagation", **unknown)
    aws.refused(
        "InvalidRouteTableID.NotFound", "enable_vgw_route_propagation", **request | {"RouteTableId": "rtb-00000000"}
    )


def test_propagated_routes_are_there_while_a_tunnel_is_up(aws):
    vpc = aws.vpc()
    table, gateway = aws.table(vpc), aws.vpn_gateway(vpc)
    connection = aws.connection(gateway)["VpnConnectionId"]
    aws.ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock=SITE)
    aws.ec2.enable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)
    assert route_to(aws, table) is None
    aws.control("tunnels", up_after=0)
    propagated = {"GatewayId": gateway, "Origin": "EnableVgwRoutePropagation", "State": "active"}
    assert route_to(aws, table) == propagated | {"DestinationCidrBlock": SITE}
    # A route that somebody made comes first.
    aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock=SITE, GatewayId=gateway)
    assert route_to(aws, table)["Origin"] == "CreateRoute"
    assert len(aws.the_table(table)["Routes"]) == 2
    aws.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=SITE)
    aws.ec2.disable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)
    assert route_to(aws, table) is None


def test_tables_are_found_by_their_routes_and_associations(aws):
    vpc = aws.vpc()
    subnet, table, gateway = aws.subnet(vpc), aws.table(vpc), aws.vpn_gateway(vpc)
    aws.table(vpc)
    aws.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    aws.ec2.create_route(RouteTableId=table, DestinationCidrBlock=SITE, GatewayId=gateway)
    aws.ec2.create_tags(Resources=[table], Tags=[{"Key": "cgw:stack", "Value": "one"}])

    def found(name, *values):
        wanted = [{"Name": name, "Values": list(values)}]
        return [t["RouteTableId"] for t in aws.ec2.describe_route_tables(Filters=wanted)["RouteTables"]]

    assert found("association.subnet-id", subnet) == [table]
    assert found("route.gateway-id", gateway) == [table]
    assert found("route.origin", "CreateRoute") == [table]
    assert found("tag:cgw:stack", "one") == [table]
    assert found("route.state", "blackhole") == []
    aws.ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    assert found("route.state", "blackhole") == [table]
