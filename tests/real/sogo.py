"""SOGo with ActiveSync, and what it stands on: PostgreSQL, memcached, Dovecot, a place for mail to go.

    with Sogo({"ann": "secret"}, workers=5) as sogo:
        sogo.url, sogo.mailbox("ann"), sogo.smtp.mails

SOGo reads /etc/sogo/sogo.conf; what its command line says outweighs that, key by key. So all stands on
the command line here, and /etc stays as it is.
"""

import contextlib
import http.client
import imaplib
import os
import pathlib
import signal
import socket
import subprocess

from servers import DOMAIN, Daemon, Dovecot, SmtpSink, listens

from harness.eas import PATH, basic


class PostgreSql(Daemon):
    """A cluster of its own with one database and one role, both called name, no password asked."""

    name, user = "postgresql", "postgres"
    ends_with = signal.SIGINT  # does not wait for its clients

    def __init__(self, database):
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        self.programs = programs[-1].parent if programs else pathlib.Path("/nowhere")
        self.program = str(self.programs / "postgres")
        super().__init__()
        self.database = database
        self.data = self.dir / "data"
        self.own(self.dir)
        self.run("initdb", "-D", self.data, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                 "--no-sync")

    def run(self, program, *args, text=""):
        return subprocess.run(self.as_user([self.programs / program, *args]), input=text, text=True,
                              env=self.env, cwd=self.dir, check=True, capture_output=True).stdout

    def argv(self):
        return [self.program, "-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", self.dir,
                "-c", "fsync=off", "-c", "max_connections=200"]

    def ready(self):
        return listens(self.port) and subprocess.run(
            self.as_user([self.programs / "pg_isready", "-q", "-h", self.dir, "-p", self.port]),
            check=False).returncode == 0

    def start(self):
        super().start()
        if self.database not in self.sql("select datname from pg_database", "postgres"):
            self.sql(f"create role {self.database} superuser login", "postgres")
            self.sql(f"create database {self.database} owner {self.database}", "postgres")
        return self

    def sql(self, text, database=None):
        return self.run("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-p", self.port,
                        "-d", database or self.database, text=text)

    @property
    def url(self):
        return f"postgresql://{self.database}@127.0.0.1:{self.port}/{self.database}"


class Memcached(Daemon):
    name, program, user = "memcached", "memcached", "nobody"

    def argv(self):
        return ["memcached", "-l", "127.0.0.1", "-p", self.port, "-U", "0", "-m", "32"]

    def forget(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(b"flush_all\r\n")
            assert client.recv(64) == b"OK\r\n"


class Sogo(Daemon):
    """users: {name: password}. workers: processes of SOGo; a request that waits (Ping) holds one.
    interval: seconds between two looks of a waiting request into the mailbox; SOGo sleeps in steps of
    5 seconds, whatever stands here."""

    name, program, user = "sogo", "sogod", "sogo"
    ends_with = signal.SIGKILL  # with SIGTERM it waits for workers that notice with the next request

    # Each value in the form of a property list.
    SETTINGS = """
SOGoProfileURL "{db}/sogo_user_profile"
OCSFolderInfoURL "{db}/sogo_folder_info"
OCSSessionsFolderURL "{db}/sogo_sessions_folder"
OCSEMailAlarmsFolderURL "{db}/sogo_alarms_folder"
OCSStoreURL "{db}/sogo_store"
OCSAclURL "{db}/sogo_acl"
OCSCacheFolderURL "{db}/sogo_cache_folder"
SOGoUserSources ({{type = sql; id = directory; viewURL = "{db}/users"; canAuthenticate = YES; \
isAddressBook = YES; displayName = Everybody; userPasswordAlgorithm = plain;}})
SOGoMailDomain "{domain}"
SOGoIMAPServer "{imap}"
SOGoMailingMechanism smtp
SOGoSMTPServer "smtp://127.0.0.1:{smtp}"
SOGoSentFolderName Sent
SOGoDraftsFolderName Drafts
SOGoTrashFolderName Trash
SOGoJunkFolderName Junk
SOGoMemcachedHost "127.0.0.1:{memcached}"
SOGoTimeZone UTC
SOGoLanguage English
SOGoMaximumPingInterval 3540
SOGoMaximumSyncInterval 3540
SOGoInternalSyncInterval {interval}
WOPort "127.0.0.1:{port}"
WOWorkersCount {workers}
WOListenQueueSize 512
WOWatchDogRequestTimeout 60
WONoDetach YES
WOLogFile "-"
WOPidFile "{dir}/pid"
SxVMemLimit 1024
"""

    def __init__(self, users, workers=5, interval=5):
        super().__init__()
        self.users, self.workers, self.interval = dict(users), workers, interval
        self.below = []  # started before SOGo, ended after it, the last first

    def _with(self, daemon):
        self.below.append(daemon)
        return daemon.__enter__()

    def prepare(self):
        self.dovecot = self._with(Dovecot(self.users))
        self.smtp = self._with(SmtpSink(lambda n: self.mailbox(n) if n in self.users else None))
        for name in self.users:
            self.track_changes(name, "INBOX", "Sent", "Trash")
        self.database = self._with(PostgreSql("sogo"))
        self.memcached = self._with(Memcached())
        rows = ",".join(f"('{n}','{n}','{word}','{n.title()}','{n}@{DOMAIN}')"
                        for n, word in self.users.items())
        self.database.sql("create table users (c_uid text primary key, c_name text, c_password text,"
                          f" c_cn text, mail text); insert into users values {rows}")
        self.own(self.dir)
        self.settings = self.SETTINGS.format(
            db=self.database.url, domain=DOMAIN, imap=self.dovecot.url, smtp=self.smtp.port,
            memcached=self.memcached.port, interval=self.interval, port=self.port,
            workers=self.workers, dir=self.dir)

    def track_changes(self, user, *folders):
        """Dovecot counts changes of a folder from when a client first asked it to (RFC 7162). SOGo
        wants the count and never asks: without it, it takes every folder for unchanged."""
        with imaplib.IMAP4("127.0.0.1", self.dovecot.port) as imap:
            imap.login(user, self.users[user])
            for folder in folders:
                imap.xatom("SELECT", f"{folder} (CONDSTORE)")

    def argv(self):
        words = ["sogod"]
        for line in self.settings.strip().splitlines():
            key, value = line.split(" ", 1)
            words += ["-" + key, value]
        return words

    def start(self):
        if not self.below:
            self.prepare()
        return super().start()

    def ready(self):
        """A login works: the port alone is open before a worker is there."""
        user, word = next(iter(self.users.items()))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("OPTIONS", self.path, headers={"Authorization": basic(user, word)})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    # What a Device wants to know of a server.
    path, tls, keep_alive = f"/SOGo{PATH}", False, False

    def mailbox(self, user):
        return self.dovecot.mailbox(user)

    def set_password(self, user, word):
        """Everywhere, and SOGo remembers the old one no longer: it logs in at IMAP with what the phone
        sent."""
        self.users[user] = self.dovecot.users[user] = word
        self.dovecot.write_users()
        self.database.sql(f"update users set c_password = '{word}' where c_uid = '{user}'")
        self.memcached.forget()

    def stop(self):
        """Its workers end by themselves, but one that waits does so too late: it has the port."""
        workers = self.worker_ids() if self.process else []
        super().stop()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    def worker_ids(self):
        pid = self.process.pid
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [int(word) for word in text.split()]

    @property
    def url(self):
        """As the gateway wants it."""
        return f"http://127.0.0.1:{self.port}/SOGo"

    def close(self):
        super().close()
        while self.below:
            self.below.pop().__exit__(None, None, None)
