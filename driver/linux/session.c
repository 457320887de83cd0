// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The share's descriptor: DONE, KICK, STATS, read and poll. */
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "internal.h"

static void session_free(struct kref *kref)
{
	struct kshm_session *ses = container_of(kref, struct kshm_session, kref);

	if (ses->owner)
		kshm_owner_put(ses->owner);
	kshm_open_put(ses->open);
	kvfree(ses->share.rings);
	kfree(ses);
}

void kshm_session_put(struct kshm_session *ses)
{
	kref_put(&ses->kref, session_free);
}

/* Returns the reason with which the share ended, by this DONE or before it. */
static int session_done(struct kshm_session *ses)
{
	if (kshm_begin_end(ses, KSHM_END_DONE))
		kshm_finish_end(ses);
	else if (wait_for_completion_killable(&ses->ended))
		return -EINTR;
	return atomic_read(&ses->reason);
}

static int session_kick(struct kshm_session *ses)
{
	const struct kshm_driver *driver;
	int err = 0;

	if (!kshm_gate_enter(&ses->calls))
		return -ESHUTDOWN;
	driver = ses->share.driver;
	atomic64_inc(&ses->kicks);
	if (driver->kick)
		err = kshm_driver_error(driver->kick(&ses->share));
	else if (driver->work)
		kshm_queue_work(ses);
	else
		err = -EOPNOTSUPP;
	kshm_gate_exit(&ses->calls);
	return err;
}

static int session_stats(struct kshm_session *ses, struct kshm_stats *st, void __user *arg)
{
	bool over = completion_done(&ses->ended);

	*st = (struct kshm_stats){
		.size = st->size,
		.reason = atomic_read(&ses->reason),
		.access = ses->share.access,
		.length = ses->share.length,
		.pinned = over ? 0 : (u64)ses->npages << PAGE_SHIFT,
		.kicks = atomic64_read(&ses->kicks),
		.events = atomic64_read(&ses->events),
		.wakes = atomic64_read(&ses->wakes),
		.pin_ns = ses->pin_ns,
		.map_ns = ses->map_ns,
		.corrupt_offset = READ_ONCE(ses->corrupt_offset),
		.corrupt_why = READ_ONCE(ses->corrupt_why),
	};
	kshm_count_rings(&ses->share, st->rings);
	return kshm_copy_answer(arg, st, sizeof(*st));
}

static long session_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct kshm_session *ses = file->private_data;
	void __user *user = (void __user *)arg;
	struct kshm_share_cmd c;
	struct kshm_stats st;
	int err;

	switch (command) {
	case KSHM_DONE:
	case KSHM_KICK:
		err = kshm_copy_command(&c, sizeof(c), user);
		if (!err && (c.flags || c.share))
			err = -EINVAL;
		if (err)
			return err;
		return command == KSHM_DONE ? session_done(ses) : session_kick(ses);
	case KSHM_STATS:
		err = kshm_copy_grown(&st, KSHM_STATS_1_0, sizeof(st), user);
		if (!err && (st.flags || st.share))
			err = -EINVAL;
		return err ?: session_stats(ses, &st, user);
	}
	return -ENOTTY;
}

/* Is there something to read? Says first that somebody is about to sleep. */
static bool session_ready(struct kshm_session *ses)
{
	/*
	 * Pairs with the barrier in kshm_notify(): either this sees the event
	 * or the notifier sees armed.
	 */
	smp_store_mb(ses->armed, 1);
	return atomic64_read(&ses->events) != READ_ONCE(ses->seen) ||
	       completion_done(&ses->ended);
}

/*
 * Several readers share one count of what has been seen, so an event that one
 * of them took is nothing to the others: they go back to sleep.
 */
static ssize_t session_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct kshm_session *ses = file->private_data;
	u64 events;
	bool over;

	if (count < sizeof(events))
		return -EINVAL;
	for (;;) {
		/* First, so that the last events of an ended share are read. */
		over = completion_done(&ses->ended);
		events = atomic64_read(&ses->events);
		if (events != READ_ONCE(ses->seen))
			break;
		if (over)
			return 0;
		if (session_ready(ses))
			continue;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(ses->wait, session_ready(ses)))
			return -ERESTARTSYS;
	}
	if (put_user(events, (u64 __user *)buf))
		return -EFAULT;
	WRITE_ONCE(ses->seen, events);
	return sizeof(events);
}

static __poll_t session_poll(struct file *file, poll_table *table)
{
	struct kshm_session *ses = file->private_data;

	poll_wait(file, &ses->wait, table);
	if (!session_ready(ses))
		return 0;
	return KSHM_POLL_EVENT | (completion_done(&ses->ended) ? EPOLLHUP : 0);
}

/*
 * Whether this is a program's own close(). Not that of a dying process, whose
 * address space waits once for the ends of all its shares (later than here if
 * somebody, a reader of /proc perhaps, looks at it just then), nor what fput()
 * has put off for a worker, which others need.
 */
static bool closed_by_program(struct kshm_session *ses)
{
	return !(current->flags & (PF_EXITING | PF_KTHREAD)) &&
	       atomic_read(&ses->reason) != KSHM_END_EXIT;
}

/*
 * Waits for the end, so that close() is as good as DONE, but killably and not
 * for ever for a driver.
 */
static int session_release(struct inode *inode, struct file *file)
{
	struct kshm_session *ses = file->private_data;

	kshm_end_in_worker(ses, KSHM_END_CLOSED);
	if (closed_by_program(ses))
		wait_for_completion_killable_timeout(&ses->ended, KSHM_EXIT_PATIENCE);
	kshm_session_put(ses);
	return 0;
}

const struct file_operations kshm_session_fops = {
	.owner = THIS_MODULE,
	.release = session_release,
	.unlocked_ioctl = session_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read = session_read,
	.poll = session_poll,
};
