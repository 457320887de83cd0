// SPDX-License-Identifier: MIT

package deps

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// An archive is apt with a state of its own: an empty list of installed
// packages, so that a resolution always gives a full closure, and its own
// package lists. It is locked against other processes while open.
type archive struct {
	dir    string
	unlock func()
	fresh  bool // the package lists were fetched by this process
}

func openArchive(ctx context.Context, w io.Writer, root string, c Component) (*archive, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return nil, &UnavailableError{What: c.Name, Why: "what is pinned runs on Linux on amd64 only"}
	}
	for _, tool := range []string{"apt-get", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, &UnavailableError{What: c.Name, Why: tool + " is not installed; this needs a Debian system", Err: err}
		}
	}
	base, _, _ := strings.Cut(c.Suite, "-")
	a := &archive{dir: filepath.Join(root, ".apt", strings.TrimSuffix(base+"-"+c.Arch, "-"))}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	var err error
	if a.unlock, err = lockFile(ctx, filepath.Join(a.dir, "flock")); err != nil {
		return nil, err
	}
	if err := a.configure(ctx, c); err != nil {
		a.close()
		return nil, err
	}
	if lists, _ := filepath.Glob(filepath.Join(a.dir, "state/lists/*_Packages*")); len(lists) == 0 {
		if err := a.update(ctx, w); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func (a *archive) close() { a.unlock() }

// configure writes apt's configuration and source list.
func (a *archive) configure(ctx context.Context, c Component) error {
	machine, err := machineSuite()
	if err != nil {
		return err
	}
	sources, err := machineSources("/etc/apt")
	if err != nil {
		return err
	}
	text, err := sourcesFor(sources, machine, c.Suite)
	if err != nil {
		return err
	}
	transport, err := machineTransport(ctx)
	if err != nil {
		return err
	}
	conf := transport + fmt.Sprintf(`Dir::State %[1]q;
Dir::State::status %[2]q;
Dir::Cache %[3]q;
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts %[4]q;
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; %[5]q; };
APT::Get::Install-Recommends "false";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::ForceHash "SHA256";
`, filepath.Join(a.dir, "state"), filepath.Join(a.dir, "status"), filepath.Join(a.dir, "cache"), filepath.Join(a.dir, "sources"), cmp.Or(c.Arch, "amd64"))
	if err := os.MkdirAll(filepath.Join(a.dir, "sources"), 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{"status": "", "apt.conf": conf, "sources/debian.sources": text} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// machineTransport returns the machine's settings for reaching its archives,
// such as proxies; the private configuration ignores all its other settings,
// hooks among them.
func machineTransport(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "Acquire").Output()
	if err != nil {
		return "", fmt.Errorf("read apt's configuration: %w", err)
	}
	var b strings.Builder
	for _, line := range strings.Split(string(out), "\n") {
		for _, p := range []string{"Acquire::http", "Acquire::https", "Acquire::ftp", "Acquire::Check-"} {
			if strings.HasPrefix(line, p) && !strings.Contains(line, "::Pipeline") {
				b.WriteString(line + "\n")
				break
			}
		}
	}
	return b.String(), nil
}

// apt runs apt-get on the private state.
func (a *archive) apt(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", &aptError{args: args, stderr: stderr.String(), err: err}
	}
	return stdout.String(), nil
}

func (a *archive) update(ctx context.Context, w io.Writer) error {
	if a.fresh {
		return nil
	}
	fmt.Fprintf(w, "deps: fetching the package lists of %s\n", filepath.Base(a.dir))
	if _, err := a.apt(ctx, "", "update", "-q"); err != nil {
		return unreachable(ctx, "package lists", err)
	}
	a.fresh = true
	return nil
}

// choose returns the packages to fetch: the pinned ones while the archive has
// them, otherwise its current candidates.
func (a *archive) choose(ctx context.Context, w io.Writer, c Component, pin packages) (packages, error) {
	if len(pin) > 0 {
		got, err := a.have(ctx, pin)
		if err != nil { // perhaps it is the lists that are too old
			if err := a.update(ctx, w); err != nil {
				return nil, err
			}
			got, err = a.have(ctx, pin)
		}
		if err == nil {
			return got, sameContent(pin, got)
		}
	}
	if err := a.update(ctx, w); err != nil {
		return nil, err
	}
	got, err := a.resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(pin) > 0 {
		fmt.Fprintf(w, "deps: %s: the archive has dropped a pinned version; taking %s instead\n", c.Name, strings.Join(differing(pin, got), ", "))
	}
	return got, sameContent(pin, got)
}

// have asks for exact versions, without resolving anything.
func (a *archive) have(ctx context.Context, pin packages) (packages, error) {
	out, err := a.apt(ctx, "", append([]string{"download", "-qq", "--print-uris"}, pin.specs()...)...)
	if err != nil {
		return nil, err
	}
	return parseURIs(out)
}

// resolve returns the current candidates of c and of what they depend on.
func (a *archive) resolve(ctx context.Context, c Component) (packages, error) {
	args := []string{"install", "-qq", "-y", "--print-uris"}
	if strings.Contains(c.Suite, "-") {
		args = append(args, "-t", c.Suite)
	}
	out, err := a.apt(ctx, "", append(args, c.Roots...)...)
	if err != nil {
		return nil, err
	}
	all, err := parseURIs(out)
	if err != nil || c.Keep == nil {
		return all, err
	}
	var kept packages
	for _, p := range all {
		if c.Keep.MatchString(p.Name) {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// download puts the files into dir; apt checks them against the signed lists.
func (a *archive) download(ctx context.Context, dir string, pkgs packages) error {
	if _, err := a.apt(ctx, dir, append([]string{"download", "-qq"}, pkgs.specs()...)...); err != nil {
		return unreachable(ctx, "packages", err)
	}
	return nil
}

// parseURIs reads apt's lines of 'uri' name_version_arch.deb size SHA256:sum.
func parseURIs(out string) (packages, error) {
	var all packages
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		f := strings.Fields(line)
		if len(f) != 4 || !strings.HasPrefix(f[0], "'") || !strings.HasPrefix(f[3], "SHA256:") {
			return nil, fmt.Errorf("apt printed an unexpected line: %q", line)
		}
		part := strings.Split(f[1], "_")
		size, err := strconv.ParseInt(f[2], 10, 64)
		if len(part) != 3 || err != nil {
			return nil, fmt.Errorf("apt printed an unexpected line: %q", line)
		}
		version, err := url.PathUnescape(part[1])
		if err != nil {
			return nil, fmt.Errorf("apt printed an unexpected version: %q", line)
		}
		all = append(all, pkg{Name: part[0], Version: version, Size: size, SHA256: strings.TrimPrefix(f[3], "SHA256:")})
	}
	return all, nil
}

// sameContent fails if a pinned version has another content than when it was
// pinned.
func sameContent(pin, got packages) error {
	for _, p := range pin {
		if g, ok := got.find(p.Name); ok && g.Version == p.Version && g.SHA256 != p.SHA256 {
			return fmt.Errorf("%s %s has SHA-256 %s, but packages.lock says %s", p.Name, p.Version, g.SHA256, p.SHA256)
		}
	}
	return nil
}

// differing names what got has in another version than pin, or not at all.
func differing(pin, got packages) []string {
	var names []string
	for _, g := range got {
		if p, ok := pin.find(g.Name); !ok || p.Version != g.Version {
			names = append(names, g.Name+" "+g.Version)
		}
	}
	return names
}

type aptError struct {
	args   []string
	stderr string
	err    error
}

func (e *aptError) Error() string {
	return fmt.Sprintf("apt-get %s: %v: %s", e.args[0], e.err, strings.TrimSpace(e.stderr))
}

func (e *aptError) Unwrap() error { return e.err }

// unreachable tells a failure to reach the archive from one of our own making.
func unreachable(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ae *aptError
	if !errors.As(err, &ae) {
		return err
	}
	why := "the package archive cannot be reached; check the network and apt's sources"
	for _, line := range strings.Split(ae.stderr, "\n") {
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "Err:") {
			why += " (" + strings.TrimPrefix(line, "E: ") + ")"
			break
		}
	}
	return &UnavailableError{What: what, Why: why, Err: err}
}
