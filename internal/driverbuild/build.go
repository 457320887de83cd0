// SPDX-License-Identifier: MIT

// Package driverbuild makes the Windows drivers on any machine that has
// mingw-w64: it compiles and links them, finishes and inspects the images, and
// signs them with a certificate that is thrown away.
package driverbuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"kshm/internal/pe"
)

// ErrNoTools says that the machine has no cross compiler, or no signing tool.
var ErrNoTools = errors.New("tools are missing")

const prefix = "x86_64-w64-mingw32-"

// A Driver is one image and what it is made of, as paths below driver/.
type Driver struct {
	Name    string // of the image, without .sys
	Sources []string
	Kit     bool   // links the kit with its shipped seam
	Section bool   // links the kit with the test seam instead: never to be shipped
	Def     string // import library to be made for it
}

var loop = []string{"samples/loop/loop_windows.c", "samples/loop/source_windows.c"}

// Drivers are all there are.
var Drivers = []Driver{
	{Name: "mydriver", Sources: []string{"samples/mydriver/mydriver.c"}},
	{Name: "digest", Sources: []string{"samples/digest/digest_windows.c"}, Kit: true, Def: "samples/digest/cng.def"},
	{Name: "loop", Sources: loop, Kit: true},
	{Name: "loop_test_section", Sources: loop, Section: true},
	{Name: "digest_test_section", Sources: []string{"samples/digest/digest_windows.c"}, Section: true, Def: "samples/digest/cng.def"},
}

var compile = strings.Fields("-std=c11 -O2 -Wall -Wextra -Werror -ffreestanding -mno-red-zone -mno-stack-arg-probe" +
	" -D_WIN32_WINNT=0x0A00 -DNTDDI_VERSION=0x0A000000")

var link = strings.Fields("-nostdlib -nostartfiles -s -Wl,--subsystem,native:10.0 -Wl,--entry,DriverEntry" +
	" -Wl,--image-base,0x140000000 -Wl,--dynamicbase -Wl,--high-entropy-va -Wl,--nxcompat -Wl,--no-insert-timestamp")

// A builder works in the repository's driver folder and puts all into out.
type builder struct {
	root, out, ddk string
	kit            []string // its objects, both seams among them
}

// Build makes every driver below out and returns the images' paths, inspected
// and not signed. root is the top of the repository. The error satisfies
// errors.Is(err, ErrNoTools) where there is no cross compiler.
func Build(ctx context.Context, root, out string) ([]string, error) {
	ddk, err := ddkOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	b := &builder{root: filepath.Join(root, "driver"), out: out, ddk: ddk}
	objects, err := os.MkdirTemp("", "kshm-kit-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(objects)
	if err := b.compileKit(ctx, objects); err != nil {
		return nil, err
	}
	var images []string
	for _, d := range Drivers {
		image, err := b.build(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Name, err)
		}
		images = append(images, image)
	}
	return images, nil
}

// ddkOf finds the folder of ntddk.h, which belongs to the compiler's headers but
// not to those it looks through by itself.
func ddkOf(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, prefix+"gcc", "-E", "-xc", "-H", "-")
	cmd.Stdin = strings.NewReader("#include <windows.h>\n")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: no %sgcc that works; install gcc-mingw-w64-x86-64: %v", ErrNoTools, prefix, err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, ". "); ok {
			return filepath.Join(filepath.Dir(strings.TrimSpace(path)), "ddk"), nil
		}
	}
	return "", errors.New("the compiler does not tell where windows.h is")
}

func (b *builder) run(ctx context.Context, tool string, args ...string) error {
	if out, err := exec.CommandContext(ctx, prefix+tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", tool, err, out)
	}
	return nil
}

// compileKit makes an object of each file of the kit, which all drivers link.
func (b *builder) compileKit(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(b.root, "windows", "*.c"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no kit below %s", b.root)
	}
	errs := make([]error, len(files))
	slots := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, file := range files {
		object := filepath.Join(dir, strings.TrimSuffix(filepath.Base(file), ".c")+".o")
		b.kit = append(b.kit, object)
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = b.run(ctx, "gcc", slices.Concat(compile, b.includes(), []string{"-c", "-o", object, file})...)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (b *builder) includes() []string {
	return []string{"-I" + b.ddk, "-I" + filepath.Join(b.root, "include")}
}

// sources lists the files of d: its own, and the kit's objects with one of the
// seams.
func (b *builder) sources(d Driver) []string {
	var files []string
	for _, s := range d.Sources {
		files = append(files, filepath.Join(b.root, s))
	}
	if !d.Kit && !d.Section {
		return files
	}
	not := "seam_test.o"
	if d.Section {
		not = "seam_nt.o"
	}
	for _, object := range b.kit {
		if filepath.Base(object) != not {
			files = append(files, object)
		}
	}
	return files
}

func (b *builder) build(ctx context.Context, d Driver) (string, error) {
	image := filepath.Join(b.out, d.Name+".sys")
	args := slices.Concat(compile, link, b.includes(), []string{"-o", image}, b.sources(d))
	if d.Section {
		args = append(args, "-Wl,--wrap,__imp_IofCompleteRequest") // see seam_test.c
	}
	if d.Def != "" {
		library := filepath.Join(b.out, d.Name+".a")
		if err := b.run(ctx, "dlltool", "-d", filepath.Join(b.root, d.Def), "-l", library); err != nil {
			return "", err
		}
		args = append(args, library)
	}
	if err := b.run(ctx, "gcc", append(args, "-lntoskrnl", "-lhal")...); err != nil {
		return "", err
	}
	if err := pe.Finish(image); err != nil {
		return "", err
	}
	allowed, err := b.imports(d)
	if err != nil {
		return "", err
	}
	return image, pe.Lint(image, allowed)
}

// imports reads what d may import; the test seam has a list of its own.
func (b *builder) imports(d Driver) (pe.Imports, error) {
	text, err := os.ReadFile(filepath.Join(b.root, "windows", "imports.txt"))
	if err != nil {
		return nil, err
	}
	if d.Section {
		more, err := os.ReadFile(filepath.Join(b.root, "windows", "imports_test_section.txt"))
		if err != nil {
			return nil, err
		}
		text = append(text, more...)
	}
	return pe.ParseImports(string(text)), nil
}
