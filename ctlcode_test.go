// SPDX-License-Identifier: MIT

package kshm_test

import (
	"strings"
	"testing"

	"kshm"
	"kshm/internal/abi"
)

func TestCTLCode(t *testing.T) {
	const both = kshm.FileReadAccess | kshm.FileWriteAccess
	for _, c := range []struct {
		device, function uint32
		method           kshm.Method
		access           kshm.Access
		want             kshm.ControlCode
	}{
		{kshm.FileDeviceUnknown, 1, kshm.MethodOutDirect, kshm.FileAnyAccess, 0x00220006},
		{kshm.FileDeviceUnknown, 2, kshm.MethodBuffered, kshm.FileAnyAccess, 0x00220008},
		// Well known ones of Windows: the geometry and the length of a disk,
		// the setting of a reparse point.
		{0x07, 0x00, kshm.MethodBuffered, kshm.FileAnyAccess, 0x00070000},
		{0x07, 0x17, kshm.MethodBuffered, kshm.FileReadAccess, 0x0007405C},
		{0x09, 41, kshm.MethodBuffered, kshm.FileAnyAccess, 0x000900A4},
		// As the C macro of driver/include/kshm.h composes them.
		{kshm.FileDeviceUnknown, 0x801, kshm.MethodInDirect, kshm.FileAnyAccess, abi.CtlShareRead},
		{kshm.FileDeviceUnknown, 0x802, kshm.MethodBuffered, kshm.FileWriteAccess, abi.CtlKick},
		{kshm.FileDeviceUnknown, 0x803, kshm.MethodBuffered, kshm.FileReadAccess, abi.CtlStats},
		{kshm.FileDeviceUnknown, 0x805, kshm.MethodBuffered, both, abi.CtlStop},
		{0xffff, 0xfff, kshm.MethodNeither, both, 0xffffffff},
		{0x1ffff, 0x1fff, 7, 7, 0xffffffff}, // what does not fit is dropped
	} {
		got := kshm.CTLCode(c.device, c.function, c.method, c.access)
		if got != c.want {
			t.Errorf("CTLCode(%#x, %#x, %d, %d) = %#08x, want %#08x", c.device, c.function, c.method, c.access, uint32(got), uint32(c.want))
		}
	}
	if kshm.CodeShare != abi.CtlShare || kshm.CodeDone != abi.CtlDone {
		t.Errorf("the recipe's codes are %v and %v", kshm.CodeShare, kshm.CodeDone)
	}
}

func TestControlCodeParts(t *testing.T) {
	for _, bits := range []uint32{0, 1, 0x00220006, 0x0007405c, 0xdeadbeef, 0xffffffff} {
		c := kshm.ControlCode(bits)
		if again := kshm.CTLCode(c.Device(), c.Function(), c.Method(), c.Access()); again != c {
			t.Errorf("%#08x came back as %#08x", bits, uint32(again))
		}
	}
	want := "0x00220006 (device 0x22, function 0x1, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)"
	if got := kshm.CodeShare.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := kshm.ControlCode(abi.CtlStop).String(); !strings.Contains(got, "FILE_READ_ACCESS|FILE_WRITE_ACCESS") {
		t.Errorf("%q", got)
	}
}
