#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What 1,000 event-stream clients cost a running sweep: points per second of the same campaign in real time, without and with
# them, in turn. CLIENTS and ROUNDS choose another amount.
import os
import resource
import selectors
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("NB_ROOT", "."), "tests/lib"))
from nb import Daemon, check  # noqa: E402

CLIENTS = int(os.environ.get("CLIENTS", "1000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CAMPAIGN = "configs/campaigns/vad-smoke.json"


def read_streams(port, token, ready):
    """In a process of its own, until it is ended: reads everything that comes."""
    poll = selectors.DefaultSelector()
    head = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    for _ in range(CLIENTS):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(head)
        if not s.recv(4096).startswith(b"HTTP/1.1 200"):
            os._exit(1)
        poll.register(s, selectors.EVENT_READ)
    os.write(ready, b"r")
    while True:
        for key, _ in poll.select():
            if not key.fileobj.recv(65536):
                os._exit(1)


def rate(d):
    t = time.perf_counter()
    ulid, end = d.run(CAMPAIGN)
    check(end["state"] == "done", end)
    return len(d.points(ulid)) / (time.perf_counter() - t)


limit = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 8192), limit[1]))
alone, watched = [], []
with Daemon(real=True) as d:
    token = d.post("tokens", {"name": "bench"})["token"]
    rate(d)  # what is only done the first time
    for _ in range(ROUNDS):
        alone.append(rate(d))
        ends = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.nice(10)  # in life they are other machines
            read_streams(d.http_port, token, ends[1])
        os.close(ends[1])
        check(os.read(ends[0], 1) == b"r", "the streams did not open")
        watched.append(rate(d))
        check(os.waitpid(pid, os.WNOHANG) == (0, 0), "a stream broke")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ends[0])
a, w = statistics.median(alone), statistics.median(watched)
print(f"streams: {CLIENTS} clients: {a:.3f} points/s without, {w:.3f} with them: {100 * (w / a - 1):+.2f} %, "
      f"aim > -2 %: {'met' if w / a > 0.98 else 'missed'}")
