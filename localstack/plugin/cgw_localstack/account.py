"""Holds, for each account, its clock and its faults, and what its regions have beyond LocalStack's own model."""

import collections
import ipaddress
import itertools
import os
import threading
import time
import weakref
from dataclasses import dataclass, field

# VPN, "Quotas", and the Elastic IP quota of EC2: per region.
QUOTAS = {
    "addresses": 5,
    "vpn-gateways": 5,
    "customer-gateways": 50,
    "vpn-connections": 50,
    "vpn-connections-per-gateway": 10,
}


@dataclass
class Region:
    """What a region of an account holds that LocalStack has no place for, by identifier."""

    vpn_gateways: dict = field(default_factory=dict)
    customer_gateways: dict = field(default_factory=dict)
    vpn_connections: dict = field(default_factory=dict)
    # Route table -> the VPN gateways that it takes routes from.
    propagations: dict = field(default_factory=lambda: collections.defaultdict(set))
    # Instance -> the machine that Systems Manager reaches there; identifier -> what was sent to one.
    machines: dict = field(default_factory=dict)
    commands: dict = field(default_factory=dict)
    # (operation, client token) -> (request, reply).
    replies: dict = field(default_factory=dict)


class Account:
    """One account: nothing in it is seen by another, so each test may have its own."""

    def __init__(self):
        # LocalStack's model is plain dictionaries. Calls of one account take turns; those of others do not wait.
        self.lock = threading.RLock()
        self.settle = float(os.environ.get("CGW_LS_SETTLE") or 0)
        self.lives = weakref.WeakSet()
        up = os.environ.get("CGW_LS_TUNNEL_UP")
        self.tunnel_up = float(up) if up else None
        self.tunnels_up = 1
        self.quotas = dict(QUOTAS)
        self.faults = collections.defaultdict(collections.deque)
        self.regions = collections.defaultdict(Region)
        # RFC 5737 addresses look right in documents; RFC 2544 ones follow when a large test has used them up.
        self.elastic_addresses = addresses("203.0.113.0/24", "198.51.100.0/24", "198.18.128.0/17")
        self.tunnel_addresses = addresses("192.0.2.0/24", "198.18.0.0/17")

    def settle_in(self, seconds: float):
        """A shorter time holds for what is on its way, too; a longer one unsettles nothing."""
        self.settle = seconds
        for life in self.lives:
            life.end = min(life.end, life.since + seconds)


def addresses(*networks):
    return itertools.cycle(itertools.chain.from_iterable(map(str, ipaddress.ip_network(n).hosts()) for n in networks))


_accounts = {}
_accounts_lock = threading.Lock()


def account(identifier: str) -> Account:
    found = _accounts.get(identifier)
    if found is None:
        with _accounts_lock:
            found = _accounts.setdefault(identifier, Account())
    return found


class Life:
    """The state of an object of AWS: what was asked for is true only when the account's settle time has passed."""

    def __init__(self, owner: Account, passing: str, final: str):
        self.owner = owner
        owner.lives.add(self)
        self.turn(passing, final)

    def turn(self, passing: str, final: str):
        """Starts another change. `passing` is what the reply to the call that asked for it says."""
        self.passing, self.final = passing, final
        self.since = time.time()
        self.end = self.since + self.owner.settle

    @property
    def state(self) -> str:
        return self.final if time.time() >= self.end else self.passing

    @property
    def is_gone(self) -> bool:
        return self.state == "deleted"

    @property
    def is_leaving(self) -> bool:
        return self.final == "deleted"
