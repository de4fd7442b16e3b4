/* What a machine may do to a process, on order: preloaded into it (LD_PRELOAD), told by faults.py through a shared page. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SYNC = 1, WRITE = 2, READ = 4 };
enum { NAMES_KNOWN = 0, NAMES_FAIL = 1, NAMES_HANG = 2 };

struct orders {
    int64_t clock_step_seconds; /* added to the wall clock */
    int64_t failed;             /* calls that were failed so far */
    int32_t failing;            /* which calls fail, on files whose path contains `path` */
    int32_t error;              /* with this errno */
    int32_t names;              /* what becomes of looking up names that end in ".test" */
    char path[164];
};

static volatile struct orders nothing;
static volatile struct orders *orders = &nothing;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("GATEWAY_FAULTS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) orders = page;
    close(fd);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int fails(int fd, int kind) {
    char link[64], path[4096];
    if (!(orders->failing & kind)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, (const char *)orders->path)) return 0;
    __atomic_add_fetch(&orders->failed, 1, __ATOMIC_SEQ_CST);
    errno = orders->error;
    return 1;
}

int fsync(int fd) { REAL(fsync); return fails(fd, SYNC) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(fd, SYNC) ? -1 : real(fd); }

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return fails(fd, WRITE) ? -1 : real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return fails(fd, WRITE) ? -1 : real(fd, data, size, at);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    REAL(pread64);
    return fails(fd, READ) ? -1 : real(fd, data, size, at);
}

int clock_gettime(clockid_t id, struct timespec *at) {
    REAL(clock_gettime);
    int result = real(id, at);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += orders->clock_step_seconds;
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict found) {
    REAL(getaddrinfo);
    size_t length = node ? strlen(node) : 0;
    int numeric = hints && hints->ai_flags & AI_NUMERICHOST; /* asks nobody */
    if (numeric || length < 5 || strcmp(node + length - 5, ".test")) return real(node, service, hints, found);
    while (orders->names == NAMES_HANG) usleep(20000);
    if (orders->names == NAMES_FAIL) return EAI_AGAIN;
    return real("127.0.0.1", service, hints, found);
}
