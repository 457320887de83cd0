// SPDX-License-Identifier: MIT

package kshm_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"kshm"
	"kshm/kshmtest"
)

// A whole program. The driver is a model here; with a real one, Open takes its
// name.
func Example() {
	upper := &kshmtest.Kit{Kick: func(s *kshmtest.Share) {
		copy(s.Base, bytes.ToUpper(s.Base))
		s.Notify()
	}}
	dev, err := kshmtest.Open(upper) // kshm.Open("upper")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	buf, err := dev.Alloc(16, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer buf.Close()
	share, err := dev.Share(buf, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer share.Close()

	copy(buf.Bytes(), "shared, in place")
	if err := share.Kick(); err != nil {
		log.Fatal(err)
	}
	if _, err := share.Wait(context.Background(), 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf.Bytes())
	// Output: SHARED, IN PLACE
}

func ExampleView() {
	type header struct {
		Position atomic.Uint64
		Flags    uint32
	}
	dev, err := kshmtest.Open(&kshmtest.Kit{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	buf, err := dev.Alloc(4096, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer buf.Close()

	h, err := kshm.View[header](buf.Bytes(), 128)
	if err != nil {
		log.Fatal(err)
	}
	h.Position.Store(42)
	_, err = kshm.View[header](buf.Bytes(), 4090)
	fmt.Println(h.Position.Load(), err)
	// Output: 42 kshm: view: invalid argument: kshm_test.header of 16 bytes at 4090 is outside 4096 bytes
}

func ExampleCTLCode() {
	poke := kshm.CTLCode(kshm.FileDeviceUnknown, 3, kshm.MethodBuffered, kshm.FileAnyAccess)
	fmt.Println(poke)
	// Output: 0x0022000c (device 0x22, function 0x3, METHOD_BUFFERED, FILE_ANY_ACCESS)
}
