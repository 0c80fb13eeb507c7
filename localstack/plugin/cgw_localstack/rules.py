"""Gathers the rules: one function an operation, named as the operation is."""

from . import addresses, customer_gateways, instances, networks, routes, security_groups, vpn_connections, vpn_gateways

RULES = {
    name: rule
    for module in (
        addresses,
        customer_gateways,
        instances,
        networks,
        routes,
        security_groups,
        vpn_connections,
        vpn_gateways,
    )
    for name, rule in vars(module).items()
    if name[0].isupper()
    and callable(rule)
    and getattr(rule, "__module__", None) == module.__name__
    and not isinstance(rule, type)
}
