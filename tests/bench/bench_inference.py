#!/usr/bin/python3
# Inference rate over simulated serprog against what framing and link allow, both in the bench's own (virtual) time, so that the
# figure says what the software adds to the wire and not how fast this machine simulates.
#
# What is allowed: SPI clock time of every byte of the frames of one inference (docs/chip-adelia2.md) and the chip's own cycles; the
# bridge's latency and its cost per operation are not in it, so they count against the ratio.
import os
import sys

sys.path.insert(0, os.path.join(os.environ.get("NB_ROOT", "."), "tests/lib"))
from nb import Daemon  # noqa: E402

SPI_HZ, CORE_HZ = 20e6, 100e6
INPUT, RESULT = 832, 4  # bytes of the network's input and output
FRAMES = [(6 + INPUT + 2, 3),      # write input: header, data, crc; turnaround, status, crc
          (6 + 4 + 2, 3),          # start
          (6, 2 + RESULT + 2)]     # read result: turnaround, status, data, crc

with Daemon() as d:
    ulid, status = d.run("configs/campaigns/vad-smoke.json")
    readings = [{r["channel"]: r["value"] for r in p["readings"]} for p in d.points(ulid)]
    point = next(r for r in readings if "time_per_inference" in r)
    wire = sum(tx + rx for tx, rx in FRAMES) * 8 / SPI_HZ
    compute = point["cycles_per_inference"] / CORE_HZ
    allowed, got = 1 / (wire + compute), 1 / point["time_per_inference"]
    print(f"inference over simulated serprog: {got:.0f}/s of bench time; SPI frames ({wire * 1e6:.0f} us) and the chip "
          f"({compute * 1e6:.0f} us) alone allow {allowed:.0f}/s, ratio {got / allowed:.2f}")
