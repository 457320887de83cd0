// SPDX-License-Identifier: MIT

package pe

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"os"
)

// Finish does to a linked driver image what GNU binutils cannot: it marks the
// section INIT discardable, so that the kernel frees it after DriverEntry, and
// sets the checksum, which the kernel's loader verifies.
func Finish(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	headers := int(binary.LittleEndian.Uint32(data[0x3c:])) + 24 + int(f.SizeOfOptionalHeader)
	for i, s := range f.Sections {
		if s.Name == "INIT" {
			at := headers + 40*i + 36
			binary.LittleEndian.PutUint32(data[at:], s.Characteristics|scnDiscardable)
		}
	}
	binary.LittleEndian.PutUint32(data[checksumAt(data):], Checksum(data))
	return os.WriteFile(path, data, 0o644)
}
