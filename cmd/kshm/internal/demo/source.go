// SPDX-License-Identifier: MIT

package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

var errShorter = errors.New("the file became shorter while it was read")

// A SourceError says that a file cannot be the demo's, and why.
type SourceError struct {
	Path, Why string
	Err       error // the system's, or nil
}

func (e *SourceError) Error() string { return e.Path + ": " + e.Why }

// Unwrap returns the system's error.
func (e *SourceError) Unwrap() error { return e.Err }

// A Source is the file to hash: the first Size bytes of it.
type Source struct {
	File    *os.File
	Path    string
	Size    int64
	changed time.Time
}

// OpenSource opens a regular file; "" stands for the running program. Its
// errors are of type SourceError.
func OpenSource(path string) (*Source, error) {
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, &SourceError{"the running program", err.Error(), err}
		}
	}
	// Before it is opened, because opening a pipe waits for its other end.
	if info, err := os.Stat(path); err != nil {
		return nil, sourceError(path, err)
	} else if why := unfit(info); why != "" {
		return nil, &SourceError{Path: path, Why: why}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, sourceError(path, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, sourceError(path, err)
	}
	if n, _ := f.ReadAt(make([]byte, 1), 0); info.Size() == 0 && n > 0 {
		f.Close()
		return nil, &SourceError{Path: path, Why: "does not say how long it is; give a copy of it"}
	}
	return &Source{f, path, info.Size(), info.ModTime()}, nil
}

func unfit(info fs.FileInfo) string {
	switch {
	case info.IsDir():
		return "is a folder; give a file"
	case !info.Mode().IsRegular():
		return "is not a regular file and may never end; give a file"
	}
	return ""
}

func sourceError(path string, err error) error {
	why := err.Error()
	var p *fs.PathError
	if errors.As(err, &p) {
		why = p.Err.Error()
	}
	return &SourceError{path, "cannot be read: " + why, err}
}

// Reader reads the first Size bytes, on its own.
func (s *Source) Reader() io.Reader { return io.NewSectionReader(s.File, 0, s.Size) }

// Digest hashes the file in Go.
func (s *Source) Digest() (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, s.Reader())
	if err == nil && n < s.Size {
		err = errShorter
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.Path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Change says how the file differs from what it was when it was opened, or "".
func (s *Source) Change() string {
	info, err := s.File.Stat()
	switch {
	case err != nil:
		return err.Error()
	case info.Size() < s.Size:
		return "became shorter"
	case info.Size() > s.Size:
		return "grew"
	case !info.ModTime().Equal(s.changed):
		return "was written to"
	}
	return ""
}

// Close closes the file.
func (s *Source) Close() error { return s.File.Close() }
