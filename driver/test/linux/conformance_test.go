// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/kshmtest"
)

// The clauses that every backend keeps, here by the digest driver in a real
// kernel.
func TestConformance(t *testing.T) {
	atRest(t)
	kshmtest.Conformance(t, func(t testing.TB) *kshmtest.Backend {
		dev, err := kshm.Open("digest")
		if err != nil {
			t.Fatal(err)
		}
		b := kshmtest.DigestBackend(dev)
		b.Children = true
		b.Pinned = func() (uint64, error) { return uint64(pinsHeld(t)), nil }
		b.Foreign = func(t testing.TB) []byte {
			return mmap(t, 16<<10, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		}
		return b
	})
}
