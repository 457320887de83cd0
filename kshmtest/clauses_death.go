// SPDX-License-Identifier: MIT

package kshmtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"kshm"
)

// endsFor holds a share with 50 waiters to an end that somebody else brings.
func endsFor(w *work, bring func(), want error, reason kshm.Reason) {
	w.Helper()
	w.round()
	seen := w.share.Events()
	results := make(chan error, 50)
	for range cap(results) {
		go func() {
			_, err := w.share.Wait(context.Background(), seen)
			results <- err
		}()
	}
	bring()
	for range cap(results) {
		w.mustBe("a waiter", <-results, want)
	}
	w.mustEnd(want)
	w.mustBe("Kick", w.share.Kick(), want)
	st, err := w.share.Stats()
	w.ok(err)
	if st.Reason != reason || st.Pinned != 0 {
		w.Errorf("stats say %v, %d bytes pinned", st.Reason, st.Pinned)
	}
	w.ok(w.share.Close())
	if err := w.share.Err(); err != want {
		w.Errorf("after Close: %v, want still %v", err, want)
	}
	if err := w.look(); err != nil {
		w.Errorf("the program's memory: %v", err)
	}
	w.ok(w.mem.Close())
}

// revoked: the driver takes the share back; everybody is told.
func revoked(b *bench) {
	be := b.device()
	before := b.pinned(be)
	w := b.share(be)
	endsFor(w, func() { b.ok(be.Revoke(w.share)) }, kshm.ErrRevoked, kshm.EndRevoked)
	if n := b.pinned(be); n != before {
		b.Errorf("%d pinned, %d before", n, before)
	}
	b.share(be).round()
}

// revokeRaces: the driver's end against the program's: one of them wins.
func revokeRaces(b *bench) {
	be := b.device()
	before := b.pinned(be)
	mem := b.alloc(be)
	for range 100 {
		w := b.shareOf(be, mem)
		done := make(chan error, 1)
		go func() { done <- be.Revoke(w.share) }()
		runtime.Gosched()
		b.ok(w.share.Close())
		// Too late is no failure of the backend's.
		if err := <-done; err != nil && !errors.Is(err, kshm.ErrClosed) {
			b.Fatal(err)
		}
		if err := w.share.Err(); err != kshm.ErrClosed && err != kshm.ErrRevoked {
			b.Fatalf("the share ended with %v", err)
		}
	}
	if n := b.pinned(be); n != before {
		b.Errorf("%d pinned, %d before", n, before)
	}
}

// driverRemoved: the driver goes while it has shares.
func driverRemoved(b *bench) {
	be := b.device()
	w, mem := b.share(be), b.alloc(be)
	endsFor(w, func() { b.ok(be.Remove()) }, kshm.ErrGone, kshm.EndGone)
	_, err := be.Device.Share(mem.Buffer, nil)
	b.mustBe("Share after the driver has gone", err, kshm.ErrGone)
	b.ok(be.Device.Close())
}

// programExits: the share ends with the process that made it.
func programExits(b *bench) {
	be := b.device()
	w, mem := b.share(be), b.alloc(be)
	endsFor(w, be.Exit, kshm.ErrOrphaned, kshm.EndExit)
	_, err := be.Device.Share(mem.Buffer, nil)
	b.mustBe("Share of a dead process", err, kshm.ErrClosed)
}

// childEnv names the test whose copy of Conformance is to play the child.
const (
	childEnv   = "KSHM_CONFORMANCE_CHILD"
	childReady = "kshm-conformance: the child shares"
)

// programKilled: a process is killed while its share is at work.
func programKilled(b *bench) {
	be := b.device()
	before := b.pinned(be)
	for range 5 {
		kill9(b)
		if n := b.pinned(be); n != before {
			b.Fatalf("%d pinned after the child's death, %d before", n, before)
		}
	}
	b.share(be).round()
}

func kill9(b *bench) {
	b.Helper()
	exe, err := os.Executable()
	b.ok(err)
	name, _, _ := strings.Cut(b.Name(), "/end/")
	cmd := exec.Command(exe, "-test.run=^"+strings.ReplaceAll(name, "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	out, err := cmd.StdoutPipe()
	b.ok(err)
	b.ok(cmd.Start())
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), childReady) {
			b.ok(cmd.Process.Kill())
			cmd.Wait()
			return
		}
	}
	b.Fatalf("the child has not come to share (%v):\n%s", cmd.Wait(), said.String())
}

// playChild shares, keeps the driver at work, and waits to be killed.
func playChild(t *testing.T, open func(t testing.TB) *Backend) {
	b := &bench{T: t, open: open}
	w := b.share(b.device())
	w.round()
	fmt.Println(childReady)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		w.round()
	}
	t.Fatal("nobody has killed the child")
}
