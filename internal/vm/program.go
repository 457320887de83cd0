// SPDX-License-Identifier: MIT

package vm

import (
	"debug/elf"
	"errors"
	"io/fs"
)

// checkProgram makes sure that a program can run where there is nothing but a
// kernel.
func checkProgram(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		var missing *fs.PathError
		if !errors.As(err, &missing) {
			return fail(ErrProgram, "%s is not a Linux executable; a script needs an interpreter that the guest does not have", path)
		}
		return fail(ErrProgram, "%v", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fail(ErrProgram, "%s needs shared libraries, which the guest does not have; build it with CGO_ENABLED=0", path)
		}
	}
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if f.Machine != want && !(arch == "amd64" && f.Machine == elf.EM_386) {
		return fail(ErrProgram, "%s is for %v and the kernel is for %s; build it with GOOS=linux GOARCH=%[3]s", path, f.Machine, arch)
	}
	return nil
}
