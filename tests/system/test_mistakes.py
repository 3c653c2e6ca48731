"""`provost connect` and mistakes of people: addresses, options, files, signals."""

import base64
import concurrent.futures
import re
import shutil
import signal
import stat
import subprocess
import unittest

from harness import wbxml
from harness.case import ServerCase
from harness.client import Client, terminate
from harness.eas import TYPE
from harness.evil import Evil, offer, reply
from harness.server import wait_for
from test_client import (CREDENTIALS, DONE, FAILED, FINAL, OPEN, PROTOCOL, TEMPORARY, UNREACHABLE,
                         USAGE, WIPE, ClientCase, Good, status)

FULL = reply(200, ("Provision", [("Status", "1"), ("RemoteWipe", None)]))


class Options(ClientCase):
    def test_told_before_anything_is_sent(self):
        rows = [(["--ca-file", "/nonexistent"], "--ca-file: /nonexistent: No such file"),
                (["--wipe-hook", "/nonexistent"], "--wipe-hook: /nonexistent: No such file"),
                (["--wipe-hook", "/etc/passwd"], "--wipe-hook: /etc/passwd: Permission denied"),
                (["--profile", "/nonexistent"], "/nonexistent: No such file"),
                (["-u", "ann:x"], "colon"), (["-u", ""], "usage")]
        with Evil(Good()) as server:
            for args, says in rows:
                with self.subTest(args=args):
                    run = self.client().connect(server.url, *args)
                    self.assertRun(run, USAGE, says)
                    self.assertEqual(run.out, "")
        self.assertEqual(server.asked, [])

    def test_a_redirection_is_told_and_not_followed(self):
        for target in ("https://mail.example.org/x", "file:///etc/passwd"):
            moved = reply(301, fields={"Location": target})
            with self.subTest(target=target):
                run, asked = self.play(Good(options=moved), version=None)
                self.assertRun(run, PROTOCOL, re.escape(target))
                self.assertEqual(len(asked), 1)

    def test_what_has_no_name_is_told_without_one(self):
        run, _ = self.play(Good(foldersync=status("FolderSync", 4294967295)))
        self.assertTrue(run.err.endswith("FolderSync is answered with Status 4294967295\n"), run)
        run, _ = self.play(Good(foldersync=reply(200)))
        self.assertTrue(run.err.endswith("FolderSync is answered without a Status\n"), run)
        run, _ = self.play(Good(foldersync=status("FolderSync", 142)))
        self.assertEqual(run.err.count("again and again"), 1, run)

    def test_too_much_is_told_as_such(self):
        many = [("Add", [("ServerId", str(i)), ("ParentId", "0"), ("DisplayName", "n"),
                         ("Type", "1")]) for i in range(14000)]
        run, _ = self.play(Good(foldersync=reply(200, ("FolderSync", [
            ("Status", "1"), ("SyncKey", "1"), ("Changes", many)]))))
        self.assertRun(run, PROTOCOL, "more in it than is taken")

    def test_opaque_keys_are_masked_too(self):
        def opaque(tree):
            return reply(200, fields={"Content-Type": TYPE},
                         body=wbxml.encode(tree, opaque_text=True))
        run, _ = self.play(Good(initial=opaque(offer(TEMPORARY, OPEN)), ack=opaque(offer(FINAL))),
                           "--trace")
        self.assertRun(run, DONE)
        self.assertIn("<PolicyKey opaque=", run.out)
        for secret in (TEMPORARY, FINAL):
            self.assertNotIn(base64.b64encode(secret.encode()).decode(), run.out)


class Files(ClientCase):
    def test_standard_files_that_are_closed(self):
        for closed, code in ((">&-", FAILED), ("2>&-", DONE), ("<&-", DONE),
                             ("<&- >&- 2>&-", FAILED)):
            client = self.client()
            with self.subTest(closed=closed), Evil(Good()) as server:
                argv = ["sh", "-c", '"$@" ' + closed, "sh",
                        *client.argv(server.url, "--version", "14.1", "--trace")]
                run = subprocess.run(argv, env=client.env, capture_output=True, timeout=60)
                self.assertEqual(run.returncode, code, run)
                self.assertEqual(client.key(), int(FINAL))
                self.assertEqual([a.cmd for a in server.asked],
                                 ["FolderSync", "Provision", "Provision", "FolderSync"])

    def test_an_output_that_is_full_hides_no_failure(self):
        with Evil(Good(foldersync=reply(401))) as server, open("/dev/full", "wb") as full:
            client = self.client()
            run = subprocess.run(client.argv(server.url, "--version", "14.1"), env=client.env,
                                 stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(run.returncode, CREDENTIALS, run)

    def test_a_key_that_cannot_be_kept_is_told(self):
        client = self.client()
        with Evil(Good()) as server:
            self.assertRun(client.connect(server.url), DONE)
            (kept,) = client.files()
            kept.unlink()
            kept.mkdir()
            run = client.connect(server.url)
            self.assertRun(run, FAILED, re.escape(str(kept)))

    def test_two_first_runs_at_once_are_one_device(self):
        client = self.client()
        argv = client.argv("x")
        argv[argv.index("--device-id"):] = ["--version", "14.1"]
        with Evil(Good()) as server, concurrent.futures.ThreadPoolExecutor(8) as pool:
            argv[2] = server.url
            runs = list(pool.map(lambda _: subprocess.run(
                argv, env=client.env, capture_output=True, timeout=60), range(8)))
        self.assertEqual({run.returncode for run in runs}, {DONE}, runs)
        ids = {re.search(r"DeviceId=(\w+)", a.target).group(1) for a in server.asked}
        self.assertEqual(len(ids), 1)


class Wiped(ClientCase):
    def script(self, client, text):
        path = client.dir / "hook"
        path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
        path.chmod(stat.S_IRWXU)
        return ["--wipe-hook", str(path)]

    def test_a_hook_that_wipes_what_we_keep(self):
        client = self.client()
        run, asked = self.play(Good(foldersync=status("FolderSync", 140), poll=FULL),
                               *self.script(client, f'rm -rf "{client.dir}/provost"\n'),
                               client=client)
        self.assertRun(run, WIPE)
        self.assertEqual([wbxml.text(a.tree, "RemoteWipe/Status") for a in asked
                          if a.cmd == "Provision" and wbxml.has(a.tree, "RemoteWipe")], ["1"])

    def test_no_room_to_keep_the_order(self):
        client = self.client()
        run, asked = self.play(Good(foldersync=status("FolderSync", 140), poll=FULL),
                               *self.script(client, "exit 0\n"), "--state-dir",
                               str(client.dir / "state"), client=client)
        self.assertRun(run, WIPE)
        state = client.dir / "full"
        state.write_text("no directory", encoding="utf-8")
        script = self.script(client, f'rm -rf "{client.dir}/state"; '
                                     f'mv "{state}" "{client.dir}/state"\n')
        run, asked = self.play(Good(foldersync=status("FolderSync", 140), poll=FULL),
                               *script, "--state-dir", str(client.dir / "state"), client=client)
        self.assertRun(run, WIPE, "Not a directory|File exists")
        self.assertTrue(wbxml.has(asked[-1].tree, "RemoteWipe"))

    def test_a_hook_that_is_killed_or_missing_acknowledges_nothing(self):
        for text in ("kill -9 $$\n", None):
            client = self.client()
            hook = self.script(client, text) if text else ["--wipe-hook", "no-such-program"]
            run, asked = self.play(Good(foldersync=status("FolderSync", 140), poll=FULL),
                                   *hook, client=client)
            self.assertRun(run, WIPE)
            self.assertFalse(any(wbxml.has(a.tree, "RemoteWipe") for a in asked))

    def test_a_hook_gets_nothing_but_the_standard_files(self):
        client = self.client()
        run, _ = self.play(Good(foldersync=status("FolderSync", 140), poll=FULL),
                           *self.script(client, "readlink /proc/$$/fd/* >&2\n"), client=client)
        self.assertRun(run, WIPE, "/dev/null")
        self.assertNotIn("socket:", run.err)

    def test_a_signal_while_the_hook_runs_hides_no_wipe(self):
        client = self.client()
        hook = self.script(client, f'touch "{client.dir}/began"\nsleep 1\n')
        with Evil(Good(ping=status("Ping", 140), poll=FULL)) as server:
            watcher = client.start(server.url, "--version", "14.1", "--watch", *hook)
            try:
                wait_for("the hook", (client.dir / "began").exists)
                watcher.send_signal(signal.SIGTERM)
                out, err = watcher.communicate(timeout=60)
            finally:
                terminate(watcher)
            self.assertEqual(watcher.returncode, WIPE, out + err)
            self.assertRun(client.connect(server.url, "--version", "14.1"), WIPE)
        self.assertEqual([wbxml.text(a.tree, "RemoteWipe/Status") for a in server.asked
                          if a.cmd == "Provision" and wbxml.has(a.tree, "RemoteWipe")], ["1"])


class Addresses(ServerCase):
    tls = True

    def says(self, url, code, says, *args, **who):
        client = Client(**who)
        self.addCleanup(client.close)
        run = client.connect(url, *args)
        self.assertEqual(run.code, code, run)
        self.assertRegex(run.err, says)

    def test_http_to_a_port_for_https(self):
        self.says(self.server.url.replace("https:", "http:"), UNREACHABLE, "https there\\?")

    def test_https_to_a_port_for_http(self):
        with Evil(Good()) as server:
            self.says(server.url.replace("http:", "https:"), UNREACHABLE, "plain http there\\?")

    def test_a_certificate_that_nobody_knows(self):
        self.says(self.server.url, UNREACHABLE, "--ca-file")

    def test_the_certificates_of_the_system_do_not_count_beside_a_file(self):
        other = self.server.dir / "other.pem"
        shutil.copy("/etc/hostname", other)
        self.says(self.server.url, UNREACHABLE, "certificate", "--ca-file", str(other))


if __name__ == "__main__":
    unittest.main()
