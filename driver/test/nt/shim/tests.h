// SPDX-License-Identifier: MIT
/*
 * tests.h - the driver under test and the program that drives it.
 */
#ifndef TESTS_H
#define TESTS_H

#include "nt.h"
#include "../../../windows/kshm_kit.h"

/* driver.c: a driver of the kit that watches the kit. */
NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry);
extern KSHM_DRIVER drv;
extern NTSTATUS drv_share_status, drv_kick_status, drv_control_status; /* what they answer */
extern bool drv_revoke_in_share;
extern void (*drv_in_work)(void);
struct drv_share *drv_enter(struct nt_memory *memory);
void drv_leave(struct drv_share *share);
bool drv_call(struct nt_memory *memory, VOID (*call)(PKSHM_SHARE)); /* inside a bracket */
void drv_notify_from_isr(PKSHM_SHARE share);
void drv_corrupt(PKSHM_SHARE share);

/* program.c: what a program does. */
NTSTATUS share_begin(struct nt_file *file, struct nt_memory *memory, kshm_u64 cookie,
		     struct nt_req **req);
void share_args(struct kshm_share_args *args, struct nt_call *call, struct nt_memory *memory,
		kshm_u64 cookie);
NTSTATUS call_now(struct nt_file *file, ULONG code, const void *in, ULONG in_length, void *out,
		  ULONG out_length, ULONG_PTR *written);
NTSTATUS call_done(struct nt_file *file, kshm_u64 cookie, kshm_u32 *reason);
NTSTATUS call_kick(struct nt_file *file, kshm_u64 cookie);
NTSTATUS call_stats(struct nt_file *file, kshm_u64 cookie, struct kshm_stats *stats);
NTSTATUS wait_begin(struct nt_file *file, kshm_u64 cookie, struct kshm_wait *wait,
		    struct nt_req **req);
NTSTATUS status_of(enum kshm_reason reason);
void settle(void); /* until the kernel has nothing left to do */

/* The tests: each ends the program with nt_bug at the first failure. */
void test_cases(const char *path);
void test_codes(void);
void test_rings(void);
void test_bounds(void);
void test_meet(int switches, int stride, const char *only);
void test_fail(void);
void test_storm(long operations, int threads);

#define CHECK(x) ((x) ? (void)0 : nt_bug("test", "%s:%d: %s", __FILE__, __LINE__, #x))

#endif /* TESTS_H */
