// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Attach attaches the programs of a loaded object where their sections say:
// tp_btf/NAME, raw_tp/NAME and tracepoint/GROUP/NAME. Other programs are left
// alone. It is what Options.Attach is without one, and may be part of one.
func Attach(spec *ebpf.CollectionSpec, c *ebpf.Collection) (links []link.Link, err error) {
	var names []string
	for name := range spec.Programs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l, err := attachOne(spec.Programs[name], c.Programs[name])
		if err != nil {
			closeAll(links)
			return nil, fmt.Errorf("attach program %s: %w", name, err)
		}
		if l != nil {
			links = append(links, l)
		}
	}
	return links, nil
}

func attachOne(spec *ebpf.ProgramSpec, p *ebpf.Program) (link.Link, error) {
	switch spec.Type {
	case ebpf.Tracing:
		return link.AttachTracing(link.TracingOptions{Program: p, AttachType: spec.AttachType})
	case ebpf.RawTracepoint:
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: spec.AttachTo, Program: p})
	case ebpf.TracePoint:
		group, name, ok := strings.Cut(spec.AttachTo, "/")
		if !ok {
			return nil, fmt.Errorf("section %s names no tracepoint", spec.SectionName)
		}
		return link.Tracepoint(group, name, p, nil)
	}
	return nil, nil
}
