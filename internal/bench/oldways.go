// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"encoding/binary"
	"os"
	"runtime"
	"syscall"
	"time"
)

// The codes of driver/test/linux/rival/rival.h, and struct rival_job.
const (
	rivalCapacity = 1<<30 | 8<<16 | 'r'<<8 | 1
	rivalProduce  = 3<<30 | 24<<16 | 'r'<<8 | 2
	rivalConsume  = 3<<30 | 24<<16 | 'r'<<8 | 3
	rivalPing     = 3<<30 | 24<<16 | 'r'<<8 | 4
)

type rivalJob struct {
	Records     uint64
	Size, Batch uint32
	Ns          uint64
}

func openRival() (*os.File, error) { return os.OpenFile("/dev/kshm-rival", os.O_RDWR, 0) }

// fifo is a fresh file of the rival's, with a ring as large as ours.
func fifo() (*os.File, error) {
	f, err := openRival()
	if err != nil {
		return nil, err
	}
	size := uint64(capacity)
	if err := ioctl(f, rivalCapacity, &size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// inKernel has both ends in C, in the kernel: what no program can be faster than.
func (g *guest) inKernel(c trialCase, records int) (result, error) {
	f, err := fifo()
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	job := rivalJob{Records: uint64(records), Size: uint32(c.size), Batch: uint32(c.batch)}
	mine := job
	r, err := g.together(
		func() error { return ioctl(f, rivalProduce, &mine) },
		func(*result) error { return ioctl(f, rivalConsume, &job) })
	r.records, r.took = uint64(records), time.Duration(job.Ns)
	return r, err
}

// read gets up to a batch of records with each system call.
func (g *guest) read(c trialCase, records int) (result, error) {
	f, err := fifo()
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	job := rivalJob{Records: uint64(records), Size: uint32(c.size), Batch: uint32(c.batch)}
	return g.together(
		func() error { return ioctl(f, rivalProduce, &job) },
		func(r *result) error { return readAll(int(f.Fd()), c, records, r) })
}

func readAll(fd int, c trialCase, records int, r *result) error {
	buf := make([]byte, c.batch*(8+c.size))
	var start time.Time
	var total uint64
	n, early := 0, 0 // how long the first ones took is not known
	for n < records {
		got, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		for at := 0; at < got; n++ {
			from := at + 8
			at = from + int(binary.NativeEndian.Uint64(buf[at:]))
			total += sum(buf[from:at])
		}
		if early == 0 {
			start, early = time.Now(), n
		}
	}
	r.took, r.records = time.Since(start), uint64(n-early)
	runtime.KeepAlive(total)
	return nil
}

// write hands the kernel a batch of records with each system call.
func (g *guest) write(c trialCase, records int) (result, error) {
	f, err := openRival()
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	var r result
	err = g.onCPU(0, &r, func() error { return writeAll(int(f.Fd()), c, records, &r) })
	return r, err
}

func writeAll(fd int, c trialCase, records int, r *result) error {
	buf := make([]byte, c.batch*(8+c.size))
	var start time.Time
	for n := -c.batch; n < records; n += c.batch {
		if n == 0 { // the batch before has touched the memory of both sides
			start = time.Now()
		}
		for i := range c.batch {
			at := i * (8 + c.size)
			binary.NativeEndian.PutUint64(buf[at:], uint64(c.size))
			fill(buf[at+8:at+8+c.size], uint64(n+i))
		}
		if _, err := syscall.Write(fd, buf); err != nil {
			return os.NewSyscallError("write", err)
		}
	}
	r.took, r.records = time.Since(start), uint64(records)
	return nil
}
