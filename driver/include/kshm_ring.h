/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * kshm_ring.h - rings of records in a share: the byte layout and the C side.
 *
 * Header-only and freestanding: the same lines run in the Linux kernel, in the
 * Windows kernel and in user mode. docs/protocol.md is the specification,
 * package ring the other implementation; proof/ models both.
 *
 * Who may call: one context at a time per struct kshm_producer and one per
 * struct kshm_consumer, serialised by construction and not by a lock in here.
 * The one exception is a producer that is interrupted in the middle of a call,
 * as by an NMI: the nested reserve is refused and counted.
 *
 * Trust: these structs are private memory and the only truth. Of the shared
 * words, only those of the other side are read, each once, and none is used
 * before it has been checked. A word that breaks the protocol ends the ring
 * for good with a reason and an offset; nothing outside the data is touched.
 */
#ifndef KSHM_RING_H
#define KSHM_RING_H

#include "kshm.h"

#if defined(__KERNEL__)
#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/prefetch.h>
#include <linux/stddef.h>
#include <asm/barrier.h>
#else
#include <stddef.h>
#endif

/*
 * The port: how this compiler and machine access a shared word. Whoever needs
 * another one defines all five before the first include. The words are aligned
 * u64, so the machine must load and store 64 bits at once.
 *
 * kshm_read(p)         one load, no order
 * kshm_read_acquire(p) one load, before all later accesses
 * kshm_write(p, v)     one store, no order
 * kshm_publish(p, v)   one store, after all earlier accesses; a full barrier
 *                      stands between it and all later accesses
 * kshm_barrier()       the compiler moves nothing across it
 * kshm_increment(p)    optional: add 1 to a private u64, whole even if a context
 *                      that does the same comes in between; needs no order
 * kshm_prefetchw(p)    optional: a hint that the line at p will be written
 * kshm_prefetch(p)     optional: a hint that the line at p will be read
 */
#if defined(kshm_publish)
/* given by the port */
#elif defined(__KERNEL__)
#define kshm_read(p) READ_ONCE(*(p))
#define kshm_read_acquire(p) smp_load_acquire(p)
#define kshm_write(p, v) WRITE_ONCE(*(p), v)
#define kshm_barrier() barrier()
#define kshm_increment(p) atomic64_inc((atomic64_t *)(p))
#define kshm_prefetchw(p) prefetchw(p)
#define kshm_prefetch(p) prefetch(p)
#ifdef CONFIG_X86
/* An XCHG is both the release and the barrier, and cheaper than a fence. */
#define kshm_publish(p, v) smp_store_mb(*(p), v)
#else
#define kshm_publish(p, v)               \
	do {                             \
		smp_store_release(p, v); \
		smp_mb();                \
	} while (0)
#endif
#else
#define kshm_read(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define kshm_read_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define kshm_write(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define kshm_barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define kshm_prefetch(p) __builtin_prefetch((const void *)(p))
#ifdef __x86_64__
/* Compilers ask for the line to be read unless told of a processor. */
#define kshm_prefetchw(p) __asm__ volatile("prefetchw %0" : : "m"(*(p)))
#else
#define kshm_prefetchw(p) __builtin_prefetch(p, 1)
#endif
#if defined(__x86_64__) || defined(__SANITIZE_THREAD__)
#define kshm_publish(p, v) ((void)__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))
#else
#define kshm_publish(p, v)                              \
	do {                                            \
		__atomic_store_n(p, v, __ATOMIC_RELEASE); \
		__atomic_thread_fence(__ATOMIC_SEQ_CST); \
	} while (0)
#endif
#endif

#ifndef kshm_increment
#define kshm_increment(p) ((void)__atomic_fetch_add(p, 1, __ATOMIC_RELAXED))
#endif

/*
 * Whether a producer can be interrupted in the middle of a call by another one
 * that uses it, as by an NMI or a signal. Where it cannot, as in an ordinary
 * thread, a program may define this as 0: the compiler then need not keep all
 * of the producer in memory, in order, which takes a fifth of a small record's
 * time.
 */
#ifndef KSHM_RING_NESTED
#define KSHM_RING_NESTED 1
#endif

/* A qualifier for pointers into the share, for machines that need one. */
#ifndef KSHM_SHARED
#define KSHM_SHARED
#endif

#define KSHM_RING_MAGIC 0x676e6972u /* "ring" */
#define KSHM_RING_VERSION 1
#define KSHM_RING_PAGE 4096           /* of the layout, whatever the kernel's is */
#define KSHM_RING_CONTROL 8192        /* bytes in front of the data */
#define KSHM_RING_MIN_CAPACITY 4096u
#define KSHM_RING_MAX_CAPACITY 0x40000000u
#define KSHM_RING_MAX_COUNT 4096u     /* rings in one group */
#define KSHM_RING_LINE 128            /* words of different sides are this far apart */
#define KSHM_RING_AHEAD 512           /* bytes that the producer asks for in advance */

/* Bytes from one ring of a group to the next. */
#define KSHM_RING_STRIDE(capacity) ((kshm_u64)(capacity) + KSHM_RING_CONTROL)

/* A record is a u64 header and its payload, rounded up to 8 bytes. */
#define KSHM_RECORD_ALIGN 8
#define KSHM_RECORD_HEADER 8
#define KSHM_RECORD_DATA 1 /* a payload of length bytes */
#define KSHM_RECORD_SKIP 2 /* nothing up to the end of the data */
#define KSHM_RECORD_MAX(capacity) ((capacity) / 2 - KSHM_RECORD_HEADER)
#define KSHM_RECORD_WORD(kind, length) ((kshm_u64)(kind) << 32 | (length))
#define KSHM_RECORD_SIZE(length) (((kshm_u64)(length) + 15) & ~(kshm_u64)7)

/*
 * Why a ring was declared corrupt. The numbers never change. The offset that
 * goes with a reason is that of the word that was read, in the share.
 */
enum kshm_corrupt {
	KSHM_CORRUPT_NONE = 0,
	KSHM_CORRUPT_UNALIGNED = 1, /* a position that is no multiple of 8 */
	KSHM_CORRUPT_BACKWARD = 2,  /* a position behind an earlier one */
	KSHM_CORRUPT_BEYOND = 3,    /* a position that the other side cannot reach */
	KSHM_CORRUPT_KIND = 4,      /* a record of unknown kind */
	KSHM_CORRUPT_LENGTH = 5,    /* a record above the maximum */
	KSHM_CORRUPT_UNPUBLISHED = 6, /* a record that runs past the producer's position */
	KSHM_CORRUPT_WRAP = 7,      /* a record that runs past the end of the data */
	KSHM_CORRUPT_SKIP = 8,      /* a skip that does not end at the end of the data */
	KSHM_CORRUPT_TIMESTAMP = 9, /* a record too short for its timestamp */
};

/* The words of one side: written by it, read by the other. */
struct kshm_ring_words {
	kshm_u64 position;  /* free-running, bytes; multiple of 8 */
	kshm_u64 watermark; /* producer: no later record is older; ns, or 0 */
	kshm_u64 pad0[14];
	kshm_u64 need_wakeup; /* odd: this side sleeps or is about to */
	kshm_u64 pad1[15];
};

/*
 * The control pages of a ring; its data follow. The kit fills in the first
 * line and zeroes the rest before the driver sees the share. The first line
 * tells readers what SHARE's arguments said; nobody acts on it. The counters
 * are for show: copies of private ones, brought up to date now and then, and
 * as trustworthy as their writer.
 */
struct kshm_ring_control {
	kshm_u32 magic;    /* KSHM_RING_MAGIC */
	kshm_u32 version;  /* KSHM_RING_VERSION */
	kshm_u32 capacity; /* bytes of data */
	kshm_u32 flags;    /* KSHM_RING_TO_* */
	kshm_u32 index;    /* of this ring in its group */
	kshm_u32 count;    /* rings in the group */
	kshm_u64 offset;   /* of this ring in the share */
	kshm_u64 pad0[12];
	struct kshm_ring_words producer;
	struct kshm_ring_words consumer;
	kshm_u64 pad1[432];
	struct kshm_ring_counters producer_show;
	kshm_u64 pad2[240];
	struct kshm_ring_counters consumer_show;
	kshm_u64 pad3[240];
};

_Static_assert(sizeof(struct kshm_ring_words) == 2 * KSHM_RING_LINE,
	       "layout of kshm_ring_words");
_Static_assert(offsetof(struct kshm_ring_words, need_wakeup) == KSHM_RING_LINE,
	       "the rarely written word has a line of its own");
_Static_assert(offsetof(struct kshm_ring_control, producer) == 128, "layout of kshm_ring_control");
_Static_assert(offsetof(struct kshm_ring_control, consumer) == 384, "layout of kshm_ring_control");
_Static_assert(offsetof(struct kshm_ring_control, producer_show) == KSHM_RING_PAGE,
	       "layout of kshm_ring_control");
_Static_assert(offsetof(struct kshm_ring_control, consumer_show) == KSHM_RING_PAGE + 2048,
	       "layout of kshm_ring_control");
_Static_assert(sizeof(struct kshm_ring_control) == KSHM_RING_CONTROL,
	       "layout of kshm_ring_control");

/* What both sides keep in private memory. */
struct kshm_ring {
	struct kshm_ring_words KSHM_SHARED *own;
	struct kshm_ring_words KSHM_SHARED *other;
	unsigned char KSHM_SHARED *data;
	struct kshm_ring_counters KSHM_SHARED *show;
	kshm_u64 capacity;
	kshm_u64 position;  /* of the next byte to write or read */
	kshm_u64 published; /* the position that the other side can see */
	kshm_u64 peer;      /* last good position of the other side */
	kshm_u64 armed;     /* our need_wakeup */
	kshm_u64 answered;  /* need_wakeup of the other side that we rang for */
	kshm_u64 offset;    /* of the ring in the share */
	kshm_u64 corrupt_offset;
	kshm_u32 corrupt_why; /* enum kshm_corrupt */
	kshm_u32 to_producer; /* we are the consumer */
	struct kshm_ring_counters counters;
};

struct kshm_producer {
	struct kshm_ring ring;
	kshm_u64 limit;    /* position up to which there is known space */
	kshm_u64 skip;     /* bytes to skip in front of the reserved record */
	kshm_u64 ahead;    /* position up to which lines were asked for */
	kshm_u32 reserved; /* payload bytes reserved */
	kshm_u32 busy;     /* in a section: see kshm_producer_enter() */
	kshm_u64 nested;   /* drops of contexts that interrupted a section */
};

struct kshm_consumer {
	struct kshm_ring ring;
	kshm_u64 held;    /* bytes of the record that next returned, or 0 */
	kshm_u64 payload; /* bytes of payload in it */
};

/* Geometry. */

/*
 * True if the group describes rings that lie within a share of length bytes.
 * An unused entry (all zero) is no group.
 */
static inline int kshm_ring_group_valid(const struct kshm_ring_group *g, kshm_u64 length)
{
	if (g->capacity < KSHM_RING_MIN_CAPACITY || g->capacity > KSHM_RING_MAX_CAPACITY)
		return 0;
	if (g->capacity & (g->capacity - 1))
		return 0;
	if (!g->count || g->count > KSHM_RING_MAX_COUNT)
		return 0;
	if (g->flags & ~(kshm_u32)KSHM_RING_TO_USER || g->reserved)
		return 0;
	if (g->offset % KSHM_RING_PAGE || g->offset > length)
		return 0;
	return g->count * KSHM_RING_STRIDE(g->capacity) <= length - g->offset;
}

static inline int kshm_ring_group_unused(const struct kshm_ring_group *g)
{
	return !g->offset && !g->capacity && !g->count && !g->flags && !g->reserved;
}

/* True if no two of the (valid) groups share a byte. */
static inline int kshm_ring_groups_apart(const struct kshm_ring_group *a,
					 const struct kshm_ring_group *b)
{
	return a->offset + a->count * KSHM_RING_STRIDE(a->capacity) <= b->offset ||
	       b->offset + b->count * KSHM_RING_STRIDE(b->capacity) <= a->offset;
}

/*
 * True if every entry of a share's ring table is unused or valid and no two
 * rings overlap. What the kit asks of SHARE's arguments.
 */
static inline int kshm_ring_table_valid(const struct kshm_ring_group *table, kshm_u32 entries,
					kshm_u64 length)
{
	kshm_u32 i, j;

	for (i = 0; i < entries; i++) {
		if (kshm_ring_group_unused(&table[i]))
			continue;
		if (!kshm_ring_group_valid(&table[i], length))
			return 0;
		for (j = 0; j < i; j++) {
			if (!kshm_ring_group_unused(&table[j]) &&
			    !kshm_ring_groups_apart(&table[i], &table[j]))
				return 0;
		}
	}
	return 1;
}

static inline kshm_u64 kshm_ring_offset(const struct kshm_ring_group *g, kshm_u32 index)
{
	return g->offset + index * KSHM_RING_STRIDE(g->capacity);
}

static inline struct kshm_ring_control KSHM_SHARED *
kshm_ring_control(void KSHM_SHARED *share, const struct kshm_ring_group *g, kshm_u32 index)
{
	return (struct kshm_ring_control KSHM_SHARED *)((unsigned char KSHM_SHARED *)share +
							kshm_ring_offset(g, index));
}

/* Make all rings of a valid group empty. The kit calls it before share(). */
static inline void kshm_ring_format(void KSHM_SHARED *share, const struct kshm_ring_group *g)
{
	kshm_u32 i, j;

	for (i = 0; i < g->count; i++) {
		struct kshm_ring_control KSHM_SHARED *c = kshm_ring_control(share, g, i);
		kshm_u64 KSHM_SHARED *word = (kshm_u64 KSHM_SHARED *)c;

		for (j = 0; j < KSHM_RING_CONTROL / sizeof(*word); j++)
			kshm_write(&word[j], 0);
		kshm_write(&c->version, KSHM_RING_VERSION);
		kshm_write(&c->capacity, g->capacity);
		kshm_write(&c->flags, g->flags);
		kshm_write(&c->index, i);
		kshm_write(&c->count, g->count);
		kshm_write(&c->offset, kshm_ring_offset(g, i));
		kshm_write(&c->magic, KSHM_RING_MAGIC);
	}
}

static inline void kshm_ring_init(struct kshm_ring *r, void KSHM_SHARED *share,
				  const struct kshm_ring_group *g, kshm_u32 index)
{
	struct kshm_ring_control KSHM_SHARED *c = kshm_ring_control(share, g, index);

	r->data = (unsigned char KSHM_SHARED *)c + KSHM_RING_CONTROL;
	r->capacity = g->capacity;
	r->offset = kshm_ring_offset(g, index);
	r->own = &c->producer;
	r->other = &c->consumer;
	r->show = &c->producer_show;
	if (r->to_producer) {
		r->own = &c->consumer;
		r->other = &c->producer;
		r->show = &c->consumer_show;
	}
}

/*
 * Attach to ring number index of a valid group. g is the kit's own copy of
 * SHARE's arguments, never the share's header page. The ring is new: both
 * positions are 0.
 */
static inline void kshm_producer_init(struct kshm_producer *p, void KSHM_SHARED *share,
				      const struct kshm_ring_group *g, kshm_u32 index)
{
	*p = (struct kshm_producer){ .limit = g->capacity };
	kshm_ring_init(&p->ring, share, g, index);
}

static inline void kshm_consumer_init(struct kshm_consumer *c, void KSHM_SHARED *share,
				      const struct kshm_ring_group *g, kshm_u32 index)
{
	*c = (struct kshm_consumer){ .ring.to_producer = 1 };
	kshm_ring_init(&c->ring, share, g, index);
}

/* Both sides. */

/*
 * The end of a ring. Nothing more is published, and since a dead producer has
 * no space and a dead consumer no records, the fast paths need no check.
 */
static inline void kshm_ring_corrupt(struct kshm_ring *r, kshm_u32 why, kshm_u64 offset)
{
	if (r->corrupt_why)
		return;
	r->corrupt_why = why;
	r->corrupt_offset = r->offset + offset;
}

/*
 * Fetch the other side's position. True if it is good; then it is in r->peer.
 * It lies between the last good one and reach, which the caller knows.
 *
 * The acquire pairs with the release in kshm_ring_publish() of the other side:
 * its stores to (or loads from) the bytes before the position are done.
 */
static inline int kshm_ring_fetch(struct kshm_ring *r, kshm_u64 reach)
{
	kshm_u64 offset = offsetof(struct kshm_ring_control, consumer.position);
	kshm_u64 seen;

	if (r->to_producer)
		offset = offsetof(struct kshm_ring_control, producer.position);
	if (r->corrupt_why)
		return 0;
	seen = kshm_read_acquire(&r->other->position);
	if (seen % KSHM_RECORD_ALIGN)
		kshm_ring_corrupt(r, KSHM_CORRUPT_UNALIGNED, offset);
	else if (seen < r->peer)
		kshm_ring_corrupt(r, KSHM_CORRUPT_BACKWARD, offset);
	else if (seen > reach)
		kshm_ring_corrupt(r, KSHM_CORRUPT_BEYOND, offset);
	if (r->corrupt_why)
		return 0;
	r->peer = seen;
	return 1;
}

static inline void kshm_ring_saw(struct kshm_ring *r, kshm_u64 bytes)
{
	if (bytes > r->counters.high_water)
		r->counters.high_water = bytes;
}

/*
 * Let the other side see our position. Returns 1 if it sleeps and has not been
 * rung for since it said so: the caller must kick it, or notify.
 *
 * Publish, full barrier, look at need_wakeup: pairs with the full barrier in
 * kshm_ring_arm() of the other side, which arms and then looks at our
 * position. One of the two sees the other.
 */
static inline int kshm_ring_publish(struct kshm_ring *r)
{
	kshm_u64 armed;

	if (r->published == r->position || r->corrupt_why)
		return 0;
	r->published = r->position;
	kshm_publish(&r->own->position, r->position);
	armed = kshm_read(&r->other->need_wakeup);
	if (!(armed & 1) || armed == r->answered) {
		r->counters.suppressed++;
		return 0;
	}
	r->answered = armed;
	r->counters.wakes++;
	return 1;
}

/*
 * Say that we are about to sleep. The number is odd while armed and new each
 * time, so that the other side rings once for each time. The caller must look
 * at the ring again before it sleeps; the full barrier in here pairs with the
 * one in kshm_ring_publish() of the other side.
 */
static inline void kshm_ring_arm(struct kshm_ring *r)
{
	r->armed += 1;
	kshm_publish(&r->own->need_wakeup, r->armed);
}

static inline void kshm_ring_disarm(struct kshm_ring *r)
{
	r->armed += 1;
	kshm_write(&r->own->need_wakeup, r->armed);
}

/* The caller has slept for ns; found says whether it was for something. */
static inline void kshm_ring_slept(struct kshm_ring *r, kshm_u64 ns, int found)
{
	r->counters.sleeps++;
	if (!found)
		r->counters.spurious++;
	if (ns > r->counters.stall_ns)
		r->counters.stall_ns = ns;
}

/*
 * After a sleep of ns: disarm, and count it. It was for nothing if the other
 * side has published nothing since the look before it; that word is judged
 * when it is used.
 */
static inline void kshm_ring_woke(struct kshm_ring *r, kshm_u64 ns)
{
	kshm_ring_disarm(r);
	kshm_ring_slept(r, ns, kshm_read(&r->other->position) != r->peer);
}

/*
 * Copy the counters to the statistics page, as often as the caller likes. A
 * producer has kshm_producer_show().
 */
static inline void kshm_ring_show(struct kshm_ring *r)
{
	kshm_write(&r->show->records, r->counters.records);
	kshm_write(&r->show->bytes, r->counters.bytes);
	kshm_write(&r->show->drops, r->counters.drops);
	kshm_write(&r->show->high_water, r->counters.high_water);
	kshm_write(&r->show->wakes, r->counters.wakes);
	kshm_write(&r->show->suppressed, r->counters.suppressed);
	kshm_write(&r->show->sleeps, r->counters.sleeps);
	kshm_write(&r->show->spurious, r->counters.spurious);
	kshm_write(&r->show->stall_ns, r->counters.stall_ns);
}

/*
 * Add what this side has counted to a sum over rings, as STATS answers it:
 * from private memory, whatever the statistics page says. May run beside the
 * side itself, then each counter is one of its latest values. A producer has
 * kshm_producer_count().
 */
static inline void kshm_ring_count(const struct kshm_ring *r, struct kshm_ring_counters *sum)
{
	kshm_u64 high_water = kshm_read(&r->counters.high_water);
	kshm_u64 stall_ns = kshm_read(&r->counters.stall_ns);

	sum->records += kshm_read(&r->counters.records);
	sum->bytes += kshm_read(&r->counters.bytes);
	sum->drops += kshm_read(&r->counters.drops);
	sum->wakes += kshm_read(&r->counters.wakes);
	sum->suppressed += kshm_read(&r->counters.suppressed);
	sum->sleeps += kshm_read(&r->counters.sleeps);
	sum->spurious += kshm_read(&r->counters.spurious);
	if (high_water > sum->high_water)
		sum->high_water = high_water;
	if (stall_ns > sum->stall_ns)
		sum->stall_ns = stall_ns;
}

/* The producer. */

/*
 * A section: nothing else may touch the producer. Whoever interrupts one, as
 * an NMI does, finds it busy and stays out; whoever interrupts just before it
 * has left again when it begins. One CPU alone is meant, so the compiler's
 * order is enough.
 */
static inline int kshm_producer_enter(struct kshm_producer *p)
{
#if KSHM_RING_NESTED
	if (kshm_read(&p->busy))
		return 0;
	kshm_write(&p->busy, 1);
	kshm_barrier();
#else
	if (p->busy)
		return 0;
	p->busy = 1;
#endif
	return 1;
}

static inline void kshm_producer_leave(struct kshm_producer *p)
{
#if KSHM_RING_NESTED
	kshm_barrier();
	kshm_write(&p->busy, 0);
#else
	p->busy = 0;
#endif
}

/* True if there are bytes free at the producer's position. Looks again. */
static inline int kshm_producer_room(struct kshm_producer *p, kshm_u64 bytes)
{
	struct kshm_ring *r = &p->ring;

	if (p->limit - r->position >= bytes)
		return 1;
	if (!kshm_ring_fetch(r, r->published)) {
		p->limit = r->position;
		return 0;
	}
	p->limit = r->peer + r->capacity;
	kshm_ring_saw(r, r->position - r->peer);
	return p->limit - r->position >= bytes;
}

/* Bytes to skip so that a record of size bytes does not wrap: often 0. */
static inline kshm_u64 kshm_producer_skip(const struct kshm_producer *p, kshm_u64 size)
{
	kshm_u64 rest = p->ring.capacity - (p->ring.position & (p->ring.capacity - 1));

	return size > rest ? rest : 0;
}

/*
 * Ask for the lines that come after the next few records. The full barrier of
 * publish waits until all stores are visible: a line that is already here
 * makes that short.
 * Only known space: the consumer is done with those lines.
 */
static inline void kshm_producer_prefetch(struct kshm_producer *p, kshm_u64 size)
{
#ifdef kshm_prefetchw
	struct kshm_ring *r = &p->ring;
	kshm_u64 end = r->position + size + KSHM_RING_AHEAD;

	if (end > p->limit)
		return;
	if (p->ahead < r->position)
		p->ahead = r->position;
	for (; p->ahead < end; p->ahead += KSHM_RING_LINE / 2)
		kshm_prefetchw(&r->data[p->ahead & (r->capacity - 1)]);
#else
	(void)p;
	(void)size;
#endif
}

/*
 * Space for a record of length bytes, to be filled in and committed; NULL if
 * there is none now, if length is above KSHM_RECORD_MAX(capacity), if the ring
 * is corrupt, or if this context has interrupted a section. A caller that
 * gives the record up then says so with kshm_producer_drop(). Success enters
 * a section, which commit or cancel leaves.
 */
static inline void KSHM_SHARED *kshm_producer_reserve(struct kshm_producer *p, kshm_u32 length)
{
	kshm_u64 size = KSHM_RECORD_SIZE(length);
	struct kshm_ring *r = &p->ring;
	kshm_u64 skip;

	if (!kshm_producer_enter(p))
		return NULL;
	skip = kshm_producer_skip(p, size);
	if (length > KSHM_RECORD_MAX(r->capacity) || !kshm_producer_room(p, skip + size)) {
		kshm_producer_leave(p);
		return NULL;
	}
	p->skip = skip;
	p->reserved = length;
	kshm_producer_prefetch(p, size);
	return r->data + ((r->position + skip) & (r->capacity - 1)) + KSHM_RECORD_HEADER;
}

/* Give the reserved space back: there will be no record. */
static inline void kshm_producer_cancel(struct kshm_producer *p)
{
	kshm_producer_leave(p);
}

/*
 * Make the first length bytes of the reserved space a record. It is seen by
 * the consumer after the next flush. Returns 0, or -1 and no record if length
 * is more than was reserved.
 */
static inline int kshm_producer_commit(struct kshm_producer *p, kshm_u32 length)
{
	struct kshm_ring *r = &p->ring;
	kshm_u64 at = r->position & (r->capacity - 1);

	if (!p->busy || length > p->reserved) {
		kshm_producer_leave(p);
		return -1;
	}
	if (p->skip) {
		kshm_write((kshm_u64 KSHM_SHARED *)(r->data + at),
			   KSHM_RECORD_WORD(KSHM_RECORD_SKIP, p->skip - KSHM_RECORD_HEADER));
		at = 0;
	}
	kshm_write((kshm_u64 KSHM_SHARED *)(r->data + at),
		   KSHM_RECORD_WORD(KSHM_RECORD_DATA, length));
	r->position += p->skip + KSHM_RECORD_SIZE(length);
	r->counters.records++;
	r->counters.bytes += length;
	kshm_producer_leave(p);
	return 0;
}

/*
 * Publish all committed records. Returns 1 if the consumer must be woken. In
 * an interrupted section it does nothing: the interrupted context will flush.
 */
static inline int kshm_producer_flush(struct kshm_producer *p)
{
	int wake;

	if (!KSHM_RING_NESTED)
		return p->busy ? 0 : kshm_ring_publish(&p->ring);
	if (!kshm_producer_enter(p))
		return 0;
	wake = kshm_ring_publish(&p->ring);
	kshm_producer_leave(p);
	return wake;
}

/*
 * The caller gives a record up: count it. Who has interrupted a section may be
 * interrupted itself, as an exception is by an NMI.
 */
static inline void kshm_producer_drop(struct kshm_producer *p)
{
	if (!kshm_producer_enter(p)) {
		kshm_increment(&p->nested);
		return;
	}
	p->ring.counters.drops++;
	kshm_producer_leave(p);
}

/* All records given up. */
static inline kshm_u64 kshm_producer_drops(const struct kshm_producer *p)
{
	return p->ring.counters.drops + p->nested;
}

/* kshm_ring_count() of a producer. */
static inline void kshm_producer_count(const struct kshm_producer *p,
				       struct kshm_ring_counters *sum)
{
	kshm_ring_count(&p->ring, sum);
	sum->drops += kshm_read(&p->nested);
}

/* Copy the counters to the statistics page. */
static inline void kshm_producer_show(struct kshm_producer *p)
{
	kshm_ring_show(&p->ring);
	kshm_write(&p->ring.show->drops, kshm_producer_drops(p));
}

/*
 * Promise that every record committed from now on has a timestamp of at least
 * ns. Where the producer's sections are, with all records flushed. The release
 * pairs with the acquire of the watermark in the merging consumer, which then
 * looks for records: it sees all that came before the promise.
 */
static inline void kshm_producer_watermark(struct kshm_producer *p, kshm_u64 ns)
{
	if (!p->ring.corrupt_why && p->ring.published == p->ring.position)
		kshm_publish(&p->ring.own->watermark, ns);
}

/*
 * Arm, to sleep until space is freed. Returns 1 if the caller may sleep: all
 * is flushed and there is still no room for a record of length bytes. Else it
 * is not armed. After the sleep: kshm_ring_woke().
 */
static inline int kshm_producer_arm(struct kshm_producer *p, kshm_u32 length)
{
	kshm_u64 size = KSHM_RECORD_SIZE(length);
	struct kshm_ring *r = &p->ring;
	int sleep = 0;

	if (r->corrupt_why || !kshm_producer_enter(p))
		return 0;
	if (r->published == r->position) {
		kshm_ring_arm(r);
		sleep = !kshm_producer_room(p, kshm_producer_skip(p, size) + size) &&
			!r->corrupt_why;
		if (!sleep)
			kshm_ring_disarm(r);
	}
	kshm_producer_leave(p);
	return sleep;
}

/* The consumer. */

/* True if there are records at the consumer's position. Looks again. */
static inline int kshm_consumer_ready(struct kshm_consumer *c)
{
	struct kshm_ring *r = &c->ring;

	if (r->position != r->peer)
		return !r->corrupt_why;
	if (!kshm_ring_fetch(r, r->published + r->capacity))
		return 0;
	kshm_ring_saw(r, r->peer - r->position);
	return r->position != r->peer;
}

/*
 * What is wrong with a header word, of a record that starts at offset at of
 * the data with left published bytes from there on; KSHM_CORRUPT_NONE if it
 * can be used.
 */
static inline kshm_u32 kshm_record_check(kshm_u64 word, kshm_u64 at, kshm_u64 left,
					 kshm_u64 capacity)
{
	kshm_u64 kind = word >> 32;
	kshm_u64 length = word & 0xffffffff;
	kshm_u64 size = KSHM_RECORD_SIZE(length);

	if (kind != KSHM_RECORD_DATA && kind != KSHM_RECORD_SKIP)
		return KSHM_CORRUPT_KIND;
	if (length > KSHM_RECORD_MAX(capacity))
		return KSHM_CORRUPT_LENGTH;
	if (size > capacity - at)
		return KSHM_CORRUPT_WRAP;
	if (size > left)
		return KSHM_CORRUPT_UNPUBLISHED;
	if (kind == KSHM_RECORD_SKIP && (!at || at + length + KSHM_RECORD_HEADER != capacity))
		return KSHM_CORRUPT_SKIP;
	return KSHM_CORRUPT_NONE;
}

/*
 * The next record and its length; NULL if there is none or the ring is
 * corrupt. The same one again until release. The payload stays in the share:
 * a hostile producer can change it while it is read.
 */
static inline const void KSHM_SHARED *kshm_consumer_next(struct kshm_consumer *c, kshm_u32 *length)
{
	struct kshm_ring *r = &c->ring;
	int turn;

	/* The same header may be another one by now: forget what it said. */
	c->held = 0;
	/* A skip ends at offset 0, where another one is corrupt: two turns. */
	for (turn = 0; turn < 2 && kshm_consumer_ready(c); turn++) {
		kshm_u64 at = r->position & (r->capacity - 1);
		kshm_u64 word = kshm_read((kshm_u64 KSHM_SHARED *)(r->data + at));
		kshm_u32 why = kshm_record_check(word, at, r->peer - r->position, r->capacity);

		if (why) {
			kshm_ring_corrupt(r, why, KSHM_RING_CONTROL + at);
			return NULL;
		}
		*length = word & 0xffffffff;
		if (word >> 32 == KSHM_RECORD_DATA) {
			c->held = KSHM_RECORD_SIZE(*length);
			c->payload = *length;
			return r->data + at + KSHM_RECORD_HEADER;
		}
		r->position += KSHM_RECORD_SIZE(*length);
	}
	return NULL;
}

/*
 * For a consumer that spins for one record, between two calls of next that
 * found none: the record's line then comes together with the position's and
 * not after it, which shortens a round trip. In a stream of unbatched records
 * it takes lines away from a producer that still writes them.
 */
static inline void kshm_consumer_expect(struct kshm_consumer *c)
{
#ifdef kshm_prefetch
	kshm_prefetch(&c->ring.data[c->ring.position & (c->ring.capacity - 1)]);
#else
	(void)c;
#endif
}

/* Publish all released space. Returns 1 if the producer must be woken. */
static inline int kshm_consumer_flush(struct kshm_consumer *c)
{
	return kshm_ring_publish(&c->ring);
}

/*
 * Give the record of the last next back. The space is published when all known
 * records are done or a quarter of the ring is free, so that the line with the
 * position moves seldom. Returns 1 if the producer must be woken.
 */
static inline int kshm_consumer_release(struct kshm_consumer *c)
{
	struct kshm_ring *r = &c->ring;

	if (!c->held)
		return 0;
	r->position += c->held;
	c->held = 0;
	r->counters.records++;
	r->counters.bytes += c->payload;
	if (r->position != r->peer && r->position - r->published < r->capacity / 4)
		return 0;
	return kshm_ring_publish(r);
}

/*
 * Arm, to sleep until records come. Returns 1 if the caller may sleep: there
 * is still none. Else it is not armed. After the sleep: kshm_ring_woke().
 */
static inline int kshm_consumer_arm(struct kshm_consumer *c)
{
	struct kshm_ring *r = &c->ring;

	if (r->corrupt_why)
		return 0;
	kshm_ring_arm(r);
	if (kshm_consumer_ready(c) || r->corrupt_why) {
		kshm_ring_disarm(r);
		return 0;
	}
	return 1;
}

#endif /* KSHM_RING_H */
