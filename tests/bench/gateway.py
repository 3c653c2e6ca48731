"""What the gateway costs, beside nginx's proxy_pass and HAProxy before the same upstream, in turns, so
that all see the same machine. The upstream (upstream.c) costs next to nothing."""

import re
import statistics
import subprocess

from servers import Haproxy, Nginx, free_port

from harness.eas import PATH, TYPE, Device, basic
from harness.server import Server, wait_for

ROUNDS = 3
CONNECTIONS = 64       # of the clients, and kept to the upstream
LARGE_CONNECTIONS = 16  # for bodies of a megabyte
MEGABYTE = 1 << 20
USERS = ["ann"] + [f"u{i}" for i in range(100)]

POST = """
wrk.method = "POST"
wrk.body = {body}
wrk.headers["Authorization"] = "{login}"
wrk.headers["MS-ASProtocolVersion"] = "14.1"
wrk.headers["X-MS-PolicyKey"] = "{key}"
wrk.headers["Content-Type"] = "{kind}"
"""
SYNC = r'"\3\1\106\0\69\92\79\75\3\48\0\1\1\1\1"'
KEEPALIVE = f"upstream eas {{ server 127.0.0.1:{{port}}; keepalive {CONNECTIONS}; }}"
PROXY = """
        client_max_body_size 0; proxy_request_buffering off;
        location / { proxy_pass http://eas; proxy_http_version 1.1; proxy_set_header Connection ""; }
"""
CLOSING = """
        client_max_body_size 0; proxy_request_buffering off;
        location / { proxy_pass http://127.0.0.1:{port}; }
"""


class Upstream:
    def __init__(self, program, *args):
        self.port = free_port()
        self.process = subprocess.Popen([str(program), str(self.port), *args],
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.process.terminate()
        self.process.communicate()


class Bench:
    """One upstream, a provostd before it, and a device that it has let in."""

    def __init__(self, say, where, seconds, upstream):
        self.say, self.where, self.seconds, self.upstream = say, where, seconds, upstream
        self.server = Server(users={name: "secret" for name in USERS}, config=(
            'connections_max = 20000;\nlog_level = "warn";\n'
            f'upstream = {{ url = "http://127.0.0.1:{upstream.port}"; '
            f'connections = {CONNECTIONS}; }};\n'))
        self.device = Device(self.server, device_id="BENCH")
        self.device.handshake()

    def script(self, name, body=SYNC, kind=TYPE):
        path = self.where / f"{name}.lua"
        path.write_text(POST.format(body=body, login=basic("ann", "secret"), kind=kind,
                                    key=self.device.key), encoding="utf-8")
        return path

    def wrk(self, port, script, cmd="Sync", connections=CONNECTIONS):
        """(requests a second, p50 of the latency in microseconds)"""
        target = f"http://127.0.0.1:{port}{PATH}?Cmd={cmd}&User=ann&DeviceId=BENCH&DeviceType=B"
        threads = min(2, connections)
        out = subprocess.run(["wrk", f"-t{threads}", f"-c{connections}", f"-d{self.seconds}s",
                              "--latency", "-s", str(script), target], text=True,
                             capture_output=True, check=True).stdout
        if wrong := re.search(r"Socket errors.*|Non-2xx.*", out):
            raise SystemExit(f"wrk on port {port}: {wrong.group(0)}")
        amount, unit = re.search(r"50% +([\d.]+)(us|ms|s)", out).groups()
        micro = float(amount) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
        return float(re.search(r"Requests/sec: +([\d.]+)", out).group(1)), micro

    def rounds(self, ports, script, **how):
        """{name: (median of requests a second, median of p50)}"""
        seen = {name: [] for name in ports}
        for _ in range(ROUNDS):
            for name, port in ports.items():
                seen[name].append(self.wrk(port, script, **how))
        return {name: tuple(map(statistics.median, zip(*rows))) for name, rows in seen.items()}

    def beside(self, what, figures, scale=1, unit="/s", goal=None):
        ours, nginx, haproxy = (figures[n][0] * scale for n in ("provostd", "nginx", "haproxy"))
        ratio = f"ratio {ours / nginx:.2f} and {ours / haproxy:.2f}"
        self.say(what, f"{ours:,.0f}{unit}", f"nginx {nginx:,.0f}{unit}, HAProxy {haproxy:,.0f}{unit}",
                 ratio + (f" (goal {goal} of nginx)" if goal else ""))

    def close(self):
        self.device.close()
        self.server.close()


def throughput(bench, ports):
    small = bench.script("small")
    bench.beside(f"100-byte answers, {CONNECTIONS} connections", bench.rounds(ports, small),
                 goal=0.5)
    bench.beside("1 MB answers", bench.rounds(ports, small, cmd="ItemOperations",
                                              connections=LARGE_CONNECTIONS), unit=" MB/s", goal=0.8)
    large = bench.script("large", f'string.rep("x", {MEGABYTE})', "message/rfc822")
    bench.beside("1 MB requests", bench.rounds(ports, large, cmd="SendMail",
                                               connections=LARGE_CONNECTIONS), unit=" MB/s",
                 goal=0.8)


def latency(bench, ports):
    seen = bench.rounds(dict(ports, upstream=bench.upstream.port), bench.script("small"),
                        connections=1)
    added = {name: p50 - seen["upstream"][1] for name, (_, p50) in seen.items()}
    bench.say("added latency, 1 connection, p50", f"{added['provostd']:.0f} us",
              f"nginx {added['nginx']:.0f} us, HAProxy {added['haproxy']:.0f} us", "(goal 150 us)")


def closing(bench, ports):
    """An upstream that closes after each answer, as SOGo does, though it says so."""
    bench.beside(f"the same, upstream closes, {CONNECTIONS} connections",
                 bench.rounds(ports, bench.script("small")))


def before(bench, part, http, location):
    """The part with all three before the upstream."""
    port = bench.upstream.port
    with Nginx(location.replace("{port}", str(port)), http.replace("{port}", str(port)),
               workers=2) as nginx, Haproxy(f"    server eas 127.0.0.1:{port}") as haproxy:
        part(bench, {"provostd": bench.server.port, "nginx": nginx.port, "haproxy": haproxy.port})


def waiting(bench, load, count):
    """Resident memory of a fresh process before and while devices wait in Pings that it holds."""
    server = bench.server
    subprocess.run([load, "provision", str(server.port), str(count)], check=True)
    server.restart()
    server.admin("status")
    alone = server.rss()
    pings = subprocess.Popen([load, "pings", str(server.port), str(count), "1"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        pings.stdout.readline()
        wait_for("all devices to wait", lambda: server.admin("status")["waiting_pings"] >= count, 120)
        each = (server.rss() - alone) / count / 1024
        bench.say(f"memory of {count:,} waiting Pings, held", f"{each:.1f} KiB each",
                  f"{server.rss() / 2**20:.0f} MiB in all")
    finally:
        pings.stdin.close()
        pings.wait()


def parts(say, where, seconds, programs, load, pings):
    """(name, what runs it)"""
    def with_upstream(run, *args):
        with Upstream(programs / "bench_upstream", *args) as upstream:
            bench = Bench(say, where, seconds, upstream)
            try:
                run(bench)
            finally:
                bench.close()

    def kept(bench):
        before(bench, throughput, KEEPALIVE, PROXY)
        before(bench, latency, KEEPALIVE, PROXY)

    def closed(bench):
        before(bench, closing, "", CLOSING)

    yield "gateway", lambda: with_upstream(kept)
    yield "closing", lambda: with_upstream(closed, "close")
    yield "held", lambda: with_upstream(lambda bench: waiting(bench, load, pings))
