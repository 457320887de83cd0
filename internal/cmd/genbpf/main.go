// SPDX-License-Identifier: MIT

// Command genbpf compiles the project's eBPF objects with bpf2go and puts them,
// with the Go code that embeds them, where they are committed. With -check it
// writes nothing and fails if what is there is not what it would write. It
// needs the compiler that internal/deps pins:
//
//	go run ./internal/cmd/deps with bpf-clang -- go run ./internal/cmd/genbpf
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
)

// object is one source and the package that embeds what it compiles to.
type object struct {
	pkg, source string // from the root of the repository
	name        string
	types       []string // structs that programs take, for Go
}

var objects = []object{
	{"bpf/loop", "driver/samples/loop/loop.bpf.c", "loop", []string{"loop_burst"}},
	{"bpf/sum", "driver/samples/sum/sum.bpf.c", "sum", nil},
	{"bpf/live", "driver/test/bpf/live.bpf.c", "live", nil},
	{"bpf/live", "driver/test/bpf/count.bpf.c", "count", nil},
	{"bpf/live", "driver/test/bpf/poll.bpf.c", "poll", nil},
	{"bpf/live", "driver/test/bpf/hold.bpf.c", "hold", nil},
	{"internal/bench/rival", "driver/test/bpf/rival.bpf.c", "rival", nil},
	{"examples/bpf", "examples/bpf/events.bpf.c", "events", nil},
}

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	for _, o := range objects {
		if err := o.generate(*check); err != nil {
			log.Fatal(err)
		}
	}
}

func (o object) generate(check bool) error {
	dir, err := os.MkdirTemp("", "genbpf")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := o.compile(dir); err != nil {
		return fmt.Errorf("%s: %w", o.source, err)
	}
	made, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range made {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		if filepath.Ext(entry.Name()) == ".go" {
			text = append([]byte("// SPDX-License-Identifier: MIT\n\n"), text...)
		}
		if err := settle(filepath.Join(o.pkg, entry.Name()), text, check); err != nil {
			return err
		}
	}
	return nil
}

// compile runs bpf2go. Debug information would name this machine's folders, so
// it is stripped.
func (o object) compile(dir string) error {
	source, err := filepath.Rel(o.pkg, o.source)
	if err != nil {
		return err
	}
	pkg := filepath.Base(o.pkg)
	if filepath.Dir(o.pkg) == "examples" {
		pkg = "main"
	}
	args := []string{"run", "github.com/cilium/ebpf/cmd/bpf2go", "-cc", "kshm-bpf-clang", "-strip", "kshm-bpf-strip",
		"-target", "amd64", "-no-global-types", "-go-package", pkg, "-output-dir", dir, "-output-stem", o.name}
	for _, t := range o.types {
		args = append(args, "-type", t)
	}
	args = append(args, o.name, source, "--", "-O2", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-ffreestanding")
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = o.pkg, os.Stderr
	return cmd.Run()
}

func settle(name string, text []byte, check bool) error {
	have, err := os.ReadFile(name)
	if err == nil && bytes.Equal(have, text) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not what its source compiles to: run make generate", name)
	}
	return os.WriteFile(name, text, 0o644)
}
