// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"kshm"
	"kshm/internal/deps"
	"kshm/internal/vm"
)

// DeviceName is the driver that hashes.
const DeviceName = "digest"

const guestDisk = "/dev/vda"

// patience is how long a guest may say nothing. A slow host translates every
// instruction of its boot.
const patience = 5 * time.Minute

var errSilent = fmt.Errorf("the guest has said nothing for %v", patience)

// runGuest boots a stock kernel and has Run do the job in it. command starts
// this program's hidden half there. The file is the guest's disk.
func runGuest(ctx context.Context, w io.Writer, kernel string, command []string, src *Source, emit Emit) (*Facts, *vm.Result, error) {
	repo := deps.Repo()
	if repo == "" {
		return nil, nil, &deps.UnavailableError{What: "the drivers' sources", Why: "run this inside the kshm repository"}
	}
	// Everything that may be fetched comes first, so that what follows is one
	// uninterrupted show.
	if _, err := deps.Ensure(ctx, w, deps.QEMU); err != nil {
		return nil, nil, err
	}
	k, err := vm.Fetch(ctx, w, kernel)
	if err != nil {
		return nil, nil, err
	}
	modules, err := buildModules(ctx, w, repo, k)
	if err != nil {
		return nil, nil, err
	}
	program, cleanup, err := staticProgram(ctx, repo, k)
	if err != nil {
		return nil, nil, err
	}
	defer cleanup()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer watchdog.Stop()
	l := &listener{emit: emit}
	o := vm.Options{
		Kernel: k, Program: program, Args: append(command, strconv.FormatInt(src.Size, 10)),
		Modules: modules, Memory: 512, Progress: w, Stderr: os.Stderr,
		Stdout: Decode(func(e Event) { watchdog.Reset(patience); l.take(e) }),
	}
	if src.Size > 0 {
		o.Disks = []*os.File{src.File}
	}
	fmt.Fprintf(w, "demo: booting %s in a virtual machine\n", k.Release)
	emit(Event{Scene: fmt.Sprintf("a stock Debian kernel, %s, in a virtual machine; nothing is installed", k.Release)})
	res, err := vm.Run(ctx, o)
	return l.facts, res, errors.Join(l.verdict(res, err), err)
}

// A listener keeps what a guest says last and passes on the rest.
type listener struct {
	emit    Emit
	facts   *Facts
	failure string
}

func (l *listener) take(e Event) {
	switch {
	case e.Facts != nil:
		l.facts = e.Facts
	case e.Failure != "":
		l.failure = e.Failure
	default:
		l.emit(e)
	}
}

// verdict is what is wrong with what the guest said.
func (l *listener) verdict(res *vm.Result, err error) error {
	switch {
	case l.failure != "":
		return errors.New(l.failure)
	case err != nil:
		return nil
	case res.Exit != 0:
		return fmt.Errorf("the program in the guest ended with status %d", res.Exit)
	case l.facts == nil:
		return errors.New("the guest did not say what it found")
	}
	return nil
}

// Guest is what runs in the guest: Run on the disk, saying everything on out.
func Guest(ctx context.Context, size int64, child []string, out io.Writer) error {
	emit := Encode(out)
	facts, err := guest(ctx, size, child, emit)
	if facts != nil {
		emit(Event{Facts: facts})
	}
	if err != nil {
		emit(Event{Failure: err.Error()})
	}
	return err
}

func guest(ctx context.Context, size int64, child []string, emit Emit) (*Facts, error) {
	dev, err := kshm.Open(DeviceName)
	if err != nil {
		return nil, err
	}
	j := Job{Device: dev, Size: size, Census: SystemCensus, Child: child, Emit: emit}
	if size > 0 {
		disk, err := os.Open(guestDisk)
		if err != nil {
			return nil, errors.Join(err, dev.Close())
		}
		defer disk.Close()
		j.Source = io.NewSectionReader(disk, 0, size)
	}
	return Run(ctx, j)
}
