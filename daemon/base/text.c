/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * text: numbers for people, round-trip numbers, ULIDs, whole files, growing strings. */
#include "daemon/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const PREFIXES[] = { "a", "f", "p", "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };
enum { PREFIX_UNITY = 6, PREFIX_COUNT = sizeof PREFIXES / sizeof PREFIXES[0] };

char *text_engineering(double value, const char *unit, int digits, char *out, size_t size)
{
    char scientific[40], number[40];
    int exponent, group, decimals;
    const char *prefix, *space;

    if (isnan(value)) {
        snprintf(out, size, "-");
        return out;
    }
    digits = digits < 1 ? 1 : digits > 9 ? 9 : digits;
    /* Rounding to the digits comes first: 999.96 with four digits is 1.000 k, not 1000. */
    snprintf(scientific, sizeof scientific, "%.*e", digits - 1, value);
    exponent = value == 0.0 || isinf(value) ? 0 : atoi(strchr(scientific, 'e') + 1);
    group = exponent >= 0 ? exponent / 3 : -((2 - exponent) / 3);
    if (group + PREFIX_UNITY < 0 || group + PREFIX_UNITY >= PREFIX_COUNT) {
        snprintf(out, size, "%s %s", scientific, unit);
        return out;
    }
    decimals = digits - 1 - (exponent - 3 * group);
    snprintf(number, sizeof number, "%.*f", decimals > 0 ? decimals : 0,
             strtod(scientific, NULL) / pow(10.0, 3 * group));
    prefix = PREFIXES[group + PREFIX_UNITY];
    space = prefix[0] != '\0' || unit[0] != '\0' ? " " : "";
    snprintf(out, size, "%s%s%s%s", number, space, prefix, unit);
    return out;
}

char *text_duration(double seconds, char *out, size_t size)
{
    const char *sign = seconds < 0 ? "-" : "";
    double s = fabs(seconds);
    int64_t whole;

    if (!isfinite(seconds)) {
        snprintf(out, size, "-");
        return out;
    }
    whole = s < 9e15 ? (int64_t)(s + 0.5) : INT64_MAX / 2;
    if (s < 0.9995)
        snprintf(out, size, "%s%.0f ms", sign, s * 1e3);
    else if (whole < 60)
        snprintf(out, size, "%s%d s", sign, (int)whole);
    else if (whole < 3600)
        snprintf(out, size, "%s%d min %02d s", sign, (int)(whole / 60), (int)(whole % 60));
    else if (whole < 86400)
        snprintf(out, size, "%s%d h %02d min", sign, (int)(whole / 3600), (int)(whole / 60 % 60));
    else
        snprintf(out, size, "%s%lld d %02d h", sign, (long long)(whole / 86400), (int)(whole / 3600 % 24));
    return out;
}

char *text_bytes(double bytes, char *out, size_t size)
{
    static const char *const NAMES[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t i = 0;

    if (!isfinite(bytes)) {
        snprintf(out, size, "-");
        return out;
    }
    while (i + 1 < sizeof NAMES / sizeof NAMES[0] && fabs(bytes) >= (i == 0 ? 999.5 : 999.95)) {
        bytes /= 1000;
        i++;
    }
    snprintf(out, size, i == 0 ? "%.0f %s" : "%.1f %s", bytes, NAMES[i]);
    return out;
}

/* Printable form of one byte into out[5]; returns its length. */
static size_t escape_byte(unsigned char byte, char out[5])
{
    if (byte == '\n')
        snprintf(out, 5, "\\n");
    else if (byte == '\r')
        snprintf(out, 5, "\\r");
    else if (byte == '\\')
        snprintf(out, 5, "\\\\");
    else if (byte < ' ' || byte > '~')
        snprintf(out, 5, "\\x%02x", byte);
    else
        snprintf(out, 5, "%c", byte);
    return strlen(out);
}

char *text_escape(const void *data, size_t length, char *out, size_t size)
{
    const unsigned char *in = data;
    size_t used = 0, total = 0, limit;
    char one[5];

    if (size == 0)
        return out;
    for (size_t i = 0; i < length && total < size; i++)
        total += escape_byte(in[i], one);
    limit = total < size ? size - 1 : size < 4 ? 0 : size - 4; /* leaves room for "..." when not all fits */
    for (size_t i = 0; i < length; i++) {
        size_t n = escape_byte(in[i], one);

        if (used + n > limit)
            break;
        memcpy(out + used, one, n);
        used += n;
    }
    snprintf(out + used, size - used, "%s", total < size ? "" : "...");
    return out;
}

char *text_number(double value, char *out, size_t size)
{
    char number[40];

    if (!isfinite(value)) {
        snprintf(out, size, "null");
        return out;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, value);
        if (strtod(number, NULL) == value)
            break;
    }
    snprintf(out, size, "%s", number);
    return out;
}

void text_ulid(char out[ULID_TEXT])
{
    static const char CROCKFORD[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct timespec now;
    uint64_t ms;
    uint8_t random[16];

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    /* Up to 256 bytes are never cut short; only a boot without entropy can interrupt the call. */
    while (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
    }
    for (int i = 9; i >= 0; i--, ms >>= 5)
        out[i] = CROCKFORD[ms & 31];
    for (int i = 0; i < 16; i++)
        out[10 + i] = CROCKFORD[random[i] & 31];
    out[26] = '\0';
}

char *text_time(int64_t wall_ns, char *out, size_t size)
{
    int64_t ms = wall_ns / 1000000 - (wall_ns % 1000000 < 0); /* down, before 1970 too */
    time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0));
    struct tm tm = { 0 };
    char date[32];

    gmtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03dZ", date, (int)(ms - (int64_t)seconds * 1000));
    return out;
}

/* ".123Z" to nanoseconds; false when anything else is there. */
static bool parse_fraction(const char *text, int64_t *ret_ns)
{
    int64_t ns = 0, unit = 100000000;

    if (*text == '.') {
        text++;
        if (*text < '0' || *text > '9')
            return false;
        for (; *text >= '0' && *text <= '9'; text++, unit /= 10)
            ns += (*text - '0') * unit; /* what is finer than a nanosecond is worth nothing */
    }
    text += *text == 'Z';
    *ret_ns = ns;
    return *text == '\0';
}

bool text_parse_time(const char *text, int64_t *ret_wall_ns)
{
    static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
    enum { FORMS = sizeof forms / sizeof forms[0] };

    for (int i = 0; i < FORMS; i++) {
        struct tm tm = { 0 }, again;
        int64_t ns = 0;
        const char *rest = strptime(text, forms[i], &tm);
        if (rest == NULL || (i > 0 && rest[rest[0] == 'Z'] != '\0') || (i == 0 && !parse_fraction(rest, &ns)))
            continue;
        again = tm;
        time_t seconds = timegm(&again);
        if (again.tm_mday != tm.tm_mday || seconds < 0 || tm.tm_year > 300)
            return false; /* February 30 */
        *ret_wall_ns = (int64_t)seconds * 1000000000 + ns;
        return true;
    }
    return false;
}

/* Reads until end of file; one byte above max tells a file that is too long from one that just fits. */
static int read_all(int fd, const char *path, size_t max, char **ret_text, size_t *ret_length,
                    struct error *err)
{
    size_t length = 0, capacity = 0;
    char *text = NULL;
    int code = 0;

    for (;;) {
        ssize_t got;

        if (length + 1 >= capacity) {
            size_t grown = capacity == 0 ? 4096 : 2 * capacity;
            char *bigger = realloc(text, grown);

            if (bigger == NULL) {
                code = error_set(err, ERR_MEMORY, "%s: no memory for %zu bytes", path, grown);
                goto failed;
            }
            text = bigger;
            capacity = grown;
        }
        got = read(fd, text + length, capacity - length - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            code = error_set_errno(err, errno, "%s: cannot read", path);
            goto failed;
        }
        if (got == 0)
            break;
        length += (size_t)got;
        if (length > max) {
            code = error_set(err, ERR_RANGE, "%s: longer than %zu bytes", path, max);
            goto failed;
        }
    }
    text[length] = '\0';
    *ret_text = text;
    *ret_length = length;
    return 0;
failed:
    free(text);
    return code;
}

/* Folder of installed files; false when there is none. */
static bool share_folder(char *out, size_t size)
{
    const char *given = getenv("NIGHTBENCH_SHARE");
    char self[PATH_MAX];

    if (given != NULL && given[0] != '\0')
        return snprintf(out, size, "%s", given) < (int)size;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return false;
    self[length] = '\0';
    for (int i = 0; i < 2; i++) { /* the program's name, then its folder */
        char *slash = strrchr(self, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    return snprintf(out, size, "%s/share/nightbench", self) < (int)size;
}

const char *text_find_file(const char *path, char *out, size_t size)
{
    char folder[PATH_MAX];

    if (path[0] == '/' || access(path, F_OK) == 0 || !share_folder(folder, sizeof folder))
        return path;
    int needed = snprintf(out, size, "%s/%s", folder, path);
    return needed > 0 && (size_t)needed < size && access(out, F_OK) == 0 ? out : path;
}

int text_read_file(const char *path, size_t max, char **ret_text, size_t *ret_length, struct error *err)
{
    char installed[PATH_MAX];
    size_t length = 0;
    int fd, code;

    /* Not blocking, and regular files only: a named pipe would hold the caller for ever. */
    fd = open(text_find_file(path, installed, sizeof installed), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, "%s: cannot open", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        code = read_all(fd, path, max, ret_text, &length, err);
    else
        code = error_set(err, ERR_INVALID, "%s: not a regular file", path);
    close(fd);
    if (code == 0 && ret_length != NULL)
        *ret_length = length;
    return code;
}

static int write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t done = write(fd, data, length);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        data += done;
        length -= (size_t)done;
    }
    return 0;
}

/* Makes a rename durable: the directory entry is data of the directory. */
static int sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd, result;

    if (directory == NULL)
        return -1;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd < 0)
        return -1;
    result = fsync(fd);
    close(fd);
    return result;
}

static int write_file(const char *path, const void *data, size_t length, mode_t mode, struct error *err)
{
    char *temporary = NULL;
    int fd, code = 0;

    if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
        return error_set(err, ERR_MEMORY, "%s: no memory for a file name", path);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        code = error_set_errno(err, errno, "%s: cannot create", path);
        goto free_name;
    }
    if (fchmod(fd, mode) != 0 || write_all(fd, data, length) != 0 || fsync(fd) != 0) {
        code = error_set_errno(err, errno, "%s: cannot write", path);
        close(fd);
        goto remove_file;
    }
    if (close(fd) != 0 || rename(temporary, path) != 0) {
        code = error_set_errno(err, errno, "%s: cannot put in place", path);
        goto remove_file;
    }
    if (sync_directory_of(path) != 0)
        code = error_set_errno(err, errno, "%s: cannot sync its directory", path);
    goto free_name;
remove_file:
    unlink(temporary);
free_name:
    free(temporary);
    return code;
}

int text_write_file(const char *path, const void *data, size_t length, struct error *err)
{
    return write_file(path, data, length, 0644, err);
}

int text_write_private(const char *path, const void *data, size_t length, struct error *err)
{
    return write_file(path, data, length, 0600, err);
}

int text_remove_file(const char *path, struct error *err)
{
    struct stat st;

    /* Looked at first: a file system that may only be read refuses to remove even what is not there. */
    if (lstat(path, &st) != 0 && errno == ENOENT)
        return 0;
    if (unlink(path) != 0)
        return error_set_errno(err, errno, "%s: cannot remove", path);
    if (sync_directory_of(path) != 0)
        return error_set_errno(err, errno, "%s: cannot sync its directory", path);
    return 0;
}

/* Makes room for `extra` more bytes and the NUL; on failure latches `failed`. */
static bool strbuf_reserve(struct strbuf *buf, size_t extra)
{
    size_t need = buf->length + extra + 1, grown = buf->capacity < 128 ? 128 : buf->capacity;
    char *bigger;

    if (buf->failed)
        return false;
    if (need <= buf->capacity)
        return true;
    while (grown < need)
        grown *= 2;
    bigger = realloc(buf->text, grown);
    if (bigger == NULL) {
        buf->failed = true;
        return false;
    }
    buf->text = bigger;
    buf->capacity = grown;
    return true;
}

void strbuf_bytes(struct strbuf *buf, const void *data, size_t length)
{
    if (!strbuf_reserve(buf, length))
        return;
    if (length > 0)
        memcpy(buf->text + buf->length, data, length);
    buf->length += length;
    buf->text[buf->length] = '\0';
}

void strbuf_add(struct strbuf *buf, const char *format, ...)
{
    va_list args;
    int length;

    if (!strbuf_reserve(buf, 127))
        return;
    va_start(args, format);
    length = vsnprintf(buf->text + buf->length, buf->capacity - buf->length, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < buf->capacity - buf->length) {
        buf->length += (size_t)length;
        return;
    }
    buf->text[buf->length] = '\0';
    if (length < 0 || !strbuf_reserve(buf, (size_t)length))
        return;
    va_start(args, format);
    vsnprintf(buf->text + buf->length, buf->capacity - buf->length, format, args);
    va_end(args);
    buf->length += (size_t)length;
}

void strbuf_free(struct strbuf *buf)
{
    free(buf->text);
    *buf = (struct strbuf){ 0 };
}
