"""Tells whether a port of loopback is free, and waits until the LocalStack on it answers for EC2."""

import os
import socket
import sys
import time
import urllib.request

PATIENCE = 180  # seconds: a first start on a busy machine unpacks its service catalogue


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port):
    """Asks one EC2 question: services load on their first call, which the first user should not pay for."""
    credential = "000000000000/20260101/us-east-1/ec2/aws4_request"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/",
        data=b"Action=DescribeVpcs&Version=2016-11-15",
        headers={
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status == 200
    except OSError:
        return False


def wait(port, pid):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not os.path.exists(f"/proc/{pid}"):
            return False
        if answers(port):
            return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    verb, port, *rest = sys.argv[1:]
    done = {"free": is_free, "wait": wait}[verb](int(port), *map(int, rest))
    sys.exit(0 if done else 1)
