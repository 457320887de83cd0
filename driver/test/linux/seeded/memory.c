// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Misuse of memory. What is done wrong goes through hidden() so that the
 * compiler neither sees nor removes it.
 */
#include <linux/list.h>
#include <linux/mman.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "seeded.h"

#define hidden(p)                       \
	({                              \
		typeof(p) __p = (p);    \
		OPTIMIZER_HIDE_VAR(__p); \
		__p;                    \
	})

static void use_after_free(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	WRITE_ONCE(hidden(p)[8], 1);
}

static void out_of_bounds(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(hidden(p)[64], 1);
	kfree(p);
}

static void vmalloc_out_of_bounds(void)
{
	char *p = vmalloc(PAGE_SIZE - 8);

	if (p)
		WRITE_ONCE(hidden(p)[PAGE_SIZE - 4], 1);
	vfree(p);
}

/* As a share's memory is mapped: beyond its last page there is nothing. */
static void vmap_after_unmap(void)
{
	struct page *page = alloc_page(GFP_KERNEL);
	char *p = page ? vmap(&page, 1, VM_MAP, PAGE_KERNEL) : NULL;

	vunmap(p);
	if (p)
		WRITE_ONCE(hidden(p)[0], 1);
	if (page)
		__free_page(page);
}

static void double_free(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	kfree(hidden(p));
}

/*
 * Many, as kmemleak may find the address of one of them on some stack, and since
 * 7.0 those of up to 60 in the slab allocator's arrays of free objects, from
 * which an address does not go when the object does.
 */
static void leak(void)
{
	void *p;
	int i;

	for (i = 0; i < 256; i++) {
		p = kmalloc(192, GFP_KERNEL);
		OPTIMIZER_HIDE_VAR(p);
	}
}

static void shift(void)
{
	int bits = hidden(40);

	WRITE_ONCE(bits, 1 << bits);
}

static void bounds(void)
{
	static int words[4];
	int i = hidden(5);

	/* Behind words comes memory of this module, which it gets back. */
	WRITE_ONCE(words[i], READ_ONCE(words[i]));
}

static void bad_bool(void)
{
	char byte = hidden(7);
	bool b = READ_ONCE(*(bool *)&byte);

	pr_info("seeded: %d\n", b);
}

static void refcount(void)
{
	refcount_t refs = REFCOUNT_INIT(1);

	refcount_dec(&refs);
}

static void list(void)
{
	LIST_HEAD(head);
	LIST_HEAD(other);
	LIST_HEAD(entry);

	head.next = &other;
	list_add(&entry, &head);
}

/* Whoever writes to a free page is found when it is given out again. */
static void free_page_write(void)
{
	struct page *page = alloc_page(GFP_KERNEL), *pages[64];
	int i, n = 0;

	if (!page)
		return;
	__free_page(page);
	/* KASAN does not see what the compiler does not. */
	asm volatile("movb $1, (%0)" : : "r"(page_address(page) + 100) : "memory");
	while (n < ARRAY_SIZE(pages)) {
		pages[n] = alloc_page(GFP_KERNEL);
		if (pages[n++] == page || !pages[n - 1])
			break;
	}
	for (i = 0; i < n; i++)
		if (pages[i])
			__free_page(pages[i]);
}

/* One put too many, as an unpin that happens twice. */
static void page_refcount(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	__free_page(page);
	put_page(page);
}

/* Maps a page of the program's a second time, for writing, behind mm's back. */
static void page_table(void)
{
	unsigned long one = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, 0);
	unsigned long two = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, 0);
	struct vm_area_struct *vma;
	struct page *page;

	if (IS_ERR_VALUE(one) || IS_ERR_VALUE(two) ||
	    pin_user_pages_fast(one, 1, FOLL_WRITE, &page) != 1)
		return;
	mmap_write_lock(current->mm);
	vma = find_vma(current->mm, two);
	if (vma)
		remap_pfn_range(vma, two, page_to_pfn(page), PAGE_SIZE, vma->vm_page_prot);
	mmap_write_unlock(current->mm);
	unpin_user_page(page);
}

const struct seeded_bug seeded_memory[] = {
	{ "use-after-free", use_after_free },
	{ "out-of-bounds", out_of_bounds },
	{ "vmalloc-out-of-bounds", vmalloc_out_of_bounds },
	{ "vmap-after-unmap", vmap_after_unmap },
	{ "double-free", double_free },
	{ "leak", leak },
	{ "shift", shift },
	{ "bounds", bounds },
	{ "bool", bad_bool },
	{ "refcount", refcount },
	{ "list", list },
	{ "free-page-write", free_page_write },
	{ "page-refcount", page_refcount },
	{ "page-table", page_table },
	{}
};
