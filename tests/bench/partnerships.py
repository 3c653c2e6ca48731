"""What many partnerships cost: seconds to start, time of a request and of a decision, bytes in memory.

A server has ten thousand, a hundred thousand, a million partnerships on its disk, and ten thousand of its
phones come, each with its key: first each of them once, when it has to be read, then any of them, when it is in
memory. What a request costs must not depend on how many others there are. The devices have ids of 26
characters, belong to three quarters as many users, and are of 800 kinds; some thousands have offers open,
some hundreds a wipe.
"""

import contextlib
import sqlite3
import statistics
import subprocess
import time

from harness.eas import Device
from harness.server import Server, hash_password

KINDS = 800
WITH_OFFER = 200  # one in so many
WITH_WIPE = 3000
ROUNDS = 3
ACTIVE = 10_000
CLIENTS = 32
GOAL_START, GOAL_FLAT = 5.0, 0.20
AT = 1_700_000_000
HASH = "0123456789abcdef" * 2


def device(i):
    kind = i % KINDS
    row = {"user": f"user{i * 3 // 4:06}@example.org", "device_id": f"APPL{i * 2654435761:022X}",
           "device_type": f"Phone{kind % 60}", "user_agent": f"Mail-{kind}/2001.{kind % 40}",
           "model": f"Phone{kind % 60}C{kind}", "os": f"OS {kind % 10}.{kind % 7}", "version": "16.1",
           "state": "provisioned", "first_seen": AT, "last_seen": AT + i, "loop_until": 0,
           "key": i * 2246822519 % 2**32 | 1, "key_at": AT, "key_revision": 1, "key_hash": HASH,
           "acked_offer": 0, "acked_status": 0, "outcome": "compliant", "outcome_revision": 1,
           "said": 1, "provisioned_once": 1, "asked": 1, "personal": "none", "wipe": "none",
           "wipe_state": "none", "wipe_id": 0, "shut": "not", "wipe_at": 0, "wipe_sent_at": 0,
           "wipe_ended_at": 0, "wipe_expires_at": 0, "wipe_by": "", "wipe_reason": "", "tag": i + 1}
    if i % WITH_WIPE == 0:
        row.update(wipe="device", wipe_state="requested", wipe_id=i + 1, wipe_at=AT,
                   wipe_by="uid 0 (root)", wipe_reason="left in a train")
    return row


def insert(db, table, rows):
    if (first := next(rows, None)) is None:
        return
    names = ",".join(first)
    sql = f"INSERT INTO {table} ({names}) VALUES (:{',:'.join(first)})"
    db.execute(sql, first)
    db.executemany(sql, rows)


def active(i, confirmed):
    """One that comes: confirmed, what is kept of a device that has just had a handshake."""
    return dict(confirmed, user=f"u{i}", device_id=f"BENCH{i}", key=i * 2246822519 % 2**32 | 1, tag=i + 1)


def fill(file, count, stride):
    """Every stride-th is one that comes."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.row_factory = sqlite3.Row
        confirmed = dict(db.execute("SELECT * FROM device").fetchone())
        confirmed.update(acked_offer=0, acked_status=0)
        db.execute("DELETE FROM device")
        insert(db, "device", (active(i, confirmed) if i % stride == 0 else device(i) for i in range(count)))
        offered = (device(i) for i in range(1, count, WITH_OFFER) if i % stride)
        insert(db, "offer", ({"user": row["user"], "device_id": row["device_id"], "position": 0,
                              "key": row["key"] ^ 2, "at": AT, "revision": 1, "hash": HASH}
                             for row in offered))
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def start(server):
    """Seconds from exec until the server says that it is ready."""
    began = time.monotonic()
    process = subprocess.Popen(server.command(), stderr=subprocess.PIPE, cwd=server.dir)
    for line in process.stderr:
        if b" ready " in line:
            break
    took = time.monotonic() - began
    process.terminate()
    process.stderr.read()
    assert process.wait() == 0
    return took


def missed(holds):
    return "" if holds else ", goal missed"


def visits(load, server, stride, seconds):
    """(first visits a second, further ones, bytes that they have taken); with the logins known before"""
    def run(what, *more):
        return [float(figure) for figure in subprocess.run(
            [load, what, *map(str, (server.port, CLIENTS, ACTIVE, stride, *more))], text=True,
            stdout=subprocess.PIPE, check=True).stdout.split()]
    run("logins")
    before = server.rss()
    first, further = run("visits", seconds)
    return first, further, server.rss() - before


def fleet(count):
    """A server that has them on its disk, not started."""
    stride = count // ACTIVE
    server = Server(users={"u0": "secret"}, config='log_level = "warn";')
    phone = Device(server, user="u0")
    phone.handshake()
    phone.close()
    server.stop()
    fill(server.state / "provost.db", count, stride)
    row = hash_password("secret")
    server.users_file.write_text("".join(f"u{i * stride}:{row}\n" for i in range(ACTIVE)), encoding="utf-8")
    return server, stride


def measure(say, load, count, seconds):
    """Prints what that many cost. @return requests a second of phones that are in memory"""
    server, stride = fleet(count)
    with server:
        took = statistics.median(start(server) for _ in range(ROUNDS))
        server.start()
        first, further, size = visits(load, server, stride, seconds)
        say(f"{count:,} partnerships: until it is ready", f"{took:.2f} s", "",
            f"(goal {GOAL_START:.0f} s{missed(took <= GOAL_START)})")
        say(f"{count:,} partnerships: phones come first", f"{first:,.0f}/s", f"and then: {further:,.0f}/s",
            f"{size / ACTIVE:.0f} bytes for each that came")
        if count > ACTIVE:
            server.stop()
            server.write_config(f'log_level = "warn"; partnerships_in_memory = {ACTIVE // 10};')
            server.start()
            _, squeezed, size = visits(load, server, stride, seconds)
            say(f"{count:,}: one in ten that come fits in memory", f"{squeezed:,.0f}/s",
                f"all do: {further:,.0f}/s", f"{size / ACTIVE:.0f} bytes for each that came")
    return further


def bench(say, program, load, most, seconds):
    counts = sorted({min(count, most) for count in (10_000, 100_000, most)})
    rates = {count: measure(say, load, count, seconds) for count in counts}
    spread = max(rates.values()) / min(rates.values()) - 1
    say("requests with a key, from fewest to most", f"{spread * 100:.0f} % apart", "",
        f"(goal {GOAL_FLAT * 100:.0f} %{missed(spread <= GOAL_FLAT)})")
    for count in counts:
        out = subprocess.run([program, "decisions", str(count)], text=True, stdout=subprocess.PIPE,
                             check=True).stdout
        let_in, refused, bare = [float(figure) / 1000 for figure in out.split()]
        say(f"a decision among {count:,} in memory", f"{let_in:.2f} µs", f"bare hash lookup: {bare:.2f} µs",
            f"refused: {refused:.2f} µs")
