"""FolderSync over a Maildir: change tracking, ServerIds, SyncKeys, special folders."""

import concurrent.futures
import os
import shutil
import unittest

from harness.case import OwnServerCase, ServerCase
from harness.eas import VERSIONS

TYPES = {"Inbox": 2, "Drafts": 3, "Trash": 4, "Sent": 5, "Outbox": 6, "Tasks": 7, "Calendar": 8,
         "Contacts": 9, "Notes": 10, "Journal": 11}


class Tree:
    """What a device knows: applies answers as a client does and refuses what makes no sense."""

    def __init__(self, device):
        self.device, self.key, self.folders = device, "0", {}

    def sync(self, key=None):
        """-> (updates, deletes, adds), each a list of ServerIds."""
        if (key or self.key) == "0":
            self.folders = {}
        answer = self.device.foldersync(key or self.key)
        assert (answer.http, answer.status) == (200, 1), answer
        parts = answer.tree[1]
        assert [name for name, _ in parts] == ["Status", "SyncKey", "Changes"], answer
        changes = parts[2][1]
        names = [name for name, _ in changes]
        assert names[0] == "Count" and int(changes[0][1]) == len(changes) - 1, answer
        order = ["Update", "Delete", "Add"]
        assert names[1:] == sorted(names[1:], key=order.index), answer
        seen = {name: [] for name in order}
        for name, fields in changes[1:]:
            row = dict(fields)
            seen[name].append(row["ServerId"])
            if name == "Delete":
                del self.folders[row["ServerId"]]
                continue
            assert (row["ServerId"] in self.folders) == (name == "Update"), answer
            self.folders[row["ServerId"]] = (row["ParentId"], row["DisplayName"], int(row["Type"]))
        for parent, _, _ in self.folders.values():
            assert parent == "0" or parent in self.folders, answer
        assert len({(p, d) for p, d, _ in self.folders.values()}) == len(self.folders), answer
        self.key = dict(parts[:2])["SyncKey"]
        return tuple(seen[name] for name in order)

    def path(self, folder):
        parent, name, _ = self.folders[folder]
        return name if parent == "0" else self.path(parent) + "/" + name

    def paths(self):
        return {self.path(i): (i, self.folders[i][2]) for i in self.folders}


class FolderSync(OwnServerCase):
    def tree(self, **more):
        device = self.device(**more)
        device.handshake()
        return Tree(device)

    def test_every_version_and_special_folders(self):
        box = self.server.maildir("ann")
        for name in TYPES:
            if name != "Inbox":
                box.folder(name)
        box.folder("Work/2024/Größe").folder("Work/台北").folder("Работа").folder("Sent Items")
        box.folder("Work/Sent")
        want = {name: kind for name, kind in TYPES.items()}
        want.update({"Work": 1, "Work/2024": 1, "Work/2024/Größe": 12, "Work/台北": 12,
                     "Работа": 12, "Sent Items": 12, "Work/Sent": 12})
        ids = None
        for version in VERSIONS:
            with self.subTest(version):
                tree = self.tree(version=version)
                tree.sync()
                paths = tree.paths()
                self.assertEqual({name: kind for name, (_, kind) in paths.items()}, want)
                ids = ids or paths
                self.assertEqual(paths, ids)  # the same for each device

    def test_life_of_a_folder(self):
        box = self.server.maildir("ann").folder("A").folder("A/B")
        tree, other = self.tree(), self.tree()
        tree.sync()
        other.sync()
        self.assertEqual(tree.sync(), ([], [], []))
        first = tree.paths()

        key = tree.key
        self.assertEqual(tree.sync(), ([], [], []))
        self.assertEqual(tree.key, key)

        box.folder("C")
        updates, deletes, adds = tree.sync()
        self.assertEqual((updates, deletes, len(adds)), ([], [], 1))
        self.assertNotEqual(tree.key, key)
        self.assertEqual(tree.path(adds[0]), "C")
        self.assertEqual(other.sync(), ([], [], adds))

        box.rename("C", "A/D")
        self.assertEqual(tree.sync(), (adds, [], []))
        self.assertEqual(tree.path(adds[0]), "A/D")

        box.remove("A/D")
        self.assertEqual(tree.sync(), ([], adds, []))
        box.folder("C")
        _, _, again = tree.sync()
        self.assertNotEqual(again, adds)  # a ServerId is never used twice

        box.remove("A")  # its child stays: the parent becomes a container
        updates, deletes, adds = tree.sync()
        self.assertEqual((updates, deletes, adds), ([first["A"][0]], [], []))
        self.assertEqual(tree.paths()["A"], (first["A"][0], 1))
        self.assertEqual(tree.paths()["A/B"], first["A/B"])

        other.sync()
        self.assertEqual(other.folders, tree.folders)
        other.sync("0")
        self.assertEqual(other.folders, tree.folders)

    def test_tree_goes_children_first_and_comes_parents_first(self):
        box = self.server.maildir("ann").folder("A").folder("A/B").folder("A/B/C")
        tree = self.tree()
        tree.sync()
        ids = tree.paths()
        for name in ("A/B/C", "A/B", "A"):
            box.remove(name)
        _, deletes, _ = tree.sync()
        self.assertEqual(deletes, [ids[name][0] for name in ("A/B/C", "A/B", "A")])
        box.folder("A/B/C").folder("A").folder("A/B")
        _, _, adds = tree.sync()
        self.assertEqual([tree.path(i) for i in adds], ["A", "A/B", "A/B/C"])

    def test_lost_answers(self):
        box = self.server.maildir("ann").folder("A")
        tree = self.tree()
        tree.sync()
        key, known = tree.key, dict(tree.folders)
        box.folder("B")
        lost = tree.device.foldersync(key)
        again = tree.device.foldersync(key)
        self.assertEqual(lost.body, again.body)
        box.folder("C")  # and more has happened since
        _, _, adds = tree.sync(key)
        self.assertEqual([tree.path(i) for i in adds], ["B", "C"])
        self.assertNotIn(tree.key, (key, lost.text("SyncKey")))
        # The answer that got lost was never used: its key ends, the older one is still known.
        self.assertEqual(tree.device.foldersync(lost.text("SyncKey")).status, 9)
        tree.folders = known
        tree.sync(key)
        self.assertEqual(sorted(p for p in tree.paths()), ["A", "B", "C", "Inbox"])
        # Once the newest key is used and replaced, the old one ends.
        box.folder("D")
        tree.sync()
        self.assertEqual(tree.device.foldersync(key).status, 9)

    def test_wrong_keys(self):
        tree = self.tree()
        for key in ("1", "99", "-1", "x", "4294967296", "{4d1f}1", "１"):
            with self.subTest(key):
                answer = tree.device.foldersync(key)
                self.assertEqual(answer.tree, ("FolderSync", [("Status", "9")]))
        tree.sync()
        other = self.tree()
        self.assertEqual(other.device.foldersync(tree.key).status, 9)  # keys are per device

    def test_bodies(self):
        tree = self.tree()
        for content, status in (([("SyncKey", "0"), ("SyncKey", "0")], "10"),
                                ([("SyncKey", [("Count", "1")])], "10"),
                                ([("SyncKey", "0"), ("Count", "1")], "102"),
                                ([("AirSyncBase:FileReference", "x")], "102")):
            with self.subTest(str(content)):
                answer = tree.device.command("FolderSync", ("FolderSync", content))
                self.assertEqual(answer.tree, ("FolderSync", [("Status", status)]))

    def test_first_answer_names_versions_and_commands(self):
        tree = self.tree()
        options = tree.device.options()
        first = tree.device.foldersync("0")
        for name in ("MS-ASProtocolVersions", "MS-ASProtocolCommands"):
            self.assertEqual(first.headers[name], options.headers[name])
        second = tree.device.foldersync(first.text("SyncKey"))
        self.assertIsNone(second.headers["MS-ASProtocolVersions"])

    def test_restart(self):
        box = self.server.maildir("ann").folder("A").folder("B")
        for kill in (False, True):
            with self.subTest(kill=kill):
                tree = self.tree()
                tree.sync()
                self.server.restart(kill=kill)
                tree.device.close()
                self.assertEqual(tree.sync(), ([], [], []))
                before = tree.paths()
                new = f"New{kill}"
                box.rename("A", new)
                self.server.restart(kill=kill)
                tree.device.close()
                self.assertEqual(tree.sync(), ([before["A"][0]], [], []))
                box.rename(new, "A")
                tree.sync("0")
                self.assertEqual(tree.paths(), before)

    def test_restored_mailbox_keeps_its_ids(self):
        box = self.server.maildir("ann").folder("A").folder("A/B").folder("C")
        tree = self.tree()
        tree.sync()
        copy = self.server.dir / "copy"
        shutil.copytree(box.path, copy)
        shutil.rmtree(box.path)
        self.assertEqual(tree.device.foldersync(tree.key).status, 6)  # a disk that is not mounted
        os.rename(copy, box.path)
        self.assertEqual(tree.sync(), ([], [], []))

    def test_no_mailbox_yet(self):
        box = self.server.maildir("ann")
        shutil.rmtree(box.path)
        tree = self.tree()
        tree.sync()
        self.assertEqual({name: kind for name, (_, kind) in tree.paths().items()}, {"Inbox": 2})
        box = self.server.maildir("ann").folder("A")
        tree.sync()
        self.assertEqual(sorted(tree.paths()), ["A", "Inbox"])

    def test_many_folders(self):
        box = self.server.maildir("ann")
        for i in range(1500):
            os.makedirs(box.dir(f"F{i % 30:02}/{i:04}") / "new")
        tree = self.tree()
        tree.sync()
        self.assertEqual(len(tree.folders), 1 + 30 + 1500)
        box.remove("F07/0007")
        self.assertEqual([len(part) for part in tree.sync()], [0, 1, 0])

    def test_at_once(self):
        """A device and its user's others at once, while folders come: each id is given once."""
        box = self.server.maildir("ann").folder("A")
        trees = [self.tree() for _ in range(6)]
        twin = self.device(device_id=trees[0].device.device_id)
        twin.key = trees[0].device.key
        for round_ in range(5):
            box.folder(f"R{round_}")
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                jobs = [pool.submit(tree.sync) for tree in trees]
                again = pool.submit(twin.foldersync, trees[0].key)
                for job in jobs:
                    job.result()
                self.assertIn(again.result().status, (1, 9))
        for tree in trees:
            tree.sync()
            self.assertEqual(tree.folders, trees[1].folders)

    def test_damaged_names(self):
        box = self.server.maildir("ann")
        for name in (b".caf\xe9", b".&AGE-", b".a.", b"..x", b".x..y", b".INBOX", b".a&AAo-b"):
            os.makedirs(os.path.join(os.fsencode(box.path), name, b"cur"))
        tree = self.tree()
        tree.sync()
        self.assertEqual(sorted(tree.paths()), ["&AGE-", "Inbox", "a\ufffdb", "caf\\xe9"])


class Names(ServerCase):
    config = 'mailbox = { path = "/nonexistent/%u"; special = {' \
             ' sent = ["Gesendet", "Post-Ausgang"]; trash = "Papierkorb"; }; };'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        server = cls.server
        server.stop()
        server.write_config(cls.config.replace("/nonexistent/%u", f"{server.dir}/mail/%u/Maildir"))
        server.start()

    def test_configured_names(self):
        box = self.server.maildir("ann")
        for name in ("Sent", "Trash", "post-ausgang", "Papierkorb", "Drafts", "Papierkorb/Sent"):
            box.folder(name)
        device = self.device()
        device.handshake()
        tree = Tree(device)
        tree.sync()
        self.assertEqual({name: kind for name, (_, kind) in tree.paths().items()},
                         {"Inbox": 2, "Sent": 12, "Trash": 12, "post-ausgang": 5, "Papierkorb": 4,
                          "Drafts": 3, "Papierkorb/Sent": 12})


if __name__ == "__main__":
    unittest.main()
