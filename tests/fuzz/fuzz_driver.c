/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * fuzz_driver: an instrument that answers anything to the SCPI driver, with each dialect of configs/. The
 * first bytes choose the dialect and the messages, the rest is what the instrument says. A failed request
 * leaves its message as it was; readings are numbers or flagged; what goes out is printable lines with
 * ordinary numbers in them.
 *
 * sources: daemon/base/error.c daemon/base/text.c daemon/base/json.c daemon/base/json_read.c
 * sources: drivers/scpi.c drivers/scpi_ask.c drivers/scpi_chamber.c drivers/scpi_log.c
 * sources: drivers/scpi_link.c drivers/scpi_talk.c drivers/scpi_text.c
 * sources: drivers/dialect.c drivers/dialect_file.c drivers/dialect_check.c tests/fuzz/fake_transport.c
 * aims: drivers/scpi*.c
 * options: -max_len=2048
 * edges: 650 */
#include <ctype.h>
#include <math.h>

#include "daemon/base/record.h"
#include "drivers/driver.h"
#include "tests/fuzz/fake_transport.h"
#include "tests/fuzz/fuzz.h"

enum { REQUESTS = 6, CHOICES = 32 };

static const struct {
    const char *path;
    int class;
} dialects[] = {
    { "configs/instruments/keysight-e36312a.json", CLASS_PSU },
    { "configs/instruments/keysight-n6705c-n6784a.json", CLASS_SMU },
    { "configs/instruments/keithley-2450.json", CLASS_SMU },
    { "configs/instruments/keysight-34461a.json", CLASS_DMM },
    { "configs/instruments/espec-p300.json", CLASS_CHAMBER },
    { "configs/instruments/intest-thermostream.json", CLASS_CHAMBER },
    { "configs/instruments/thermotron-3800.json", CLASS_CHAMBER },
    { "configs/instruments/keithley-2400.json", CLASS_SMU },
    { "configs/instruments/keysight-n6700b-n6752a.json", CLASS_PSU },
    { "configs/instruments/keysight-n6705c-n6762a.json", CLASS_PSU },
    { "configs/instruments/rigol-dp832.json", CLASS_PSU },
    { "configs/instruments/rs-hmp4040.json", CLASS_PSU },
    { "configs/instruments/rs-nge103.json", CLASS_PSU },
    { "configs/instruments/siglent-spd3303x.json", CLASS_PSU },
};
enum { DIALECTS = sizeof dialects / sizeof dialects[0] };

int64_t clock_wall_now(void)
{
    return 1769882400123456789;
}

static void check_sent(void)
{
    const uint8_t *sent;
    size_t n = fake_transport_sent(&sent);

    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(isprint(sent[i]) || sent[i] == '\n' ||
                   (sent[i] == '\r' && (i + 1 == n || sent[i + 1] == '\n')));
        if (i + 3 < n) /* " nan", ",inf": no number of 488.2 */
            FUZZ_CHECK(isalpha(sent[i]) ||
                       (memcmp(sent + i + 1, "nan", 3) != 0 && memcmp(sent + i + 1, "inf", 3) != 0));
    }
}

static void check_state(const struct message *m, int class)
{
    static const uint32_t known = MESSAGE_ON | MESSAGE_LIMITING | MESSAGE_TRIPPED;
    static const uint32_t chamber = MESSAGE_SETTLED | MESSAGE_UNSETTLED;

    FUZZ_CHECK((m->flags & ~(class == CLASS_CHAMBER ? known | chamber : known)) == 0);
    FUZZ_CHECK((m->flags & chamber) != chamber);
    FUZZ_CHECK(isfinite(m->value[0]));
    FUZZ_CHECK(isfinite(m->value[1]) || (class == CLASS_CHAMBER && (m->flags & MESSAGE_TRIPPED) != 0));
}

/* Values of a logger, then their times; a value that is none is flagged. */
static void check_log(const struct message *m, const uint8_t *payload)
{
    double value;

    FUZZ_CHECK(m->payload_length == m->count * 2 * sizeof value);
    for (uint32_t i = 0; i < m->count; i++) {
        memcpy(&value, payload + i * sizeof value, sizeof value);
        FUZZ_CHECK(isfinite(value) || (m->flags & READING_NOT_A_NUMBER) != 0);
    }
}

static void check_answer(const struct message *m, const uint8_t *payload, int class)
{

    if (m->op == MESSAGE_MEASURE) {
        FUZZ_CHECK(isfinite(m->value[0]) || (m->flags & READING_NOT_A_NUMBER));
        FUZZ_CHECK(isnan(m->value[1]) || m->value[1] >= 0);
    }
    if (m->op == MESSAGE_STATE)
        check_state(m, class);
    if (m->op == MESSAGE_LOG_READ)
        check_log(m, payload);
    if (m->op == MESSAGE_OUTPUT)
        FUZZ_CHECK(m->value[0] == 0 || m->value[0] == 1);
    if (m->op == MESSAGE_IDENTIFY) {
        size_t texts = 0;
        for (uint32_t i = 0; i < m->payload_length; i++)
            texts += payload[i] == '\0';
        FUZZ_CHECK(texts == 4 && payload[m->payload_length - 1] == '\0');
    }
}

static void check_request(void *state, struct fuzz_input *choice, int class)
{
    static uint8_t payload[MESSAGE_PAYLOAD_MAX];
    static const double values[] = { 0, 1, 0.8, -1, NAN, 1e300, INFINITY, 1e-12 };
    struct message message = { .magic = MESSAGE_MAGIC };
    struct error err = { 0 };

    message.op = (uint16_t)(fuzz_take(choice, 1) % (MESSAGE_PORT_COUNT + 1));
    message.channel = (int16_t)(fuzz_take(choice, 1) % 5);
    message.value[0] = values[fuzz_take(choice, 1) % 8];
    message.value[1] = values[fuzz_take(choice, 1) % 8];
    if (message.op == MESSAGE_QUERY) {
        message.payload_length = fuzz_take(choice, 1) % 8 == 7 ? 2000 : 5;
        memset(payload, 'Q', 2000);
        memcpy(payload, "*TST?", 5);
    }
    struct message before = message;
    int code = driver_scpi.request(state, &message, payload, sizeof payload, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, NULL);
        FUZZ_CHECK(memcmp(&before, &message, sizeof before) == 0);
    } else {
        FUZZ_CHECK(message.payload_length <= sizeof payload);
        check_answer(&message, payload, class);
    }
    check_sent();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transport_env env = { .cut_fd = -1 };
    struct driver_config config = { .name = "dut", .resource = "tcp:fuzz" };
    struct error err = { 0 };
    struct fuzz_input choice = { data, size < CHOICES ? size : CHOICES };
    struct fuzz_input answers = { data + choice.size, size - choice.size };
    unsigned which = fuzz_take(&choice, 1) % DIALECTS;
    size_t piece = fuzz_take(&choice, 1) + 1u;
    void *state = NULL;

    config.class = dialects[which].class;
    snprintf(config.dialect_path, sizeof config.dialect_path, "%s", dialects[which].path);
    fake_transport_feed(answers.data, answers.size, piece, piece % 8 != 7);
    int code = driver_scpi.open(&config, &env, &state, &err);
    if (code != 0) {
        fuzz_check_refusal(code, &err, state);
        return 0;
    }
    for (int i = 0; i < REQUESTS; i++) {
        check_request(state, &choice, dialects[which].class);
        if (fuzz_take(&choice, 1) % 8 == 7)
            driver_scpi.resync(state, &err);
    }
    driver_scpi.close(state);
    return 0;
}
