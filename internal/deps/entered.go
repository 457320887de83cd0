// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// prepareSystem makes an unpacked folder one that can be entered. Two names are
// made by scripts of packages, which did not run.
func prepareSystem(dir string) error {
	if err := mergeUsr(dir); err != nil {
		return err
	}
	for name, target := range map[string]string{"sh": "dash", "awk": "mawk"} {
		if err := os.Symlink(target, filepath.Join(dir, "usr/bin", name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// enterScript gives the process mounts of its own, in which the folder $1 holds
// what a system needs of the machine, and makes it the root. The machine's
// files are below /host.
const enterScript = `set -e
root=$1
shift
for d in dev proc; do mount --rbind /$d "$root/$d"; done
mount --rbind / "$root/host"
exec chroot "$root" "$@"`

// commandInside is a command that runs in an unpacked system.
func commandInside(ctx context.Context, root string, argv ...string) *exec.Cmd {
	args := []string{"--mount"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	args = append(args, "sh", "-c", enterScript, "sh", root)
	cmd := exec.CommandContext(ctx, "unshare", append(args, argv...)...)
	cmd.Env = []string{"PATH=/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL=C", "HOME=/"}
	return cmd
}

// insidePath is how a process in an unpacked system sees a file of the machine.
func insidePath(path string) string { return filepath.Join("/host", path) }

// makerInside runs make inside the unpacked system that the headers are part of.
func makerInside(ctx context.Context, headers string, args []string, b Build) (*maker, error) {
	if b.Sparse {
		return nil, fmt.Errorf("deps: sparse does not run with the headers of %s", b.Kernel.Name)
	}
	root := headers[:strings.LastIndex(headers, "/usr/src/")]
	if out, err := commandInside(ctx, root, "true").CombinedOutput(); err != nil {
		return nil, &UnavailableError{What: "the compiler of " + b.Kernel.Name, Err: err,
			Why: fmt.Sprintf("entering %s needs root, or a kernel that lets users make namespaces of their own (%s)", root, strings.TrimSpace(string(out)))}
	}
	return &maker{append(args, "-C", strings.TrimPrefix(headers, root)), insidePath, func(ctx context.Context, args ...string) *exec.Cmd {
		return commandInside(ctx, root, append([]string{"make"}, args...)...)
	}}, nil
}
