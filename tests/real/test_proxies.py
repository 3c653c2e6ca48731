"""provostd behind the proxies that stand before it in practice: what they pass on is still what a phone
said."""

import unittest

from servers import Haproxy, Nginx

from harness.case import ServerCase
from harness.eas import MATRIX, Device


class Behind:
    """Stands for the server towards a device: its users, but the proxy's port."""

    def __init__(self, server, proxy, tls):
        self.users, self.port, self.tls, self.dir = server.users, proxy.port, tls, proxy.dir


class Proxies(ServerCase):
    def check_handshakes(self, proxy, tls):
        front = Behind(self.server, proxy, tls)
        for version, form in MATRIX:
            with self.subTest(version=version, form=form):
                device = Device(front, version=version, form=form)
                self.addCleanup(device.close)
                self.assertRefused(device.foldersync(), "FolderSync", 142, version)
                device.handshake()
                self.assertFolders(device.foldersync())
                self.assertRefused(device.foldersync(key=device.key ^ 1), "FolderSync", 144, version)

    def test_nginx_with_tls(self):
        with Nginx(f"location / {{ proxy_pass {self.server.url}; }}", tls=True) as nginx:
            self.check_handshakes(nginx, tls=True)

    def test_haproxy(self):
        with Haproxy(f"    server provostd 127.0.0.1:{self.server.port}") as haproxy:
            self.check_handshakes(haproxy, tls=False)


if __name__ == "__main__":
    unittest.main()
