# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# nb: what the whole-daemon tests share: a daemon with its own simulated bench in a folder of its own, its API over the
# Unix socket, the world's own record (the judge), and the ground truth that only tests may see.
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.environ.get("NB_ROOT", os.getcwd())
BIN = os.environ.get("NB_BIN", os.path.join(ROOT, "build/release"))
SCALE = float(os.environ.get("NB_TIME_SCALE", "1"))
SANITIZED = os.environ.get("NB_SANITIZED", "0") == "1"
LOOK_MAX_S = 0.1  # from one look at the world to the next
os.chdir(ROOT)


def check(condition, message):
    """A check that says what it saw. Tests are scripts: the first failed check ends them."""
    if not condition:
        sys.stderr.write(f"FAILED: {message}\n")
        raise SystemExit(1)


def program(name):
    return os.path.join(BIN, name)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """nightbenchd with --sim in a temporary folder."""

    def __init__(self, bench="configs/benches/sim-adelia2.json", seed=1, die=1, chip=None, real=False, keep=None,
                 env=None, extra=()):
        self.dir = keep or tempfile.mkdtemp(prefix="nb-test-")
        os.chmod(self.dir, 0o700)
        self.db = os.path.join(self.dir, "night.db")
        self.bench, self.seed, self.die, self.chip, self.real = bench, seed, die, chip, real
        self.env, self.extra = env or {}, list(extra)
        self.process = None
        self.crashed = False  # once: what the sanitizer said of it stays in the log
        self.killed = False   # the one that runs now

    def start(self):
        self.killed = False
        args = [program("nightbenchd"), "--bench", self.bench, "--run-dir", self.dir, "--db", self.db, "--sim",
                "--real" if self.real else "--virtual", "--seed", str(self.seed), "--die", str(self.die)] + self.extra
        if self.chip:
            args += ["--chip", json.dumps(self.chip)]
        self.log = open(os.path.join(self.dir, "daemon.log"), "ab")
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=self.log,
                                        env={**os.environ, **self.env})
        line = self.process.stdout.readline().decode()
        check(line.startswith("READY "), f"daemon did not get ready: {line!r}\n{self.logs()}")
        self.http_port = int(line.split("http=127.0.0.1:")[1].split()[0])
        return self

    def logs(self):
        text = ""
        for name in ("daemon.log", "keeper.log", "sim.log"):
            with contextlib.suppress(FileNotFoundError):
                text += f"--- {name}\n" + open(os.path.join(self.dir, name), errors="replace").read()[-4000:]
        return text

    def request(self, method, path, body=None, headers=None, timeout=120 * SCALE):
        connection = UnixConnection(os.path.join(self.dir, "nightbench.sock"), timeout)
        h = {"Content-Type": "application/json"} if body is not None else {}
        h.update(headers or {})
        connection.request(method, "/api/v1/" + path, json.dumps(body) if body is not None else None, h)
        answer = connection.getresponse()
        data = answer.read()
        kind = answer.getheader("Content-Type", "")
        connection.close()
        return answer.status, (json.loads(data) if "json" in kind else data)

    def get(self, path):
        status, body = self.request("GET", path)
        check(status == 200, f"GET {path}: {status} {body}")
        return body

    def post(self, path, body=None, expect=(200, 201, 202), **headers):
        status, answer = self.request("POST", path, body if body is not None else {}, headers)
        check(status in expect, f"POST {path}: {status} {answer}")
        return answer

    def start_run(self, campaign, **fields):
        body = {"path": campaign} if isinstance(campaign, str) else {"campaign": campaign}
        body.update(fields)
        status, answer = self.request("POST", "runs", body, {"Idempotency-Key": os.urandom(8).hex()})
        check(status in (200, 201, 202), f"start: {status} {answer}\n{self.logs()}")
        return answer.get("run") or answer["ulid"]

    def wait(self, timeout=280):
        """Until no run is under way; the status then."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self.get("status")
            if not status["busy"]:
                return status
            time.sleep(0.05)
        check(False, f"the run did not end in {timeout} s: {status}\n{self.logs()}")

    def run(self, campaign, timeout=280, **fields):
        ulid = self.start_run(campaign, **fields)
        status = self.wait(timeout)
        return ulid, status

    def points(self, ulid):
        return self.get(f"runs/{ulid}/points")["points"]

    def world(self):
        """The world's own record: list of (t_ns, kind, rest of the line)."""
        rows = []
        with open(os.path.join(self.dir, "sim", "world.log")) as f:
            for line in f:
                parts = line.split()
                if len(parts) >= 2 and line.endswith("\n"):  # the last one may be half written yet
                    rows.append((int(parts[0]), parts[1], parts[2:]))
        return rows

    def control(self, **command):
        """One command on the simulator's ground-truth socket."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(20 * SCALE)
        s.connect(os.path.join(self.dir, "sim", "control.sock"))
        s.sendall(json.dumps(command).encode() + b"\n")
        answer = s.makefile().readline()
        s.close()
        return json.loads(answer)

    def kill(self, signum=signal.SIGKILL):
        crash = signum in (signal.SIGSEGV, signal.SIGABRT)
        self.crashed = self.crashed or crash
        self.killed = self.killed or crash or signum == signal.SIGKILL
        self.process.send_signal(signum)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(60 * SCALE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def end_helpers(self):
        """The keeper and the world that a killed daemon left behind (and only those of this folder)."""
        for path in os.listdir("/proc"):
            if not path.isdigit():
                continue
            with contextlib.suppress(OSError):
                cmd = open(f"/proc/{path}/cmdline", "rb").read().split(b"\0")
                if any(self.dir.encode() in part for part in cmd) and int(path) != os.getpid():
                    os.kill(int(path), signal.SIGKILL)

    def close(self):
        self.stop()
        self.end_helpers()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        if exception[0] is not None:
            sys.stderr.write(self.logs())
            self.close()
            return
        # One that the test has killed may still be on its way out: its outputs are off before its process is gone.
        running = self.process.poll() is None and not self.killed
        self.stop()
        logs = self.logs()
        self.close()
        if self.crashed:  # a sanitizer reports the signal that the test has sent
            logs = logs[logs.find("--- keeper.log"):]
        check("Sanitizer" not in logs and "runtime error" not in logs, f"a sanitizer spoke:\n{logs}")
        fenced = "no longer serves this daemon" in logs  # the keeper, or the clock: then it ends so that it is started again
        check(not running or self.process.returncode == 0 or fenced, f"the daemon ended with {self.process.returncode}\n{logs}")


def until_taken(d, number):
    """Until the daemon has taken that signal."""
    deadline = time.monotonic() + 20 * SCALE
    while int(open(f"/proc/{d.process.pid}/status").read().split("ShdPnd:")[1].split()[0], 16) & 1 << (number - 1):
        check(time.monotonic() < deadline, f"signal {number} is not taken")
        time.sleep(0.005)


def cli(*args, **options):
    """Runs `nightbench`; returns (exit code, stdout, stderr)."""
    p = subprocess.run([program("nightbench"), *args], capture_output=True, text=True,
                       timeout=options.pop("timeout", 280), **options)
    return p.returncode, p.stdout, p.stderr


# ---- What the world's own record says ----

# Power-down order of adelia2: nothing of a later group may go off before everything of the earlier ones is off.
DOWN_ORDER = ["src1.1", "pins", "smu4.4", "smu4.3", "psu2.2", "smu4.2", "smu4.1", "psu2.1", "psu1.2", "psu1.1"]
RAIL_OF = {"psu1.1": "VDDIO", "psu1.2": "VDDD", "psu2.1": "VDDM", "smu4.1": "VDDA", "smu4.2": "VDDADC",
           "psu2.2": "VREF", "smu4.3": "VBN", "smu4.4": "VBP", "src1.1": "test source", "pins": "SPI pins"}


def transitions(world):
    """[(t_ns, what, on)] of every output and of the bridge's pins, in order."""
    rows = []
    for t, kind, rest in world:
        if kind == "output":
            rows.append((t, f"{rest[0]}.{rest[1]}", float(rest[2]) != 0))
        elif kind == "pins":
            rows.append((t, "pins", float(rest[2]) != 0))
    return rows


def energised(world):
    state = {}
    for _, what, on in transitions(world):
        state[what] = on
    return sorted(what for what, on in state.items() if on)


def check_down_order(world, order=None, after=0):
    """The last time everything went off it went off in order. after: transitions before that one do not count."""
    order = order or DOWN_ORDER
    last_off = {}
    for i, (_, what, on) in enumerate(transitions(world)):
        if not on and i >= after:
            last_off[what] = i
    ranks = [what for what, _ in sorted(last_off.items(), key=lambda item: item[1]) if what in order]
    wanted = [what for what in order if what in last_off]
    check(ranks == wanted, f"outputs went off in the order {[RAIL_OF[r] for r in ranks]}, "
                           f"not {[RAIL_OF[r] for r in wanted]}")


def check_order(world, before):
    """Whatever goes off after so many transitions, nothing that belongs off before it is still on. (A contact check has one rail on at a
    time.)"""
    on = set()
    for i, (_, what, is_on) in enumerate(transitions(world)):
        on = on | {what} if is_on else on - {what}
        early = [other for other in on if DOWN_ORDER.index(other) < DOWN_ORDER.index(what)] if not is_on else []
        check(i < before or not early, f"{what} went off while {early} were still on")


def off_within(d, limit_s):
    """Seconds until everything was off, or None. Of a look at the world that came late, because this machine stood still, no more than
    LOOK_MAX_S counts; and only what is on at a look after the limit has missed it."""
    start = last = time.monotonic()
    counted_s = 0.0
    while energised(d.world()):
        if counted_s > limit_s:
            return None
        time.sleep(0.005)
        now = time.monotonic()
        counted_s += min(now - last, LOOK_MAX_S)
        last = now
    return time.monotonic() - start


def check_says_who(d, ulid, instrument, command):
    """Every error names instrument and command and has the requests before it; one is of these two."""
    errors = [e["details"] for e in d.get(f"runs/{ulid}/events")["events"] if e["kind"] == "error"]
    for e in errors:
        check(e["instrument"] and e["command"] and 1 <= len(e["transactions"]) <= 20, f"an error that does not say who: {e}")
    check([e for e in errors if e["instrument"] == instrument and command in e["command"]],
          f"no error of {instrument} at {command!r}: {[(e['instrument'], e['command']) for e in errors]}")


def check_no_damage(world):
    check(not [row for row in world if row[1] == "damage"], "the chip was damaged")
