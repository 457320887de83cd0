// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sources of records: tasks, softirqs, hardirqs and NMIs of one CPU, all into
 * the same ring if need be. What makes them one producer is that a record is
 * made with interrupts off; an NMI that comes in between finds the producer
 * busy, drops its record and counts it.
 */
#include <linux/hrtimer.h>
#include <linux/hw_breakpoint.h>
#include <linux/jiffies.h>
#include <linux/perf_event.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include "loop_linux.h"
#include "record_linux.h"

#define TICK_NS 100000 /* between two batches of a timer */

struct source {
	struct kshm_share *share;
	struct kshm_producer *producer;
	u64 *last_ns;
	int cpu;
	struct loop_produce what;
	unsigned long deadline; /* jiffies */
	u64 next; /* record */
	u64 produced, dropped;
	int err;
	struct hrtimer timer;
	struct completion over;
	struct source *nested; /* the NMI's */
	u32 bell; /* writing it makes one */
};

/*
 * A record or a drop, with interrupts off. False, and neither, if the ring is
 * corrupt, or full and the source waits.
 */
static bool produce(struct source *src)
{
	struct loop_record *rec = kshm_producer_reserve(src->producer, src->what.size);

	if (!rec && !kshm_ring_good(src->share, &src->producer->ring)) {
		src->err = -EIO;
		return false;
	}
	if (!rec && src->what.flags & LOOP_WAIT)
		return false;
	if (rec) {
		loop_fill(rec, src->what.size, src->what.source, src->next, src->last_ns);
		if (src->nested)
			WRITE_ONCE(src->bell, 1);
		kshm_producer_commit(src->producer, src->what.size);
		src->produced++;
	} else {
		kshm_producer_drop(src->producer);
		src->dropped++;
	}
	src->next++;
	return true;
}

/*
 * Up to count records at one go, published after the last of a batch or when
 * there are fewer, which is then false.
 */
static bool section(struct source *src, u32 count, bool last)
{
	unsigned long flags;
	int wake = 0;

	local_irq_save(flags);
	if (raw_smp_processor_id() == src->cpu) {
		while (count && src->next < src->what.records && !src->err && produce(src))
			count--;
		if (last || count)
			wake = kshm_producer_flush(src->producer);
	} else {
		src->err = -EXDEV;
	}
	local_irq_restore(flags);
	if (wake)
		kshm_notify(src->share);
	return !count;
}

/* One batch. False when there is nothing more to do. */
static bool produce_batch(struct source *src)
{
	u32 most = loop_section(src->what.size), left = src->what.batch, n;

	do {
		n = min(left, most);
		left -= n;
	} while (section(src, n, !left) && left);
	return src->next < src->what.records && !src->err && !kshm_ending(src->share) &&
	       time_before(jiffies, src->deadline);
}

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	struct source *src = container_of(timer, struct source, timer);

	if (produce_batch(src)) {
		hrtimer_forward_now(timer, ns_to_ktime(TICK_NS));
		return HRTIMER_RESTART;
	}
	complete(&src->over);
	return HRTIMER_NORESTART;
}

static void run_timer(struct source *src, enum hrtimer_mode mode)
{
#ifdef HAVE_HRTIMER_SETUP
	hrtimer_setup(&src->timer, tick, CLOCK_MONOTONIC, mode);
#else
	hrtimer_init(&src->timer, CLOCK_MONOTONIC, mode);
	src->timer.function = tick;
#endif
	hrtimer_start(&src->timer, ns_to_ktime(TICK_NS), mode);
	/* Cancelled even after its last run: it may still be returning. */
	if (wait_for_completion_killable(&src->over))
		src->err = -EINTR;
	hrtimer_cancel(&src->timer);
}

static void run_task(struct source *src)
{
	while (produce_batch(src)) {
		if (fatal_signal_pending(current)) {
			src->err = -EINTR;
			return;
		}
		cond_resched();
	}
}

#ifdef CONFIG_HAVE_HW_BREAKPOINT
static void nmi(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	struct source *src = event->overflow_handler_context;

	section(src->nested, 1, true);
	kshm_notify(src->share);
}

/*
 * A breakpoint on bell stands in for an NMI: its exception comes in spite of
 * interrupts being off, at the worst moment of each record.
 */
static void run_nmi(struct source *src, struct loop_result *r)
{
	struct perf_event *__percpu *breakpoint;
	struct perf_event_attr attr;
	struct source nested = *src;

	nested.what.source |= LOOP_NESTED;
	nested.what.flags = 0;
	src->nested = &nested;
	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)&src->bell;
	attr.bp_len = HW_BREAKPOINT_LEN_4;
	attr.bp_type = HW_BREAKPOINT_W;
	breakpoint = register_wide_hw_breakpoint(&attr, nmi, src);
	if (IS_ERR_OR_NULL((void *)(unsigned long)breakpoint)) {
		src->err = -EOPNOTSUPP;
		return;
	}
	run_task(src);
	unregister_wide_hw_breakpoint(breakpoint);
	r->nested = nested.next;
	r->nested_dropped = nested.dropped;
}
#else
static void run_nmi(struct source *src, struct loop_result *r)
{
	src->err = -EOPNOTSUPP;
}
#endif

static void run(struct source *src, struct loop_result *r)
{
	u64 begin = ktime_get_ns();

	switch (src->what.context) {
	case LOOP_SOFTIRQ:
		run_timer(src, HRTIMER_MODE_REL_PINNED_SOFT);
		break;
	case LOOP_HARDIRQ:
		run_timer(src, HRTIMER_MODE_REL_PINNED_HARD);
		break;
	case LOOP_NMI:
		run_nmi(src, r);
		break;
	default:
		run_task(src);
	}
	r->produced = src->produced;
	r->dropped = src->dropped;
	r->ns = ktime_get_ns() - begin;
}

static int check(const struct loop_state *state, const struct loop_produce *c)
{
	bool timer = c->context == LOOP_SOFTIRQ || c->context == LOOP_HARDIRQ;

	if (c->ring < state->ins || c->ring >= state->outs)
		return -ENOENT;
	if (c->size < sizeof(struct loop_record) || c->size % 8 ||
	    c->size > KSHM_RECORD_MAX(state->out[c->ring]->producer.ring.capacity))
		return -ERANGE;
	if (c->batch > LOOP_MAX_BATCH || c->size > LOOP_MAX_SIZE)
		return -ERANGE;
	/* There it is made at one go, and nothing else runs on the CPU. */
	if (timer && c->batch * c->size > LOOP_MAX_TIMER)
		return -ERANGE;
	if (!c->batch || c->context > LOOP_NMI || c->flags & ~LOOP_WAIT ||
	    c->source >= LOOP_NESTED ||
	    (c->flags && timer))
		return -EINVAL;
	return 0;
}

/*
 * The ring may be quiet from now on: what it makes later is no older than this.
 * In a task: an NMI that came in the middle of a record could not promise that.
 */
static void promise(struct source *src)
{
	unsigned long flags;

	local_irq_save(flags);
	if (raw_smp_processor_id() == src->cpu)
		kshm_producer_watermark(src->producer, loop_now(src->last_ns));
	local_irq_restore(flags);
}

ssize_t loop_produce(struct kshm_share *s, const struct loop_produce *c, struct loop_result *r)
{
	struct loop_state *state = s->priv;
	int cpu = raw_smp_processor_id(), owner, err;
	struct source *src;

	err = check(state, c);
	if (err)
		return err;
	owner = atomic_cmpxchg(&state->cpu[c->ring], 0, cpu + 1);
	if (owner && owner != cpu + 1)
		return -EXDEV;
	src = kzalloc(sizeof(*src), GFP_KERNEL);
	if (!src)
		return -ENOMEM;
	src->share = s;
	src->producer = &state->out[c->ring]->producer;
	src->last_ns = &state->last_ns[c->ring];
	src->cpu = cpu;
	src->what = *c;
	src->deadline = jiffies + LOOP_SECONDS * HZ;
	init_completion(&src->over);
	run(src, r);
	promise(src);
	err = src->err;
	kfree(src);
	return err ?: sizeof(*r);
}
