"""Lays the network between the ends: AWS's two endpoints, the Internet, and a server behind an Elastic IP.

All of it is in namespaces that end with the last process of the lab: nothing has to be taken away.
"""

import contextlib
import subprocess
from pathlib import Path

SERVER = "server"
ENDPOINTS = ("aws-1", "aws-2")
# The Internet is the lab's own namespace; its routers share one address, of those for tests of networks (RFC 2544).
ROUTER = "198.18.0.1"


def lay(server, elastic, outsides, host):
    """`server` is the private address behind `elastic`; `host`, an address in the VPC, answers at both endpoints.

    `host` is reached through a tunnel only: in the clear its packets are refused. Each endpoint plays it, so that an answer comes back the way that the
    question went.
    """
    _ip("link set lo up")
    _ip(f"address add {ROUTER}/32 dev lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Each refusal is told, however many there are.
    Path("/proc/sys/net/ipv4/icmp_ratelimit").write_text("0")
    _node(SERVER, server)
    for name, outside in zip(ENDPOINTS, outsides, strict=True):
        _node(name, outside)
        _ip(f"-n {name} address add {host}/32 dev eth0")
    _nft(
        f"""
        table ip internet {{
          chain elastic_in {{
            type nat hook prerouting priority dstnat
            ip daddr {elastic} dnat to {server}
          }}
          chain elastic_out {{
            type nat hook postrouting priority srcnat
            ip saddr {server} snat to {elastic}
          }}
          chain refused {{
            type filter hook prerouting priority filter
            ip daddr {host} reject with icmp net-unreachable
          }}
          chain closed {{
            type filter hook forward priority filter
          }}
        }}
        """
    )


@contextlib.contextmanager
def closed(port):
    """A network that lets a UDP port not through."""
    _nft(f"add rule ip internet closed udp dport {port} drop")
    try:
        yield
    finally:
        _nft("flush chain ip internet closed")


def answers(host):
    """Whether a ping from the server comes back. One in the clear is refused at once: the seconds are for a busy machine."""
    ping = f"ip netns exec {SERVER} ping -q -c 1 -W 5 {host}"
    return subprocess.run(ping.split(), stdout=subprocess.DEVNULL).returncode == 0


def _node(name, address):
    _ip(f"netns add {name}")
    _ip(f"link add {name} type veth peer name eth0 netns {name}")
    _ip(f"link set {name} up")
    _ip(f"route add {address}/32 dev {name}")
    _ip(f"-n {name} link set lo up")
    _ip(f"-n {name} link set eth0 up")
    _ip(f"-n {name} address add {address}/32 dev eth0")
    _ip(f"-n {name} route add default via {ROUTER} dev eth0 onlink")


def _ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def _nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
