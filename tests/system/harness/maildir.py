"""Maildir++ for tests: folders are directories ".A.B" in modified UTF-7, mail is a file in new/."""

import base64
import itertools
import os
import pathlib

_serial = itertools.count(1)


def modified_utf7(name):
    """RFC 3501 5.1.3: what is not printable ASCII goes into &...- as base64 of UTF-16BE."""
    out, wide = "", ""

    def flush():
        coded = base64.b64encode(wide.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
        return f"&{coded}-" if wide else ""

    for char in name:
        if " " <= char <= "~":
            out, wide = out + flush() + ("&-" if char == "&" else char), ""
        else:
            wide += char
    return out + flush()


class Maildir:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._make(self.path)

    @staticmethod
    def _make(path):
        for part in ("tmp", "new", "cur"):
            (path / part).mkdir(parents=True, exist_ok=True)

    def dir(self, name="INBOX"):
        """Directory of a folder such as "Work/Größe"."""
        if name == "INBOX":
            return self.path
        return self.path / ("." + ".".join(modified_utf7(level) for level in name.split("/")))

    def folder(self, name):
        self._make(self.dir(name))
        (self.dir(name) / "maildirfolder").touch()
        return self

    def rename(self, old, new):
        os.rename(self.dir(old), self.dir(new))

    def remove(self, name):
        for path in sorted(self.dir(name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.dir(name).rmdir()

    def deliver(self, folder="INBOX", subject="Hello", body="A short mail."):
        """As an MDA does: written in tmp, moved to new. Returns the file's name."""
        name = f"1700000000.M{next(_serial)}P{os.getpid()}.test"
        mail = f"From: a@example.org\nTo: b@example.org\nSubject: {subject}\n\n{body}\n"
        tmp = self.dir(folder) / "tmp" / name
        tmp.write_text(mail, encoding="utf-8")
        os.rename(tmp, self.dir(folder) / "new" / name)
        return name
