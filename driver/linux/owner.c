// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A share ends with the address space that made it, whoever holds descriptors
 * of it by then: a forked child, a process that was sent one, an io_uring. An
 * mmu_notifier says so, at exit and at exec, before the pages are unmapped, in
 * a context that may sleep. One notifier serves all shares that one open makes
 * in one address space, since registering takes all the locks of an mm.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "internal.h"

static struct kshm_owner *owner_of(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct kshm_owner, notifier);
}

static void owner_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct kshm_owner *owner = owner_of(notifier);

	kshm_end_all(&owner->sessions, offsetof(struct kshm_session, of_owner),
		     &owner->lock, KSHM_END_EXIT);
}

static void owner_free(struct mmu_notifier *notifier)
{
	kfree(owner_of(notifier));
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
	return owner;
}

/* The owner for a share that current makes through open, with a reference. */
struct kshm_owner *kshm_owner_get(struct kshm_open *open)
{
	struct kshm_owner *owner, *old = NULL;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	mutex_lock(&open->lock);
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
