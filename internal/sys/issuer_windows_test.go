// SPDX-License-Identifier: MIT

package sys

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"kshm/internal/abi"
)

func newArgs() *abi.ShareArgs {
	return &abi.ShareArgs{Access: abi.AccessRead | abi.AccessWrite}
}

// While the pages of one share are being locked, which may take long, the
// events of the others come.
func TestWaitPassesASlowShare(t *testing.T) {
	d, err := OpenDevice(`\\.\MountPointManager`)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	slow := make(chan struct{})
	defer close(slow)
	d.shares.work <- func() { <-slow }

	answer := make(chan error, 1)
	go func() {
		s := &Share{handle: d.handle, waits: d.waits, request: &request{done: make(chan struct{})}}
		_, err := s.NextEvents()
		answer <- err
	}()
	select {
	case err := <-answer:
		// It is no kshm device, and says so.
		if _, refused := errors.AsType[windows.NTStatus](err); !refused {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("WAIT stands in line behind SHARE")
	}
}
