// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * digest: hashes what a program puts into shared memory, where it lies. A
 * complete driver on the kit: it says what to do with the bytes, and nothing
 * about nodes, pages, descriptors or death.
 */
#include <crypto/hash.h>
#include <linux/minmax.h>
#include "digest.h"
#include "kshm_kit.h"

#define STEP 65536u /* bytes between two updates of progress */

/* What the driver keeps for itself: the program cannot reach it. */
struct digest_state {
	u64 served; /* the last request that was answered */
	u64 progress;
	struct shash_desc hash; /* last: its own state follows it */
};

static struct crypto_shash *sha256;

static int digest_share(struct kshm_share *s)
{
	struct digest_state *state = s->priv;

	if (!(s->access & KSHM_ACCESS_WRITE))
		return -EOPNOTSUPP;
	state->hash.tfm = sha256;
	return crypto_shash_init(&state->hash);
}

/* Hashes in place. False if the share's end came first. */
static bool hash_data(struct kshm_share *s, const u8 *data, u32 length)
{
	struct digest_state *state = s->priv;
	struct digest_page *page = s->base;
	u32 step;

	for (; length && !kshm_ending(s); data += step, length -= step) {
		step = min(length, STEP);
		crypto_shash_update(&state->hash, data, step);
		state->progress += step;
		WRITE_ONCE(page->progress, state->progress);
		cond_resched();
	}
	return !length;
}

/* The kick has no handler of its own, so it comes straight here. */
static void digest_work(struct kshm_share *s)
{
	struct digest_state *state = s->priv;
	struct digest_page *page = s->base;
	u32 length, flags;
	u64 request;

	/* Pairs with the program's atomic store of request, its last. */
	request = smp_load_acquire(&page->request);
	if (request == state->served)
		return;
	length = READ_ONCE(page->length);
	flags = READ_ONCE(page->flags);
	if (length > s->length - DIGEST_DATA)
		return kshm_corrupt(s, offsetof(struct digest_page, length), DIGEST_BAD_LENGTH);
	if (flags & ~(DIGEST_FIRST | DIGEST_LAST))
		return kshm_corrupt(s, offsetof(struct digest_page, flags), DIGEST_BAD_FLAGS);

	if (flags & DIGEST_FIRST)
		crypto_shash_init(&state->hash);
	if (!hash_data(s, s->base + DIGEST_DATA, length))
		return;
	if (flags & DIGEST_LAST)
		crypto_shash_final(&state->hash, page->digest);
	state->served = request;
	/* Pairs with the program's atomic load of reply, its first. */
	smp_store_release(&page->reply, request);
	kshm_notify(s);
}

static struct kshm_driver digest = {
	.name = "digest",
	.version = 1,
	.min_length = DIGEST_DATA + 1,
	.share = digest_share,
	.work = digest_work,
};

static int __init digest_init(void)
{
	int err;

	sha256 = crypto_alloc_shash("sha256", 0, 0);
	if (IS_ERR(sha256))
		return PTR_ERR(sha256);
	digest.priv_size = sizeof(struct digest_state) + crypto_shash_descsize(sha256);
	err = kshm_register_driver(&digest);
	if (err)
		crypto_free_shash(sha256);
	return err;
}

static void __exit digest_exit(void)
{
	kshm_unregister_driver(&digest);
	crypto_free_shash(sha256);
}

module_init(digest_init);
module_exit(digest_exit);
MODULE_DESCRIPTION("Sample kshm driver: SHA-256 of shared memory");
MODULE_AUTHOR("The kshm authors");
MODULE_LICENSE("Dual MIT/GPL");
