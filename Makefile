# SPDX-License-Identifier: GPL-3.0-or-later
#
# nightbench: one makefile, not recursive. `make demo` and `make test` do all the set-up themselves.
#
#   deps    install the Debian packages that are missing (as root; otherwise print the one line and stop)
#   all     the programs, in build/$(VARIANT)/
#   data    the voice-activity test set from Debian packages (about 70 MB the first time, then offline)
#   demo    a characterization evening on the simulated bench (ARGS=--once ends by itself)
#   test    everything that CI runs, except other compilers and sanitizers
#   lint    layers, format, published figures, links of the documents
#   fuzz    every parser on hostile input (T=60 seconds each)
#   bench   speed and memory, as ratios measured in one run
#   install programs, configs, units and udev rules into DESTDIR/PREFIX (default /usr/local)
#
# VARIANT=release|asan|tsan and CC=gcc|clang choose a build; each has a folder of its own.

VARIANT ?= release
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
OUT     := build/$(if $(filter gcc,$(notdir $(CC))),,$(notdir $(CC))-)$(VARIANT)
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR     = $(PREFIX)/bin
SHAREDIR   = $(PREFIX)/share/nightbench
LIBDIR     = $(PREFIX)/lib
SYSCONFDIR = /etc
WERROR  ?=
ARGS    ?=

BUILD_ID := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wwrite-strings -Wcast-qual -Wpointer-arith \
        -Wformat=2 -Wvla -Wno-missing-field-initializers $(if $(WERROR),-Werror)
OPT.release := -O2 -g
OPT.asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT.tsan    := -O1 -g -fsanitize=thread
OPT         := $(OPT.$(VARIANT))

CFLAGS_ALL   = -std=c17 -D_GNU_SOURCE -I. $(WARN) $(OPT) -ffp-contract=off -pthread $(CFLAGS)
LDFLAGS_ALL := $(filter -fsanitize=%,$(OPT)) -pthread $(LDFLAGS)

# ---- Sources: everything below the layer folders, by wildcard; a program is a file named after it. ----
PROGRAMS := nightbenchd nightbench nightbench-keeper nightbench-safe nightbench-sim nightbench-data nightbench-sigrok
MAIN.nightbenchd       := daemon/nightbenchd.c
MAIN.nightbench        := daemon/client/nightbench.c
MAIN.nightbench-keeper := daemon/keeper/nightbench_keeper.c
MAIN.nightbench-safe   := daemon/keeper/nightbench_safe.c
MAIN.nightbench-sim    := drivers/sim/nightbench_sim.c
MAIN.nightbench-data   := chip/frontend/nightbench_data.c
MAIN.nightbench-sigrok := drivers/sigrok/nightbench_sigrok.c
MAINS := $(foreach p,$(PROGRAMS),$(MAIN.$(p)))

SRC := $(filter-out $(MAINS),$(wildcard daemon/base/*.c daemon/*.c daemon/client/*.c daemon/keeper/*.c \
       instruments/*.c drivers/*.c drivers/sim/*.c chip/*.c chip/frontend/*.c sweeps/*.c db/*.c web/*.c))
OBJ := $(SRC:%.c=$(OUT)/%.o)
LIB := $(OUT)/libnightbench.a

LIBS := -lmodbus -lcjson -lsqlite3 -lmicrohttpd -lcurl -lsndfile -lspandsp -lfftw3 -lserialport -lftdi1 -lm

.PHONY: torture-alloc torture-death torture-power torture-store torture-kill torture-faults week all deps data demo test unit sanitized lint bench fuzz install clean programs format FORCE
all: programs
programs: $(PROGRAMS:%=$(OUT)/%)

$(OUT)/%.o: %.c
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# The revision is compiled into one object, which alone is rebuilt when it changes.
$(OUT)/daemon/base/build.o: CFLAGS += -DNIGHTBENCH_BUILD='"$(BUILD_ID)"'
$(OUT)/daemon/base/build.o: $(OUT)/build-id
$(OUT)/build-id: FORCE
	@mkdir -p $(OUT); echo '$(BUILD_ID)' | cmp -s - $@ || echo '$(BUILD_ID)' > $@
FORCE:

# The analog model is arithmetic in bulk: let the compiler vectorise it; still strict IEEE (bit-reproducible).
$(OUT)/drivers/sim/chip_%.o $(OUT)/chip/reference.o: OPT += $(if $(filter release,$(VARIANT)),-O3)

$(LIB): $(OBJ)
	@rm -f $@
	@ar rcs $@ $^

define PROGRAM
$(OUT)/$(1): $(OUT)/$(MAIN.$(1):.c=.o) $(LIB)
	$(CC) $(LDFLAGS_ALL) $$^ $(LIBS) -o $$@
endef
$(foreach p,$(filter-out nightbench-sigrok,$(PROGRAMS)),$(eval $(call PROGRAM,$(p))))

# libsigrok stays in a process of its own, so its objects are not in the library.
SIGROK_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard drivers/sigrok/*.c))
$(SIGROK_OBJ): CFLAGS += $(patsubst -I%,-isystem %,$(shell pkg-config --cflags libsigrok 2>/dev/null))
$(OUT)/nightbench-sigrok: $(SIGROK_OBJ) $(LIB)
	$(CC) $(LDFLAGS_ALL) -rdynamic $^ -lsigrok -lglib-2.0 -lm -o $@

# ---- Tests ----
UNIT := $(patsubst tests/unit/%.c,$(OUT)/tests/unit/%,$(wildcard tests/unit/test_*.c))
$(OUT)/tests/unit/%: tests/unit/%.c $(LIB)
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -MMD -MP -MF $@.d $< $(LDFLAGS_ALL) $(LIB) $(LIBS) -lcmocka -o $@

# Programs that the scripts of tests/api/ and tests/wire/ start.
CLIENTS := $(patsubst tests/%.c,$(OUT)/tests/%,$(wildcard tests/wire/*_client.c))
$(CLIENTS): $(OUT)/tests/%: tests/%.c $(LIB)
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -MMD -MP -MF $@.d $< $(LDFLAGS_ALL) $(LIB) $(LIBS) -o $@

FAKE := $(OUT)/tests/api/fake_daemon
FAKE_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/api/*.c))
$(FAKE): $(FAKE_OBJ) $(LIB)
	$(CC) $(LDFLAGS_ALL) $(filter %.o,$^) $(LIB) $(LIBS) -o $@

HELPERS := $(CLIENTS) $(FAKE)

# Drivers behind links that the tests own: recorded logs, and the matrix of faults. Once more with drivers that do not look for
# garbage: the matrix must find them out.
LAB := $(OUT)/tests/wire/lab/lab $(OUT)/tests/wire/lab/lab-careless
LAB_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/wire/lab/*.c))
CARELESS := $(patsubst %.c,$(OUT)/careless/%.o,$(wildcard drivers/*.c))
$(CARELESS): $(OUT)/careless/%.o: %.c tests/wire/lab/careless.h
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -include tests/wire/lab/careless.h -MMD -MP -c $< -o $@
$(OUT)/tests/wire/lab/lab-careless: $(CARELESS)
$(LAB): $(LAB_OBJ) $(LIB)
	$(CC) $(LDFLAGS_ALL) -Wl,--wrap=transport_open $(filter %.o,$^) $(LIB) $(LIBS) -o $@

BENCHES := $(patsubst tests/bench/%.c,$(OUT)/tests/bench/%,$(wildcard tests/bench/bench_*.c))
$(OUT)/tests/bench/%: tests/bench/%.c $(LIB)
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) -MMD -MP -MF $@.d $< $(LDFLAGS_ALL) $(LIB) $(LIBS) -o $@

# Programs that torture the store; the second one has a store that syncs too little, and must be found out.
TORTURE := $(OUT)/tests/fault/store_torture $(OUT)/tests/fault/store_torture_normal
TORTURE_SRC := $(wildcard tests/fault/store_*.c tests/fault/disk_*.c)
STORE_OBJ := $(filter $(OUT)/db/%.o $(OUT)/daemon/base/%.o,$(OBJ))
$(OUT)/tests/fault/store_torture: $(STORE_OBJ)
$(OUT)/tests/fault/store_torture_normal: $(filter-out %/store.o,$(STORE_OBJ)) db/store.c
$(OUT)/tests/fault/store_torture_normal: private CFLAGS += -DSTORE_SYNCHRONOUS='"NORMAL"'
$(TORTURE): $(TORTURE_SRC) $(wildcard tests/fault/*.h)
	@mkdir -p $(dir $@)
	$(CC) $(CFLAGS_ALL) $(filter %.c %.o,$^) $(LDFLAGS_ALL) $(LIBS) -o $@

# N power cuts: nothing acknowledged is lost; and the same cuts find a store that syncs too little.
N ?= 100000
torture-power: deps
	@$(MAKE) --no-print-directory $(TORTURE)
	@$(OUT)/tests/fault/store_torture_normal power 2000 must-lose
	@$(OUT)/tests/fault/store_torture power $(N)

# N times kill -9 in the middle of a run, each time resumed: nothing acknowledged is lost, nothing is there twice.
torture-kill: N = 1000
torture-kill: deps data
	@$(MAKE) --no-print-directory programs
	@NB_BIN=$(CURDIR)/$(OUT) NB_ROOT=$(CURDIR) tests/fault/torture-kill $(N)

# Faults of every kind on every wire in every phase (N: only so many of them): no wrong value is stored as a good one.
torture-faults: N = 0
torture-faults: deps data
	@$(MAKE) --no-print-directory programs
	@NB_BIN=$(CURDIR)/$(OUT) NB_ROOT=$(CURDIR) tests/fault/torture-faults $(N)

# Every way on which the keeper, then the daemon, comes to an allocation is refused, once and for good (N: only so many): no crash, nothing lost.
torture-alloc: N = 0
torture-alloc: deps data
	@$(MAKE) --no-print-directory programs
	@NB_BIN=$(CURDIR)/$(OUT) NB_ROOT=$(CURDIR) PROGRAM=nightbench-keeper tests/fault/torture-alloc $(N)
	@NB_BIN=$(CURDIR)/$(OUT) NB_ROOT=$(CURDIR) tests/fault/torture-alloc $(N)

# A simulated week (DAYS) of one run an hour, each met by another fault: memory, descriptors, threads and log of daemon and keeper.
week: DAYS = 7
week: deps data
	@$(MAKE) --no-print-directory programs
	@NB_BIN=$(CURDIR)/$(OUT) NB_ROOT=$(CURDIR) tests/fault/week $(DAYS)

# Every operation on a file, and every allocation, fails once and for good while a campaign is recorded.
torture-store: deps
	@$(MAKE) --no-print-directory $(TORTURE)
	@$(OUT)/tests/fault/store_torture io 1
	@$(OUT)/tests/fault/store_torture memory 1

# The daemon and the keeper end in every phase of a run, by every cause (N=1 times each): outputs off, in order.
torture-death: deps data
	@$(MAKE) --no-print-directory programs
	@NB_ROOT=$(CURDIR) NB_BIN=$(CURDIR)/$(OUT) tests/fault/torture-death $(if $(filter command environment,$(firstword $(origin N))),$(N),1)

unit: deps
	@$(MAKE) --no-print-directory $(UNIT) $(HELPERS) $(LAB) $(TORTURE) programs
	@tests/run --out $(OUT) --only unit

test: deps
	@$(MAKE) --no-print-directory data
	@$(MAKE) --no-print-directory $(UNIT) $(HELPERS) $(LAB) $(TORTURE) programs
	@tests/run --out $(OUT)

# The same tests under a sanitizer (VARIANT=asan or tsan); ONLY="unit sim" names the kinds, all if left out.
sanitized: deps
	@$(MAKE) --no-print-directory $(DATA)
	@$(MAKE) --no-print-directory $(UNIT) $(HELPERS) $(LAB) $(TORTURE) programs
	@tests/run --out $(OUT) --sanitized --only "$(ONLY)"

lint: deps
	@tests/lint/all

bench: deps data
	@$(MAKE) --no-print-directory $(BENCHES) programs
	@tests/bench/run $(OUT)

# Every parser that eats bytes, T seconds each.
T ?= 60
fuzz: deps
	@tests/fuzz/run $(T)

# ---- Set-up ----
deps:
	@tests/deps

DATA := data/vad-test.nbds
data: $(DATA)
$(DATA): configs/datasets/vad-test.json configs/datasets/fetch.sh | deps
	@$(MAKE) --no-print-directory $(OUT)/nightbench-data
	@configs/datasets/fetch.sh configs/datasets/vad-test.json data
	@$(OUT)/nightbench-data configs/datasets/vad-test.json --packages data/packages --out $@

demo: deps
	@$(MAKE) --no-print-directory data
	@$(MAKE) --no-print-directory programs
	@$(OUT)/nightbench run configs/campaigns/adelia-vad-evening.json $(ARGS) --db nightbench.db

# Units and rules name the programs by where they are installed, DESTDIR apart. What a person has edited stays.
install: programs
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SHAREDIR)
	install -m 755 $(PROGRAMS:%=$(OUT)/%) $(DESTDIR)$(BINDIR)
	find configs -path configs/systemd -prune -o -type f -exec install -D -m 644 {} $(DESTDIR)$(SHAREDIR)/{} \;
	for f in $(wildcard $(DATA)); do install -D -m 644 $$f $(DESTDIR)$(SHAREDIR)/$$f; done
	install -d $(DESTDIR)$(LIBDIR)/systemd/system
	for f in nightbenchd nightbench-keeper; do sed 's,@BIN@,$(BINDIR),' configs/systemd/$$f.service \
	    >$(DESTDIR)$(LIBDIR)/systemd/system/$$f.service; done
	install -D -m 644 configs/systemd/60-nightbench.rules $(DESTDIR)$(LIBDIR)/udev/rules.d/60-nightbench.rules
	install -D -m 644 configs/systemd/nightbench.sysusers $(DESTDIR)$(LIBDIR)/sysusers.d/nightbench.conf
	install -D -m 644 configs/systemd/nightbench.tmpfiles $(DESTDIR)$(LIBDIR)/tmpfiles.d/nightbench.conf
	[ -f $(DESTDIR)$(SYSCONFDIR)/nightbench/nightbench.conf ] || \
	    install -D -m 644 configs/systemd/nightbench.conf $(DESTDIR)$(SYSCONFDIR)/nightbench/nightbench.conf
	install -d $(DESTDIR)$(PREFIX)/share/doc/nightbench
	install -m 644 README.md LICENSE $(wildcard docs/*) $(DESTDIR)$(PREFIX)/share/doc/nightbench

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(SIGROK_OBJ:.o=.d) $(LAB_OBJ:.o=.d) $(CARELESS:.o=.d) $(MAINS:%.c=$(OUT)/%.d) $(FAKE_OBJ:.o=.d) $(UNIT:=.d) $(CLIENTS:=.d) $(BENCHES:=.d)
