// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	bpfring "github.com/cilium/ebpf/ringbuf"

	"kshm/internal/bench/rival"
	"kshm/internal/sys"
)

// rivals are the objects for one size: plain wakes its reader as the kernel
// decides, wake512 once for 512 records.
type rivals struct{ plain, wake512 *ebpf.Collection }

func openRivals(size int) (*rivals, error) {
	var all [2]*ebpf.Collection
	for i, wake := range []int{0, 512} {
		spec, err := rival.Load(size, wake)
		if err != nil {
			return nil, err
		}
		if all[i], err = ebpf.NewCollection(spec); err != nil {
			return nil, fmt.Errorf("bench: the BPF ring buffer's side: %w", err)
		}
	}
	return &rivals{all[0], all[1]}, nil
}

func (r *rivals) close() {
	if r != nil {
		r.plain.Close()
		r.wake512.Close()
	}
}

const lastRecord = ^uint64(0) // the words of a trial's last one

// burst runs a program that makes n records, and returns how many it made.
func burst(p *ebpf.Program, n, first uint64) (uint64, error) {
	var context [16]byte
	binary.NativeEndian.PutUint64(context[:], n)
	binary.NativeEndian.PutUint64(context[8:], first)
	if _, err := sys.RunBPF(p.FD(), context[:]); err != nil {
		return 0, err
	}
	return n - binary.NativeEndian.Uint64(context[:]), nil
}

func produceRival(objects *ebpf.Collection, c trialCase) error {
	var n uint64
	for end := time.Now().Add(c.trial); time.Now().Before(end); {
		done, err := burst(objects.Programs["rival_produce"], perBurst, n)
		if err != nil {
			return err
		}
		n += done
	}
	return endRival(objects)
}

func endRival(objects *ebpf.Collection) error {
	for {
		done, err := burst(objects.Programs["rival_end"], 1, 0)
		if err != nil || done == 1 {
			return err
		}
	}
}

// taker gets the next record of a reader, as one would use it.
type taker func(*bpfring.Reader, *bpfring.Record) error

func readInto(r *bpfring.Reader, rec *bpfring.Record) error { return r.ReadInto(rec) }

func readFresh(r *bpfring.Reader, rec *bpfring.Record) (err error) {
	*rec, err = r.Read()
	return err
}

// spin keeps the reader from sleeping.
func spin(r *bpfring.Reader, rec *bpfring.Record) error {
	for r.AvailableBytes() == 0 {
	}
	return r.ReadInto(rec)
}

// through runs a producer against a reader of the ring buffer, up to the last
// record.
func through(p pair, objects *ebpf.Collection, take taker, produce func() error, got func(*result)) (result, error) {
	reader, err := bpfring.NewReader(objects.Maps["rival_ring"])
	if err != nil {
		return result{}, err
	}
	defer reader.Close()
	return p.together(produce, func(r *result) error {
		var start time.Time
		var total uint64
		var rec bpfring.Record
		for {
			if err := take(reader, &rec); err != nil {
				return err
			}
			if binary.NativeEndian.Uint64(rec.RawSample) == lastRecord {
				break
			}
			if got != nil {
				got(r)
				continue
			}
			if r.records == 0 {
				start = time.Now()
			}
			r.records++
			total += sum(rec.RawSample)
		}
		if got == nil {
			r.took = time.Since(start)
		}
		runtime.KeepAlive(total)
		return nil
	})
}

func (r *rivals) tuned(_ context.Context, p pair, c trialCase) (result, error) {
	return through(p, r.wake512, readInto, func() error { return produceRival(r.wake512, c) }, nil)
}

func (r *rivals) spinning(_ context.Context, p pair, c trialCase) (result, error) {
	return through(p, r.wake512, spin, func() error { return produceRival(r.wake512, c) }, nil)
}

func (r *rivals) byDefault(_ context.Context, p pair, c trialCase) (result, error) {
	return through(p, r.plain, readInto, func() error { return produceRival(r.plain, c) }, nil)
}

func (r *rivals) read(_ context.Context, p pair, c trialCase) (result, error) {
	return through(p, r.plain, readFresh, func() error { return produceRival(r.plain, c) }, nil)
}

func (r *rivals) asleep(_ context.Context, p pair, c trialCase) (result, error) {
	return r.latency(p, c, readInto, true)
}

func (r *rivals) awake(_ context.Context, p pair, c trialCase) (result, error) {
	return r.latency(p, c, spin, false)
}

func (r *rivals) latency(p pair, c trialCase, take taker, sleepy bool) (result, error) {
	var times stamps
	produce := func() error {
		err := times.ping(c, sleepy, func() error {
			_, err := burst(r.plain.Programs["rival_produce"], 1, 0)
			return err
		})
		return errors.Join(err, endRival(r.plain))
	}
	return through(p, r.plain, take, produce, times.got)
}

// hooked attaches a program to the system call that storm enters.
func hooked(objects *ebpf.Collection, program string) (link.Link, error) {
	return link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: objects.Programs[program]})
}

func (r *rivals) hookTuned(_ context.Context, p pair, c trialCase) (result, error) {
	return r.hook(p, c, r.wake512)
}

func (r *rivals) hookDefault(_ context.Context, p pair, c trialCase) (result, error) {
	return r.hook(p, c, r.plain)
}

func (r *rivals) hook(p pair, c trialCase, objects *ebpf.Collection) (result, error) {
	l, err := hooked(objects, "rival_on_syscall")
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	return through(p, objects, readInto, func() error { return errors.Join(storm(c), endRival(objects)) }, nil)
}

// hookPerf passes the records through the perf buffer, which wakes its reader
// once for half of it.
func (r *rivals) hookPerf(_ context.Context, p pair, c trialCase) (result, error) {
	reader, err := perf.NewReaderWithOptions(r.plain.Maps["rival_perf"], capacity, perf.ReaderOptions{Watermark: capacity / 2})
	if err != nil {
		return result{}, err
	}
	defer reader.Close()
	l, err := hooked(r.plain, "rival_perf_on_syscall")
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	return p.together(
		func() error { return errors.Join(storm(c), reader.Flush()) }, // which ends a wait
		func(r *result) error {
			var start time.Time
			var total uint64
			var rec perf.Record
			for {
				err := reader.ReadInto(&rec)
				if errors.Is(err, perf.ErrFlushed) {
					break
				}
				if err != nil {
					return err
				}
				if r.records == 0 {
					start = time.Now()
				}
				r.records++
				total += sum(rec.RawSample)
			}
			r.took = time.Since(start)
			runtime.KeepAlive(total)
			return nil
		})
}
