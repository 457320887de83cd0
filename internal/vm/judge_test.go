// SPDX-License-Identifier: MIT

package vm

import (
	"errors"
	"strings"
	"testing"

	"kshm/internal/vm/wire"
)

// One line of every kind by which kernels complain.
var complaints = []string{
	"BUG: kernel NULL pointer dereference, address: 0000000000000008",
	"BUG: unable to handle page fault for address: ffffc90000c0f000",
	"BUG: scheduling while atomic: init/1/0x00000002",
	"BUG: sleeping function called from invalid context at mm/slab.h:1",
	"BUG: KASAN: slab-use-after-free in kshm_end+0x1/0x2 [kshm]",
	"BUG: KCSAN: data-race in a / b",
	"BUG: KFENCE: out-of-bounds read in x",
	"BUG: workqueue lockup - pool cpus=0",
	"BUG: Bad page state in process x  pfn:1",
	"BUG kmalloc-64 (Tainted: G): Right Redzone overwritten",
	"pagealloc: memory corruption",
	"BUG: Bad rss-counter state mm:0 type:MM_FILEPAGES val:1",
	"BUG kmalloc-64 (Tainted: G): Objects remaining in kmalloc-64 on __kmem_cache_shutdown()",
	"kernel BUG at mm/vmalloc.c:2800!",
	"invalid opcode: 0000 [#1] PREEMPT SMP",
	"Oops: 0000 [#1] PREEMPT SMP",
	"Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
	"general protection fault, probably for non-canonical address 0xdead",
	"WARNING: CPU: 0 PID: 1 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110",
	"WARNING: possible circular locking dependency detected",
	"WARNING: possible recursive locking detected",
	"WARNING: inconsistent lock state",
	"WARNING: suspicious RCU usage",
	"WARNING: bad unlock balance detected!",
	"WARNING: held lock freed!",
	"WARNING: lock held when returning to user space!",
	"INFO: task kworker/0:1:10 blocked for more than 120 seconds.",
	"INFO: rcu_preempt self-detected stall on CPU",
	"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
	"rcu: INFO: rcu_sched self-detected stall on CPU",
	"INFO: trying to register non-static key.",
	"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:1]",
	"watchdog: Watchdog detected hard LOCKUP on cpu 0",
	"refcount_t: underflow; use-after-free.",
	"list_add corruption. prev->next should be next",
	"list_del corruption. next->prev should be x",
	"UBSAN: array-index-out-of-bounds in x.c:1:2",
	"usercopy: Kernel memory exposure attempt detected from SLUB object",
	"ODEBUG: free active (active state 0) object type: timer_list",
	"unreferenced object 0xffff888100000000 (size 64):",
	"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
	"kernel tried to execute NX-protected page - exploit attempt? (uid: 0)",
	"Kernel panic - not syncing: Fatal exception",
	"DEBUG_LOCKS_WARN_ON(lock->magic != lock)",
	"stack segment: 0000 [#1]",
	"divide error: 0000 [#1]",
	"Unable to handle kernel paging request at virtual address 0",
	"workqueue: process_one_work: x leaked lock or atomic",
	"kthread: BUG: using smp_processor_id() in preemptible [00000000] code: x/1",
}

func TestSplatSeesComplaints(t *testing.T) {
	for _, c := range complaints {
		log := "[    1.000000] quiet\r\n[    2.000000] " + c + "\r\n[    2.000001] Modules linked in: x\r\n"
		got := Splat([]byte(log))
		if !strings.HasPrefix(got, "[    2.000000] "+c) || !strings.HasSuffix(got, "Modules linked in: x") {
			t.Errorf("%s: got %q", c, got)
		}
	}
}

// What kernels say in good health, and drivers about bad callers.
const healthy = `[    0.000000] Linux version 6.1.0 (debian-kernel@lists.debian.org)
[    0.100000] x86/mm: Memory block size: 128MB
[    0.200000] rcu: Hierarchical RCU implementation.
[    0.200000] rcu: 	RCU debug extended QS entry/exit.
[    0.300000] hello: loading out-of-tree module taints kernel.
[    0.300000] hello: module verification failed: signature and/or required key missing - tainting kernel
[    0.400000] kshm: debug messages are on
[    0.500000] kshm: share 3 of digest revoked: corrupt position
[    0.600000] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on
[    0.700000] lockdep: Lock dependency validator: Copyright (c) 2006 Red Hat, Inc.
[    0.800000] kasan: KernelAddressSanitizer initialized
[    0.900000] kmemleak: Kernel memory leak detector initialized
[    1.000000] FAULT_INJECTION: forcing a failure.
[    1.000000] Call Trace:
[    1.100000] sysrq: Resetting
`

func TestSplatIgnoresHealth(t *testing.T) {
	if got := Splat([]byte(healthy)); got != "" {
		t.Errorf("taken for a complaint: %q", got)
	}
}

func TestJudge(t *testing.T) {
	splat := "[    1.0] " + complaints[0]
	for name, test := range map[string]struct {
		log    string
		report *wire.Report
		want   []error
	}{
		"all is well":      {healthy, &wire.Report{Exit: 1}, nil},
		"no report":        {healthy, nil, []error{ErrPanic}},
		"splat":            {splat, &wire.Report{}, []error{ErrSplat}},
		"taint alone":      {healthy, &wire.Report{Taint: 1 << 9}, []error{ErrSplat}},
		"harmless taint":   {healthy, &wire.Report{Taint: 1<<12 | 1<<13 | 1}, nil},
		"leaked memory":    {healthy, &wire.Report{Leaks: "unreferenced object"}, []error{ErrMemoryLeak}},
		"pins":             {healthy, &wire.Report{Pins: 2}, []error{ErrPinLeak}},
		"fewer pins":       {healthy, &wire.Report{Pins: -1}, []error{ErrPinLeak}},
		"stuck":            {healthy, &wire.Report{Stuck: []string{"x"}}, []error{ErrUnload}},
		"refused":          {healthy, &wire.Report{Failure: "x", Insmod: true}, []error{ErrLoad}},
		"no program":       {healthy, &wire.Report{Failure: "x"}, []error{ErrGuest}},
		"several at once":  {splat, &wire.Report{Pins: 1, Stuck: []string{"x"}}, []error{ErrSplat, ErrPinLeak, ErrUnload}},
		"panic with splat": {splat, nil, []error{ErrPanic}},
	} {
		err := judge(&Result{Log: []byte(test.log)}, test.report)
		for _, kind := range []error{ErrSplat, ErrPinLeak, ErrUnload, ErrLoad, ErrPanic, ErrGuest, ErrMemoryLeak} {
			want := false
			for _, w := range test.want {
				want = want || w == kind
			}
			if errors.Is(err, kind) != want {
				t.Errorf("%s: %v: got %v, want %v", name, kind, !want, want)
			}
		}
	}
}

// A report of a data race as KCSAN makes it.
func raceReport(where string) string {
	return "[ 1.0] ==================================================================\n" +
		"[ 1.0] BUG: KCSAN: data-race in a / b\n[ 1.0]\n[ 1.0] write to 0xffff of 8 bytes by task 1 on cpu 0:\n" +
		"[ 1.0]  a+0x1/0x2" + where + "\n[ 1.0]  do_syscall_64+0x1/0x2\n" +
		"[ 1.0] Reported by Kernel Concurrency Sanitizer on:\n" +
		"[ 1.0] ==================================================================\n"
}

func TestOnlyRacesOfModulesCount(t *testing.T) {
	modules := []string{"kshm", "test_driver"}
	for _, test := range []struct {
		log     string
		foreign int
		splat   bool
	}{
		{"all is well\n", 0, false},
		{raceReport("") + "well\n" + raceReport(" [ext4]"), 2, false},
		{raceReport(" [kshm]"), 0, true},
		{raceReport("") + raceReport(" [test_driver]") + raceReport(""), 2, true},
		{raceReport("") + "BUG: KASAN: x\n", 1, true},
		{"[ 1.0] BUG: KCSAN: data-race in a / b\n[ 1.0] the machine ends here", 0, true},
	} {
		res := &Result{Log: []byte(test.log)}
		err := judge(res, new(wire.Report), modules...)
		if errors.Is(err, ErrSplat) != test.splat || (err != nil) != test.splat || res.Foreign != test.foreign {
			t.Errorf("%q: %d foreign, %v", test.log, res.Foreign, err)
		}
	}
}
