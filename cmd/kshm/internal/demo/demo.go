// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"kshm"
	"kshm/internal/deps"
)

// Options are the user's choices.
type Options struct {
	File   string // "": the running program
	Path   string // "auto", "native" or "vm"
	Kernel string // of the guest
	// What this program's hidden half is called with: the child that is killed,
	// and the guest's part.
	Child, Guest []string
	Progress     io.Writer // lines about what is fetched and built
	Emit         Emit
}

// Do runs the demo. The report is nil if it did not come to run.
func Do(ctx context.Context, o Options) (*Report, error) {
	src, err := OpenSource(o.File)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	type sum struct {
		digest string
		err    error
	}
	sums := make(chan sum, 1)
	go func() {
		digest, err := src.Digest()
		sums <- sum{digest, err}
	}()
	r, err := o.run(ctx, src)
	s := <-sums // before the file is closed
	if r == nil || r.Kernel == "" {
		return nil, err
	}
	// The file's own trouble explains the driver's.
	err = errors.Join(s.err, err)
	return r, r.judge(src, s.digest, err)
}

// run does the job natively if it can, and in a guest otherwise.
func (o *Options) run(ctx context.Context, src *Source) (*Report, error) {
	r := &Report{File: src.Path}
	if o.Path != "vm" {
		dev, err := kshm.Open(DeviceName)
		if err == nil {
			return r, o.native(ctx, r, dev, src)
		}
		if err := o.withoutDriver(err); err != nil {
			return nil, err
		}
	}
	r.Path = "vm"
	facts, res, err := runGuest(ctx, o.Progress, o.Kernel, o.Guest, src, o.Emit)
	if facts != nil {
		r.Facts = *facts
	}
	if res != nil {
		r.Machine = "QEMU, " + string(res.Accel)
	}
	return r, err
}

// withoutDriver says whether a driver that cannot be opened is the end of it.
func (o *Options) withoutDriver(err error) error {
	missing := errors.Is(err, kshm.ErrNotExist) || errors.Is(err, kshm.ErrNotSupported)
	switch {
	case runtime.GOOS == "windows" && missing:
		return &deps.UnavailableError{What: "the driver digest", Err: err,
			Why: "it is not loaded; as administrator: kshm driver install digest C:\\path\\digest.sys, then kshm driver start digest"}
	case o.Path == "native":
		return &deps.UnavailableError{What: "the digest driver", Why: err.Error(), Err: err}
	case missing:
		return nil
	case errors.Is(err, kshm.ErrPermission):
		fmt.Fprintf(o.Progress, "demo: the driver is loaded but not for this user, so a virtual machine will do: %v\n", err)
		return nil
	}
	return err
}

func (o *Options) native(ctx context.Context, r *Report, dev *kshm.Device, src *Source) error {
	r.Path = "native"
	o.Emit(Event{Scene: fmt.Sprintf("this machine's own kernel, %s", kernelRelease())})
	facts, err := Run(ctx, Job{
		Device: dev, Source: src.Reader(), Size: src.Size, Census: SystemCensus, Child: o.Child, Emit: o.Emit,
	})
	r.Facts = *facts
	return err
}
