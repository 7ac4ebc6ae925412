/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * chip_adelia2_regs: the address map, the registers behind it, and the life of a run: computed when it
 * starts, visible when it ends. Until then the host reads what was there before, so that reading too early
 * gives an old result and never a lucky one. What an aborted run leaves in its memories is undefined on
 * silicon; here it is as before. */
#include "drivers/sim/chip_adelia2.h"

#include <string.h>

#include "daemon/base/clock.h"

enum {
    TARGET_GLOBAL = 0,
    TARGET_APU0 = 1,
    TARGET_ALL = 15,
    EXTIN_CYCLES = 40,
    PWREN_APUS = 0x3F,
    PWREN_BITS = 0x33F,
    TESTMUX_BITS = 0x13F3F,
    CTRL_START = 1 << 0,
    CTRL_ABORT = 1 << 1
};

enum a2_region { R_CSR, R_IMEM, R_WMEM, R_DMEM, R_XBAR, R_BNP, R_ADCT, R_PSUM, R_TRACE, REGIONS };

static const struct {
    uint32_t bytes;
    bool writable;
} region_table[REGIONS] = {
    [R_CSR] = { 256, true },   [R_IMEM] = { 1024, true },  [R_WMEM] = { 8192, true },
    [R_DMEM] = { 8192, true }, [R_XBAR] = { 8192, false }, [R_BNP] = { 256, true },
    [R_ADCT] = { 256, true },  [R_PSUM] = { 256, false },  [R_TRACE] = { 1024, false },
};

enum global_csr {
    G_ID = 0x00,
    G_REV = 0x04,
    G_CTRL = 0x08,
    G_STATUS = 0x0C,
    G_ERR = 0x10,
    G_IRQEN = 0x14,
    G_CYC_LO = 0x18,
    G_CYC_HI = 0x1C,
    G_INFCNT = 0x20,
    G_PWREN = 0x24,
    G_TESTMUX = 0x28,
    G_TEMP = 0x30,
    G_SCRATCH = 0x3C,
    G_DIEID_HI = 0x40,
    G_DIEID_LO = 0x44,
    G_REPEAT = 0x48,
    G_BREAK = 0x4C,
    G_BIST = 0x50
};

enum apu_csr {
    U_CTRL = 0x00,
    U_STATUS = 0x04,
    U_ADC = 0x0C,
    U_CNT_MVM = 0x30,
    U_CNT_CONV = 0x34,
    U_CNT_CLIP = 0x38,
    U_CNT_MEM = 0x3C,
    U_EXTIN = 0x40,
    U_EXTSUM = 0x44,
    U_EXTSQ = 0x48,
    U_TRACEPTR = 0x4C
};

static bool global_writable(uint32_t offset)
{
    switch (offset) {
    case G_CTRL:
    case G_ERR:
    case G_IRQEN:
    case G_PWREN:
    case G_TESTMUX:
    case G_SCRATCH:
    case G_REPEAT:
    case G_BREAK:
    case G_BIST:
        return true;
    default:
        return false;
    }
}

static bool apu_writable(uint32_t offset)
{
    return offset == U_CTRL || offset == U_ADC || offset == U_EXTIN || offset == U_TRACEPTR;
}

/* ---- The life of a run ---- */

static void changed(struct adelia2 *chip)
{
    if (chip->sink.changed != NULL)
        chip->sink.changed(chip->sink.context);
}

static void hide_data(struct adelia2 *chip)
{
    for (int i = 0; i < A2_APUS; i++)
        chip->apu[i].before = chip->apu[i].data;
}

/* The host sees this. */
static const struct adelia2_data *visible(const struct adelia2 *chip, int apu)
{
    return chip->run.active ? &chip->apu[apu].before : &chip->apu[apu].data;
}

void adelia2_regs_advance(struct adelia2 *chip, int64_t now_ns)
{
    if (!chip->run.active || now_ns < chip->run.end_ns)
        return;
    chip->run.active = false;
    chip->done = true;
    chip->err |= chip->run.err;
    if (chip->run.counts) {
        chip->cycles = chip->run.cycles;
        if (chip->run.err == 0)
            chip->infcnt++;
    }
}

void adelia2_regs_stop(struct adelia2 *chip, uint32_t err, int64_t now_ns)
{
    adelia2_regs_advance(chip, now_ns);
    if (!chip->run.active)
        return;
    chip->run.active = false;
    chip->stopped_run = chip->run_number;
    if (chip->run.end_ns != CLOCK_NEVER && chip->run.end_ns > chip->run.start_ns)
        adelia2_power_refund(chip, (double)(chip->run.end_ns - now_ns) /
                                       (double)(chip->run.end_ns - chip->run.start_ns));
    chip->err |= err;
    chip->done = err != 0; /* an abort is no end */
    if (chip->run.counts && now_ns > chip->run.start_ns)
        chip->cycles = (uint64_t)((double)(now_ns - chip->run.start_ns) * 1e-9 * chip->run.core_hz);
    for (int i = 0; i < A2_APUS; i++)
        chip->apu[i].data = chip->apu[i].before;
}

static double core_hz(const struct adelia2 *chip)
{
    return A2_CLOCK_HZ / (1.0 + chip->clkdiv);
}

static int64_t cycles_ns(const struct adelia2 *chip, uint64_t cycles)
{
    return (int64_t)((double)cycles / core_hz(chip) * 1e9 + 0.5);
}

/* Common to START and EXTIN: false when there is nothing to begin. */
static bool begin(struct adelia2 *chip, uint32_t apus, bool counts, int64_t now_ns)
{
    if (chip->run.active) {
        chip->err |= A2_ERR_BUSY;
        return false;
    }
    chip->done = false;
    if (adelia2_power_low(chip) && chip->pwren != 0) {
        chip->err |= A2_ERR_UVLO;
        chip->done = true;
        return false;
    }
    hide_data(chip);
    chip->run_number++;
    chip->events = (struct adelia2_events){ 0 };
    chip->run = (struct adelia2_run){
        .active = true, .counts = counts, .start_ns = now_ns, .core_hz = core_hz(chip), .apus = apus
    };
    return true;
}

static void start(struct adelia2 *chip, int64_t now_ns)
{
    double late = adelia2_power_timing_error(chip, core_hz(chip));
    uint32_t mask = 0;
    bool ends;

    for (int i = 0; i < A2_APUS; i++)
        if (chip->apu[i].enabled && (chip->pwren & 1u << i) != 0)
            mask |= 1u << i;
    if (!begin(chip, mask, true, now_ns))
        return;
    chip->timing_error = late > 0 ? late : 0;
    ends = adelia2_exec_run(chip, mask) && late >= 0;
    chip->run.end_ns = ends ? now_ns + cycles_ns(chip, chip->run.cycles) : CLOCK_NEVER;
    if (ends)
        adelia2_power_spend(chip, now_ns, chip->run.end_ns, chip->repeat > 1 ? chip->repeat : 1);
}

/* units: mask of those that got the command in the same write. */
static void extin(struct adelia2 *chip, uint32_t units, uint32_t command, int64_t now_ns)
{
    unsigned converter = command & 0x3F, count = command >> 8 & 0x3FF;
    bool input = (chip->testmux & 1u << 16) != 0;
    double volt = input && chip->sink.atb_volt != NULL ? chip->sink.atb_volt(chip->sink.context) : 0.0;

    if (converter >= A2_ADCS || count == 0 || !begin(chip, units, false, now_ns))
        return;
    for (int i = 0; i < A2_APUS; i++)
        if ((units & 1u << i) != 0) {
            unsigned bits = adelia2_array_bits(&chip->apu[i]);

            adelia2_array_extin(chip, i, converter, count, volt);
            chip->events.conversions_9b += count * (double)(1u << bits) / 512.0;
            chip->events.digital += count;
        }
    chip->run.end_ns = now_ns + cycles_ns(chip, (uint64_t)EXTIN_CYCLES * count);
    adelia2_power_spend(chip, now_ns, chip->run.end_ns, 1);
}

/* ---- Reset ---- */

void adelia2_regs_reset(struct adelia2 *chip)
{
    if (chip->run.active) {
        chip->stopped_run = chip->run_number;
        for (int i = 0; i < A2_APUS; i++)
            chip->apu[i].data = chip->apu[i].before;
    }
    memset(&chip->run, 0, sizeof chip->run);
    chip->clkdiv = chip->err = chip->irqen = chip->infcnt = chip->pwren = chip->testmux = 0;
    chip->scratch = chip->repeat = chip->brk = chip->bist = 0;
    chip->done = chip->reset_armed = false;
    chip->cycles = 0;
    memset(chip->energy_j, 0, sizeof chip->energy_j);
    memset(chip->run_energy_j, 0, sizeof chip->run_energy_j);
    for (int i = 0; i < A2_APUS; i++) {
        struct adelia2_apu *apu = &chip->apu[i];
        struct adelia2_data *data = &apu->data;

        apu->enabled = false;
        apu->adc_config = 9;
        apu->ext_command = 0;
        data->trace_next = data->mvm_count = data->conversion_count = data->clip_count = data->memory_count =
            0;
        data->pc = data->layer = data->ext_square = 0;
        data->ext_sum = 0;
        data->done = data->waiting = data->saturated = false;
        for (int n = 0; n < A2_ADCS; n++) {
            data->adct[2 * n] = 128u << 16;
            data->adct[2 * n + 1] = 0;
        }
    }
    changed(chip);
}

/* ---- Reading ---- */

static uint32_t read_status(const struct adelia2 *chip)
{
    uint32_t busy = chip->run.active ? chip->run.apus << 8 | 1u : 0;

    return busy | (chip->done ? 2u : 0) | (chip->err != 0 ? 4u : 0);
}

static uint32_t read_global(const struct adelia2 *chip, uint32_t offset)
{
    switch (offset) {
    case G_ID:
        return A2_ID;
    case G_REV:
        return A2_REVISION;
    case G_CTRL:
        return chip->clkdiv << 4;
    case G_STATUS:
        return read_status(chip);
    case G_ERR:
        return chip->err;
    case G_IRQEN:
        return chip->irqen;
    case G_CYC_LO:
        return (uint32_t)chip->cycles;
    case G_CYC_HI:
        return (uint32_t)(chip->cycles >> 32);
    case G_INFCNT:
        return chip->infcnt;
    case G_PWREN:
        return chip->pwren;
    case G_TESTMUX:
        return chip->testmux;
    case G_TEMP:
        return (uint32_t)adelia2_power_sensor(chip) & 0xFFF;
    case G_SCRATCH:
        return chip->scratch;
    case G_DIEID_HI:
        return chip->die.id_hi;
    case G_DIEID_LO:
        return chip->die.id_lo;
    case G_REPEAT:
        return chip->repeat;
    case G_BREAK:
        return chip->brk;
    case G_BIST:
        return chip->bist;
    default:
        return 0;
    }
}

static uint32_t read_unit_status(const struct adelia2 *chip, int index, const struct adelia2_data *data)
{
    uint32_t status = data->pc & 0x3FF;

    if (chip->run.active && (chip->run.apus & 1u << index) != 0)
        status |= 1u << 16;
    return status | (data->done ? 1u << 17 : 0) | (data->waiting ? 1u << 18 : 0) |
           (data->saturated ? 1u << 19 : 0) | (data->layer & 0x7F) << 24;
}

static uint32_t read_unit(const struct adelia2 *chip, int index, uint32_t offset)
{
    const struct adelia2_apu *apu = &chip->apu[index];
    const struct adelia2_data *data = visible(chip, index);

    switch (offset) {
    case U_CTRL:
        return apu->enabled;
    case U_STATUS:
        return read_unit_status(chip, index, data);
    case U_ADC:
        return apu->adc_config;
    case U_CNT_MVM:
        return data->mvm_count;
    case U_CNT_CONV:
        return data->conversion_count;
    case U_CNT_CLIP:
        return data->clip_count;
    case U_CNT_MEM:
        return data->memory_count;
    case U_EXTIN:
        return apu->ext_command;
    case U_EXTSUM:
        return (uint32_t)data->ext_sum;
    case U_EXTSQ:
        return data->ext_square;
    case U_TRACEPTR:
        return data->trace_next;
    default:
        return 0;
    }
}

static uint32_t read_bytes(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t read_memory(const struct adelia2 *chip, int index, unsigned region, uint32_t offset)
{
    const struct adelia2_apu *apu = &chip->apu[index];
    const struct adelia2_data *data = visible(chip, index);

    switch (region) {
    case R_IMEM:
        return apu->imem[offset / 4];
    case R_WMEM:
        return read_bytes(apu->wmem + offset);
    case R_DMEM:
        return read_bytes(data->dmem + offset);
    case R_XBAR:
        return read_bytes(apu->xbar + offset);
    case R_BNP:
        return apu->bnp[offset / 4];
    case R_ADCT:
        return data->adct[offset / 4];
    case R_PSUM:
        return (uint32_t)data->psum[offset / 4];
    case R_TRACE:
        return (uint32_t)(uint16_t)data->trace[offset / 2] << 16 | (uint16_t)data->trace[offset / 2 + 1];
    default:
        return 0;
    }
}

uint32_t adelia2_regs_read(const struct adelia2 *chip, uint32_t address)
{
    unsigned target = address >> 20 & 0xF, region = address >> 16 & 0xF;
    uint32_t offset = address & 0xFFFF;

    if (target == TARGET_GLOBAL)
        return read_global(chip, offset);
    return region == R_CSR ? read_unit(chip, (int)target - TARGET_APU0, offset)
                           : read_memory(chip, (int)target - TARGET_APU0, region, offset);
}

/* ---- Writing ---- */

uint8_t adelia2_regs_check(const struct adelia2 *chip, uint32_t address, unsigned words, bool write)
{
    unsigned target = address >> 20 & 0xF, region = address >> 16 & 0xF;
    uint32_t offset = address & 0xFFFF;

    if (target > A2_APUS && !(target == TARGET_ALL && write))
        return A2_ST_ADDRESS;
    if (region >= REGIONS || (target == TARGET_GLOBAL && region != R_CSR) || address % 4 != 0 ||
        offset + 4 * words > region_table[region].bytes)
        return A2_ST_ADDRESS;
    if (!write)
        return 0;
    if (!region_table[region].writable || (region != R_CSR && chip->run.active))
        return A2_ST_LOCKED;
    for (unsigned i = 0; i < words && region == R_CSR; i++)
        if (target == TARGET_GLOBAL ? !global_writable(offset + 4 * i) : !apu_writable(offset + 4 * i))
            return A2_ST_LOCKED;
    return 0;
}

static void write_global(struct adelia2 *chip, uint32_t offset, uint32_t value, int64_t now_ns)
{
    switch (offset) {
    case G_CTRL:
        if (!chip->run.active)
            chip->clkdiv = value >> 4 & 0xF;
        if ((value & CTRL_ABORT) != 0)
            adelia2_regs_stop(chip, 0, now_ns);
        else if ((value & CTRL_START) != 0)
            start(chip, now_ns);
        break;
    case G_ERR:
        chip->err &= ~value;
        break;
    case G_IRQEN:
        chip->irqen = value & 1;
        break;
    case G_PWREN:
        chip->pwren = value & PWREN_BITS;
        changed(chip);
        break;
    case G_TESTMUX:
        chip->testmux = value & TESTMUX_BITS;
        changed(chip);
        break;
    case G_SCRATCH:
        chip->scratch = value;
        break;
    case G_REPEAT:
        chip->repeat = value;
        break;
    case G_BREAK:
        chip->brk = value & 0xFF00FFFFu;
        break;
    case G_BIST:
        chip->bist = value & 0xFFFF0001u;
        break;
    default:
        break;
    }
}

static void write_unit(struct adelia2 *chip, uint32_t units, uint32_t offset, uint32_t value, int64_t now_ns)
{
    for (int i = 0; i < A2_APUS; i++) {
        struct adelia2_apu *apu = &chip->apu[i];

        if ((units & 1u << i) == 0)
            continue;
        if (offset == U_CTRL)
            apu->enabled = (value & 1) != 0;
        else if (offset == U_ADC)
            apu->adc_config = value & 0x3F;
        else if (offset == U_EXTIN)
            apu->ext_command = value & 0x3FF3F;
        else if (offset == U_TRACEPTR) {
            memset(apu->data.trace, 0, sizeof apu->data.trace);
            apu->data.trace_next = 0;
        }
    }
    if (offset == U_EXTIN)
        extin(chip, units, value, now_ns);
}

static void write_memory(struct adelia2_apu *apu, unsigned region, uint32_t offset, uint32_t value)
{
    const uint8_t byte[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value };

    switch (region) {
    case R_IMEM:
        apu->imem[offset / 4] = value;
        break;
    case R_WMEM:
        memcpy(apu->wmem + offset, byte, 4);
        break;
    case R_DMEM:
        memcpy(apu->data.dmem + offset, byte, 4);
        break;
    case R_BNP:
        apu->bnp[offset / 4] = value;
        break;
    case R_ADCT:
        apu->data.adct[offset / 4] = value;
        break;
    default:
        break;
    }
}

/* Only after adelia2_regs_check() has passed the burst. */
void adelia2_regs_write(struct adelia2 *chip, uint32_t address, uint32_t value, int64_t now_ns)
{
    unsigned target = address >> 20 & 0xF, region = address >> 16 & 0xF;
    uint32_t offset = address & 0xFFFF;
    uint32_t units = target == TARGET_ALL    ? PWREN_APUS
                     : target >= TARGET_APU0 ? 1u << (target - TARGET_APU0)
                                             : 0;

    if (target == TARGET_GLOBAL) {
        write_global(chip, offset, value, now_ns);
    } else if (region == R_CSR) {
        write_unit(chip, units, offset, value, now_ns);
    } else {
        for (int i = 0; i < A2_APUS; i++)
            if ((units & 1u << i) != 0)
                write_memory(&chip->apu[i], region, offset, value);
    }
}
