// SPDX-License-Identifier: MIT

//go:build unix && !linux

package sys

import "os"

// sectionFile is a file that has no name any more.
func sectionFile() (*os.File, error) {
	f, err := os.CreateTemp("", "kshm-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
