"""TCP connections that a test can hold up, slow down and break: between a node and its database.

A process of its own, so that a test with many threads costs those connections nothing. As a program
it takes commands from standard input, one a line, and answers each with "ok":

    proxy.py LISTEN:PORT=HOST:PORT...
    NUMBER pass | stall | cut | reset | delay SECONDS

pass: everything goes through. stall: nothing does, in either direction, and nobody is told; what was
sent waits, and arrives when it passes again. cut: connections are reset, and new ones as soon as they
are made. reset: those that there are, once. delay: each piece comes that much later.
"""

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys

PIECE = 65536


class Way:
    """From one address to another."""

    def __init__(self, listen, target):
        self.listen, self.target = listen, target
        self.open, self.cut, self.delay = asyncio.Event(), False, 0.0
        self.open.set()
        self.writers = set()

    async def start(self):
        await asyncio.start_server(self.accept, *self.listen, backlog=256)

    async def accept(self, reader, writer):
        self.writers.add(writer)
        if self.cut:
            return self.abort(writer)
        try:
            await self.open.wait()
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            return self.abort(writer)
        self.writers.add(back)
        if self.cut:  # meanwhile
            self.abort(writer)
            return self.abort(back)
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))
        for one in (writer, back):
            self.writers.discard(one)
            one.close()
        return None

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                await self.pass_on(writer, data)
            await self.open.wait()
            writer.write_eof()
            return
        self.abort(writer)

    async def pass_on(self, writer, data):
        if self.delay:
            await asyncio.sleep(self.delay)
        await self.open.wait()
        writer.write(data)
        await writer.drain()

    def abort(self, writer):
        self.writers.discard(writer)
        if (sock := writer.get_extra_info("socket")) and sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def obey(self, what, seconds="0"):
        """Each order takes the place of the one before."""
        self.cut = what == "cut"
        self.delay = float(seconds) if what == "delay" else 0.0
        if what in ("cut", "reset"):
            for writer in list(self.writers):
                self.abort(writer)
        (self.open.clear if what == "stall" else self.open.set)()


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


async def main(routes):
    ways = [Way(*map(address, route.split("="))) for route in routes]
    for way in ways:
        await way.start()
    print("ok", flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode():
        number, *order = line.split()
        ways[int(number)].obey(*order)
        print("ok", flush=True)
    os._exit(0)  # whatever is under way


class Proxy:
    """routes: (listen address, port), (target address, port) of each way."""

    def __init__(self, routes):
        words = [f"{a}:{p}={b}:{q}" for (a, p), (b, q) in routes]
        self.process = subprocess.Popen([sys.executable, __file__, *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self._told()

    def _told(self):
        if self.process.stdout.readline() != "ok\n":
            raise AssertionError(f"the proxy left with {self.process.wait()}")

    def __call__(self, number, *order):
        self.process.stdin.write(" ".join(map(str, (number, *order))) + "\n")
        self.process.stdin.flush()
        self._told()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
