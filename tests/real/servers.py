"""Real servers from Debian for the tests: Dovecot, nginx, HAProxy, slapd, PostgreSQL, and a place for mail
to go.

Each is a program in the foreground, a child of the test, with a configuration of its own in a
temporary directory and a free port of the loopback address; it is ended by its process id, and with
the test if that dies. Nothing in /etc is read or written, no service manager is needed, only root: the
servers want users of their own. SOGo and what it stands on are in sogo.py.

    with Dovecot({"ann": "secret"}) as dovecot:
        dovecot.mailbox("ann").folder("Work").deliver("Work", subject="Hello")
"""

import concurrent.futures
import contextlib
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from harness.maildir import Maildir  # noqa: E402  (needs the path set above)
from harness.server import make_certificate, wait_for  # noqa: E402

DOMAIN = "example.org"
# Below the ports that the kernel hands out: nobody's outgoing connection takes one meanwhile.
PORTS = range(10000, 32000)


# A server ends with the thread that has started it (as_user), so that is one which lasts as long as the test.
_starter = concurrent.futures.ThreadPoolExecutor(1)


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def listens(port, address="127.0.0.1"):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def user_id(name):
    """(user id, group id)"""
    return pwd.getpwnam(name)[2:4]


class Daemon:
    """name, program and user (None: whoever runs the test) of a server; the rest is for those that
    derive from it."""

    name, program, user, needs_root = "", "", None, True
    ready_within = 60  # seconds
    ends_with = signal.SIGTERM

    def __init__(self):
        if self.needs_root and os.geteuid() != 0:
            raise unittest.SkipTest(f"only root can start {self.name}")
        if not shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise unittest.SkipTest(f"{self.program} is not here: scripts/deps real")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"provost-{self.name}-"))
        self.dir.chmod(0o755)  # the server's user goes in
        self.port = free_port()
        self.process = None

    def argv(self):
        raise NotImplementedError

    def ready(self):
        return listens(self.port)

    def own(self, path):
        """Gives a file to the server's user."""
        if self.user:
            os.chown(path, *user_id(self.user))
        return path

    def write(self, name, text, mode=0o644):
        path = self.dir / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def as_user(self, argv):
        """The command line that becomes the server's user, and ends when the test does."""
        become = ["--reuid", self.user, "--regid", str(user_id(self.user)[1]), "--init-groups"] \
            if self.user else []
        return ["setpriv", "--pdeathsig", self.ends_with.name[3:], *become, *[str(word) for word in argv]]

    @property
    def env(self):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.dir), "LC_ALL": "C.UTF-8"}

    @property
    def log_file(self):
        return self.dir / "log"

    @property
    def log(self):
        return self.log_file.read_text("utf-8", "backslashreplace")

    def start(self):
        with open(self.log_file, "ab") as log:
            self.process = _starter.submit(
                subprocess.Popen, self.as_user(self.argv()), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=self.env, cwd=self.dir).result()
        try:
            wait_for(f"{self.name} to be ready", self._ready_or_dead, self.ready_within)
        except AssertionError as why:
            raise AssertionError(f"{why}:\n{self.log}") from None
        return self

    def _ready_or_dead(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} left with {self.process.returncode}")
        return self.ready()

    def stop(self):
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(self.ends_with)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *what):
        self.close()


class Dovecot(Daemon):
    """IMAP before Maildirs. users: {name: password}; separator: of folder names, as clients see it;
    config: further lines of dovecot.conf; tls: on the second port too, with a certificate for
    127.0.0.1 and localhost that only itself vouches for; address: where it listens; the
    certificate is for that too."""

    name, program = "dovecot", "dovecot"

    CONFIG = """
base_dir = {dir}/run
protocols = imap
listen = {address}
ssl = {ssl}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %n
auth_failure_delay = 0
log_path = /dev/stderr
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n {dir}/passwd
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={dir}/mail/%n
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Drafts {{
    auto = subscribe
    special_use = \\Drafts
  }}
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = subscribe
    special_use = \\Trash
  }}
  mailbox Junk {{
    auto = subscribe
    special_use = \\Junk
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
  service_count = 0
  process_min_avail = 1
  client_limit = 4000
}}
service imap {{
  process_limit = 2000
  service_count = 100
}}
service anvil {{
  client_limit = 8000
}}
service auth {{
  client_limit = 8000
}}
"""

    def __init__(self, users, separator=".", tls=False, config="", address="127.0.0.1"):
        super().__init__()
        self.users, self.address = dict(users), address
        self.tls_port = free_port() if tls else 0
        self.certificate, key = make_certificate(self.dir, address) if tls else (None, None)
        self.owner = user_id("mail")
        text = self.CONFIG.format(dir=self.dir, address=address, port=self.port, tls_port=self.tls_port,
                                  separator=separator, ssl="yes" if tls else "no")
        if tls:
            text += f"ssl_cert = <{self.certificate}\nssl_key = <{key}\n"
        self.write("dovecot.conf", text + config)
        self.write_users()
        (self.dir / "mail").mkdir()
        os.chown(self.dir / "mail", *self.owner)
        for user in self.users:
            self.mailbox(user)

    def write_users(self):
        """self.users as they are now; Dovecot reads the file again when it has changed."""
        rows = [f"{name}:{{PLAIN}}{word}\n" for name, word in self.users.items()]
        self.write("passwd", "".join(rows))

    def mailbox(self, user):
        return Maildir(self.dir / "mail" / user / "Maildir", owner=self.owner)

    def ready(self):
        return listens(self.port, self.address)

    def argv(self):
        return ["dovecot", "-F", "-c", self.dir / "dovecot.conf"]

    @property
    def url(self):
        return f"imap://{self.address}:{self.port}"

    @property
    def tls_url(self):
        return f"imaps://{self.address}:{self.tls_port}"


class Nginx(Daemon):
    """server: what stands in the one server {} beside its listen; http: what stands beside that."""

    name, program, needs_root = "nginx", "nginx", False

    CONFIG = """
daemon off; worker_processes {workers}; pid {dir}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; default_type application/octet-stream; keepalive_requests 100000000;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
{http}
    server {{
        listen 127.0.0.1:{port}{ssl};
{server}
    }}
}}
"""

    def __init__(self, server, http="", tls=False, workers=1):
        super().__init__()
        if tls:
            self.certificate, key = make_certificate(self.dir)
            server = f"ssl_certificate {self.certificate}; ssl_certificate_key {key};\n" + server
        self.write("nginx.conf", self.CONFIG.format(
            dir=self.dir, port=self.port, http=http, server=server, workers=workers,
            ssl=" ssl" if tls else ""))

    def argv(self):
        return ["nginx", "-p", self.dir, "-e", "stderr", "-c", self.dir / "nginx.conf"]


class Haproxy(Daemon):
    """backend: what stands in the one backend; defaults: further lines for all."""

    name, program, needs_root = "haproxy", "haproxy", False

    CONFIG = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
{defaults}
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
{backend}
"""

    def __init__(self, backend, defaults=""):
        super().__init__()
        self.write("haproxy.cfg", self.CONFIG.format(port=self.port, backend=backend,
                                                     defaults=defaults))

    def argv(self):
        return ["haproxy", "-db", "-f", self.dir / "haproxy.cfg"]


class Slapd(Daemon):
    """A directory of dc=example,dc=org with its people in ou=people, whose uid and password are given.
    The administrator is cn=admin,dc=example,dc=org, password "admin". ldif: further entries; tls: on
    the second port too, and StartTLS on the first; config: further lines of slapd.conf; address: where it
    listens."""

    name, program, user = "slapd", "slapd", "openldap"
    BASE = "dc=example,dc=org"

    CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {dir}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
{tls}
database mdb
suffix {base}
rootdn cn=admin,{base}
rootpw admin
directory {dir}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
{config}
"""
    LDIF = """
dn: {base}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people
"""
    PERSON = """
dn: uid={uid},ou=people,{base}
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: {uid}
mail: {uid}@{domain}
userPassword: {password}
"""

    def __init__(self, users, ldif="", tls=False, config="", address="127.0.0.1"):
        super().__init__()
        self.users, self.address = dict(users), address
        self.tls_port = free_port() if tls else None
        lines = ""
        if tls:
            self.certificate, key = make_certificate(self.dir, address)
            self.own(key)
            lines = f"TLSCertificateFile {self.certificate}\nTLSCertificateKeyFile {key}"
        self.write("slapd.conf", self.CONFIG.format(dir=self.dir, base=self.BASE, tls=lines,
                                                    config=config))
        self.own(self.dir)
        (self.dir / "data").mkdir()
        self.own(self.dir / "data")
        people = "".join(self.PERSON.format(uid=name, base=self.BASE, domain=DOMAIN, password=word)
                         for name, word in self.users.items())
        entries = self.write("entries.ldif", self.LDIF.format(base=self.BASE) + people + ldif)
        subprocess.run(self.as_user(["slapadd", "-q", "-f", self.dir / "slapd.conf", "-l", entries]),
                       env=self.env, check=True, capture_output=True)

    def ready(self):
        return listens(self.port, self.address)

    def argv(self):
        urls = self.url + (f" {self.tls_url}" if self.tls_port else "")
        return ["slapd", "-d", "0", "-f", self.dir / "slapd.conf", "-h", urls]

    @property
    def url(self):
        return f"ldap://{self.address}:{self.port}"

    @property
    def tls_url(self):
        return f"ldaps://{self.address}:{self.tls_port}"


def children_of(pid):
    """Process ids, none if it has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def runs(pid):
    """It is there, and no mere zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2][1] != "Z"
    except OSError:
        return False


class Postgresql(Daemon):
    """A cluster of its own, with one database and one role, both called database, no password asked.
    fsync: False when nobody will kill it. settings: further ones, name=value."""

    name, needs_root = "postgresql", False
    ends_with = signal.SIGINT  # does not wait for its clients

    def __init__(self, database="provost", fsync=True, settings=()):
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        self.programs = programs[-1].parent if programs else pathlib.Path("/nowhere")
        self.program = str(self.programs / "postgres")
        if os.geteuid() == 0:
            self.user = "postgres"  # it does not want to be root
        super().__init__()
        self.database, self.data = database, self.dir / "data"
        self.settings = [f"fsync={'on' if fsync else 'off'}", "max_connections=200", *settings]
        self.own(self.dir)
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", "--no-sync")

    def run(self, program, *args, text=""):
        """What a program of PostgreSQL says."""
        run = subprocess.run(self.as_user([self.programs / program, *args]), input=text, text=True,
                             env=self.env, cwd=self.dir, check=False, capture_output=True)
        if run.returncode:
            raise AssertionError(f"{program} left with {run.returncode}: {run.stdout}{run.stderr}")
        return run.stdout

    def argv(self):
        return [self.program, "-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", self.dir,
                *(word for setting in self.settings for word in ("-c", setting))]

    def ready(self):
        return listens(self.port) and subprocess.run(
            self.as_user([self.programs / "pg_isready", "-q", "-h", self.dir, "-p", self.port]),
            check=False).returncode == 0

    def start(self):
        super().start()
        if self.database not in self.sql("select datname from pg_database", "postgres").split():
            self.sql(f"create role {self.database} superuser login", "postgres")
            self.create(self.database)
        return self

    def create(self, database):
        """A further, empty database. @return its URL"""
        self.sql(f"create database {database} owner {self.database}", "postgres")
        return self.url_of(database)

    def kill(self):
        """All its processes at once: what is not on the disk by now is lost to it."""
        process, self.process = self.process, None
        everybody = [process.pid, *children_of(process.pid)]
        for pid in everybody:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        wait_for("PostgreSQL's processes to end",
                 lambda: not any(runs(pid) for pid in everybody))

    def sql(self, text, database=None):
        return self.run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-p", self.port,
                        "-U", "postgres", "-d", database or self.database, text=text)

    def url_of(self, database):
        return f"postgresql://{self.database}@127.0.0.1:{self.port}/{database}"

    @property
    def url(self):
        return self.url_of(self.database)


def in_brackets(text):
    return text.partition("<")[2].partition(">")[0]


class SmtpSink:
    """Takes mail for anybody, keeps it in .mails as (sender, recipients, bytes), and puts it into the
    mailbox of every recipient whom mailbox_of(name) knows, a Maildir."""

    def __init__(self, mailbox_of=lambda user: None):
        self.mails = []
        outer = self

        class Session(socketserver.StreamRequestHandler):
            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self):
                self.say("220 sink")
                sender, recipients = None, []
                while line := self.rfile.readline(4096):
                    verb = line.decode("utf-8", "replace").strip()
                    word = verb.upper()
                    if word.startswith("DATA"):
                        self.say("354 go on")
                        outer.take(sender, recipients, self.read_mail())
                        self.say("250 taken")
                    elif word.startswith("MAIL FROM:"):
                        sender, recipients = in_brackets(verb), []
                        self.say("250 fine")
                    elif word.startswith("RCPT TO:"):
                        recipients.append(in_brackets(verb))
                        self.say("250 fine")
                    elif word.startswith("QUIT"):
                        return self.say("221 bye")
                    else:
                        self.say("250 fine")

            def read_mail(self):
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line[1:] if line.startswith(b".") else line)
                return b"".join(lines)

        self._mailbox_of = mailbox_of
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, sender, recipients, mail):
        for recipient in recipients:
            box = self._mailbox_of(recipient.partition("@")[0])
            if box:
                box.deliver(raw=mail)
        self.mails.append((sender, recipients, mail))

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()
