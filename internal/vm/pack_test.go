// SPDX-License-Identifier: MIT
//go:build linux

package vm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

func TestPackMakesFoldersOnceAndFirst(t *testing.T) {
	var b bytes.Buffer
	err := pack(&b, []cpio.Record{
		cpio.StaticFile("a/b/one", "1", 0o644),
		cpio.Directory("a/b", 0o755),
		cpio.StaticFile("a/two", "2", 0o600),
		cpio.Symlink("a/link", "two"),
	})
	if err != nil {
		t.Fatal(err)
	}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(b.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	if want := []string{"a", "a/b", "a/b/one", "a/two", "a/link"}; !reflect.DeepEqual(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	twice := []cpio.Record{cpio.StaticFile("x", "1", 0o644), cpio.StaticFile("x", "2", 0o644)}
	if err := pack(&b, twice); err == nil {
		t.Error("two files of one name are accepted")
	}
}

func TestTree(t *testing.T) {
	host := t.TempDir()
	for _, name := range []string{"file", "dir/deep/file"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(host, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(host, name), []byte(name), 0o751); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("file", filepath.Join(host, "link")); err != nil {
		t.Fatal(err)
	}
	records, err := tree(File{host, "/data"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	if want := []string{"data", "data/dir", "data/dir/deep", "data/dir/deep/file", "data/file", "data/link"}; !reflect.DeepEqual(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if _, err := tree(File{host, "data"}); err == nil {
		t.Error("a relative path in the guest is accepted")
	}
	if _, err := tree(File{host + "/none", "/data"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

// TestCollectedFilesStayInPlace has a guest name files that nobody asked for.
func TestCollectedFilesStayInPlace(t *testing.T) {
	host := t.TempDir()
	collect := []File{{filepath.Join(host, "in"), "/out"}, {filepath.Join(host, "one"), "/file"}}
	for guest, want := range map[string]string{"/out/a/b": "in/a/b", "/out/c": "in/c", "/file": "one"} {
		f, err := create(collect, guest)
		if err != nil {
			t.Errorf("%s: %v", guest, err)
			continue
		}
		f.Close()
		if f.Name() != filepath.Join(host, want) {
			t.Errorf("%s went to %s", guest, f.Name())
		}
	}
	for _, guest := range []string{"/out/../etc", "/etc/passwd", "/outside", "../x", "", "/out/../../x"} {
		if f, err := create(collect, guest); err == nil {
			t.Errorf("%q was written to %s", guest, f.Name())
		}
	}
}

func TestProgramMustRunAlone(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	static, err := Prog()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, arch, want string }{
		{static, "amd64", ""},
		{static, "arm64", "GOARCH=arm64"},
		{script, "amd64", "script"},
		{"/bin/sh", "amd64", "CGO_ENABLED=0"},
		{script + "-none", "amd64", "no such file"},
	} {
		err := checkProgram(test.path, test.arch)
		if test.want == "" && err == nil {
			continue
		}
		if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s for %s: got %v, want %q", test.path, test.arch, err, test.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"HOME=/home", "X=1"})
	want := []string{"HOME=/home", "X=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=/tmp"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAllowedEnvironment(t *testing.T) {
	got := allowed([]string{"CI=true", "GODEBUG=x", "GOMAXPROCS=1", "GOPATH=/p", "HOME=/h", "KSHM_N=1", "PATH=/p", "SECRET=1", "TZ=UTC"})
	want := []string{"CI=true", "GODEBUG=x", "GOMAXPROCS=1", "KSHM_N=1", "TZ=UTC"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForTestCollectsProfiles(t *testing.T) {
	o := Options{}
	err := o.ForTest("/b/x.test", []string{"-test.v=true", "-test.outputdir=/o", "-test.coverprofile=c.out", "-test.cpuprofile=/p/cpu", "-test.testlogfile=/l/log", "-test.gocoverdir=/g"})
	if err != nil {
		t.Fatal(err)
	}
	wantCollect := []File{{"/o/c.out", "/o/c.out"}, {"/p/cpu", "/p/cpu"}, {"/g", "/g"}}
	wantMkdir := []string{"/o", "/g", "/l"}
	if !reflect.DeepEqual(o.Collect, wantCollect) || !reflect.DeepEqual(o.Mkdir, wantMkdir) {
		t.Errorf("collects %v, want %v; makes %v, want %v", o.Collect, wantCollect, o.Mkdir, wantMkdir)
	}
	if wd, _ := os.Getwd(); o.Dir != wd || !slices.Contains(o.Files, File{wd + "/testdata", wd + "/testdata"}) {
		t.Errorf("folder %s, files %v", o.Dir, o.Files)
	}
}

func TestParseModule(t *testing.T) {
	if got, want := ParseModule("dir/a.ko,x=1,y=2"), (Module{"dir/a.ko", "x=1 y=2"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for path, want := range map[string]string{"a/b-c.ko": "b_c", "snd.ko.xz": "snd", "virtio-blk": "virtio_blk"} {
		if got := moduleName(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestBZImageRelease(t *testing.T) {
	image := make([]byte, 0x1000)
	copy(image[0x202:], "HdrS")
	image[0x20f] = 0x04 // the release is at 0x400 + 0x200
	copy(image[0x600:], "6.1.0-test (someone) #1 SMP")
	if got, err := bzImageRelease(bytes.NewReader(image)); got != "6.1.0-test" || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
	image[0x202] = 'x'
	for name, b := range map[string][]byte{"no magic": image, "short": image[:64], "empty": nil} {
		if _, err := bzImageRelease(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
