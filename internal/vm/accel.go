// SPDX-License-Identifier: MIT

package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"kshm/internal/deps"
	"kshm/internal/vm/wire"
)

// An Accel says what runs the guest's instructions.
type Accel string

// The ways to run a guest.
const (
	TCG Accel = "tcg" // QEMU translates them: works everywhere
	KVM Accel = "kvm" // the processor itself, where the host lets it
	UML Accel = "uml" // none: the kernel is a program of the host
)

// probeTime is how long a guest may take to boot to its end under KVM before
// KVM counts as broken; where it works, that takes a second or two.
const probeTime = 10 * time.Second

// bestAccel finds out how to run the kernel of o. On some hosts /dev/kvm is
// there and a stock kernel hangs under it, so only a boot that succeeds proves
// that it works. The verdict is kept until the host boots anew.
func bestAccel(ctx context.Context, o Options, m *machine) Accel {
	if a := Accel(os.Getenv("KSHM_ACCEL")); a == TCG || a == KVM {
		return a
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil || o.Kernel.Arch != runtime.GOARCH {
		return TCG
	}
	kvm.Close()
	v := readVerdicts()
	key := hostBoot() + " " + o.Kernel.Release
	works, known := v[key]
	if !known {
		fmt.Fprintf(o.Progress, "vm: trying hardware acceleration for up to %.0f s, once\n", probeTime.Seconds())
		works = probeKVM(ctx, o, m)
		if ctx.Err() == nil {
			v[key] = works
			v.write()
		}
	}
	if works {
		return KVM
	}
	return TCG
}

// probeKVM boots the kernel with nothing to do.
func probeKVM(ctx context.Context, o Options, m *machine) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	probe := Options{Kernel: o.Kernel, Accel: KVM}
	probe.setDefaults()
	initrd, err := writeInitramfs(ctx, probe, &wire.Job{}, nil)
	if err != nil {
		return false
	}
	defer initrd.Close()
	try := machine{accel: KVM, command: m.command}
	_, err = try.run(ctx, probe, initrd)
	return err == nil
}

// hostBoot identifies this run of the host's kernel.
func hostBoot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// verdicts says for a host and a kernel whether KVM works.
type verdicts map[string]bool

func verdictFile() string {
	root, err := deps.Root()
	if err != nil {
		return ""
	}
	return filepath.Join(root, "kvm.json")
}

func readVerdicts() verdicts {
	v := make(verdicts)
	if b, err := os.ReadFile(verdictFile()); err == nil {
		if json.Unmarshal(b, &v) != nil {
			return make(verdicts)
		}
	}
	return v
}

// write replaces the file in one step. Losing a verdict costs a probe, no more.
func (v verdicts) write() {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(verdictFile()), ".kvm-*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if e := f.Close(); err == nil && e == nil {
		err = os.Rename(f.Name(), verdictFile())
	}
	if err != nil {
		os.Remove(f.Name())
	}
}
