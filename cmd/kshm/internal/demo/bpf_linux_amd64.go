// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/sum"
)

// BPFReport is the outcome of the demo whose kernel side is eBPF.
type BPFReport struct {
	Path           string  `json:"path"` // "bpf"
	KernelSide     string  `json:"kernel_side"`
	Kernel         string  `json:"kernel"`
	File           string  `json:"file"`
	Bytes          int64   `json:"bytes"`
	KernelSum      string  `json:"kernel_fnv1a64"` // FNV-1a over 64-bit words
	GoSum          string  `json:"go_fnv1a64"`
	Verified       bool    `json:"verified"`
	LiveUpdates    int64   `json:"live_updates"` // changes of the kernel's counter, seen in memory
	ShareUS        float64 `json:"share_us"`     // what Share took: loading the programs, most of it
	Kicks          uint64  `json:"kicks"`
	Events         uint64  `json:"events"`
	EndReason      string  `json:"end_reason"`
	LeftAfterDone  int     `json:"left_after_done"`  // eBPF objects of the share in the kernel
	LeftAfterKill9 int     `json:"left_after_kill9"` // and of a killed program's
	ElapsedSeconds float64 `json:"seconds"`
	Failure        string  `json:"failure,omitempty"`
}

// bpfPiece is the most that one kick takes, in bytes.
const bpfPiece = 1 << 20

// bpfRun is the demo at work.
type bpfRun struct {
	o      Options
	r      *BPFReport
	dev    *kshm.Device
	buf    *kshm.Buffer
	share  *kshm.Share
	loaded []string // what the share has in the kernel, the program's memory excepted
}

// DoBPF shows the contract on the running kernel with an eBPF object as the
// driver. The report is nil if it did not come to run.
func DoBPF(ctx context.Context, o Options) (*BPFReport, error) {
	src, err := OpenSource(o.File)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	begin := time.Now()
	b := &bpfRun{o: o, r: &BPFReport{Path: "bpf", Kernel: kernelRelease(), File: src.Path, Bytes: src.Size}}
	if err := b.open(); err != nil {
		return nil, err
	}
	err = b.show(ctx, src)
	b.r.ElapsedSeconds = time.Since(begin).Seconds()
	return b.r, errors.Join(err, b.dev.Close())
}

func (b *bpfRun) say(step int, lane Lane, format string, args ...any) {
	b.o.Emit(Event{Step: &Step{step, lane, fmt.Sprintf(format, args...)}})
}

// open is step 1.
func (b *bpfRun) open() error {
	spec, err := sum.Load()
	if err != nil {
		return err
	}
	if b.dev, err = bpf.Open(spec, &bpf.Options{Name: "sum", MinLength: sum.Data}); err != nil {
		return err
	}
	b.r.KernelSide = b.dev.Info().KernelSide
	b.o.Emit(Event{Scene: "eBPF programs in this machine's own kernel, " + b.r.Kernel + "; nothing is installed"})
	b.say(1, Program, "open the object sum")
	b.say(1, Kernel, "the verifier takes its programs")
	return nil
}

func (b *bpfRun) show(ctx context.Context, src *Source) error {
	if err := b.begin(src.Size); err != nil {
		return err
	}
	err := b.stream(ctx, src)
	if err := errors.Join(err, b.end(ctx)); err != nil {
		return err
	}
	if b.r.KernelSum != b.r.GoSum {
		return fmt.Errorf("the kernel's sum %s is not Go's %s", b.r.KernelSum, b.r.GoSum)
	}
	b.r.Verified = true
	return b.kill(ctx)
}

// begin is steps 2 to 4.
func (b *bpfRun) begin(size int64) (err error) {
	if b.buf, err = b.dev.Alloc(sum.Data+int(min(max(size, 1), bpfPiece)+7), nil); err != nil {
		return err
	}
	b.say(2, Program, "SHARE %s bytes of the arena", humanize.Comma(int64(b.buf.Len())))
	begin := time.Now()
	if b.share, err = b.dev.Share(b.buf, nil); err != nil {
		return errors.Join(err, b.buf.Close())
	}
	b.r.ShareUS = micros(time.Since(begin))
	if b.loaded, err = bpf.LoadedBy(os.Getpid()); err != nil {
		return errors.Join(err, b.share.Close(), b.buf.Close())
	}
	b.loaded = slices.DeleteFunc(b.loaded, func(name string) bool { return strings.HasSuffix(name, " kshm_arena") })
	b.say(3, Kernel, "nothing to pin: the pages belong to the arena's map")
	b.say(4, Kernel, "programs loaded in %.0f µs; they live as long as the share", b.r.ShareUS)
	return nil
}

// stream is step 5, and 9 on the way.
func (b *bpfRun) stream(ctx context.Context, src *Source) error {
	b.say(5, Program, "fill the memory and kick, in pieces")
	page, err := kshm.View[sum.Page](b.buf.Bytes(), 0)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	seen := make(chan int64)
	go func() { seen <- watch(watching, &page.Done) }()
	kernel, mine, events, err := b.pieces(ctx, src, page)
	stop()
	b.r.LiveUpdates = <-seen
	st, statErr := b.share.Stats()
	if err := errors.Join(err, statErr); err != nil {
		return err
	}
	b.r.KernelSum, b.r.GoSum = fmt.Sprintf("%016x", kernel), fmt.Sprintf("%016x", mine)
	b.r.Kicks, b.r.Events = st.Kicks, st.Events
	b.say(5, Kernel, "%s added up where they lie", humanize.Bytes(uint64(src.Size)))
	b.say(5, Program, "the kernel's counter changed %s times, seen in memory, by no system call", humanize.Comma(b.r.LiveUpdates))
	b.say(9, Kernel, "%s kicks came, %s events raised", humanize.Comma(int64(st.Kicks)), humanize.Comma(int64(st.Events)))
	b.say(9, Program, "%s events heard", humanize.Comma(int64(events)))
	return nil
}

// pieces gives the kernel one piece after the other, and adds up the same.
func (b *bpfRun) pieces(ctx context.Context, src *Source, page *sum.Page) (kernel, mine, events uint64, err error) {
	kernel, mine = sum.Start, sum.Start
	data := b.buf.Bytes()[sum.Data:]
	for left := src.Size; left > 0; {
		piece := data[:min(left, bpfPiece)]
		if _, err := io.ReadFull(src.File, piece); err != nil {
			return kernel, mine, events, &SourceError{src.Path, err.Error(), err}
		}
		clear(data[len(piece) : (len(piece)+7)&^7])
		mine = sum.Of(mine, piece)
		page.Words.Store(uint64(len(piece)+7) / 8)
		page.Before.Store(kernel)
		if err := b.share.Kick(); err != nil {
			return kernel, mine, events, err
		}
		if events, err = b.share.Wait(ctx, events); err != nil {
			return kernel, mine, events, err
		}
		kernel = page.Sum.Load()
		left -= int64(len(piece))
		b.o.Emit(Event{Progress: &Progress{src.Size - left, src.Size}})
	}
	return kernel, mine, events, nil
}

// watch counts how often it sees a word change.
func watch(ctx context.Context, word interface{ Load() uint64 }) (n int64) {
	for last := uint64(0); ; {
		if now := word.Load(); now != last {
			last = now
			n++
		} else if ctx.Err() != nil {
			return n
		}
	}
}

// end is steps 6 and 7.
func (b *bpfRun) end(ctx context.Context) error {
	b.say(6, Program, "DONE")
	err := b.share.Close()
	st, statErr := b.share.Stats()
	b.r.EndReason = st.Reason.String()
	still, leftErr := left(ctx, b.loaded)
	b.r.LeftAfterDone = still
	b.say(7, Kernel, "programs stopped and unloaded; SHARE completes: %v; eBPF objects left: %d of %d", st.Reason, still, len(b.loaded))
	if still > 0 {
		err = errors.Join(err, fmt.Errorf("%d eBPF objects of the ended share are still in the kernel", still))
	}
	return errors.Join(err, statErr, leftErr, b.buf.Close())
}

// left counts which of these objects are in the kernel; it frees what nobody
// holds after a grace period.
func left(ctx context.Context, loaded []string) (int, error) {
	for end := time.Now().Add(familyPatience); ; {
		now, err := bpf.Loaded()
		still := len(loaded) - len(without(loaded, now))
		if err != nil || still == 0 || time.Now().After(end) || ctx.Err() != nil {
			return still, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(others, name) })
}

// kill is step 8.
func (b *bpfRun) kill(ctx context.Context) error {
	f, err := startFamily(ctx, b.o.Child)
	if err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	defer f.close()
	if _, err := f.expect(ctx, lineShared); err != nil {
		return err
	}
	loaded, err := bpf.LoadedBy(f.child.Process.Pid)
	if err != nil {
		return err
	}
	b.say(8, Program, "kill -9 of a child that shares: %d eBPF objects", len(loaded))
	f.child.Process.Kill()
	f.child.Wait()
	b.r.LeftAfterKill9, err = left(ctx, loaded)
	b.say(8, Kernel, "the share ends with the child; eBPF objects left: %d", b.r.LeftAfterKill9)
	if err == nil && b.r.LeftAfterKill9 > 0 {
		err = fmt.Errorf("%d eBPF objects outlive a program that was killed", b.r.LeftAfterKill9)
	}
	return err
}

// ShareBPF is the child: it shares, and waits to be killed.
func ShareBPF() error {
	spec, err := sum.Load()
	if err != nil {
		return err
	}
	dev, err := bpf.Open(spec, nil)
	if err != nil {
		return err
	}
	buf, err := dev.Alloc(2*sum.Data, nil)
	if err != nil {
		return err
	}
	share, err := dev.Share(buf, nil)
	if err != nil {
		return err
	}
	fmt.Println(lineShared)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, share.Close())
}

// SummaryBPF is the last word to a person.
func (s *Screen) SummaryBPF(r *BPFReport) {
	fmt.Fprintf(s.out, "\nfile        %s, %s bytes\n", r.File, humanize.Comma(r.Bytes))
	fmt.Fprintf(s.out, "the kernel  %s (FNV-1a over 64-bit words)\n", r.KernelSum)
	fmt.Fprintf(s.out, "Go          %s\n", r.GoSum)
	if !r.Verified || r.LeftAfterDone+r.LeftAfterKill9 > 0 {
		fmt.Fprintln(s.out, "NOT verified"+strings.TrimRight(" "+r.Failure, " "))
		return
	}
	fmt.Fprintln(s.out, "verified; nothing is left in the kernel, after DONE and after kill -9")
}
