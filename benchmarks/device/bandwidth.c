// Reads a large array again and again with some threads; prints bytes a second. Knows no model.
// Usage: bandwidth BYTES THREADS SWEEPS
//
// What decoding does to memory is reading: a sum, not STREAM's copy or triad, which write too.
// Each segment is timed by itself and its best time counts, so that a busy moment of the machine
// spoils a few milliseconds, not a sweep. The array must be several times the last cache.

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
    LANES = 16,                             // independent sums, so that none waits for another
    SEGMENT = (8 << 20) / sizeof(uint64_t)  // words of one thread between two meetings
};

static const uint64_t * array;
static double * best;
static size_t segments;
static size_t threads;
static int sweeps;
static atomic_size_t arrived;
static atomic_uint_least64_t sink;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + 1e-9 * at.tv_nsec;
}

static void meet(size_t * meetings) {
    *meetings += 1;
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < *meetings * threads) {
    }
}

static uint64_t sum(const uint64_t * from) {
    uint64_t sums[LANES] = {0};
    for (size_t i = 0; i < SEGMENT; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            sums[lane] += from[i + lane];
        }
    }
    uint64_t all = 0;
    for (int lane = 0; lane < LANES; lane++) {
        all += sums[lane];
    }
    return all;
}

static void * work(void * argument) {
    const size_t index = (size_t) argument;
    size_t meetings = 0;
    for (int sweep = 0; sweep < sweeps; sweep++) {
        for (size_t segment = 0; segment < segments; segment++) {
            meet(&meetings);
            const double start = now();
            atomic_fetch_add(&sink, sum(array + (segment * threads + index) * SEGMENT));
            meet(&meetings);
            const double took = now() - start;
            if (index == 0 && (sweep == 0 || took < best[segment])) {
                best[segment] = took;
            }
        }
    }
    return NULL;
}

int main(int argc, char ** argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: bandwidth BYTES THREADS SWEEPS\n");
        return 2;
    }
    threads = strtoull(argv[2], NULL, 10);
    sweeps = atoi(argv[3]);
    segments = strtoull(argv[1], NULL, 10) / (threads * SEGMENT * sizeof(uint64_t));
    const size_t bytes = segments * threads * SEGMENT * sizeof(uint64_t);
    best = malloc(segments * sizeof(double));
    pthread_t * others = malloc(threads * sizeof(pthread_t));
    void * memory = NULL;
    if (segments == 0 || posix_memalign(&memory, 1 << 21, bytes) != 0) {
        fprintf(stderr, "bandwidth: %s bytes cannot be had\n", argv[1]);
        return 1;
    }
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 1, bytes);
    array = memory;
    for (size_t i = 1; i < threads; i++) {
        pthread_create(&others[i], NULL, work, (void *) i);
    }
    work(NULL);
    for (size_t i = 1; i < threads; i++) {
        pthread_join(others[i], NULL);
    }
    double total = 0.0;
    for (size_t segment = 0; segment < segments; segment++) {
        total += best[segment];
    }
    printf("%.0f\n", bytes / total);
    return 0;
}
