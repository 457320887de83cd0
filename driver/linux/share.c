// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * SHARE. The descriptor it returns is the share, as the pended request is on
 * Windows: nothing can fail once it is installed, so everything that can comes
 * before, and each step is undone by the label named after it.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include "internal.h"

static int check_args(struct kshm_open *open, const struct kshm_share_args *a)
{
	const struct kshm_info *info = &open->device->info;
	u64 end;

	if (a->flags || a->reserved || a->event)
		return -EINVAL;
	if (a->access != KSHM_ACCESS_READ &&
	    a->access != (KSHM_ACCESS_READ | KSHM_ACCESS_WRITE))
		return -EINVAL;
	if (!a->length || !PAGE_ALIGNED(a->address))
		return -EINVAL;
	if (check_add_overflow(a->address, a->length, &end) || PAGE_ALIGN(end) < end)
		return -EOVERFLOW;
	if (a->length < info->min_length || a->length > kshm_max_length() ||
	    (info->max_length && a->length > info->max_length))
		return -ERANGE;
	/* Page counts are int in the kernel's own calls. */
	if (a->length >> PAGE_SHIFT >= INT_MAX)
		return -ERANGE;
	return kshm_check_rings(open->device, a);
}

static struct kshm_session *new_session(struct kshm_open *open,
					const struct kshm_share_args *a)
{
	size_t own = ALIGN(sizeof(struct kshm_session), ARCH_KMALLOC_MINALIGN);
	struct kshm_session *ses;

	ses = kzalloc(size_add(own, open->device->priv_size), GFP_KERNEL_ACCOUNT);
	if (!ses)
		return ERR_PTR(-ENOMEM);
	kshm_session_init(ses);
	ses->share.length = a->length;
	ses->share.cookie = a->cookie;
	ses->share.access = a->access;
	ses->share.priv = (void *)ses + own;
	ses->npages = DIV_ROUND_UP_ULL(a->length, PAGE_SIZE);
	kref_get(&open->kref);
	ses->open = open;
	return ses;
}

/*
 * Makes the share live: whoever may end it can find it from here on, and the
 * driver agrees. Inside the device's gate, so that its removal comes either
 * before, and refuses the share, or after, and finds it; inside the share's
 * own, so that an end that begins meanwhile waits for share().
 */
static int start(struct kshm_session *ses)
{
	struct kshm_device *device = ses->open->device;
	int err = 0;

	if (!kshm_gate_enter(&device->calls))
		return -ENODEV;
	kshm_gate_enter(&ses->calls);
	ses->share.driver = device->driver;
	spin_lock(&device->lock);
	list_add_tail(&ses->of_device, &device->sessions);
	spin_unlock(&device->lock);
	spin_lock(&ses->owner->lock);
	list_add_tail(&ses->of_owner, &ses->owner->sessions);
	spin_unlock(&ses->owner->lock);

	if (device->driver->share)
		err = kshm_driver_error(device->driver->share(&ses->share));
	ses->accepted = !err;
	kshm_gate_exit(&ses->calls);
	kshm_gate_exit(&device->calls);
	return err;
}

static int pin_and_map(struct kshm_session *ses, unsigned long address)
{
	u64 begin = ktime_get_ns(), pinned;
	int err;

	err = kshm_charge(&ses->charge, ses->npages);
	if (err)
		return err;
	err = kshm_pin(ses, address);
	if (err)
		goto uncharge;
	pinned = ktime_get_ns();
	err = kshm_map(ses);
	if (err)
		goto unpin;
	ses->pin_ns = pinned - begin;
	ses->map_ns = ktime_get_ns() - pinned;
	return 0;

unpin:
	kshm_unpin(ses);
uncharge:
	kshm_uncharge(&ses->charge);
	return err;
}

static int count_open(struct kshm_open *open)
{
	if (atomic_inc_return(&open->sessions) <= READ_ONCE(kshm_max_open_shares))
		return 0;
	atomic_dec(&open->sessions);
	return -EMFILE;
}

static int new_file(struct kshm_session *ses, int fd)
{
	struct file *file;

	file = anon_inode_getfile("[kshm]", &kshm_session_fops, ses, O_RDWR | O_CLOEXEC);
	if (IS_ERR(file))
		return PTR_ERR(file);
	fd_install(fd, file);
	return fd;
}

long kshm_share(struct kshm_open *open, void __user *arg)
{
	struct kshm_share_args a;
	struct kshm_session *ses;
	int fd, err;

	err = kshm_copy_command(&a, sizeof(a), arg) ?: check_args(open, &a);
	if (err)
		return err;
	/* Asked again where it counts; this spares the work. */
	if (READ_ONCE(open->device->removed))
		return -ENODEV;
	ses = new_session(open, &a);
	if (IS_ERR(ses))
		return PTR_ERR(ses);
	ses->owner = kshm_owner_get(open);
	if (IS_ERR(ses->owner)) {
		err = PTR_ERR(ses->owner);
		ses->owner = NULL;
		goto put_session;
	}
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto put_session;
	}
	err = count_open(open);
	if (err)
		goto put_fd;
	err = pin_and_map(ses, a.address);
	if (err)
		goto uncount_open;
	/* From here on the end of the share undoes what has been done. */
	kref_get(&ses->kref);
	err = kshm_make_rings(ses, &a) ?: start(ses);
	if (err)
		goto end;
	err = new_file(ses, fd);
	if (err < 0)
		goto end;
	return fd;

end:
	kshm_end(ses, KSHM_END_CLOSED);
	goto put_fd;
uncount_open:
	atomic_dec(&open->sessions);
put_fd:
	put_unused_fd(fd);
put_session:
	kshm_session_put(ses);
	return err;
}
