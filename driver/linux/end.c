// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The end of a share, in two steps. Whoever takes the reason away from
 * KSHM_LIVE has begun it: DONE, the last close, the end of the address space,
 * removal of the device, in their own task, or a revoke, in any context, which
 * leaves the second step to a worker. Everybody else waits until it is over.
 *
 * The end has a reference of its own, which SHARE takes before anybody can begin
 * it: the last close waits only so long for the end, and whoever has begun one
 * may be held up, or its irq_work be late, for longer.
 */
#include <linux/ktime.h>
#include <linux/vmalloc.h>
#include "internal.h"

#define STOP_PATIENCE_MS 5000

bool kshm_begin_end(struct kshm_session *ses, enum kshm_reason reason)
{
	if (atomic_cmpxchg(&ses->reason, KSHM_LIVE, reason) != KSHM_LIVE)
		return false;
	kshm_gate_shut(&ses->calls);
	kshm_gate_shut(&ses->users);
	return true;
}

static void stop_driver(struct kshm_session *ses)
{
	const struct kshm_driver *driver = ses->share.driver;
	ktime_t begin = ktime_get();

	driver->stop(&ses->share, atomic_read(&ses->reason));
	if (ktime_ms_delta(ktime_get(), begin) > STOP_PATIENCE_MS)
		pr_warn("kshm: stop() of %s took more than %d ms\n", driver->name,
			STOP_PATIENCE_MS);
}

static void unlink_session(struct kshm_session *ses)
{
	struct kshm_device *device = ses->open->device;

	spin_lock(&device->lock);
	list_del_init(&ses->of_device);
	spin_unlock(&device->lock);
	spin_lock(&ses->owner->lock);
	list_del_init(&ses->of_owner);
	spin_unlock(&ses->owner->lock);
}

/*
 * Gives the memory back, and the end's reference: a caller that looks at the
 * session afterwards has one of its own. May sleep; called once, by whoever
 * began the end.
 */
void kshm_finish_end(struct kshm_session *ses)
{
	kshm_gate_drain(&ses->calls, "a kick");
	if (READ_ONCE(ses->queued))
		cancel_work_sync(&ses->work);
	if (ses->accepted && ses->share.driver->stop)
		stop_driver(ses);
	kshm_gate_drain(&ses->users, "kshm_exit()");
	if (ses->users.busy)
		irq_work_sync(&ses->idle_work);
	/* On PREEMPT_RT it may wait for a grace period: not for nothing. */
	if (test_bit(KSHM_POKED, &ses->poke))
		irq_work_sync(&ses->poke_work);

	vunmap(ses->share.base);
	kshm_unpin(ses);
	kshm_uncharge(&ses->charge);
	atomic_dec(&ses->open->sessions);
	unlink_session(ses);
	complete_all(&ses->ended);
	wake_up_poll(&ses->wait, KSHM_POLL_EVENT | EPOLLHUP);
	kshm_session_put(ses);
}

/* Ends a live share, or waits for its end: on return it is over. */
void kshm_end(struct kshm_session *ses, enum kshm_reason reason)
{
	if (kshm_begin_end(ses, reason))
		kshm_finish_end(ses);
	else
		wait_for_completion(&ses->ended);
}

/* Begins the end and leaves the rest to a worker. Any context but NMI. */
void kshm_end_in_worker(struct kshm_session *ses, enum kshm_reason reason)
{
	if (kshm_begin_end(ses, reason))
		queue_work(kshm_end_wq, &ses->end_work);
}

static struct kshm_session *first_session(struct list_head *sessions, size_t offset,
					  spinlock_t *lock)
{
	struct kshm_session *ses = NULL;

	spin_lock(lock);
	if (!list_empty(sessions)) {
		ses = (void *)sessions->next - offset;
		kref_get(&ses->kref);
	}
	spin_unlock(lock);
	return ses;
}

/*
 * Ends every share of a list, all at once in workers, so that many slow drivers
 * take no longer than the slowest, and waits until the list is empty. False if
 * that takes longer than patience, in jiffies; they go on ending.
 */
bool kshm_end_all(struct list_head *sessions, size_t offset, spinlock_t *lock,
		  enum kshm_reason reason, long patience)
{
	struct kshm_session *ses;
	struct list_head *at;

	spin_lock(lock);
	list_for_each(at, sessions)
		kshm_end_in_worker((void *)at - offset, reason);
	spin_unlock(lock);
	/* An entry leaves the list before its end is over, so this ends. */
	while (patience && (ses = first_session(sessions, offset, lock))) {
		patience = wait_for_completion_timeout(&ses->ended, patience);
		kshm_session_put(ses);
	}
	return patience;
}
