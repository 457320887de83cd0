// SPDX-License-Identifier: MIT

// Event shows the companion of shared memory: signals in both directions. The
// driver raises an event when there is something to see; a thousand goroutines
// wait for it without a thread each. The program kicks when there is something
// to do. The kernel side is a model.
//
//	go run ./examples/event
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"kshm"
	"kshm/kshmtest"
)

// words is what both sides agree on: the layout of the shared memory. The
// words of the two sides lie 128 bytes apart.
type words struct {
	order  atomic.Uint32 // by the program
	_      [124]byte
	served atomic.Uint32 // by the driver
}

const waiters = 1000

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// driver is the kernel side.
func driver() *kshmtest.Kit {
	return &kshmtest.Kit{Kick: func(s *kshmtest.Share) {
		w, err := kshm.View[words](s.Base, 0)
		if err != nil {
			return // the share is too short
		}
		w.served.Store(w.order.Load())
		s.Notify()
	}}
}

func run(out io.Writer) error {
	fmt.Fprintln(out, "The kernel side is a model.")
	dev, err := kshmtest.Open(driver())
	if err != nil {
		return err
	}
	defer dev.Close()
	buf, err := dev.Alloc(4096, nil)
	if err != nil {
		return err
	}
	defer buf.Close()
	share, err := dev.Share(buf, nil)
	if err != nil {
		return err
	}
	defer share.Close()
	shared, err := kshm.View[words](buf.Bytes(), 0)
	if err != nil {
		return err
	}

	var seen uint64
	for order := uint32(1); order <= 3; order++ {
		var woken atomic.Uint32
		var all sync.WaitGroup
		for range waiters {
			all.Go(func() {
				if _, err := share.Wait(context.Background(), seen); err == nil && shared.served.Load() == order {
					woken.Add(1)
				}
			})
		}
		shared.order.Store(order) // first the memory, then the kick
		if err := share.Kick(); err != nil {
			return err
		}
		all.Wait()
		if seen, err = share.Wait(context.Background(), seen); err != nil {
			return err
		}
		fmt.Fprintf(out, "order %d: one kick, event %d, %d goroutines woken\n", order, seen, woken.Load())
	}
	threads := pprof.Lookup("threadcreate").Count()
	fmt.Fprintf(out, "fewer threads than a tenth of the waiters: %t\n", threads < waiters/10)
	return nil
}
