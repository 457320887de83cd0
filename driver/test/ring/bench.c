// SPDX-License-Identifier: MIT
/*
 * The C side of "kshm bench" (internal/bench): a server that reads a trial a
 * line and answers with the records that the consumer took and its time.
 *
 *   bench CAPACITY PRODUCER_CPU CONSUMER_CPU
 *   WORK SIZE BATCH MICROSECONDS  ->  ready, on the right processor
 *   go                            ->  RECORDS NANOSECONDS PREEMPTED
 *
 * WORK: probe, produce, consume, kshm, publish, rtt, and with the libraries ck and rte.
 * All producers write every word of the payload, all consumers sum them.
 */
#define KSHM_RING_NESTED 0 /* no signal handler produces */
#include "peer.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#ifdef HAVE_CK
#include <ck_ring.h>
#endif
#ifdef HAVE_RTE
#include <rte_ring.h>
#endif

#define LOOK 256 /* records between two looks at the clock */
#define SLOTS 8192

struct trial {
	uint32_t size;
	uint64_t batch, nanoseconds;     /* in */
	uint64_t records, ns, preempted; /* out */
	struct share *share;
};

static int cpus[2];
static volatile uint64_t sink;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		die("affinity");
}

/*
 * The same machine code for all rings: where a compiler happens to place such a
 * loop in each of them can make it twice as slow. works.go has the same loops.
 */
#define ALIKE __attribute__((noinline, aligned(64)))

static ALIKE void fill(unsigned char *to, uint32_t size, uint64_t n)
{
	uint64_t *word = (uint64_t *)to;

	for (; size >= 32; size -= 32, word += 4) {
		word[0] = n;
		word[1] = n + 1;
		word[2] = n + 2;
		word[3] = n + 3;
	}
	for (; size >= 8; size -= 8)
		*word++ = n;
}

static ALIKE uint64_t sum(const unsigned char *from, uint32_t size)
{
	const uint64_t *word = (const uint64_t *)from;
	uint64_t total = 0;

	for (; size >= 32; size -= 32, word += 4)
		total += word[0] + word[1] + word[2] + word[3];
	for (; size >= 8; size -= 8)
		total += *word++;
	return total;
}

/* Back among the others: async-signal-safe, a bare system call. */
static void step_back(int number)
{
	struct sched_param none = { 0 };

	(void)number;
	sched_setscheduler(0, SCHED_OTHER, &none);
}

/*
 * Run before everything else, if that is allowed, but not for longer than a
 * trial takes: the system says when to step back, and never kills, because a
 * trial also takes longer when its peer does not get a processor.
 */
static void undisturbed(void)
{
	struct rlimit limit = { 200000, RLIM_INFINITY }; /* microseconds without a sleep */
	struct sched_param param = { .sched_priority = 1 };

	signal(SIGXCPU, step_back);
	if (setrlimit(RLIMIT_RTTIME, &limit) || sched_setscheduler(0, SCHED_RR, &param))
		fprintf(stderr, "bench: not allowed to run at real-time priority: noise\n");
}

/* kshm. A record of no bytes ends the trial. */

static void produce(struct trial *t, struct kshm_ring_group *g)
{
	uint64_t end = now_ns() + t->nanoseconds, n = 0, left = t->batch;
	struct kshm_producer p;
	unsigned char *to;

	kshm_producer_init(&p, t->share->memory, g, 0);
	while (n % LOOK || now_ns() < end) {
		while (!(to = kshm_producer_reserve(&p, t->size)))
			kshm_producer_flush(&p);
		fill(to, t->size, n);
		kshm_producer_commit(&p, t->size);
		n++;
		if (--left)
			continue;
		kshm_producer_flush(&p);
		left = t->batch;
	}
	while (!kshm_producer_reserve(&p, 0))
		kshm_producer_flush(&p);
	kshm_producer_commit(&p, 0);
	kshm_producer_flush(&p);
}

static void consume(struct trial *t, struct kshm_ring_group *g)
{
	uint64_t start = 0, total = 0, n = 0;
	struct kshm_consumer c;
	const unsigned char *rec;
	uint32_t length;

	kshm_consumer_init(&c, t->share->memory, g, 0);
	for (;;) {
		while (!(rec = kshm_consumer_next(&c, &length)))
			;
		if (!length)
			break;
		if (!n++)
			start = now_ns();
		total += sum(rec, length);
		kshm_consumer_release(&c);
	}
	t->ns = now_ns() - start;
	t->records = n;
	sink = total;
}

static void *consume_thread(void *arg)
{
	struct trial *t = arg;

	consume(t, &t->share->in);
	return NULL;
}

/* How often the scheduler took the processor from this thread. */
static uint64_t preempted(void)
{
	struct rusage use;

	if (getrusage(RUSAGE_THREAD, &use))
		die("getrusage");
	return use.ru_nivcsw;
}

struct other {
	void *(*run)(void *);
	struct trial *t;
	uint64_t preempted;
};

static void *other_thread(void *arg)
{
	struct other *o = arg;

	o->preempted = preempted();
	o->run(o->t);
	o->preempted = preempted() - o->preempted;
	return NULL;
}

static void two(struct trial *t, void *(*other)(void *), void (*mine)(struct trial *))
{
	struct other o = { .run = other, .t = t };
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;

	/* It must start where it stays: here it would wait behind this thread. */
	CPU_ZERO(&set);
	CPU_SET(cpus[1], &set);
	if (pthread_attr_init(&attr) || pthread_attr_setaffinity_np(&attr, sizeof(set), &set) ||
	    pthread_create(&thread, &attr, other_thread, &o))
		die("pthread_create");
	pthread_attr_destroy(&attr);
	mine(t);
	pthread_join(thread, NULL);
	t->preempted += o.preempted;
}

/* A producer alone, with records of 8 bytes: nobody looks while it is timed. */

static uint64_t fill_ring(struct kshm_producer *p, uint64_t records, uint64_t batch)
{
	uint64_t start, left = batch, n;
	unsigned char *to;

	/* The space is known before. */
	if (kshm_producer_reserve(p, KSHM_RECORD_MAX(p->ring.capacity)))
		kshm_producer_cancel(p);
	start = now_ns();
	for (n = 0; n < records && (to = kshm_producer_reserve(p, 8)); n++) {
		*(uint64_t *)to = n;
		kshm_producer_commit(p, 8);
		if (--left)
			continue;
		kshm_producer_flush(p);
		left = batch;
	}
	start = now_ns() - start;
	kshm_producer_flush(p);
	return start;
}

static void publish(struct trial *t)
{
	uint64_t end = now_ns() + t->nanoseconds / 4, records = t->share->in.capacity / 16 - 64;
	struct kshm_producer p;
	struct kshm_consumer c;
	uint64_t ns, rounds = 0;
	uint32_t length;

	kshm_producer_init(&p, t->share->memory, &t->share->in, 0);
	kshm_consumer_init(&c, t->share->memory, &t->share->in, 0);
	for (; rounds < 2 || now_ns() < end; rounds++) {
		ns = fill_ring(&p, records, t->batch);
		if (rounds) { /* the first time, the lines come from elsewhere */
			t->ns += ns;
			t->records += records;
		}
		while (kshm_consumer_next(&c, &length))
			kshm_consumer_release(&c);
	}
}

static void produce_in(struct trial *t)
{
	produce(t, &t->share->in);
}

/* One line there and back, bare. */

static uint64_t line[32] __attribute__((aligned(128)));

static void *probe_thread(void *arg)
{
	uint64_t n = 1, seen;

	(void)arg;
	while ((seen = __atomic_load_n(&line[0], __ATOMIC_ACQUIRE)) != ~0ull) {
		if (seen != n)
			continue;
		__atomic_store_n(&line[0], n + 1, __ATOMIC_RELEASE);
		n += 2;
	}
	return NULL;
}

static void probe(struct trial *t)
{
	uint64_t start = now_ns(), end = start + t->nanoseconds, n = 1;

	while (n % 64 != 1 || now_ns() < end) {
		__atomic_store_n(&line[0], n, __ATOMIC_RELEASE);
		while (__atomic_load_n(&line[0], __ATOMIC_ACQUIRE) != n + 1)
			;
		n += 2;
	}
	t->ns = now_ns() - start;
	t->records = n / 2;
	__atomic_store_n(&line[0], ~0ull, __ATOMIC_RELEASE);
}

/* A record there and back through two rings. */

static void *rtt_thread(void *arg)
{
	struct trial *t = arg;
	struct kshm_producer p;
	struct kshm_consumer c;
	const unsigned char *rec;
	unsigned char *to;
	uint32_t length;

	kshm_consumer_init(&c, t->share->memory, &t->share->in, 0);
	kshm_producer_init(&p, t->share->memory, &t->share->out, 0);
	do {
		while (!(rec = kshm_consumer_next(&c, &length)))
			kshm_consumer_expect(&c);
		to = kshm_producer_reserve(&p, length);
		memcpy(to, rec, length);
		kshm_producer_commit(&p, length);
		kshm_producer_flush(&p);
		kshm_consumer_release(&c);
	} while (length);
	return NULL;
}

static void rtt(struct trial *t)
{
	uint64_t start = now_ns(), end = start + t->nanoseconds, n = 0;
	struct kshm_producer p;
	struct kshm_consumer c;
	const unsigned char *rec;
	uint32_t length = t->size;

	kshm_producer_init(&p, t->share->memory, &t->share->in, 0);
	kshm_consumer_init(&c, t->share->memory, &t->share->out, 0);
	do {
		if (n % 64 == 0 && now_ns() >= end)
			length = 0;
		fill(kshm_producer_reserve(&p, length), length, n);
		kshm_producer_commit(&p, length);
		kshm_producer_flush(&p);
		while (!(rec = kshm_consumer_next(&c, &length)))
			kshm_consumer_expect(&c);
		sink = sum(rec, length);
		kshm_consumer_release(&c);
		n++;
	} while (length);
	t->ns = now_ns() - start;
	t->records = n;
}

/*
 * Rings of pointers. The payload is in slots that the producer fills in turn;
 * there are more of them than the ring and a batch hold. NULL cannot travel,
 * so a pointer to the slots' end ends the trial.
 */
#if defined(HAVE_CK) || defined(HAVE_RTE)
static unsigned char *slots;
static uint32_t ring_size;

static void slots_for(struct trial *t)
{
	static unsigned char *all;

	if (!all && !(all = aligned_alloc(4096, SLOTS * 4096ull + 4096)))
		die("slots");
	slots = all;
	/* As many bytes in flight as the kshm ring holds. */
	for (ring_size = 2; ring_size * 2 * (t->size + 8ull) <= t->share->in.capacity;)
		ring_size *= 2;
}

static inline void *slot(struct trial *t, uint64_t n)
{
	/* Twice what is in flight, a power of two. */
	return slots + (n & (2 * ring_size - 1)) * t->size;
}

#define END ((void *)(slots + SLOTS * 4096ull))
#endif

#ifdef HAVE_CK
static ck_ring_t ck;
static ck_ring_buffer_t ck_buffer[SLOTS];

static void *ck_thread(void *arg)
{
	struct trial *t = arg;
	uint64_t start = 0, total = 0, n = 0;
	void *rec;

	for (;;) {
		while (!ck_ring_dequeue_spsc(&ck, ck_buffer, &rec))
			;
		if (rec == END)
			break;
		if (!n++)
			start = now_ns();
		total += sum(rec, t->size);
	}
	t->ns = now_ns() - start;
	t->records = n;
	sink = total;
	return NULL;
}

/* ck_ring has no batches: it publishes each pointer. */
static void ck_produce(struct trial *t)
{
	uint64_t end = now_ns() + t->nanoseconds, n = 0;

	while (n % LOOK || now_ns() < end) {
		fill(slot(t, n), t->size, n);
		while (!ck_ring_enqueue_spsc(&ck, ck_buffer, slot(t, n)))
			;
		n++;
	}
	while (!ck_ring_enqueue_spsc(&ck, ck_buffer, END))
		;
}
#endif

#ifdef HAVE_RTE
static struct rte_ring *rte;

static void *rte_thread(void *arg)
{
	struct trial *t = arg;
	uint64_t start = 0, total = 0, n = 0;
	void *recs[64];

	for (;;) {
		unsigned int i, got = rte_ring_sc_dequeue_burst(rte, recs, t->batch, NULL);

		for (i = 0; i < got; i++) {
			if (recs[i] == END)
				goto end;
			if (!n++)
				start = now_ns();
			total += sum(recs[i], t->size);
		}
	}
end:
	t->ns = now_ns() - start;
	t->records = n;
	sink = total;
	return NULL;
}

static void rte_produce(struct trial *t)
{
	uint64_t end = now_ns() + t->nanoseconds, n = 0, look = LOOK;
	void *recs[64];

	for (;;) {
		uint64_t i;

		for (i = 0; i < t->batch; i++, n++) {
			recs[i] = slot(t, n);
			fill(recs[i], t->size, n);
		}
		for (i = 0; i < t->batch;)
			i += rte_ring_sp_enqueue_burst(rte, recs + i, t->batch - i, NULL);
		if (n < look)
			continue;
		look = n + LOOK;
		if (now_ns() >= end)
			break;
	}
	while (rte_ring_sp_enqueue(rte, END))
		;
}
#endif

static int trial(const char *work, struct trial *t)
{
	if (!strcmp(work, "probe")) {
		line[0] = 0;
		two(t, probe_thread, probe);
	} else if (!strcmp(work, "produce")) {
		produce(t, &t->share->out);
	} else if (!strcmp(work, "consume")) {
		consume(t, &t->share->in);
	} else if (!strcmp(work, "kshm")) {
		two(t, consume_thread, produce_in);
	} else if (!strcmp(work, "publish")) {
		publish(t);
	} else if (!strcmp(work, "rtt")) {
		two(t, rtt_thread, rtt);
#ifdef HAVE_CK
	} else if (!strcmp(work, "ck")) {
		slots_for(t);
		ck_ring_init(&ck, ring_size);
		two(t, ck_thread, ck_produce);
#endif
#ifdef HAVE_RTE
	} else if (!strcmp(work, "rte")) {
		slots_for(t);
		if (!rte)
			rte = aligned_alloc(128, rte_ring_get_memsize(SLOTS));
		rte_ring_init(rte, "bench", ring_size, RING_F_SP_ENQ | RING_F_SC_DEQ);
		two(t, rte_thread, rte_produce);
#endif
	} else {
		return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	char work[16], go[16];
	unsigned long long batch, us;
	unsigned int size;
	struct share s;

	if (argc != 4)
		return 2;
	s = share_map(strtoul(argv[1], NULL, 0), 1);
	cpus[0] = atoi(argv[2]);
	cpus[1] = atoi(argv[3]);
	undisturbed();
	while (scanf("%15s %u %llu %llu", work, &size, &batch, &us) == 4) {
		struct trial t = { .size = size, .batch = batch, .nanoseconds = us * 1000,
				   .share = &s };

		uint64_t before;

		pin(cpus[!strcmp(work, "consume")]);
		printf("ready\n");
		fflush(stdout);
		if (scanf("%15s", go) != 1)
			break;
		before = preempted();
		if (!trial(work, &t))
			t.records = 0;
		printf("%llu %llu %llu\n", (unsigned long long)t.records,
		       (unsigned long long)t.ns,
		       (unsigned long long)(t.preempted + preempted() - before));
		fflush(stdout);
	}
	return 0;
}
