"""Administrators who give their orders to any of the nodes, and know when each was in force."""

import http.client
import random
import time

from phones import Away, Lost

from harness.api import Api

WHAT = {"block": ("POST", "/block", None), "allow": ("POST", "/allow", None),
        "wipe": ("POST", "/wipe", {"scope": "device", "confirm": True}), "cancel": ("DELETE", "/wipe", None),
        "remove": ("DELETE", "", None)}


class Office:
    """One administrator. Of one thread."""

    def __init__(self, nodes, chance=None):
        self.nodes, self.chance = list(nodes), chance or random.Random()
        self._apis = {}

    def call(self, node, method, path, body=None):
        """The answer of that node. Raises Away, Lost."""
        api = self._apis.setdefault(node, Api(node))
        try:
            return api(method, path, body)
        except (ConnectionRefusedError, FileNotFoundError) as why:
            raise Away(str(why)) from None
        except (OSError, http.client.HTTPException) as why:
            raise Lost(str(why)) from None

    def order(self, phone, what, node=None):
        """(answer, began, ended) of one order to one node: its HTTP code, None if that is lost."""
        method, tail, body = WHAT[what]
        node = node or self.chance.choice(self.nodes)
        began = time.monotonic()
        try:
            answer = self.call(node, method, f"/v1/devices/{phone.user}/{phone.device_id}{tail}", body)
            code = answer.http
        except Away:
            code = 0
        except Lost:
            code = None
        return code, began, time.monotonic()

    def insist(self, phone, what, patience=60):
        """Until some node has answered otherwise than with 503. @return its code, when the first attempt
        began and when the last was answered"""
        first = time.monotonic()
        while True:
            code, _, ended = self.order(phone, what)
            if code not in (0, None, 503):
                return code, first, ended
            if ended > first + patience:
                raise AssertionError(f"no node takes the order to {what} {phone.device_id}")
            time.sleep(self.chance.uniform(0, 0.2))

    def close(self):
        for api in self._apis.values():
            api.close()
