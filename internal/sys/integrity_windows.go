// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// CodeIntegrity says which drivers the system loads: whether it checks
// signatures at all, takes test certificates that are trusted on the machine,
// and has the hypervisor enforce the integrity of kernel memory (HVCI).
func CodeIntegrity() (on, testSigning, hvci bool, err error) {
	var integrity struct{ length, options uint32 }
	integrity.length = uint32(unsafe.Sizeof(integrity))
	err = windows.NtQuerySystemInformation(windows.SystemCodeIntegrityInformation, unsafe.Pointer(&integrity), integrity.length, nil)
	if err != nil {
		return false, false, false, fmt.Errorf("ask for the state of code integrity: %w", err)
	}
	o := integrity.options
	return o&0x1 != 0, o&0x2 != 0, o&0x400 != 0, nil
}
