// SPDX-License-Identifier: MIT

// Command prog is what the tests of package vm run in the guest.
package main

import (
	"fmt"
	"hash/adler32"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	switch verb, args := os.Args[1], os.Args[2:]; verb {
	case "exit":
		n, _ := strconv.Atoi(args[0])
		os.Exit(n)
	case "signal":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "hang":
		fmt.Println("hanging")
		time.Sleep(time.Hour)
	case "orphan":
		if err := exec.Command("/proc/self/exe", "hang").Start(); err != nil {
			panic(err)
		}
	case "facts":
		dir, _ := os.Getwd()
		fmt.Println("dir", dir)
		fmt.Println("env", os.Getenv("KSHM_TEST"))
		file, err := os.ReadFile(args[0])
		fmt.Println("file", strings.TrimSpace(string(file)), err)
		stdin, err := io.ReadAll(os.Stdin)
		fmt.Println("stdin", strings.TrimSpace(string(stdin)), err)
		fmt.Fprintln(os.Stderr, "to stderr")
		if err := os.WriteFile(args[1], []byte("made in the guest"), 0o644); err != nil {
			panic(err)
		}
	case "bulk":
		n, _ := strconv.Atoi(args[0])
		for i := range n {
			fmt.Println(i)
		}
	case "kmsg":
		if err := os.WriteFile("/dev/kmsg", []byte(strings.Join(args, " ")), 0); err != nil {
			panic(err)
		}
	case "hugepages":
		b, _ := os.ReadFile("/proc/sys/vm/nr_hugepages")
		fmt.Print(string(b))
	case "disk":
		h := adler32.New() // a stronger sum takes minutes in a translated guest
		f, err := os.OpenFile(args[0], os.O_RDWR, 0)
		if err == nil {
			_, err = io.Copy(h, f)
		}
		fmt.Println(h.Sum32(), err)
		_, err = f.WriteAt(make([]byte, 512), 0)
		fmt.Println("write refused:", err != nil)
	case "devices":
		for _, name := range args {
			_, err := os.Stat(name)
			fmt.Println(name, err)
		}
	default:
		fmt.Fprintln(os.Stderr, "prog: no such verb:", verb)
		os.Exit(99)
	}
}
