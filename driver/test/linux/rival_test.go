// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The codes of driver/test/linux/rival/rival.h, and struct rival_job.
const (
	rivalCapacity = 1<<30 | 8<<16 | 'r'<<8 | 1
	rivalProduce  = 3<<30 | 24<<16 | 'r'<<8 | 2
	rivalConsume  = 3<<30 | 24<<16 | 'r'<<8 | 3
)

type rivalJob struct {
	Records     uint64
	Size, Batch uint32
	Ns          uint64
}

func rivalCall[T any](fd int, code uintptr, arg *T) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), code, uintptr(unsafe.Pointer(arg))); errno != 0 {
		return errno
	}
	return nil
}

func openRival(t *testing.T, capacity uint64) int {
	t.Helper()
	fd, err := unix.Open("/dev/kshm-rival", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := rivalCall(fd, rivalCapacity, &capacity); err != nil {
		t.Fatal(err)
	}
	return fd
}

// What kshm is measured against does its work: each record comes once, whole
// and in order, by reads of any size, through a file that is small and a
// producer that waits.
func TestRivalRead(t *testing.T) {
	atRest(t)
	const size, records = 104, 5000
	for _, room := range []int{1, 3, 32} {
		fd := openRival(t, 4096)
		var producer sync.WaitGroup
		producer.Go(func() {
			job := rivalJob{Records: records, Size: size, Batch: 4}
			if err := rivalCall(fd, rivalProduce, &job); err != nil || job.Ns == 0 {
				t.Errorf("produce: %v, %d ns", err, job.Ns)
			}
		})
		y := tally{got: make(map[uint64]*count)}
		buf := make([]byte, room*(8+size)+7)
		for n := 0; n < records; {
			got, err := unix.Read(fd, buf)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < got; n++ {
				end := at + 8 + int(binary.NativeEndian.Uint64(buf[at:]))
				y.take(t, buf[at+8:end], size)
				at = end
			}
		}
		producer.Wait()
		if k := y.got[0]; k == nil || k.received != records || k.next != records {
			t.Errorf("room for %d: %+v", room, k)
		}
	}
}

func TestRivalRefusals(t *testing.T) {
	atRest(t)
	fd := openRival(t, 4096)
	capacity := uint64(4096)
	if err := rivalCall(fd, rivalCapacity, &capacity); err != unix.EBUSY {
		t.Errorf("a second capacity: %v", err)
	}
	job := rivalJob{Records: 1, Size: 2048, Batch: 1}
	if err := rivalCall(fd, rivalProduce, &job); err != unix.EINVAL {
		t.Errorf("a record larger than half the ring: %v", err)
	}
	job = rivalJob{Records: 1, Size: 64, Batch: 1}
	if err := rivalCall(fd, rivalProduce, &job); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Read(fd, make([]byte, 64)); err != unix.EMSGSIZE {
		t.Errorf("a read with no room for the record: %v", err)
	}
	if n, err := unix.Read(fd, make([]byte, 72)); n != 72 || err != nil {
		t.Errorf("the same record, with room: %d bytes, %v", n, err)
	}
	for name, bad := range map[string][]byte{
		"short":    make([]byte, 4),
		"too long": binary.NativeEndian.AppendUint64(nil, 8),
		"odd":      append(binary.NativeEndian.AppendUint64(nil, 4), 1, 2, 3, 4),
	} {
		if _, err := unix.Write(fd, bad); err != unix.EBADMSG {
			t.Errorf("write of a record that is %s: %v", name, err)
		}
	}
	if n, err := unix.Write(fd, binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 8), 7)); n != 16 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	fresh, err := os.Open("/dev/kshm-rival")
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := rivalCall(int(fresh.Fd()), rivalConsume, &job); err != unix.ENXIO {
		t.Errorf("no ring yet: %v", err)
	}
}
