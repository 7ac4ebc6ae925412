/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * cost: sums of settle, measure, wire and compute times. */
#include "sweeps/cost.h"

#include <math.h>

#include "sweeps/power.h"

double cost_core_hz(const struct chip_profile *profile)
{
    return profile->operating.clock_max_hz;
}

double cost_rails_s(const struct plan_inputs *inputs)
{
    double busy[BENCH_INSTRUMENTS_MAX] = { 0 }, longest = 0.0;

    for (int i = 0; i < inputs->profile->rail_count; i++) {
        const struct bench_channel *channel = bench_file_rail(inputs->bench, inputs->profile->rail[i].name);
        if (channel != NULL)
            busy[channel->instrument] += 2.0 * channel->measure_s;
    }
    for (int i = 0; i < BENCH_INSTRUMENTS_MAX; i++)
        longest = fmax(longest, busy[i]);
    return longest;
}

double cost_window_s(const struct plan_inputs *inputs)
{
    double pass_s = cost_rails_s(inputs);

    return fmax(inputs->campaign->log_period_s, pass_s) + pass_s;
}

static double move_s(const struct plan_inputs *inputs, const double *from_v, const double *to_v, bool logged)
{
    const struct chip_profile *profile = inputs->profile;
    double settings_s = 0.0, settle_s = 0.0, busy_s[BENCH_INSTRUMENTS_MAX] = { 0 }, confirm_s = 0.0;
    int steps = power_steps(profile, from_v, to_v);

    for (int i = 0; i < profile->rail_count; i++) {
        const struct bench_channel *channel = bench_file_rail(inputs->bench, profile->rail[i].name);
        if (isnan(to_v[i]) || to_v[i] == from_v[i] || channel == NULL)
            continue;
        /* Where rails are logged, a setting waits for the reading under way: half of one on average. */
        double wait_s = logged ? channel->measure_s / 2.0 : 0.0;
        settings_s += steps * (COST_SETTING_S + wait_s);
        settle_s = fmax(settle_s, fmax(profile->rail[i].settle_s, channel->settle_s));
        busy_s[channel->instrument] += channel->measure_s + wait_s;
        confirm_s = fmax(confirm_s, busy_s[channel->instrument]);
    }
    /* The ramp's own time passes while the settings travel: whichever is longer counts. */
    return fmax(settings_s, power_ramp_s(profile, from_v, to_v)) + settle_s + confirm_s;
}

double cost_move_s(const struct plan_inputs *inputs, const double *from_v, const double *to_v)
{
    return move_s(inputs, from_v, to_v, inputs->campaign->log_period_s > 0.0);
}

/* What chambers take to move is theirs; a kelvin a second is an air stream, a tenth of that a small chamber.
 */
double cost_soak_s(double from_c, double to_c, double soak_s)
{
    const double SECONDS_A_KELVIN = 3.0;

    return fabs(to_c - from_c) * SECONDS_A_KELVIN + soak_s;
}

double cost_power_up_s(const struct plan_inputs *inputs, const double *target_v)
{
    double zero[PROFILE_RAILS_MAX] = { 0 }, seconds = 0.0;

    for (int i = 0; i < inputs->profile->rail_count; i++) {
        double only[PROFILE_RAILS_MAX];
        for (int k = 0; k < PROFILE_RAILS_MAX; k++)
            only[k] = k == i ? target_v[k] : NAN;
        /* Voltage, limit, protection and its read back, output on and its read back, then the ramp; nothing
         * is logged yet. */
        seconds += 6.0 * COST_SETTING_S + move_s(inputs, zero, only, false);
    }
    return seconds + 4.0 * COST_EXCHANGE_S + COST_IDENTIFY_S;
}

double cost_power_down_s(const struct plan_inputs *inputs)
{
    /* Off and its read back, then the state of every output asked once more. */
    return inputs->profile->rail_count * 7.0 * COST_SETTING_S;
}

double cost_spi_s(double spi_hz, int64_t bytes, int64_t transactions, int64_t exchanges)
{
    return (double)bytes * (8.0 / spi_hz + COST_LINK_BYTE_S) + (double)transactions * COST_TRANSACTION_S +
           (double)exchanges * COST_EXCHANGE_S;
}

/* Index into asset_network.cycles. */
static int bits_index(int bits)
{
    return bits <= 8 ? 0 : bits >= 10 ? 2 : 1;
}

double cost_inference_s(const struct plan_state *state, int network, int bits)
{
    const struct asset_network *asset = &state->inputs->assets->network[network];
    double compute = asset->cycles[bits_index(bits)] / cost_core_hz(state->inputs->profile);
    int64_t frame = 12; /* header, checksums and status of one transaction */
    int64_t bytes = (int64_t)asset->input_bytes * asset->input_copies + asset->output_bytes + 24 + 5 * frame;

    /* The bridge answers once before the run is waited for; results come with the next sample's transfers. */
    return compute + cost_spi_s(state->spi_hz, bytes, 5, 1);
}

double cost_load_s(const struct plan_state *state, int network, bool whole)
{
    const struct asset_network *asset = &state->inputs->assets->network[network];
    /* Written and read back; weights are read back through the crossbar. */
    int64_t bytes = whole ? 2 * asset->image_bytes : state->inputs->profile->cores.count * 512;

    return cost_spi_s(state->spi_hz, bytes, bytes / 512 + 1, bytes / 4096 + 1);
}

double cost_trace_bytes(const struct plan_inputs *inputs, double seconds)
{
    double period = inputs->campaign->log_period_s;

    if (!(period > 0.0))
        return 0.0;
    period = fmax(period, cost_rails_s(inputs));
    return seconds / period * inputs->profile->rail_count * 2 * COST_TRACE_BYTES;
}
