"""Virtual private gateways and their attachment to VPCs."""

from dataclasses import dataclass, field

from .account import Life
from .errors import invalid, not_found, refusal
from .filters import select

# API, CreateVpnGateway: AmazonSideAsn.
PRIVATE_ASNS = (range(64512, 65535), range(4200000000, 4294967295))


@dataclass
class Attachment:
    vpc: str
    life: Life


@dataclass
class VpnGateway:
    id: str
    type: str
    asn: int
    zone: str | None
    life: Life
    attachments: dict[str, Attachment] = field(default_factory=dict)

    def attachment(self) -> Attachment | None:
        """The one attachment that is not over."""
        return next((a for a in self.attachments.values() if a.life.state != "detached"), None)

    def is_attached_to(self, vpc: str) -> bool:
        return vpc in self.attachments and self.attachments[vpc].life.state == "attached"


def find(call, identifier: str) -> VpnGateway:
    gateway = call.region.vpn_gateways.get(identifier)
    if gateway is None or gateway.life.is_gone:
        raise not_found("vpnGateway", identifier)
    return gateway


def _live_connections(call, gateway):
    return [c for c in call.region.vpn_connections.values() if c.vpn_gateway == gateway.id and not c.life.is_gone]


def _view(call, gateway, state=None):
    view = {
        "VpnGatewayId": gateway.id,
        "State": state or gateway.life.state,
        "Type": gateway.type,
        "AmazonSideAsn": gateway.asn,
        # TF #6987: an attachment that is over stays listed as detached.
        "VpcAttachments": [{"VpcId": a.vpc, "State": a.life.state} for a in gateway.attachments.values()],
        "Tags": call.tags(gateway.id),
    }
    if gateway.zone:
        view["AvailabilityZone"] = gateway.zone
    return view


def CreateVpnGateway(call):
    if call.request["Type"] != "ipsec.1":
        raise invalid("type", call.request["Type"])
    asn = call.request.get("AmazonSideAsn") or 64512
    if not any(asn in asns for asns in PRIVATE_ASNS):
        raise invalid("amazonSideAsn", asn, "It is not a private ASN.")
    if sum(not g.life.is_gone for g in call.region.vpn_gateways.values()) >= call.account.quotas["vpn-gateways"]:
        # ERR
        raise refusal("VpnGatewayLimitExceeded", "The maximum number of virtual private gateways has been reached.")
    # LocalStack's own object carries the tags and is what CreateTags looks for.
    carrier = call.backend.create_vpn_gateway("ipsec.1", str(asn), None, call.wanted_tags())
    gateway = VpnGateway(
        carrier.id, "ipsec.1", asn, call.request.get("AvailabilityZone"), Life(call.account, "pending", "available")
    )
    call.region.vpn_gateways[gateway.id] = gateway
    return {"VpnGateway": _view(call, gateway, gateway.life.passing)}


def DescribeVpnGateways(call):
    known, wanted = call.region.vpn_gateways, call.ids("VpnGatewayIds")
    for identifier in wanted:
        if identifier not in known:
            raise not_found("vpnGateway", identifier)
    views = [_view(call, known[i]) for i in wanted or known]
    return {
        "VpnGateways": select(
            views,
            call.request.get("Filters"),
            {
                "amazon-side-asn": "AmazonSideAsn",
                "attachment.state": lambda v: [a["State"] for a in v["VpcAttachments"]],
                "attachment.vpc-id": lambda v: [a["VpcId"] for a in v["VpcAttachments"]],
                "availability-zone": "AvailabilityZone",
                "state": "State",
                "type": "Type",
                "vpn-gateway-id": "VpnGatewayId",
            },
        )
    }


def DeleteVpnGateway(call):
    gateway = find(call, call.request["VpnGatewayId"])
    # API, DeleteVpnGateway: detach it and delete its connections first. TF #23632: IncorrectState otherwise.
    if gateway.attachment() or _live_connections(call, gateway):
        raise refusal("IncorrectState", "The VPN gateway is in use.")
    if not gateway.life.is_leaving:
        gateway.life.turn("deleting", "deleted")


def AttachVpnGateway(call):
    gateway, vpc = find(call, call.request["VpnGatewayId"]), call.request["VpcId"]
    call.backend.get_vpc(vpc)
    if gateway.life.state != "available":
        raise refusal("InvalidVpnGatewayState", "The virtual private gateway is not in an available state.")
    standing = gateway.attachment()
    if standing and standing.vpc == vpc and standing.life.final == "attached":
        # belief: the same attachment again is no error.
        return {"VpcAttachment": {"VpcId": vpc, "State": standing.life.state}}
    if standing:
        # ERR
        raise refusal(
            "VpnGatewayAttachmentLimitExceeded",
            "The maximum number of virtual private gateway attachments has been reached.",
        )
    for other in call.region.vpn_gateways.values():
        if (taken := other.attachment()) and taken.vpc == vpc:
            # cloudposse/terraform-aws-vpn-connection #22
            raise refusal(
                "InvalidVpcState", f"VPC {vpc} is currently attached to the Virtual Private Gateway {other.id}"
            )
    gateway.attachments[vpc] = Attachment(vpc, Life(call.account, "attaching", "attached"))
    return {"VpcAttachment": {"VpcId": vpc, "State": "attaching"}}


def DetachVpnGateway(call):
    gateway, vpc = find(call, call.request["VpnGatewayId"]), call.request["VpcId"]
    standing = gateway.attachment()
    if standing is None or standing.vpc != vpc:
        # ERR
        raise refusal(
            "InvalidVpnGatewayAttachment.NotFound",
            f"The attachment with vpn gateway ID '{gateway.id}' and vpc ID '{vpc}' does not exist.",
        )
    if any(c.life.state in ("pending", "modifying", "deleting") for c in _live_connections(call, gateway)):
        # TF #11720: passes by itself.
        raise refusal(
            "InvalidParameterValue",
            "This call cannot be completed because there are pending VPNs or Virtual Interfaces",
        )
    if standing.life.final != "detached":
        standing.life.turn("detaching", "detached")
    # API, EnableVgwRoutePropagation: only an attached gateway propagates.
    for gateways in call.region.propagations.values():
        gateways.discard(gateway.id)
