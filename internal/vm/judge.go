// SPDX-License-Identifier: MIT

package vm

import (
	"errors"
	"regexp"
	"strings"

	"kshm/internal/vm/wire"
)

// judge turns what is wrong with a run of these modules into errors.
func judge(res *Result, report *wire.Report, modules ...string) error {
	var errs []error
	log, foreign := withoutForeignRaces(res.Log, modules)
	res.Foreign = foreign
	if report == nil {
		last := Splat(log)
		if last == "" {
			last = tail(res.Log, 40)
		}
		return fail(ErrPanic, "the machine ended before the program did\n%s", last)
	}
	if report.Failure != "" {
		kind := ErrGuest
		if report.Insmod {
			kind = ErrLoad
		}
		errs = append(errs, fail(kind, "%s\n%s", report.Failure, tail(res.Log, 10)))
	}
	if s := Splat(log); s != "" {
		errs = append(errs, fail(ErrSplat, "\n%s", s))
	} else if t := taints(report.Taint); t != "" {
		errs = append(errs, fail(ErrSplat, "the kernel is tainted: %s\n%s", t, tail(res.Log, 40)))
	}
	if report.Leaks != "" {
		errs = append(errs, fail(ErrMemoryLeak, "\n%s", report.Leaks))
	}
	if report.Pins != 0 {
		errs = append(errs, fail(ErrPinLeak, "%d pages", report.Pins))
	}
	if len(report.Stuck) > 0 {
		errs = append(errs, fail(ErrUnload, "%s", strings.Join(report.Stuck, "; ")))
	}
	return errors.Join(errs...)
}

// splat matches the first line of everything by which a kernel says that it,
// or a module, is broken.
var splat = regexp.MustCompile(`(?m)^.*(?:` + strings.Join([]string{
	`\bBUG:`, `\bBUG [\w-]+ \(`, `kernel BUG at`, `WARNING: (?:CPU|possible|inconsistent|suspicious|bad|held|lock)`, `\bOops\b`,
	`KASAN:`, `KCSAN:`, `KMSAN:`, `KFENCE:`, `UBSAN:`, `UBSAN_`,
	`general protection fault`, `unable to handle`, `Unable to handle`, `stack segment:`, `double fault:`, `invalid opcode:`, `divide error:`,
	`scheduling while atomic`, `sleeping function called from invalid context`, `Voluntary context switch within RCU`,
	`refcount_t:`, `list_(?:add|del) corruption`, `usercopy: Kernel memory`, `detected buffer overflow`,
	`rcu:.*detected stalls?`, `self-detected stall`, `soft lockup`, `hard LOCKUP`, `blocked for more than \d+ seconds`,
	`INFO: (?:possible|task|trying to register|inconsistent)`, `possible (?:circular|recursive) locking`, `suspicious RCU usage`, `DEBUG_LOCKS_WARN_ON`, `ODEBUG:`,
	`unreferenced object`, `kmemleak: \d+ new`, `kmemleak: .*(?:disabled|[Cc]annot)`, `Bad page state`, `pagealloc:`, `Bad rss-counter`, `bad pmd|bad pte`, `Objects remaining in`, `still has objects`, `page allocation failure: .*order`, `leaked (?:lock|atomic|RCU)`, `kernel tried to execute`,
	`Kernel panic`, `stack-protector:`,
}, "|") + `).*$`)

// Splat returns the first complaint in a kernel log with the lines after it, or
// "" if there is none.
func Splat(log []byte) string {
	at := splat.FindIndex(log)
	if at == nil {
		return ""
	}
	lines := strings.SplitN(string(log[at[0]:]), "\n", 61)
	return strings.TrimRight(strings.Join(lines[:min(60, len(lines))], "\n"), "\r\n")
}

// taintBits names the taints that are a complaint, not a property of a module.
var taintBits = []struct {
	bit  uint
	name string
}{
	{1, "a module was forced"}, {4, "a processor reported an error"}, {5, "bad page"},
	{7, "oops"}, {9, "warning"}, {14, "soft lockup"},
}

func taints(mask uint64) string {
	var names []string
	for _, t := range taintBits {
		if mask&(1<<t.bit) != 0 {
			names = append(names, t.name)
		}
	}
	return strings.Join(names, ", ")
}
