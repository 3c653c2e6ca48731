"""A small WBXML codec for ActiveSync, independent of the library under test.

A tree is (tag, content): content is a string, bytes (opaque), None (empty) or a list of trees.
A tag is "Name" when it lies on the page of its parent (for a root: where that root lives) and
"Namespace:Name" otherwise, so that an element on a wrong page never equals the right one.
"""

import pathlib

TABLE = pathlib.Path(__file__).resolve().parents[3] / "data" / "code-pages.tsv"
HEADER = b"\x03\x01\x6a\x00"
ROOTS = {
    "Sync": "AirSync", "FolderSync": "FolderHierarchy", "FolderCreate": "FolderHierarchy",
    "FolderDelete": "FolderHierarchy", "FolderUpdate": "FolderHierarchy", "MoveItems": "Move",
    "GetItemEstimate": "GetItemEstimate", "MeetingResponse": "MeetingResponse", "Search": "Search",
    "Settings": "Settings", "Ping": "Ping", "ItemOperations": "ItemOperations",
    "Provision": "Provision", "ResolveRecipients": "ResolveRecipients",
    "ValidateCert": "ValidateCert", "SendMail": "ComposeMail", "SmartForward": "ComposeMail",
    "SmartReply": "ComposeMail", "Find": "Find",
}


class Broken(Exception):
    """The bytes are not what an ActiveSync peer may send."""


def _load():
    pages, tokens, names = {}, {}, {}
    with open(TABLE, encoding="utf-8") as rows:
        head = next(rows).rstrip("\n").split("\t")
        for line in rows:
            row = dict(zip(head, line.rstrip("\n").split("\t")))
            page, token = int(row["page"]), int(row["token"], 16)
            pages[row["namespace"]] = page
            tokens.setdefault((row["namespace"], row["element"]), token)
            names[page, token] = (row["namespace"], row["element"])
    return pages, tokens, names


PAGES, TOKENS, NAMES = _load()


def split(tag, parent):
    """Namespace and name of a tag below an element of the namespace `parent` (None: a root)."""
    if ":" in tag:
        return tuple(tag.split(":", 1))
    return (parent or ROOTS[tag]), tag


def encode(tree, *, full_tags=False, opaque_text=False, header=HEADER):
    """full_tags: empty elements with content bit and END, a page switch before every element."""
    out = bytearray(header)
    _encode(tree, None, [0], out, full_tags, opaque_text)
    return bytes(out)


def _encode(tree, parent, page, out, full_tags, opaque_text):
    tag, content = tree
    space, name = split(tag, parent)
    if page[0] != PAGES[space] or full_tags:
        page[0] = PAGES[space]
        out += bytes((0, page[0]))
    token = TOKENS[space, name]
    if content is None and not full_tags:
        out.append(token)
        return
    out.append(token | 0x40)
    if isinstance(content, str) and not opaque_text:
        out += b"\x03" + content.encode() + b"\0"
    elif isinstance(content, (str, bytes)):
        raw = content.encode() if isinstance(content, str) else content
        out += b"\xc3" + mb_u32(len(raw)) + raw
    else:
        for child in content or ():
            _encode(child, space, page, out, full_tags, opaque_text)
    out.append(1)


def mb_u32(number):
    out = bytes((number & 0x7F,))
    while number := number >> 7:
        out = bytes((number & 0x7F | 0x80,)) + out
    return out


def decode(data):
    """Strict: the header of ActiveSync, no string table, known tokens, nothing after the root."""
    if data[:4] != HEADER:
        raise Broken(f"header {data[:4].hex()}")
    try:
        tree, at = _decode(data, 4, [0], None)
    except (IndexError, ValueError) as short:
        raise Broken(f"ends too early: {short}") from short
    if at != len(data):
        raise Broken(f"{len(data) - at} bytes after the root")
    return tree


def _decode(data, at, page, parent):
    while data[at] == 0:
        page[0] = data[at + 1]
        at += 2
    token = data[at]
    at += 1
    if (page[0], token & 0x3F) not in NAMES or token & 0x80:
        raise Broken(f"token {token:#04x} on page {page[0]} at {at - 1}")
    space, name = NAMES[page[0], token & 0x3F]
    home = parent or ROOTS.get(name)
    tag = name if space == home else f"{space}:{name}"
    if not token & 0x40:
        return (tag, None), at
    children, text = [], None
    while data[at] != 1:
        if data[at] == 3:
            end = data.index(0, at + 1)
            text, at = (text or "") + data[at + 1:end].decode(), end + 1
        elif data[at] == 0xC3:
            size, at = 0, at + 1
            while data[at] & 0x80:
                size, at = size << 7 | data[at] & 0x7F, at + 1
            size, at = size << 7 | data[at], at + 1
            if at + size > len(data):
                raise IndexError("opaque")
            text, at = data[at:at + size], at + size
        elif data[at] == 0 and data[at + 2] == 1:
            page[0], at = data[at + 1], at + 2
        else:
            child, at = _decode(data, at, page, space)
            children.append(child)
    if text is not None and children:
        raise Broken(f"text beside elements in {tag}")
    return (tag, text if text is not None else (children or None)), at + 1


def nodes(tree, path):
    """All trees at a path of tags below the root: nodes(t, "Policies/Policy")."""
    here = [tree]
    for step in path.split("/"):
        here = [c for _, content in here if isinstance(content, list) for c in content
                if c[0] == step]
    return here


def text(tree, path):
    """Text at a path; "" for an empty element, None when it is not there."""
    found = nodes(tree, path) if tree else []
    if not found:
        return None
    return "" if found[0][1] is None else found[0][1]


def has(tree, path):
    return bool(tree) and bool(nodes(tree, path))


def tags(tree):
    """Tags of the children, in order."""
    return [c[0] for c in tree[1]] if isinstance(tree[1], list) else []
