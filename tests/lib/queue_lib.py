# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# queue_lib: what the tests of the queue share: a small campaign, requests, and the store's word about what has run.
import copy
import datetime
import os
import signal
import sqlite3
import subprocess
import time

from nb import SCALE, check, energised, program
from standing import StandingTime

CAMPAIGN = {"format": "nightbench-campaign", "version": 1, "name": "queued", "bench": "configs/benches/sim-adelia2.json",
            "seed": 1, "networks": {"vad": "configs/networks/adelia-vad-w9.json"},
            "datasets": {"test": {"path": "data/vad-test.nbds"}},
            "steps": [{"step": "power", "state": "up"}, {"step": "load", "network": "vad", "adc": {"bits": 9, "gain": 4}},
                      {"step": "accuracy", "dataset": "test", "samples": 2, "repeat": 40},
                      {"step": "power", "state": "down"}]}


def campaign(name, **members):
    return {**copy.deepcopy(CAMPAIGN), "name": name, **members}


def rows(d, sql, *values):
    db = sqlite3.connect(f"file:{d.db}?mode=ro", uri=True, timeout=30)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def until(d, what, wanted):
    deadline = time.monotonic() + 60 * SCALE
    while not wanted():
        check(time.monotonic() < deadline, f"never: {what}\n{d.get('status')}\n{d.get('queue')}\n{d.logs()}")
        time.sleep(0.01)


def add(d, name, key=None, expect=(201,), **fields):
    body = {"campaign": fields.pop("campaign", None) or campaign(name), **fields}
    return d.post("runs", body, expect=expect, **{"Idempotency-Key": key or os.urandom(8).hex()})


def add_short(d, name):
    return add(d, name, campaign=campaign(name, steps=[{"step": "wait", "seconds": 1}]))


def names(d):
    return [entry["campaign"] for entry in d.get("queue")["entries"]]


def held(d):
    """Why the queue waits, or ""."""
    return (d.get("queue")["held"] or {"reason": ""})["reason"]


def runs(d):
    """Campaign and state of every run, in the order in which they began."""
    return rows(d, "SELECT campaign, state FROM run ORDER BY id")


def idle(d):
    return not d.get("status")["busy"] and not d.get("queue")["entries"]


def hold_still(d, name, begin=lambda: None):
    """begin() lets that run begin; in its third step it is paused, for as long as it takes to do something about it."""
    with StandingTime(d) as bench_time:
        said = begin()
        bench_time.until(f"run {name}", lambda: (s := d.get("status"))["campaign"] == name and s["progress"]["step"] >= 2)
        d.post("pause")
    until(d, "a pause", lambda: d.get("status")["state"] == "paused")
    return said


def kill(d):
    d.kill(signal.SIGKILL)
    d.process.wait()
    deadline = time.monotonic() + 20 * SCALE
    while energised(d.world()):
        check(time.monotonic() < deadline, f"still on after the kill: {energised(d.world())}")
        time.sleep(0.01)


def iso(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def safe_program(d, *words):
    p = subprocess.run([program("nightbench-safe"), *words, "--socket", os.path.join(d.dir, "keeper.sock")], capture_output=True,
                       text=True, timeout=60)
    check(p.returncode == 0, f"nightbench-safe {words}: {p.returncode} {p.stdout} {p.stderr}")
    return p.stdout
