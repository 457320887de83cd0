// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"
)

// channel passes copies of records from goroutine to goroutine. The buffers
// come back through a second channel, so nothing is allocated.
func (l *lab) channel(_ context.Context, c trialCase) (result, error) {
	slots := max(capacity/(c.size+8), 2)
	full, free := make(chan []byte, slots), make(chan []byte, slots)
	for range slots {
		free <- make([]byte, c.size)
	}
	produce := func() error {
		defer close(full)
		rec := make([]byte, c.size)
		for n, end := uint64(0), time.Now().Add(c.trial); n%look != 0 || time.Now().Before(end); n++ {
			fill(rec, n)
			to := <-free
			copy(to, rec)
			full <- to
		}
		return nil
	}
	consume := func(r *result) error {
		var start time.Time
		var total uint64
		for rec := range full {
			if r.records == 0 {
				start = time.Now()
			}
			r.records++
			total += sum(rec)
			free <- rec
		}
		r.took = time.Since(start)
		runtime.KeepAlive(total)
		return nil
	}
	return l.together(produce, consume)
}

// files passes batches of records through a pair of files, one system call a
// batch.
func (l *lab) files(open func() (r, w *os.File, err error)) func(context.Context, trialCase) (result, error) {
	return func(_ context.Context, c trialCase) (result, error) {
		in, out, err := open()
		if err != nil {
			return result{}, err
		}
		defer in.Close()
		defer out.Close()
		return l.together(
			func() error { write(out, c); return nil },
			func(r *result) error { read(in, c, r); return nil })
	}
}

func write(to *os.File, c trialCase) {
	defer to.Close()
	buf := make([]byte, c.size*c.batch)
	end := time.Now().Add(c.trial)
	for n := 0; n%look != 0 || time.Now().Before(end); n += c.batch {
		for at := 0; at < len(buf); at += c.size {
			fill(buf[at:at+c.size], uint64(n))
		}
		if _, err := write1(to, buf); err != nil {
			return
		}
	}
}

func read(from *os.File, c trialCase, r *result) {
	buf := make([]byte, c.size*c.batch)
	var start time.Time
	var total uint64
	for {
		if _, err := io.ReadFull(reader{from}, buf); err != nil {
			break
		}
		if r.records == 0 {
			start = time.Now()
		}
		r.records += uint64(c.batch)
		total += sum(buf)
	}
	r.took = time.Since(start)
	runtime.KeepAlive(total)
}
