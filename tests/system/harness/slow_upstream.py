"""An ActiveSync server with few workers, each of which does one request at a time, as SOGo's and Z-Push's
do. A Ping without news keeps its worker for `hold` seconds, whatever its heartbeat is."""

import http.server
import threading
import time
from urllib.parse import parse_qs, urlsplit

from . import wbxml
from .eas import PATH, TYPE, VERSIONS

COMMANDS = "Sync,FolderSync,GetItemEstimate,Settings,Ping,Provision"
FOLDERS = ("FolderSync", [("Status", "1"), ("SyncKey", "1"), ("Changes", [
    ("Count", "1"), ("Add", [("ServerId", "mail/1"), ("ParentId", "0"), ("DisplayName", "Inbox"),
                             ("Type", "2")])])])


class SeenPing:
    def __init__(self, query, headers, tree):
        self.user, self.device = query.get("User", ""), query.get("DeviceId", "")
        self.headers, self.tree, self.at = headers, tree, time.monotonic()

    @property
    def heartbeat(self):
        return int(wbxml.text(self.tree, "HeartbeatInterval"))

    @property
    def folders(self):
        return [wbxml.text(row, "Id") for row in wbxml.nodes(self.tree, "Folders")[0][1]]


class SlowUpstream:
    """news: users with news; answers: {user: (HTTP code, tree)} for Pings of some; least: the shortest
    heartbeat that is taken. seen: every Ping; most: how many there were at a time."""

    def __init__(self, workers=5, hold=0.05):
        self.hold, self.least = hold, 1
        self.news, self.answers, self.seen = set(), {}, []
        self.under_way = self.most = self.others = 0
        self._lock = threading.Lock()
        self._workers = threading.Semaphore(workers)
        self.port = 0
        self.start()

    # ---- what it says ----
    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in
                 parse_qs(urlsplit(handler.path).query).items()}
        with self._workers:
            if handler.command == "OPTIONS":
                return handler.say(200, None, {"MS-ASProtocolVersions": ",".join(VERSIONS),
                                               "MS-ASProtocolCommands": COMMANDS})
            if query.get("Cmd") == "Ping":
                return handler.say(*self._ping(SeenPing(query, handler.headers,
                                                        wbxml.decode(body))))
            self.others += 1
            return handler.say(200, FOLDERS if query.get("Cmd") == "FolderSync" else None)

    def _ping(self, ping):
        with self._lock:
            self.seen.append(ping)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            if ping.user in self.answers:
                return self.answers[ping.user]
            if ping.heartbeat < self.least:
                return 200, ("Ping", [("Status", "5"), ("HeartbeatInterval", str(self.least))])
            if ping.user in self.news:
                return 200, ("Ping", [("Status", "2"),
                                      ("Folders", [("Folder", i) for i in ping.folders])])
            time.sleep(self.hold)
            return 200, ("Ping", [("Status", "1")])
        finally:
            with self._lock:
                self.under_way -= 1

    def pings_of(self, device):
        return [ping for ping in self.seen if ping.device == device.device_id]

    # ---- its life ----
    def start(self):
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def log_message(self, *what):
                pass

            def say(self, code, tree, fields=None):
                body = wbxml.encode(tree) if tree else b""
                self.send_response(code)
                for name, value in (fields or {}).items():
                    self.send_header(name, value)
                if tree:
                    self.send_header("Content-Type", TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                upstream.connections.add(self.connection)
                try:
                    upstream._serve(self)
                except OSError:
                    self.close_connection = True

            do_OPTIONS = do_POST

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close, request_queue_size = True, False, 256

            def handle_error(self, *what):
                pass

        self.connections = set()
        self._server = Listener(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """At once, with every connection."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(2)
            except OSError:
                pass

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{PATH}"
