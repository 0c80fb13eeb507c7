"""start, stop, seed and dump."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import HERE, Aws, free_port, run


LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def listeners() -> dict:
    """Socket -> (address, port) of all that listens on this machine, from the kernel's tables."""
    rows = [r.split() for t in ("tcp", "tcp6") for r in Path(f"/proc/net/{t}").read_text().splitlines()[1:]]
    return {r[9]: (r[1].split(":")[0], int(r[1].split(":")[1], 16)) for r in rows if r[3] == "0A"}


def sockets(process: Path) -> set:
    try:
        return {os.readlink(f)[8:-1] for f in (process / "fd").iterdir() if os.readlink(f).startswith("socket:")}
    except OSError:
        return set()


@pytest.fixture
def port():
    port = free_port()
    yield port
    run(HERE / "stop", "--port", port)


def attempt(script, *arguments):
    return subprocess.run([HERE / script, *map(str, arguments)], check=False, capture_output=True, text=True)


def test_localstack_listens_on_loopback_only(aws):
    port = int(aws.url.rsplit(":", 1)[1])
    all_of_them = listeners()
    door = next(s for s, (_, p) in all_of_them.items() if p == port)
    owned = next(o for o in map(sockets, Path("/proc").glob("[0-9]*")) if door in o)
    assert {address for s, (address, _) in all_of_them.items() if s in owned} <= LOOPBACK
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_start_is_repeatable_and_stop_ends_it(port):
    url = run(HERE / "start", "--port", port)
    assert url == f"http://127.0.0.1:{port}"
    again = attempt("start", "--port", port)
    assert (again.returncode, again.stdout.strip()) == (0, url)
    assert "already runs" in again.stderr
    other = attempt("start", "--port", port, "--settle", 1)
    assert other.returncode != 0 and "other settings" in other.stderr
    run(HERE / "stop", "--port", port)
    assert port not in {p for _, p in listeners().values()}
    run(HERE / "stop", "--port", port)


def test_start_takes_its_settings(port):
    slow = Aws(run(HERE / "start", "--port", port, "--settle", 3600, "--tunnel-up", 0))
    assert slow.the_vpn_gateway(slow.vpn_gateway())["State"] == "pending"
    slow.control("settle", seconds=0)
    shown = slow.the_connection(slow.connection()["VpnConnectionId"])
    assert sorted(t["Status"] for t in shown["VgwTelemetry"]) == ["DOWN", "UP"]


def test_without_the_plug_in_it_is_localstack_s_own(port):
    stock = Aws(run(HERE / "start", "--port", port, "--stock"))
    connection = stock.connection()["VpnConnectionId"]
    stock.refused(
        "InternalFailure",
        "create_vpn_connection_route",
        status=501,
        VpnConnectionId=connection,
        DestinationCidrBlock="172.31.0.0/16",
    )
    seeded = json.loads(run(HERE / "seed", "--endpoint-url", stock.url, "--account", "123412341234"))
    assert seeded["decoys"]["other_stack"]["vpn_connection"].startswith("vpn-")


def test_a_port_of_somebody_else_is_left_to_them(port):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        answer = attempt("start", "--port", port)
        assert answer.returncode != 0 and "taken by another program" in answer.stderr


def dump(aws, region="eu-west-1"):
    return run(HERE / "dump", "--endpoint-url", aws.url, "--account", aws.account, "--region", region)


def test_the_seed_makes_both_ends_and_other_people_s_things(aws):
    seeded = json.loads(run(HERE / "seed", "--endpoint-url", aws.url, "--account", aws.account, "--second-server"))
    instance = aws.the_instance(seeded["instance"])
    assert (instance["Platform"], instance["State"]["Name"]) == ("windows", "running")
    assert (instance["VpcId"], instance["PrivateIpAddress"]) == (seeded["site_vpc"], seeded["private_ip"])
    assert instance["NetworkInterfaces"][0]["NetworkInterfaceId"] == seeded["eni"]
    assert aws.the_instance(seeded["second_server"]["instance"])["Platform"] == "windows"
    targets = {
        t: [r["GatewayId"] for r in aws.the_table(seeded[t])["Routes"]]
        for t in ("cloud_table", "public_table", "site_table", "main_table")
    }
    assert targets["cloud_table"] == targets["main_table"] == ["local"]
    assert seeded["cloud_igw"] in targets["public_table"] and seeded["site_igw"] in targets["site_table"]
    other = seeded["decoys"]["other_stack"]
    assert aws.the_vpn_gateway(other["vpn_gateway"])["VpcAttachments"] == [{"VpcId": other["vpc"], "State": "attached"}]
    assert aws.the_connection(other["vpn_connection"])["Routes"][0]["State"] == "available"
    strangers = seeded["decoys"]["strangers"]
    assert aws.the_vpn_gateway(strangers["vpn_gateway"])["Tags"] == []
    assert aws.the_instance(strangers["stopped_windows"]["instance"])["State"]["Name"] == "stopped"
    assert "Platform" not in aws.the_instance(strangers["linux"]["instance"])
    # Room is left for a stack of one's own.
    aws.vpn_gateway(seeded["cloud_vpc"])
    aws.address()


def test_the_site_may_be_in_another_region(aws, url):
    text = run(HERE / "seed", "--endpoint-url", url, "--account", aws.account, "--site-region", "eu-central-1")
    seeded = json.loads(text)
    site = Aws(url, "eu-central-1", aws.account)
    assert site.the_instance(seeded["instance"])["VpcId"] == seeded["site_vpc"]
    aws.refused("InvalidInstanceID.NotFound", "describe_instances", InstanceIds=[seeded["instance"]])


def test_a_dump_tells_worlds_apart_and_only_them(aws):
    run(HERE / "seed", "--endpoint-url", aws.url, "--account", aws.account)
    before = dump(aws)
    assert dump(aws) == before
    assert "PreSharedKey" not in before
    gateway = aws.vpn_gateway()
    assert gateway in dump(aws)
    aws.ec2.delete_vpn_gateway(VpnGatewayId=gateway)
    assert dump(aws) == before
