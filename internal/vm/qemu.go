// SPDX-License-Identifier: MIT

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"kshm/internal/deps"
)

// A board is what QEMU emulates around one kind of processor.
type board struct {
	component  deps.Component
	program    string
	args       []string
	parameters []string // of the kernel: where its log goes and where the host listens
}

var boards = map[string]board{
	"amd64": {deps.QEMU, "qemu-system-x86_64", nil,
		[]string{"console=ttyS0", "tsc=reliable", "no_timer_check"}},
	// Emulated orders of memory accesses are the host's, stronger than arm64's.
	"arm64": {deps.QEMUARM, "qemu-system-aarch64", []string{"-machine", "virt"},
		[]string{"console=ttyAMA0", "kshm.port=/dev/ttyAMA1"}},
}

func newQEMU(ctx context.Context, o Options) (*machine, error) {
	dir, err := deps.Ensure(ctx, o.Progress, boards[o.Kernel.Arch].component)
	if err != nil {
		return nil, err
	}
	m := &machine{accel: o.Accel}
	m.command = func(ctx context.Context, a Accel, o Options) *exec.Cmd {
		return qemuCommand(ctx, dir, a, o)
	}
	if m.accel == "" {
		m.accel = bestAccel(ctx, o, m)
	}
	return m, nil
}

// qemuCommand runs the unpacked QEMU with its own C library and data.
func qemuCommand(ctx context.Context, dir string, accel Accel, o Options) *exec.Cmd {
	const triplet = "x86_64-linux-gnu"
	libs := []string{"lib/" + triplet, "usr/lib/" + triplet, "usr/lib/" + triplet + "/pulseaudio"}
	for i, l := range libs {
		libs[i] = filepath.Join(dir, l)
	}
	board := boards[o.Kernel.Arch]
	args := []string{
		"--library-path", strings.Join(libs, ":"), filepath.Join(dir, "usr/bin", board.program),
		"-L", filepath.Join(dir, "usr/share/qemu"), "-L", filepath.Join(dir, "usr/share/seabios"), "-L", filepath.Join(dir, "usr/lib/ipxe/qemu"),
		"-nodefaults", "-no-user-config", "-display", "none", "-net", "none", "-no-reboot",
		"-smp", strconv.Itoa(o.CPUs), "-m", strconv.Itoa(o.Memory),
		"-chardev", "stdio,id=log,signal=off", "-serial", "chardev:log",
		"-chardev", "file,id=wire,path=/dev/fd/3", "-serial", "chardev:wire",
		"-kernel", o.Kernel.Image, "-initrd", "/dev/fd/4",
		"-append", strings.Join(kernelParameters(accel, o), " "),
	}
	args = append(append(args, board.args...), diskArgs(len(o.Disks))...)
	args = append(args, accelArgs(accel, o.Kernel.Arch)...)
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "lib", triplet, "ld-linux-x86-64.so.2"), args...)
	cmd.Env = append(os.Environ(), "QEMU_MODULE_DIR="+filepath.Join(dir, "usr/lib", triplet, "qemu"))
	return cmd
}

// diskArgs returns n disks. The files are inherited, behind the two that every
// machine has, so a disk is the very file that the caller opened.
func diskArgs(n int) (args []string) {
	for i := range n {
		args = append(args,
			"-blockdev", fmt.Sprintf("driver=raw,node-name=disk%d,read-only=on,file.driver=file,file.filename=/dev/fd/%d,file.locking=off", i, firstDisk+i),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	return args
}

// accelArgs returns QEMU's processor. What is left out of it: QEMU 7.2
// translates cmpxchg16b wrongly, which kills kernels, and claims fast string
// instructions, which its translator makes very slow.
func accelArgs(a Accel, arch string) []string {
	if a == KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	if arch == "arm64" {
		return []string{"-accel", "tcg,thread=multi", "-cpu", "neoverse-n1"}
	}
	return []string{"-accel", "tcg,thread=multi", "-cpu", "max,-cx16,-erms,-fsrm"}
}

// kernelParameters lists the kernel command line. An oops ends the machine,
// because what runs after one proves nothing. A busy host may keep a machine that
// it emulates from running for a while, half a minute at times, which is not to be
// taken for a processor that is stuck; no_timer_check puts up with it at boot.
func kernelParameters(accel Accel, o Options) []string {
	p := append([]string{"quiet", "panic=-1", "oops=panic", "cryptomgr.notests"}, boards[o.Kernel.Arch].parameters...)
	if o.Kernel.Arch == "amd64" {
		p = append(p, clockParameters()...)
	}
	if accel != KVM || o.Kernel.Debug {
		p = append(p, "rcupdate.rcu_cpu_stall_timeout=300", "watchdog_thresh=60")
	}
	if o.Kernel.Debug {
		// While the kernel looks anew at what the processor can do, it has
		// forgotten that there are five levels of page tables: an interrupt
		// then has KASAN report memory that is all right (identify_cpu() in
		// arch/x86/kernel/cpu/common.c).
		p = append(p, "page_poison=1", "no5lvl")
	}
	if o.HugePages > 0 {
		p = append(p, fmt.Sprintf("hugepages=%d", o.HugePages))
	}
	return append(p, o.Cmdline...)
}
