# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# lanes: what the long tests share: many trials, several at once, each in a process of its own with its own random numbers, which
# depend on nothing but the seed and the trial's name. So each can be repeated alone: SEED=... TRIAL=name and the same command.
# What a trial prints is shown when it is over; a failed one is told with what repeats it, and does not end the others.
import os
import pickle
import random
import selectors
import sys
import tempfile
import time
import traceback

TRIAL = os.environ.get("TRIAL")  # one of them, to look at it again
LANES = int(os.environ.get("LANES", str(len(os.sched_getaffinity(0)))))
TOLD_S = 30          # from one line of progress to the next
WORDS_MAX = 12000    # of a failed trial: the logs of its programs are among them
FAILURES_MAX = 10    # then no more trials are begun: something is broken for all of them


def seed():
    return int(os.environ.get("SEED", str(random.SystemRandom().randrange(1 << 30))))


def idle_share():
    """Of this machine's processors, over a second in which we do nothing: what others leave us."""
    def look():
        with open("/proc/stat") as f:
            ticks = [int(word) for word in f.readline().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)  # idle, and waiting for a disk
    idle, total = look()
    time.sleep(1)
    idle_now, total_now = look()
    return (idle_now - idle) / max(1, total_now - total)


class Lanes:
    """work(name, rng) is one trial; what it returns (it must be picklable) stands in `results` under its name."""

    def __init__(self, work, chosen_seed, command, lanes=LANES):
        self.work, self.seed, self.command, self.lanes = work, chosen_seed, command, max(1, lanes)
        self.results, self.failed = {}, []
        self.under_way = selectors.DefaultSelector()

    def run(self, names, total=None, done=None, chosen=TRIAL):
        """names may be a generator: it is asked when a lane is free. total: of trials, or of whatever done() counts."""
        names, began = iter([chosen] if chosen else names), time.monotonic()
        told = began
        while True:
            while len(self.under_way.get_map()) < self.lanes and len(self.failed) < FAILURES_MAX:
                name = next(names, None)
                if name is None:
                    break
                self.begin(name)
            if not self.under_way.get_map():
                return self.results
            self.end_one()
            now, count = time.monotonic(), done() if done else len(self.results) + len(self.failed)
            if total and count and now - told > TOLD_S:
                left_min = max(0, (now - began) * (total - count) / count / 60)
                print(f"{count} of {total}, {len(self.failed)} trials failed, {left_min:.0f} min left", flush=True)
                told = now

    def judge(self):
        """At the end, when the figures of the others have been told."""
        if self.failed:
            rest = "; no others were begun" if len(self.failed) >= FAILURES_MAX else ""
            raise SystemExit(f"FAILED: {len(self.failed)} of {len(self.failed) + len(self.results)} trials{rest}: {', '.join(self.failed)}")

    def begin(self, name):
        words = tempfile.TemporaryFile()
        inward, outward = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self.live(name, words, outward)
        os.close(outward)
        self.under_way.register(inward, selectors.EVENT_READ, (name, pid, words, bytearray()))

    def live(self, name, words, outward):
        """In the trial's own process, which ends here."""
        status = 1
        try:
            os.dup2(words.fileno(), 1)
            os.dup2(words.fileno(), 2)
            result = pickle.dumps(self.work(name, random.Random(f"{self.seed} {name}")))
            with open(outward, "wb") as pipe:
                pipe.write(result)
            status = 0
        except SystemExit as end:
            print(end.code if isinstance(end.code, str) else "")  # a failed check has said why
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def end_one(self):
        """Returns when one of those under way is over: its end of the pipe is closed."""
        while True:
            for key, _ in self.under_way.select():
                part = os.read(key.fd, 1 << 16)
                key.data[3].extend(part)
                if not part:
                    self.under_way.unregister(key.fd)
                    os.close(key.fd)
                    return self.take(*key.data)

    def take(self, name, pid, words, data):
        _, status = os.waitpid(pid, 0)
        words.seek(0)
        said = words.read().decode(errors="replace")
        words.close()
        if status == 0:
            self.results[name] = pickle.loads(data)
            sys.stdout.write(said)
        else:
            self.failed.append(name)
            died = f" (by signal {os.WTERMSIG(status)})" if os.WIFSIGNALED(status) else ""
            print(f"---- FAILED: {name}{died}\n{said[-WORDS_MAX:]}\n---- again: SEED={self.seed} TRIAL='{name}' {self.command}")
        sys.stdout.flush()
