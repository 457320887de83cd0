// SPDX-License-Identifier: MIT

// Hello has a driver in the kernel hash a few bytes of this program's memory.
// The README shows it.
package main

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"kshm"
)

// page is what the program and the driver digest agree on.
type page struct {
	request       atomic.Uint64
	length, flags uint32
	_             [112]byte
	_             [2]uint64 // the last answer, and progress
	digest        [32]byte
}

func main() {
	dev := must(kshm.Open("digest"))
	buf := must(dev.Alloc(8192, nil))  // this program's own memory
	share := must(dev.Share(buf, nil)) // pinned; the driver has an address of it
	shared := must(kshm.View[page](buf.Bytes(), 0))

	n := copy(buf.Bytes()[4096:], "hello, kernel")
	shared.length, shared.flags = uint32(n), 3 // the first piece and the last
	shared.request.Store(1)
	check(share.Kick())
	must(share.Wait(context.Background(), 0))
	fmt.Printf("%x\n", shared.digest) // the driver wrote it here

	check(share.Close()) // DONE: the kernel has let go of the memory
	check(buf.Close())
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
