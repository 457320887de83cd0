// SPDX-License-Identifier: MIT

// Package pe inspects and finishes Windows driver images: what the kernel's
// loader, code integrity and hypervisor-enforced code integrity ask of a .sys
// file, checked where there is no Windows.
package pe

import (
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The flags of a section that matter here.
const (
	scnDiscardable = 0x02000000
	scnExecute     = 0x20000000
	scnWrite       = 0x80000000
)

const (
	subsystemNative = 1
	dynamicBase     = 0x0040
	nxCompat        = 0x0100
	relocsStripped  = 0x0001
	pageSize        = 4096
)

// Imports lists the functions a driver may import, by the lower-case name of
// the image that exports them.
type Imports map[string][]string

// ParseImports reads lines "IMAGE FUNCTION..."; "#" begins a comment.
func ParseImports(text string) Imports {
	imports := Imports{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 1 {
			image := strings.ToLower(words[0])
			imports[image] = append(imports[image], words[1:]...)
		}
	}
	return imports
}

// Lint reports everything that is wrong with the driver image at path; nil if
// nothing is. allowed lists the imports it may have.
func Lint(path string, allowed Imports) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := pe.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		return fmt.Errorf("%s: not a 64-bit x86 image", path)
	}
	problems := append(lintHeader(f, h), lintSections(f, h)...)
	problems = append(problems, lintImports(f, allowed)...)
	if sum := Checksum(data); sum != h.CheckSum {
		problems = append(problems, fmt.Errorf("checksum %#x, computed %#x: the loader refuses it", h.CheckSum, sum))
	}
	for i, p := range problems {
		problems[i] = fmt.Errorf("%s: %w", path, p)
	}
	return errors.Join(problems...)
}

func lintHeader(f *pe.File, h *pe.OptionalHeader64) (problems []error) {
	if h.Subsystem != subsystemNative {
		problems = append(problems, fmt.Errorf("subsystem %d, not native", h.Subsystem))
	}
	if h.DllCharacteristics&nxCompat == 0 {
		problems = append(problems, errors.New("not marked NX compatible"))
	}
	if h.DllCharacteristics&dynamicBase == 0 || f.Characteristics&relocsStripped != 0 {
		problems = append(problems, errors.New("cannot be loaded at another address"))
	}
	if h.SectionAlignment < pageSize {
		problems = append(problems, fmt.Errorf("sections aligned to %d bytes share pages", h.SectionAlignment))
	}
	return problems
}

func lintSections(f *pe.File, h *pe.OptionalHeader64) (problems []error) {
	var init *pe.Section
	for _, s := range f.Sections {
		if s.Characteristics&scnWrite != 0 && s.Characteristics&scnExecute != 0 {
			problems = append(problems, fmt.Errorf("section %s is writable and executable", s.Name))
		}
		if s.Name == "INIT" {
			init = s
		} else if s.Characteristics&scnDiscardable != 0 && s.Characteristics&scnExecute != 0 {
			problems = append(problems, fmt.Errorf("section %s has code and is discardable", s.Name))
		}
	}
	switch {
	case init == nil:
		problems = append(problems, errors.New("no INIT section"))
	case init.Characteristics&scnDiscardable == 0:
		problems = append(problems, errors.New("section INIT is not discardable"))
	case h.AddressOfEntryPoint-init.VirtualAddress >= init.VirtualSize:
		problems = append(problems, errors.New("DriverEntry is not in INIT"))
	}
	return problems
}

func lintImports(f *pe.File, allowed Imports) (problems []error) {
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return []error{err}
	}
	for _, s := range symbols {
		name, image, _ := strings.Cut(s, ":")
		if !slices.Contains(allowed[strings.ToLower(image)], name) {
			problems = append(problems, fmt.Errorf("imports %s from %s, which is not on the list", name, image))
		}
	}
	return problems
}

// ImportsOf lists what the image at path imports.
func ImportsOf(path string) (Imports, error) {
	f, err := pe.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	imports := Imports{}
	for _, s := range symbols {
		name, image, _ := strings.Cut(s, ":")
		imports[strings.ToLower(image)] = append(imports[strings.ToLower(image)], name)
	}
	return imports, nil
}

// checksumAt is where the image holds its checksum.
func checksumAt(data []byte) int {
	return int(binary.LittleEndian.Uint32(data[0x3c:])) + 24 + 64
}

// Checksum computes the checksum of an image: the sum of its 16-bit words with
// the carry added back, the checksum itself left out, plus the length.
func Checksum(data []byte) uint32 {
	var sum uint32
	at := checksumAt(data)
	for i := 0; i < len(data); i += 2 {
		if i == at || i == at+2 {
			continue
		}
		word := uint32(data[i])
		if i+1 < len(data) {
			word |= uint32(data[i+1]) << 8
		}
		sum += word
		sum = sum&0xffff + sum>>16
	}
	return sum + uint32(len(data))
}
