"""Systems Manager: what reaches an instance, what runs there, and what is kept of it."""

import os
import shutil
from pathlib import Path

import client
import pytest
from botocore.exceptions import ClientError
from conftest import REGION


def find_pwsh():
    beside = Path(__file__).parents[3] / "shared/tools/pwsh/pwsh"
    return os.environ.get("CGW_PWSH") or shutil.which("pwsh") or (str(beside) if beside.exists() else None)


class Ssm:
    """One managed instance."""

    def __init__(self, aws, **more):
        self.aws = aws
        self.instance, _ = aws.instance(aws.subnet(aws.vpc()))
        self.api = client.ssm(aws.url, aws.account, REGION)
        environment = {name: os.environ[name] for name in ("PATH", "HOME")}
        machine = {"engine": find_pwsh() or "/no-pwsh", "environment": environment, **more}
        aws.control("managed", region=REGION, instance=self.instance, machine=machine)

    def send(self, *commands, **more):
        parameters = {"commands": list(commands), **more}
        sent = self.api.send_command(
            InstanceIds=[self.instance], DocumentName="AWS-RunPowerShellScript", Parameters=parameters
        )
        return sent["Command"]["CommandId"]

    def look(self, command):
        return self.api.get_command_invocation(CommandId=command, InstanceId=self.instance)

    def end(self, command):
        while True:
            try:
                seen = self.look(command)
            except self.api.exceptions.InvocationDoesNotExist:
                continue
            if seen["Status"] not in ("Pending", "InProgress"):
                return seen

    def refused(self, code, operation, **request):
        with pytest.raises(ClientError) as caught:
            getattr(self.api, operation)(**request)
        assert caught.value.response["Error"]["Code"] == code


@pytest.fixture
def ssm(aws):
    if not find_pwsh():
        pytest.skip("no pwsh: what runs commands is left out (CGW_PWSH names one)")
    return Ssm(aws)


def test_a_command_runs_and_what_it_said_is_kept(ssm):
    command = ssm.send("[Console]::Out.Write('out')", "[Console]::Error.Write('err')", "exit 7")
    ssm.refused("InvocationDoesNotExist", "get_command_invocation", CommandId=command, InstanceId=ssm.instance)
    seen = ssm.end(command)
    assert (seen["Status"], seen["StatusDetails"], seen["ResponseCode"]) == ("Failed", "Failed", 7)
    assert (seen["StandardOutputContent"], seen["StandardErrorContent"]) == ("out", "err")
    (kept,) = ssm.api.list_commands()["Commands"]
    assert kept["Parameters"]["commands"][2] == "exit 7"
    (kept,) = ssm.api.list_command_invocations(InstanceId=ssm.instance)["CommandInvocations"]
    assert kept["CommandId"] == command


def test_only_the_first_characters_are_kept(ssm):
    seen = ssm.end(ssm.send("[Console]::Out.Write('o' * 24001)", "[Console]::Error.Write('e' * 8001)"))
    assert (len(seen["StandardOutputContent"]), len(seen["StandardErrorContent"])) == (24_000, 8_000)
    assert seen["Status"] == "Success"


def test_a_wish_to_restart_runs_it_again(ssm, tmp_path):
    mark = tmp_path / "mark"
    seen = ssm.end(ssm.send(f"if (Test-Path {mark}) {{ 'again' }} else {{ Set-Content {mark} 1; exit 3010 }}"))
    assert (seen["Status"], seen["StandardOutputContent"]) == ("Success", "again\n")


def test_a_command_ends_at_its_time_or_when_it_is_cancelled(ssm):
    late = ssm.end(ssm.send("Start-Sleep 600", executionTimeout=["1"]))
    assert (late["Status"], late["StatusDetails"]) == ("TimedOut", "ExecutionTimedOut")
    command = ssm.send("Start-Sleep 600")
    ssm.api.cancel_command(CommandId=command)
    assert ssm.end(command)["Status"] == "Cancelled"


def test_a_parameter_is_read_as_on_windows(ssm):
    ssm.api.put_parameter(Name="/cgw/x", Value="secret", Type="SecureString")
    read = f"(Get-SSMParameter -Name /cgw/x -WithDecryption $true -Region {REGION}).Value"
    assert ssm.end(ssm.send(read))["StandardOutputContent"] == "secret\n"
    ssm.api.delete_parameter(Name="/cgw/x")
    assert "ParameterNotFound" in ssm.end(ssm.send(read))["StandardErrorContent"]


@pytest.mark.parametrize(("fate", "status"), [("DeliveryTimedOut", "TimedOut"), ("Undeliverable", "Failed")])
def test_a_command_may_never_arrive(aws, fate, status):
    ssm = Ssm(aws, fate=fate)
    seen = ssm.end(ssm.send("exit"))
    assert (seen["Status"], seen["StatusDetails"], seen["ResponseCode"]) == (status, fate, -1)


def test_only_a_managed_instance_that_runs_is_reached(aws):
    ssm = Ssm(aws)
    request = {"DocumentName": "AWS-RunPowerShellScript", "Parameters": {"commands": ["exit"]}}

    def managed():
        return [one["InstanceId"] for one in ssm.api.describe_instance_information()["InstanceInformationList"]]

    assert managed() == [ssm.instance]
    other, _ = aws.instance(aws.subnet(aws.vpc("10.9.0.0/16"), "10.9.0.0/24"))
    ssm.refused("InvalidInstanceId", "send_command", InstanceIds=[other], **request)
    aws.ec2.stop_instances(InstanceIds=[ssm.instance])
    ssm.refused("InvalidInstanceId", "send_command", InstanceIds=[ssm.instance], **request)
    aws.control("managed", region=REGION, instance=ssm.instance, machine=None)
    assert managed() == []


def test_what_the_document_does_not_take_is_refused(aws):
    ssm = Ssm(aws)
    request = {"InstanceIds": [ssm.instance], "DocumentName": "AWS-RunPowerShellScript"}
    for code, parameters in (
        ("InvalidParameters", {"commands": ["exit"], "more": ["x"]}),
        ("InvalidParameters", {"commands": ["exit"], "executionTimeout": ["0"]}),
        ("ValidationException", {"commands": ["x" * (64 << 10)]}),
    ):
        ssm.refused(code, "send_command", Parameters=parameters, **request)


def test_faults_and_lost_replies_come_here_too(aws):
    ssm = Ssm(aws)
    errors = [["ThrottlingException", "slow", 400], ["InternalServerError", "lost", 500, "after"]]
    aws.control("faults", op="SendCommand", errors=errors)
    request = {"DocumentName": "AWS-RunPowerShellScript", "Parameters": {"commands": ["exit"]}}
    ssm.refused("ThrottlingException", "send_command", InstanceIds=[ssm.instance], **request)
    assert ssm.api.list_commands()["Commands"] == []
    ssm.refused("InternalServerError", "send_command", InstanceIds=[ssm.instance], **request)
    assert len(ssm.api.list_commands()["Commands"]) == 1
