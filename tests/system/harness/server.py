"""A provostd of its own in a temporary directory, from the build that PROVOST_BUILD names."""

import functools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import warnings

from .admin import Admin
from .maildir import Maildir

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

TREE = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("PROVOST_BUILD", TREE / "build")).resolve()
SANITIZERS = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:")
USERS = {"ann": "secret", "bob": "hunter2", "carl": "pass:with:colons"}
DEADLINE = 30  # seconds for what takes milliseconds: a test waits for events, not for time


def environment():
    """Sanitizers stop the program at the first finding, so that a test cannot miss it."""
    return dict(os.environ,
                ASAN_OPTIONS="abort_on_error=0:exitcode=99:detect_leaks=1:handle_abort=1",
                UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:exitcode=98",
                TSAN_OPTIONS="exitcode=97:halt_on_error=0:second_deadlock_stack=1",
                LC_ALL="C.UTF-8")


def wait_for(what, condition, deadline=DEADLINE):
    """Poll until condition() is true and return its value."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}")
        time.sleep(0.01)
    return value


def own_address():
    """An address of this machine that is no loopback, or None. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


@functools.cache
def hash_password(password, salt="$6$rounds=1000$provosttests"):
    return crypt.crypt(password, salt)


def make_certificate(where, *addresses):
    """Certificate and key of localhost, 127.0.0.1 and those addresses in that directory, made once;
    vouches for itself."""
    key, certificate = where / "key.pem", where / "cert.pem"
    if not key.exists():
        template = where / "certificate.cfg"
        template.write_text("cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\n" +
                            "".join(f"ip_address = {address}\n" for address in addresses) +
                            "expiration_days = 2\ntls_www_server\ntls_www_client\n", encoding="ascii")
        for argv in (["--generate-privkey", "--key-type=ecdsa", "--outfile", str(key)],
                     ["--generate-self-signed", "--load-privkey", str(key), "--template",
                      str(template), "--outfile", str(certificate)]):
            subprocess.run(["certtool", *argv], check=True, capture_output=True)
    return certificate, key


class Server:
    """with Server() as s: ...    The end checks the exit code and that sanitizers kept silent."""

    def __init__(self, users=None, config="", tls=False, state=None, start=True,
                 ignore_signals=False, admin_tls=False):
        self.users = dict(USERS if users is None else users)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="provost-test-"))
        self.state = pathlib.Path(state) if state else self.dir / "state"
        self.socket = self.dir / "admin.sock"
        self.users_file = self.dir / "users"
        self.config_file = self.dir / "provost.conf"
        self.tls, self.admin_tls = tls, admin_tls
        self.ignore_signals = ignore_signals  # SIGXFSZ and SIGPIPE, as Python itself has them
        self.env = {}  # added to the server's environment
        self.process, self.port, self.lines = None, None, []
        self.state.mkdir(exist_ok=True)
        self.write_users()
        for user in self.users:
            self.maildir(user)
        self.admin = Admin(BUILD / "provost", self.socket, environment())
        self.write_config(config)
        if start:
            self.start()

    # ---- what stands on disk ----
    def write_users(self):
        rows = [f"{name}:{hash_password(word)}\n" for name, word in self.users.items()]
        self.users_file.write_text("# users of a test\n" + "".join(rows), encoding="utf-8")
        self.users_file.chmod(0o600)

    def write_config(self, extra=""):
        """extra: further libconfig settings; one that is named there replaces the default."""
        settings = {
            "listen": '"127.0.0.1:0"',
            "state": f'"{self.state}"',
            "auth": f'{{ method = "file"; file = "{self.users_file}"; }}',
            "mailbox": f'{{ type = "maildir"; path = "{self.dir}/mail/%u/Maildir"; }}',
            "admin": f'{{ socket = "{self.socket}"; }}',
            "workers": "2",
            "damping": "false",  # tests of other things do in a second what no phone does
        }
        if self.tls:
            certificate, key = self.make_certificate()
            settings["tls"] = f'{{ certificate = "{certificate}"; key = "{key}"; }}'
        if self.admin_tls:
            certificate, key = self.make_certificate()
            settings["admin"] = (f'{{ socket = "{self.socket}"; listen = "127.0.0.1:0"; '
                                 f'certificate = "{certificate}"; key = "{key}"; }}')
        for name in re.findall(r"^\s*(\w+)\s*=", extra, re.M):
            settings.pop("mailbox" if name == "upstream" else name, None)
        body = "".join(f"{name} = {value};\n" for name, value in settings.items()) + extra + "\n"
        self.config_file.write_text(body, encoding="utf-8")

    def make_certificate(self):
        return make_certificate(self.dir)

    def maildir(self, user):
        return Maildir(self.dir / "mail" / user / "Maildir")

    # ---- the process ----
    def command(self):
        return [str(BUILD / "provostd"), "-c", str(self.config_file)]

    def start(self):
        self.lines = []
        self.process = subprocess.Popen(self.command(), stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL,
                                        env=dict(environment(), **self.env), cwd=self.dir,
                                        restore_signals=not self.ignore_signals)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        self.port = wait_for("the server to be ready", self._ready_port)
        return self

    def _read(self, process):
        for line in process.stderr:
            self.lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
        process.stderr.close()

    def _ready_port(self):
        """The port, once the server tells that it is ready."""
        for line in list(self.lines):
            if found := re.search(r"\bready\b.*listen=\"?[^ ]*?:(\d+)", line):
                return int(found.group(1))
        self._check_alive()
        return None

    def _check_alive(self):
        if self.process.poll() is not None:
            self._reader.join(5)
            raise AssertionError(f"provostd left with {self.process.returncode}:\n{self.log}")

    @property
    def log(self):
        return "\n".join(self.lines)

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def admin_port(self):
        """Of the administration over HTTPS."""
        return int(re.search(r"\badmin-https=\"?[^ ]*?:(\d+)", self.log).group(1))

    @property
    def pid(self):
        return self.process.pid

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, expect=0):
        """SIGTERM; the server drains, leaves with 0, and no sanitizer has said a word."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self._ended(expect)

    def kill(self):
        """kill -9: nothing is said, nothing is flushed."""
        self.process.kill()
        self._ended(expect=-signal.SIGKILL)

    def _ended(self, expect):
        process, self.process = self.process, None
        try:
            code = process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"provostd did not end within {DEADLINE} s:\n{self.log}") from None
        self._reader.join(5)
        if code != expect or SANITIZERS.search(self.log):
            raise AssertionError(f"provostd left with {code}, expected {expect}:\n{self.log}")

    def restart(self, kill=False):
        self.kill() if kill else self.stop()
        return self.start()

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()
