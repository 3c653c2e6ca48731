"""A device that speaks ActiveSync exactly as told: any version, query form and key."""

import base64
import gzip
import http.client
import itertools
import ssl
import struct
from urllib.parse import quote

from . import wbxml

VERSIONS = ("2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1")
PATH = "/Microsoft-Server-ActiveSync"
TYPE = "application/vnd.ms-sync.wbxml"
CODES = {"Sync": 0, "SendMail": 1, "SmartForward": 2, "SmartReply": 3, "GetAttachment": 4,
         "FolderSync": 9, "FolderCreate": 10, "FolderDelete": 11, "FolderUpdate": 12,
         "MoveItems": 13, "GetItemEstimate": 14, "MeetingResponse": 15, "Search": 16,
         "Settings": 17, "Ping": 18, "ItemOperations": 19, "Provision": 20,
         "ResolveRecipients": 21, "ValidateCert": 22, "Find": 23}
PARAMETERS = {"AttachmentName": 0, "CollectionId": 1, "ItemId": 3, "LongId": 4, "SaveInSent": 7}
SAME = object()  # "the key that the device holds"
_serial = itertools.count(1)


def number(version):
    """141 for "14.1": compares, and is the version byte of the base64 query."""
    major, minor = version.split(".")
    return int(major) * 10 + int(minor)


def forms(version):
    """Query forms of a version: base64 came with 12.1."""
    return ("plain", "base64") if number(version) >= 121 else ("plain",)


MATRIX = [(version, form) for version in VERSIONS for form in forms(version)]


def policy_type(version):
    return "MS-WAP-Provisioning-XML" if version == "2.5" else "MS-EAS-Provisioning-WBXML"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def device_information(model="TestPhone", **more):
    """more: FriendlyName=..., OS=... in the order given."""
    fields = [("Model", model)] + list(more.items())
    return ("Settings:DeviceInformation", [("Set", fields)])


class Answer:
    def __init__(self, response):
        self.http, self.reason = response.status, response.reason
        self.headers = response.headers
        self.raw = response.read()
        packed = self.headers.get("Content-Encoding") == "gzip"
        self.body = gzip.decompress(self.raw) if packed else self.raw

    @property
    def tree(self):
        return wbxml.decode(self.body) if self.body else None

    @property
    def root(self):
        return self.tree[0] if self.body else None

    def text(self, path):
        return wbxml.text(self.tree, path)

    def has(self, path):
        return wbxml.has(self.tree, path)

    @property
    def status(self):
        """Status at the root as a number, None without one."""
        found = self.text("Status")
        return int(found) if found else None

    @property
    def policy_status(self):
        found = self.text("Policies/Policy/Status")
        return int(found) if found else None

    @property
    def key(self):
        """PolicyKey of a Provision answer as text, None without one."""
        return self.text("Policies/Policy/PolicyKey")

    def __repr__(self):
        body = self.tree if self.headers.get("Content-Type", "").startswith(TYPE) else self.body
        return f"<HTTP {self.http} {body!r}>"


class Device:
    """key: what the device holds (0: nothing); a handshake changes it, any call overrules it."""

    def __init__(self, server, user="ann", password=None, version="14.1", form="plain",
                 device_id=None, device_type="TestPhone", agent="TestMail/1.0",
                 address="127.0.0.1"):
        self.server, self.user, self.version, self.form = server, user, version, form
        self.password = server.users.get(user, "") if password is None else password
        self.login, self.address = user, address
        self.path = getattr(server, "path", PATH)  # other servers have other paths,
        self.keep_alive = getattr(server, "keep_alive", True)  # and some close without a word
        self.device_id = device_id or f"TESTDEV{next(_serial):05d}"
        self.device_type, self.agent = device_type, agent
        self.key = 0
        self.timeout = 60
        self._connection = None

    # ---- one request ----
    def target(self, cmd, key=None, form=None, **params):
        if (form or self.form) == "plain":
            query = f"Cmd={cmd}&User={quote(self.user)}&DeviceId={self.device_id}" \
                    f"&DeviceType={self.device_type}"
            return self.path + "?" + query + "".join(f"&{n}={quote(v)}" for n, v in params.items())
        return self.path + "?" + quote(self.query64(cmd, key, **params))

    def query64(self, cmd, key, **params):
        key_bytes = b"" if key in (None, "") else struct.pack("<I", int(key))
        code = CODES[cmd] if isinstance(cmd, str) else cmd
        raw = struct.pack("<BBH", number(self.version), code, 0x0409)
        for field in (self.device_id.encode(), key_bytes, self.device_type.encode()):
            raw += bytes((len(field),)) + field
        raw += bytes((8, len(self.user.encode()))) + self.user.encode()
        for name, value in params.items():
            value = b"\1" if name == "SaveInSent" else value.encode()  # it is a bit of the options
            raw += bytes((PARAMETERS[name], len(value))) + value
        return base64.b64encode(raw).decode()

    def headers(self, key=None, form=None):
        fields = {"Authorization": basic(self.login, self.password), "User-Agent": self.agent}
        if (form or self.form) == "plain":
            fields["MS-ASProtocolVersion"] = self.version
            if key is not None:
                fields["X-MS-PolicyKey"] = str(key)
        return fields

    def connect(self):
        if self._connection is None:
            where = (self.address, self.server.port)
            if self.server.tls:
                trust = ssl.create_default_context(cafile=self.server.dir / "cert.pem")
                self._connection = http.client.HTTPSConnection(*where, timeout=self.timeout,
                                                               context=trust)
            else:
                self._connection = http.client.HTTPConnection(*where, timeout=self.timeout)
        return self._connection

    def close(self):
        if self._connection:
            self._connection.close()
        self._connection = None

    def http(self, method, target, fields, body=b""):
        """Send exactly these fields (plus Host and Content-Length) and read the answer."""
        self.send(method, target, fields, body)
        return self.receive()

    def send(self, method, target, fields, body=b""):
        connection = self.connect()
        try:
            self._put(connection, method, target, fields, body)
        except (BrokenPipeError, ConnectionResetError, http.client.CannotSendRequest):
            self.close()
            self._put(self.connect(), method, target, fields, body)

    @staticmethod
    def _put(connection, method, target, fields, body):
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in fields.items():
            connection.putheader(name, value)
        if method == "POST":
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)

    def receive(self):
        try:
            answer = Answer(self._connection.getresponse())
        except BaseException:
            self.close()
            raise
        if answer.headers.get("Connection", "").lower() == "close" or not self.keep_alive:
            self.close()
        return answer

    def _request(self, cmd, tree, key, fields, params):
        key = self.key if key is SAME else key
        if tree is None or isinstance(tree, bytes):
            body = tree or b""
        else:
            body = wbxml.encode(tree)
        head = self.headers(key)
        if body:
            head["Content-Type"] = TYPE
        head.update(fields or {})
        return "POST", self.target(cmd, key, **params), head, body

    def command(self, cmd, tree=None, key=SAME, fields=None, **params):
        """tree: a tree, raw bytes, None for an empty body. key None: absent, "": empty header."""
        return self.http(*self._request(cmd, tree, key, fields, params))

    def start(self, cmd, tree=None, key=SAME, fields=None, **params):
        """Send a command without waiting for the answer; receive() gets it."""
        self.send(*self._request(cmd, tree, key, fields, params))

    # ---- the commands ----
    def options(self):
        return self.http("OPTIONS", self.path, {"Authorization": basic(self.login, self.password)})

    def foldersync(self, sync_key="0", key=SAME):
        return self.command("FolderSync", ("FolderSync", [("SyncKey", sync_key)]), key)

    def ping_tree(self, heartbeat=60, folders=("1",)):
        """folders: ServerIds."""
        rows = [("Folder", [("Id", i), ("Class", "Email")]) for i in folders]
        content = [] if heartbeat is None else [("HeartbeatInterval", str(heartbeat))]
        return ("Ping", content + ([("Folders", rows)] if rows else []))

    def ping(self, heartbeat=60, folders=("1",), key=None):
        return self.command("Ping", self.ping_tree(heartbeat, folders), key)

    def settings_device_information(self, key=SAME, **fields):
        info = ("DeviceInformation", [("Set", list(fields.items()) or [("Model", "TestPhone")])])
        return self.command("Settings", ("Settings", [info]), key)

    def settings_user_information(self, key=SAME):
        return self.command("Settings", ("Settings", [("UserInformation", [("Get", None)])]), key)

    # ---- provisioning ----
    def provision(self, content, key=None):
        """content: children of Provision, None for the empty element."""
        return self.command("Provision", ("Provision", content), key)

    def provision_initial(self, key=0, kind=None, information=SAME):
        """information: SAME sends DeviceInformation from 14.1 on; None never; or a tree."""
        if information is SAME:
            information = device_information() if number(self.version) >= 141 else None
        policy = ("Policies", [("Policy", [("PolicyType", kind or policy_type(self.version))])])
        return self.provision([information, policy] if information else [policy], key)

    def provision_ack(self, temporary, status=1, key=SAME, kind=None):
        """key: of the header; SAME sends the temporary one, as the specification wants it."""
        policy = [("PolicyType", kind or policy_type(self.version)),
                  ("PolicyKey", str(temporary))]
        if status is not None:
            policy.append(("Status", str(status)))
        return self.provision([("Policies", [("Policy", policy)])],
                              temporary if key is SAME else key)

    def poll(self):
        """An empty Provision: asks for a wipe directive."""
        return self.provision(None)

    def wipe_ack(self, status=1, kind="RemoteWipe", before=()):
        """before: further children in front, as some clients send them."""
        return self.provision([*before, (kind, [("Status", str(status))])])

    def offer(self):
        """Phase 2: a temporary key."""
        answer = self.provision_initial()
        assert (answer.http, answer.status, answer.policy_status) == (200, 1, 1), answer
        return int(answer.key)

    def handshake(self):
        """Phases 2 and 3. The device holds the final key afterwards."""
        answer = self.provision_ack(self.offer())
        assert (answer.http, answer.status, answer.policy_status) == (200, 1, 1), answer
        self.key = int(answer.key)
        return self.key
