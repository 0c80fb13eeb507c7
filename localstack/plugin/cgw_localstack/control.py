"""Lets a test change an account while LocalStack runs: POST a JSON object to one of these paths.

/_cgw/settle  {"account", "seconds"}                       how long objects stay pending, attaching, deleting …
/_cgw/tunnels {"account", "up_after": seconds or null, "count": 1 or 2}    when tunnels are UP (null: never), how many
/_cgw/quota   {"account", "quota": {"addresses": 5, …}}    AWS's quotas, per region
/_cgw/faults  {"account", "op", "errors": [[code, message, status], …]}    the next calls of op fail, one error each;
              a fourth element "after" lets the call do its work and then loses the reply; no errors: as before
/_cgw/managed {"account", "region", "instance", "machine": {"engine", "environment": {…}, …}}    Systems Manager reaches the
              instance (null: no longer); `run_command.Machine` has all members

The reply is what the account has now.
"""

import functools
import json
from dataclasses import dataclass

from localstack.http import Request, Response
from localstack.services.edge import ROUTER

from .account import QUOTAS, account
from .errors import refusal
from .run_command import Machine


@dataclass
class Fault:
    error: Exception
    after: bool


def _settle(owner, body):
    owner.settle_in(float(body["seconds"]))


def _tunnels(owner, body):
    owner.tunnel_up = None if body["up_after"] is None else float(body["up_after"])
    owner.tunnels_up = int(body.get("count", 1))


def _quota(owner, body):
    wanted = {name: int(value) for name, value in body["quota"].items()}
    if unknown := wanted.keys() - QUOTAS.keys():
        raise ValueError(f"no such quota: {', '.join(sorted(unknown))}")
    owner.quotas.update(wanted)


def _faults(owner, body):
    waiting = [Fault(refusal(e[0], e[1], int(e[2])), e[3:] == ["after"]) for e in body["errors"]]
    owner.faults.pop(body["op"], None)
    if waiting:
        owner.faults[body["op"]].extend(waiting)


def _managed(owner, body):
    machines = owner.regions[body["region"]].machines
    machines.pop(body["instance"], None)
    if body["machine"]:
        machines[body["instance"]] = Machine(**body["machine"])


def _serve(change):
    def handle(request: Request, **_):
        try:
            body = json.loads(request.get_data())
            owner = account(body["account"])
            with owner.lock:
                change(owner, body)
                now = {
                    "settle": owner.settle,
                    "tunnels": {"up_after": owner.tunnel_up, "count": owner.tunnels_up},
                    "quota": owner.quotas,
                    "faults": {op: len(waiting) for op, waiting in owner.faults.items() if waiting},
                }
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            return Response(json.dumps({"error": f"{type(error).__name__}: {error}"}), status=400)
        return Response(json.dumps(now), mimetype="application/json")

    return handle


CHANGES = {"settle": _settle, "tunnels": _tunnels, "quota": _quota, "faults": _faults, "managed": _managed}


@functools.cache
def serve():
    """Once, whichever service is asked for first."""
    for name, change in CHANGES.items():
        ROUTER.add(f"/_cgw/{name}", _serve(change), methods=["POST"])
