// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"kshm/internal/sys"
)

// VerifierError says that the kernel refused a program, and why.
type VerifierError struct {
	Program string
	Log     string // all that the verifier said
	Err     error
}

// Error ends with the end of the log, where the verifier names the instruction
// and what is wrong with it.
func (e *VerifierError) Error() string {
	lines := strings.Split(strings.TrimRight(e.Log, "\n"), "\n")
	if n := len(lines); n > 0 && strings.HasPrefix(lines[n-1], "processed ") {
		lines = lines[:n-1]
	}
	const shown = 12
	if cut := len(lines) - shown; cut > 0 {
		lines = append([]string{fmt.Sprintf("(%d lines before)", cut)}, lines[cut:]...)
	}
	return fmt.Sprintf("the verifier refuses program %s: %v:\n\t%s", e.Program, e.Err, strings.Join(lines, "\n\t"))
}

// Unwrap gives the system's error.
func (e *VerifierError) Unwrap() error { return e.Err }

// loadProgram loads one program. Those that use the arena hold moves that cast
// a pointer to it; the library would drop the mark that makes them casts, so
// those are loaded here, and all others by the library.
func loadProgram(spec *ebpf.ProgramSpec, maps map[string]*ebpf.Map, kernel *btf.Cache) (*ebpf.Program, error) {
	spec = spec.Copy()
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		m := maps[ins.Reference()]
		if m == nil {
			return nil, fmt.Errorf("program %s: the object has no map %s", spec.Name, ins.Reference())
		}
		if err := ins.AssociateMap(m); err != nil {
			return nil, fmt.Errorf("program %s: map %s: %w", spec.Name, ins.Reference(), err)
		}
	}
	casts := castsOf(spec.Instructions)
	if len(casts) == 0 {
		return loadPlain(spec)
	}
	return loadCasts(spec, casts, kernel)
}

func loadPlain(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(spec)
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok {
		return nil, &VerifierError{spec.Name, strings.Join(v.Log, "\n"), v.Cause}
	}
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", spec.Name, err)
	}
	return p, nil
}

// castsOf returns where the casts are, in raw instructions.
func castsOf(insns asm.Instructions) []asm.RawInstructionOffset {
	const cast = 1 // the offset of a move that casts from or to an address space
	var at []asm.RawInstructionOffset
	for iter := insns.Iterate(); iter.Next(); {
		if iter.Ins.OpCode == asm.Mov.Op(asm.RegSource) && iter.Ins.Offset == cast {
			at = append(at, iter.Offset)
		}
	}
	return at
}

func loadCasts(spec *ebpf.ProgramSpec, casts []asm.RawInstructionOffset, kernel *btf.Cache) (*ebpf.Program, error) {
	p := &sys.BPFProgram{Type: uint32(spec.Type), AttachType: uint32(spec.AttachType), Flags: spec.Flags,
		Name: spec.Name, License: spec.License, FuncInfoSize: btf.FuncInfoSize, LineInfoSize: btf.LineInfoSize}
	fail := func(what string, err error) (*ebpf.Program, error) {
		return nil, fmt.Errorf("program %s: %s: %w", spec.Name, what, err)
	}
	var types btf.Builder
	err := relocate(spec, &types, kernel)
	if err != nil {
		return fail("relocate", err)
	}
	if p.FuncInfo, p.LineInfo, err = btf.MarshalExtInfos(spec.Instructions, &types); err != nil {
		return fail("types", err)
	}
	handle, err := btf.NewHandle(&types)
	if err != nil {
		return fail("load types", err)
	}
	defer handle.Close()
	p.BTF = handle.FD()
	if p.AttachBTFID, err = attachID(spec, kernel); err != nil {
		return fail("attach to "+spec.AttachTo, err)
	}
	if p.Instructions, err = marshal(spec.Instructions, casts, spec.ByteOrder); err != nil {
		return fail("marshal", err)
	}
	fd, log, err := sys.LoadBPF(p)
	if err != nil && log != "" {
		return nil, &VerifierError{spec.Name, log, err}
	}
	if err != nil {
		return fail("load", err)
	}
	return ebpf.NewProgramFromFD(fd)
}

// marshal encodes the instructions for the kernel, and marks the casts again.
func marshal(insns asm.Instructions, casts []asm.RawInstructionOffset, order binary.ByteOrder) ([]byte, error) {
	var b bytes.Buffer
	if err := insns.Marshal(&b, order); err != nil {
		return nil, err
	}
	for _, at := range casts {
		order.PutUint16(b.Bytes()[at.Bytes()+2:], 1)
	}
	return b.Bytes(), nil
}

// relocate adapts field offsets to the running kernel's types, and refuses
// what the library alone can resolve.
func relocate(spec *ebpf.ProgramSpec, local *btf.Builder, kernel *btf.Cache) error {
	var relos []*btf.CORERelocation
	var where []*asm.Instruction
	for iter := spec.Instructions.Iterate(); iter.Next(); {
		if iter.Ins.IsKfuncCall() {
			return fmt.Errorf("%w: a kernel function is called in a program that uses the arena", errors.ErrUnsupported)
		}
		if r := btf.CORERelocationMetadata(iter.Ins); r != nil {
			relos, where = append(relos, r), append(where, iter.Ins)
		}
	}
	if len(relos) == 0 {
		return nil
	}
	types, err := kernel.Kernel()
	if err != nil {
		return err
	}
	fixups, err := btf.CORERelocate(relos, []*btf.Spec{types}, spec.ByteOrder, local.Add)
	if err != nil {
		return err
	}
	for i, f := range fixups {
		if err := f.Apply(where[i]); err != nil {
			return fmt.Errorf("%v: %w", relos[i], err)
		}
	}
	return nil
}

// attachID finds what a program of type Tracing attaches to: a tracepoint.
func attachID(spec *ebpf.ProgramSpec, kernel *btf.Cache) (uint32, error) {
	if spec.AttachTo == "" || spec.Type != ebpf.Tracing {
		return 0, nil
	}
	if spec.AttachType != ebpf.AttachTraceRawTp {
		return 0, fmt.Errorf("%w: programs that use the arena attach to tracepoints", errors.ErrUnsupported)
	}
	types, err := kernel.Kernel()
	if err != nil {
		return 0, err
	}
	var tp *btf.Typedef
	if err := types.TypeByName("btf_trace_"+spec.AttachTo, &tp); err != nil {
		return 0, err
	}
	id, err := types.TypeID(tp)
	return uint32(id), err
}
