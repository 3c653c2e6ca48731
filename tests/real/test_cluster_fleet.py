"""Many devices over several servers: each lists and counts all, whoever has them in memory, and one of
them looks after what is due by time alone."""

import time
import unittest

from cluster_case import ClusterCase

from harness.api import Api
from harness.server import wait_for

DEVICES = 3000
COPY = """
SELECT set_config('provost.columns', string_agg(quote_ident(attname), ', '), false)
  FROM pg_attribute WHERE attrelid = 'device'::regclass AND attnum > 0 AND NOT attisdropped
   AND attgenerated = '' AND attname NOT IN ('owner', 'device_id', 'tag', 'last_seen');
DO $$ BEGIN EXECUTE format(
  'INSERT INTO device (owner, device_id, tag, last_seen, %s)
     SELECT convert_to(''fleet'' || lpad((n / 3)::text, 6, ''0''), ''UTF8''),
            convert_to(''{prefix}'' || lpad(n::text, 6, ''0''), ''UTF8''), 1000 + n, {last_seen}, %s
       FROM device, generate_series(0, {count} - 1) AS n
      WHERE owner = ''{user}'' AND device_id = ''{device_id}''',
  current_setting('provost.columns'), current_setting('provost.columns')); END $$;
"""


class Fleet(ClusterCase):
    how = {"count": 2, "config": "partnerships_in_memory = 1000;\nprune_after = 30;"}

    def fill(self, prefix, count, last_seen):
        phone = self.enrolled(self.nodes[0])
        # Its row is there as soon as the other server lets it in.
        self.until_in(phone, self.nodes[1])
        self.cluster.database.sql(COPY.format(prefix=prefix, count=count, last_seen=last_seen,
                                              user=phone.user, device_id=phone.device_id))
        return phone

    def names(self, node, *args):
        return [(row["user"], row["device_id"]) for row in node.admin("device", "list", *args)]

    def test_each_lists_and_counts_all(self):
        phone = self.fill("D", DEVICES, int(time.time()))
        listed = [self.names(node) for node in self.nodes]
        self.assertEqual(listed[0], listed[1])
        self.assertEqual(listed[0], sorted(listed[0]))
        self.assertIn((phone.user, phone.device_id), listed[0])
        self.assertGreaterEqual(len(listed[0]), DEVICES + 1)
        for node in self.nodes:
            rows = node.admin("device", "compliance")
            self.assertEqual(sum(row["devices"] for row in rows), len(listed[0]))
            self.assertEqual(node.admin("status")["devices"], len(listed[0]))
        # What one server has in memory another has changed.
        self.nodes[1].admin("device", "block", phone.user, phone.device_id)
        for node in self.nodes:
            wait_for("the other to have heard", lambda: self.names(node, "--state", "blocked") == [
                (phone.user, phone.device_id)])
        self.nodes[0].admin("device", "clear", phone.user, phone.device_id)
        would = self.nodes[1].admin("policy", "set", "default", "MinDevicePasswordLength=5", "--dry-run")
        self.assertEqual(would["devices_to_ask"], len(listed[0]))
        done = self.nodes[0].admin("policy", "set", "default", "MinDevicePasswordLength=5")
        self.assertEqual(done["devices_to_ask"], len(listed[0]))
        wait_for("the other to have the policy", lambda: self.nodes[1].admin(
            "policy", "set", "default", "MinDevicePasswordLength=5", "--dry-run")["changed"] is False)
        test = self.nodes[1].admin("rule", "test", "block", "DeviceType=*")
        self.assertEqual(test["matching"], len(listed[0]))
        self.nodes[0].admin("rule", "default", "quarantine", "--keep-known", "--yes")
        self.addCleanup(self.nodes[0].admin, "rule", "default", "allow", "--yes")
        for node in self.nodes:
            self.assertEqual(self.names(node, "--state", "quarantined"), [])

    def test_a_row_that_nobody_understands_hides_no_other(self):
        self.fill("X", 30, int(time.time()))
        before = self.names(self.nodes[1])
        spoilt = next(name for name in before if name[1] == "X000017")
        which = f"WHERE device_id = '{spoilt[1]}'"
        self.cluster.database.sql(f"UPDATE device SET state = 'odd' {which}")
        for node in self.nodes:
            self.assertEqual(self.names(node), [name for name in before if name != spoilt])
        self.assertIn("store-damaged", self.nodes[0].log)
        self.cluster.database.sql(f"UPDATE device SET state = 'provisioned' {which}")
        self.assertEqual(self.names(self.nodes[0]), before)

    def test_one_of_them_forgets_who_was_not_seen(self):
        before = len(self.names(self.nodes[0]))
        self.fill("OLD", 50, int(time.time()) - 31 * 86400)
        for node in self.nodes:
            node.restart()  # both look at once
        wait_for("the old ones to go", lambda: len(self.names(self.nodes[1])) == before + 1)
        api = Api(self.nodes[0])
        self.addCleanup(api.close)
        lines = wait_for("the log", lambda: [
            line for line in api("GET", "/v1/audit?limit=10000").json
            if line.get("act") == "device.remove"])
        self.assertEqual(len({line["device_id"] for line in lines}), len(lines))
        self.assertEqual({line["actor"] for line in lines}, {"server"})


if __name__ == "__main__":
    unittest.main()
