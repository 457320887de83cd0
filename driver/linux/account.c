// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Who pays for pinned pages: the user who asks, and the same user gets them
 * back, whatever the process's credentials are by then. RLIMIT_MEMLOCK counts
 * as io_uring and AF_XDP count it, in user_struct.locked_vm; CAP_IPC_LOCK is
 * exempt from that. The module's caps hold for everybody.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include "internal.h"

unsigned int kshm_max_open_shares = 4096;
module_param_named(max_open_shares, kshm_max_open_shares, uint, 0644);
MODULE_PARM_DESC(max_open_shares, "live shares per open of a device (4096)");

unsigned int kshm_max_user_shares = 65536;
module_param_named(max_user_shares, kshm_max_user_shares, uint, 0644);
MODULE_PARM_DESC(max_user_shares, "live shares per user over all drivers (65536)");

static ulong max_user_bytes;
module_param(max_user_bytes, ulong, 0644);
MODULE_PARM_DESC(max_user_bytes, "pinned bytes per user over all drivers (0: half of memory)");

static ulong max_length;
module_param(max_length, ulong, 0644);
MODULE_PARM_DESC(max_length, "bytes per share (0: half of memory)");

static u64 half_of_memory(void)
{
	return (u64)totalram_pages() << (PAGE_SHIFT - 1);
}

u64 kshm_max_length(void)
{
	ulong length = READ_ONCE(max_length);

	return length ?: half_of_memory();
}

u64 kshm_max_user_bytes(void)
{
	ulong bytes = READ_ONCE(max_user_bytes);

	return bytes ?: half_of_memory();
}

/* A user with live shares. There are few, so a list will do. */
struct kshm_user {
	struct list_head list;
	struct user_struct *user;
	unsigned long shares;
	unsigned long pages;
};

static LIST_HEAD(users);
static DEFINE_SPINLOCK(users_lock);

static struct kshm_user *user_entry(struct user_struct *user)
{
	struct kshm_user *u;

	list_for_each_entry(u, &users, list)
		if (u->user == user)
			return u;
	return NULL;
}

/*
 * Counts one share against the caps of current's user, whose entry u becomes
 * if there is none yet. -ENOENT: there is none, and u is NULL.
 */
static int count_share(struct kshm_charge *charge, struct kshm_user *u)
{
	struct kshm_user *known;
	int err = 0;

	spin_lock(&users_lock);
	known = user_entry(current_user());
	if (!known && !u) {
		err = -ENOENT;
		goto unlock;
	}
	if (known)
		u = known;
	if (u->shares >= READ_ONCE(kshm_max_user_shares) ||
	    u->pages + charge->pages > kshm_max_user_bytes() >> PAGE_SHIFT) {
		err = -EUSERS;
		goto unlock;
	}
	if (!known)
		list_add(&u->list, &users);
	u->shares++;
	u->pages += charge->pages;
	charge->user = u;
unlock:
	spin_unlock(&users_lock);
	return err;
}

/* The same for a user who may have no share yet. */
static int count_first_share(struct kshm_charge *charge)
{
	struct kshm_user *u;
	int err;

	u = kzalloc(sizeof(*u), GFP_KERNEL_ACCOUNT);
	if (!u)
		return -ENOMEM;
	u->user = get_uid(current_user());
	err = count_share(charge, u);
	if (charge->user != u) {
		free_uid(u->user);
		kfree(u);
	}
	return err;
}

static void uncount_share(struct kshm_charge *charge)
{
	struct kshm_user *u = charge->user;
	bool last;

	spin_lock(&users_lock);
	u->pages -= charge->pages;
	last = !--u->shares;
	if (last)
		list_del(&u->list);
	spin_unlock(&users_lock);
	if (last) {
		free_uid(u->user);
		kfree(u);
	}
	charge->user = NULL;
}

static int lock_pages(struct user_struct *user, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long now = atomic_long_read(&user->locked_vm);

	do {
		if (now + pages > limit)
			return -EDQUOT;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &now, now + pages));
	return 0;
}

/* -EUSERS: a cap of the module; -EDQUOT: RLIMIT_MEMLOCK. */
int kshm_charge(struct kshm_charge *charge, unsigned long pages)
{
	int err;

	charge->pages = pages;
	err = count_share(charge, NULL);
	if (err == -ENOENT)
		err = count_first_share(charge);
	if (err || ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK))
		return err;
	err = lock_pages(charge->user->user, pages);
	if (err)
		uncount_share(charge);
	else
		charge->locked = true;
	return err;
}

void kshm_uncharge(struct kshm_charge *charge)
{
	if (charge->locked)
		atomic_long_sub(charge->pages, &charge->user->user->locked_vm);
	uncount_share(charge);
}
