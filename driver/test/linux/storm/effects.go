// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
)

// An effect is what a storm has to bring about, and what no answer to a single
// kind of operation tells: a storm without it would be a calm.
type effect int

const (
	joined      effect = iota // the cgroup whose limits the weather moves
	cpuGone                   // a processor
	cpuBack                   // that one
	memoryTight               // a limit of memory was set
	memoryShort               // and it was reached
	tasksTight                // a limit of tasks was set
	tasksShort                // and it was reached
	reclaimed                 // memory of the cgroup
	inherited                 // by an heir: a share that ended by exec
	numEffects
)

// effects have a name, a file without which the kernel has nothing of the kind,
// and how many tries have to show one that works.
var effects = [numEffects]struct {
	name, file string
	enough     int64
}{
	joined:      {"joining the cgroup", cgroup + "/cgroup.procs", 10},
	cpuGone:     {"taking a processor away", cpuFile, 10},
	cpuBack:     {"bringing a processor back", cpuFile, 10},
	memoryTight: {"limiting memory", cgroup + "/memory.max", 10},
	memoryShort: {"reaching the limit of memory", cgroup + "/memory.events", 40},
	tasksTight:  {"limiting tasks", cgroup + "/pids.max", 10},
	tasksShort:  {"reaching the limit of tasks", cgroup + "/pids.events", 100},
	reclaimed:   {"reclaiming memory", cgroup + "/memory.reclaim", 10},
	inherited:   {"inheriting a share that exec has ended", "/proc/self/exe", 40},
}

// A tried is how often an effect was, and how often that worked.
type tried struct{ times, done int64 }

// triedOnBoard is the same, counted by many.
type triedOnBoard struct{ times, done atomic.Uint32 }

func (t *triedOnBoard) note(err syscall.Errno) syscall.Errno {
	t.times.Add(1)
	if err == 0 {
		t.done.Add(1)
	}
	return err
}

// limitsReached looks how often the kernel's limits were, of how many that were set.
func limitsReached(tries *[numEffects]tried) {
	for set, reached := range map[effect]effect{memoryTight: memoryShort, tasksTight: tasksShort} {
		tries[reached] = tried{tries[set].done, fields(effects[reached].file)["max"]}
	}
}

// withoutEffect lists the effects that a storm ought to have had on a machine
// that has the given files, and had not.
func withoutEffect(tries *[numEffects]tried, has func(file string) bool) (list []string) {
	for e, spec := range effects {
		if tries[e].done == 0 && tries[e].times >= spec.enough && has(spec.file) {
			list = append(list, spec.name)
		}
	}
	return list
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func printEffects(tries *[numEffects]tried) {
	for e, spec := range effects {
		fmt.Printf("storm: %s: %d of %d\n", spec.name, tries[e].done, tries[e].times)
	}
}

// makeCgroup makes the cgroup, with those limits that the kernel has.
func makeCgroup() error {
	if !strings.Contains(text("/proc/filesystems"), "\tcgroup2\n") {
		fmt.Println("storm: this kernel has no cgroups: that weather is left out")
		return nil
	}
	has := strings.Fields(text(cgroupRoot + "/cgroup.controllers"))
	for _, limit := range []string{"memory", "pids"} {
		if !slices.Contains(has, limit) {
			fmt.Printf("storm: the cgroups of this kernel do not limit %s: that weather is left out\n", limit)
		} else if err := os.WriteFile(cgroupRoot+"/cgroup.subtree_control", []byte("+"+limit), 0); err != nil {
			return err
		}
	}
	return os.MkdirAll(cgroup, 0o755)
}
