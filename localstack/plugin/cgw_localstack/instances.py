"""Instances and the network interfaces that stand for them."""

import base64

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from .errors import refusal
from .filters import select

# What every Windows instance here is launched with.
PASSWORD = b"Example-Passw0rd.For.Tests"


def only_interface(instance):
    """An instance's network interface. ERR, InvalidInstanceID: which one is meant must be said when there are more."""
    if instance.state == "terminated":
        raise refusal("InvalidInstanceID", f"The instance '{instance.id}' is terminated.")
    if len(instance.nics) > 1:
        raise refusal(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{instance.id}'. Please specify an interface ID for "
            "the operation instead.",
        )
    return instance.nics[0]


def _check_groups(call, identifiers, vpc):
    for identifier in identifiers:
        group = call.backend.get_security_group_from_id(identifier)
        if group is None:
            raise refusal("InvalidGroup.NotFound", f"The security group '{identifier}' does not exist")
        if group.vpc_id != vpc:
            raise refusal("InvalidGroup.NotFound", f"The security group '{identifier}' does not exist in VPC '{vpc}'")


def _resolve(call, image):
    """RunInstances, ImageId: `resolve:ssm:` and one of AWS's public parameters, whose last part begins an image's name here."""
    name = image.removeprefix("resolve:ssm:")
    if name == image:
        return image
    start = name.rpartition("/")[2].partition("-kernel-default")[0]
    found = [i.id for i in call.backend.describe_images() if name.startswith("/aws/service/ami-") and i.name.startswith(start)]
    if not found:
        # ERR
        raise refusal("InvalidParameterValue", f"The parameter {name} could not be resolved.")
    return found[0]


def RunInstances(call):
    request = call.request
    image = _resolve(call, request["ImageId"]) if request.get("ImageId") else None
    specifications = request.get("NetworkInterfaces") or []
    subnet = request.get("SubnetId") or next((s["SubnetId"] for s in specifications if s.get("SubnetId")), None)
    if subnet:
        vpc = call.backend.get_subnet(subnet).vpc_id
        _check_groups(call, request.get("SecurityGroupIds") or [], vpc)
    before = set(call.backend.enis)
    reply = call.stock(ImageId=image) if image else call.stock()
    for identifier in call.backend.enis.keys() - before:
        # API, InstanceNetworkInterfaceSpecification: an interface made by the launch goes with its instance.
        call.backend.enis[identifier].delete_on_termination = True
    return reply


def TerminateInstances(call):
    """API: its interfaces go with it, and with them the association of an Elastic IP."""
    for instance in call.backend.get_multi_instances_by_id(call.ids("InstanceIds")):
        for address in call.backend.addresses:
            if address.eni is not None and address.eni.instance is instance:
                call.backend.disassociate_address(association_id=address.association_id)
    return call.stock()


# Filters that LocalStack's own DescribeInstances lacks or gets wrong.
EXTRA_FILTERS = {
    "availability-zone": lambda v: v["Placement"].get("AvailabilityZone"),
    "network-interface.addresses.association.public-ip": lambda v: [
        i.get("Association", {}).get("PublicIp") for i in v.get("NetworkInterfaces", [])
    ],
    "network-interface.group-id": lambda v: [
        g["GroupId"] for i in v.get("NetworkInterfaces", []) for g in i.get("Groups", [])
    ],
    "network-interface.network-interface-id": lambda v: [
        i["NetworkInterfaceId"] for i in v.get("NetworkInterfaces", [])
    ],
    "network-interface.source-dest-check": lambda v: [i["SourceDestCheck"] for i in v.get("NetworkInterfaces", [])],
    "network-interface.vpc-id": lambda v: [i["VpcId"] for i in v.get("NetworkInterfaces", [])],
    "platform": "Platform",
    "source-dest-check": "SourceDestCheck",
}


def DescribeInstances(call):
    filters = call.request.get("Filters") or []
    extra = [f for f in filters if f["Name"] in EXTRA_FILTERS]
    reply = call.stock(Filters=[f for f in filters if f not in extra] or None) if extra else call.stock()
    for reservation in reply.get("Reservations", []):
        for interface in (i for v in reservation["Instances"] for i in v.get("NetworkInterfaces", [])):
            if not interface.get("Association"):
                # API, InstanceNetworkInterface: absent without a public address.
                interface.pop("Association", None)
        reservation["Instances"] = select(reservation["Instances"], extra, EXTRA_FILTERS)
    reply["Reservations"] = [r for r in reply.get("Reservations", []) if r["Instances"]]
    return reply


def ModifyInstanceAttribute(call):
    if call.request.get("SourceDestCheck") is None and not call.request.get("Groups"):
        return call.stock()
    # Both are the only interface's: `model` makes them one thing.
    interface = only_interface(call.backend.get_instance(call.request["InstanceId"]))
    _check_groups(call, call.request.get("Groups") or [], interface.vpc_id)
    return call.stock()


def ModifyNetworkInterfaceAttribute(call):
    request = call.request
    interface = call.backend.get_network_interface(request["NetworkInterfaceId"])
    if sum(request.get(name) is not None for name in ("Attachment", "Description", "Groups", "SourceDestCheck")) > 1:
        # API: "You can specify only one attribute at a time".
        raise refusal("InvalidParameterCombination", "Only one attribute can be modified at a time.")
    _check_groups(call, request.get("Groups") or [], interface.vpc_id)
    return call.stock()


def GetPasswordData(call):
    """API: the administrator's password, encrypted with the key pair of the launch; empty until it is there."""
    instance = call.backend.get_instance(call.request["InstanceId"])
    pair = call.backend.key_pairs.get(instance.key_name)
    data = ""
    if instance.platform == "windows" and instance.state == "running" and pair and pair.material_public:
        public = load_ssh_public_key(pair.material_public)
        data = base64.b64encode(public.encrypt(PASSWORD, padding.PKCS1v15())).decode()
    return {"InstanceId": instance.id, "PasswordData": data, "Timestamp": instance.launch_time}
