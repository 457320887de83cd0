// SPDX-License-Identifier: MIT

// Package vm boots a kernel in a virtual machine, loads kernel modules, runs
// one static program in it and checks what the program and the modules leave
// behind: a complaint in the kernel log, a pinned page, a module that cannot be
// unloaded.
//
// Nothing of the machine is changed and no right is needed. The kernels and
// QEMU come from package deps.
package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kshm/internal/vm/wire"
)

// Options say what to run. Kernel and Program are required.
type Options struct {
	Kernel  Kernel
	Program string   // a static executable on the host
	Args    []string // its arguments, without its name
	Env     []string // "NAME=value"; PATH, HOME and TMPDIR are added where missing
	Dir     string   // working directory in the guest; "/" if empty

	Modules       []Module // loaded in this order, unloaded in reverse order
	KernelModules []string // modules of the kernel itself, by name, loaded first

	Files   []File   // copied into the guest
	Mkdir   []string // directories made in the guest
	Stdin   string   // file on the host; no input if empty
	Collect []File   // copied out of the guest afterwards, if they exist

	// Disks are regular files that the guest sees as read-only disks, /dev/vda
	// and on. It reads them while it runs, so they may be larger than its
	// memory. A disk is whole sectors of 512 bytes; zeros fill up the last.
	Disks []*os.File

	Memory    int      // MiB; 1024 if 0, 2048 with a debug kernel
	CPUs      int      // 2 if 0, 1 of a debug kernel that is a program
	HugePages int      // huge pages of the default size, reserved at boot
	Cmdline   []string // further kernel parameters
	Accel     Accel    // how to run the processor; found out if empty
	Urgent    bool     // before everything else on the host, if that is allowed: for measurements

	Stdout, Stderr io.Writer // the program's; discarded if nil
	Progress       io.Writer // lines about what is fetched; discarded if nil
}

// A Module is a kernel module file on the host.
type Module struct {
	Path   string
	Params string // "name=value ..."
}

// A File pairs a file or folder on the host with its place in the guest.
type File struct{ Host, Guest string }

// A Result is what is known about a run, also of a failed one.
type Result struct {
	Exit    int           // the program's exit status, 128+signal if a signal ended it
	Log     []byte        // the kernel log from the moment init started
	Killed  int           // processes that outlived the program
	Foreign int           // data races in the log that are the kernel's own affair
	Ready   time.Duration // from the kernel's first instruction to the program's
	Elapsed time.Duration // from the start of the machine to its end
	Accel   Accel
}

// Run boots the machine, runs the program and waits for the machine to end.
// If ctx ends first, the machine is killed and the error matches ErrTimeout.
//
// The error is nil if the program ran, whatever its exit status, and every
// check passed. Otherwise it is an Error for each check that did not, joined.
func Run(ctx context.Context, o Options) (*Result, error) {
	o.setDefaults()
	mods, err := o.modules()
	if err != nil {
		return nil, err
	}
	job, err := o.job(mods)
	if err != nil {
		return nil, err
	}
	m, err := newMachine(ctx, o)
	if err != nil {
		return nil, err
	}
	initrd, err := writeInitramfs(ctx, o, job, mods)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	return m.run(ctx, o, initrd)
}

func (o *Options) setDefaults() {
	for _, w := range []*io.Writer{&o.Stdout, &o.Stderr, &o.Progress} {
		if *w == nil {
			*w = io.Discard
		}
	}
	if o.Memory == 0 {
		o.Memory = 1024
		if o.Kernel.Debug {
			o.Memory = 2048
		}
	}
	if o.CPUs == 0 {
		o.CPUs = 2
		if o.Kernel.UML && o.Kernel.Debug { // it complains of how its own second one starts
			o.CPUs = 1
		}
	}
	if o.Dir == "" {
		o.Dir = "/"
	}
}

// job checks the options and turns them into what the guest is told.
func (o *Options) job(mods []module) (*wire.Job, error) {
	if err := checkProgram(o.Program, o.Kernel.Arch); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("vm: the guest's working directory %q is not an absolute path", o.Dir)
	}
	job := &wire.Job{
		Argv:  append([]string{guestProgram(o.Program)}, o.Args...),
		Env:   environment(o.Env),
		Dir:   o.Dir,
		Mkdir: append([]string{"/root"}, o.Mkdir...),
	}
	for _, m := range mods {
		job.Modules = append(job.Modules, m.wire())
	}
	for _, f := range o.Collect {
		job.Collect = append(job.Collect, f.Guest)
		job.Mkdir = append(job.Mkdir, filepath.Dir(f.Guest))
	}
	if o.Stdin != "" {
		job.Stdin = guestStdin
	}
	return job, nil
}

const guestStdin = "/kshm/stdin"

func guestProgram(host string) string { return "/kshm/bin/" + filepath.Base(host) }

// environment adds what every program may count on.
func environment(env []string) []string {
	have := make(map[string]bool)
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		have[name] = true
	}
	for _, d := range []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp"} {
		if name, _, _ := strings.Cut(d, "="); !have[name] {
			env = append(env, d)
		}
	}
	return env
}
