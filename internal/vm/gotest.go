// SPDX-License-Identifier: MIT

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ForTest sets the options up for a Go test binary as `go test -exec` starts
// it: in the package's folder, with its testdata, with the caller's environment
// as far as tests care about it. Profiles that the arguments ask for are
// collected. Modules' and files' options are left alone.
func (o *Options) ForTest(binary string, args []string) error {
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("vm: %w", err)
	}
	o.Program, o.Args, o.Dir = binary, args, dir
	testdata := filepath.Join(dir, "testdata")
	if info, err := os.Stat(testdata); err == nil && info.IsDir() {
		o.Files = append(o.Files, File{testdata, testdata})
	}
	o.Env = append(o.Env, allowed(os.Environ())...)
	o.collectOutputs(dir)
	return nil
}

// allowed picks the variables that a test in the guest should see.
func allowed(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "CI", "TZ", "LANG", "GITHUB_ACTIONS":
			return false
		case "GOROOT", "GOPATH", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOBIN", "GOENV", "GOPROXY":
			return true // folders that the guest does not have
		}
		return !strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "KSHM_")
	})
}

// outputs are the flags of a test binary that name a file or folder to write.
var outputs = []string{"coverprofile", "cpuprofile", "memprofile", "blockprofile", "mutexprofile", "trace", "gocoverdir"}

// collectOutputs makes what the test writes come back to where it says.
func (o *Options) collectOutputs(dir string) {
	value := func(name string) string {
		for _, a := range o.Args {
			if v, ok := strings.CutPrefix(a, "-test."+name+"="); ok {
				return v
			}
		}
		return ""
	}
	if d := value("outputdir"); d != "" {
		dir = d
		o.Mkdir = append(o.Mkdir, d)
	}
	for _, name := range outputs {
		path := value(name)
		if path == "" {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if name == "gocoverdir" {
			o.Mkdir = append(o.Mkdir, path)
		}
		o.Collect = append(o.Collect, File{path, path})
	}
	// The go command asks for a log of the files a test opens, to know when a
	// cached result is stale. It does not come back: without it nothing is
	// cached, which is right, since the log knows nothing of kernels and modules.
	if path := value("testlogfile"); path != "" {
		o.Mkdir = append(o.Mkdir, filepath.Dir(path))
	}
}
