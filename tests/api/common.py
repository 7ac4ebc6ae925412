# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# common: starts the fake daemon, sends well-formed and raw requests. Only the standard library and jsonschema.
import http.client, json, os, re, signal, socket, subprocess, sys, tempfile, threading, time

ROOT = os.environ.get("NB_ROOT", os.getcwd())
BIN = os.environ.get("NB_BIN", os.path.join(ROOT, "build/release"))
SCALE = float(os.environ.get("NB_TIME_SCALE", "1"))


class Daemon:
    """The real server and store; see fake_daemon.c."""

    def __init__(self, *options, db=None):
        self.folder = tempfile.TemporaryDirectory(prefix="nb-api-")
        self.socket = os.path.join(self.folder.name, "nightbench.sock")
        self.db = db or os.path.join(self.folder.name, "store.db")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "tests/api/fake_daemon"), "--db", self.db, "--socket", self.socket, *options],
            stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        match = re.match(r"READY http=127\.0\.0\.1:(\d+) .* token=(nb_[0-9a-f]{64})$", ready)
        if not match:
            self.process.kill()  # or it holds our output open for ever
            raise AssertionError("no READY line: " + ready)
        self.port, self.token = int(match[1]), match[2]
        self.audit = []  # lines of commands that were recorded
        self.reader = threading.Thread(target=lambda: self.audit.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """The daemon must end by itself, in order and with status 0: a sanitizer's finding is a failed test."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20 * SCALE)
        self.reader.join()
        self.process.stdout.close()
        self.folder.cleanup()
        assert status == 0, "the daemon ended with status %d" % status

    def request(self, method, path, body=None, headers=None):
        """token: that of the READY line unless the headers say otherwise ("Authorization": None for none)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20 * SCALE)
        headers = {"Authorization": "Bearer " + self.token, **(headers or {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        if method == "POST":
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(body if body is not None else {})
        else:
            body = None
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer, data

    def get(self, path, status=200):
        answer, data = self.request("GET", path)
        assert answer.status == status, (path, answer.status, data)
        return json.loads(data)

    def raw(self, data, wait=5, silence=0.2):
        """Sends bytes as they are; returns all that comes back until the server closes or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait * SCALE) as s:
            out = b""
            try:
                s.sendall(data)
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        return out
                    out += piece
                    s.settimeout(silence * SCALE)
            except (TimeoutError, ConnectionResetError, BrokenPipeError):
                return out


def wait_for(what, condition, seconds=10):
    deadline = time.monotonic() + seconds * SCALE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain for " + what
        time.sleep(0.02)
