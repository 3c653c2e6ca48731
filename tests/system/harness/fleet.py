"""Many partnerships at once: rows put into the file of a server that does not run, as copies of one
that a device has made."""

import contextlib
import sqlite3


@contextlib.contextmanager
def store_of(server):
    """The file of a server that is stopped; committed at the end."""
    database = sqlite3.connect(server.state / "provost.db")
    with contextlib.closing(database), database:
        yield database


def copy_device(server, of, names, **columns):
    """Rows like that of the device `of` (user, device_id), one for each (user, device_id) of names, with
    those columns another value. The server is stopped."""
    with store_of(server) as database:
        rows = database.execute("SELECT * FROM device WHERE user = ? AND device_id = ?", of)
        titles = [column[0] for column in rows.description]
        row = dict(zip(titles, rows.fetchone()), **columns)
        places = ", ".join(":" + title for title in titles)
        database.executemany(
            f"INSERT OR REPLACE INTO device ({', '.join(titles)}) VALUES ({places})",
            (dict(row, user=user, device_id=device_id, tag=n)
             for n, (user, device_id) in enumerate(names, 1000)))
