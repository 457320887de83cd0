// SPDX-License-Identifier: MIT
/*
 * kshm_ring.h against every content of the shared bytes: for CBMC. A load of a
 * shared word gives any value, each time anew; the private state is any that
 * the calls can leave behind (see the assumptions), and each call must keep it
 * so. Then one call proves all calls. CBMC adds: no access outside an object,
 * no overflow that C does not define, every loop ends.
 *
 *   cbmc --function producer (and the others) [-DCAPACITY=n] cbmc.c
 *
 * "go run ./proof -full" runs them all. That package ring comes to the same
 * verdicts over the same bytes is what TestVerdictsAgree shows.
 */
#include <stdint.h>

uint64_t nondet_any(void);
#define any() nondet_any()

/*
 * A u64 is a shared word: its access must be good, its value is anybody's. A
 * u32 is kshm_producer.busy, or the header page at the start.
 */
#define kshm_read(p)                                                            \
	(__CPROVER_assert(__CPROVER_r_ok(p, sizeof(*(p))), "a good address to read"), \
	 _Generic(*(p), kshm_u64: any(), default: *(p)))
#define kshm_read_acquire(p) kshm_read(p)
#define kshm_write(p, v)                                                         \
	(__CPROVER_assert(__CPROVER_w_ok(p, sizeof(*(p))), "a good address to write"), \
	 _Generic(*(p), kshm_u64: (void)(v), default: (void)(*(p) = (v))))
#define kshm_publish(p, v) kshm_write(p, v)
#define kshm_barrier() ((void)0)

#include "../../include/kshm_ring.h"

#ifndef CAPACITY
#define CAPACITY 4096u
#endif
#ifndef DATA
#define DATA CAPACITY /* fewer bytes are a seeded bug, which must be found */
#endif

static struct {
	struct kshm_ring_control control;
	unsigned char data[DATA];
} share;

static const struct kshm_ring_group group = { .capacity = CAPACITY, .count = 1 };

#define MASK (KSHM_RECORD_ALIGN - 1)

/* No ring gets to 4 EiB. One round of calls moves on by two rings at most. */
static uint64_t far = 1ull << 62;

/* Any state between two calls. */
static int good(const struct kshm_ring *r)
{
	return !(r->position & MASK) && !(r->published & MASK) && !(r->peer & MASK) &&
	       r->published <= r->position && r->position < far && r->corrupt_why <= 9;
}

static int good_producer(const struct kshm_producer *p)
{
	const struct kshm_ring *r = &p->ring;
	int limit = p->limit == r->peer + CAPACITY || (r->corrupt_why && p->limit == r->position);

	return good(r) && limit && r->peer <= r->published && r->position <= p->limit &&
	       p->busy <= 1;
}

static int good_consumer(const struct kshm_consumer *c)
{
	const struct kshm_ring *r = &c->ring;

	return good(r) && r->position <= r->peer && r->peer <= r->published + CAPACITY &&
	       !(c->held & MASK) && c->held <= r->peer - r->position;
}

static void inside(const void *at, uint64_t length)
{
	const unsigned char *p = at;

	__CPROVER_assert(p >= share.data + KSHM_RECORD_HEADER, "not before the data");
	__CPROVER_assert((uint64_t)(p - share.data) + length <= CAPACITY, "not after the data");
}

void producer(void)
{
	struct kshm_producer p, free;
	struct kshm_ring *r = &p.ring;
	uint32_t length = any(), commit = any();
	unsigned char *to;

	kshm_producer_init(&p, &share, &group, 0);
	__CPROVER_assert(good_producer(&p), "the first state is good");
	free = p;
	r->position = any();
	r->published = any();
	r->peer = any();
	r->corrupt_why = any();
	r->answered = any();
	p.limit = any();
	__CPROVER_assume(good_producer(&p));
	far += 2 * CAPACITY;

	to = kshm_producer_reserve(&p, length);
	if (to) {
		inside(to, length);
		kshm_producer_commit(&p, commit);
	}
	__CPROVER_assert(good_producer(&p), "reserve and commit keep it good");
	kshm_producer_flush(&p);
	__CPROVER_assert(good_producer(&p), "flush keeps it good");
	if (length <= KSHM_RECORD_MAX(CAPACITY) && kshm_producer_arm(&p, length))
		kshm_ring_disarm(r);
	__CPROVER_assert(good_producer(&p), "arm keeps it good");
	kshm_producer_watermark(&p, any());
	kshm_producer_show(&p);
	__CPROVER_assert(r->data == free.ring.data && r->own == free.ring.own, "pointers stay");
}

static struct kshm_consumer any_consumer(void)
{
	struct kshm_consumer c;
	struct kshm_ring *r = &c.ring;

	kshm_consumer_init(&c, &share, &group, 0);
	__CPROVER_assert(good_consumer(&c), "the first state is good");
	r->position = any();
	r->published = any();
	r->peer = any();
	r->corrupt_why = any();
	r->answered = any();
	c.held = any();
	__CPROVER_assume(good_consumer(&c));
	far += 2 * CAPACITY;
	return c;
}

void consumer_next(void)
{
	struct kshm_consumer c = any_consumer();
	struct kshm_ring *r = &c.ring;
	uint32_t length, why = r->corrupt_why;
	const void *rec = kshm_consumer_next(&c, &length);

	__CPROVER_assert(good_consumer(&c), "next keeps it good");
	if (rec) {
		inside(rec, length);
		__CPROVER_assert(!r->corrupt_why, "a dead ring has no records");
	}
	__CPROVER_assert(!why || r->corrupt_why == why, "dead stays dead");
	if (r->corrupt_why && !why)
		__CPROVER_assert(r->corrupt_offset < sizeof(share), "the verdict names a word of the ring");
}

void consumer_release(void)
{
	struct kshm_consumer c = any_consumer();

	kshm_consumer_release(&c);
	__CPROVER_assert(good_consumer(&c), "release keeps it good");
	kshm_consumer_flush(&c);
	__CPROVER_assert(good_consumer(&c), "flush keeps it good");
}

void consumer_arm(void)
{
	struct kshm_consumer c = any_consumer();

	if (kshm_consumer_arm(&c))
		kshm_ring_woke(&c.ring, any());
	__CPROVER_assert(good_consumer(&c), "arm keeps it good");
	kshm_ring_show(&c.ring);
}

/*
 * Whatever SHARE's arguments say, a table that is valid lies in the share. The
 * capacities are given, as to multiply two unknowns takes a solver for ever.
 */
void geometry(void)
{
	struct kshm_ring_group table[2];
	uint64_t length = any();
	uint32_t i, index = any();

	for (i = 0; i < 2; i++) {
		table[i].offset = any();
		table[i].capacity = i ? 8192 : CAPACITY;
		table[i].count = any();
		table[i].flags = any();
		table[i].reserved = any();
	}
	if (!kshm_ring_table_valid(table, 2, length) || kshm_ring_group_unused(&table[0]))
		return;
	__CPROVER_assume(index < table[0].count);
	__CPROVER_assert(kshm_ring_offset(&table[0], index) <= length, "a ring begins in the share");
	__CPROVER_assert(length - kshm_ring_offset(&table[0], index) >=
				 KSHM_RING_STRIDE(table[0].capacity),
			 "and ends in it");
	__CPROVER_assert(kshm_ring_group_unused(&table[1]) ||
				 kshm_ring_offset(&table[0], index) +
						 KSHM_RING_STRIDE(table[0].capacity) <=
					 table[1].offset ||
				 table[1].offset + table[1].count *
						 KSHM_RING_STRIDE(table[1].capacity) <=
					 kshm_ring_offset(&table[0], index),
			 "and in no other group");
}
