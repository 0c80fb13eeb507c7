"""Reads what cgw made for the server as Windows reads it: netsh's rules, and the main mode of the whole server."""

import json
import re
from dataclasses import dataclass, field

from charon import GROUPS, Connection

# Microsoft's words, as far as AWS has the same («netsh advfirewall», KB 949856; New-NetIPsecMainModeCryptoProposal).
NETSH_GROUPS = {"dhgroup2": 2, "dhgroup14": 14, "dhgroup24": 24, "ecdhp256": 19, "ecdhp384": 20}
CMDLET_GROUPS = {"DH2": 2, "DH14": 14, "DH19": 19, "DH20": 20, "DH24": 24}
CIPHERS = {"aes128": "aes128", "aes256": "aes256"}
GCM = {"aesgcm128": "aes128gcm16", "aesgcm256": "aes256gcm16"}
ESP_HASHES = {"sha1": "sha1", "sha256": "sha256"}
MAIN_MODE_HASHES = {"sha1": "sha1", "sha256": "sha256", "sha384": "sha384"}

# The main mode of a server that nobody has set («netsh advfirewall set global mainmode», its default).
UNTOUCHED = ("aes128-sha1-modp1024", "3des-sha1-modp1024")

# What makes a rule the guide's tunnel; with anything else the lab would play something that Windows does not do.
GUIDE = {
    "enable": "yes",
    "profile": "any",
    "type": "static",
    "mode": "tunnel",
    "protocol": "any",
    "action": "requireinclearout",
    "auth1": "computerpsk",
    "exemptipsecprotectedconnections": "no",
    "applyauthz": "no",
}


@dataclass(frozen=True)
class Rule:
    """One tunnel's connection security rule, in netsh's own words."""

    name: str
    localtunnelendpoint: str
    remotetunnelendpoint: str
    endpoint1: str
    endpoint2: str
    auth1psk: str = field(repr=False)
    qmsecmethods: str
    qmpfs: str


@dataclass(frozen=True)
class Server:
    """The two rules, and the main mode, which they share; its proposals in strongSwan's words."""

    rules: tuple
    main_mode: tuple
    main_mode_seconds: int

    def connections(self):
        return [self._connection(f"tunnel-{n}", rule) for n, rule in enumerate(self.rules, 1)]

    def _connection(self, name, rule):
        methods = [_method(text, rule.qmpfs) for text in rule.qmsecmethods.lower().split(",")]
        return Connection(
            name=name,
            local=rule.localtunnelendpoint,
            remote=rule.remotetunnelendpoint,
            key=rule.auth1psk,
            phase1=self.main_mode,
            phase1_seconds=self.main_mode_seconds,
            phase2=tuple(proposal for proposal, _ in methods),
            phase2_seconds=methods[0][1],
            local_network=rule.endpoint1,
            remote_network=rule.endpoint2,
        )


def read(folder):
    """Reads a folder of `cgw scripts`: the commands for people, and the playbook's parameters, which must agree."""
    rules = tuple(_rule((folder / f"tunnel-{n}.cmd").read_bytes().decode("ascii")) for n in (1, 2))
    parameters = json.loads((folder / "parameters.json").read_text())
    keys = dict(line.split(" ") for line in (folder / "keys.txt").read_text().splitlines())
    # Not by assert alone: its message would quote both, and with them the keys.
    if rules != tuple(_rule_of_playbook(parameters, tunnel, keys) for tunnel in parameters["tunnels"]):
        raise AssertionError("the commands for people and the playbook's parameters are two different things")
    mode = parameters["mainMode"]
    return Server(rules, tuple(map(_suite, mode["suites"])), mode["minutes"] * 60)


def _rule(batch):
    """Reads the command as cmd.exe would: ^ ends a line that goes on, quotes hold a word together."""
    (command,) = re.findall(r"^netsh advfirewall consec add rule (.*)", batch.replace("^\r\n", ""), re.MULTILINE)
    words = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', command)]
    pairs = [word.split("=", 1) for word in words]
    values = {name.lower(): value for name, value in pairs}
    assert len(values) == len(pairs), "netsh takes each parameter once"
    said = {name: values.pop(name, "").lower() for name in GUIDE}
    assert said == GUIDE
    return Rule(**values)


def _rule_of_playbook(parameters, tunnel, keys):
    """The rule that the playbook's step for the tunnels makes (80-tunnels.ps1)."""
    return Rule(
        name=tunnel["name"],
        localtunnelendpoint=parameters["privateIp"],
        remotetunnelendpoint=tunnel["outsideIp"],
        endpoint1=parameters["siteCidr"],
        endpoint2=parameters["cloudCidr"],
        auth1psk=keys[tunnel["outsideIp"]],
        qmsecmethods=tunnel["quickMode"],
        qmpfs=tunnel["pfs"],
    )


def _method(text, pfs):
    """One of QMSecMethods, as a proposal with its seconds; the lab never sends the kilobytes that end a key sooner."""
    integrity, cipher, minutes = re.fullmatch(r"esp:(\w+)-(\w+)\+(\d+)min\+\d+kb", text).groups()
    if cipher in GCM:
        assert integrity == cipher, "netsh wants AES-GCM named for both"
        words = [GCM[cipher]]
    else:
        words = [CIPHERS[cipher], ESP_HASHES[integrity]]
    return "-".join([*words, GROUPS[NETSH_GROUPS[pfs]]]), int(minutes) * 60


def _suite(suite):
    group = GROUPS[CMDLET_GROUPS[suite["keyExchange"]]]
    return "-".join([CIPHERS[suite["encryption"].lower()], MAIN_MODE_HASHES[suite["hash"].lower()], group])
