"""What a million partnerships cost: bytes in memory, seconds to start, time of a decision.

Everything of the server is counted: resident memory of one that has them, less that of one that has
nothing. The devices have ids of 26 characters, belong to three quarters as many users, and are of 800
kinds; some thousands have offers open, some hundreds a wipe.
"""

import contextlib
import sqlite3
import statistics
import subprocess
import time

from harness.server import Server

KINDS = 800
WITH_OFFER = 200  # one in so many
WITH_WIPE = 3000
ROUNDS = 3
GOAL_BYTES, GOAL_START = 256, 5.0
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
           "wipe_ended_at": 0, "wipe_expires_at": 0, "wipe_by": "", "wipe_reason": ""}
    if i % WITH_WIPE == 0:
        row.update(wipe="device", wipe_state="requested", wipe_id=i + 1, wipe_at=AT,
                   wipe_by="uid 0 (root)", wipe_reason="left in a train")
    return row


def insert(db, table, rows):
    first = next(rows)
    names = ",".join(first)
    sql = f"INSERT INTO {table} ({names}) VALUES (:{',:'.join(first)})"
    db.execute(sql, first)
    db.executemany(sql, rows)


def fill(file, count):
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA synchronous = OFF")
        insert(db, "device", (device(i) for i in range(count)))
        offered = (device(i) for i in range(1, count, WITH_OFFER))
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


def bench(say, program, count):
    def ask(*args):
        out = subprocess.run([program, *args], text=True, stdout=subprocess.PIPE, check=True).stdout
        return [float(figure) for figure in out.split()]

    with Server(config='log_level = "info";') as server:
        empty = server.rss()
        server.stop()
        file = server.state / "provost.db"
        fill(file, count)
        starts, reads = zip(*[(start(server), ask("rows", str(file))[0]) for _ in range(ROUNDS)])
        server.start()
        full = server.rss()
    each = (full - empty) / count
    say(f"memory of {count:,} partnerships", f"{each:.0f} bytes each",
        f"{full / 2**20:.0f} MiB in all",
        f"(goal {GOAL_BYTES}{missed(each <= GOAL_BYTES)})")
    took, alone = statistics.median(starts), statistics.median(reads)
    say("start with them, until it is ready", f"{took:.2f} s", f"SQLite reads the rows: {alone:.2f} s",
        f"ratio {took / alone:.2f} (goal {GOAL_START:.0f} s{missed(took <= GOAL_START)})")
    passed, refused, bare = ask("decisions", str(count))
    for what, cost in (("let in", passed), ("refused", refused)):
        say(f"a decision of the gate: {what}", f"{cost / 1000:.2f} µs",
            f"bare hash lookup: {bare / 1000:.2f} µs",
            f"ratio {cost / bare:.1f}")
