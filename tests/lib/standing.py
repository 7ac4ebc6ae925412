# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# standing: the virtual time of a daemon's world stands still, and goes on as far as a test says. The test is an actor of the clock
# (daemon/base/clock.h), and one that does not wait holds time. So a moment of a run is met however late this machine lets the test look.
#
#     with StandingTime(d) as time:
#         d.start_run(...)
#         time.until("a sweep", lambda: d.get("status")["progress"]["kind"] == "sweep")
#         d.post("pause")
#
# What is done meanwhile must not itself wait for the world: nothing is switched off, or measured, before the end of the block. A daemon
# that is killed in it takes its outputs off behind it.
import contextlib
import ctypes
import mmap
import os
import socket
import struct
import time

from nb import SCALE, check, energised

HELLO, REGISTER, KICK = 1, 2, 3  # enum clock_request
BLOCKED, ASLEEP, COUNT = 1, 2, 4  # enum clock_word
PAGE_VERSION, ACTORS_MAX, RANK_LAST, NEVER = 2, 64, 1000, 2**63 - 1
MESSAGE = struct.Struct("Iiii32s")


class Slot(ctypes.Structure):
    _fields_ = [("in_use", ctypes.c_uint32), ("word", ctypes.c_uint64), ("deadline_ns", ctypes.c_int64), ("rank", ctypes.c_int32),
                ("name", ctypes.c_char * 32)]


class Page(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("now_ns", ctypes.c_int64), ("actor", Slot * ACTORS_MAX)]


class StandingTime:
    def __init__(self, d):
        self.d, self.path, self.socket = d, os.path.join(d.dir, "sim", "clock.sock"), None

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(20 * SCALE)
        s.connect(self.path)
        return s

    def __enter__(self):
        with self.connect() as s:
            s.send(MESSAGE.pack(HELLO, 0, 0, PAGE_VERSION, b""))
            _, (fd,), _, _ = socket.recv_fds(s, MESSAGE.size, 1)
        self.page = Page.from_buffer(mmap.mmap(fd, os.fstat(fd).st_size))
        os.close(fd)
        check(self.page.version == PAGE_VERSION, f"the clock's page is of version {self.page.version}")
        self.socket = self.connect()
        self.socket.send(MESSAGE.pack(REGISTER, 0, RANK_LAST, os.getpid(), b"test"))
        self.slot = self.page.actor[MESSAGE.unpack(self.socket.recv(MESSAGE.size))[1]]
        return self

    def __exit__(self, *_):
        self.socket.close()

    def go_on(self, seconds):
        """For so long. Everybody waits again when this returns, and nothing moves."""
        end_ns = self.page.now_ns + int(seconds * 1e9)
        self.slot.deadline_ns = end_ns
        self.slot.word |= BLOCKED | ASLEEP  # nobody else writes a word that is not blocked and that nobody wakes
        self.socket.send(MESSAGE.pack(KICK, 0, 0, 0, b""))
        while self.page.now_ns < end_ns:  # a word of before, for one who was up too long, may lie in the socket
            check(self.socket.recv(MESSAGE.size), f"the clock has dropped the test\n{self.d.logs()}")
        self.slot.word = (self.slot.word + COUNT) & ~(BLOCKED | ASLEEP)
        self.slot.deadline_ns = NEVER

    def until_points(self, count):
        self.until(f"{count} points", lambda: self.d.get("status")["progress"]["points_done"] >= count)

    def until(self, what, wanted, step_s=0.01):
        deadline = time.monotonic() + 60 * SCALE
        while not wanted():
            check(time.monotonic() < deadline, f"never: {what}: {self.d.get('status')}\n{self.d.logs()}")
            self.go_on(step_s)


@contextlib.contextmanager
def met(d, campaign, kind, powered=False, step_s=0.01):
    """Begins a run, and stands in its first step of that kind."""
    with StandingTime(d) as time:
        time.ulid = d.start_run(campaign)
        time.until(f"step {kind}", lambda: d.get("status")["progress"]["kind"] == kind and (not powered or energised(d.world())), step_s)
        yield time
