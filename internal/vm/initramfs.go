// SPDX-License-Identifier: MIT

package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/u-root/u-root/pkg/cpio"

	"kshm/internal/vm/wire"
)

// writeInitramfs makes the guest's whole file system. The file has no name any
// more, so it goes away with the last process that has it open.
func writeInitramfs(ctx context.Context, o Options, job *wire.Job, mods []module) (*os.File, error) {
	init, err := buildGuest(ctx, o.Kernel.Arch)
	if err != nil {
		return nil, err
	}
	records, err := o.records(init, job, mods)
	if err != nil {
		return nil, fmt.Errorf("vm: pack the guest's files: %w", err)
	}
	f, err := os.CreateTemp("", "kshm-initramfs-*.cpio")
	if err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	err = os.Remove(f.Name())
	if err == nil {
		err = pack(f, records)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("vm: pack the guest's files: %w", err)
	}
	return f, nil
}

// pack writes records, each after the folders it is in.
func pack(f io.Writer, records []cpio.Record) error {
	b := bufio.NewWriterSize(f, 1<<20)
	w := cpio.Newc.Writer(b)
	written := make(map[string]bool) // and whether it is a folder
	var write func(r cpio.Record) error
	write = func(r cpio.Record) error {
		isDir := r.Mode&cpio.S_IFDIR == cpio.S_IFDIR
		if was, ok := written[r.Name]; ok {
			if was && isDir {
				return nil
			}
			return fmt.Errorf("two files are to be /%s", r.Name)
		}
		if parent := path.Dir(r.Name); parent != "." {
			if err := write(cpio.Directory(parent, 0o755)); err != nil {
				return err
			}
		}
		written[r.Name] = isDir
		return w.WriteRecord(r)
	}
	for _, r := range records {
		if err := write(r); err != nil {
			return err
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	return b.Flush()
}

// records lists the guest's files.
func (o *Options) records(init string, job *wire.Job, mods []module) ([]cpio.Record, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{
		cpio.CharDev("dev/console", 0o600, 5, 1), // init's standard streams, before /dev is mounted
		cpio.StaticFile(wire.JobPath[1:], string(text), 0o600),
		cpio.StaticFile("etc/passwd", "root:x:0:0:root:/root:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644),
		cpio.StaticFile("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644),
		cpio.StaticFile("etc/hosts", "127.0.0.1 localhost guest\n", 0o644),
	}
	files := []File{{init, "/init"}}
	if o.Program != "" {
		files = append(files, File{o.Program, guestProgram(o.Program)})
	}
	if o.Stdin != "" {
		files = append(files, File{o.Stdin, guestStdin})
	}
	for _, m := range mods {
		records = append(records, cpio.StaticFile(m.guest()[1:], string(m.image), 0o600))
	}
	for _, f := range append(files, o.Files...) {
		more, err := tree(f)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

// tree returns the records of a file, or of a folder and what is in it.
// Symbolic links at the top are followed, others are kept.
func tree(f File) ([]cpio.Record, error) {
	if !path.IsAbs(f.Guest) {
		return nil, fmt.Errorf("%q is not an absolute path in the guest", f.Guest)
	}
	top, err := filepath.EvalSymlinks(f.Host)
	if err != nil {
		return nil, err
	}
	var records []cpio.Record
	return records, filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		r, err := record(name, path.Join(f.Guest, filepath.ToSlash(rel))[1:], d)
		if err == nil && r != nil {
			records = append(records, *r)
		}
		return err
	})
}

// record makes the record of one file; sockets and the like have none.
func record(host, guest string, d fs.DirEntry) (*cpio.Record, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	var r cpio.Record
	switch mode := info.Mode(); {
	case mode.IsRegular():
		b, err := os.ReadFile(host)
		if err != nil {
			return nil, err
		}
		r = cpio.StaticFile(guest, string(b), uint64(mode.Perm()))
	case mode.IsDir():
		r = cpio.Directory(guest, uint64(mode.Perm()))
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(host)
		if err != nil {
			return nil, err
		}
		r = cpio.Symlink(guest, target)
	default:
		return nil, nil
	}
	return &r, nil
}
