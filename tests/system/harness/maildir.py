"""Maildir++ for tests: folders are directories ".A.B" in modified UTF-7, mail is a file in new/."""

import base64
import itertools
import os
import pathlib
import time

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
    def __init__(self, path, owner=None):
        """owner: user and group id to whom all belongs; None: whoever runs the test."""
        self.path, self.owner = pathlib.Path(path), owner
        if not self.path.parent.exists():
            self.path.parent.mkdir(parents=True)
            self._own(self.path.parent)
        self._make(self.path)

    def _own(self, path):
        if self.owner:
            os.chown(path, *self.owner)

    def _make(self, path):
        for part in (path, path / "tmp", path / "new", path / "cur"):
            if not part.exists():
                part.mkdir()
                self._own(part)

    def dir(self, name="INBOX"):
        """Directory of a folder such as "Work/Größe"."""
        if name == "INBOX":
            return self.path
        return self.path / ("." + ".".join(modified_utf7(level) for level in name.split("/")))

    def folder(self, name):
        self._make(self.dir(name))
        (self.dir(name) / "maildirfolder").touch()
        self._own(self.dir(name) / "maildirfolder")
        return self

    def rename(self, old, new):
        os.rename(self.dir(old), self.dir(new))

    def remove(self, name):
        for path in sorted(self.dir(name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.dir(name).rmdir()

    def deliver(self, folder="INBOX", subject="Hello", body="A short mail.", raw=None):
        """As an MDA does: written in tmp, moved to new. raw: the whole mail. Returns the file's name."""
        name = f"{int(time.time())}.M{next(_serial)}P{os.getpid()}.test"
        mail = raw or f"From: a@example.org\nTo: b@example.org\nSubject: {subject}\n\n{body}\n".encode()
        tmp = self.dir(folder) / "tmp" / name
        tmp.write_bytes(mail)
        self._own(tmp)
        os.rename(tmp, self.dir(folder) / "new" / name)
        return name
