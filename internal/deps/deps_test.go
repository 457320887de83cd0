// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLockPinsEveryComponent(t *testing.T) {
	lock, err := parseLock(lockText)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Components() {
		if len(lock[c.Name]) == 0 {
			t.Errorf("packages.lock does not pin %s: run go run ./internal/cmd/deps lock %[1]s", c.Name)
		}
		for _, p := range lock[c.Name] {
			if c.Keep != nil && !c.Keep.MatchString(p.Name) {
				t.Errorf("packages.lock pins %s for %s, which does not keep it", p.Name, c.Name)
			}
		}
		delete(lock, c.Name)
	}
	for name := range lock {
		t.Errorf("packages.lock pins %s, which is no component", name)
	}
}

func TestLockRoundTrip(t *testing.T) {
	lock, err := parseLock(lockText)
	if err != nil {
		t.Fatal(err)
	}
	if got := formatLock(lock); got != lockText {
		t.Error("packages.lock is not as the command writes it: run go run ./internal/cmd/deps lock")
	}
	for _, bad := range []string{"qemu only-a-name", "qemu p 1.0 big " + strings.Repeat("0", 64), "qemu p 1.0 12 abc"} {
		if _, err := parseLock(bad); err == nil {
			t.Errorf("a line is accepted: %q", bad)
		}
	}
}

func TestDigestIgnoresOrder(t *testing.T) {
	a, b := pkg{Name: "a", Version: "1", SHA256: "x"}, pkg{Name: "b", Version: "2", SHA256: "y"}
	if (packages{a, b}).digest() != (packages{b, a}).digest() {
		t.Error("order changes the digest")
	}
	c := b
	c.Version = "3"
	if (packages{a, b}).digest() == (packages{a, c}).digest() {
		t.Error("a version does not change the digest")
	}
}

func TestToolchainLeavesTheCLibraryAlone(t *testing.T) {
	for name, want := range map[string]bool{"libc6": false, "libcc1-0": true, "gcc-12": true, "libelf1": true, "make": true, "libctf0": true} {
		if got := Toolchain.Keep.MatchString(name); got != want {
			t.Errorf("%s kept: %v, want %v", name, got, want)
		}
	}
}

const oneLine = `# a comment
deb http://mirror.test/debian bookworm main contrib
deb-src http://mirror.test/debian bookworm main
deb [arch=amd64 signed-by=/keys/a.gpg] http://mirror.test/security bookworm-security main # trailing
deb http://other.test/ ./
`

const stanzas = `Types: deb deb-src
# a comment
URIs: http://one.test/debian http://two.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQ
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://off.test/debian
Suites: bookworm
Enabled: no

Types: deb-src
URIs: http://src.test/debian
Suites: bookworm
`

func TestMachineSources(t *testing.T) {
	etc := t.TempDir()
	write(t, filepath.Join(etc, "sources.list"), oneLine)
	write(t, filepath.Join(etc, "sources.list.d", "debian.sources"), stanzas)
	got, err := machineSources(etc)
	if err != nil {
		t.Fatal(err)
	}
	key := "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n -----END PGP PUBLIC KEY BLOCK-----"
	both := []string{"bookworm", "bookworm-updates"}
	want := []source{
		{URI: "http://mirror.test/debian", Suites: []string{"bookworm"}},
		{URI: "http://mirror.test/security", Suites: []string{"bookworm-security"}, SignedBy: "/keys/a.gpg"},
		{URI: "http://one.test/debian", Suites: both, SignedBy: key},
		{URI: "http://two.test/debian", Suites: both, SignedBy: key},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNoSources(t *testing.T) {
	if _, err := machineSources(t.TempDir()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if _, err := sourcesFor([]source{{URI: "http://x.test", Suites: []string{"trixie"}}}, "bookworm", "sid"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestSourcesForSuite(t *testing.T) {
	have := []source{
		{URI: "http://m.test/debian", Suites: []string{"trixie", "trixie-updates"}, SignedBy: "/k"},
		{URI: "http://m.test/security", Suites: []string{"trixie-security"}},
	}
	for suite, want := range map[string][]string{
		"bookworm":           {"bookworm", "bookworm-backports", "bookworm-security"},
		"bookworm-backports": {"bookworm", "bookworm-backports", "bookworm-security"},
		"trixie":             {"trixie", "trixie-security"},
		"sid":                {"sid"},
	} {
		text, err := sourcesFor(have, "trixie", suite)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range parseDeb822(text) {
			got = append(got, s.Suites...)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: suites %v, want %v", suite, got, want)
		}
	}
}

func TestParseURIs(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	got, err := parseURIs("'http://m.test/pool/q_1%3a7.2%2bd_amd64.deb' q_1%3a7.2+d_amd64.deb 123 SHA256:" + sum + "\n")
	want := packages{{Name: "q", Version: "1:7.2+d", Size: 123, SHA256: sum}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, error %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "Reading package lists...", "'u' q_1_amd64.deb 123 MD5Sum:" + sum, "'u' q.deb 123 SHA256:" + sum} {
		if _, err := parseURIs(bad); err == nil {
			t.Errorf("accepted: %q", bad)
		}
	}
}

func TestPinnedContentMayNotChange(t *testing.T) {
	pin := packages{{Name: "a", Version: "1", SHA256: "x"}}
	if err := sameContent(pin, packages{{Name: "a", Version: "1", SHA256: "y"}}); err == nil {
		t.Error("other content under a pinned version is accepted")
	}
	if err := sameContent(pin, packages{{Name: "a", Version: "2", SHA256: "y"}}); err != nil {
		t.Error("another version is refused:", err)
	}
}

// TestInstall packs a Debian package and unpacks it, whole or not at all.
func TestInstall(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dpkg-deb is missing")
		}
		t.Skip("dpkg-deb is missing")
	}
	debs, root := t.TempDir(), t.TempDir()
	p := makeDeb(t, debs, "greeting")
	dir := filepath.Join(root, "c")
	s := stamp{Pin: "pin", Packages: packages{p}}
	install := func(s stamp, prepare func(string) error) error { return install(t.Context(), debs, dir, s, prepare) }

	wrong := p
	wrong.SHA256 = strings.Repeat("0", 64)
	broken := errors.New("broken")
	for name, err := range map[string]error{
		"wrong sum":      install(stamp{Packages: packages{wrong}}, nil),
		"missing file":   install(stamp{Packages: packages{p, {Name: "other"}}}, nil),
		"prepare failed": install(s, func(string) error { return broken }),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := os.ReadDir(root); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	for range 2 { // the second time it replaces the first
		if err := install(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "usr/share/greeting")); string(b) != "hello" {
		t.Errorf("got %q, error %v", b, err)
	}
	if got, err := readStamp(dir); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("stamp %v, error %v; want %v", got, err, s)
	}
	if left, _ := os.ReadDir(root); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

// makeDeb writes a package with one file into dir.
func makeDeb(t *testing.T, dir, name string) pkg {
	t.Helper()
	tree := t.TempDir()
	write(t, filepath.Join(tree, "DEBIAN", "control"), "Package: "+name+"\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: x\n")
	write(t, filepath.Join(tree, "usr/share", name), "hello")
	deb := filepath.Join(dir, name+"_1_all.deb")
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", tree, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sum, err := fileSum(deb)
	if err != nil {
		t.Fatal(err)
	}
	return pkg{Name: name, Version: "1", SHA256: sum}
}

func TestLockFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	inside, most := 0, 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			unlock, err := lockFile(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			inside--
			mu.Unlock()
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d held the lock at once", most)
	}
	unlock, err := lockFile(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockFile(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestReadyNeedsTheCurrentPin(t *testing.T) {
	t.Setenv("KSHM_DEPS", t.TempDir())
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	stampFile := filepath.Join(root, QEMU.Name, stampName)
	if Ready(QEMU) != "" {
		t.Error("ready in an empty folder")
	}
	write(t, stampFile, `{"Pin":"of another lock file"}`)
	if Ready(QEMU) != "" {
		t.Error("ready although the lock file has changed")
	}
	write(t, stampFile, `{"Pin":"`+pinned(QEMU.Name).digest()+`"}`)
	if got := Ready(QEMU); got != filepath.Join(root, QEMU.Name) {
		t.Errorf("got %q", got)
	}
}

func TestMirrorFollowsTheSource(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, filepath.Join(from, "a.c"), "1")
	write(t, filepath.Join(from, "sub", "b.h"), "2")
	write(t, filepath.Join(from, "notes.txt"), "no")
	if err := mirror(from, to); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(to, "a.o"), "built")
	before := modTime(t, filepath.Join(to, "a.c"))
	os.Remove(filepath.Join(from, "sub", "b.h"))
	if err := mirror(from, to); err != nil {
		t.Fatal(err)
	}
	if modTime(t, filepath.Join(to, "a.c")) != before {
		t.Error("an unchanged file was written again")
	}
	for name, want := range map[string]bool{"a.c": true, "a.o": true, "sub/b.h": false, "notes.txt": false} {
		if _, err := os.Stat(filepath.Join(to, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

// A module of a name that its folder has left behind is not built, nor given out.
func TestModulesMade(t *testing.T) {
	for _, line := range []string{"/else/where/src/kshm_new.ko", "/else/where/src/kshm_new.o", "kshm_new.o"} {
		src := t.TempDir()
		for name, text := range map[string]string{"modules.order": line + "\n", "kshm_new.ko": "", "old.ko": ""} {
			if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := modulesMade(src)
		if want := []string{filepath.Join(src, "kshm_new.ko")}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", line, got, err)
		}
	}
	if _, err := modulesMade(t.TempDir()); err == nil {
		t.Error("a folder that was never built has modules")
	}
}

func TestRelocateHeaders(t *testing.T) {
	dir := t.TempDir()
	if err := relocateHeaders(dir); err == nil {
		t.Error("a package without headers is accepted")
	}
	makefile := filepath.Join(dir, "usr/src/linux-headers-1/Makefile")
	write(t, makefile, "include /usr/src/linux-headers-1-common/Makefile\n")
	if err := relocateHeaders(dir); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(makefile); strings.Contains(string(b), " /usr") {
		t.Errorf("still absolute: %s", b)
	}
}

func modTime(t *testing.T, name string) time.Time {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
