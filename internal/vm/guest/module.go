// SPDX-License-Identifier: MIT
//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"kshm/internal/vm/wire"
)

// insmod loads modules in order and returns those that were loaded.
func insmod(modules []wire.Module) (loaded []wire.Module, err error) {
	for _, m := range modules {
		image, err := os.ReadFile(m.Path)
		if err != nil {
			return loaded, err
		}
		params, err := syscall.BytePtrFromString(m.Params)
		if err != nil {
			return loaded, fmt.Errorf("parameters of module %s: %w", m.Name, err)
		}
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), uintptr(unsafe.Pointer(params)))
		if errno == syscall.EEXIST && m.Keep {
			continue // built into this kernel
		}
		if errno != 0 {
			return loaded, fmt.Errorf("the kernel refuses module %s: %w (the kernel log says why)", m.Name, errno)
		}
		loaded = append(loaded, m)
	}
	return loaded, nil
}

// rmmod unloads modules in reverse order and says which could not be.
func rmmod(loaded []wire.Module) (stuck []string) {
	for i := len(loaded) - 1; i >= 0; i-- {
		if m := loaded[i]; !m.Keep {
			if err := unload(m.Name); err != nil {
				stuck = append(stuck, fmt.Sprintf("%s: %v", m.Name, err))
			}
		}
	}
	return stuck
}

// unload removes one module, giving its last users a moment to leave.
func unload(name string) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, _, errno := syscall.Syscall(syscall.SYS_DELETE_MODULE, uintptr(unsafe.Pointer(p)), syscall.O_NONBLOCK, 0)
		if errno == 0 {
			return nil
		}
		if errno != syscall.EAGAIN || time.Now().After(end) {
			refs, _ := os.ReadFile("/sys/module/" + name + "/refcnt")
			return fmt.Errorf("%w (reference count %.20s)", errno, strings.TrimSpace(string(refs)))
		}
	}
}
