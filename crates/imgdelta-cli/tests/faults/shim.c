/* Makes one system call of a program fail, or kills the program at it. Loaded by LD_PRELOAD.
 *
 * FAULT_POINT=KIND:N:ERRNO   the N-th call of a kind fails with this error number
 * FAULT_POINT=KIND:N:kill    the process is killed instead of making that call
 * FAULT_LOG=FILE             one line for each counted call: its kind and its path
 *
 * The kinds are those in `names`; `any` counts all of them. Calls go to the kernel directly, so that
 * nothing here depends on the order in which libraries are loaded. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { ANY, OPEN, WRITE, RENAME, LINK, SYNC, TRUNCATE, MMAP, MKDIR, LOCK, KINDS };
static const char *names[KINDS] = {"any",  "open",     "write", "rename", "link",
                                   "sync", "truncate", "mmap",  "mkdir",  "lock"};

static atomic_long counts[KINDS];
static int point_kind = -1, point_error;
static long point_count;
static int log_file = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *point = getenv("FAULT_POINT"), *log = getenv("FAULT_LOG");
    char kind[16], error[16];
    if (point && sscanf(point, "%15[a-z]:%ld:%15s", kind, &point_count, error) == 3) {
        for (int i = 0; i < KINDS; i++)
            if (!strcmp(kind, names[i]))
                point_kind = i;
        point_error = strcmp(error, "kill") ? atoi(error) : -1;
    }
    if (log)
        log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Children have faults of their own, or none. */
    unsetenv("FAULT_POINT");
    unsetenv("FAULT_LOG");
}

/* Counts a call. Returns true if it must fail; errno is set. */
static int is_fault(enum kind kind, const char *path)
{
    long of_kind = ++counts[kind], of_all = ++counts[ANY];
    if (log_file >= 0) {
        char line[1024];
        int bytes = snprintf(line, sizeof line, "%s %s\n", names[kind], path);
        if (bytes >= (int)sizeof line)
            bytes = sizeof line - 1;
        syscall(SYS_write, log_file, line, bytes);
    }
    if ((point_kind == (int)kind && of_kind == point_count) || (point_kind == ANY && of_all == point_count)) {
        if (point_error < 0)
            syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        errno = point_error;
        return 1;
    }
    return 0;
}

static const char *path_of(int file, char *buffer, size_t bytes)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long count = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, bytes - 1);
    buffer[count < 0 ? 0 : count] = 0;
    return buffer;
}

/* Files of the system are not the program's work. */
static int is_of_system(const char *path)
{
    static const char *roots[] = {"/proc/", "/sys/", "/etc/", "/dev/", "/usr/", "/lib"};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        if (!strncmp(path, roots[i], strlen(roots[i])))
            return 1;
    return 0;
}

/* Sockets, pipes and events have no path. */
static int is_fault_of_file(enum kind kind, int file)
{
    char path[512];
    path_of(file, path, sizeof path);
    return path[0] == '/' && !is_of_system(path) && is_fault(kind, path);
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    if (!is_of_system(path) && is_fault(OPEN, path))
        return -1;
    return syscall(SYS_openat, directory, path, flags, mode);
}

#define OPEN_BODY(directory)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }                                                                                                                  \
    return open_at(directory, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int openat(int directory, const char *path, int flags, ...) { OPEN_BODY(directory); }
int openat64(int directory, const char *path, int flags, ...) { OPEN_BODY(directory); }

/* Standard output and standard error do not count: progress depends on time. */
#define WRITE_BODY(file, call)                                                                                         \
    if (file > 2 && is_fault_of_file(WRITE, file))                                                                     \
        return -1;                                                                                                     \
    return call

ssize_t write(int file, const void *bytes, size_t count) { WRITE_BODY(file, syscall(SYS_write, file, bytes, count)); }
ssize_t writev(int file, const struct iovec *parts, int count)
{
    WRITE_BODY(file, syscall(SYS_writev, file, parts, count));
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at)
{
    WRITE_BODY(file, syscall(SYS_pwrite64, file, bytes, count, at));
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at)
{
    WRITE_BODY(file, syscall(SYS_pwrite64, file, bytes, count, at));
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t count, unsigned flags)
{
    WRITE_BODY(out, syscall(SYS_copy_file_range, in, in_at, out, out_at, count, flags));
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    return is_fault(RENAME, to) ? -1 : syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    return renameat2(from_directory, from, to_directory, to, 0);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    return is_fault(LINK, to) ? -1 : syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int fsync(int file) { return is_fault_of_file(SYNC, file) ? -1 : syscall(SYS_fsync, file); }
int fdatasync(int file) { return is_fault_of_file(SYNC, file) ? -1 : syscall(SYS_fdatasync, file); }

int ftruncate(int file, off_t bytes) { return is_fault_of_file(TRUNCATE, file) ? -1 : syscall(SYS_ftruncate, file, bytes); }
int ftruncate64(int file, off64_t bytes) { return is_fault_of_file(TRUNCATE, file) ? -1 : syscall(SYS_ftruncate, file, bytes); }

/* Memory without a file does not count: the allocator asks for it. */
void *mmap(void *at, size_t bytes, int rights, int flags, int file, off_t offset)
{
    if (file >= 0 && is_fault_of_file(MMAP, file))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, bytes, rights, flags, file, offset);
}
void *mmap64(void *at, size_t bytes, int rights, int flags, int file, off64_t offset)
{
    return mmap(at, bytes, rights, flags, file, offset);
}

int mkdirat(int directory, const char *path, mode_t mode)
{
    return is_fault(MKDIR, path) ? -1 : syscall(SYS_mkdirat, directory, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int flock(int file, int operation) { return is_fault_of_file(LOCK, file) ? -1 : syscall(SYS_flock, file, operation); }
