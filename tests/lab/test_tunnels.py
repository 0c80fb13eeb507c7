"""Two tunnels between what `cgw up` made at AWS and what `cgw scripts` made for the server: up, and broken in each way.

The expectations are written out by hand: they are what each profile promises, and not taken from what is tested.
"""

import contextlib
import ipaddress
import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import aws
import network
import pytest
import windows
from charon import GIVES_UP, PEER_CHOOSES, SELF_CHOOSES, Charon, Stop

FOLDER = Path(os.environ["CGW_LAB_FOLDER"])
PROGRAMS = Path(os.environ["CGW_LAB_PROGRAMS"])

GUIDE = "AES_CBC_128/HMAC_SHA1_96/MODP_1024"
MODERN = "AES_CBC_256/HMAC_SHA2_256_128/MODP_2048"
# Profile → what phase 1 and phase 2 agree on.
PROFILES = {
    "guide": (GUIDE, GUIDE),
    "modern": (MODERN, MODERN),
    "strict": (MODERN, MODERN),
    "strong": ("AES_CBC_256/HMAC_SHA2_384_192/ECP_384", "AES_GCM_16_256/ECP_384"),
}
BOTH = ("tunnel-1", "tunnel-2")


def made(profile):
    """What cgw made for a profile, as Windows and as AWS read it."""
    folder = FOLDER / profile
    return windows.read(folder / "scripts"), aws.read(json.loads((folder / "connection.json").read_text()))


def host_of(server):
    """An address in the VPC."""
    return str(ipaddress.ip_network(server.rules[0].endpoint2)[10])


@pytest.fixture(scope="session", autouse=True)
def laid():
    server, endpoints = made("modern")
    network.lay(
        server=server.rules[0].localtunnelendpoint,
        elastic=endpoints[0].customer,
        outsides=[endpoint.outside for endpoint in endpoints],
        host=host_of(server),
    )


number = itertools.count(1)


@contextlib.contextmanager
def running(server, endpoints, habits="", habits_of_aws=PEER_CHOOSES):
    """Runs both ends: gives the server's daemon, and those of AWS."""
    folder = FOLDER / f"case-{next(number)}"
    folder.mkdir()
    daemons = [Charon(PROGRAMS, network.SERVER, folder, habits)]
    daemons += [Charon(PROGRAMS, name, folder, habits_of_aws) for name in network.ENDPOINTS]
    try:
        daemons[0].load(server.connections())
        for daemon, endpoint in zip(daemons[1:], endpoints, strict=True):
            daemon.load([endpoint.connection()])
        yield daemons[0], daemons[1:]
    finally:
        for daemon in daemons:
            daemon.stop()


def stops(server, endpoints, habits=""):
    """Where each of the two tunnels stops."""
    with running(server, endpoints, habits) as (charon, _), ThreadPoolExecutor() as pool:
        return list(pool.map(charon.initiate, BOTH))


def with_rules(server, **changes):
    return replace(server, rules=tuple(replace(rule, **changes) for rule in server.rules))


@pytest.mark.parametrize("profile", PROFILES)
def test_both_tunnels_come_up_and_each_carries_a_ping(profile):
    server, endpoints = made(profile)
    host = host_of(server)
    with running(server, endpoints) as (charon, aws_ends):
        assert not network.answers(host), "there is a way into the VPC beside the tunnels"
        assert [charon.initiate(name) for name in BOTH] == [None, None]
        tunnels = charon.tunnels()
        assert {name: (t.phase1, t.phase2) for name, t in tunnels.items()} == dict.fromkeys(BOTH, PROFILES[profile])
        # Behind an Elastic IP all goes over UDP 4500.
        assert {(t.is_behind_nat, t.port) for t in tunnels.values()} == {(True, "4500")}
        for end in aws_ends:
            (at_aws,) = end.tunnels().values()
            assert (at_aws.phase1, at_aws.phase2) == PROFILES[profile]
        # The server sends all through one of the two; the other takes over when that is gone.
        used = []
        for _ in BOTH:
            assert network.answers(host)
            used += [name for name, t in charon.tunnels().items() if t.sent and t.received]
            charon.terminate(used[-1])
        assert sorted(used) == list(BOTH)
        assert not network.answers(host)


def test_a_server_that_ignores_its_main_mode_still_comes_up_with_modern():
    server, endpoints = made("modern")
    with running(replace(server, main_mode=windows.UNTOUCHED), endpoints) as (charon, _):
        assert charon.initiate("tunnel-1") is None
        tunnel = charon.tunnels()["tunnel-1"]
        assert (tunnel.phase1, tunnel.phase2) == (GUIDE, MODERN)


def test_an_aws_that_goes_by_its_own_order_may_fall_back_with_modern():
    # The API's lists have no order that AWS promises, so with two suites on offer nobody knows which: it is read back.
    server, endpoints = made("modern")
    weak = "aes128-sha1-modp1024"
    weak_first = [replace(e, phase1=(weak, *(p for p in e.phase1 if p != weak))) for e in endpoints]
    with running(server, weak_first, habits_of_aws=SELF_CHOOSES) as (charon, _):
        assert charon.initiate("tunnel-1") is None
        assert charon.tunnels()["tunnel-1"].phase1 == GUIDE


@pytest.mark.parametrize("profile", ["strict", "strong"])
def test_a_server_that_ignores_its_main_mode_is_refused_with(profile):
    server, endpoints = made(profile)
    assert stops(replace(server, main_mode=windows.UNTOUCHED), endpoints) == [Stop.PHASE1] * 2


def test_aws_accepts_no_other_profile_than_its_options_allow():
    _, endpoints = made("strict")
    server, _ = made("guide")
    assert stops(server, endpoints) == [Stop.PHASE1] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"qmsecmethods": "ESP:SHA1-AES256+60min+100000kb"},
        {"qmsecmethods": "ESP:SHA256-AES128+60min+100000kb"},
        {"qmpfs": "dhgroup2"},
    ],
    ids=["integrity", "cipher", "pfs"],
)
def test_another_quick_mode_is_refused(change):
    server, endpoints = made("modern")
    assert stops(with_rules(server, **change), endpoints) == [Stop.PHASE2] * 2


def test_a_wrong_key_stops_its_own_tunnel_in_phase_1():
    server, endpoints = made("modern")
    first, second = server.rules
    wrong = replace(second, auth1psk=second.auth1psk[:-1] + ("a" if second.auth1psk[-1] != "a" else "b"))
    assert stops(replace(server, rules=(first, wrong)), endpoints, GIVES_UP) == [None, Stop.KEY]


def test_swapped_keys_stop_both_tunnels_in_phase_1():
    server, endpoints = made("modern")
    first, second = server.rules
    swapped = (replace(first, auth1psk=second.auth1psk), replace(second, auth1psk=first.auth1psk))
    assert stops(replace(server, rules=swapped), endpoints, GIVES_UP) == [Stop.KEY] * 2


def test_a_closed_port_4500_looks_like_a_wrong_key():
    server, endpoints = made("modern")
    with network.closed(4500):
        assert stops(server, endpoints, GIVES_UP) == [Stop.KEY] * 2


def test_a_wrong_endpoint_does_not_answer():
    server, endpoints = made("modern")
    first, second = server.rules
    lost = replace(first, remotetunnelendpoint="198.51.100.99")
    assert stops(replace(server, rules=(lost, second)), endpoints, GIVES_UP) == [Stop.SILENCE, None]


def test_networks_that_aws_does_not_have_are_refused():
    server, endpoints = made("modern")
    other = [replace(endpoint, customer_network="192.168.0.0/16") for endpoint in endpoints]
    assert stops(server, other) == [Stop.NETWORKS] * 2


def test_a_wrong_endpoint_2_comes_up_and_carries_nothing():
    server, endpoints = made("modern")
    host = host_of(server)
    with running(with_rules(server, endpoint2="10.99.0.0/16"), endpoints) as (charon, _):
        assert [charon.initiate(name) for name in BOTH] == [None, None]
        assert not network.answers(host)
