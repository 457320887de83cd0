// SPDX-License-Identifier: MIT

//go:build linux

package bench

import "testing"

// A side that spins for long, because its peer gets no processor, slows its
// trial down and ends nobody.
func TestLongSpin(t *testing.T) {
	var r result
	err := pair{}.onCPU(0, &r, func() error {
		for start := threadTime(); threadTime()-start < 2*urgentFor; {
		}
		return nil
	})
	if err != nil || r.cpu[0] < 2*urgentFor {
		t.Errorf("%+v, %v", r, err)
	}
}
