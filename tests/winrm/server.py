#!/usr/bin/env python3
"""A WinRM service for tests, on a free port of 127.0.0.1: HTTP, logging in, sealing, scripted trouble.

It behaves as Windows does where that is known (MS-WSMV, and exchanges with Windows that others have recorded). NTLM,
SPNEGO and sealing are pyspnego's, so that no client is checked by itself.

It is driven through its standard input, a JSON object a line, each answered by one on standard output, and ends when
that is closed. The first is the set-up, its answer {"port", "fingerprint", "ca"} comes when it listens:

    state        a folder of its own, for certificates and what NTLM knows of users
    path_first   a folder that comes first where programs are looked for
    user, password
    tls          null, "self-signed", or "ca": signed by an authority, whose certificate is in the file "ca"
    hash         of the certificate's signature: "sha256" (default), "sha384", "sha512"
    offers       the ways to log in: ["Negotiate"] (default), "Basic"
    ntlm         "allowed" (default), "blocked"
    is_admin     whether the user may run commands (default true)
    max_timeout  the longest that a request may wait, in seconds (default 60, as Windows)
    max_shells   of the user (default 30, as Windows)

Then, at any time:

    {"do": "stats"}                            {"shells", "commands", "counts": {..}}
    {"do": "await", "count": C, "value": N}    the same, when counts[C] has come to N
    {"do": "fault", "action": A, "code": "..", "subcode": "..", "text": ".."}    the next A is answered so
    {"do": "garble", "action": A, "text": "..", "times": N}    the next A is answered with N times that text, in the clear
    {"do": "lose", "action": A}                the next A is carried out, and then the connection is closed
    {"do": "restart"}                          all connections, shells and commands are gone
"""

import base64
import json
import os
import re
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import spnego
from spnego.channel_bindings import GssChannelBindings

import certificates
from shells import Fault, Service

KIND = 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"'
SOAP = "application/soap+xml;charset=UTF-8"
# Windows insists on the tab or space, and on no line end before the last boundary.
SEALED = re.compile(
    rb"--Encrypted Boundary\r\n[ \t]Content-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
    rb"[ \t]OriginalContent: type=application/soap\+xml;charset=UTF-8;Length=(\d+)\r\n"
    rb"--Encrypted Boundary\r\n[ \t]Content-Type: application/octet-stream\r\n(.*)--Encrypted Boundary--(?:\r\n)?",
    re.DOTALL,
)


def unseal(context, body):
    match = SEALED.fullmatch(body)
    if not match:
        raise ValueError("not framed as it should be")
    length, data = int(match[1]), match[2]
    (size,) = struct.unpack("<I", data[:4])
    clear = context.unwrap_winrm(data[4 : 4 + size], data[4 + size :])
    if len(clear) != length:
        raise ValueError(f"Length={length}, but it is {len(clear)}")
    return clear


def seal(context, clear):
    sealed = context.wrap_winrm(clear)
    head = (
        "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
        f"\tOriginalContent: type={SOAP};Length={len(clear) + sealed.padding_length}\r\n"
        "--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
    ).encode()
    return head + struct.pack("<I", len(sealed.header)) + sealed.header + sealed.data + b"--Encrypted Boundary--\r\n"


class Counts:
    """What has happened how often; one may wait for it."""

    def __init__(self):
        self.counter, self.changed = Counter(), threading.Condition()

    def add(self, what):
        with self.changed:
            self.counter[what] += 1
            self.changed.notify_all()

    def wait(self, what, value):
        with self.changed:
            # Whoever waits in vain is told so, and does not keep the service alive.
            if not self.changed.wait_for(lambda: self.counter[what] >= value, 60):
                raise TimeoutError(f"{what}: {self.counter[what]} instead of {value}")


class Handler(BaseHTTPRequestHandler):
    """One connection: a login by Negotiate is the connection's, not the request's."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Microsoft-HTTPAPI/2.0", ""
    disable_nagle_algorithm = True
    context = None
    is_logged_in = False

    def setup(self):
        super().setup()
        self.server.open.add(self.connection)

    def finish(self):
        self.server.open.discard(self.connection)
        # Whoever is at the other end may be gone.
        try:
            super().finish()
        except OSError:
            pass
        self.server.counts.add("closed")

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind=None, offers=()):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for offer in offers:
            self.send_header("WWW-Authenticate", offer)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def garble(self, text, times):
        """Answers with what no service would say; whoever reads it may have enough before its end."""
        self.send_response(200)
        self.send_header("Content-Type", SOAP)
        self.send_header("Content-Length", str(len(text) * times))
        self.end_headers()
        for _ in range(times):
            self.wfile.write(text)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.split("?")[0] != "/wsman":
            return self.answer(404)
        token = self.log_in(self.headers.get("Authorization"))
        if not self.is_logged_in:
            offers = self.server.setup["offers"]
            return self.answer(401, offers=[f"Negotiate {token}"] if token else offers)
        offers = [f"Negotiate {token}"] if token else []
        if not body:
            return self.answer(200, offers=offers)
        if self.headers.get("Content-Type", "").startswith("multipart/encrypted"):
            return self.sealed(body, offers)
        self.server.counts.add("clear")
        if not self.server.setup["tls"]:
            # AllowUnencrypted is false.
            return self.answer(500, offers=offers)
        reply = self.carry_out(body)
        if reply:
            self.answer(*reply, SOAP, offers)

    def sealed(self, body, offers):
        try:
            clear = unseal(self.context, body)
        except Exception:
            self.server.counts.add("badly sealed")
            return self.answer(400)
        self.server.counts.add("sealed")
        reply = self.carry_out(clear)
        if reply:
            self.answer(reply[0], seal(self.context, reply[1]), KIND, offers)

    def log_in(self, header):
        """Returns what the server says in the course of a login."""
        setup, counts = self.server.setup, self.server.counts
        scheme, _, token = (header or "").partition(" ")
        if scheme:
            counts.add(f"login {scheme}")
        if scheme == "Basic":
            given = base64.b64decode(token).decode()
            self.is_logged_in = "Basic" in setup["offers"] and given == f"{setup['user']}:{setup['password']}"
        if scheme != "Negotiate" or "Negotiate" not in setup["offers"] or setup["ntlm"] == "blocked":
            return None
        token = base64.b64decode(token)
        self.is_logged_in = False
        if self.context is None or self.context.complete:
            is_raw = token.startswith(b"NTLMSSP\0")
            only = spnego.NegotiateOptions.use_ntlm if is_raw else spnego.NegotiateOptions.use_negotiate
            self.context = spnego.server(protocol="ntlm" if is_raw else "negotiate", options=only)
        try:
            said = self.context.step(token, channel_bindings=self.server.binding)
        except spnego.exceptions.SpnegoError:
            counts.add("login refused")
            self.context = None
            return None
        if self.context.complete:
            counts.add("login")
            self.is_logged_in = True
        return base64.b64encode(said).decode() if said else None

    def carry_out(self, body):
        """Returns status and answer, or nothing where the answer is to be lost."""
        server = self.server
        message = re.search(rb"MessageID[^>]*>([^<]+)<", body)
        message = message[1].decode() if message else "uuid:00000000-0000-0000-0000-000000000000"
        action = re.search(rb"Action[^>]*>[^<]*/(\w+)<", body)
        action = action[1].decode() if action else ""
        server.counts.add(action)
        trouble = server.trouble.pop(action, None)
        try:
            if trouble and trouble["do"] == "fault":
                raise Fault(trouble["subcode"], trouble["text"], trouble["code"])
            reply = 200, server.service.handle(body, message)
        except Fault as fault:
            server.counts.add(fault.subcode)
            reply = 500, fault.envelope(message)
        if trouble and trouble["do"] == "garble":
            self.garble(trouble["text"].encode(), trouble["times"])
            return None
        if trouble and trouble["do"] == "lose":
            hang_up(self.connection)
            self.close_connection = True
            return None
        return reply


def hang_up(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Server(ThreadingHTTPServer):
    """All connections, and what they share."""

    daemon_threads = True
    request_queue_size = 64
    binding = None

    def __init__(self, setup):
        super().__init__(("127.0.0.1", 0), Handler)
        self.setup, self.counts, self.open, self.trouble = setup, Counts(), set(), {}
        self.service = Service(setup)
        self.told = {"port": self.server_address[1]}
        state = Path(setup["state"])
        users = state / "users"
        users.write_text(f":{setup['user']}:{setup['password']}\nDOMAIN:{setup['user']}:{setup['password']}\n")
        os.environ["NTLM_USER_FILE"] = str(users)
        if setup["tls"]:
            pair = certificates.make(state, setup["tls"], setup["hash"])
            self.told |= {"fingerprint": pair.fingerprint, "ca": str(pair.authority)}
            self.binding = GssChannelBindings(application_data=b"tls-server-end-point:" + pair.binding)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address):
        """A handshake that fails is the client's affair."""

    def do(self, order):
        what = order["do"]
        if what == "await":
            self.counts.wait(order["count"], order["value"])
        elif what in ("fault", "lose", "garble"):
            self.trouble[order["action"]] = order
        elif what == "restart":
            self.service.end()
            for connection in list(self.open):
                hang_up(connection)
        elif what != "stats":
            raise ValueError(what)
        return self.service.stats() | {"counts": self.counts.counter}


DEFAULTS = {
    "tls": None,
    "hash": "sha256",
    "offers": ["Negotiate"],
    "ntlm": "allowed",
    "is_admin": True,
    "max_timeout": 60,
    "max_shells": 30,
    "path_first": None,
}


def main():
    server = Server(DEFAULTS | json.loads(sys.stdin.readline()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps(server.told), flush=True)
    for line in sys.stdin:
        print(json.dumps(server.do(json.loads(line))), flush=True)
    server.service.end()


if __name__ == "__main__":
    main()
