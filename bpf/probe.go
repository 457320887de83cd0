// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"kshm"
	"kshm/internal/sys"
)

// capabilities that loading an object takes, by number.
var capabilities = []struct {
	name string
	bit  uint
}{{"CAP_PERFMON", 38}, {"CAP_BPF", 39}}

const allCapabilities = 21 // CAP_SYS_ADMIN stands for both

// tooOld is what is said of a kernel that lacks something: 6.9 has arenas, and
// 6.10, on x86, the atomic operations on them that rings are made of.
func tooOld(lacks string) error {
	return &kshm.OpError{Err: fmt.Errorf("%w: this kernel, %s, has no %s", kshm.ErrNotSupported, release(), lacks),
		Remedy: "use Linux 6.10 or later, or kshm's kernel module"}
}

// noArena says what it means that there can be no arena.
func noArena(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, kshm.ErrNotSupported) {
		return tooOld("BPF arena")
	}
	return rights(err)
}

// notLoaded says what it means that the kernel refuses the object: the
// verifier's words, unless it would refuse every ring.
func (t *transport) notLoaded(err error) error {
	if _, ok := errors.AsType[*VerifierError](err); ok && !t.takes(asm.Xchg) {
		return tooOld("atomic operations on a BPF arena")
	}
	return rights(err)
}

// takes tells whether the kernel loads a program that does one atomic
// operation on the arena, and nothing else.
func (t *transport) takes(op asm.AtomicOp) bool {
	cast := asm.Mov.Reg(asm.R2, asm.R2)
	cast.Offset, cast.Constant = 1, 1
	insns := asm.Instructions{
		asm.LoadMapPtr(asm.R1, t.arena.m.FD()), // else the program has no arena
		asm.LoadImm(asm.R2, int64(t.arena.start()), asm.DWord), cast,
		asm.Mov.Imm(asm.R3, 0), op.Mem(asm.R2, asm.R3, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, 0), asm.Return(),
	}
	raw, err := marshal(insns, castsOf(insns), t.spec.ByteOrder)
	if err != nil {
		return false
	}
	fd, _, err := sys.LoadBPF(&sys.BPFProgram{Type: uint32(ebpf.RawTracepoint), License: "Dual MIT/GPL", Instructions: raw})
	if err == nil {
		syscall.Close(fd)
	}
	return err == nil
}

// rights says which capability a refusal asks for.
func rights(err error) error {
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	return &kshm.OpError{Err: fmt.Errorf("%w: this process lacks %s, which loading eBPF programs takes", kshm.ErrPermission, missingCapabilities()),
		Remedy: "run as root, or be handed a loaded object: see bpf.Receive"}
}

func missingCapabilities() string {
	held, err := effective()
	if err != nil || held>>allCapabilities&1 != 0 {
		return "a right" // a security module has refused it
	}
	var names []string
	for _, c := range capabilities {
		if held>>c.bit&1 == 0 {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return "a right"
	}
	return strings.Join(names, " and ")
}

// effective is the process's set of effective capabilities.
func effective() (uint64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if hex, ok := strings.CutPrefix(s.Text(), "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, errors.New("no CapEff in /proc/self/status")
}

func release() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "Linux"
	}
	return strings.TrimSpace(string(text))
}

// openError is err as an error of Open.
func openError(name string, err error) error {
	if name == "" {
		name = "bpf"
	}
	e := &kshm.OpError{Op: "open", Device: name, Err: err}
	if inner, ok := errors.AsType[*kshm.OpError](err); ok {
		e.Err, e.Remedy = inner.Err, inner.Remedy
	}
	return e
}
