// SPDX-License-Identifier: MIT

package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
)

// OpenKernel describes an x86 kernel image of the user's own: a bzImage, or a
// user-mode Linux, which is an ELF program.
// modules is the folder with the kernel's modules, or "".
func OpenKernel(image, modules string) (Kernel, error) {
	f, err := os.Open(image)
	if err != nil {
		return Kernel{}, fmt.Errorf("vm: %w", err)
	}
	defer f.Close()
	if isELF(f) {
		release, err := umlRelease(image)
		if err != nil {
			return Kernel{}, fmt.Errorf("vm: %s: %w", image, err)
		}
		return Kernel{Name: release, Image: image, Release: release, Modules: modules, Arch: "amd64", UML: true}, nil
	}
	release, err := bzImageRelease(f)
	if err != nil {
		return Kernel{}, fmt.Errorf("vm: %s: %w", image, err)
	}
	return Kernel{Name: release, Image: image, Release: release, Modules: modules, Arch: "amd64"}, nil
}

// bzImageRelease reads the release from the header of the x86 boot protocol.
func bzImageRelease(r io.ReaderAt) (string, error) {
	const magicAt, versionAt, sectorSize = 0x202, 0x20e, 0x200
	head := make([]byte, versionAt+2)
	if _, err := r.ReadAt(head, 0); err != nil {
		return "", fmt.Errorf("not a kernel image: %w", err)
	}
	if string(head[magicAt:magicAt+4]) != "HdrS" {
		return "", fmt.Errorf("not a bzImage")
	}
	text := make([]byte, 256)
	n, err := r.ReadAt(text, int64(binary.LittleEndian.Uint16(head[versionAt:]))+sectorSize)
	if err != nil && err != io.EOF {
		return "", err
	}
	text, _, _ = bytes.Cut(text[:n], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if release == "" {
		return "", fmt.Errorf("the kernel image does not say its release")
	}
	return release, nil
}

func isELF(r io.ReaderAt) bool {
	var magic [4]byte
	_, err := r.ReadAt(magic[:], 0)
	return err == nil && string(magic[:]) == "\x7fELF"
}
