"""Systems Manager's Run Command on instances that a test has made managed: what is sent to them is really run.

A command runs as the agent runs it, in a process of its own, by the PowerShell that the test names; in it the commands of
the AWS Tools for PowerShell are those of `modules`. Beside the short names of the package:
  SSM      AWS Systems Manager API reference, the page of the operation named
  SSM user AWS Systems Manager user guide
  AGENT    aws/amazon-ssm-agent, the source of the agent
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from localstack import config

from .errors import refusal

DOCUMENT = "AWS-RunPowerShellScript"
# SSM user, "Quotas": the size of a document; of which one the parameters become a part.
LARGEST = 64 << 10
# SSM, GetCommandInvocation: the first characters of both; nothing says that there were more.
KEPT_OUTPUT, KEPT_ERROR = 24_000, 8_000
# belief: for how long a command that was just sent is unknown.
UNKNOWN = 0.3
# SSM user, "Understanding command statuses": what becomes of a command that reaches no agent.
NEVER_RUN = {"DeliveryTimedOut": "TimedOut", "Undeliverable": "Failed"}
# What is left here, where an exit code has eight bits, of 3010.
RESTART = 3010 & 0xFF
MODULES = Path(__file__).parent / "modules"


@dataclass
class Machine:
    """A managed instance: which PowerShell runs its commands, in what environment, and what its agent is like."""

    engine: str
    environment: dict
    ping: str = "Online"
    # One of NEVER_RUN: what becomes of every command.
    fate: str | None = None


@dataclass
class Invocation:
    """One command on one instance."""

    request: dict
    instance: str
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    since: float = field(default_factory=time.time)
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    output: str = ""
    error: str = ""
    process: subprocess.Popen | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self, status, details=None):
        """The first end is the one that counts."""
        with self.lock:
            if self.status in ("Pending", "InProgress"):
                self.status, self.details = status, details or status

    def start(self, command, **how):
        with self.lock:
            if self.status not in ("Pending", "InProgress"):
                return None
            self.status = self.details = "InProgress"
            self.process = subprocess.Popen(command, start_new_session=True, **how)
            return self.process

    def kill(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def shown(self):
        return {
            "CommandId": self.identifier,
            "InstanceId": self.instance,
            "Comment": self.request.get("Comment", ""),
            "DocumentName": DOCUMENT,
            "Status": self.status,
            "StatusDetails": self.details,
        }

    def command(self):
        shown = {key: value for key, value in self.shown().items() if key != "InstanceId"}
        parameters = {"Parameters": self.request["Parameters"], "InstanceIds": [self.instance]}
        return {**shown, **parameters, "RequestedDateTime": self.since}


def _run(invocation, machine, account):
    seconds = int(invocation.request["Parameters"].get("executionTimeout", ["3600"])[0])
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "_script.ps1"
        script.write_text("\n".join(invocation.request["Parameters"]["commands"]))
        environment = {
            **machine.environment,
            "PSModulePath": str(MODULES),
            "CGW_LS_URL": config.internal_service_url(),
            "CGW_LS_ACCOUNT": account,
        }
        # AGENT: how it calls Windows PowerShell.
        call = [machine.engine, "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "unrestricted", "-File", str(script)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        while process := invocation.start(call, env=environment, cwd=folder, **pipes):
            try:
                output, error = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                invocation.end("TimedOut", "ExecutionTimedOut")
                invocation.kill()
                output, error = process.communicate()
            invocation.output = output.decode("utf-8", "replace")[:KEPT_OUTPUT]
            invocation.error = error.decode("utf-8", "replace")[:KEPT_ERROR]
            invocation.code = process.returncode
            # SSM user, "Rebooting managed node from scripts": the machine restarts, then all of it runs again.
            if process.returncode != RESTART:
                break
        invocation.end("Failed" if invocation.code else "Success")


def SendCommand(call):
    request = call.request
    if request["DocumentName"] != DOCUMENT:
        raise refusal("InvalidDocument", f"Document with name {request['DocumentName']} does not exist.")
    parameters = request.get("Parameters") or {}
    if parameters.keys() - {"commands", "executionTimeout", "workingDirectory"} or not parameters.get("commands"):
        raise refusal("InvalidParameters", "")
    limit = parameters.get("executionTimeout", ["3600"])
    if len(limit) != 1 or not re.fullmatch("[1-9][0-9]{0,5}", limit[0]) or int(limit[0]) > 172_800:
        raise refusal("InvalidParameters", "")
    if not 30 <= request.get("TimeoutSeconds", 3600) <= 2_592_000 or len(request.get("Comment", "")) > 100:
        raise refusal("ValidationException", "A member does not satisfy its constraint.")
    if len(json.dumps(parameters)) > LARGEST:
        # belief: the code.
        raise refusal("ValidationException", "The parameters exceed the size limit of 64 KB.")
    (instance,) = request["InstanceIds"]
    machine = call.region.machines.get(instance)
    known = call.backend.all_instances()
    if machine is None or machine.ping != "Online" or instance not in (i.id for i in known if i.state == "running"):
        raise refusal("InvalidInstanceId", "Instances not in a valid state for account " + call.context.account_id)
    invocation = Invocation(dict(request), instance)
    call.region.commands[invocation.identifier] = invocation
    if machine.fate:
        invocation.end(NEVER_RUN[machine.fate], machine.fate)
    else:
        threading.Thread(target=_run, args=(invocation, machine, call.context.account_id), daemon=True).start()
    return {"Command": invocation.command()}


def GetCommandInvocation(call):
    found = call.region.commands.get(call.request["CommandId"])
    if not found or found.instance != call.request["InstanceId"] or time.time() - found.since < UNKNOWN:
        raise refusal("InvocationDoesNotExist", "")
    # The process may write its last while it is looked at.
    under_way = found.status in ("Pending", "InProgress")
    output, error = ("", "") if under_way else (found.output, found.error)
    return {
        **found.shown(),
        "PluginName": "aws:runPowerShellScript",
        "ResponseCode": found.code,
        "StandardOutputContent": output,
        "StandardErrorContent": error,
    }


def _newest(call):
    wanted = {"identifier": call.request.get("CommandId"), "instance": call.request.get("InstanceId")}
    found = [
        one for one in call.region.commands.values() if all(v in (None, getattr(one, k)) for k, v in wanted.items())
    ]
    return sorted(found, key=lambda one: -one.since)


def ListCommandInvocations(call):
    return {"CommandInvocations": [one.shown() for one in _newest(call)]}


def ListCommands(call):
    """SSM user, "Run Command history": for 30 days, with all parameters, for everybody who may list."""
    return {"Commands": [one.command() for one in _newest(call)]}


def CancelCommand(call):
    found = call.region.commands.get(call.request["CommandId"])
    if not found:
        raise refusal("InvalidCommandId", "")
    found.end("Cancelled")
    found.kill()
    return {}


def DescribeInstanceInformation(call):
    machines = call.region.machines
    for one in call.request.get("Filters") or []:
        if one["Key"] != "InstanceIds":
            raise refusal("InvalidFilterKey", "")
        machines = {name: machine for name, machine in machines.items() if name in one["Values"]}
    listed = [
        {"InstanceId": name, "PingStatus": machine.ping, "PlatformType": "Windows"} for name, machine in machines.items()
    ]
    return {"InstanceInformationList": listed}
