"""Runs strongSwan's IKE daemon with ESP in user space, and tells what it has agreed on with its peers."""

import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

# What both Windows and AWS know, in strongSwan's words. Groups go by their number in IANA's registry.
GROUPS = {2: "modp1024", 14: "modp2048", 19: "ecp256", 20: "ecp384", 24: "modp2048s256"}


@dataclass(frozen=True)
class Connection:
    """One end's view of one tunnel; proposals in strongSwan's words, the best first."""

    name: str
    local: str
    remote: str
    key: str = field(repr=False)
    phase1: tuple
    phase1_seconds: int
    phase2: tuple
    phase2_seconds: int
    local_network: str
    remote_network: str


@dataclass(frozen=True)
class Tunnel:
    """What was negotiated, as cipher/integrity/group; what the tunnel carried, in packets."""

    phase1: str
    phase2: str
    is_behind_nat: bool
    port: str
    received: int
    sent: int


class Stop(Enum):
    """Where a tunnel stops, as its initiator sees it (src/cli/topics/troubleshooting.md)."""

    SILENCE = "no answer"
    PHASE1 = "phase 1 is refused"
    KEY = "phase 1 stops after four messages"
    PHASE2 = "phase 1 is up, phase 2 is refused"
    NETWORKS = "phase 1 is up, the networks are refused"


class Charon:
    """A daemon in a network namespace; `habits` are settings of its own, as below."""

    def __init__(self, programs: Path, namespace: str, folder: Path, habits=""):
        self.programs = programs
        self.folder = folder / namespace
        self.folder.mkdir()
        self.socket = self.folder / "vici"
        self.log = self.folder / "log"
        settings = self.folder / "strongswan.conf"
        settings.write_text(SETTINGS.format(socket=self.socket, habits=habits))
        self.environment = {**os.environ, "STRONGSWAN_CONF": str(settings)}
        # Its process id goes to a fixed place in /run: each daemon sees a /run of its own.
        alone = ["ip", "netns", "exec", namespace, "sh", "-c", 'mount -t tmpfs run /run && exec "$0"']
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*alone, programs / "charon"], env=self.environment, stdout=log, stderr=log
            )

    def load(self, connections):
        """Waits until the daemon listens, and gives it its connections."""
        wait_until(lambda: self._listens() or self.process.poll() is not None, f"{self.folder.name} listens")
        file = self.folder / "swanctl.conf"
        file.write_text(
            "connections {\n" + "".join(map(_connection, connections)) + "}\n"
            "secrets {\n" + "".join(map(_secret, connections)) + "}\n"
        )
        done = self._swanctl("--load-all", "--noprompt", "--file", file)
        assert done.returncode == 0, done.stdout + self.log.read_text()

    def _listens(self):
        """The socket's file is there a moment before anybody listens to it."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0

    def initiate(self, name):
        """Makes a tunnel; returns where it stopped, or nothing if it is up."""
        done = self._swanctl("--initiate", "--child", name)
        if done.returncode == 0:
            return None
        if re.search(r"IKE_SA \S+ established", done.stdout):
            return Stop.NETWORKS if "received INVALID_ID_INFORMATION" in done.stdout else Stop.PHASE2
        if "received NO_PROPOSAL_CHOSEN" in done.stdout:
            return Stop.PHASE1
        # The fifth message is the first that the key protects.
        if "ID_PROT request 0 [ ID HASH" in done.stdout:
            return Stop.KEY
        assert "parsed ID_PROT" not in done.stdout, done.stdout
        return Stop.SILENCE

    def terminate(self, name):
        """Takes a tunnel down, at both ends."""
        done = self._swanctl("--terminate", "--ike", name)
        assert done.returncode == 0, done.stdout

    def tunnels(self):
        """Name → tunnel, of all that are up in both phases."""
        listed = _parse(self._swanctl("--list-sas", "--raw").stdout)
        found = {}
        for name, sa in listed:
            for child in sa.get("child-sas", {}).values():
                found[name] = Tunnel(
                    phase1=_suite(sa),
                    phase2=_suite(child),
                    is_behind_nat=sa.get("nat-local") == "yes",
                    port=sa["remote-port"],
                    received=int(child["packets-in"]),
                    sent=int(child["packets-out"]),
                )
        return found

    def _swanctl(self, *arguments):
        command = [self.programs / "swanctl", *arguments, "--uri", f"unix://{self.socket}"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True)

    def stop(self):
        """Ends the daemon, as one that was cut off: its peers are not told."""
        self.process.kill()
        self.process.wait()


def wait_until(condition, what):
    """Waits for a condition that takes moments, but not for ever."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


# kernel-libipsec stands before kernel-netlink, which then sees to addresses and routes only. Nothing in /etc is read.
# What goes unanswered is given up after ten seconds.
SETTINGS = """
charon {{
  load = random nonce aes sha1 sha2 hmac gcm openssl kdf kernel-libipsec kernel-netlink socket-default vici
  retransmit_base = 1
  retransmit_timeout = 2
  retransmit_tries = 4
  filelog {{
    stderr {{
      default = 1
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{socket}
    }}
  }}
{habits}}}
swanctl {{
  load =
}}
"""

# Where silence is expected, it need not be waited for as long.
GIVES_UP = """\
  retransmit_timeout = 0.7
  retransmit_tries = 2
"""

# Of what both ends know, the peer's order decides, or its own.
PEER_CHOOSES = """\
  prefer_configured_proposals = no
"""
SELF_CHOOSES = """\
  prefer_configured_proposals = yes
"""


def _connection(c):
    # Behind an Elastic IP the server names itself by an address that AWS cannot know: who it is, the key tells.
    return f"""\
  {c.name} {{
    version = 1
    local_addrs = {c.local}
    remote_addrs = {c.remote}
    proposals = {",".join(c.phase1)}
    rekey_time = {c.phase1_seconds}s
    local {{
      auth = psk
      id = {c.local}
    }}
    remote {{
      auth = psk
      id = %any
    }}
    children {{
      {c.name} {{
        local_ts = {c.local_network}
        remote_ts = {c.remote_network}
        esp_proposals = {",".join(c.phase2)}
        rekey_time = {c.phase2_seconds}s
      }}
    }}
  }}
"""


def _secret(c):
    return f"  ike-{c.name} {{\n    id = {c.remote}\n    secret = {c.key}\n  }}\n"


def _suite(sa):
    parts = [f"{sa['encr-alg']}_{sa['encr-keysize']}", sa.get("integ-alg"), sa.get("dh-group")]
    return "/".join(part for part in parts if part)


def _parse(raw):
    """Reads swanctl's --raw form: one `list-sa event {name {key=value key=[value value] section {…}}}` a line."""
    for line in raw.splitlines():
        if line.startswith("list-sa event"):
            words = iter(re.findall(r"\[[^]]*\]|[^\s{}=\[\]]+|[{}]", line.removeprefix("list-sa event")))
            assert next(words) == "{"
            yield from _section(words).items()


def _section(words):
    section = {}
    for name in words:
        if name == "}":
            break
        value = next(words)
        section[name] = _section(words) if value == "{" else value
    return section
