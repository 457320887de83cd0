// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/ring"
)

// received is what a program without rights makes of the object that it is
// handed on descriptor 3.
type received struct {
	*kshm.Share
	device *kshm.Device
	buf    *kshm.Buffer
	group  ring.Group
}

func receive() (*received, error) {
	if spec, err := live.Load(64); err != nil {
		return nil, err
	} else if dev, err := bpf.Open(spec, nil); err == nil {
		dev.Close()
		return nil, errors.New("this program could have loaded the object itself")
	}
	conn, err := net.FileConn(os.NewFile(3, "socket"))
	if err != nil {
		return nil, err
	}
	r := &received{}
	if r.device, _, err = bpf.Receive(conn.(*net.UnixConn)); err != nil {
		return nil, err
	}
	var layout ring.Layout
	if r.group, err = layout.Add(ring.ToUser, 64, 64<<10); err != nil {
		return nil, err
	}
	if r.buf, err = r.device.Alloc(layout.Size(), nil); err != nil {
		return nil, err
	}
	r.Share, err = r.device.Share(r.buf, &kshm.ShareOptions{Rings: layout.Groups()})
	return r, err
}

// guest shares memory and reads 500 records of its own system calls.
func guest([]string) error {
	share, err := receive()
	if err != nil {
		return err
	}
	defer share.device.Close()
	c, err := ring.NewConsumer(share.buf.Bytes(), share.group, 0, share)
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
	if _, err := share.device.Share(share.buf, nil); !errors.Is(err, kshm.ErrLimit) {
		return fmt.Errorf("a second share: %v", err)
	}
	fmt.Println(records)
	return share.buf.Close()
}

// keeper shares memory and keeps it until it is killed.
func keeper([]string) error {
	share, err := receive()
	if err != nil {
		return err
	}
	fmt.Println("sharing")
	<-share.Done()
	return share.Err()
}

// hand gives a loaded object to a child without rights, which it returns.
func hand(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	needBPF(t)
	if os.Getuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("only root can become nobody")
	}
	spec, err := live.Load(64)
	if err != nil {
		t.Fatal(err)
	}
	object, err := bpf.Load(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { object.Close() })
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "mine"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { theirs.Close() })
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := object.Send(conn.(*net.UnixConn)); err != nil {
		t.Fatal(err)
	}
	if err := object.Send(conn.(*net.UnixConn)); !errors.Is(err, kshm.ErrClosed) {
		t.Errorf("sent twice: %v", err)
	}
	cmd := child(t, role)
	cmd.Path = copyOfSelf(t)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// A loader with rights hands an object to a program without.
func TestHandover(t *testing.T) {
	before := ours(t)
	out, err := hand(t, "guest").Output()
	if err != nil || string(out) != "500\n" {
		t.Errorf("%v: %s", err, out)
	}
	gone(t, before)
}

// The receiver is killed, and the loader lives: the share ends.
func TestKillReceiver(t *testing.T) {
	before := ours(t)
	cmd := hand(t, "keeper")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the child has not come to share: %v; %v", err, cmd.Wait())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
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
