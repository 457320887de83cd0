// SPDX-License-Identifier: MIT
/*
 * Both ends of a ring in one process, where the sanitizers see them at once:
 *
 *   threads stream RECORDS   blocking ends that never spin
 *   threads nested RECORDS   a producer that signals interrupt, as NMIs would
 *   threads drops SIGNALS    interrupted contexts that are interrupted again
 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "peer.h"

#define CAPACITY 4096u

static struct kshm_ring_group group = { .capacity = CAPACITY, .count = 1 };
static unsigned char *memory;
static uint64_t records;

/* A doorbell: a count of rings that the sleeper watches. */
static uint64_t to_consumer, to_producer;

static void ring_bell(uint64_t *bell)
{
	__atomic_add_fetch(bell, 1, __ATOMIC_SEQ_CST);
}

static uint64_t heard(uint64_t *bell)
{
	return __atomic_load_n(bell, __ATOMIC_SEQ_CST);
}

static void sleep_on(uint64_t *bell, uint64_t seen)
{
	uint64_t start = now_ns();

	while (heard(bell) <= seen) {
		sched_yield();
		check(now_ns() - start < 60000000000ull, "lost a wake-up", seen);
	}
}

static void *stream_producer(void *arg)
{
	struct kshm_producer *p = arg;
	uint64_t n;

	for (n = 1; n <= records; n++) {
		uint32_t length = script_length(1, n, KSHM_RECORD_MAX(CAPACITY));
		unsigned char *to;

		while (!(to = kshm_producer_reserve(p, length))) {
			uint64_t seen = heard(&to_producer);

			check(!p->ring.corrupt_why, "producer: corrupt", n);
			if (kshm_producer_flush(p))
				ring_bell(&to_consumer);
			if (kshm_producer_arm(p, length)) {
				sleep_on(&to_producer, seen);
				kshm_ring_disarm(&p->ring);
			}
		}
		script_fill(to, length, 1, n);
		check(!kshm_producer_commit(p, length), "commit", n);
		if ((n % 4 == 0 || n == records) && kshm_producer_flush(p))
			ring_bell(&to_consumer);
	}
	return NULL;
}

static void stream_consumer(struct kshm_consumer *c)
{
	uint64_t n;

	for (n = 1; n <= records; n++) {
		const unsigned char *rec;
		uint32_t length;

		while (!(rec = kshm_consumer_next(c, &length))) {
			uint64_t seen = heard(&to_consumer);

			check(!c->ring.corrupt_why, "consumer: corrupt", n);
			if (kshm_consumer_arm(c)) {
				sleep_on(&to_consumer, seen);
				kshm_ring_disarm(&c->ring);
			}
		}
		check(length == script_length(1, n, KSHM_RECORD_MAX(CAPACITY)), "length", n);
		check(script_matches(rec, length, 1, n), "bytes", n);
		if (kshm_consumer_release(c))
			ring_bell(&to_producer);
	}
}

/*
 * A record of the interrupted thread is 8 bytes, one of the interrupting
 * handler 16: a kind and a number each. Both drop what they cannot place.
 */
static struct kshm_producer *nested;
static uint64_t interrupts;
static uint32_t finished;

static void put(struct kshm_producer *p, uint64_t n, uint32_t length)
{
	unsigned char *to = kshm_producer_reserve(p, length);

	if (!to) {
		kshm_producer_drop(p);
		return;
	}
	memcpy(to, &n, 8);
	check(!kshm_producer_commit(p, length), "commit", n);
	kshm_producer_flush(p);
}

static void interrupt(int signal)
{
	(void)signal;
	put(nested, ++interrupts, 16);
}

static void *nested_producer(void *arg)
{
	uint64_t n;

	nested = arg;
	signal(SIGUSR1, interrupt);
	__atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
	for (n = 1; n <= records; n++)
		put(nested, n, 8);
	signal(SIGUSR1, SIG_IGN);
	kshm_producer_flush(nested);
	__atomic_store_n(&finished, 2, __ATOMIC_RELEASE);
	return NULL;
}

/* Received + dropped = produced, exactly, and in order for each of the two. */
static void nested_consumer(struct kshm_consumer *c, pthread_t producer)
{
	uint64_t last[2] = { 0, 0 }, received = 0;
	uint32_t length, end;

	while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE))
		sched_yield();
	do {
		const unsigned char *rec;

		end = __atomic_load_n(&finished, __ATOMIC_ACQUIRE) == 2;
		while ((rec = kshm_consumer_next(c, &length)) != NULL) {
			uint64_t n;

			memcpy(&n, rec, 8);
			check(n > last[length == 16], "order", n);
			last[length == 16] = n;
			received++;
			kshm_consumer_release(c);
			if (received % 8 == 0 && !end)
				pthread_kill(producer, SIGUSR1);
		}
		check(!c->ring.corrupt_why, "consumer: corrupt", c->ring.corrupt_offset);
		if (!end)
			pthread_kill(producer, SIGUSR1);
	} while (!end);
	pthread_join(producer, NULL);
	check(received + kshm_producer_drops(nested) == records + interrupts,
	      "received + dropped is not produced", received);
	printf("%llu records, %llu interrupts, %llu dropped, %llu of them nested\n",
	       (unsigned long long)records, (unsigned long long)interrupts,
	       (unsigned long long)kshm_producer_drops(nested),
	       (unsigned long long)nested->nested);
}

/*
 * In a section, contexts that interrupt it give records up, and are interrupted
 * by others that do the same, on the same counter: it misses none.
 */
static void interrupt_drop(int signal)
{
	(void)signal;
	kshm_producer_drop(nested);
	__atomic_fetch_add(&interrupts, 1, __ATOMIC_RELAXED);
}

static void drops(struct kshm_producer *p, uint64_t signals)
{
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };
	uint64_t n = 0, all;

	nested = p;
	check(kshm_producer_reserve(p, 8) != NULL, "reserve", 0);
	signal(SIGALRM, interrupt_drop);
	setitimer(ITIMER_REAL, &often, NULL);
	for (; __atomic_load_n(&interrupts, __ATOMIC_RELAXED) < signals; n++)
		kshm_producer_drop(p);
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_IGN);
	kshm_producer_cancel(p);
	all = n + interrupts;
	printf("%llu drops, %llu of them interrupted others, %llu counted\n",
	       (unsigned long long)all, (unsigned long long)interrupts,
	       (unsigned long long)kshm_producer_drops(p));
	fflush(stdout);
	check(kshm_producer_drops(p) == all, "drops were not counted", all);
}

int main(int argc, char **argv)
{
	struct kshm_producer p;
	struct kshm_consumer c;
	pthread_t thread;
	int nest;

	if (argc != 3)
		return 2;
	nest = !strcmp(argv[1], "nested");
	records = strtoull(argv[2], NULL, 0);
	memory = aligned_alloc(KSHM_RING_PAGE, KSHM_RING_STRIDE(CAPACITY));
	check(memory && kshm_ring_table_valid(&group, 1, KSHM_RING_STRIDE(CAPACITY)),
	      "geometry", 0);
	kshm_ring_format(memory, &group);
	kshm_producer_init(&p, memory, &group, 0);
	kshm_consumer_init(&c, memory, &group, 0);
	if (!strcmp(argv[1], "drops")) {
		drops(&p, records);
		return 0;
	}
	if (pthread_create(&thread, NULL, nest ? nested_producer : stream_producer, &p))
		die("pthread_create");
	if (nest) {
		nested_consumer(&c, thread);
	} else {
		stream_consumer(&c);
		pthread_join(thread, NULL);
	}
	free(memory);
	return 0;
}
