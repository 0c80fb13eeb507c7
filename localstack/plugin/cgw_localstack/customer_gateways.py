"""Customer gateways: what AWS knows of the other end."""

import ipaddress
from dataclasses import dataclass

from .account import Life
from .errors import invalid, not_found, refusal
from .filters import select


@dataclass
class CustomerGateway:
    id: str
    # What makes two of them the same.
    type: str
    ip: str | None
    asn: int
    device: str | None
    certificate: str | None
    life: Life

    def identity(self):
        return (self.type, self.ip, self.asn, self.device, self.certificate)


def find(call, identifier: str) -> CustomerGateway:
    gateway = call.region.customer_gateways.get(identifier)
    if gateway is None or gateway.life.is_gone:
        raise not_found("customerGateway", identifier)
    return gateway


def _view(call, gateway, state=None):
    view = {
        "CustomerGatewayId": gateway.id,
        "State": state or gateway.life.state,
        "Type": gateway.type,
        "BgpAsn": str(gateway.asn),
        "Tags": call.tags(gateway.id),
    }
    optional = {"IpAddress": gateway.ip, "DeviceName": gateway.device, "CertificateArn": gateway.certificate}
    return view | {k: v for k, v in optional.items() if v}


def CreateCustomerGateway(call):
    request = call.request
    if request["Type"] != "ipsec.1":
        raise invalid("type", request["Type"])
    ip = request.get("IpAddress") or request.get("PublicIp")
    certificate = request.get("CertificateArn")
    if ip is None and certificate is None:
        raise refusal("MissingParameter", "The request must contain the parameter ipAddress or certificateArn")
    if ip is not None:
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            raise invalid("ipAddress", ip, "Invalid format") from None
    asn = request.get("BgpAsn") or request.get("BgpAsnExtended") or 65000
    if not 1 <= asn <= 4294967295:
        raise invalid("bgpAsn", asn)
    device = request.get("DeviceName")
    if device and len(device) > 255:
        raise invalid("deviceName", device, "It is longer than 255 characters.")

    new = CustomerGateway("", "ipsec.1", ip, asn, device, certificate, Life(call.account, "pending", "available"))
    alive = [g for g in call.region.customer_gateways.values() if not g.life.is_leaving]
    for gateway in alive:
        if gateway.identity() == new.identity():
            # API: "An identical request returns information about the existing customer gateway". It keeps its tags.
            return {"CustomerGateway": _view(call, gateway)}
    if len(alive) >= call.account.quotas["customer-gateways"]:
        # ERR
        raise refusal("CustomerGatewayLimitExceeded", "The maximum number of customer gateways has been reached.")
    # LocalStack's own object carries the tags and is what CreateTags looks for.
    new.id = call.backend.create_customer_gateway("ipsec.1", ip, str(asn), call.wanted_tags()).id
    call.region.customer_gateways[new.id] = new
    return {"CustomerGateway": _view(call, new, new.life.passing)}


def DescribeCustomerGateways(call):
    known, wanted = call.region.customer_gateways, call.ids("CustomerGatewayIds")
    for identifier in wanted:
        if identifier not in known:
            raise not_found("customerGateway", identifier)
    views = [_view(call, known[i]) for i in wanted or known]
    return {
        "CustomerGateways": select(
            views,
            call.request.get("Filters"),
            {
                "bgp-asn": "BgpAsn",
                "customer-gateway-id": "CustomerGatewayId",
                "device-name": "DeviceName",
                "ip-address": "IpAddress",
                "state": "State",
                "type": "Type",
            },
        )
    }


def DeleteCustomerGateway(call):
    gateway = find(call, call.request["CustomerGatewayId"])
    connections = call.region.vpn_connections.values()
    if any(c.customer_gateway == gateway.id and not c.life.is_gone for c in connections):
        # API, DeleteCustomerGateway; TF #23632
        raise refusal("IncorrectState", "The customer gateway is in use.")
    if not gateway.life.is_leaving:
        gateway.life.turn("deleting", "deleted")
