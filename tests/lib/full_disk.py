# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# full_disk: a small disk of its own, and somebody who fills it.
import contextlib
import os
import subprocess
import tempfile
import threading
import time

DISK_MB = 96


@contextlib.contextmanager
def small_disk():
    """The folder where it is mounted, or None where nothing can be mounted."""
    folder = tempfile.mkdtemp(prefix="nb-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder],
                             capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        os.rmdir(folder)


class WildLog:
    """Takes every last byte, also those that are given back: the ballast too."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "wild.log")
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self):
        with open(self.path, "ab", buffering=0) as f:
            while not self.ended.is_set():
                with contextlib.suppress(OSError):
                    while f.write(b"x" * 65536) > 0 and not self.ended.is_set():
                        pass
                time.sleep(0.005)

    def remove(self):
        self.ended.set()
        self.thread.join()
        os.unlink(self.path)
