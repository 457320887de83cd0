// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A share ends with the address space that made it, whoever holds descriptors
 * of it by then: a forked child, a process that was sent one, an io_uring. An
 * mmu_notifier says so, at exit and at exec, before the pages are unmapped, in
 * a context that may sleep. One notifier serves all shares that one open makes
 * in one address space, since registering takes all the locks of an mm.
 */
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include "internal.h"

static atomic_t owners; /* allocated, freed ones excepted */

static struct kshm_owner *owner_of(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct kshm_owner, notifier);
}

static void owner_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct kshm_owner *owner = owner_of(notifier);

	/*
	 * The dying task waits for its shares to end, so that they are gone when
	 * its parent hears of its death; but not for ever for a broken driver:
	 * this is a read section of an SRCU that all notifiers share.
	 */
	if (!kshm_end_all(&owner->sessions, offsetof(struct kshm_session, of_owner),
			  &owner->lock, KSHM_END_EXIT, KSHM_EXIT_PATIENCE))
		pr_warn("kshm: %s leaves shares behind that a driver does not let go\n",
			current->comm);
}

static void owner_free(struct mmu_notifier *notifier)
{
	kfree(owner_of(notifier));
	if (atomic_dec_and_test(&owners))
		wake_up_var(&owners);
}

/*
 * Waits until owner_free(), code of this module, has run for all. Not
 * mmu_notifier_synchronize(): it waits for readers, and not for callbacks.
 */
void kshm_owner_wait(void)
{
	wait_var_event(&owners, !atomic_read(&owners));
	/*
	 * The last one may still be about to return. SRCU runs its callbacks with
	 * softirqs off, which is a read section of RCU.
	 */
	synchronize_rcu();
}

static const struct mmu_notifier_ops owner_ops = {
	.release = owner_release,
	.free_notifier = owner_free,
};

static struct kshm_owner *owner_new(struct mm_struct *mm)
{
	struct kshm_owner *owner;
	int err;

	owner = kzalloc(sizeof(*owner), GFP_KERNEL_ACCOUNT);
	if (!owner)
		return ERR_PTR(-ENOMEM);
	refcount_set(&owner->refs, 1);
	spin_lock_init(&owner->lock);
	INIT_LIST_HEAD(&owner->sessions);
	owner->notifier.ops = &owner_ops;
	err = mmu_notifier_register(&owner->notifier, mm);
	if (err) {
		kfree(owner);
		/* Registering gives up on any signal; the call starts again. */
		return ERR_PTR(err == -EINTR ? -ERESTARTSYS : err);
	}
	atomic_inc(&owners);
	return owner;
}

/* The owner for a share that current makes through open, with a reference. */
struct kshm_owner *kshm_owner_get(struct kshm_open *open)
{
	struct kshm_owner *owner, *old = NULL;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	if (mutex_lock_killable(&open->lock))
		return ERR_PTR(-EINTR);
	owner = open->owner;
	if (!owner || owner->notifier.mm != current->mm) {
		owner = owner_new(current->mm);
		if (IS_ERR(owner))
			goto unlock;
		old = open->owner;
		open->owner = owner;
	}
	refcount_inc(&owner->refs);
unlock:
	mutex_unlock(&open->lock);
	if (old)
		kshm_owner_put(old);
	return owner;
}

void kshm_owner_put(struct kshm_owner *owner)
{
	if (refcount_dec_and_test(&owner->refs))
		mmu_notifier_put(&owner->notifier);
}
