/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * test_export: CSV as RFC 4180 wants it, and canonical records that are the same for the same run recorded on
 * another day, in another order, under another ULID, and differ when one number differs. */
#include "tests/unit/db_fixture.h"

#include "daemon/base/record.h"
#include "db/export.h"

static int collect(void *context, const char *text, size_t length)
{
    strbuf_bytes(context, text, length);
    return 0;
}

static int refuse(void *context, const char *text, size_t length)
{
    (void)context;
    (void)text;
    (void)length;
    return ERR_FULL;
}

/* One run of three points. `twist`: another history of the same results. `change`: one value differs. */
static void record_once(const char *db, const char *ulid, bool twist, bool change)
{
    struct record_run run = fixture_run(ulid);
    struct recorder *recorder;
    const struct record_sink *sink;
    struct record_reading extra =
        fixture_reading(1, 1, "z,\"quoted\"", change ? 1.0000000000000002 : 1, 2999);
    struct record_event event = { "trip", "first line\nsecond", NULL, 77, twist ? 5 : 6 };
    struct record_calibration cal = { "key", "offset", "dmm", &(double){ 0.5 }, 1, NULL, 60, 40 };
    int64_t id, calibration, time_ns[] = { 1, 2, 3 };
    float value[] = { 0.1f, 0.2f, 0.3f };
    struct record_trace trace = { "rail", UNIT_AMPERE, time_ns, value, 3 };
    struct error err;

    run.wall_ns += twist ? 1000000000 : 0;
    assert_ok(recorder_open(db, &recorder, &err));
    sink = recorder_sink(recorder);
    if (twist) { /* other rows before it: every row id is another one */
        struct record_run earlier = fixture_run("01RUN0000000000000000000C0");

        assert_ok(sink->run_begin(sink->context, &earlier, &id, &err));
        fixture_point(sink, 0, 1, VERDICT_PASS, 1);
        assert_ok(sink->calibration(sink->context, &cal, &calibration, &err));
        assert_ok(sink->run_end(sink->context, "done", 0, "", 5000, &err));
    }
    assert_ok(sink->run_begin(sink->context, &run, &id, &err));
    assert_ok(sink->event(sink->context, &event, &err));
    assert_ok(sink->calibration(sink->context, &cal, &calibration, &err));
    for (int i = 0; i < 3; i++)
        fixture_point(sink, twist ? 2 - i : i, 1, VERDICT_PASS, 2);
    extra.reading.calibration_id = calibration;
    assert_ok(sink->reading(sink->context, &extra, &err));
    fixture_samples(sink, 1, 1, 0, 3);
    assert_ok(sink->trace(sink->context, &trace, &err));
    assert_ok(sink->run_end(sink->context, "done", 0, "", 5000, &err));
    assert_ok(recorder_close(recorder, &err));
}

static struct strbuf export_of(const char *db, const char *what)
{
    struct query *query;
    struct strbuf text = { 0 };
    struct error err;

    assert_ok(query_open(db, &query, &err));
    if (what == NULL)
        assert_ok(export_records(query, "latest", collect, &text, &err));
    else
        assert_ok(export_csv(query, "latest", what, collect, &text, &err));
    query_close(query);
    assert_non_null(text.text);
    return text;
}

static void same_run_same_bytes(void **state)
{
    struct fixture *f = *state;
    char other[120], third[120];
    struct strbuf a, b, c;

    snprintf(other, sizeof other, "%s/other.db", f->folder);
    snprintf(third, sizeof third, "%s/third.db", f->folder);
    record_once(f->db, "01RUN0000000000000000000C1", false, false);
    record_once(other, "01RUN0000000000000000000C2", true, false);
    record_once(third, "01RUN0000000000000000000C3", false, true);
    a = export_of(f->db, NULL);
    b = export_of(other, NULL);
    c = export_of(third, NULL);
    assert_string_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    assert_null(strstr(a.text, "01RUN"));
    assert_null(strstr(a.text, f->folder));
    assert_non_null(
        strstr(a.text, "run\tvmin\tp1a2\tdone\tok\tsim\tA\tadelia2\td7\tchip\t18446744073709551615\t"));
    assert_non_null(strstr(a.text, "\ncell\t0\t1\t0\tid0001\t{\"mode\":\"fast\",\"vdd_v\":0.61}\n"));
    assert_non_null(strstr(a.text, "\nattempt\t0\t2\t1\tpass\tok\t2002\t3002\n"));
    assert_non_null(
        strstr(a.text, "\nreading\t0\t1\t1\trail.vdd1.voltage\tdmm\t1.1\t0.0001\t-\tV\t1\t2501\t-\n"));
    assert_non_null(strstr(a.text, "\t2999\tkey\n"));
    assert_non_null(strstr(a.text, "\nsample\t0\t1\t1\t2\t1002\t2\t9\t0\t1\t2\t-2\t0\t0\t4000000000\t3\n"));
    assert_non_null(strstr(a.text, "\nevent\t77\ttrip\tfirst line\\nsecond\n"));
    assert_non_null(strstr(a.text, "\ntrace\trail\t2\t0.200000003\tA\n"));
    strbuf_free(&a);
    strbuf_free(&b);
    strbuf_free(&c);
}

static void csv(void **state)
{
    static const char POINTS[] =
        "step,cell,repeat,identity,verdict,attempts,message,code,begin_time_ns,end_time_ns,mode,vdd_v,"
        "rail.vddd.voltage [V],rail.vdd1.voltage [V],\"z,\"\"quoted\"\" [V]\"\r\n"
        "0,0,0,id0000,pass,1,,ok,2000,3000,fast,0.6,0,0.1,\r\n"
        "0,1,0,id0001,pass,1,,ok,2001,3001,fast,0.61,1,1.1,1\r\n"
        "0,2,0,id0002,pass,1,,ok,2002,3002,fast,0.62,2,2.1,\r\n";
    struct fixture *f = *state;
    struct strbuf text;
    struct query *query;
    struct error err;

    record_once(f->db, "01RUN0000000000000000000C1", false, false);
    text = export_of(f->db, "points");
    assert_string_equal(text.text, POINTS);
    strbuf_free(&text);
    text = export_of(f->db, "samples");
    assert_non_null(strstr(text.text, "\r\n0,1,1,1,1001,2,9,1,1,1,1,-1,0,0,4000000000,3\r\n"));
    strbuf_free(&text);
    text = export_of(f->db, "readings");
    assert_non_null(strstr(text.text, "\r\n0,1,1,\"z,\"\"quoted\"\"\",dmm,1,0.0001,,V,1,2999,3006,1\r\n"));
    strbuf_free(&text);
    text = export_of(f->db, "traces");
    assert_string_equal(text.text,
                        "channel,time_ns,value,unit\r\nrail,1,0.100000001,A\r\nrail,2,0.200000003,A\r\n"
                        "rail,3,0.300000012,A\r\n");
    strbuf_free(&text);
    text = export_of(f->db, "events");
    assert_non_null(strstr(text.text, ",trip,\"first line\nsecond\",,77,6\r\n"));
    strbuf_free(&text);

    assert_ok(query_open(f->db, &query, &err));
    assert_int_equal(export_csv(query, "latest", "nothing", collect, &text, &err), ERR_INVALID);
    assert_int_equal(export_csv(query, "latest", "points", refuse, NULL, &err), ERR_FULL);
    assert_int_equal(export_records(query, "latest", refuse, NULL, &err), ERR_FULL);
    query_close(query);
}

#define in_store(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { in_store(same_run_same_bytes), in_store(csv) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
