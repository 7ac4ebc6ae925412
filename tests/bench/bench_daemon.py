#!/usr/bin/python3
# Start and size of the daemon: exec to HTTP and e-stop answering, resident memory at rest and after a campaign.
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("NB_ROOT", "."), "tests/lib"))
from nb import Daemon, cli, program  # noqa: E402


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def exec_limit():
    """The physical limit in this run: fork, exec and a line through a pipe."""
    t = time.perf_counter()
    p = subprocess.Popen(["/bin/echo", "READY"], stdout=subprocess.PIPE)
    p.stdout.readline()
    p.wait()
    return time.perf_counter() - t


limit = statistics.median(exec_limit() for _ in range(10)) * 1000
cold, warm = [], []
for _ in range(5):
    d = Daemon()
    try:
        t = time.perf_counter()
        d.start()
        d.get("status")
        cold.append((time.perf_counter() - t) * 1000)
        d.kill()
        d.process.wait()
        t = time.perf_counter()
        d.start()
        d.get("status")
        warm.append((time.perf_counter() - t) * 1000)
        memory = rss_mb(d.process.pid)
    finally:
        d.close()
print(f"exec to HTTP answering, with a new simulator and keeper: {statistics.median(cold):.1f} ms "
      f"(exec of /bin/echo {limit:.1f} ms)")
print(f"exec to HTTP answering, bench and keeper already there:  {statistics.median(warm):.1f} ms, aim <= 50 ms")
with Daemon() as d:
    t = time.perf_counter()
    code, out, err = cli("estop", "--socket", os.path.join(d.dir, "nightbench.sock"))
    print(f"e-stop by the command line, exit {code}:              {(time.perf_counter() - t) * 1000:.1f} ms, aim <= 50 ms")
with Daemon() as d:
    d.run("configs/campaigns/vad-smoke.json")
    print(f"daemon RSS at rest {memory:.1f} MB, after a campaign {rss_mb(d.process.pid):.1f} MB, aim <= 16 MB")
