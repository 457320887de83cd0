// SPDX-License-Identifier: MIT

// Command commit has the module seeded commit the bugs that it is given.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	for _, name := range []string{"watchdog_thresh", "hung_task_timeout_secs"} {
		os.WriteFile(filepath.Join("/proc/sys/kernel", name), []byte("2"), 0)
	}
	for _, bug := range os.Args[1:] {
		if err := os.WriteFile("/sys/module/seeded/parameters/bug", []byte(bug), 0); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		time.Sleep(100 * time.Millisecond) // so that what it causes elsewhere comes before the next
	}
}
