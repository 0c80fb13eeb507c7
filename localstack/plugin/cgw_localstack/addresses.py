"""Elastic IP addresses."""

from . import instances
from .errors import not_found, refusal
from .filters import select


def AllocateAddress(call):
    held = {a.public_ip for a in call.backend.addresses}
    if len(held) >= call.account.quotas["addresses"]:
        # ERR
        raise refusal("AddressLimitExceeded", "The maximum number of addresses has been reached.")
    wanted = call.request.get("Address") or next(ip for ip in call.account.elastic_addresses if ip not in held)
    address = call.backend.allocate_address("vpc", wanted, call.wanted_tags())
    return {
        "PublicIp": address.public_ip,
        "AllocationId": address.allocation_id,
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": call.context.region,
    }


def _view(call, address):
    view = {
        "PublicIp": address.public_ip,
        "AllocationId": address.allocation_id,
        "Domain": address.domain,
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": call.context.region,
        "Tags": call.tags(address.allocation_id),
    }
    if address.eni:
        view |= {
            "AssociationId": address.association_id,
            "NetworkInterfaceId": address.eni.id,
            "NetworkInterfaceOwnerId": address.eni.owner_id,
            "PrivateIpAddress": address.eni.private_ip_address,
        }
        if address.eni.instance:
            view["InstanceId"] = address.eni.instance.id
    return view


def DescribeAddresses(call):
    held = call.backend.addresses
    for identifier in call.ids("AllocationIds"):
        if identifier not in {a.allocation_id for a in held}:
            raise refusal("InvalidAllocationID.NotFound", f"The allocation ID '{identifier}' does not exist")
    for ip in call.ids("PublicIps"):
        if ip not in {a.public_ip for a in held}:
            raise refusal("InvalidAddress.NotFound", f"Address '{ip}' not found.")
    wanted = set(call.ids("AllocationIds")) | set(call.ids("PublicIps"))
    views = [_view(call, a) for a in held if not wanted or {a.allocation_id, a.public_ip} & wanted]
    return {
        "Addresses": select(
            views,
            call.request.get("Filters"),
            {
                "allocation-id": "AllocationId",
                "association-id": "AssociationId",
                "domain": "Domain",
                "instance-id": "InstanceId",
                "network-border-group": "NetworkBorderGroup",
                "network-interface-id": "NetworkInterfaceId",
                "network-interface-owner-id": "NetworkInterfaceOwnerId",
                "private-ip-address": "PrivateIpAddress",
                "public-ip": "PublicIp",
            },
        )
    }


def _named(call):
    """The address that a request names in either way."""
    allocation, ip = call.request.get("AllocationId"), call.request.get("PublicIp")
    for address in call.backend.addresses:
        if address.allocation_id == allocation or address.public_ip == ip:
            return address
    if allocation:
        raise refusal("InvalidAllocationID.NotFound", f"The allocation ID '{allocation}' does not exist")
    raise refusal("InvalidAddress.NotFound", f"Address '{ip}' not found.")


def AssociateAddress(call):
    address = _named(call)
    if call.request.get("NetworkInterfaceId"):
        interface = call.backend.enis.get(call.request["NetworkInterfaceId"])
        if interface is None:
            raise not_found("networkInterface", call.request["NetworkInterfaceId"])
    elif call.request.get("InstanceId"):
        interface = instances.only_interface(call.backend.get_instance(call.request["InstanceId"]))
    else:
        raise refusal("MissingParameter", "Either the instance ID or the network interface ID must be specified")

    if not any(g.vpc and g.vpc.id == interface.vpc_id for g in call.backend.internet_gateways.values()):
        # ERR
        raise refusal("Gateway.NotAttached", f"Network {interface.vpc_id} is not attached to any internet gateway")
    if address.eni is interface:
        # API: "idempotent … doesn't return an error".
        return {"AssociationId": address.association_id}
    # API: "Reassociation is automatic, but you can specify false to ensure the operation fails".
    there = next((a for a in call.backend.addresses if a.eni is interface), None)
    if call.request.get("AllowReassociation") is False and (address.eni or there):
        busy = address.allocation_id if address.eni else interface.id
        raise refusal("Resource.AlreadyAssociated", f"resource {busy} is already associated with another resource")
    if there:
        call.backend.disassociate_address(association_id=there.association_id)
    if address.eni:
        call.backend.disassociate_address(association_id=address.association_id)
    call.backend.associate_address(eni=interface, allocation_id=address.allocation_id)
    address.instance = interface.instance
    return {"AssociationId": address.association_id}


def ReleaseAddress(call):
    address = _named(call)
    if address.eni:
        # API: "you must … disassociate … first. Otherwise, … InvalidIPAddress.InUse".
        raise refusal("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
    call.backend.release_address(allocation_id=address.allocation_id)
