// SPDX-License-Identifier: MIT

// Recipe goes through the classic recipe for memory that a program and a
// driver share, step by step, and prints what each side does. It runs on any
// machine with Go: the kernel side is a model.
//
//	go run ./examples/recipe
//
// The driver in driver.go is what a driver author writes.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"kshm"
	"kshm/kshmtest"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	fmt.Fprintln(w, "The kernel side below is a MODEL: package kshmtest and a driver written in Go.")
	fmt.Fprintln(w, "No kernel takes part. Both sides really work on the same pages.")
	fmt.Fprintln(w)
	l := &lanes{w: w}
	l.head("program", "kernel (model)")
	device := kshmtest.NewDevice(&driver{say: l.kernel}, &kshmtest.Options{
		Info:  kshm.Info{Driver: "recipe"},
		Trace: l.system,
	})
	if err := work(l, device); err != nil {
		return err
	}
	if err := die(l, device); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nbytes still locked: %d\n", device.Pinned())
	return nil
}

// system prints what the I/O manager does in the kernel's lane.
func (l *lanes) system(what string) {
	step := 7
	if strings.Contains(what, "MDL") {
		step = 3
	} else if strings.HasPrefix(what, "cancels") {
		step = 8
	}
	l.kernel(step, "system: %s", what)
}

// work is the recipe as it should go.
func work(l *lanes, device *kshmtest.Device) error {
	l.program(1, "opens the device, for overlapped requests")
	dev, err := device.Open(context.Background())
	if err != nil {
		return err
	}
	defer dev.Close()
	buf, err := dev.Alloc(4096, nil)
	if err != nil {
		return err
	}
	defer buf.Close()

	l.program(2, "sends SHARE with the address of %d bytes", buf.Len())
	share, err := dev.Share(buf, nil)
	if err != nil {
		return err
	}
	defer share.Close()

	l.program(4, "sees SHARE pending: the memory is shared")
	copy(buf.Bytes(), "hello, kernel")
	l.program(5, "writes %q into its memory", "hello, kernel")
	l.program(9, "kicks")
	if err := share.Kick(); err != nil {
		return err
	}
	events, err := share.Wait(context.Background(), 0)
	if err != nil {
		return err
	}
	text, _, _ := bytes.Cut(buf.Bytes(), []byte{0})
	l.program(9, "wakes: %d event", events)
	l.program(5, "reads %q", text)

	l.program(6, "sends DONE, %#08x", uint32(kshm.CodeDone))
	if err := share.Close(); err != nil {
		return err
	}
	l.program(7, "sees SHARE completed: the memory is its own again")
	return nil
}

// die is a program that ends in the middle of a share.
func die(l *lanes, device *kshmtest.Device) error {
	process, kill := context.WithCancel(context.Background())
	defer kill()
	dev, err := device.Open(process)
	if err != nil {
		return err
	}
	buf, err := dev.Alloc(4096, nil)
	if err != nil {
		return err
	}
	defer buf.Close()
	l.program(2, "(another program) sends SHARE")
	share, err := dev.Share(buf, nil)
	if err != nil {
		return err
	}
	l.program(8, "(another program) is killed")
	kill()
	<-share.Done()
	l.program(8, "(its share has ended: %v)", share.Err())
	return dev.Close()
}
