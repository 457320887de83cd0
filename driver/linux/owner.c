// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A share ends with the address space that made it, whoever holds descriptors
 * of it by then: a forked child, a process that was sent one, an io_uring. An
 * mmu_notifier says so, at exit and at exec, before the pages are unmapped, in
 * a context that may sleep. One notifier serves all shares of an address space,
 * through whatever opens: registering takes all the locks of an mm, and notifiers
 * are called one after the other, so that their waits for drivers would add up.
 */
#include <linux/mm.h>
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

static struct mmu_notifier *owner_alloc(struct mm_struct *mm)
{
	struct kshm_owner *owner;

	owner = kzalloc(sizeof(*owner), GFP_KERNEL_ACCOUNT);
	if (!owner)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&owner->lock);
	INIT_LIST_HEAD(&owner->sessions);
	atomic_inc(&owners);
	return &owner->notifier;
}

static const struct mmu_notifier_ops owner_ops = {
	.release = owner_release,
	.alloc_notifier = owner_alloc,
	.free_notifier = owner_free,
};

/*
 * The only owner of an address space, or a new one, with a reference. All
 * references together hold one of the notifier's. An owner without any is new,
 * or its last user is about to give that one back: it lives on by the one got
 * here. The lock keeps two from finding it so.
 */
static struct kshm_owner *owner_of_mm(struct mm_struct *mm)
{
	struct mmu_notifier *notifier;
	struct kshm_owner *owner;

	if (mmap_write_lock_killable(mm))
		return ERR_PTR(-EINTR);
	notifier = mmu_notifier_get_locked(&owner_ops, mm);
	if (IS_ERR(notifier)) {
		owner = ERR_CAST(notifier);
		goto unlock;
	}
	owner = owner_of(notifier);
	if (refcount_inc_not_zero(&owner->refs))
		mmu_notifier_put(notifier);
	else
		refcount_set(&owner->refs, 1);
unlock:
	mmap_write_unlock(mm);
	return owner;
}

/* The one of the latest SHARE through open, with a reference, if it is mm's. */
static struct kshm_owner *owner_of_open(struct kshm_open *open, struct mm_struct *mm)
{
	struct kshm_owner *owner;

	spin_lock(&open->lock);
	owner = open->owner;
	if (owner && owner->notifier.mm == mm)
		refcount_inc(&owner->refs);
	else
		owner = NULL;
	spin_unlock(&open->lock);
	return owner;
}

/* The owner for a share that current makes through open, with a reference. */
struct kshm_owner *kshm_owner_get(struct kshm_open *open)
{
	struct kshm_owner *owner, *old;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	owner = owner_of_open(open, current->mm);
	if (owner)
		return owner;
	owner = owner_of_mm(current->mm);
	/* Registering gives up on any signal; the call starts again. */
	if (IS_ERR(owner))
		return PTR_ERR(owner) == -EINTR ? ERR_PTR(-ERESTARTSYS) : owner;
	refcount_inc(&owner->refs);
	spin_lock(&open->lock);
	old = open->owner;
	open->owner = owner;
	spin_unlock(&open->lock);
	if (old)
		kshm_owner_put(old);
	return owner;
}

void kshm_owner_put(struct kshm_owner *owner)
{
	if (refcount_dec_and_test(&owner->refs))
		mmu_notifier_put(&owner->notifier);
}
