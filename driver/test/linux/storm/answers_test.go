// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// A storm in which an operation that matters always fails, however documented
// its answer, has to be told from one that works.
func TestWhatNeverSucceedsIsNamed(t *testing.T) {
	var good [script.NumKinds][maxErrno]int64
	for k := range good {
		good[k][0], good[k][unix.ENODEV] = enoughForks, enoughTries
	}
	long := outcome{operations: longStorm, smallKills: 1}
	if list := neverAnswered(&good, &long); len(list) > 0 {
		t.Errorf("after a good storm: %q", list)
	}
	for _, k := range append(slices.Clone(mustSucceed), script.Reload) {
		bad := good
		bad[k][0] = 0
		if list := neverAnswered(&bad, &long); !slices.Equal(list, []string{script.Kinds[k].Name}) {
			t.Errorf("%s never succeeds: %q", script.Kinds[k].Name, list)
		}
	}
	if list := neverAnswered(&good, &outcome{}); len(list) != 1 {
		t.Errorf("no child was killed: %q", list)
	}
	if list := neverAnswered(new([script.NumKinds][maxErrno]int64), &outcome{}); len(list) > 0 {
		t.Errorf("nothing was tried: %q", list)
	}
}
