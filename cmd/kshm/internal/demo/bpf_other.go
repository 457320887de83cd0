// SPDX-License-Identifier: MIT

//go:build !(linux && amd64)

package demo

import (
	"context"
	"fmt"

	"kshm"
)

// BPFReport is the outcome of the demo whose kernel side is eBPF.
type BPFReport struct {
	Failure string `json:"failure,omitempty"`
}

var errNoBPF = fmt.Errorf("%w: the demo's eBPF object is for Linux on amd64", kshm.ErrNotSupported)

// DoBPF cannot be done here.
func DoBPF(context.Context, Options) (*BPFReport, error) { return nil, errNoBPF }

// ShareBPF cannot be done here.
func ShareBPF() error { return errNoBPF }

// SummaryBPF is the last word to a person.
func (s *Screen) SummaryBPF(*BPFReport) {}
