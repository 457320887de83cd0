// SPDX-License-Identifier: MIT
/*
 * digest: hashes what a program puts into shared memory, where it lies. A complete driver on
 * the kit: it says what to do with the bytes, and nothing about devices, requests, pages or
 * death.
 */
#include "../../windows/kshm_kit.h"
#include <bcrypt.h>
#include "digest.h"

#define STEP 65536 /* bytes between two updates of progress */

/* What the driver keeps for itself: the program cannot reach it. */
typedef struct _DIGEST_STATE {
	kshm_u64 Served; /* the last request that was answered */
	kshm_u64 Progress;
	BCRYPT_HASH_HANDLE Hash;
} DIGEST_STATE, *PDIGEST_STATE;

static BCRYPT_ALG_HANDLE Sha256;

static NTSTATUS DigestShare(PKSHM_SHARE Share)
{
	PDIGEST_STATE state = Share->Priv;

	if (!(Share->Access & KSHM_ACCESS_WRITE))
		return STATUS_NOT_SUPPORTED;
	return BCryptCreateHash(Sha256, &state->Hash, NULL, 0, NULL, 0,
				BCRYPT_HASH_REUSABLE_FLAG);
}

/* Hashes in place; stops early when the share ends. */
static VOID DigestData(PKSHM_SHARE Share, PUCHAR Data, ULONG Length)
{
	PDIGEST_STATE state = Share->Priv;
	struct digest_page *page = Share->Base;
	ULONG step;

	for (; Length != 0 && !KshmEnding(Share); Data += step, Length -= step) {
		step = Length < STEP ? Length : STEP;
		BCryptHashData(state->Hash, Data, step, 0);
		state->Progress += step;
		KshmWrite64(&page->progress, state->Progress);
	}
}

/* The kick has no handler of its own, so it comes straight here. */
static VOID DigestWork(PKSHM_SHARE Share)
{
	PDIGEST_STATE state = Share->Priv;
	struct digest_page *page = Share->Base;
	UCHAR digest[sizeof(page->digest)];
	ULONG length, flags;
	kshm_u64 request;

	/* Pairs with the program's atomic store of request, its last. */
	request = KshmReadAcquire64(&page->request);
	if (request == state->Served)
		return;
	length = KshmRead32(&page->length);
	flags = KshmRead32(&page->flags);
	if (length > Share->Length - DIGEST_DATA) {
		KshmCorrupt(Share, FIELD_OFFSET(struct digest_page, length), DIGEST_BAD_LENGTH);
		return;
	}
	if (flags & ~(DIGEST_FIRST | DIGEST_LAST)) {
		KshmCorrupt(Share, FIELD_OFFSET(struct digest_page, flags), DIGEST_BAD_FLAGS);
		return;
	}

	if (flags & DIGEST_FIRST) /* finishing is what resets a reusable hash */
		BCryptFinishHash(state->Hash, digest, sizeof(digest), 0);
	DigestData(Share, (PUCHAR)Share->Base + DIGEST_DATA, length);
	if (flags & DIGEST_LAST) {
		BCryptFinishHash(state->Hash, digest, sizeof(digest), 0);
		RtlCopyMemory(page->digest, digest, sizeof(digest));
	}
	state->Served = request;
	/* Pairs with the program's atomic load of reply, its first. */
	KshmWriteRelease64(&page->reply, request);
	KshmNotify(Share);
}

static VOID DigestStop(PKSHM_SHARE Share, enum kshm_reason Reason)
{
	UNREFERENCED_PARAMETER(Reason);
	BCryptDestroyHash(((PDIGEST_STATE)Share->Priv)->Hash);
}

static VOID DigestUnload(VOID)
{
	BCryptCloseAlgorithmProvider(Sha256, 0);
}

static const KSHM_DRIVER Digest = {
	.Name = L"digest",
	.Version = 1,
	.Class = KSHM_CLASS(L"{6f2c1c8e-5a0b-4b1e-9d53-1f6a7c2b9e40}"),
	.PrivSize = sizeof(DIGEST_STATE),
	.MinLength = DIGEST_DATA + 1,
	.Share = DigestShare,
	.Work = DigestWork,
	.Stop = DigestStop,
	.Unload = DigestUnload,
};

KSHM_INIT NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Registry)
{
	NTSTATUS status;

	UNREFERENCED_PARAMETER(Registry);
	status = BCryptOpenAlgorithmProvider(&Sha256, BCRYPT_SHA256_ALGORITHM, NULL, 0);
	if (!NT_SUCCESS(status))
		return status;
	status = KshmLoad(Driver, &Digest);
	if (!NT_SUCCESS(status))
		BCryptCloseAlgorithmProvider(Sha256, 0);
	return status;
}
