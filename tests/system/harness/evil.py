"""A server that answers as the script says, for the client's tests. It records what it is asked."""

import http.server
import socketserver
import threading
from urllib.parse import parse_qs, urlsplit

from . import wbxml
from .eas import PATH, TYPE, VERSIONS


class Asked:
    """One request as it came."""

    def __init__(self, handler):
        self.method, self.target = handler.command, handler.path
        self.headers = handler.headers
        self.body = handler.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(urlsplit(self.target).query)
        self.cmd = query.get("Cmd", [None])[0] if self.method == "POST" else "OPTIONS"
        self.key = self.headers.get("X-MS-PolicyKey")
        self.login = self.headers.get("Authorization")

    @property
    def tree(self):
        return wbxml.decode(self.body) if self.body else None

    @property
    def is_ack(self):
        return self.cmd == "Provision" and wbxml.has(self.tree, "Policies/Policy/Status")

    def __repr__(self):
        return f"<{self.method} {self.cmd} key={self.key} {self.tree}>"


def reply(http_code=200, tree=None, fields=(), body=None):
    """Raw bytes of an answer: a tree, or any body."""
    body = wbxml.encode(tree) if tree else (body or b"")
    head = {"Content-Length": str(len(body))}
    if tree:
        head["Content-Type"] = TYPE
    head.update(fields)
    lines = [f"HTTP/1.1 {http_code} Scripted"]
    lines += [f"{name}: {value}" for name, value in head.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def options(versions=",".join(VERSIONS), commands="Sync,FolderSync,Settings,Ping,Provision"):
    return reply(200, fields={"MS-ASProtocolVersions": versions,
                              "MS-ASProtocolCommands": commands})


def offer(key="1307199584", data=None, status="1", policy_status="1",
          kind="MS-EAS-Provisioning-WBXML", extra=()):
    """A Provision answer; None leaves an element out."""
    policy = [("PolicyType", kind)] if kind else []
    policy += [("Status", policy_status)] if policy_status else []
    policy += [("PolicyKey", key)] if key is not None else []
    policy += [("Data", [("EASProvisionDoc", data)])] if data is not None else []
    content = [("Status", status)] if status else []
    return ("Provision", content + [("Policies", [("Policy", policy)])] + list(extra))


def folders():
    """FolderSync answer with an Inbox."""
    inbox = [("ServerId", "1"), ("ParentId", "0"), ("DisplayName", "Inbox"), ("Type", "2")]
    return ("FolderSync", [("Status", "1"), ("SyncKey", "1"),
                           ("Changes", [("Count", "1"), ("Add", inbox)])])


class Evil:
    """with Evil(script) as e: ...    script(asked, n) returns the bytes to send.

    None closes the connection; a generator is sent piece by piece.
    """

    def __init__(self, script):
        self.script, self.asked = script, []
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                asked = Asked(self)
                with outer._lock:
                    outer.asked.append(asked)
                    count = len(outer.asked)
                try:
                    self.answer(outer.script(asked, count))
                except OSError:  # the client has had enough
                    self.close_connection = True

            def answer(self, out):
                if out is None:
                    self.close_connection = True
                elif isinstance(out, bytes):
                    self.wfile.write(out)
                else:
                    for piece in out:
                        self.wfile.write(piece)
                    self.close_connection = True

            do_POST = do_OPTIONS = do_GET = handle_any

            def log_message(self, *_):
                pass

        class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                pass

        self._server = Threads(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,),
                                        daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def count(self, cmd):
        return sum(asked.cmd == cmd for asked in self.asked)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
