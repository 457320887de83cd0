// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// needs are what Provide knows besides components: each is the machine's own if
// it has it, so that nothing is fetched in vain.
var needs = map[string]func(context.Context, io.Writer) ([]string, error){
	"bpf-clang":    provideClang,
	"cbmc":         provideCBMC,
	"cc":           provideCC,
	"herd":         provideHerd,
	"mingw":        provideMingw,
	"osslsigncode": provideOsslsigncode,
	"perl":         providePerl,
	"spin":         provideSpin,
}

// Provide makes sure that every named thing can be used and returns the
// environment variables, as "NAME=value", that a command needs to find it.
//
// A name is a component, "bpf-clang" for the compiler of eBPF programs, "cc" for
// a compiler of user-mode C with sanitizers, "mingw" for one of Windows drivers,
// "osslsigncode", "perl" for a complete perl, or "spin", "herd" and "cbmc" for
// what the proofs take besides cc. The error satisfies
// errors.Is(err, ErrUnavailable) when the environment lacks something; what is
// returned beside it finds the rest.
func Provide(ctx context.Context, w io.Writer, names ...string) ([]string, error) {
	env, path := []string{}, os.Getenv("PATH")
	var missing error
	for _, name := range names {
		provide, ok := needs[name]
		if c, isComponent := Lookup(name); !ok && isComponent {
			provide = func(ctx context.Context, w io.Writer) ([]string, error) {
				_, err := Ensure(ctx, w, c)
				return nil, err
			}
		} else if !ok {
			return nil, fmt.Errorf("deps: no component is called %q", name)
		}
		more, err := provide(ctx, w)
		if errors.Is(err, ErrUnavailable) {
			missing = errors.Join(missing, err)
		} else if err != nil {
			return nil, err
		}
		env = append(env, more...)
	}
	if bin := toolsDir(); bin != "" {
		env = append(env, "PATH="+bin+":"+path)
	}
	return env, missing
}

// toolsDir is the folder of the scripts that start fetched tools, "" if there
// are none.
func toolsDir() string {
	root, err := Root()
	if err != nil {
		return ""
	}
	bin := filepath.Join(root, "bin")
	if _, err := os.Stat(bin); err != nil {
		return ""
	}
	return bin
}

// perlModules are those that the kernel's scripts use and a minimal perl lacks.
var perlModules = []string{"-MTerm::ANSIColor", "-MEncode", "-MPod::Usage", "-e1"}

// providePerl adds the modules that a minimal perl lacks.
func providePerl(ctx context.Context, w io.Writer) ([]string, error) {
	if exec.CommandContext(ctx, "perl", perlModules...).Run() == nil {
		return nil, nil
	}
	dir, err := Ensure(ctx, w, Perl)
	if err != nil {
		return nil, err
	}
	lib := "PERL5LIB=" + filepath.Join(dir, "usr/share/perl/5.36") + ":" + filepath.Join(dir, "usr/lib/x86_64-linux-gnu/perl/5.36")
	cmd := exec.CommandContext(ctx, "perl", perlModules...)
	cmd.Env = append(os.Environ(), lib)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, &UnavailableError{What: "perl", Why: "this machine's perl is not that of Debian 12 and lacks modules; install the package perl",
			Err: fmt.Errorf("%w: %s", err, out)}
	}
	return []string{lib}, nil
}
