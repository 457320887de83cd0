// SPDX-License-Identifier: MIT

package kshm_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"kshm"
)

func TestOpError(t *testing.T) {
	inner := errors.New("errno 5")
	for _, c := range []struct {
		err  *kshm.OpError
		want string
	}{
		{&kshm.OpError{Op: "wrap", Err: inner}, "kshm: wrap: errno 5"},
		{&kshm.OpError{Op: "share", Device: "digest", Err: inner}, "kshm: share digest: errno 5"},
		{&kshm.OpError{Op: "share", Device: "digest", Err: inner, Remedy: "do so"}, "kshm: share digest: errno 5 (do so)"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		if !errors.Is(c.err, inner) {
			t.Errorf("%v hides its cause", c.err)
		}
	}
}

// TestErrorsOfTransports: a transport's error keeps its remedy and its cause
// and gets the operation and the device.
func TestErrorsOfTransports(t *testing.T) {
	cause := errors.New("0xC0000044")
	f := newFake()
	dev := kshm.NewDevice("fake", f)
	buf := wrap(t)
	for _, err := range []error{
		&kshm.OpError{Err: fmt.Errorf("%w: %w", kshm.ErrMemlock, cause), Remedy: "raise it"},
		fmt.Errorf("%w: %w", kshm.ErrMemlock, cause),
	} {
		f.shareErr = err
		_, got := dev.Share(buf, nil)
		op, ok := errors.AsType[*kshm.OpError](got)
		if !ok || op.Op != "share" || op.Device != "fake" || !errors.Is(got, kshm.ErrMemlock) || !errors.Is(got, cause) {
			t.Errorf("%v", got)
		}
		if inner, ok := errors.AsType[*kshm.OpError](err); ok && op.Remedy != inner.Remedy {
			t.Errorf("%v lost its remedy", got)
		}
		if strings.Count(got.Error(), "kshm:") != 1 {
			t.Errorf("%q is nested", got)
		}
	}
	if err := buf.Close(); err != nil {
		t.Errorf("a refused share holds the buffer: %v", err)
	}
}

func TestReasons(t *testing.T) {
	for r, want := range map[kshm.Reason]error{
		kshm.Live: nil, kshm.EndDone: os.ErrClosed, kshm.EndClosed: kshm.ErrClosed,
		kshm.EndExit: kshm.ErrOrphaned, kshm.EndRevoked: kshm.ErrRevoked, kshm.EndGone: kshm.ErrGone,
		kshm.EndCorrupt: kshm.ErrCorrupt, kshm.EndCancelled: kshm.ErrCancelled,
		99: kshm.ErrRevoked, // of a newer kernel
	} {
		if got := r.Err(); got != want {
			t.Errorf("%v: %v, want %v", r, got, want)
		}
	}
	seen := make(map[string]bool)
	for r := kshm.Live; r <= kshm.EndCancelled+1; r++ {
		name := r.String()
		if name == "" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[name] = true
	}
}

func TestOpenRefusals(t *testing.T) {
	_, err := kshm.Open("")
	if !errors.Is(err, kshm.ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
	want := kshm.ErrNotExist
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		want = kshm.ErrNotSupported
	}
	_, err = kshm.Open("there-is-no-such-driver")
	if op, ok := errors.AsType[*kshm.OpError](err); !errors.Is(err, want) || !ok || op.Remedy == "" || op.Op != "open" {
		t.Errorf("no such driver: %v; want %v with a remedy", err, want)
	}
	if runtime.GOOS == "linux" {
		if _, err := kshm.Open("x", kshm.WithCodes(kshm.CodeShare, kshm.CodeDone)); !errors.Is(err, kshm.ErrNotSupported) {
			t.Errorf("WithCodes: %v", err)
		}
		if _, err := kshm.Open(os.DevNull); !errors.Is(err, kshm.ErrABI) {
			t.Errorf("a device that is not kshm's: %v", err)
		}
	}
}
