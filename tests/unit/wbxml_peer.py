#!/usr/bin/env python3
"""Holds the codec against libwbxml's tools: RECODE EXAMPLES_DIR CODE_PAGES_TSV.

Both directions: what we write must mean the same to wbxml2xml, what xml2wbxml writes (string table,
public identifier as text, older versions) must mean the same to us. And all token tables.
"""
import csv
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

SKIP = 77
RECODE, EXAMPLES, CODE_PAGES = sys.argv[1:]
BEYOND = {"16-accountonly-directive", "17-accountonly-ack"}  # tokens that libwbxml 0.11.8 lacks

# Names that libwbxml 0.11.8 gives to the same token, where they do not just add a prefix.
ALIASES = {f"{where}Address{part}": f"{where}{part}"
           for where in ("Business", "Home", "Other")
           for part in ("City", "Country", "PostalCode", "State", "Street")}
ALIASES |= {
    "AssistantPhoneNumber": "AssistantTelephoneNumber",
    "RequireStorageCardEncryption": "DeviceEncryptionEnabled",
    "RightsManagementInformation": "ihsManagementInformation",
    "RemoveRightsManagementProtection": "RemoveRightsManagementDistribution",
}
NEW = {"16.0", "16.1", "-"}  # versions (and legacy tokens) that libwbxml 0.11.8 may not know


def run(command, data=b""):
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    if done.returncode or b"failed" in done.stderr:
        raise SystemExit(f"{command}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def encode(xml):
    return run([RECODE, "to-wbxml"], xml)


def decode(wbxml):
    return run([RECODE, "to-xml"], wbxml)


def peer(tool, data, *options):
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "in"), pathlib.Path(folder, "out")
        source.write_bytes(data)
        run([tool, *options, "-o", str(target), str(source)])
        return target.read_bytes()


def peer_decode(wbxml):
    return peer("wbxml2xml", wbxml, "-l", "ACTIVESYNC", "-m", "0", "-k")


def plain(name):
    return name.replace("_", "").replace("-", "").lower()


def same_name(ours, theirs):
    return ALIASES.get(ours) == theirs or plain(theirs).endswith(plain(ours))


def same(ours, theirs):
    (space, name), (their_space, their_name) = (e.tag[1:].split("}") for e in (ours, theirs))
    return (space == their_space and same_name(name, their_name) and len(ours) == len(theirs)
            and (ours.text or "") == (theirs.text or "")
            and all(same(a, b) for a, b in zip(ours, theirs)))


def check(what, ours, theirs):
    if not same(ElementTree.fromstring(ours), ElementTree.fromstring(theirs)):
        raise SystemExit(f"{what}: not the same\n{ours.decode()}\n{theirs.decode()}")


def check_examples():
    names = sorted(p.stem for p in pathlib.Path(EXAMPLES).glob("*.xml") if p.stem not in BEYOND)
    assert len(names) == 21, names
    for name in names:
        xml = pathlib.Path(EXAMPLES, name + ".xml").read_bytes()
        check(name, xml, peer_decode(encode(xml)))
        for options in ([], ["-n"], ["-a"], ["-v", "1.1"], ["-v", "1.2"], ["-a", "-n"]):
            check(f"{name} {options}", xml, decode(peer("xml2wbxml", xml, "-k", *options)))
    return len(names)


def check_tables():
    pages = {}
    with open(CODE_PAGES, encoding="utf-8") as f:
        for row in csv.DictReader(f, delimiter="\t"):
            pages.setdefault(row["namespace"], []).append(row)
    agreed = 0
    for space, rows in pages.items():
        leaves = "".join(f'<{r["element"]} xmlns="{space}:"/>' for r in rows)
        theirs = ElementTree.fromstring(
            peer_decode(encode(f'<Sync xmlns="AirSync:">{leaves}</Sync>'.encode())))
        assert len(theirs) == len(rows), space
        for row, leaf in zip(rows, theirs):
            their_space, name = leaf.tag[1:].split("}")
            if name == "unknown" and row["first_version"] in NEW:
                continue
            if their_space.lower() != f"{space}:".lower() or not same_name(row["element"], name):
                raise SystemExit(f"{space} {row['token']} {row['element']}: {leaf.tag}")
            agreed += 1
    return agreed


def main():
    if not (shutil.which("wbxml2xml") and shutil.which("xml2wbxml")):
        print("libwbxml2-utils is not installed")
        sys.exit(SKIP)
    print(check_examples(), "examples agree in both directions")
    print(check_tables(), "tokens agree")


main()
