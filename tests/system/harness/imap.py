"""A scripted IMAP server: real enough for folders, counts, IDLE and NOTIFY, with any capabilities and
any misbehaviour. Names of folders stand here as text, levels separated as the server says."""

import base64
import functools
import re
import socket
import ssl
import threading
import time

from . import maildir

BASIC = "IMAP4rev1 SASL-IR AUTH=PLAIN"
FULL = BASIC + (" LITERAL+ ENABLE IDLE NOTIFY NAMESPACE LIST-EXTENDED LIST-STATUS SPECIAL-USE"
                " CONDSTORE UNSELECT")


modified_utf7 = functools.lru_cache(maxsize=None)(maildir.modified_utf7)


class Box:
    """A folder of a user."""

    serial = 1000

    def __init__(self, flags=(), subscribed=True, validity=None, mailbox_id=None):
        Box.serial += 1
        self.flags, self.subscribed = list(flags), subscribed
        self.validity, self.id = validity or Box.serial, mailbox_id or f"M{Box.serial}"
        self.next, self.messages, self.unseen, self.modseq = 1, 0, 0, 1

    def counts(self, items):
        known = {"MESSAGES": self.messages, "UIDNEXT": self.next, "UIDVALIDITY": self.validity,
                 "UNSEEN": self.unseen, "HIGHESTMODSEQ": self.modseq, "RECENT": 0,
                 "MAILBOXID": f"({self.id})"}
        return "(" + " ".join(f"{item} {known[item]}" for item in items) + ")"


def words(text):
    """Atoms, strings without quotes, and lists."""
    stack = [[]]
    for quoted, mark, atom in re.findall(r'"((?:[^"\\]|\\.)*)"|([()])|([^\s()"]+)', text):
        if mark == "(":
            stack.append([])
        elif mark == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(atom or re.sub(r"\\(.)", r"\1", quoted))
    return stack[0]


class Session(threading.Thread):
    def __init__(self, server, sock):
        super().__init__(daemon=True)
        self.server, self.sock, self.lock = server, sock, threading.Lock()
        self.user, self.selected, self.idling, self.utf8 = None, None, False, False
        self.notify, self.notify_all, self.notify_tree = set(), False, False
        self.begun = time.monotonic()

    # ---- in and out ----
    def send(self, *lines):
        with self.lock:
            for line in lines:
                data = line if isinstance(line, bytes) else line.encode("utf-8")
                self.sock.sendall(data + b"\r\n")

    def raw(self, data):
        with self.lock:
            self.sock.sendall(data)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def run(self):
        try:
            self.talk()
        except (OSError, ValueError, ssl.SSLError):
            pass
        finally:
            self.server.gone(self)
            self.sock.close()

    def talk(self):
        self.reader = self.sock.makefile("rb")
        if not self.server.fault(self, "greeting", "*", ""):
            self.send("* OK scripted")
        while line := self.reader.readline():
            tag, _, rest = line.decode("utf-8").strip().partition(" ")
            verb, _, args = rest.partition(" ")
            verb = verb.upper()
            self.server.note(self, verb, args)
            if self.server.fault(self, verb, tag, args):
                continue
            handler = getattr(self, "do_" + verb.lower().replace("=", "_"), None)
            if not handler:
                self.send(f"{tag} BAD what?")
            elif handler(tag, args) is False:
                return

    # ---- names ----
    def wire(self, name):
        """As it is said: quoted or, if the server likes that, as a literal."""
        raw = name.encode("utf-8") if self.utf8 else modified_utf7(name).encode("ascii")
        raw = self.server.raw_names.get(name, raw)
        if self.server.literals or b"\r" in raw or b"\n" in raw:
            return b"{%d}\r\n" % len(raw) + raw
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'

    def box(self, said):
        """The name of a box as it was said, None without one."""
        for name in self.server.boxes[self.user]:
            raw = name.encode("utf-8") if self.utf8 else modified_utf7(name).encode("ascii")
            raw = self.server.raw_names.get(name, raw)
            if said.encode("utf-8") == raw or said.upper() == name.upper() == "INBOX":
                return name
        return None

    # ---- commands ----
    def ok(self, tag, *lines, code=""):
        self.send(*lines, f"{tag} OK {code}done")

    def do_capability(self, tag, _):
        caps = self.server.caps if self.user or not self.server.caps_before \
            else self.server.caps_before
        self.ok(tag, f"* CAPABILITY {caps}")

    def do_starttls(self, tag, _):
        self.ok(tag)
        self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        self.reader = self.sock.makefile("rb")

    def let_in(self, tag, user, secret):
        self.server.logins.append((user, secret))
        if self.server.users.get(user) != secret:
            self.send(f"{tag} NO [AUTHENTICATIONFAILED] no")
            return
        self.user = user
        self.ok(tag, code=f"[CAPABILITY {self.server.caps}] " if self.server.caps_in_login else "")

    def do_login(self, tag, args):
        self.let_in(tag, *words(args))

    def do_authenticate(self, tag, args):
        mechanism, _, first = args.partition(" ")
        if not first:
            self.send("+ ")
            first = self.reader.readline().decode().strip()
        said = base64.b64decode(first).decode("utf-8")
        if mechanism == "PLAIN":
            self.let_in(tag, *said.split("\0")[1:])
            return
        user = re.search(r"(?:user|a)=([^\1,]*)", said)[1]
        token = re.search("auth=Bearer ([^\1]*)", said)[1]
        if self.server.users.get(user) != token:
            self.send("+ " + base64.b64encode(b'{"status":"401"}').decode())
            self.reader.readline()
        self.let_in(tag, user, token)

    def do_enable(self, tag, args):
        self.utf8 = "UTF8=ACCEPT" in args and "UTF8=ACCEPT" in self.server.caps
        self.ok(tag, f"* ENABLED {args if self.utf8 else ''}".rstrip())

    def do_namespace(self, tag, _):
        self.ok(tag, f"* NAMESPACE {self.server.namespaces}")

    def do_noop(self, tag, _):
        self.ok(tag)

    def do_logout(self, tag, _):
        self.ok(tag, "* BYE bye")
        return False

    def list_line(self, name, box, what="LIST", extra=""):
        separator = '"%s"' % self.server.separator.replace("\\", "\\\\") \
            if self.server.separator else "NIL"
        flags = " ".join(box.flags)
        return f"* {what} ({flags}) {separator} ".encode() + self.wire(name) + extra.encode()

    def do_list(self, tag, args):
        options = words(args)
        subscribed = isinstance(options[0], list) and "SUBSCRIBED" in options[0]
        items = []
        if "STATUS" in options[-1]:
            items = options[-1][options[-1].index("STATUS") + 1]
        if ("RETURN" in options or subscribed) and "LIST-EXTENDED" not in self.server.caps:
            self.send(f"{tag} BAD syntax")
            return
        lines = []
        for name, box in list(self.server.boxes[self.user].items()):
            if subscribed and not box.subscribed:
                continue
            lines.append(self.list_line(name, box))
            if items and "\\Noselect" not in box.flags:
                lines.append(b"* STATUS " + self.wire(name) + b" " + box.counts(items).encode())
        self.ok(tag, *lines)

    def do_lsub(self, tag, _):
        boxes = self.server.boxes[self.user].items()
        self.ok(tag, *(self.list_line(n, b, "LSUB") for n, b in boxes if b.subscribed))

    def do_status(self, tag, args):
        said, items = words(args)
        name = self.box(said)
        if name is None:
            self.send(f"{tag} NO [NONEXISTENT] none")
            return
        counts = self.server.boxes[self.user][name].counts(items)
        self.ok(tag, b"* STATUS " + self.wire(name) + b" " + counts.encode())

    def do_examine(self, tag, args):
        name = self.box(words(args)[0])
        if name is None:
            self.send(f"{tag} NO none")
            return
        self.selected = name
        box = self.server.boxes[self.user][name]
        self.ok(tag, f"* {box.messages} EXISTS", "* FLAGS ()", f"* OK [UIDVALIDITY {box.validity}]")

    def do_idle(self, tag, _):
        self.send("+ idling")
        self.idling = True
        self.reader.readline()
        self.idling = False
        self.ok(tag)

    def do_notify(self, tag, args):
        groups = [g for g in words(args)[1:] if isinstance(g, list)]
        self.notify, self.notify_all, self.notify_tree = set(), False, False
        for group in groups:
            events = group[-1]
            if group[0] == "mailboxes":
                self.notify = {self.box(n) for n in group[1]}
            elif group[0] == "personal":
                self.notify_tree = "MailboxName" in events
                self.notify_all = "MessageNew" in events
        self.ok(tag)

    # ---- news ----
    def tell(self, line):
        try:
            self.send(line)
        except OSError:
            pass  # it is about to be found out

    def tell_counts(self, name, box):
        if self.idling and self.selected == name:
            self.tell(f"* {box.messages} EXISTS")
        if self.notify_all or name in self.notify:
            counts = f" (MESSAGES {box.messages} UIDNEXT {box.next})"
            self.tell(b"* STATUS " + self.wire(name) + counts.encode())

    def tell_tree(self, name, box):
        if self.notify_tree:
            self.tell(self.list_line(name, box))


class Imap:
    """with Imap(users) as imap: ...; boxes[user][name]. faults[verb](session, tag, args) returns True if it has
    done with the command; set(imap.faults) at will."""

    def __init__(self, users, caps=FULL, separator="/", tls=None):
        self.users, self.caps, self.separator = dict(users), caps, separator
        self.caps_before, self.caps_in_login = None, False
        self.namespaces = '(("" "%s")) NIL NIL' % (separator or "/").replace("\\", "\\\\")
        self.literals, self.raw_names, self.faults = False, {}, {}
        self.boxes = {user: {"INBOX": Box()} for user in users}
        self.sessions, self.peak, self.logins, self.said = [], 0, [], []
        self.lock, self.tls, self.port, self.listener = threading.RLock(), None, 0, None
        self.implicit_tls = False
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.start()

    # ---- life ----
    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.implicit_tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
            except (OSError, ssl.SSLError):
                if listener.fileno() < 0:
                    return
                continue
            session = Session(self, sock)
            with self.lock:
                self.sessions.append(session)
                self.peak = max(self.peak, self.established())
            session.start()

    def established(self):
        """Connections that the other side has not closed."""
        with open("/proc/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f]
        return sum(row[1].endswith(f":{self.port:04X}") and row[3] == "01" for row in rows)

    def gone(self, session):
        with self.lock:
            self.sessions.remove(session)

    def drop(self, user=None):
        """Every connection breaks, or those of a user."""
        with self.lock:
            for session in [s for s in self.sessions if user in (None, s.user)]:
                session.close()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.drop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- what was said ----
    def note(self, session, verb, args):
        with self.lock:
            self.said.append((session.user, verb, args))

    def count(self, verb, user=None):
        with self.lock:
            return sum(v == verb and user in (None, u) for u, v, _ in self.said)

    def idle(self, user=None):
        """Sessions that wait for news in IDLE or by NOTIFY."""
        with self.lock:
            return sum((s.idling or bool(s.notify) or s.notify_all) and user in (None, s.user)
                       for s in self.sessions)

    def fault(self, session, verb, tag, args):
        handler = self.faults.get(verb)
        return handler and handler(session, tag, args)

    # ---- mail ----
    def folder(self, user, name, *flags, **more):
        with self.lock:
            box = self.boxes[user][name] = Box(flags, **more)
            for session in self.of(user):
                session.tell_tree(name, box)
        return self

    def remove(self, user, name):
        with self.lock:
            box = self.boxes[user].pop(name)
            box.flags.append("\\NonExistent")
            for session in self.of(user):
                session.tell_tree(name, box)

    def rename(self, user, old, new):
        with self.lock:
            box = self.boxes[user][new] = self.boxes[user].pop(old)
            for session in self.of(user):
                session.tell_tree(new, box)

    def change(self, user, name, **facts):
        """Numbers are added, then whoever listens is told."""
        with self.lock:
            box = self.boxes[user][name]
            for fact, value in facts.items():
                setattr(box, fact, getattr(box, fact) + value)
            box.modseq += 1
            for session in self.of(user):
                session.tell_counts(name, box)

    def deliver(self, user, name="INBOX"):
        self.change(user, name, messages=1, next=1, unseen=1)

    def of(self, user):
        return [s for s in self.sessions if s.user == user]
