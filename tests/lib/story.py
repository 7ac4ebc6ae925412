# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# story: what the tests of tests/fault/2NN-story-* share. Each of them is something that happened to users of another tool, told in
# its header; docs/reliability.md says what makes each of them fail.
import json
import os
import sqlite3
import subprocess
import time

from nb import SCALE, check, check_down_order, check_no_damage, energised, program, transitions


def campaign(*steps, **fields):
    """Up, some steps, down: the power-down at the end is what an end in the middle never comes to."""
    return {"format": "nightbench-campaign", "version": 1, "name": "story", "bench": "configs/benches/sim-adelia2.json", "seed": 1,
            "networks": {"vad": "configs/networks/adelia-vad-w9.json"}, "datasets": {"test": {"path": "data/vad-test.nbds"}},
            "steps": [{"step": "power", "state": "up"}, {"step": "identify", "what": "chip"},
                      {"step": "load", "network": "vad", "adc": {"bits": 9, "gain": 4}}, *steps, {"step": "power", "state": "down"}],
            **fields}


def sweep(values, samples=20, **fields):
    return {"step": "sweep", "axes": [{"name": "vdd_v", "set": "group.core", "list": values}],
            "do": [{"step": "accuracy", "dataset": "test", "samples": samples, "batch": 10}], **fields}


LONG = [round(0.75 + 0.0004 * i, 4) for i in range(250)]  # a sweep that nobody waits for: many seconds


def until(d, what, text, limit_s=60.0):
    deadline = time.monotonic() + limit_s * SCALE
    while True:
        status = d.get("status")
        if what(status):
            return status
        check(time.monotonic() < deadline, f"{text}: {status}\n{d.logs()}")
        time.sleep(0.003)


def in_sweep(d, points=2):
    """The sweep is under way, and some of its points are recorded."""
    return until(d, lambda s: s["progress"]["kind"] == "sweep" and s["progress"]["points_done"] >= points, "the sweep is never reached")


def in_step(d, kind):
    return until(d, lambda s: s["progress"]["kind"] == kind, f"step {kind} is never reached")


def all_off(d, after=0):
    """The world's own word."""
    deadline = time.monotonic() + 10.0 * SCALE
    while energised(d.world()):
        check(time.monotonic() < deadline, f"still on: {energised(d.world())}\n{d.logs()}")
        time.sleep(0.01)
    check_down_order(d.world(), after=after)
    check_no_damage(d.world())


def rows(d, sql):
    db = sqlite3.connect(f"file:{d.db}?mode=ro", uri=True, timeout=30)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def bench_with(folder, interlocks):
    """The simulated bench with rules of its own; the file's path."""
    with open("configs/benches/sim-adelia2.json") as f:
        bench = json.load(f)
    bench["interlocks"] = interlocks
    path = os.path.join(folder, "bench.json")
    with open(path, "w") as f:
        json.dump(bench, f)
    return path


def off_during(d, wait_s):
    """Everything goes off while the run only waits: the bench's time at which the first output did."""
    until(d, lambda _: not energised(d.world()), "it stays on")
    changes = transitions(d.world())
    last_up = max(t for t, _, on in changes if on)
    first_off = min(t for t, _, on in changes if not on and t > last_up)
    check(first_off - last_up < wait_s * 1e9, "only the end of the run switched off")
    return first_off


def keeper_status(d):
    answer = subprocess.run([program("nightbench-safe"), "status", "--socket", os.path.join(d.dir, "keeper.sock")], check=True,
                            capture_output=True, text=True)
    return json.loads(answer.stdout)
