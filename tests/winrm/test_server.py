"""Checks the WinRM service of the tests with two clients that others have written: pywinrm and pypsrp."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pypsrp.exceptions
import pytest
import winrm
import winrm.exceptions
from pypsrp.shell import Process, WinRS
from pypsrp.wsman import WSMan

HERE = Path(__file__).parent
# pywinrm would believe it more than what it is told.
os.environ.pop("REQUESTS_CA_BUNDLE", None)
USER, PASSWORD = "Administrator", "P@ss w0rd!"
POWERSHELL = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
# Runs what it is given as a script of sh, by way of the encoding that PowerShell wants.
STAND_IN = """#!/bin/sh
for last; do :; done
exec sh -c "$(printf %s "$last" | base64 -d | iconv -f UTF-16LE)"
"""


class Running:
    def __init__(self, process, told):
        self.process, self.told = process, told

    @property
    def port(self):
        return self.told["port"]

    def do(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def session(self, transport, password=PASSWORD, **options):
        scheme = "https" if "fingerprint" in self.told else "http"
        url = f"{scheme}://127.0.0.1:{self.port}/wsman"
        return winrm.Session(url, auth=(USER, password), transport=transport, **options)

    def wsman(self, auth, password=PASSWORD, **options):
        is_tls = "fingerprint" in self.told
        return WSMan(
            "127.0.0.1", port=self.port, username=USER, password=password, auth=auth, ssl=is_tls,
            no_proxy=True, **({"cert_validation": self.told["ca"]} if is_tls else {}), **options,
        )  # fmt: skip


@pytest.fixture
def start(tmp_path):
    running = []

    def start(**setup):
        programs, state = tmp_path / "programs", tmp_path / f"state{len(running)}"
        programs.mkdir(exist_ok=True)
        state.mkdir()
        stand_in = programs / "powershell.exe"
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        setup = {"state": str(state), "path_first": str(programs), "user": USER, "password": PASSWORD} | setup
        process = subprocess.Popen(
            [sys.executable, HERE / "server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        process.stdin.write(json.dumps(setup) + "\n")
        process.stdin.flush()
        server = Running(process, json.loads(process.stdout.readline()))
        running.append(server)
        return server

    yield start
    for server in running:
        server.process.stdin.close()
        assert server.process.wait() == 0
        server.process.stdout.close()


@pytest.fixture(params=["http", "https"])
def server(request, start):
    return start(tls="ca" if request.param == "https" else None)


def trusting(server):
    return {"ca_trust_path": server.told["ca"]} if "ca" in server.told else {}


def test_pywinrm_runs_commands(server):
    session = server.session("ntlm", **trusting(server))
    result = session.run_cmd("echo", ["one", "two"])
    assert (result.status_code, result.std_out) == (0, b"one two\n")
    result = session.run_ps("echo out; echo oops >&2; exit 3")
    assert (result.status_code, result.std_out, result.std_err) == (3, b"out\n", b"oops\n")
    result = session.run_cmd("no-such-program")
    assert result.status_code == 1
    assert b"is not recognized" in result.std_err
    stats = server.do(do="stats")
    assert stats["shells"] == 0
    # Over HTTP everything was sealed.
    assert ("clear" in stats["counts"]) == ("ca" in server.told)


def test_pywinrm_logs_in_by_basic(start):
    server = start(tls="ca", offers=["Negotiate", "Basic"])
    assert server.session("basic", **trusting(server)).run_cmd("echo", ["hi"]).std_out == b"hi\n"


def test_pywinrm_is_refused_with_a_wrong_password_and_in_the_clear(server):
    with pytest.raises(winrm.exceptions.InvalidCredentialsError):
        server.session("ntlm", "wrong", **trusting(server)).run_cmd("echo")
    if "ca" not in server.told:
        with pytest.raises(winrm.exceptions.WinRMTransportError, match="500"):
            server.session("ntlm", message_encryption="never").run_cmd("echo")
        assert "Create" not in server.do(do="stats")["counts"]


def test_a_line_that_is_too_long_for_cmd_is_refused(server):
    result = server.session("ntlm", **trusting(server)).run_ps("echo " + "x" * 4000)
    assert (result.status_code, result.std_err) == (1, b"The command line is too long.\r\n")


@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_pypsrp_feeds_follows_and_ends_a_process(server, auth, tmp_path):
    with WinRS(server.wsman(auth)) as shell:
        process = Process(shell, "cat")
        process.begin_invoke()
        process.send(b"x" * 100_000, end=False)
        process.send(b"end", end=True)
        process.end_invoke()
        assert (process.rc, process.stdout) == (0, b"x" * 100_000 + b"end")
    stats = server.do(do="stats")
    assert stats["shells"] == 0
    assert stats["counts"].get("clear", 0) == 0 or "ca" in server.told


@pytest.mark.parametrize("tls", [None, "ca"])
def test_pypsrp_polls_again_while_a_command_is_silent(start, tls, tmp_path):
    server = start(tls=tls, max_timeout=0.05)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with WinRS(server.wsman("negotiate")) as shell:
        process = Process(shell, "cat", [str(gate)])
        process.begin_invoke()
        for _ in range(3):
            process.poll_invoke()
        gate.write_text("at last")
        process.end_invoke()
        assert (process.rc, process.stdout) == (0, b"at last")
    assert server.do(do="stats")["counts"]["w:TimedOut"] >= 3


def test_pypsrp_seals_within_tls_too(start):
    server = start(tls="ca")
    with WinRS(server.wsman("ntlm", encryption="always")) as shell:
        process = Process(shell, "echo", ["hi"])
        process.invoke()
        assert process.stdout == b"hi\n"
    assert "clear" not in server.do(do="stats")["counts"]


def test_without_cmd_a_program_needs_its_path(start):
    server = start()
    with WinRS(server.wsman("ntlm")) as shell:
        process = Process(shell, "powershell.exe", ["-EncodedCommand", "ZQA="], no_shell=True)
        with pytest.raises(pypsrp.exceptions.WSManFaultError) as error:
            process.invoke()
        assert error.value.code == 2147942402
        # "exit 7" in UTF-16.
        process = Process(shell, POWERSHELL, ["-EncodedCommand", "ZQB4AGkAdAAgADcA"], no_shell=True)
        process.invoke()
        assert process.rc == 7


def test_pypsrp_ends_a_command_by_a_signal(start):
    server = start()
    with WinRS(server.wsman("ntlm")) as shell:
        process = Process(shell, "sleep", ["600"])
        process.begin_invoke()
        assert server.do(do="stats")["commands"] == 1
        process.signal("http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/Terminate")
        process.end_invoke()
        assert process.rc == 0xC000013A


def test_a_user_who_is_no_administrator_is_told_so(start):
    server = start(is_admin=False)
    with pytest.raises(pypsrp.exceptions.WSManFaultError) as error:
        WinRS(server.wsman("ntlm")).open()
    assert error.value.code == 5


def test_a_login_is_bound_to_the_certificate(start):
    server = start(tls="ca", hash="sha384")
    with pytest.raises(pypsrp.exceptions.AuthenticationError):
        WinRS(server.wsman("ntlm", negotiate_send_cbt=False)).open()
    with WinRS(server.wsman("ntlm")):
        assert server.do(do="stats")["shells"] == 1


def test_a_user_has_only_so_many_shells(start):
    server = start(max_shells=1)
    with WinRS(server.wsman("ntlm")), pytest.raises(pypsrp.exceptions.WSManFaultError) as error:
        WinRS(server.wsman("ntlm")).open()
    assert error.value.code == 2150859174
