// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * loop: a driver with rings. This half sends records back; source_linux.c makes
 * them. A kick queues work(), which serves all rings until each of them sleeps.
 */
#include <linux/ktime.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include "loop_linux.h"
#include "record_linux.h"

#define TURN 64 /* records of one ring before the next ring's turn */

/* A kick costs the program more than some looks cost this side. */
static uint linger_us;
module_param(linger_us, uint, 0644);
MODULE_PARM_DESC(linger_us, "how long to look at rings that are empty before sleeping");

static LIST_HEAD(shares);
static DEFINE_SPINLOCK(shares_lock);

static int loop_share(struct kshm_share *s)
{
	struct loop_state *state = s->priv;
	struct kshm_share_ring *ring;

	for (ring = s->rings; ring < s->rings + s->nrings; ring++) {
		if (ring->flags & KSHM_RING_TO_USER) {
			if (state->outs == LOOP_RINGS)
				return -ERANGE;
			state->out[state->outs++] = ring;
		} else {
			if (state->ins == LOOP_RINGS)
				return -ERANGE;
			state->in[state->ins++] = ring;
		}
	}
	state->share = s;
	spin_lock(&shares_lock);
	list_add_tail(&state->list, &shares);
	spin_unlock(&shares_lock);
	/* Nobody kicks who does not see a ring armed: that is work()'s first. */
	kshm_queue(s);
	return 0;
}

static void loop_stop(struct kshm_share *s, enum kshm_reason reason)
{
	struct loop_state *state = s->priv;

	spin_lock(&shares_lock);
	list_del(&state->list);
	spin_unlock(&shares_lock);
}

static void awake(struct kshm_ring *r)
{
	if (r->armed & 1)
		kshm_ring_disarm(r);
}

/* Counts for each ring that slept how long, and whether for something. */
static void rise(struct loop_state *state)
{
	u64 ns = ktime_get_ns() - state->asleep_ns;
	u32 i;

	if (!state->asleep_ns)
		return;
	for (i = 0; i < state->ins; i++) {
		if (state->in[i]->consumer.ring.armed & 1)
			kshm_ring_woke(&state->in[i]->consumer.ring, ns);
		if (i < state->outs && state->out[i]->producer.ring.armed & 1)
			kshm_ring_woke(&state->out[i]->producer.ring, ns);
	}
}

/* Puts a copy into the way back. False: no space now. */
static bool send_back(struct kshm_producer *out, const void *rec, u32 length)
{
	void *copy;

	if (length > KSHM_RECORD_MAX(out->ring.capacity)) {
		kshm_producer_drop(out);
		return true;
	}
	copy = kshm_producer_reserve(out, length);
	if (!copy)
		return false;
	memcpy(copy, rec, length);
	return !kshm_producer_commit(out, length);
}

/* Shows what the program has to see before this side sleeps. */
static void settle(struct kshm_share *s, struct kshm_consumer *in, struct kshm_producer *out)
{
	int wake = kshm_consumer_flush(in);

	kshm_ring_show(&in->ring);
	if (out) {
		wake |= kshm_producer_flush(out);
		kshm_producer_show(out);
	}
	if (wake)
		kshm_notify(s);
}

/*
 * Serves a ring for a turn. True if it may have more at once; else, if it may,
 * it sleeps until the program kicks, or is corrupt.
 */
static bool serve(struct kshm_share *s, struct kshm_consumer *in, struct kshm_producer *out,
		  bool may_sleep)
{
	struct loop_state *state = s->priv;
	const void *rec = NULL;
	u32 i, length;

	awake(&in->ring);
	if (out)
		awake(&out->ring);
	for (i = 0; i < TURN; i++) {
		rec = kshm_consumer_next(in, &length);
		if (!rec || (out && !send_back(out, rec, length)))
			break;
		if (!out)
			state->sum += loop_sum(rec, length);
		if (kshm_consumer_release(in))
			kshm_notify(s);
	}
	if (i || may_sleep)
		settle(s, in, out);
	if (i == TURN || !may_sleep)
		return i;
	if (rec)
		return !kshm_producer_arm(out, length) && kshm_ring_good(s, &out->ring);
	return !kshm_consumer_arm(in) && kshm_ring_good(s, &in->ring);
}

static bool serve_all(struct kshm_share *s, bool may_sleep)
{
	struct loop_state *state = s->priv;
	bool more = false;
	u32 i;

	for (i = 0; i < state->ins; i++)
		more |= serve(s, &state->in[i]->consumer,
			      i < state->outs ? &state->out[i]->producer : NULL, may_sleep);
	return more;
}

static void loop_work(struct kshm_share *s)
{
	u64 linger_ns = (u64)READ_ONCE(linger_us) * NSEC_PER_USEC;
	u64 since = ktime_get_ns(), now;
	struct loop_state *state = s->priv;

	rise(state);
	while (!kshm_ending(s)) {
		now = ktime_get_ns();
		if (linger_ns && serve_all(s, false))
			since = now;
		else if (now - since >= linger_ns && !serve_all(s, true))
			break;
		cond_resched();
	}
	state->asleep_ns = ktime_get_ns();
}

/* The share with this cookie, entered. */
static struct kshm_share *find(u64 cookie)
{
	struct kshm_share *found = NULL;
	struct loop_state *state;

	spin_lock(&shares_lock);
	list_for_each_entry(state, &shares, list) {
		if (state->share->cookie == cookie && kshm_enter(state->share)) {
			found = state->share;
			break;
		}
	}
	spin_unlock(&shares_lock);
	return found;
}

static ssize_t count(struct kshm_share *s, struct loop_counts *c)
{
	struct loop_state *state = s->priv;
	u32 i;

	*c = (struct loop_counts){ .sum = READ_ONCE(state->sum) };
	for (i = 0; i < state->outs; i++)
		c->drops += kshm_producer_drops(&state->out[i]->producer);
	for (i = 0; i < state->ins; i++)
		c->records += state->in[i]->consumer.ring.counters.records;
	return sizeof(*c);
}

static ssize_t loop_control(u32 code, void *buffer, size_t in, size_t out)
{
	struct loop_produce c;
	struct kshm_share *s;
	ssize_t n = -EINVAL;

	if (code != LOOP_PRODUCE && code != LOOP_COUNTS)
		return -ENOTTY;
	if (in != (code == LOOP_PRODUCE ? sizeof(c) : sizeof(c.cookie)))
		return -EINVAL;
	memcpy(&c, buffer, in);
	s = find(c.cookie);
	if (!s)
		return -ENOENT;
	if (code == LOOP_COUNTS && out >= sizeof(struct loop_counts))
		n = count(s, buffer);
	if (code == LOOP_PRODUCE && out >= sizeof(struct loop_result)) {
		memset(buffer, 0, sizeof(struct loop_result));
		n = loop_produce(s, &c, buffer);
	}
	kshm_exit(s);
	return n;
}

static struct kshm_driver loop = {
	.name = "loop",
	.version = 1,
	.priv_size = sizeof(struct loop_state),
	.max_rings = 2 * LOOP_RINGS,
	.share = loop_share,
	.work = loop_work,
	.stop = loop_stop,
	.control = loop_control,
};
module_kshm_driver(loop);

MODULE_DESCRIPTION("Sample kshm driver: sends the records of rings back, and makes some");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
