// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/ring"
)

// guest is a program without rights that is handed a loaded object on
// descriptor 3: it shares memory and reads 500 records of its own system
// calls.
func guest([]string) error {
	if spec, err := live.Load(64); err != nil {
		return err
	} else if dev, err := bpf.Open(spec, nil); err == nil {
		dev.Close()
		return errors.New("this program could have loaded the object itself")
	}
	conn, err := net.FileConn(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	dev, _, err := bpf.Receive(conn.(*net.UnixConn))
	if err != nil {
		return err
	}
	defer dev.Close()
	var layout ring.Layout
	g, err := layout.Add(ring.ToUser, 64, 64<<10)
	if err != nil {
		return err
	}
	buf, err := dev.Alloc(layout.Size(), nil)
	if err != nil {
		return err
	}
	share, err := dev.Share(buf, &kshm.ShareOptions{Rings: layout.Groups()})
	if err != nil {
		return err
	}
	c, err := ring.NewConsumer(buf.Bytes(), g, 0, share)
	if err != nil {
		return err
	}
	go stormOn(0, 500) // they fit into the ring
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	records := 0
	n := &tally{byCPU: map[uint32]uint64{}}
	for rec := range c.All(ctx) {
		if err := n.add(rec); err != nil {
			return err
		}
		if records++; records == 500 {
			break
		}
	}
	if err := errors.Join(c.Err(), share.Close()); err != nil {
		return fmt.Errorf("after %d records: %w", records, err)
	}
	if _, err := dev.Share(buf, nil); !errors.Is(err, kshm.ErrLimit) {
		return fmt.Errorf("a second share: %v", err)
	}
	fmt.Println(records)
	return buf.Close()
}

// A loader with rights hands an object to a program without.
func TestHandover(t *testing.T) {
	needBPF(t)
	if os.Getuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("only root can become nobody")
	}
	before := ours(t)
	spec, err := live.Load(64)
	if err != nil {
		t.Fatal(err)
	}
	object, err := bpf.Load(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "mine"), os.NewFile(uintptr(fds[1]), "theirs")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := object.Send(conn.(*net.UnixConn)); err != nil {
		t.Fatal(err)
	}
	if err := object.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "guest")
	cmd.Path = copyOfSelf(t)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.Output()
	theirs.Close()
	if err != nil || string(out) != "500\n" {
		t.Errorf("%v: %s", err, out)
	}
	gone(t, before)
}

// What is no object is refused.
func TestReceiveNothing(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		defer c.Close()
		conns[i] = c.(*net.UnixConn)
	}
	for _, text := range []string{"hello", "{}", `{"Maps":["kshm_state"]}`, `{"Links":-1}`} {
		if _, err := conns[0].Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bpf.Receive(conns[1]); !errors.Is(err, kshm.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
