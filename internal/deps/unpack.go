// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// install unpacks every .deb of a folder and puts the result at dir in one
// step: a folder that exists is complete.
func install(ctx context.Context, debs, dir string, s stamp, prepare func(string) error) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) != len(s.Packages) {
		return fmt.Errorf("%d files arrived for %s", len(files), plural(len(s.Packages), "package"))
	}
	for _, deb := range files {
		if err := checkSum(deb, s.Packages); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, tmp).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(deb), err, out)
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if prepare != nil {
		if err := prepare(tmp); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, stampName), b, 0o644); err != nil {
		return err
	}
	return replace(tmp, dir)
}

// replace moves a complete folder into place. What was there before goes away;
// a process that still uses it keeps its open files.
func replace(tmp, dir string) error {
	old := dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// checkSum compares a file with the sum that apt announced for it.
func checkSum(deb string, pkgs packages) error {
	name, _, _ := strings.Cut(filepath.Base(deb), "_")
	p, ok := pkgs.find(name)
	if !ok {
		return fmt.Errorf("an unexpected file arrived: %s", filepath.Base(deb))
	}
	sum, err := fileSum(deb)
	if err == nil && sum != p.SHA256 {
		err = fmt.Errorf("%s has SHA-256 %s, expected %s", filepath.Base(deb), sum, p.SHA256)
	}
	return err
}

func fileSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}
