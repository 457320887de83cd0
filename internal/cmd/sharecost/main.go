// SPDX-License-Identifier: MIT

// Command sharecost turns the report of a measurement into a page for docs/:
//
//	go run ./internal/cmd/sharecost build/sharecost.json > docs/cost.md
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"

	"kshm/internal/bench/sharecost"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sharecost:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want the file of a report")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var r sharecost.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return r.Document(os.Stdout, machine())
}

// machine names this machine's processors.
func machine() string {
	model := runtime.GOARCH
	text, _ := os.ReadFile("/proc/cpuinfo") // where there is none, the architecture has to do
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d processors (%s)", runtime.NumCPU(), model)
}
