// SPDX-License-Identifier: MIT
//go:build linux

package alarms

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kshm/internal/deps"
	"kshm/internal/vm"
)

// bug is a bug of the module driver/test/linux/seeded and how its alarm sounds.
type bug struct {
	name  string
	alarm string // regular expression
}

// boot is a run of a kernel in which bugs are committed one after the other.
type boot struct {
	name   string
	bugs   []bug
	notice error // what is wrong with the run, or nil
}

// survived are the bugs after which every debug kernel goes on. KASAN says only
// once what it finds, unless told otherwise; lockdep says only once and is silent
// after a report of KASAN: it comes first.
var survived = []bug{
	{"rcu-unprotected", `WARNING: suspicious RCU usage`},
	{"lock-inversion", `WARNING: possible circular locking dependency detected`},
	{"sleep-in-atomic", `BUG: sleeping function called from invalid context`},
	{"use-after-free", `BUG: KASAN: slab-use-after-free in use_after_free`},
	{"out-of-bounds", `BUG: KASAN: slab-out-of-bounds in out_of_bounds`},
	{"vmalloc-out-of-bounds", `BUG: KASAN: vmalloc-out-of-bounds in vmalloc_out_of_bounds`},
	{"double-free", `BUG: KASAN: double-free in `},
	{"shift", `UBSAN: shift-out-of-bounds`},
	{"bounds", `UBSAN: array-index-out-of-bounds`},
	{"bool", `UBSAN: invalid-load`},
	{"refcount", `refcount_t: decrement hit 0`},
	{"free-active-timer", `ODEBUG: free active .* object type: timer_list`},
	{"free-active-work", `ODEBUG: free active .* object type: work_struct`},
	{"call-rcu-twice", `ODEBUG: activate active .* object type: rcu_head`},
	{"free-page-write", `pagealloc: (?:memory corruption|single bit error)`},
	{"hung-task", `INFO: task commit:\d+ blocked for more than`},
}

// A bug that ends the machine has a boot of its own.
var boots = map[string][]boot{
	"debug-6.12": {
		{"none", nil, nil},
		{"many", slices.Concat(survived, []bug{
			{"processor-unprotected", `BUG: using smp_processor_id\(\) in preemptible`},
			{"soft-lockup", `BUG: soft lockup`},
		}), vm.ErrSplat},
		{"interrupt", []bug{{"lock-in-interrupt", `WARNING: inconsistent lock state`}}, vm.ErrSplat},
		{"leak", []bug{{"leak", ``}}, vm.ErrMemoryLeak},
		{"leaks not looked for", []bug{{"kmemleak-off", ``}}, vm.ErrMemoryLeak},
		{"list", []bug{{"list", `list_add corruption`}}, vm.ErrPanic},
		{"vmap", []bug{{"vmap-after-unmap", `BUG: KASAN: .* in vmap_after_unmap`}}, vm.ErrPanic},
		{"page", []bug{{"page-refcount", `VM_BUG_ON_PAGE|BUG: Bad page`}}, vm.ErrPanic},
		{"page table", []bug{{"page-table", `kernel BUG at mm/page_table_check.c`}}, vm.ErrPanic},
	},
	// One processor, no preemption, no page tables of the hardware's.
	"debug-uml-7.2": {
		{"none", nil, nil},
		{"many", survived, vm.ErrSplat},
		{"interrupt", []bug{{"lock-in-interrupt", `WARNING: inconsistent lock state`}}, vm.ErrSplat},
		{"leak", []bug{{"leak", ``}}, vm.ErrMemoryLeak},
		{"leaks not looked for", []bug{{"kmemleak-off", ``}}, vm.ErrMemoryLeak},
		{"list", []bug{{"list", `list_add corruption`}}, vm.ErrPanic},
		{"vmap", []bug{{"vmap-after-unmap", `BUG: KASAN: .* in vmap_after_unmap`}}, vm.ErrSplat},
		{"page", []bug{{"page-refcount", `VM_BUG_ON_PAGE|BUG: Bad page`}}, vm.ErrPanic},
	},
	"kcsan-6.12": {
		{"none", nil, nil},
		{"races", []bug{
			{"plain-race", `BUG: KCSAN: data-race in (?:add_one|count)`},
			{"missing-barrier", `BUG: KCSAN: data-race in .*(?:publish|consume)`},
		}, vm.ErrSplat},
	},
}

// TestAlarms boots the kernels that KSHM_ALARMS names.
func TestAlarms(t *testing.T) {
	kernels := strings.Fields(os.Getenv("KSHM_ALARMS"))
	if len(kernels) == 0 {
		t.Skip("boots kernels that take long to build; make test-debug and make test-kcsan name them in KSHM_ALARMS")
	}
	program := compile(t)
	for _, name := range kernels {
		t.Run(name, func(t *testing.T) {
			if boots[name] == nil {
				t.Fatalf("no bugs for kernel %q", name)
			}
			kernel, module := prepare(t, name)
			caught := 0
			for _, b := range boots[name] {
				t.Run(b.name, func(t *testing.T) { caught += b.run(t, kernel, module, program) })
			}
			t.Logf("testfull: alarms=%d", caught)
		})
	}
}

func compile(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "commit")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/commit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// prepare finds a kernel and builds the module for it.
func prepare(t *testing.T, name string) (vm.Kernel, string) {
	t.Helper()
	built, ok := deps.LookupKernel(name)
	if !ok {
		t.Fatalf("no kernel is called %q", name)
	}
	kernel, err := vm.FindKernel(t.Context(), os.Stderr, name, "")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := deps.EnsureKernel(t.Context(), os.Stderr, built, "")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	made, err := deps.BuildModules(t.Context(), &log, deps.Build{
		Headers: built.Headers(dir), Dirs: []string{"../seeded"}, Out: t.TempDir(), Strict: true, Make: built.Make(),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	return kernel, made[0]
}

// run returns how many alarms have rung.
func (b boot) run(t *testing.T, kernel vm.Kernel, module, program string) (caught int) {
	o := vm.Options{
		Kernel: kernel, Program: program, Modules: []vm.Module{{Path: module}}, Progress: os.Stderr,
		Cmdline: []string{"kasan_multi_shot"},
	}
	for _, bug := range b.bugs {
		o.Args = append(o.Args, bug.name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	res, err := vm.Run(ctx, o)
	if res == nil || !errors.Is(err, b.notice) || (err == nil) != (b.notice == nil) {
		t.Fatalf("noticed %v, want %v", err, b.notice)
	}
	for _, bug := range b.bugs {
		said := section(res.Log, bug.name)
		switch {
		case said == "":
			t.Errorf("%s was never committed:\n%s", bug.name, res.Log)
		case bug.alarm == "": // is not in the log
			caught++
		case !regexp.MustCompile(bug.alarm).MatchString(said):
			t.Errorf("%s did not ring its alarm, %s:\n%s", bug.name, bug.alarm, said)
		case vm.Splat([]byte(said)) == "":
			t.Errorf("the alarm of %s is no complaint for internal/vm:\n%s", bug.name, said)
		default:
			caught++
		}
	}
	return caught
}

// section is what the kernel said while a bug was committed: until the next one
// or the end.
func section(log []byte, bug string) string {
	_, rest, found := strings.Cut(string(log), "seeded: begin "+bug)
	if !found {
		return ""
	}
	said, _, _ := strings.Cut(rest, "seeded: begin ")
	return said
}
