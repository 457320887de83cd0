// SPDX-License-Identifier: MIT

// Command commit has the module seeded commit the bugs that it is given.
package main

import (
	"fmt"
	"os"
	"time"
)

// impatience names the limits that are for bugs of long duration. It is for
// them only, since a slow machine that does nothing wrong exceeds it.
var impatience = map[string]string{
	"hung-task":   "/proc/sys/kernel/hung_task_timeout_secs",
	"soft-lockup": "/proc/sys/kernel/watchdog_thresh",
}

func main() {
	for _, bug := range os.Args[1:] {
		if err := commit(bug); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		time.Sleep(100 * time.Millisecond) // so that what it causes elsewhere comes before the next
	}
}

// commit has one bug committed. One is not the module's: somebody turns off
// what would find leaks.
func commit(bug string) error {
	if bug == "kmemleak-off" {
		os.WriteFile("/dev/kmsg", []byte("seeded: begin "+bug), 0)
		return os.WriteFile("/sys/kernel/debug/kmemleak", []byte("off"), 0)
	}
	if limit := impatience[bug]; limit != "" {
		usual, err := os.ReadFile(limit)
		if err != nil {
			return err
		}
		os.WriteFile(limit, []byte("2"), 0)
		defer os.WriteFile(limit, usual, 0)
	}
	return os.WriteFile("/sys/module/seeded/parameters/bug", []byte(bug), 0)
}
