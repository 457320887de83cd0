// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"fmt"
)

// A Report is the outcome: what Run found, and what this side knows.
type Report struct {
	Path    string `json:"path"`              // "native" or "vm"
	Machine string `json:"machine,omitempty"` // what ran the guest: "QEMU, tcg"
	File    string `json:"file"`
	Facts
	GoSHA256 string `json:"go_sha256"`
	Verified bool   `json:"verified"`
	Note     string `json:"note,omitempty"`
	Failure  string `json:"failure,omitempty"`
}

// kernelSideModel is what package kshmtest calls its kernel side.
const kernelSideModel = "model"

// judge compares the digests. Only a kernel's is worth the word verified.
func (r *Report) judge(src *Source, digest string, err error) error {
	r.GoSHA256 = digest
	change := src.Change()
	switch {
	case err != nil:
	case r.KernelSide == kernelSideModel || r.KernelSide == "":
		err = fmt.Errorf("the kernel side is a model: nothing is verified")
	case r.SHA256 != digest && change != "":
		err = fmt.Errorf("%s %s while it was read: give a file that rests", r.File, change)
	case r.SHA256 != digest:
		err = fmt.Errorf("the kernel's SHA-256 %s is not Go's %s", r.SHA256, digest)
	default:
		r.Verified = true
		if change != "" {
			r.Note = fmt.Sprintf("the file %s meanwhile; this is about its first %d bytes as they were", change, r.Bytes)
		}
	}
	return errors.Join(err, r.checkPins(), r.checkLive())
}

func (r *Report) checkPins() error {
	var errs []error
	for _, c := range []struct {
		n     *int64
		after string
	}{{r.PinsLeaked, "DONE"}, {r.KillPinsLeaked, "kill -9"}} {
		if c.n != nil && *c.n != 0 {
			errs = append(errs, fmt.Errorf("%d pages stayed pinned after %s", *c.n, c.after))
		}
	}
	if r.Path == "vm" && r.Unproven != "" {
		errs = append(errs, fmt.Errorf("a guest is alone and must be able to count pinned pages, but: %s", r.Unproven))
	}
	return errors.Join(errs...)
}

// checkLive: the kernel moves its counter with every piece, so a program that
// never sees it does not share the memory.
func (r *Report) checkLive() error {
	if r.Bytes > 0 && r.SHA256 != "" && r.LiveUpdates == 0 {
		return errors.New("the program never saw the kernel's counter change")
	}
	return nil
}
