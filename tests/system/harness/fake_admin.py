"""An administration interface of policies that does what a test says: canned devices, failures on
demand, every request kept. The real server has tests of its own; here the command line is asked."""

import http.server
import json
import os
import pathlib
import shutil
import socketserver
import tempfile
import threading
import urllib.parse

from .admin import Admin
from .server import BUILD, environment

NOW = "2026-05-01T10:00:00Z"


class FakeAdmin:
    """policies: {name: [{settings, parent}, ...]}, one for each revision."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="provost-fake-"))
        self.policies = {"default": [{"settings": {}, "parent": None}]}
        self.assignments = []
        self.devices = []  # of every answer that counts some
        self.cannot_keep = 0
        self.rolls = {}
        self.asked = []  # (method, path with query, body)
        self.fail = None  # function(method, path, body) -> (code, sentence) or None
        self.answers = {}  # path with query: a canned answer
        socket = str(self.dir / "admin.sock")
        self.server = _Server(socket, self)
        self.admin = Admin(BUILD / "provost", socket, environment())
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.dir)

    def changes(self):
        """What changed something: neither a look nor a dry run."""
        return [(m, p, b) for m, p, b in self.asked
                if m != "GET" and not (b or {}).get("dry_run")]

    # ---- answers ----

    def change(self, name, changed, dry):
        return {"name": name, "revision": len(self.policies.get(name, [])), "changed": changed,
                "dry_run": dry, "devices_to_ask": len(self.devices) if changed else 0,
                "cannot_keep": self.cannot_keep if changed else 0,
                "devices": self.devices if changed else []}

    def policy(self, name, revision=None):
        kept = self.policies[name]
        state = kept[int(revision or len(kept)) - 1]
        effective, above = dict(state["settings"]), state["parent"]
        while above:
            effective = {**self.policies[above][-1]["settings"], **effective}
            above = self.policies[above][-1]["parent"]
        return {"name": name, "revision": int(revision or len(kept)), "parent": state["parent"],
                "changed_at": NOW, "changed_by": "uid 0 (root)", "settings": state["settings"],
                "effective": effective, "roll": self.rolls.get(name)}

    def save(self, name, state, dry):
        kept = self.policies.get(name, [])
        changed = not kept or kept[-1] != state
        answer = self.change(name, changed, dry)
        if changed and not dry:
            self.policies[name] = kept + [state]
            answer["revision"] += 1
        return answer

    def answer(self, method, path, query, body):
        dry, parts = body.get("dry_run", False), [urllib.parse.unquote(p) for p in path.split("/")]
        if parts[2] == "assignments":
            return self.assign(method, body, dry)
        if len(parts) == 3:
            if method == "POST":
                return self.save(body["name"], {"settings": body.get("settings", {}),
                                                "parent": body.get("parent")}, dry)
            return [{k: v for k, v in self.policy(name).items() if k not in (
                "settings", "effective")} for name in self.policies]
        name, what = parts[3], "/".join(parts[4:])
        if method == "PUT" and not what:
            parent = body.get("parent")
            if parent and parent not in self.policies:
                raise KeyError(parent)
            return self.save(name, {"settings": body["settings"], "parent": parent}, dry)
        if name not in self.policies:
            raise KeyError(name)
        return self.of_policy(method, name, what, query, body, dry)

    def of_policy(self, method, name, what, query, body, dry):
        now = self.policies[name][-1]
        if what == "roll":
            answer = self.change(name, True, dry)
            self.rolls[name] = None if method == "DELETE" else dict(body, revision=2)
            return answer
        if what == "restore":
            return self.save(name, self.policies[name][body["revision"] - 1], dry)
        if what == "revisions":
            return [dict(state, revision=i + 1, at=NOW, by="uid 0 (root)")
                    for i, state in enumerate(self.policies[name])]
        if method == "PATCH":
            settings = {k: v for k, v in {**now["settings"], **body.get("settings", {})}.items()
                        if v != ""}
            return self.save(name, {"settings": settings, "parent": body.get(
                "parent", now["parent"])}, dry)
        if method == "DELETE":
            answer = self.change(name, True, dry)
            if not dry:
                del self.policies[name]
            return answer
        return self.policy(name, query.get("revision"))

    def assign(self, method, body, dry):
        if method == "GET":
            return self.assignments
        place = {k: v for k, v in body.items() if k not in ("policy", "dry_run")}
        others = [a for a in self.assignments
                  if {k: v for k, v in a.items() if k != "policy"} != place]
        new = others + ([dict(place, policy=body["policy"])] if method == "PUT" else [])
        answer = self.change(body.get("policy", ""), new != self.assignments, dry)
        if not dry:
            self.assignments = new
        return answer


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path, fake):
        self.fake, self.lock = fake, threading.Lock()
        super().__init__(path, _Handler)
        os.chmod(path, 0o600)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def serve(self):
        fake, size = self.server.fake, int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(size)
        body = json.loads(text) if text else {}
        path, _, query = self.path.partition("?")
        with self.server.lock:
            fake.asked.append((self.command, self.path, body or None))
            failed = fake.fail and fake.fail(self.command, path, body)
            try:
                if failed:
                    code, answer = failed[0], {"error": failed[1], "code": "asked_for"}
                elif self.path in fake.answers:
                    code, answer = 200, fake.answers[self.path]
                else:
                    code = 200
                    answer = fake.answer(self.command, path, dict(urllib.parse.parse_qsl(query)),
                                         body)
            except KeyError as missing:
                code, answer = 404, {"error": f"There is no policy {missing}.", "code": "none"}
        out = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve
