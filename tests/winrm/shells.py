"""Remote shells as WS-Management has them (MS-WSMV 3.1.4): Create, Command, Send, Receive, Signal, Delete."""

import base64
import re
import threading
import uuid
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from programs import Command, NotFound, split

NAMES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "x": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "p": "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
}
XMLNS = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in NAMES.items())
SHELL = NAMES["rsp"]
TRANSFER = NAMES["x"]
ANONYMOUS = NAMES["a"] + "/role/anonymous"

MAX_REQUEST = 500 * 1024  # MaxEnvelopeSizekb
CMD_LIMIT = 8191
PROCESS_LIMIT = 32767


def envelope(action, relates, body):
    return (
        f'<s:Envelope xml:lang="en-US" {XMLNS}><s:Header><a:Action>{action}</a:Action>'
        f"<a:MessageID>{new_id('uuid:')}</a:MessageID><a:To>{ANONYMOUS}</a:To><a:RelatesTo>{escape(relates)}</a:RelatesTo>"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def new_id(prefix=""):
    return prefix + str(uuid.uuid4()).upper()


class Fault(Exception):
    """What the service says when it does not do what it was asked."""

    def __init__(self, subcode, text, code):
        super().__init__(text)
        self.subcode, self.text, self.code = subcode, text, code

    def envelope(self, relates):
        return envelope(
            "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault",
            relates,
            f"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>{self.subcode}</s:Value></s:Subcode></s:Code>"
            f'<s:Reason><s:Text xml:lang="en-US">{escape(self.text)}</s:Text></s:Reason><s:Detail>'
            f'<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="{self.code}" Machine="test">'
            f"<f:Message>{escape(self.text)}</f:Message></f:WSManFault></s:Detail></s:Fault>",
        )


def no_such(what):
    return Fault("w:InvalidSelectors", f"The {what} was not found on the server.", "2150858843")


class Request:
    """The parts of a request; one that Windows would not take is a fault."""

    def __init__(self, body):
        if len(body) > MAX_REQUEST:
            raise Fault("w:EncodingLimit", "The request exceeded MaxEnvelopeSize.", "2150858807")
        try:
            self.root = ET.fromstring(body)
        except ET.ParseError as error:
            raise Fault("w:SchemaValidationError", f"The XML is malformed: {error}", "2150858817") from error
        self.action = self.needed("s:Header/a:Action")
        message = self.needed("s:Header/a:MessageID")
        if not re.fullmatch(r"uuid:[0-9A-Fa-f-]{36}", message):
            raise Fault("w:InvalidMessageInformationHeader", "The MessageID is no UUID.", "2150858768")
        for path in ("s:Header/a:To", "s:Header/a:ReplyTo/a:Address"):
            self.needed(path)
        if self.needed("s:Header/w:ResourceURI") != SHELL + "/cmd":
            raise Fault("a:DestinationUnreachable", "The resource URI is unknown.", "2150858752")
        self.room = int(self.text("s:Header/w:MaxEnvelopeSize") or 153600)
        duration = self.text("s:Header/w:OperationTimeout") or "PT60S"
        match = re.fullmatch(r"PT(?:(\d+)M)?(?:([\d.]+)S)?", duration)
        if not match:
            raise Fault("w:InvalidParameter", "The OperationTimeout is no duration.", "87")
        self.timeout = int(match[1] or 0) * 60 + float(match[2] or 0)
        self.options = {one.get("Name"): one.text or "" for one in self.all("s:Header/w:OptionSet/w:Option")}
        self.selectors = {one.get("Name"): one.text or "" for one in self.all("s:Header/w:SelectorSet/w:Selector")}

    def all(self, path):
        return self.root.findall(path, NAMES)

    def text(self, path):
        found = self.root.find(path, NAMES)
        return None if found is None else (found.text or "").strip()

    def needed(self, path):
        text = self.text(path)
        if not text:
            raise Fault("a:MessageInformationHeaderRequired", f"{path} is missing.", "2150858768")
        return text

    def is_set(self, option):
        return self.options.get(option, "").upper() == "TRUE"


class Service:
    """All shells of the one user."""

    def __init__(self, setup):
        self.setup, self.shells, self.lock = setup, {}, threading.Lock()

    def stats(self):
        with self.lock:
            commands = [command for shell in self.shells.values() for command in shell.values()]
        return {"shells": len(self.shells), "commands": sum(not command.is_done for command in commands)}

    def end(self):
        with self.lock:
            shells, self.shells = self.shells, {}
        for shell in shells.values():
            self.kill(shell)

    @staticmethod
    def kill(shell):
        for command in shell.values():
            command.kill()

    def handle(self, body, message):
        request = Request(body)
        handlers = {
            f"{TRANSFER}/Create": self.create,
            f"{TRANSFER}/Delete": self.delete,
            f"{SHELL}/Command": self.command,
            f"{SHELL}/Send": self.send,
            f"{SHELL}/Receive": self.receive,
            f"{SHELL}/Signal": self.signal,
        }
        handler = handlers.get(request.action)
        if not handler:
            raise Fault("a:ActionNotSupported", f"The action {request.action} is unknown.", "2150858759")
        return envelope(request.action + "Response", message, handler(request))

    def create(self, request):
        if not self.setup["is_admin"]:
            raise Fault("w:AccessDenied", "Access is denied.", "5")
        idle = request.text("s:Body/rsp:Shell/rsp:IdleTimeOut")
        if idle and not 60 <= float(re.fullmatch(r"PT([\d.]+)S", idle)[1]) <= 43200:
            raise Fault("w:InvalidParameter", "The IdleTimeOut is outside of what is allowed.", "87")
        shell = new_id()
        with self.lock:
            if len(self.shells) >= self.setup["max_shells"]:
                raise Fault("w:QuotaLimit", "This user has too many shells already.", "2150859174")
            self.shells[shell] = {}
        return (
            f"<x:ResourceCreated><a:Address>http://test/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>{SHELL}/cmd"
            f'</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">{shell}</w:Selector></w:SelectorSet>'
            f"</a:ReferenceParameters></x:ResourceCreated><rsp:Shell><rsp:ShellId>{shell}</rsp:ShellId><rsp:ResourceUri>"
            f"{SHELL}/cmd</rsp:ResourceUri><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr"
            "</rsp:OutputStreams></rsp:Shell>"
        )

    def shell(self, request):
        with self.lock:
            shell = self.shells.get(request.selectors.get("ShellId", "").upper())
        if shell is None:
            raise no_such("shell")
        return shell

    def of(self, request, element):
        command = self.shell(request).get(element.get("CommandId", "").upper())
        if command is None:
            raise no_such("command")
        return command

    def delete(self, request):
        self.kill(self.shell(request))
        with self.lock:
            self.shells.pop(request.selectors["ShellId"].upper(), None)
        return ""

    def command(self, request):
        shell, line = self.shell(request), request.root.find("s:Body/rsp:CommandLine", NAMES)
        program = line.findtext("rsp:Command", "", NAMES)
        arguments = " ".join(one.text or "" for one in line.findall("rsp:Arguments", NAMES))
        skips_cmd = request.is_set("WINRS_SKIP_CMD_SHELL")
        # CreateProcess looks along no PATH when it is told a program's name.
        if skips_cmd and not re.match(r"[A-Za-z]:\\", program):
            raise Fault("w:InternalError", "The system cannot find the file specified. ", "2147942402")
        length = len(program) + 1 + len(arguments)
        if skips_cmd and length > PROCESS_LIMIT:
            raise Fault("w:InternalError", "The filename or extension is too long. ", "2147942606")
        words = [program] if skips_cmd else split(program)
        identity = new_id()
        try:
            if not skips_cmd and length > CMD_LIMIT:
                raise NotFound("The command line is too long.")
            shell[identity] = Command([*words, *split(arguments)], self.setup["path_first"])
        except NotFound as error:
            if skips_cmd:
                raise Fault("w:InternalError", "The system cannot find the file specified. ", "2147942402") from error
            shell[identity] = Command.failed(str(error))
        return f"<rsp:CommandResponse><rsp:CommandId>{identity}</rsp:CommandId></rsp:CommandResponse>"

    def send(self, request):
        for stream in request.all("s:Body/rsp:Send/rsp:Stream"):
            command = self.of(request, stream)
            is_last = stream.get("End", "").lower() == "true"
            if not command.feed(base64.b64decode(stream.text or "", validate=True), is_last):
                raise Fault("w:InternalError", "The pipe is being closed. ", "232")
        return "<rsp:SendResponse/>"

    def receive(self, request):
        wanted = request.root.find("s:Body/rsp:Receive/rsp:DesiredStream", NAMES)
        command, identity = self.of(request, wanted), quoteattr(wanted.get("CommandId"))
        # Base64 makes four of three, and the rest of the message needs room too.
        room = (request.room - 8192) * 3 // 4
        output = command.take(room, min(request.timeout, self.setup["max_timeout"]))
        if output is None:
            text = "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  "
            raise Fault("w:TimedOut", text, "2150858793")
        pieces, code = output
        body = "".join(
            f'<rsp:Stream Name="{name}" CommandId={identity}>{base64.b64encode(piece).decode()}</rsp:Stream>'
            for name, piece in pieces
        )
        if code is None:
            body += f'<rsp:CommandState CommandId={identity} State="{SHELL}/CommandState/Running"/>'
        else:
            body += "".join(f'<rsp:Stream Name="{name}" CommandId={identity} End="true"/>' for name in ("stdout", "stderr"))
            body += f'<rsp:CommandState CommandId={identity} State="{SHELL}/CommandState/Done">'
            body += f"<rsp:ExitCode>{code}</rsp:ExitCode></rsp:CommandState>"
        return f"<rsp:ReceiveResponse>{body}</rsp:ReceiveResponse>"

    def signal(self, request):
        signal = request.root.find("s:Body/rsp:Signal", NAMES)
        command = self.of(request, signal)
        code = request.text("s:Body/rsp:Signal/rsp:Code") or ""
        if not re.search(r"/signal/(ctrl_c|ctrl_break|terminate)$", code, re.IGNORECASE):
            raise Fault("w:InvalidParameter", f"The signal {code} is unknown.", "87")
        command.kill()
        return "<rsp:SignalResponse/>"
