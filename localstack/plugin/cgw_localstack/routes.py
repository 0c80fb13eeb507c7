"""Route tables: routes and whether they lead anywhere, associations, and what VPN gateways propagate."""

import ipaddress

from moto.ec2.models.route_tables import Route

from . import instances
from .errors import invalid, not_found, refusal
from .filters import select


def _destination(call) -> str:
    text = call.request.get("DestinationCidrBlock")
    try:
        # API, CreateRoute: "We modify the specified CIDR block to its canonical form".
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        raise invalid("destinationCidrBlock", text, "This is not a valid CIDR block.") from None


def _gateway(call, identifier: str, vpc: str):
    """The gateway that a route of the VPC is to lead to: API, CreateRoute; ERR, Gateway.NotAttached."""
    if identifier.startswith("vgw-"):
        gateway = call.region.vpn_gateways.get(identifier)
        if gateway is None or gateway.life.is_gone:
            raise refusal("InvalidGatewayID.NotFound", f"The gateway ID '{identifier}' does not exist")
        if not gateway.is_attached_to(vpc):
            raise refusal("Gateway.NotAttached", f"resource {identifier} is not attached to network {vpc}")
        return call.backend.get_vpn_gateway(identifier)
    if identifier.startswith("igw-"):
        gateway = call.backend.internet_gateways.get(identifier)
        if gateway is None:
            raise refusal("InvalidGatewayID.NotFound", f"The gateway ID '{identifier}' does not exist")
        if gateway.vpc is None or gateway.vpc.id != vpc:
            raise refusal("Gateway.NotAttached", f"resource {identifier} is not attached to network {vpc}")
        return gateway
    return None


def _our_target(call, table) -> dict | None:
    """The target of the request, checked, when it is of a kind that a VPN needs."""
    request = call.request
    if request.get("GatewayId"):
        gateway = _gateway(call, request["GatewayId"], table.vpc_id)
        return {"gateway": gateway} if gateway else None
    if request.get("NetworkInterfaceId"):
        interface = call.backend.get_network_interface(request["NetworkInterfaceId"])
    elif request.get("InstanceId"):
        # API, CreateRoute: a route to an instance is one to its only network interface.
        interface = instances.only_interface(call.backend.get_instance(request["InstanceId"]))
    else:
        return None
    if interface.vpc_id != table.vpc_id:
        raise refusal(
            "InvalidParameterValue", f"route table {table.id} and interface {interface.id} belong to different networks"
        )
    return {"interface": interface}


def CreateRoute(call):
    if not call.request.get("DestinationCidrBlock"):
        return call.stock()
    table, cidr = call.backend.get_route_table(call.request["RouteTableId"]), _destination(call)
    for route in table.routes.values():
        if route.destination_cidr_block == cidr:
            if route.local:
                raise invalid("destinationCidrBlock", cidr, "It is one of the VPC's own CIDR blocks.")
            # ERR
            raise refusal("RouteAlreadyExists", f"The route identified by {cidr} already exists.")
    target = _our_target(call, table)
    if target is None:
        return call.stock()
    route = Route(table, cidr, None, **target)
    table.routes[route.id] = route
    return {"Return": True}


def ReplaceRoute(call):
    if not call.request.get("DestinationCidrBlock"):
        return call.stock()
    table, cidr = call.backend.get_route_table(call.request["RouteTableId"]), _destination(call)
    target = _our_target(call, table)
    if target is None:
        return call.stock()
    for route in table.routes.values():
        if route.destination_cidr_block == cidr and not route.local:
            table.routes[route.id] = Route(table, cidr, None, **target)
            return None
    # moto #replace_route: the real service says this and not InvalidRoute.NotFound.
    raise refusal("InvalidParameterValue", f"There is no route defined for '{cidr}' in the route table.")


def DeleteRoute(call):
    if not call.request.get("DestinationCidrBlock"):
        return call.stock()
    return call.stock(DestinationCidrBlock=_destination(call))


def _targets(route) -> dict:
    found = {
        "GatewayId": route.gateway or route.vpc_endpoint_id,
        "NatGatewayId": route.nat_gateway,
        "EgressOnlyInternetGatewayId": route.egress_only_igw,
        "TransitGatewayId": route.transit_gateway,
        "VpcPeeringConnectionId": route.vpc_pcx,
        "CarrierGatewayId": route.carrier_gateway,
        "NetworkInterfaceId": route.interface,
    }
    return {name: getattr(target, "id", target) for name, target in found.items() if target}


def _is_blackhole(call, table, route) -> bool:
    """API, Route: "the specified gateway isn't attached to the VPC, or the … instance has been terminated"."""
    gateway, interface = route.gateway, route.interface
    if gateway is not None and gateway.id.startswith("vgw-"):
        held = call.region.vpn_gateways.get(gateway.id)
        return held is None or not held.is_attached_to(table.vpc_id)
    if gateway is not None and gateway.id.startswith("igw-"):
        return gateway.vpc is None or gateway.vpc.id != table.vpc_id
    if interface is not None:
        return interface.id not in call.backend.enis or interface.instance is None or _is_dead(interface.instance)
    return False


def _is_dead(instance) -> bool:
    return instance.state in ("shutting-down", "terminated")


def _route_view(call, table, route):
    view = {}
    if route.destination_cidr_block:
        view["DestinationCidrBlock"] = route.destination_cidr_block
    if route.destination_ipv6_cidr_block:
        view["DestinationIpv6CidrBlock"] = route.destination_ipv6_cidr_block
    if route.destination_prefix_list:
        view["DestinationPrefixListId"] = route.destination_prefix_list.id
    if route.local:
        return view | {"GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}
    view |= _targets(route)
    if route.interface is not None and route.interface.instance is not None:
        view |= {"InstanceId": route.interface.instance.id, "InstanceOwnerId": route.interface.owner_id}
    view["Origin"] = "CreateRoute"
    view["State"] = "blackhole" if _is_blackhole(call, table, route) else "active"
    return view


def _propagated(call, table):
    """VPN, "Route tables": prefixes of connections that are up; a static route to the same place comes first."""
    taken = {r.destination_cidr_block for r in table.routes.values()}
    for gateway in sorted(call.region.propagations.get(table.id, ())):
        for connection in call.region.vpn_connections.values():
            if connection.vpn_gateway == gateway and connection.is_up():
                for cidr in connection.prefixes():
                    if cidr not in taken:
                        taken.add(cidr)
                        yield {
                            "DestinationCidrBlock": cidr,
                            "GatewayId": gateway,
                            "Origin": "EnableVgwRoutePropagation",
                            "State": "active",
                        }


def _associations(table):
    found = [(table.main_association_id, None)] if table.main_association_id else []
    found += table.associations.items()
    for identifier, target in found:
        view = {
            "RouteTableAssociationId": identifier,
            "RouteTableId": table.id,
            "Main": target is None,
            "AssociationState": {"State": "associated"},
        }
        if target:
            view["SubnetId" if target.startswith("subnet-") else "GatewayId"] = target
        yield view


def _view(call, table):
    return {
        "RouteTableId": table.id,
        "VpcId": table.vpc_id,
        "OwnerId": table.owner_id,
        "Routes": [_route_view(call, table, r) for r in table.routes.values()] + list(_propagated(call, table)),
        "Associations": list(_associations(table)),
        "PropagatingVgws": [{"GatewayId": g} for g in sorted(call.region.propagations.get(table.id, ()))],
        "Tags": call.tags(table.id),
    }


def _each(member, name):
    return lambda v: [x.get(name) for x in v[member]]


FILTERS = {
    "association.gateway-id": _each("Associations", "GatewayId"),
    "association.main": _each("Associations", "Main"),
    "association.route-table-association-id": _each("Associations", "RouteTableAssociationId"),
    "association.route-table-id": _each("Associations", "RouteTableId"),
    "association.subnet-id": _each("Associations", "SubnetId"),
    "owner-id": "OwnerId",
    "route-table-id": "RouteTableId",
    "route.destination-cidr-block": _each("Routes", "DestinationCidrBlock"),
    "route.destination-ipv6-cidr-block": _each("Routes", "DestinationIpv6CidrBlock"),
    "route.gateway-id": _each("Routes", "GatewayId"),
    "route.instance-id": _each("Routes", "InstanceId"),
    "route.nat-gateway-id": _each("Routes", "NatGatewayId"),
    "route.network-interface-id": _each("Routes", "NetworkInterfaceId"),
    "route.origin": _each("Routes", "Origin"),
    "route.state": _each("Routes", "State"),
    "route.transit-gateway-id": _each("Routes", "TransitGatewayId"),
    "vpc-id": "VpcId",
}


def DescribeRouteTables(call):
    tables = call.backend.route_tables
    wanted = call.ids("RouteTableIds")
    for identifier in wanted:
        if identifier not in tables:
            raise not_found("routeTable", identifier)
    views = [_view(call, tables[i]) for i in wanted or tables]
    return {"RouteTables": select(views, call.request.get("Filters"), FILTERS)}


def DeleteRouteTable(call):
    table = call.backend.get_route_table(call.request["RouteTableId"])
    if table.main_association_id:
        # API, DeleteRouteTable: "You can't delete the main route table".
        raise refusal("DependencyViolation", f"The routeTable '{table.id}' has dependencies and cannot be deleted.")
    reply = call.stock()
    call.region.propagations.pop(table.id, None)
    return reply


def AssociateRouteTable(call):
    subnet = call.request.get("SubnetId")
    if subnet:
        call.backend.get_route_table(call.request["RouteTableId"])
        for table in call.backend.route_tables.values():
            if subnet in table.associations.values():
                # ERR
                raise refusal(
                    "Resource.AlreadyAssociated",
                    f"the specified association for route table {call.request['RouteTableId']} conflicts with an "
                    "existing association",
                )
    return call.stock()


def _table_and_gateway(call):
    table = call.backend.get_route_table(call.request["RouteTableId"])
    gateway = call.region.vpn_gateways.get(call.request["GatewayId"])
    if gateway is None or gateway.life.is_gone:
        raise refusal("InvalidGatewayID.NotFound", f"The gateway ID '{call.request['GatewayId']}' does not exist")
    return table, gateway


def EnableVgwRoutePropagation(call):
    table, gateway = _table_and_gateway(call)
    if not gateway.is_attached_to(table.vpc_id):
        # API: the gateway must be attached to the table's VPC; attaching is not enough.
        raise refusal("Gateway.NotAttached", f"resource {gateway.id} is not attached to network {table.vpc_id}")
    call.region.propagations[table.id].add(gateway.id)


def DisableVgwRoutePropagation(call):
    table, gateway = _table_and_gateway(call)
    call.region.propagations[table.id].discard(gateway.id)
