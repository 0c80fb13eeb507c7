"""Gathers the rules: one function an operation, named as the operation is."""

from . import (
    addresses,
    customer_gateways,
    instances,
    networks,
    routes,
    run_command,
    security_groups,
    vpn_connections,
    vpn_gateways,
)


def _of(*modules):
    return {
        name: rule
        for module in modules
        for name, rule in vars(module).items()
        if name[0].isupper()
        and callable(rule)
        and getattr(rule, "__module__", None) == module.__name__
        and not isinstance(rule, type)
    }


EC2 = _of(
    addresses, customer_gateways, instances, networks, routes, security_groups, vpn_connections, vpn_gateways
)
SSM = _of(run_command)
