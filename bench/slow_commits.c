/* Loaded before libc into every process of a PostgreSQL server: what it makes durable takes longer.
 *
 * ADDED_COMMIT_LATENCY names a file that holds the delay in microseconds, a 64-bit integer. It is
 * mapped, so that a change is seen at the next call without one more system call. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *added = NULL;

__attribute__((constructor)) static void look_for_the_delay(void) {
    const char *path = getenv("ADDED_COMMIT_LATENCY");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *added, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        added = mapped;
    close(file);
}

static void wait_as_a_slower_disk_would(void) {
    int64_t microseconds = added == NULL ? 0 : *added;
    if (microseconds <= 0)
        return;
    struct timespec delay = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&delay, NULL);
}

int fdatasync(int file) {
    wait_as_a_slower_disk_would();
    return (int)syscall(SYS_fdatasync, file);
}
