"""VPCs, subnets and Internet gateways: what may not go while others depend on it."""

from .errors import refusal


def DeleteSubnet(call):
    subnet = call.backend.get_subnet(call.request["SubnetId"])
    if any(i.subnet.id == subnet.id for i in call.backend.enis.values()):
        # ERR
        raise refusal("DependencyViolation", f"The subnet '{subnet.id}' has dependencies and cannot be deleted.")
    return call.stock()


def DeleteVpc(call):
    vpc = call.request["VpcId"]
    for gateway in call.region.vpn_gateways.values():
        if (standing := gateway.attachment()) and standing.vpc == vpc:
            # ERR
            raise refusal("DependencyViolation", f"The vpc '{vpc}' has dependencies and cannot be deleted.")
    return call.stock()


def DetachInternetGateway(call):
    vpc = call.request["VpcId"]
    if any(a.eni is not None and a.eni.vpc_id == vpc for a in call.backend.addresses):
        # API, DetachInternetGateway: no running instance with an Elastic IP address.
        raise refusal("DependencyViolation", f"Network {vpc} has some mapped public address(es).")
    return call.stock()
