#!/usr/bin/python3
# What a bench at rest costs: CPU time of daemon, keeper (with the parent that restarts it) and simulator over 5 s without a
# run, in real time. The daemon beats to the keeper four times a second and somebody looks at the outputs; no more.
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ.get("NB_ROOT", "."), "tests/lib"))
from nb import Daemon  # noqa: E402

SECONDS = 5


def processes(folder):
    """Program names by process id, of those whose command line names the folder."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        name = os.path.basename(words[0].decode())
        if name.startswith("nightbench") and any(folder.encode() in word for word in words):
            found[int(pid)] = name
    return found


def cpu_s(pid):
    """Nanosecond accounts of every thread: ticks would miss work that is shorter than one."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


with Daemon(real=True) as d:
    d.run("configs/campaigns/vad-smoke.json")  # every link has been used
    time.sleep(1)
    who = processes(d.dir)
    before, start = {pid: cpu_s(pid) for pid in who}, time.monotonic()
    time.sleep(SECONDS)
    seconds = time.monotonic() - start
    used = {}
    for pid, name in who.items():
        used[name] = used.get(name, 0) + 100 * (cpu_s(pid) - before[pid]) / seconds
    ours = used["nightbenchd"] + used["nightbench-keeper"]
    print(f"CPU at rest over {seconds:.1f} s: daemon {used['nightbenchd']:.2f} %, keeper {used['nightbench-keeper']:.2f} %, "
          f"together {ours:.2f} % of one core (aim < 1 %); simulator {used.get('nightbench-sim', float('nan')):.2f} %")
