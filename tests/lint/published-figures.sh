#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# published-figures: figures that others have published may stand in report data files (configs/campaigns/reports/) and nowhere
# else, so that no result of ours can be copied from them. Looks for each file's accuracies in code and campaigns, as a
# fraction (0.63) or as a count of a thousand (630), within eight lines of two others of them: one or two numbers alone are chance.
set -eu
root=${1:-$(dirname "$0")/../..}
cd "$root"

exec python3 - <<'PY'
import glob, json, re, sys

figures = set()
for path in glob.glob("configs/campaigns/reports/*.json"):
    for row in json.load(open(path))["rows"]:
        figures.add(row["accuracy"])
if not figures:
    sys.exit("published-figures: no report data file: nothing to look for")

def spellings(x):
    percent = round(100 * x)
    return r"(?<![\d.])(?:0?\.%02d0*|%d\.0+|%d0(?=\s*[,;})/]))(?![\d.])" % (percent, percent, percent)

patterns = {x: re.compile(spellings(x)) for x in figures}
WINDOW = 8
bad = []
files = [f for d in ("daemon", "instruments", "drivers", "chip", "sweeps", "db", "web") for e in ("c", "h")
         for f in glob.glob(f"{d}/**/*.{e}", recursive=True)]
files += glob.glob("configs/campaigns/*.json") + glob.glob("configs/chips/*.json")
for path in files:
    hits = []
    for number, line in enumerate(open(path, encoding="ascii", errors="replace"), 1):
        hits += [(number, x) for x, pattern in patterns.items() if pattern.search(line)]
    for number, x in hits:
        near = {y for m, y in hits if abs(m - number) <= WINDOW}
        if len(near) >= 3 or (len(near) == 2 and len(figures) == 2):
            bad.append(f"{path}:{number}: {sorted(near)} are published figures")
            break
if bad:
    sys.exit("published-figures: these belong into configs/campaigns/reports/ only:\n" + "\n".join(bad))
print(f"published-figures: {len(files)} files, none holds the published table")
PY
