// SPDX-License-Identifier: MIT

//go:build ignore

// Generate writes the Go side of the shared headers: it runs "go tool cgo
// -godefs" on types.go and puts the licence line in front. With -check it
// writes nothing and fails if the file on disk is not what it would write.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"os/exec"
)

const output = "zabi.go"

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	want, err := generate()
	if err != nil {
		log.Fatal(err)
	}
	if !*check {
		if err := os.WriteFile(output, want, 0o644); err != nil {
			log.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(output)
	if err != nil {
		log.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		log.Fatalf("internal/abi/%s does not match driver/include: run make generate", output)
	}
}

func generate() ([]byte, error) {
	objects, err := os.MkdirTemp("", "godefs")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(objects)
	cmd := exec.Command("go", "tool", "cgo", "-objdir", objects, "-godefs", "types.go")
	cmd.Stderr = os.Stderr
	defs, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cgo -godefs: %w", err)
	}
	// The second line repeats the command with its temporary folder.
	defs = bytes.Replace(defs, []byte("-objdir "+objects+" "), nil, 1)
	return format.Source(append([]byte("// SPDX-License-Identifier: MIT\n\n"), defs...))
}
