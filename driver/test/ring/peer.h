/* SPDX-License-Identifier: MIT */
/*
 * What the test peers have in common: the share, a doorbell made of two pipes,
 * and a script of records that both sides can compute (ring/peer_test.go has
 * the same one).
 */
#ifndef KSHM_TEST_RING_PEER_H
#define KSHM_TEST_RING_PEER_H

#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifdef KSHM_TEST_NO_FENCE
/* A port that forgets the full barrier: the bug that the tests must find. */
#define kshm_read(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define kshm_read_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define kshm_write(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define kshm_barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define kshm_publish(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#endif

#include "../../include/kshm_ring.h"

#define FD_MEMORY 3 /* the share, a memfd */
#define FD_EVENTS 4 /* a byte to read for each event */
#define FD_KICK 5   /* a byte to write for each kick */

static inline void die(const char *what)
{
	fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void check(int good, const char *what, uint64_t n)
{
	if (good)
		return;
	fprintf(stderr, "peer: %s at %llu\n", what, (unsigned long long)n);
	exit(1);
}

/* A share: a spare page, rings to here, a spare page, rings from here, a page. */
struct share {
	unsigned char *memory;
	size_t length;
	struct kshm_ring_group in, out;
};

static inline struct share share_geometry(uint32_t capacity, uint32_t count)
{
	struct share s = { 0 };
	uint64_t rings = count * KSHM_RING_STRIDE(capacity);

	s.in = (struct kshm_ring_group){ .offset = 4096, .capacity = capacity, .count = count };
	s.out = s.in;
	s.out.offset = s.in.offset + rings + 4096;
	s.out.flags = KSHM_RING_TO_USER;
	s.length = s.out.offset + rings + 4096;
	return s;
}

/* Map it with a page in front and one behind that nobody may touch. */
static inline struct share share_map(uint32_t capacity, uint32_t count)
{
	struct share s = share_geometry(capacity, count);
	unsigned char *guard = mmap(NULL, s.length + 8192, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (guard == MAP_FAILED)
		die("mmap");
	s.memory = mmap(guard + 4096, s.length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			FD_MEMORY, 0);
	if (s.memory == MAP_FAILED)
		die("mmap of the share");
	return s;
}

/*
 * The doorbell: two pipes, or for rounds of less than a microsecond two words
 * in the first page of the share, which a sleeper watches. A sleep of either
 * kind ends by an event alone. Pipe events are counted when they are read.
 */
#define WORD_STOP 0    /* the round or the test is over */
#define WORD_EVENTS 16 /* from the test */
#define WORD_KICKS 32  /* to the test */

static uint64_t events;
static uint64_t *bell_words; /* the share's first page, or NULL: pipes */

static inline uint64_t events_seen(void)
{
	return bell_words ? __atomic_load_n(&bell_words[WORD_EVENTS], __ATOMIC_SEQ_CST) : events;
}

static inline void kick(void)
{
	if (bell_words)
		__atomic_add_fetch(&bell_words[WORD_KICKS], 1, __ATOMIC_SEQ_CST);
	else if (write(FD_KICK, "k", 1) != 1)
		die("kick");
}

static inline int wait_word(uint64_t seen)
{
	unsigned int looks = 0;

	while (events_seen() <= seen) {
		if (__atomic_load_n(&bell_words[WORD_STOP], __ATOMIC_RELAXED))
			return 0;
		if (++looks % 4096 == 0)
			sched_yield();
	}
	return 1;
}

/* Sleep until there are more events than seen. Returns 0 if none can come. */
static inline int wait_event(uint64_t seen)
{
	char bytes[64];

	if (bell_words)
		return wait_word(seen);
	while (events <= seen) {
		ssize_t n = read(FD_EVENTS, bytes, sizeof(bytes));

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			die("wait");
		if (n > 0)
			events += n;
	}
	return 1;
}

/* The script. */
static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* Most records are short, some as long as can be. */
static inline uint32_t script_length(uint64_t seed, uint64_t n, uint32_t max)
{
	uint64_t h = mix(seed + n);

	if ((h >> 32) % 50 == 0)
		return (h >> 40) % (max + 1);
	return h % (max < 200 ? max + 1 : 201);
}

static inline void script_fill(unsigned char *rec, uint32_t length, uint64_t seed, uint64_t n)
{
	uint64_t word = mix(~(seed + n));
	uint32_t i;

	for (i = 0; i < length; i++)
		rec[i] = word >> (i % 8 * 8);
}

static inline int script_matches(const unsigned char *rec, uint32_t length, uint64_t seed,
				 uint64_t n)
{
	uint64_t word = mix(~(seed + n));
	uint32_t i;

	for (i = 0; i < length; i++) {
		if (rec[i] != (unsigned char)(word >> (i % 8 * 8)))
			return 0;
	}
	return 1;
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Do nothing for a while that the compiler cannot know. */
static inline void dawdle(uint64_t loops)
{
	while (loops--)
		kshm_barrier();
}

#endif
