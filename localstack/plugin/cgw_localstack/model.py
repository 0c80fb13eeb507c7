"""Mends LocalStack's own EC2 model (moto's classes) where two views of one thing disagree or looking is slow."""

import random

from moto.ec2 import utils
from moto.ec2.models import elastic_network_interfaces
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance


class OfPrimaryInterface:
    """An attribute of an instance that is really its primary network interface's.

    API, ModifyInstanceAttribute and ModifyNetworkInterfaceAttribute: groups and the source/destination check are one
    thing with two names. Until the instance has an interface, the value waits in the instance.
    """

    def __init__(self, name: str, interface_name: str):
        self.name, self.interface_name = name, interface_name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        interface = instance.__dict__.get("nics", {}).get(0)
        if interface is None:
            return instance.__dict__.get(self.name)
        return getattr(interface, self.interface_name)

    def __set__(self, instance, value):
        interface = instance.__dict__.get("nics", {}).get(0)
        if interface is None:
            instance.__dict__[self.name] = value
        else:
            setattr(interface, self.interface_name, value)


def _tags(resource):
    # The original asks DescribeTags, which compiles patterns and looks through every tag of the region.
    tags = resource.ec2_backend.tags.get(resource.id, {}) if resource.id else {}
    kind = utils.EC2_PREFIX_TO_RESOURCE.get(utils.get_prefix(resource.id), "") if tags else ""
    return [{"resource_id": resource.id, "key": k, "value": v, "resource_type": kind} for k, v in tags.items()]


def _mac_address():
    return ":".join(["02", *(f"{random.randrange(256):02x}" for _ in range(5))])


def mend():
    Instance.source_dest_check = OfPrimaryInterface("source_dest_check", "source_dest_check")
    Instance.security_groups = OfPrimaryInterface("security_groups", "_group_set")
    NetworkInterface.group_set = property(lambda interface: interface._group_set)
    TaggedEC2Resource.get_tags = _tags
    # API, TagSpecification: the type is elastic-ip.
    utils.EC2_PREFIX_TO_RESOURCE["eipalloc"] = "elastic-ip"
    # The original writes no hexadecimal and forgets the colons.
    elastic_network_interfaces.random_mac_address = _mac_address
    # An address that an instance gets by itself: RFC 2544, apart from those that accounts allocate.
    elastic_network_interfaces.random_public_ip = lambda: f"198.19.{random.randint(0, 255)}.{random.randint(1, 254)}"
