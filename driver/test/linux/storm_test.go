// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

var (
	stormTime = flag.Duration("storm", 30*time.Second, "how long TestStorm goes on")
	stormSeed = flag.Uint64("storm-seed", 1, "seed of TestStorm's processes")
)

const (
	stormProcesses = 4
	stormThreads   = 4
)

// TestStorm has several processes do legal and illegal things to two drivers at
// once, and kills them again and again. When all are gone, nothing is left: no
// pin, no mapping, no share without its stop(), and no callback after it.
func TestStorm(t *testing.T) {
	dev := open(t, "probe")
	pins, areas, begin := pinsHeld(t), vmapAreas(t), probeCountsNow(t, dev)
	deadline := time.Now().Add(*stormTime)
	var wg sync.WaitGroup
	var kills atomic.Int64
	for p := range stormProcesses {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(*stormSeed, uint64(p)))
			for time.Now().Before(deadline) {
				child := exec.Command("/proc/self/exe")
				child.Env = append(os.Environ(), "KSHM_TEST_CHILD=storm", "KSHM_TEST_SEED="+strconv.FormatUint(r.Uint64(), 10))
				if err := child.Start(); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				child.Process.Kill()
				child.Wait()
				kills.Add(1)
			}
		})
	}
	wg.Wait()
	end := probeCountsNow(t, dev)
	t.Logf("seed %d: %d processes killed, %d shares of the probe, %d kicks", *stormSeed, kills.Load(), end.Shares-begin.Shares, end.Kicks-begin.Kicks)
	if end.Shares == begin.Shares {
		t.Error("the storm shared nothing")
	}
	if end.Shares-begin.Shares != end.Stops-begin.Stops {
		t.Errorf("%d shares, %d stops", end.Shares-begin.Shares, end.Stops-begin.Stops)
	}
	if n := pinsHeld(t) - pins; n != 0 {
		t.Errorf("%d pages still pinned", n)
	}
	if n := vmapAreas(t) - areas; n > 0 {
		t.Errorf("%d mappings left", n)
	}
}

// storm is one thread of one process of the storm. Its descriptors and memory
// are the process's, so the threads pull them away from under each other.
type storm struct {
	*rand.Rand
	devices []int
	state   *stormState
}

type stormState struct {
	mu     sync.Mutex
	shares []int
	memory [][]byte
}

func playStorm() {
	seed, _ := strconv.ParseUint(os.Getenv("KSHM_TEST_SEED"), 10, 64)
	var devices []int
	for _, name := range []string{"probe", "digest"} {
		fd, err := unix.Open("/dev/kshm/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			fmt.Println(err)
			os.Exit(70)
		}
		devices = append(devices, fd)
	}
	state := &stormState{}
	for i := range stormThreads {
		s := &storm{rand.New(rand.NewPCG(seed, uint64(i))), devices, state}
		go func() {
			for {
				s.step()
			}
		}()
	}
	time.Sleep(time.Hour) // until it is killed
}

// step does one thing. Results do not matter: what matters is what is left.
func (s *storm) step() {
	switch s.IntN(16) {
	case 0, 1, 2, 3:
		s.share()
	case 4, 5:
		s.command(abi.IoctlDone)
	case 6, 7, 8:
		s.command(abi.IoctlKick)
	case 9:
		unix.Close(s.take())
	case 10:
		if fd, err := unix.Dup(s.some()); err == nil {
			s.keep(fd)
		}
	case 11:
		var buf [8]byte
		unix.SetNonblock(s.some(), true)
		unix.Read(s.some(), buf[:])
	case 12:
		s.scribble()
	case 13:
		s.tearMemory()
	case 14:
		s.control()
	case 15:
		s.nonsense()
	}
}

func (s *storm) share() {
	length := 1 + s.IntN(64*4096)
	mem, err := unix.Mmap(-1, 0, (length+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return
	}
	a := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: uint64(length), Cookie: s.Uint64N(40) + 1000, Access: abi.AccessRead | abi.AccessWrite}
	if s.IntN(4) == 0 {
		a.Access = abi.AccessRead
	}
	fd, err := rawShare(s.devices[s.IntN(len(s.devices))], a)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.memory = append(s.state.memory, mem)
	if err == nil {
		s.state.shares = append(s.state.shares, fd)
	}
}

func (s *storm) some() int {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if len(s.state.shares) == 0 {
		return -1
	}
	return s.state.shares[s.IntN(len(s.state.shares))]
}

func (s *storm) take() int {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	n := len(s.state.shares)
	if n == 0 {
		return -1
	}
	i := s.IntN(n)
	fd := s.state.shares[i]
	s.state.shares[i] = s.state.shares[n-1]
	s.state.shares = s.state.shares[:n-1]
	return fd
}

func (s *storm) keep(fd int) {
	s.state.mu.Lock()
	s.state.shares = append(s.state.shares, fd)
	s.state.mu.Unlock()
}

func (s *storm) command(request uintptr) {
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	rawIoctl(s.some(), request, unsafe.Pointer(&cmd))
}

// scribble writes what the drivers read. Another thread may have unmapped the
// memory meanwhile, so the kernel does the writing and answers EFAULT.
func (s *storm) scribble() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if len(s.state.memory) == 0 {
		return
	}
	mem := s.state.memory[s.IntN(len(s.state.memory))]
	var page [200]byte
	for i := range page {
		page[i] = byte(s.Uint32())
	}
	if s.IntN(2) == 0 { // a request that digest can serve
		clear(page[8:])
		page[8], page[9] = byte(s.Uint32()), byte(s.Uint32())&0x3f
	}
	copy(mem[:min(len(mem), len(page))], page[:])
}

func (s *storm) tearMemory() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	n := len(s.state.memory)
	if n == 0 {
		return
	}
	i := s.IntN(n)
	mem := s.state.memory[i]
	switch s.IntN(3) {
	case 0:
		unix.Madvise(mem, unix.MADV_DONTNEED)
	default:
		unix.Munmap(mem)
		s.state.memory[i] = s.state.memory[n-1]
		s.state.memory = s.state.memory[:n-1]
	}
}

// control has the probe act on anybody's share: this process's, another's.
func (s *storm) control() {
	c := probeCommand{Cookie: s.Uint64N(40) + 1000, Value: s.Uint64N(3), Context: uint32(s.IntN(3))}
	code := []uint32{probeNotify, probeRevoke, probeCorrupt, probeHold, probePoke}[s.IntN(5)]
	a := abi.Control{Size: abi.SizeofControl, Code: code, In: uint64(uintptr(unsafe.Pointer(&c))), In_length: uint32(unsafe.Sizeof(c))}
	rawIoctl(s.devices[0], abi.IoctlControl, unsafe.Pointer(&a))
}

func (s *storm) nonsense() {
	var junk [64]uint64
	for i := range junk {
		junk[i] = s.Uint64() >> s.IntN(64)
	}
	if s.IntN(2) == 0 {
		junk[0] = abi.SizeofShareArgs
	}
	fds := []int{s.devices[0], s.devices[1], s.some()}
	rawIoctl(fds[s.IntN(3)], uintptr(0xd500+s.IntN(7)), unsafe.Pointer(&junk))
}
