"""The options of one tunnel: checked, completed, and as EC2 shows them."""

import ipaddress
import random
import re
import string

from .errors import invalid, refusal

# API, VpnTunnelOptionsSpecification, from here to the end of the file unless said.
ENCRYPTION = {"AES128", "AES256", "AES128-GCM-16", "AES256-GCM-16"}
INTEGRITY = {"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"}
CHOICES = {
    "Phase1EncryptionAlgorithms": ENCRYPTION,
    "Phase2EncryptionAlgorithms": ENCRYPTION,
    "Phase1IntegrityAlgorithms": INTEGRITY,
    "Phase2IntegrityAlgorithms": INTEGRITY,
    "Phase1DHGroupNumbers": {2, *range(14, 25)},
    "Phase2DHGroupNumbers": {2, 5, *range(14, 25)},
    "IKEVersions": {"ikev1", "ikev2"},
}
WORDS = {"DPDTimeoutAction": {"clear", "none", "restart"}, "StartupAction": {"add", "start"}}
NUMBERS = {
    "Phase1LifetimeSeconds": (900, 28800),
    "Phase2LifetimeSeconds": (900, 3600),
    "RekeyFuzzPercentage": (0, 100),
    "ReplayWindowSize": (64, 2048),
    "DPDTimeoutSeconds": (30, 2**31),
}
INSIDE = ipaddress.ip_network("169.254.0.0/16")
RESERVED = {ipaddress.ip_network(f"169.254.{n}.0/30") for n in range(6)} | {ipaddress.ip_network("169.254.169.252/30")}
KEY = re.compile(r"[A-Za-z1-9._][A-Za-z0-9._]{7,63}")

# Members whose names differ between request and answer.
RENAMED = {
    "DPDTimeoutSeconds": "DpdTimeoutSeconds",
    "DPDTimeoutAction": "DpdTimeoutAction",
    "IKEVersions": "IkeVersions",
}

# VPN, "Tunnel options": what AWS offers first where nothing was asked for.
MINIMUM = {
    "Phase1EncryptionAlgorithms": "AES128",
    "Phase2EncryptionAlgorithms": "AES128",
    "Phase1IntegrityAlgorithms": "SHA1",
    "Phase2IntegrityAlgorithms": "SHA1",
    "Phase1DHGroupNumbers": 2,
    "Phase2DHGroupNumbers": 2,
    "IkeVersions": "ikev1",
}


def check(options: dict):
    for name, allowed in CHOICES.items():
        for choice in options.get(name) or []:
            if choice.get("Value") not in allowed:
                raise invalid(name, choice.get("Value"))
    for name, allowed in WORDS.items():
        if name in options and options[name] not in allowed:
            raise invalid(name, options[name])
    for name, (least, most) in NUMBERS.items():
        if name in options and not least <= options[name] <= most:
            raise invalid(name, options[name], f"Expecting a value between {least} and {most}.")
    first, second = options.get("Phase1LifetimeSeconds", 28800), options.get("Phase2LifetimeSeconds", 3600)
    if second >= first:
        raise invalid("Phase2LifetimeSeconds", second, "It must be less than the lifetime of phase 1.")
    margin = options.get("RekeyMarginTimeSeconds", 60)
    if not 60 <= margin <= second / 2:
        raise invalid("RekeyMarginTimeSeconds", margin)
    key = options.get("PreSharedKey")
    if key is not None and not KEY.fullmatch(key):
        # GoogleCloudPlatform/pbmm-on-gcp-onboarding #299 shows the message for a key with `+`.
        raise refusal("InvalidParameterValue", "Value for parameter PreSharedKey is invalid.")
    if "TunnelInsideCidr" in options:
        _inside(options["TunnelInsideCidr"])


def _inside(text: str):
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise invalid("TunnelInsideCidr", text) from None
    if network.prefixlen != 30 or not network.subnet_of(INSIDE) or network in RESERVED:
        raise invalid("TunnelInsideCidr", text, "It must be a /30 of 169.254.0.0/16 that is not reserved.")
    return network


def shown(options: dict) -> dict:
    """The options as asked for, with the names that the answer has: what nobody asked for is not shown."""
    return {RENAMED.get(name, name): value for name, value in options.items()}


def make(options: dict, outside: str, taken: set) -> dict:
    """A whole new tunnel. `taken` are the inside networks of the gateway's other tunnels."""
    tunnel = shown(options) | {"OutsideIpAddress": outside}
    if "TunnelInsideCidr" in tunnel and tunnel["TunnelInsideCidr"] in taken:
        # ERR
        raise refusal("InvalidCidr.InUse", f"The inside tunnel CIDR {tunnel['TunnelInsideCidr']} is already in use.")
    tunnel.setdefault("TunnelInsideCidr", _free_inside(taken))
    tunnel.setdefault("PreSharedKey", _key())
    tunnel.setdefault("EnableTunnelLifecycleControl", False)
    taken.add(tunnel["TunnelInsideCidr"])
    return tunnel


def _free_inside(taken: set) -> str:
    while True:
        network = f"169.254.{random.randint(6, 168)}.{random.randrange(0, 256, 4)}/30"
        if network not in taken:
            return network


def _key() -> str:
    letters = string.ascii_letters + string.digits
    return random.choice(string.ascii_letters) + "".join(random.choices(letters + "._", k=31))


def first(tunnel: dict, name: str):
    """The first choice on offer."""
    offered = tunnel.get(name)
    return offered[0]["Value"] if offered else MINIMUM[name]


def settled(tunnel: dict, name: str):
    """What both ends settle on, as for a server that offers its strongest suite first: a belief."""
    offered = tunnel.get(name)
    return max(choice["Value"] for choice in offered) if offered else MINIMUM[name]
