#!/usr/bin/env python3
"""Lets the two examples talk: pair.py SERVER CLIENT EXIT-CODE CLIENT-ARGUMENTS -- SETTINGS."""
import os
import subprocess
import sys

server, client, want = sys.argv[1:4]
cut = sys.argv.index("--")
to_client, from_server = os.pipe()
to_server, from_client = os.pipe()
with subprocess.Popen([server, *sys.argv[cut + 1:]], stdin=to_server, stdout=from_server) as s:
    with subprocess.Popen([client, *sys.argv[4:cut]], stdin=to_client, stdout=from_client) as c:
        for end in (to_client, from_server, to_server, from_client):
            os.close(end)
        code = c.wait(timeout=20)
    server_code = s.wait(timeout=20)
print(f"client {code}, server {server_code}")
sys.exit(0 if (code, server_code) == (int(want), 0) else 1)
