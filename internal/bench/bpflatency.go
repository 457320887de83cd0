// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bench

import (
	"context"
	"sync/atomic"
	"time"

	"kshm/bpf/loop"
)

// A reader that sleeps has been left alone for so long.
const pause = 200 * time.Microsecond

// stamps carries the time at which a record was made, and how many the reader
// has taken.
type stamps struct {
	made  atomic.Int64
	taken atomic.Uint64
}

// ping makes one record at a time until the trial is over, each when the last
// one has been taken, and before each waits until the reader sleeps again.
func (s *stamps) ping(c trialCase, sleepy bool, one func() error) error {
	end := time.Now().Add(5 * c.trial)
	for n := uint64(1); time.Now().Before(end); n++ {
		if sleepy {
			time.Sleep(pause)
		} else {
			for begun := time.Now(); time.Since(begun) < 2*time.Microsecond; {
			}
		}
		s.made.Store(int64(time.Since(epoch)))
		if err := one(); err != nil {
			return err
		}
		for s.taken.Load() != n {
			if sleepy {
				time.Sleep(pause / 10)
			}
		}
	}
	return nil
}

var epoch = time.Now()

// got is a record's arrival.
func (s *stamps) got(r *result) {
	r.took += time.Since(epoch) - time.Duration(s.made.Load())
	r.records++
	s.taken.Add(1)
}

// latency is the time from before a record is made to its arrival.
func (b *bpfBed) latency(sleepy bool) func(context.Context, trialCase) (result, error) {
	return func(ctx context.Context, c trialCase) (result, error) {
		s, err := b.share(b.loop)
		if err != nil {
			return result{}, err
		}
		defer s.close()
		var times stamps
		p := b.progs.Programs["loop_produce"]
		return b.together(
			func() error {
				err := times.ping(c, sleepy, func() error {
					_, err := loop.Produce(p, loop.Burst{Records: 1, Size: uint32(c.size), Batch: 1})
					return err
				})
				if err != nil {
					return err
				}
				return endBPF(p)
			},
			func(r *result) error {
				for {
					rec, ok := s.consumer.Next()
					switch {
					case ok && len(rec) == 0:
						return nil
					case ok:
						times.got(r)
						s.consumer.Release()
					case sleepy:
						if err := s.consumer.Wait(ctx); err != nil {
							return err
						}
					}
				}
			})
	}
}
