"""Calls to the administration interface, byte for byte as a test wants them: over the socket, or over
HTTPS with a token."""

import http.client
import json
import socket
import ssl


class Answer:
    def __init__(self, http_code, fields, body):
        self.http, self.fields, self.body = http_code, fields, body
        self.is_json = fields.get("Content-Type") == "application/json"
        self.json = json.loads(body) if self.is_json else None

    @property
    def code(self):
        """The word of a refusal."""
        return self.json["code"]

    def __repr__(self):
        return f"HTTP {self.http} {self.body[:300]!r}"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("provostd", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class Api:
    """One connection, opened again when the server has closed it."""

    def __init__(self, server, tls=False, token=None):
        self.server, self.tls, self.token = server, tls, token
        self.connection = None

    def open(self):
        if not self.tls:
            return UnixConnection(self.server.socket)
        context = ssl.create_default_context(cafile=self.server.make_certificate()[0])
        return http.client.HTTPSConnection("127.0.0.1", self.server.admin_port, timeout=30,
                                           context=context)

    def __call__(self, method, path, body=None, raw=None, fields=None):
        """body: for JSON; raw: bytes as they are."""
        if self.connection is None:
            self.connection = self.open()
        fields = dict(fields or {})
        if self.token is not None:
            fields.setdefault("Authorization", f"Bearer {self.token}")
        data = raw if body is None else json.dumps(body).encode()
        try:
            self.connection.request(method, path, data, fields)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (http.client.HTTPException, OSError):
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None
