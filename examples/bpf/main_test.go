// SPDX-License-Identifier: MIT

//go:build linux && amd64

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kshm"
)

// A program that is started while the example runs is seen to begin and end.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, w)
		w.CloseWithError(err)
		ended <- err
	}()
	go func() {
		for ctx.Err() == nil {
			exec.Command("sleep", "0.05").Run()
		}
	}()
	seen := map[string]bool{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 5 && f[4] == "sleep" {
			seen[fmt.Sprint(f[2], f[3])] = true
			if seen["exec"+f[3]] && seen["exit"+f[3]] {
				cancel()
				break
			}
		}
	}
	go io.Copy(io.Discard, r)
	err := <-ended
	if os.Getenv("CI") != "true" && (errors.Is(err, kshm.ErrPermission) || errors.Is(err, kshm.ErrNotSupported)) {
		t.Skip(err)
	}
	if err != nil || ctx.Err() != context.Canceled {
		t.Errorf("%v, %v, seen %v", err, ctx.Err(), seen)
	}
}
