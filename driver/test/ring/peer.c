// SPDX-License-Identifier: MIT
/*
 * The C side of a ring as a program: ring/peer_test.go runs it against the Go
 * side over a memfd. One mode a run:
 *
 *   peer MODE CAPACITY RINGS RECORDS BATCH JITTER pipe|memory
 */
#include <pthread.h>

#define KSHM_RING_NESTED 0 /* threads.c is for producers that are interrupted */
#include "peer.h"

struct options {
	uint32_t capacity, rings;
	uint64_t records, batch;
	uint64_t jitter; /* at most so many idle loops before arming */
};

static uint64_t jitter_state = 1;

static void jitter(const struct options *o)
{
	if (o->jitter)
		dawdle((jitter_state = mix(jitter_state)) % o->jitter);
}

/* Blocking forms. They never spin: each wait is a race of arm and publish. */

static unsigned char *reserve(struct kshm_producer *p, uint32_t length, const struct options *o)
{
	for (;;) {
		unsigned char *to = kshm_producer_reserve(p, length);
		uint64_t seen = events_seen();

		if (to)
			return to;
		check(!p->ring.corrupt_why, "producer: corrupt", p->ring.corrupt_why);
		if (kshm_producer_flush(p))
			kick();
		jitter(o);
		if (!kshm_producer_arm(p, length))
			continue;
		check(wait_event(seen), "producer: no more events", p->ring.position);
		kshm_ring_disarm(&p->ring);
	}
}

/* NULL if the other side is gone. */
static const unsigned char *next(struct kshm_consumer *c, uint32_t *length,
				 const struct options *o)
{
	for (;;) {
		const unsigned char *rec = kshm_consumer_next(c, length);
		uint64_t seen = events_seen();
		int more;

		if (rec)
			return rec;
		check(!c->ring.corrupt_why, "consumer: corrupt", c->ring.corrupt_why);
		jitter(o);
		if (!kshm_consumer_arm(c))
			continue;
		more = wait_event(seen);
		kshm_ring_disarm(&c->ring);
		if (!more)
			return NULL;
	}
}

static void flush(struct kshm_producer *p)
{
	if (kshm_producer_flush(p))
		kick();
}

static void release(struct kshm_consumer *c)
{
	if (kshm_consumer_release(c))
		kick();
}

/* Modes. */

static void produce(struct share *s, const struct options *o)
{
	uint32_t max = KSHM_RECORD_MAX(o->capacity);
	struct kshm_producer p;
	uint64_t n;

	kshm_producer_init(&p, s->memory, &s->out, 0);
	for (n = 1; n <= o->records; n++) {
		uint32_t length = script_length(1, n, max);

		script_fill(reserve(&p, length, o), length, 1, n);
		check(!kshm_producer_commit(&p, length), "commit", n);
		if (n % o->batch == 0 || n == o->records)
			flush(&p);
	}
	kshm_producer_show(&p);
}

static void consume(struct share *s, const struct options *o)
{
	uint32_t max = KSHM_RECORD_MAX(o->capacity);
	struct kshm_consumer c;
	uint64_t n;

	kshm_consumer_init(&c, s->memory, &s->in, 0);
	for (n = 1; n <= o->records; n++) {
		uint32_t length;
		const unsigned char *rec = next(&c, &length, o);

		check(rec != NULL, "no more records", n);
		check(length == script_length(1, n, max), "wrong length", n);
		check(script_matches(rec, length, 1, n), "wrong bytes", n);
		release(&c);
	}
	kshm_ring_show(&c.ring);
}

/* Each record that comes in goes out again, until the other side hangs up. */
static void echo(struct share *s, const struct options *o)
{
	struct kshm_consumer c;
	struct kshm_producer p;
	const unsigned char *rec;
	uint32_t length;

	kshm_consumer_init(&c, s->memory, &s->in, 0);
	kshm_producer_init(&p, s->memory, &s->out, 0);
	while ((rec = next(&c, &length, o)) != NULL) {
		memcpy(reserve(&p, length, o), rec, length);
		check(!kshm_producer_commit(&p, length), "commit", c.ring.counters.records);
		flush(&p);
		release(&c);
	}
}

/*
 * A thread for each ring, which drops what does not fit. A record is a
 * timestamp, its number and padding of any length.
 */
struct lane {
	pthread_t thread;
	struct kshm_producer p;
	const struct options *o;
	uint64_t seed;
};

static void *produce_lane(void *arg)
{
	struct lane *l = arg;
	uint64_t n;

	for (n = 1; n <= l->o->records; n++) {
		uint32_t length = 16 + script_length(l->seed, n, 100);
		uint64_t head[2] = { now_ns(), n };
		unsigned char *to = kshm_producer_reserve(&l->p, length);

		if (to) {
			memcpy(to, head, 16);
			script_fill(to + 16, length - 16, l->seed, n);
			kshm_producer_commit(&l->p, length);
		} else {
			kshm_producer_drop(&l->p);
		}
		if (n % l->o->batch == 0 || n == l->o->records)
			flush(&l->p);
		dawdle(mix(n) % 64);
	}
	kshm_producer_watermark(&l->p, ~0ull);
	kshm_producer_show(&l->p);
	return NULL;
}

static void many(struct share *s, const struct options *o)
{
	struct lane *lanes = calloc(o->rings, sizeof(*lanes));
	uint32_t i;

	for (i = 0; i < o->rings; i++) {
		lanes[i].o = o;
		lanes[i].seed = i;
		kshm_producer_init(&lanes[i].p, s->memory, &s->out, i);
		if (pthread_create(&lanes[i].thread, NULL, produce_lane, &lanes[i]))
			die("pthread_create");
	}
	for (i = 0; i < o->rings; i++) {
		pthread_join(lanes[i].thread, NULL);
		printf("%llu %llu\n", (unsigned long long)o->records,
		       (unsigned long long)kshm_producer_drops(&lanes[i].p));
	}
	free(lanes);
	kick();
}

/*
 * Work on while somebody overwrites shared words: for each byte read, a round
 * of both roles on fresh rings, until both are dead or the next byte comes.
 */
struct verdict {
	uint64_t why, offset, records, bytes;
};

static struct verdict verdict(const struct kshm_ring *r)
{
	return (struct verdict){ r->corrupt_why, r->corrupt_offset, r->counters.records,
				 r->counters.bytes };
}

static void work(struct share *s, struct kshm_producer *p, struct kshm_consumer *c, uint64_t n)
{
	const unsigned char *data = (const unsigned char *)c->ring.data;
	uint32_t length = script_length(1, n, KSHM_RECORD_MAX(s->in.capacity));
	unsigned char *to = kshm_producer_reserve(p, length);
	const unsigned char *rec;

	if (to) {
		check(to >= p->ring.data && to + length <= p->ring.data + s->out.capacity,
		      "reserved outside the data", n);
		memset(to, 'x', length);
		kshm_producer_commit(p, length);
	}
	kshm_producer_flush(p);
	if (!to && kshm_producer_arm(p, length))
		kshm_ring_disarm(&p->ring);
	rec = kshm_consumer_next(c, &length);
	if (rec)
		check(rec >= data && rec + length <= data + s->in.capacity,
		      "record outside the data", n);
	else if (kshm_consumer_arm(c))
		kshm_ring_disarm(&c->ring);
	kshm_consumer_release(c);
}

static void hostile(struct share *s)
{
	char byte;

	while (read(FD_EVENTS, &byte, 1) == 1) {
		struct verdict v[2];
		struct kshm_producer p;
		struct kshm_consumer c;
		uint64_t n = 0;

		kshm_producer_init(&p, s->memory, &s->out, 0);
		kshm_consumer_init(&c, s->memory, &s->in, 0);
		/* The first word of the share tells when the round is over. */
		while (!kshm_read((uint64_t *)s->memory))
			work(s, &p, &c, n++);
		v[0] = verdict(&p.ring);
		v[1] = verdict(&c.ring);
		if (write(FD_KICK, v, sizeof(v)) != sizeof(v))
			die("verdict");
	}
}

/* Read whatever bytes are in the ring and tell what they are. */
static void judge(struct share *s)
{
	char byte;

	while (read(FD_EVENTS, &byte, 1) == 1) {
		struct kshm_consumer c;
		struct verdict v;
		uint32_t length;

		kshm_consumer_init(&c, s->memory, &s->in, 0);
		while (kshm_consumer_next(&c, &length))
			kshm_consumer_release(&c);
		v = verdict(&c.ring);
		if (write(FD_KICK, &v, sizeof(v)) != sizeof(v))
			die("verdict");
	}
}

int main(int argc, char **argv)
{
	struct options o;
	struct share s;

	if (argc != 8) {
		fprintf(stderr, "usage: peer MODE CAPACITY RINGS RECORDS BATCH JITTER BELL\n");
		return 2;
	}
	o.capacity = strtoul(argv[2], NULL, 0);
	o.rings = strtoul(argv[3], NULL, 0);
	o.records = strtoull(argv[4], NULL, 0);
	o.batch = strtoull(argv[5], NULL, 0);
	o.jitter = strtoull(argv[6], NULL, 0);
	s = share_map(o.capacity, o.rings);
	if (!strcmp(argv[7], "memory"))
		bell_words = (uint64_t *)s.memory;
	if (!strcmp(argv[1], "produce"))
		produce(&s, &o);
	else if (!strcmp(argv[1], "consume"))
		consume(&s, &o);
	else if (!strcmp(argv[1], "echo"))
		echo(&s, &o);
	else if (!strcmp(argv[1], "many"))
		many(&s, &o);
	else if (!strcmp(argv[1], "hostile"))
		hostile(&s);
	else if (!strcmp(argv[1], "judge"))
		judge(&s);
	else
		return 2;
	return 0;
}
