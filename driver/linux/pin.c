// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Pins the program's pages, judges them and maps them for the driver. */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "internal.h"

#define PIN_BATCH 1024ul /* pages between two looks at signals */
#define UNPIN_BATCH 16384ul /* pages before others may have the processor */

static bool kernel_writes(const struct kshm_session *ses)
{
	return ses->share.access & KSHM_ACCESS_WRITE;
}

/*
 * Memory that may stay pinned for long: anonymous, shared memory (tmpfs, memfd,
 * SysV) and huge pages. Not a file's: the file system would not learn of what
 * the driver writes. Not the zero page, which is not the program's. Judged by
 * page, after the pin: what a look at the mapping says can change meanwhile.
 */
static bool may_stay_pinned(struct folio *folio)
{
	return folio_test_anon(folio) || folio_test_swapbacked(folio) ||
	       folio_test_hugetlb(folio);
}

/* How many of the n pages, from the first on, follow it in the same folio. */
static long same_folio(struct folio *folio, struct page **pages, long n)
{
	unsigned long first = page_to_pfn(pages[0]);
	unsigned long left = folio_pfn(folio) + folio_nr_pages(folio) - first;
	long i;

	n = min_t(unsigned long, n, left);
	for (i = 1; i < n; i++)
		if (page_to_pfn(pages[i]) != first + i)
			break;
	return i;
}

/* A large folio is looked at once for all its pages. */
static int judge(struct page **pages, long n)
{
	struct folio *folio;
	long i, same;

	for (i = 0; i < n; i += same) {
		folio = page_folio(pages[i]);
		if (!may_stay_pinned(folio))
			return -EMEDIUMTYPE;
		same = 1;
		if (folio_test_large(folio))
			same = same_folio(folio, pages + i, n - i);
	}
	return 0;
}

/*
 * One step of pinning. Pages are pinned for writing wherever the program can
 * write them, in a read-only share too: before 6.2, a pin for reading of an
 * untouched page takes the zero page and goes stale at the first write. Only
 * where writing is impossible, and the kernel will not write, is one page
 * pinned for reading.
 */
static long pin_some(struct kshm_session *ses, unsigned long address, unsigned long n,
		     struct page **pages)
{
	long got;

	got = pin_user_pages_fast(address, n, FOLL_LONGTERM | FOLL_WRITE, pages);
	if (got == -EFAULT && !kernel_writes(ses))
		got = pin_user_pages_fast(address, 1, FOLL_LONGTERM, pages);
	if (got == 0)
		return -EFAULT;
	/* What long-term pins are refused for is a kind of memory. */
	return got == -EOPNOTSUPP ? -EMEDIUMTYPE : got;
}

/* Gives back the first n of ses->pages, and the array. */
static void unpin(struct kshm_session *ses, unsigned long n, bool dirty)
{
	unsigned long i, some;

	for (i = 0; i < n; i += some) {
		some = min(n - i, UNPIN_BATCH);
		unpin_user_pages_dirty_lock(ses->pages + i, some, dirty);
		cond_resched();
	}
	kvfree(ses->pages);
	ses->pages = NULL;
}

/* Fills in ses->pages; on failure nothing is pinned. Killable. */
int kshm_pin(struct kshm_session *ses, unsigned long address)
{
	unsigned long done = 0;
	long got;
	int err;

	ses->pages = kvmalloc_array(ses->npages, sizeof(*ses->pages),
				    GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!ses->pages)
		return -ENOMEM;
	while (done < ses->npages) {
		got = pin_some(ses, address + (done << PAGE_SHIFT),
			       min(ses->npages - done, PIN_BATCH), ses->pages + done);
		if (got < 0) {
			err = got;
			goto unpin;
		}
		done += got;
		err = judge(ses->pages + done - got, got);
		if (!err && fatal_signal_pending(current))
			err = -EINTR;
		if (err)
			goto unpin;
		cond_resched();
	}
	return 0;

unpin:
	unpin(ses, done, false);
	return err;
}

int kshm_map(struct kshm_session *ses)
{
	ses->share.base = vmap(ses->pages, ses->npages, VM_MAP,
			       kernel_writes(ses) ? PAGE_KERNEL : PAGE_KERNEL_RO);
	return ses->share.base ? 0 : -ENOMEM;
}

void kshm_unpin(struct kshm_session *ses)
{
	unpin(ses, ses->npages, kernel_writes(ses));
}
