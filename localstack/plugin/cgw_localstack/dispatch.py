"""The one door that every operation passes: faults, dry runs, turns, pages, then a rule or LocalStack's own way."""

import base64
import copy
import functools

from localstack.services.ec2.models import get_ec2_backend
from localstack.services.moto import MotoFallbackDispatcher, call_moto_with_request
from moto.core.exceptions import RESTError

from .account import account
from .errors import invalid, refusal

# API: operation -> the list in its reply that comes in pages.
PAGED = {
    "DescribeInternetGateways": "InternetGateways",
    "DescribeNetworkInterfaces": "NetworkInterfaces",
    "DescribeRouteTables": "RouteTables",
    "DescribeSecurityGroupRules": "SecurityGroupRules",
    "DescribeSecurityGroups": "SecurityGroups",
    "DescribeSubnets": "Subnets",
    "DescribeTransitGatewayVpcAttachments": "TransitGatewayVpcAttachments",
    "DescribeVpcs": "Vpcs",
    "GetVpnConnectionDeviceTypes": "VpnConnectionDeviceTypes",
}

# API: operations with a ClientToken that LocalStack ignores.
TOKENED = {"CreateRouteTable", "RunInstances"}

# Slow, and the same for everybody: nobody's turn is held up for them.
UNLOCKED = {"DescribeImages", "DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeRegions"}


class Call:
    """One request, the account and region that it is for, and LocalStack's own way of answering it."""

    def __init__(self, context, request, stock):
        self.context = context
        self.request = request
        self._stock = stock
        self.account = account(context.account_id)
        self.region = self.account.regions[context.region]

    @functools.cached_property
    def backend(self):
        return get_ec2_backend(self.context.account_id, self.context.region)

    def stock(self, **changes):
        """LocalStack's own answer, to the request as it came or with some members changed (None: left out)."""
        if not changes:
            return self._stock(self.context, self.request)
        changed = {k: v for k, v in {**self.request, **changes}.items() if v is not None}
        return call_moto_with_request(self.context, changed)

    def ids(self, member: str) -> list:
        return self.request.get(member) or []

    def tags(self, identifier: str) -> list:
        return [{"Key": k, "Value": v} for k, v in self.backend.tags.get(identifier, {}).items()]

    def wanted_tags(self) -> dict:
        return {t["Key"]: t["Value"] for s in self.request.get("TagSpecifications") or [] for t in s.get("Tags") or []}


def doors(rules):
    """Makes a service's table of operations, each behind its door."""

    def table(provider):
        stock = MotoFallbackDispatcher(provider)
        return {name: door(name, stock[name], rules.get(name)) for name in stock}

    return table


def door(name, stock, rule):
    def handle(context, request):
        call = Call(context, request, stock)
        fault = _next_fault(call, name)
        if fault and not fault.after:
            raise fault.error
        if request.get("DryRun"):
            # API: a permitted dry run is an error too, and nothing is looked at or done.
            raise refusal("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        try:
            if name in UNLOCKED:
                reply = _answer(call, name, rule)
            else:
                with call.account.lock:
                    reply = _answer(call, name, rule)
        except RESTError as error:
            raise refusal(error.error_type, error.message, error.code) from error
        if fault:
            raise fault.error
        return reply

    return handle


def _next_fault(call, name):
    # Reading the length takes no lock: an account without faults, the usual one, pays nothing.
    if not call.account.faults:
        return None
    with call.account.lock:
        waiting = call.account.faults.get(name)
        return waiting.popleft() if waiting else None


def _answer(call, name, rule):
    if name in PAGED:
        return _page(call, name, rule)
    if name in TOKENED and call.request.get("ClientToken"):
        return _once(call, name, rule)
    return rule(call) if rule else call.stock()


def _page(call, name, rule):
    size, token = call.request.pop("MaxResults", None), call.request.pop("NextToken", None)
    if size is None and token is None:
        return rule(call) if rule else call.stock()
    if size is not None and not 5 <= size <= 1000:
        raise invalid("maxResults", size, "Expecting a value between 5 and 1000.")
    reply = rule(call) if rule else call.stock(MaxResults=None, NextToken=None)
    items = reply[PAGED[name]]
    start = _position(token)
    end = start + (size or 1000)
    reply[PAGED[name]] = items[start:end]
    if end < len(items):
        reply["NextToken"] = base64.b64encode(f"from {end}".encode()).decode()
    else:
        reply.pop("NextToken", None)
    return reply


def _position(token):
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token).decode().removeprefix("from "))
    except ValueError:
        raise refusal("InvalidNextToken", f"The token '{token}' is invalid") from None


def _once(call, name, rule):
    """EC2 developer guide, "Ensuring idempotency": the first reply again; other parameters are an error."""
    key = (name, call.request["ClientToken"])
    if key not in call.region.replies:
        reply = rule(call) if rule else call.stock()
        call.region.replies[key] = (copy.deepcopy(dict(call.request)), copy.deepcopy(reply))
        return reply
    request, reply = call.region.replies[key]
    if request != dict(call.request):
        raise refusal("IdempotentParameterMismatch", "The client token was used with other parameters.")
    return copy.deepcopy(reply)
