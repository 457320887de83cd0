// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"kshm"
	"kshm/internal/sys"
)

var getProcessMemoryInfo = windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetProcessMemoryInfo")

// memoryInUse says how much memory the process has in use, in bytes.
func memoryInUse(t testing.TB) int {
	t.Helper()
	var counters struct {
		size, faults             uint32
		peakWorkingSet, working  uintptr
		quotas                   [4]uintptr
		pagefile, peakOfPagefile uintptr
	}
	counters.size = uint32(unsafe.Sizeof(counters))
	ok, _, err := getProcessMemoryInfo.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&counters)), uintptr(counters.size))
	if ok == 0 {
		t.Fatal(err)
	}
	return int(counters.working)
}

// A request that is refused at once has no packet with which its block would be
// freed: whoever made it does that.
func TestRefusedRequestsAreFreed(t *testing.T) {
	const block, requests = 1 << 20, 32
	before := memoryInUse(t)
	touched, err := sys.Alloc(block*requests, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(touched); i += 4096 {
		touched[i] = 1
	}
	if grown := memoryInUse(t) - before; grown < block*requests*3/4 {
		t.Fatalf("the process has grown by %d of %d bytes: this test would see no leak", grown, len(touched))
	}
	if err := sys.Free(touched); err != nil {
		t.Fatal(err)
	}

	dev := open(t, "digest")
	in := make([]byte, block)
	before = memoryInUse(t)
	for range requests {
		_, err := dev.Control(t.Context(), kshm.CTLCode(kshm.FileDeviceUnknown, 0x900, 0, 0), in, nil)
		if !errors.Is(err, kshm.ErrNotSupported) {
			t.Fatal(err)
		}
	}
	if grown := memoryInUse(t) - before; grown > block*requests/4 {
		t.Errorf("%d requests of %d bytes were refused, and the process has grown by %d", requests, block, grown)
	}
}
