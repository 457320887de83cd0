/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The kit's own structures. Locks: none is held across a callback, a user
 * access or pinning, and device->lock, open->lock, owner->lock and the one in
 * account.c do not nest.
 */
#ifndef KSHM_INTERNAL_H
#define KSHM_INTERNAL_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mmu_notifier.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "kshm_compat.h"
#include "kshm_kit.h"

/*
 * A gate counts those inside, keeps newcomers out once it is shut, and lets
 * one task wait for the last to leave. Entering and leaving take one atomic
 * operation each, in any context.
 */
struct kshm_gate {
	atomic_t inside; /* INT_MIN is added when it is shut */
	bool busy; /* somebody was inside when it was shut */
	struct completion idle;
};

void kshm_gate_init(struct kshm_gate *gate);
bool kshm_gate_enter(struct kshm_gate *gate);
/* Any context. True for the last to leave a shut gate: it completes idle. */
bool kshm_gate_leave(struct kshm_gate *gate);
/* Leaves and completes; any context where no scheduler lock is held. */
void kshm_gate_exit(struct kshm_gate *gate);
void kshm_gate_shut(struct kshm_gate *gate);
void kshm_gate_drain(struct kshm_gate *gate, const char *what);

/* A registered driver, from registration until the last descriptor closes. */
struct kshm_device {
	struct kref kref;
	struct miscdevice misc;
	struct kshm_info info; /* what programs are told */
	struct kshm_driver *driver; /* gone once calls is shut and drained */
	size_t priv_size; /* the driver's, per share */
	u32 max_rings; /* per share */
	struct kshm_gate calls; /* callbacks that belong to no share */
	int removed; /* set by whoever removes the device */
	struct work_struct unbind;
	spinlock_t lock; /* sessions */
	struct list_head sessions; /* live ones */
};

/* An open of a device. */
struct kshm_open {
	struct kref kref;
	struct kshm_device *device;
	spinlock_t lock; /* owner */
	struct kshm_owner *owner; /* address space of the latest SHARE */
	atomic_t sessions;
};

/* An address space that has shares; see owner.c. */
struct kshm_owner {
	struct mmu_notifier notifier;
	refcount_t refs; /* they hold one of the notifier */
	spinlock_t lock; /* sessions */
	struct list_head sessions;
};

/* What a share has been charged with. */
struct kshm_charge {
	struct kshm_user *user;
	unsigned long pages;
	bool locked; /* RLIMIT_MEMLOCK too */
};

/* Bits of kshm_session.poke: what poke_work() is to do, and that it was used. */
enum { KSHM_POKE_WAKE, KSHM_POKE_REVOKE, KSHM_POKED };

/* What poll() says and wakes for when there is something to read. */
#define KSHM_POLL_EVENT (EPOLLIN | EPOLLRDNORM)

/* A share, from SHARE until its last descriptor closes. */
struct kshm_session {
	struct kshm_share share; /* the driver's view */
	struct kref kref;
	struct kshm_open *open;
	struct kshm_owner *owner;
	struct list_head of_device;
	struct list_head of_owner;

	struct page **pages;
	unsigned long npages;
	struct kshm_charge charge;
	u64 pin_ns, map_ns;

	bool accepted; /* share() agreed; settled inside calls */
	atomic_t reason; /* enum kshm_reason; leaves KSHM_LIVE once */
	struct kshm_gate calls; /* kicks and queueing: shut before stop() */
	struct kshm_gate users; /* kshm_enter(): drained after stop() */
	struct work_struct work; /* the driver's */
	bool queued; /* work has been, once; set inside calls */
	struct work_struct end_work; /* ends a revoked share */
	struct completion ended;
	u64 corrupt_offset;
	u32 corrupt_why;

	struct irq_work poke_work;
	struct irq_work idle_work; /* completes users.idle */
	unsigned long poke;
	wait_queue_head_t wait;
	atomic64_t events; /* raised */
	atomic64_t kicks, wakes;
	u64 seen; /* events that read() has returned */
	int armed; /* a reader is about to sleep */
};

static inline struct kshm_session *kshm_session_of(struct kshm_share *s)
{
	return container_of(s, struct kshm_session, share);
}

/* Drivers' work() may be long; ending somebody's share must not wait for it. */
extern struct workqueue_struct *kshm_wq, *kshm_end_wq;

/* What a driver's callback may answer: 0 or an error that is not the kit's. */
static inline int kshm_driver_error(int err)
{
	return WARN_ON_ONCE(err > 0 || err == -ESHUTDOWN) ? -EIO : err;
}

/* account.c */
int kshm_charge(struct kshm_charge *charge, unsigned long pages);
void kshm_uncharge(struct kshm_charge *charge);
u64 kshm_max_length(void);
u64 kshm_max_user_bytes(void);
extern unsigned int kshm_max_open_shares;
extern unsigned int kshm_max_user_shares;

/* control.c */
int kshm_copy_grown(void *command, size_t oldest, size_t size, void __user *arg);
static inline int kshm_copy_command(void *command, size_t size, void __user *arg)
{
	return kshm_copy_grown(command, size, size, arg); /* as in version 1.0 */
}

int kshm_copy_answer(void __user *arg, void *answer, size_t size);
int kshm_control(struct kshm_device *device, void __user *arg);

/* device.c */
void kshm_device_put(struct kshm_device *device);
void kshm_open_put(struct kshm_open *open);

/* end.c */
#define KSHM_EXIT_PATIENCE (5 * HZ) /* a dying process waits no longer */
bool kshm_begin_end(struct kshm_session *ses, enum kshm_reason reason);
void kshm_finish_end(struct kshm_session *ses);
void kshm_end(struct kshm_session *ses, enum kshm_reason reason);
void kshm_end_in_worker(struct kshm_session *ses, enum kshm_reason reason);
bool kshm_end_all(struct list_head *sessions, size_t offset, spinlock_t *lock,
		  enum kshm_reason reason, long patience);

/* owner.c */
struct kshm_owner *kshm_owner_get(struct kshm_open *open);
void kshm_owner_put(struct kshm_owner *owner);
void kshm_owner_wait(void);

/* pin.c */
int kshm_pin(struct kshm_session *ses, unsigned long address);
int kshm_map(struct kshm_session *ses);
void kshm_unpin(struct kshm_session *ses);

/* kit.c */
void kshm_session_init(struct kshm_session *ses);
void kshm_queue_work(struct kshm_session *ses);

/* ring.c */
int kshm_check_rings(const struct kshm_device *device, const struct kshm_share_args *a);
int kshm_make_rings(struct kshm_session *ses, const struct kshm_share_args *a);
void kshm_count_rings(const struct kshm_share *s, struct kshm_ring_counters sum[2]);

/* session.c */
extern const struct file_operations kshm_session_fops;
void kshm_session_put(struct kshm_session *ses);

/* share.c */
long kshm_share(struct kshm_open *open, void __user *arg);

#endif /* KSHM_INTERNAL_H */
