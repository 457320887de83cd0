// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Device nodes: registration, open, INFO, removal. The node's file operations
 * are the kit's, so open descriptors hold kshm.ko and never a driver: a driver
 * can always be unloaded; what programs still hold then is of no more use.
 */
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include "internal.h"

static void device_free(struct kref *kref)
{
	struct kshm_device *device = container_of(kref, struct kshm_device, kref);

	kfree(device->misc.nodename);
	kfree(device->misc.name);
	kfree(device);
}

void kshm_device_put(struct kshm_device *device)
{
	kref_put(&device->kref, device_free);
}

static void open_free(struct kref *kref)
{
	struct kshm_open *open = container_of(kref, struct kshm_open, kref);

	if (open->owner)
		kshm_owner_put(open->owner);
	kshm_device_put(open->device);
	kfree(open);
}

void kshm_open_put(struct kshm_open *open)
{
	kref_put(&open->kref, open_free);
}

/* misc_open() holds the lock that misc_deregister() takes: device is there. */
static int device_open(struct inode *inode, struct file *file)
{
	struct kshm_device *device =
		container_of(file->private_data, struct kshm_device, misc);
	struct kshm_open *open;

	open = kzalloc(sizeof(*open), GFP_KERNEL_ACCOUNT);
	if (!open)
		return -ENOMEM;
	kref_init(&open->kref);
	spin_lock_init(&open->lock);
	kref_get(&device->kref);
	open->device = device;
	file->private_data = open;
	return nonseekable_open(inode, file);
}

static int device_release(struct inode *inode, struct file *file)
{
	kshm_open_put(file->private_data);
	return 0;
}

static int device_info(struct kshm_device *device, void __user *arg)
{
	const struct kshm_info *own = &device->info;
	struct kshm_info info;
	int err;

	err = kshm_copy_command(&info, sizeof(info), arg);
	if (err)
		return err;
	if (info.flags)
		return -EINVAL;
	if (READ_ONCE(device->removed))
		return -ENODEV;
	info = (struct kshm_info){
		.size = info.size,
		.abi_major = KSHM_ABI_MAJOR,
		.abi_minor = KSHM_ABI_MINOR,
		.features = own->features,
		.min_length = own->min_length,
		.max_length = min_not_zero(own->max_length, kshm_max_length()),
		.max_user_bytes = kshm_max_user_bytes(),
		.max_open_shares = READ_ONCE(kshm_max_open_shares),
		.max_user_shares = READ_ONCE(kshm_max_user_shares),
		.page_size = PAGE_SIZE,
		.driver_version = own->driver_version,
	};
	memcpy(info.driver_name, own->driver_name, sizeof(info.driver_name));
	return kshm_copy_answer(arg, &info, sizeof(info));
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct kshm_open *open = file->private_data;
	void __user *user = (void __user *)arg;

	switch (command) {
	case KSHM_INFO:
		return device_info(open->device, user);
	case KSHM_SHARE:
		return kshm_share(open, user);
	case KSHM_CONTROL:
		return kshm_control(open->device, user);
	}
	return -ENOTTY;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static void end_sessions(struct kshm_device *device, long patience)
{
	kshm_end_all(&device->sessions, offsetof(struct kshm_session, of_device),
		     &device->lock, KSHM_END_GONE, patience);
}

/* From here on no callback of the driver runs, and none ever will. */
static void remove_device(struct kshm_device *device)
{
	if (xchg(&device->removed, 1))
		return;
	misc_deregister(&device->misc);
	kshm_gate_shut(&device->calls);
	/* First, as a callback may go on until it sees that its share ends. */
	end_sessions(device, 0);
	kshm_gate_drain(&device->calls, "a callback");
	end_sessions(device, MAX_SCHEDULE_TIMEOUT);
}

/*
 * /sys/class/misc/kshm-NAME/unbind: whatever is written removes the device as
 * unloading its driver does, to try surprise removal. In a worker, because the
 * file itself goes with the device.
 */
static void unbind_work(struct work_struct *work)
{
	remove_device(container_of(work, struct kshm_device, unbind));
}

static ssize_t unbind_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	struct miscdevice *misc = dev_get_drvdata(dev);

	queue_work(kshm_end_wq, &container_of(misc, struct kshm_device, misc)->unbind);
	return count;
}
static DEVICE_ATTR_WO(unbind);

static struct attribute *device_attrs[] = { &dev_attr_unbind.attr, NULL };
ATTRIBUTE_GROUPS(device);

static bool name_is_good(const char *name)
{
	size_t i;

	for (i = 0; name[i]; i++)
		if (!isascii(name[i]) || (!isalnum(name[i]) && name[i] != '-' && name[i] != '_'))
			return false;
	return i > 0 && i < KSHM_NAME_SIZE;
}

static void describe(struct kshm_info *info, const struct kshm_driver *driver)
{
	info->features = KSHM_FEATURE_SHARE_READ;
	if (driver->control)
		info->features |= KSHM_FEATURE_CONTROL;
	if (driver->max_rings)
		info->features |= KSHM_FEATURE_RINGS;
	info->min_length = driver->min_length ?: 1;
	info->max_length = driver->max_length;
	info->driver_version = driver->version;
	strscpy(info->driver_name, driver->name, sizeof(info->driver_name));
}

int kshm_register_driver(struct kshm_driver *driver)
{
	struct kshm_device *device;
	int err = -ENOMEM;

	if (!driver->name || !name_is_good(driver->name))
		return -EINVAL;
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return -ENOMEM;
	kref_init(&device->kref);
	device->driver = driver;
	device->priv_size = driver->priv_size;
	device->max_rings = driver->max_rings;
	describe(&device->info, driver);
	kshm_gate_init(&device->calls);
	INIT_WORK(&device->unbind, unbind_work);
	spin_lock_init(&device->lock);
	INIT_LIST_HEAD(&device->sessions);
	device->misc.minor = MISC_DYNAMIC_MINOR;
	device->misc.fops = &device_fops;
	device->misc.groups = device_groups;
	device->misc.mode = driver->mode ?: 0600;
	device->misc.name = kasprintf(GFP_KERNEL, "kshm-%s", driver->name);
	device->misc.nodename = kasprintf(GFP_KERNEL, "kshm/%s", driver->name);
	if (!device->misc.name || !device->misc.nodename)
		goto put_device;
	/* Before the node exists, as the first program may be quick. */
	driver->device = device;
	err = misc_register(&device->misc);
	if (!err)
		return 0;
	/* The file unbind may have been there for a moment. */
	xchg(&device->removed, 1);
	cancel_work_sync(&device->unbind);

put_device:
	driver->device = NULL;
	kshm_device_put(device);
	return err;
}
EXPORT_SYMBOL_GPL(kshm_register_driver);

void kshm_unregister_driver(struct kshm_driver *driver)
{
	struct kshm_device *device = driver->device;

	remove_device(device);
	/* If unbind was first, it has not finished. */
	flush_work(&device->unbind);
	driver->device = NULL;
	kshm_device_put(device);
}
EXPORT_SYMBOL_GPL(kshm_unregister_driver);
