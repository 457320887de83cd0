// SPDX-License-Identifier: MIT

package deps

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// checkpatchFiles are the kernel's style checker and the word lists it reads.
var checkpatchFiles = []string{"checkpatch.pl", "spelling.txt", "const_structs.checkpatch"}

// keepCheckpatch reduces the unpacked kernel source to the style checker, which
// ends up as scripts/checkpatch.pl in dir.
func keepCheckpatch(dir string) error {
	archives, err := filepath.Glob(filepath.Join(dir, "usr/src/linux-source-*.tar.xz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("want one archive of the kernel source, found %d", len(archives))
	}
	f, err := os.Open(archives[0])
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := xz.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	if err := extract(r, filepath.Join(dir, "scripts"), "scripts", checkpatchFiles); err != nil {
		return fmt.Errorf("unpack the kernel source: %w", err)
	}
	return os.RemoveAll(filepath.Join(dir, "usr"))
}

// extract writes the named files of one folder, below the archive's top folder,
// to a folder on disk. All must be there.
func extract(r io.Reader, to, folder string, names []string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	want := make(map[string]bool)
	for _, n := range names {
		want[path.Join(folder, n)] = true
	}
	for t := tar.NewReader(r); len(want) > 0; {
		h, err := t.Next()
		if err == io.EOF {
			return fmt.Errorf("files are missing: %v", want)
		}
		if err != nil {
			return err
		}
		name := belowTop(h.Name)
		if !want[name] {
			continue
		}
		delete(want, name)
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, path.Base(name)), b, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// belowTop strips the folder that an archive of a source tree is wrapped in.
func belowTop(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	return rest
}
