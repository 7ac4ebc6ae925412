# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# keeper_lib: a world of its own for tests of the keeper: simulator, keeper and power_client as processes in a folder
# that is removed at the end. The judge is the simulator's world.log, never what our programs say.
set -u
cd "${NB_ROOT:-$(dirname "$0")/../..}" || exit 2
BIN=${NB_BIN:-$PWD/build/release}
BENCH=configs/benches/sim-adelia2.json
SCALE=${NB_TIME_SCALE:-1}
work=$(mktemp -d /tmp/nb-keeper.XXXXXX)
sim_pid="" keeper_pid="" client_pid=""
state="" # the keeper's --state
TIME=virtual # or real: where processes are stopped, or die, that would hold virtual time or let it run away
LIBS=$(sed -n "s/^LIBS *:= *//p" Makefile) # what the library needs grows with its drivers
FLAGS="-std=c17 -D_GNU_SOURCE -I. -O1 -g -pthread"

# The emergency order is barriers too: inside one, any order. Every other step has a barrier of its own.
ORDER="ATB0 - VBP VBN VREF VDDADC VDDA VDDM VDDD VDDIO"

end() {
    kill_one "$client_pid" KILL; kill_keeper; kill_one "$sim_pid" KILL
    rm -rf "$work"
}
trap end EXIT
# Parent and child; each keeper has a session of its own.
kill_keeper() {
    [ -n "$keeper_pid" ] && kill -KILL -- "-$keeper_pid" 2>/dev/null && wait_until 20 keeper_gone
}
# One that was killed holds its lock until it has let go of its memory.
keeper_gone() { [ ! -e "$work/keeper.sock.lock" ] || flock -n "$work/keeper.sock.lock" true; }
kill_one() { [ -n "$1" ] && kill -"$2" "$1" 2>/dev/null; }
say() { echo "ok: $*"; }
die() {
    echo "FAILED: $*"
    for f in "$work"/*.out "$work/sim/world.log"; do [ -f "$f" ] && { echo "--- $f"; tail -25 "$f"; }; done
    exit 1
}

# wait_until SECONDS COMMAND...: true as soon as the command is. A look that comes late, because this machine stood still, counts
# for a tenth of a second; and only a look that was begun after the limit can miss it.
wait_until() {
    local limit=$(( $1 * SCALE * 1000000 )) counted=0 last=${EPOCHREALTIME/./} now
    shift
    until "$@"; do
        [ $counted -gt $limit ] && return 1
        sleep 0.02
        now=${EPOCHREALTIME/./}
        counted=$(( counted + (now - last < 100000 ? now - last : 100000) ))
        last=$now
    done
}

build_client() {
    ${CC:-gcc} $FLAGS tests/fault/power_client.c "$BIN/libnightbench.a" $LIBS -o "$work/power_client" ||
        die "power_client does not compile"
}
# build_variant NAME FLAG...: a keeper without one of its safety steps, to show that a test can fail.
build_variant() {
    local name=$1
    shift
    ${CC:-gcc} $FLAGS "$@" daemon/keeper/keeper.c daemon/keeper/nightbench_keeper.c daemon/keeper/server*.c \
        daemon/keeper/guard.c daemon/keeper/undo.c daemon/keeper/observer.c daemon/keeper/supervise.c \
        "$BIN/libnightbench.a" $LIBS -o "$work/$name" || die "variant $name does not compile"
}
start_sim() {
    rm -rf "$work/sim" "$work/sim.out" "$work/keeper.sock.latched"; mkdir -p "$work/sim" # a new world is not latched
    setsid "$BIN/nightbench-sim" --bench $BENCH --dir "$work/sim" --$TIME --seed 1 >"$work/sim.out" 2>&1 &
    sim_pid=$!
    wait_until 30 grep -qs READY "$work/sim.out" || die "the simulator does not start"
}
start_keeper() { # [PROGRAM]
    rm -f "$work/keeper.out"
    setsid "${1:-$BIN/nightbench-keeper}" --bench $BENCH --socket "$work/keeper.sock" --links "$work/sim/links.json" \
        $(clock_option) ${state:+--state "$state"} >"$work/keeper.out" 2>&1 &
    keeper_pid=$! # the parent; the keeper itself is keeper_child
    wait_until 30 grep -qs READY "$work/keeper.out" || die "the keeper does not start"
}
clock_option() { [ $TIME = virtual ] && echo "--clock $work/sim/clock.sock"; }
clock_path() { [ $TIME = virtual ] && echo "$work/sim/clock.sock"; }
keeper_child() { safe status | sed 's/.*"pid":\([0-9]*\).*/\1/'; }
start_client() { # [MODE]
    rm -f "$work/client.out" # nobody may take the last one's words for this one's
    "$work/power_client" $BENCH "$work/keeper.sock" "$work/sim/links.json" "$(clock_path)" "${1:-}" \
        >"$work/client.out" 2>&1 &
    client_pid=$!
}
powered() {
    start_client "${1:-}"
    wait_until 30 grep -qs 'POWERED\|ERROR' "$work/client.out"
    grep -q POWERED "$work/client.out" || die "the client did not power the chip"
    [ "$(on_count)" = 10 ] || die "$(on_count) of 10 outputs are on"
}
stop_all() {
    kill_one "$client_pid" KILL; kill_keeper; kill_one "$sim_pid" KILL
    wait "$client_pid" "$keeper_pid" "$sim_pid" 2>/dev/null
    client_pid="" keeper_pid="" sim_pid=""
}
safe() { "$BIN/nightbench-safe" "$@" --socket "$work/keeper.sock"; }

# world.log: "t_ns kind device channel value net". The last word on every output and on the pins.
switches() { awk '$2 == "output" || $2 == "pins" { print $5, $6 }' "$work/sim/world.log"; }
on_count() { switches | awk '{ on[$2] = $1 } END { n = 0; for (k in on) n += on[k]; print n }'; }
all_off() { [ "$(on_count)" = 0 ]; }
off_order() { switches | awk '$1 == 1 { order = "" } $1 == 0 { order = order (order == "" ? "" : " ") $2 } END { print order }'; }
damaged() { grep -q ' damage ' "$work/sim/world.log"; }
