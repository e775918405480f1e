/* Lets a call on a file fail: which and how is in a small file that a campaign writes and every process maps.
   Loaded with LD_PRELOAD into the processes of the product. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, READ = 4, TRUNCATE = 8 };

/* Must match FaultControl of faults.py. */
struct control {
    _Atomic int32_t armed, calls, countdown, error, shorten, lasting, hits;
    char part[100];
    /* One bit of what is read is another one; each call takes so long; the clock jumps at the call. */
    _Atomic int32_t flip, delay_us;
    _Atomic int64_t jump_ns, clock_ns;
};

static struct control *control(void) {
    static struct control *_Atomic mapped;
    struct control *known = mapped;
    if (known) return known == MAP_FAILED ? NULL : known;
    const char *path = getenv("FAULT_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    known = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *known, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    mapped = known;
    return known == MAP_FAILED ? NULL : known;
}

/* Whether this call is the one; errno is set then. */
static int fails(int descriptor, int call, int *shorten) {
    int kept = errno;
    struct control *rule = control();
    if (!rule || !rule->armed || !(rule->calls & call)) {
        errno = kept;
        return 0;
    }
    char link[64], path[PATH_MAX];
    const char *root = getenv("FAULT_ROOT");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0 || !root) return 0;
    path[length] = 0;
    if (strncmp(path, root, strlen(root)) != 0 || !strstr(path, rule->part)) return 0;
    int left = atomic_fetch_sub(&rule->countdown, 1);
    if (left > 1 || (left < 1 && !rule->lasting)) return 0;
    atomic_fetch_add(&rule->hits, 1);
    if (rule->delay_us || rule->jump_ns) {
        atomic_fetch_add(&rule->clock_ns, rule->jump_ns);
        usleep(rule->delay_us);
        errno = kept;
        return 0;
    }
    if (shorten && (rule->shorten || rule->flip)) {
        *shorten = 1;
        return 0;
    }
    errno = rule->error;
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITER(name, offset_type)                                                             \
    ssize_t name(int descriptor, const void *data, size_t size, offset_type offset) {         \
        REAL(name);                                                                           \
        int shorten = 0;                                                                      \
        if (fails(descriptor, WRITE, &shorten)) return -1;                                    \
        return real(descriptor, data, shorten && size > 1 ? size / 2 : size, offset);         \
    }
WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    int shorten = 0;
    if (fails(descriptor, WRITE, &shorten)) return -1;
    return real(descriptor, data, shorten && size > 1 ? size / 2 : size);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    REAL(writev);
    int shorten = 0;
    if (fails(descriptor, WRITE, &shorten)) return -1;
    return real(descriptor, parts, shorten && count > 1 ? count / 2 : count);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev);
    int shorten = 0;
    if (fails(descriptor, WRITE, &shorten)) return -1;
    return real(descriptor, parts, shorten && count > 1 ? count / 2 : count, offset);
}

ssize_t pwritev64(int descriptor, const struct iovec *parts, int count, off64_t offset) {
    REAL(pwritev64);
    int shorten = 0;
    if (fails(descriptor, WRITE, &shorten)) return -1;
    return real(descriptor, parts, shorten && count > 1 ? count / 2 : count, offset);
}

static ssize_t flipped(ssize_t length, void *data, int change) {
    if (change && length > 0) ((char *)data)[length / 2] ^= 4;
    return length;
}

ssize_t read(int descriptor, void *data, size_t size) {
    REAL(read);
    int change = 0;
    if (fails(descriptor, READ, &change)) return -1;
    return flipped(real(descriptor, data, size), data, change);
}

ssize_t pread(int descriptor, void *data, size_t size, off_t offset) {
    REAL(pread);
    int change = 0;
    if (fails(descriptor, READ, &change)) return -1;
    return flipped(real(descriptor, data, size, offset), data, change);
}

ssize_t pread64(int descriptor, void *data, size_t size, off64_t offset) {
    REAL(pread64);
    int change = 0;
    if (fails(descriptor, READ, &change)) return -1;
    return flipped(real(descriptor, data, size, offset), data, change);
}

int fsync(int descriptor) {
    REAL(fsync);
    return fails(descriptor, SYNC, NULL) ? -1 : real(descriptor);
}

int fdatasync(int descriptor) {
    REAL(fdatasync);
    return fails(descriptor, SYNC, NULL) ? -1 : real(descriptor);
}

int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate);
    return fails(descriptor, TRUNCATE, NULL) ? -1 : real(descriptor, size);
}

int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    return fails(descriptor, TRUNCATE, NULL) ? -1 : real(descriptor, size);
}

/* The clock of all processes, by what it is wrong. */
static int64_t wrong(void) {
    struct control *rule = control();
    return rule ? rule->clock_ns : 0;
}

static void shift(struct timespec *moment, int64_t by) {
    int64_t rest = moment->tv_nsec + by % 1000000000;
    moment->tv_sec += by / 1000000000 + (rest < 0 ? -1 : rest / 1000000000);
    moment->tv_nsec = rest < 0 ? rest + 1000000000 : rest % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *moment) {
    REAL(clock_gettime);
    int result = real(clock, moment);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(moment, wrong());
    return result;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment) *moment = now.tv_sec;
    return now.tv_sec;
}
