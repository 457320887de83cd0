// SPDX-License-Identifier: MIT

package kshmtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kshm"
)

// broken are backends with one fault each, and the clause that must find it.
var broken = []struct {
	fault  string
	clause string
	spoil  func(*Kit, *Backend)
}{
	{"works on a copy of the memory", "live/both directions", func(k *Kit, _ *Backend) {
		k.Share = func(s *Share) Status { s.Base = bytes.Clone(s.Base); return StatusSuccess }
	}},
	{"writes beyond its share", "memory/a part of a buffer", func(k *Kit, b *Backend) {
		ask := b.Ask
		b.Ask = func(mem []byte, n uint64) {
			ask(mem, n)
			allocations.Lock()
			defer allocations.Unlock()
			for a := range allocations.live {
				a.view.Bytes[16] = 1
			}
		}
	}},
	{"loses every third event", "events/never lost", func(k *Kit, _ *Backend) {
		n := 0
		k.Kick = func(s *Share) {
			if echo(s.Base) {
				if n++; n%3 != 0 {
					s.Notify()
				}
			}
		}
	}},
	{"raises no event at all", "events/a hundred waiters", func(k *Kit, _ *Backend) {
		k.Kick = func(s *Share) { echo(s.Base) }
	}},
	{"answers wrongly", "done/synchronous", func(k *Kit, _ *Backend) {
		k.Kick = func(s *Share) { echo(s.Base); echoView(s.Base).reply.Add(1); s.Notify() }
	}},
	{"keeps pages pinned", "done/again and again", func(_ *Kit, b *Backend) {
		pinned := uint64(0)
		b.Pinned = func() (uint64, error) { pinned++; return pinned, nil }
	}},
	{"pins nothing", "done/synchronous", func(_ *Kit, b *Backend) {
		b.Pinned = func() (uint64, error) { return 0, nil }
	}},
	{"stops answering when another share ends", "memory/several shares", func(k *Kit, _ *Backend) {
		ended := false
		k.Stop = func(*Share, kshm.Reason) { ended = true }
		k.Kick = func(s *Share) {
			if !ended && echo(s.Base) {
				s.Notify()
			}
		}
	}},
	{"says that a revoked share is corrupt", "end/revoked", func(k *Kit, b *Backend) {
		b.Revoke = func(*kshm.Share) error {
			for _, s := range k.shares {
				s.Corrupt(0, 1)
			}
			return nil
		}
	}},
	{"takes foreign memory", "refused/foreign memory", func(_ *Kit, b *Backend) {
		b.Foreign = func(t testing.TB) []byte {
			buf, err := b.Device.Alloc(b.Size, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { buf.Close() })
			return buf.Bytes()
		}
	}},
}

const brokenEnv = "KSHM_BROKEN"

// TestConformanceFindsFaults starts this test again for each broken backend,
// which Conformance must fail where it is said to.
func TestConformanceFindsFaults(t *testing.T) {
	if fault := os.Getenv(brokenEnv); fault != "" {
		if fault != "none" {
			patience = 2 * time.Second
		}
		Conformance(t, func(t testing.TB) *Backend { return openBroken(t, fault) })
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("no fault", func(t *testing.T) {
		cmd := exec.Command(exe, "-test.run=^TestConformanceFindsFaults$")
		cmd.Env = append(os.Environ(), brokenEnv+"=none")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("a backend without a fault: %v\n%s", err, out)
		}
	})
	for _, c := range broken {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			at := strings.ReplaceAll(strings.ReplaceAll(c.clause, "/", "$/^"), " ", "_")
			cmd := exec.Command(exe, "-test.run=^TestConformanceFindsFaults$/^"+at+"$")
			cmd.Env = append(os.Environ(), brokenEnv+"="+c.fault)
			out, err := cmd.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); !failed {
				t.Errorf("not found (%v)", err)
			}
			if want := "FAIL: TestConformanceFindsFaults/" + strings.ReplaceAll(c.clause, " ", "_"); !strings.Contains(string(out), want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		})
	}
}

func openBroken(t testing.TB, fault string) *Backend {
	kit := &Kit{Kick: func(s *Share) {
		if echo(s.Base) {
			s.Notify()
		}
	}}
	d := NewDevice(kit, &Options{Info: kshm.Info{MinLength: 132, MaxLength: 1 << 20}})
	b := openOn(t, d, echoBackend)
	b.Size = 8192
	b.Revoke = revokeLatest(kit)
	for _, c := range broken {
		if c.fault == fault {
			c.spoil(kit, b)
		}
	}
	return b
}
