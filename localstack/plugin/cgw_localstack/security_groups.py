"""Security groups: rules of protocols without ports, rules' tags, and what may not go while it is in use."""

from .errors import not_found, refusal

# IANA's numbers of the two IPsec protocols. API, IpPermission: a protocol may be named or numbered; ports go with
# tcp, udp, icmp and icmpv6 alone.
NUMBERS = {"esp": "50", "ah": "51"}
WITH_PORTS = {"tcp", "6", "udp", "17", "icmp", "1", "icmpv6", "58"}


def _permissions(call) -> list[dict]:
    request = call.request
    given = request.get("IpPermissions")
    if given is None:
        # The short form, one permission spread over the request.
        given = [{k: request[k] for k in ("IpProtocol", "FromPort", "ToPort") if k in request}]
        if request.get("CidrIp"):
            given[0]["IpRanges"] = [{"CidrIp": request["CidrIp"]}]
    return [_with_ports(dict(p)) for p in given]


def _with_ports(permission):
    protocol = str(permission.get("IpProtocol") or "").lower()
    protocol = NUMBERS.get(protocol, protocol)
    if protocol in ("-1", "all"):
        return permission
    if protocol not in WITH_PORTS:
        # API, IpPermission: for other protocols all ports are meant, whatever was given. LocalStack wants a number.
        return permission | {"IpProtocol": protocol, "FromPort": -1, "ToPort": -1}
    if permission.get("FromPort") is None or permission.get("ToPort") is None:
        if protocol in ("icmp", "1", "icmpv6", "58"):
            return permission | {"FromPort": -1, "ToPort": -1}
        raise refusal(
            "InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange."
        )
    return permission


def _rule_view(call, rule):
    view = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "GroupOwnerId": rule.owner_id,
        "IsEgress": rule.is_egress,
        "IpProtocol": rule.ip_protocol,
        "FromPort": -1 if rule.from_port is None else rule.from_port,
        "ToPort": -1 if rule.to_port is None else rule.to_port,
        "Tags": call.tags(rule.id),
    }
    optional = {
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "PrefixListId": rule.prefix_list_id,
        "Description": rule.description or rule.source_group.get("Description"),
    }
    if rule.source_group:
        view["ReferencedGroupInfo"] = {
            "GroupId": rule.source_group.get("GroupId"),
            "UserId": rule.source_group.get("UserId") or rule.owner_id,
        }
    return view | {k: v for k, v in optional.items() if v}


def _authorize(call, is_egress):
    """API: all rules of a request or none, and all of them in the answer; LocalStack answers with the last ones."""
    backend, name = call.backend, call.request.get("GroupId") or call.request.get("GroupName")
    add = backend.authorize_security_group_egress if is_egress else backend.authorize_security_group_ingress
    group = backend.get_security_group_by_name_or_id(name)
    if group is None:
        raise refusal("InvalidGroup.NotFound", f"The security group '{name}' does not exist")
    before = list(group.egress_rules if is_egress else group.ingress_rules)
    made = []
    try:
        for permission in _permissions(call):
            rules, _ = add(
                group.id,
                permission.get("IpProtocol"),
                permission.get("FromPort"),
                permission.get("ToPort"),
                [*(permission.get("IpRanges") or []), *(permission.get("Ipv6Ranges") or [])],
                sgrule_tags=call.wanted_tags(),
                source_groups=permission.get("UserIdGroupPairs") or [],
                prefix_list_ids=permission.get("PrefixListIds") or [],
            )
            made += rules
    except Exception:
        if is_egress:
            group.egress_rules = before
        else:
            group.ingress_rules = before
        raise
    return {"Return": True, "SecurityGroupRules": [_rule_view(call, r) for r in made]}


def AuthorizeSecurityGroupIngress(call):
    return _authorize(call, is_egress=False)


def AuthorizeSecurityGroupEgress(call):
    return _authorize(call, is_egress=True)


def _revoke(call):
    if call.request.get("IpPermissions"):
        return call.stock(IpPermissions=_permissions(call))
    return call.stock()


def RevokeSecurityGroupIngress(call):
    return _revoke(call)


def RevokeSecurityGroupEgress(call):
    return _revoke(call)


def DescribeSecurityGroups(call):
    reply = call.stock()
    for group in reply.get("SecurityGroups", []):
        for permission in [*group.get("IpPermissions", []), *group.get("IpPermissionsEgress", [])]:
            if permission["IpProtocol"] not in ("tcp", "udp", "icmp", "icmpv6"):
                # API, IpPermission: absent here. SecurityGroupRule has -1 instead.
                permission.pop("FromPort", None)
                permission.pop("ToPort", None)
    return reply


def DescribeSecurityGroupRules(call):
    wanted = call.request.get("SecurityGroupRuleIds")
    reply = call.stock()
    rules = reply.get("SecurityGroupRules", [])
    if wanted and (unknown := set(wanted) - {r["SecurityGroupRuleId"] for r in rules}):
        raise not_found("securityGroupRule", unknown.pop())
    return reply


def DeleteSecurityGroup(call):
    """ERR, DependencyViolation and CannotDelete."""
    name = call.request.get("GroupId") or call.request.get("GroupName")
    group = call.backend.get_security_group_by_name_or_id(name)
    if group is not None:
        if group.name == "default":
            raise refusal(
                "CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
            )
        in_use = any(group in i._group_set for i in call.backend.enis.values())
        if in_use or _is_referenced(call, group):
            raise refusal("DependencyViolation", f"resource {group.id} has a dependent object")
    return call.stock()


def _is_referenced(call, group):
    others = (g for groups in call.backend.groups.values() for g in groups.values() if g is not group)
    return any(r.source_group.get("GroupId") == group.id for g in others for r in g.ingress_rules + g.egress_rules)
