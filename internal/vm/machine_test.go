// SPDX-License-Identifier: MIT

package vm

import (
	"errors"
	"testing"
)

// What is dropped of a log may hold a complaint, so it is an error.
func TestLogThatIsTooLong(t *testing.T) {
	log := limited{max: 10}
	for range 2 {
		if n, err := log.Write([]byte("hello")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := log.whole(); err != nil {
		t.Errorf("a log of its greatest length: %v", err)
	}
	log.Write([]byte("\nBUG: here"))
	if log.Len() != 10 {
		t.Errorf("%d bytes are kept", log.Len())
	}
	if err := log.whole(); !errors.Is(err, ErrLog) {
		t.Errorf("a log that was cut: %v", err)
	}
}
