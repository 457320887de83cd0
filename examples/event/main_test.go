// SPDX-License-Identifier: MIT

package main

import "os"

func Example() {
	if err := run(os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// The kernel side is a model.
	// order 1: one kick, event 1, 1000 goroutines woken
	// order 2: one kick, event 2, 1000 goroutines woken
	// order 3: one kick, event 3, 1000 goroutines woken
	// fewer threads than a tenth of the waiters: true
}
