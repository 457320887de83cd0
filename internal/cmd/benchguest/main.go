// SPDX-License-Identifier: MIT

//go:build linux

// Command benchguest measures inside of a virtual machine that "kshm bench" has
// started:
//
//	benchguest MACHINE OPTIONS
//
// OPTIONS are bench.Options as JSON; the report comes as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"kshm/internal/bench"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchguest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == bench.FeederArg {
		cpu, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return bench.Feed(cpu)
	}
	if len(args) != 2 {
		return fmt.Errorf("usage: benchguest MACHINE OPTIONS")
	}
	var o bench.Options
	if err := json.Unmarshal([]byte(args[1]), &o); err != nil {
		return err
	}
	o.Log = os.Stderr
	report, err := bench.RunGuest(context.Background(), o, args[0])
	if err != nil {
		return err
	}
	return report.JSON(os.Stdout)
}
