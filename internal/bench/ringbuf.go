// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	bpfring "github.com/cilium/ebpf/ringbuf"
)

const (
	perRun       = 2048 // records that one run of the program makes at most
	largest      = 65536
	bpfSleepable = 1 << 4
	bpfSystem    = 31 // BPF_PROG_TYPE_SYSCALL
)

// ringbuf is the BPF ring buffer with feeders that run a program that produces
// into it, one for each size and batch.
type ringbuf struct {
	ring    *ebpf.Map
	record  *ebpf.Map // that the program copies, its time and sequence in front
	feeders map[[2]int]*feeder
}

func openRingbuf() (*ringbuf, error) {
	r := &ringbuf{feeders: map[[2]int]*feeder{}}
	var err error
	if r.ring, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: capacity}); err != nil {
		return nil, err
	}
	if r.record, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: largest, MaxEntries: 1}); err != nil {
		r.ring.Close()
		return nil, err
	}
	return r, nil
}

func (r *ringbuf) close() {
	for _, f := range r.feeders {
		f.stop()
	}
	r.ring.Close()
	r.record.Close()
}

// feeder returns the process that makes such records.
func (r *ringbuf) feeder(size, batch, cpu int) (*feeder, error) {
	key := [2]int{size, batch}
	if f := r.feeders[key]; f != nil {
		return f, nil
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.ProgramType(bpfSystem), Flags: bpfSleepable, License: "MIT", Instructions: r.instructions(size, batch),
	})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	f, err := startFeeder(p, cpu)
	if err == nil {
		r.feeders[key] = f
	}
	return f, err
}

// instructions are a program that makes as many records as the first word of
// its context says, with sequences from the second on, until the ring is full.
// It answers how many in the first word. A record has the words of struct
// loop_record in front, as loop makes it.
func (r *ringbuf) instructions(size, batch int) asm.Instructions {
	flags := int32(0) // wakes the reader when it has caught up
	if batch > 1 {
		flags = 1 // BPF_RB_NO_WAKEUP: it looks by itself
	}
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord),
		asm.Mov.Imm(asm.R8, 0),
		asm.LoadMapValue(asm.R9, r.record.FD(), 0),

		asm.JGE.Imm(asm.R8, perRun, "end").WithSymbol("next"),
		asm.JGE.Reg(asm.R8, asm.R7, "end"),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R9, 0, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R8),
		asm.StoreMem(asm.R9, 16, asm.R1, asm.DWord),

		asm.LoadMapPtr(asm.R1, r.ring.FD()),
		asm.Mov.Reg(asm.R2, asm.R9),
		asm.Mov.Imm(asm.R3, int32(size)),
		asm.Mov.Imm(asm.R4, flags),
		asm.FnRingbufOutput.Call(),
		asm.JNE.Imm(asm.R0, 0, "end"),
		asm.Add.Imm(asm.R8, 1),
		asm.Ja.Label("next"),

		asm.StoreMem(asm.R6, 0, asm.R8, asm.DWord).WithSymbol("end"),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}
}

// ringbuf passes records through the BPF ring buffer, to the library's reader.
func (g *guest) ringbuf(c trialCase, records int) (result, error) {
	f, err := g.bpf.feeder(c.size, c.batch, g.cpus[0])
	if err != nil {
		return result{}, err
	}
	reader, err := bpfring.NewReader(g.bpf.ring)
	if err != nil {
		return result{}, err
	}
	defer reader.Close()
	return g.together(
		func() error { return f.feed(records) },
		func(r *result) error { return takeFrom(reader, c, records, r) })
}

// A feeder runs programs in a process of its own: where a processor's user mode
// belongs to one process at a time, as in user-mode Linux, it would get no turn
// beside a reader that looks all the time.
type feeder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// FeederArg makes the guest's program a feeder.
const FeederArg = "feed"

func startFeeder(p *ebpf.Program, cpu int) (*feeder, error) {
	f := &feeder{cmd: exec.Command("/proc/self/exe", FeederArg, strconv.Itoa(cpu))}
	fd, err := syscall.Dup(p.FD())
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	program := os.NewFile(uintptr(fd), "program")
	defer program.Close()
	f.cmd.ExtraFiles, f.cmd.Stderr = []*os.File{program}, os.Stderr
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.out = bufio.NewReader(out)
	return f, f.cmd.Start()
}

// feed has n records made.
func (f *feeder) feed(n int) error {
	if _, err := fmt.Fprintln(f.in, n); err != nil {
		return err
	}
	_, err := f.out.ReadString('\n')
	return err
}

func (f *feeder) stop() {
	f.in.Close()
	f.cmd.Wait()
}

// Feed is the feeder's side: it runs the program that is its fourth file for as
// many records as each line says, and answers with a line.
func Feed(cpu int) error {
	runtime.LockOSThread()
	if err := pin(cpu); err != nil {
		return err
	}
	p, err := ebpf.NewProgramFromFD(3)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		if err := runFor(p, n); err != nil {
			return err
		}
		fmt.Println(n)
	}
	return nil
}

// runFor runs the program until it has made n records.
func runFor(p *ebpf.Program, n int) error {
	var context [16]byte
	for done := 0; done < n; {
		binary.NativeEndian.PutUint64(context[:], uint64(n-done))
		binary.NativeEndian.PutUint64(context[8:], uint64(done))
		if _, err := p.Run(&ebpf.RunOptions{Context: context[:], ContextOut: context[:]}); err != nil {
			return err
		}
		done += int(binary.NativeEndian.Uint64(context[:]))
	}
	return nil
}

// takeFrom looks until there is a record and only then asks the reader for it,
// which does not sleep: its deadline is over.
func takeFrom(reader *bpfring.Reader, c trialCase, n int, r *result) error {
	var start time.Time
	var total uint64
	var rec bpfring.Record
	reader.SetDeadline(time.Unix(1, 0))
	for i := 0; i < n; {
		for reader.AvailableBytes() == 0 {
		}
		if i == 0 {
			start = time.Now()
		}
		err := reader.ReadInto(&rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		i++
		if len(rec.RawSample) < c.size {
			return fmt.Errorf("a record of %d bytes", len(rec.RawSample))
		}
		total += sum(rec.RawSample[:c.size])
	}
	r.took, r.records = time.Since(start), uint64(n)
	runtime.KeepAlive(total)
	return nil
}
