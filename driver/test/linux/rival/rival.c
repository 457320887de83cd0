// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * rival: records through read() and write(), for measurements. The producer is
 * loop's and so is the ring, whose other side is in here as well, so that what
 * differs is how records get to the program: rival.h.
 */
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include "kshm_ring.h"
#include "record_linux.h"
#include "rival.h"

#define SPIN_NS 50000 /* before a reader sleeps, as package ring does at most */

struct rival {
	struct kshm_producer producer;
	struct mutex producing;
	struct kshm_consumer consumer ____cacheline_aligned_in_smp;
	struct mutex consuming;
	wait_queue_head_t wait; /* of the consumer */
	void *memory; /* the ring; NULL before RIVAL_CAPACITY */
	void *bounce; /* of write() */
	u64 sum;
	u64 line ____cacheline_aligned_in_smp; /* of the ping-pong */
};

static int rival_open(struct inode *inode, struct file *file)
{
	struct rival *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return -ENOMEM;
	mutex_init(&r->producing);
	mutex_init(&r->consuming);
	init_waitqueue_head(&r->wait);
	file->private_data = r;
	return 0;
}

static int rival_release(struct inode *inode, struct file *file)
{
	struct rival *r = file->private_data;

	vfree(r->memory);
	kvfree(r->bounce);
	kfree(r);
	return 0;
}

static long set_capacity(struct rival *r, u64 capacity)
{
	struct kshm_ring_group g = { .capacity = capacity, .count = 1, .flags = KSHM_RING_TO_USER };
	u64 size = KSHM_RING_STRIDE(capacity);

	if (capacity > KSHM_RING_MAX_CAPACITY || !kshm_ring_group_valid(&g, size))
		return -EINVAL;
	if (r->memory)
		return -EBUSY;
	r->memory = vzalloc(size);
	if (!r->memory)
		return -ENOMEM;
	kshm_ring_format(r->memory, &g);
	kshm_producer_init(&r->producer, r->memory, &g, 0);
	kshm_consumer_init(&r->consumer, r->memory, &g, 0);
	return 0;
}

/* The producer: as in loop's source_linux.c. */

static bool produce(struct rival *r, const struct rival_job *job, u64 sequence, u64 *last_ns)
{
	struct loop_record *rec = kshm_producer_reserve(&r->producer, job->size);

	if (!rec)
		return false;
	loop_fill(rec, job->size, 0, sequence, last_ns);
	kshm_producer_commit(&r->producer, job->size);
	return true;
}

/* Returns how many of count records found space. */
static u32 section(struct rival *r, const struct rival_job *job, u32 count, bool last,
		   u64 sequence, u64 *last_ns)
{
	unsigned long flags;
	int wake = 0;
	u32 n;

	local_irq_save(flags);
	for (n = 0; n < count && produce(r, job, sequence + n, last_ns); n++)
		;
	if (last || n < count)
		wake = kshm_producer_flush(&r->producer);
	local_irq_restore(flags);
	if (wake)
		wake_up(&r->wait);
	return n;
}

static long produce_all(struct rival *r, struct rival_job *job)
{
	unsigned long deadline = jiffies + LOOP_SECONDS * HZ;
	u64 begin = ktime_get_ns(), last_ns = 0, n = 0;
	u32 most = loop_section(job->size ?: 1), left, want, got;

	if (job->size < sizeof(struct loop_record) || job->size % 8 ||
	    job->size > KSHM_RECORD_MAX(r->producer.ring.capacity) ||
	    !job->batch || job->batch > LOOP_MAX_BATCH)
		return -EINVAL;
	while (n < job->records) {
		left = min_t(u64, job->batch, job->records - n);
		do {
			want = min(left, most);
			left -= want;
			got = section(r, job, want, !left, n, &last_ns);
			n += got;
		} while (got == want && left);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, deadline))
			return -ETIMEDOUT;
		cond_resched();
	}
	job->ns = ktime_get_ns() - begin;
	return 0;
}

/* The consumer. */

static int sleep(struct rival *r)
{
	DEFINE_WAIT(wait);
	int err = 0;

	kshm_consumer_flush(&r->consumer);
	prepare_to_wait(&r->wait, &wait, TASK_INTERRUPTIBLE);
	if (kshm_consumer_arm(&r->consumer)) {
		schedule();
		kshm_ring_disarm(&r->consumer.ring);
		if (signal_pending(current))
			err = -ERESTARTSYS;
	}
	finish_wait(&r->wait, &wait);
	return err;
}

/* The next record, waited for: it looks, and then sleeps. */
static const void *next(struct rival *r, u32 *length)
{
	const void *rec = kshm_consumer_next(&r->consumer, length);
	u64 end;
	int err;

	while (!rec) {
		end = ktime_get_ns() + SPIN_NS;
		do {
			cpu_relax();
			rec = kshm_consumer_next(&r->consumer, length);
		} while (!rec && ktime_get_ns() < end);
		if (rec)
			break;
		err = sleep(r);
		if (err)
			return ERR_PTR(err);
		rec = kshm_consumer_next(&r->consumer, length);
	}
	return rec;
}

static ssize_t copy_out(struct rival *r, char __user *to, size_t room)
{
	const void *rec;
	size_t done = 0;
	u32 length;

	rec = next(r, &length);
	if (IS_ERR(rec))
		return PTR_ERR(rec);
	while (rec && room - done >= sizeof(u64) + length) {
		if (put_user((u64)length, (u64 __user *)(to + done)) ||
		    copy_to_user(to + done + sizeof(u64), rec, length))
			return -EFAULT;
		done += sizeof(u64) + length;
		kshm_consumer_release(&r->consumer);
		rec = kshm_consumer_next(&r->consumer, &length);
	}
	return done ?: -EMSGSIZE;
}

static ssize_t rival_read(struct file *file, char __user *to, size_t room, loff_t *at)
{
	struct rival *r = file->private_data;
	ssize_t n;

	if (!READ_ONCE(r->memory))
		return -ENXIO;
	if (mutex_lock_interruptible(&r->consuming))
		return -ERESTARTSYS;
	n = copy_out(r, to, room);
	mutex_unlock(&r->consuming);
	return n;
}

static ssize_t take_in(struct rival *r, const char __user *from, size_t n)
{
	size_t at, length;

	if (!r->bounce)
		r->bounce = kvmalloc(RIVAL_MAX_WRITE, GFP_KERNEL);
	if (!r->bounce)
		return -ENOMEM;
	if (copy_from_user(r->bounce, from, n))
		return -EFAULT;
	for (at = 0; at < n; at += length) {
		if (n - at < sizeof(u64))
			return -EBADMSG;
		length = *(u64 *)(r->bounce + at);
		at += sizeof(u64);
		if (length > n - at || length % sizeof(u64))
			return -EBADMSG;
		r->sum += loop_sum(r->bounce + at, length);
	}
	return n;
}

static ssize_t rival_write(struct file *file, const char __user *from, size_t n, loff_t *at)
{
	struct rival *r = file->private_data;
	ssize_t done;

	if (n > RIVAL_MAX_WRITE)
		return -EMSGSIZE;
	if (mutex_lock_interruptible(&r->producing))
		return -ERESTARTSYS;
	done = take_in(r, from, n);
	mutex_unlock(&r->producing);
	return done;
}

static long consume_all(struct rival *r, struct rival_job *job)
{
	u64 begin = 0, sum = 0, n;
	const void *rec;
	u32 length;

	for (n = 0; n < job->records; n++) {
		rec = next(r, &length);
		if (IS_ERR(rec))
			return -EINTR;
		if (!n)
			begin = ktime_get_ns();
		sum += loop_sum(rec, length);
		kshm_consumer_release(&r->consumer);
	}
	job->ns = ktime_get_ns() - begin;
	r->sum += sum;
	return 0;
}

/* The line is odd when it is the second side's turn. */
static long ping(struct rival *r, struct rival_job *job)
{
	unsigned long deadline = jiffies + LOOP_SECONDS * HZ;
	u64 mine = job->size == 2, begin = ktime_get_ns(), n, seen;

	for (n = 0; n < job->records; n++) {
		while (((seen = READ_ONCE(r->line)) & 1) != mine) {
			cpu_relax();
			if (time_after(jiffies, deadline))
				return -ETIMEDOUT;
		}
		WRITE_ONCE(r->line, seen + 1);
		if (!n)
			begin = ktime_get_ns();
	}
	job->ns = ktime_get_ns() - begin;
	return 0;
}

static long on_job(struct rival *r, unsigned int code, struct rival_job *job)
{
	struct mutex *lock = code == RIVAL_PRODUCE ? &r->producing : &r->consuming;
	long err;

	if (code == RIVAL_PING)
		return ping(r, job);
	if (!READ_ONCE(r->memory))
		return -ENXIO;
	if (mutex_lock_interruptible(lock))
		return -EINTR;
	err = code == RIVAL_PRODUCE ? produce_all(r, job) : consume_all(r, job);
	mutex_unlock(lock);
	return err;
}

static long rival_ioctl(struct file *file, unsigned int code, unsigned long arg)
{
	struct rival *r = file->private_data;
	void __user *user = (void __user *)arg;
	struct rival_job job;
	u64 capacity;
	long err;

	switch (code) {
	case RIVAL_CAPACITY:
		if (copy_from_user(&capacity, user, sizeof(capacity)))
			return -EFAULT;
		mutex_lock(&r->producing);
		err = set_capacity(r, capacity);
		mutex_unlock(&r->producing);
		return err;
	case RIVAL_PRODUCE:
	case RIVAL_CONSUME:
	case RIVAL_PING:
		if (copy_from_user(&job, user, sizeof(job)))
			return -EFAULT;
		err = on_job(r, code, &job);
		if (!err && copy_to_user(user, &job, sizeof(job)))
			err = -EFAULT;
		return err;
	}
	return -ENOTTY;
}

static const struct file_operations rival_fops = {
	.owner = THIS_MODULE,
	.open = rival_open,
	.release = rival_release,
	.read = rival_read,
	.write = rival_write,
	.unlocked_ioctl = rival_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice rival = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kshm-rival",
	.fops = &rival_fops,
	.mode = 0600,
};
module_misc_device(rival);

MODULE_DESCRIPTION("Records through read() and write(), to be measured beside kshm");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
