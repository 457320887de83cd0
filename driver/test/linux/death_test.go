// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
)

// TestMain lets the test binary play the children of the death tests: one that
// holds shares and dies in a given way, and one that only holds descriptors.
func TestMain(m *testing.M) {
	switch os.Getenv("KSHM_TEST_CHILD") {
	case "owner":
		playOwner(os.Getenv("KSHM_TEST_DEATH"))
	case "crowd":
		playCrowd(os.Getenv("KSHM_TEST_CROWD"))
	case "glutton":
		playGlutton()
	case "hoarder":
		playHoarder(os.Getenv("KSHM_TEST_HOARD"))
	case "stuck":
		playStuck()
	case "holder":
		fmt.Println("holding")        // after exec, too: its stdin is the owner's
		io.Copy(io.Discard, os.Stdin) // until the test closes the pipe
	default:
		if os.Geteuid() == 0 {
			if err := chargeForLocking(); err != nil {
				fmt.Println(err)
				os.Exit(70)
			}
		}
		os.Exit(m.Run())
	}
}

const (
	childShares = 3
	childPages  = 16
)

// playOwner makes shares in the raw form, so that their descriptors can be
// inherited, starts a grandchild that holds them, and dies.
func playOwner(death string) {
	check := func(err error) {
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(70)
		}
	}
	device, err := unix.Open("/dev/kshm/probe", unix.O_RDWR, 0)
	check(err)
	var files []*os.File
	for range childShares {
		mem, err := unix.Mmap(-1, 0, childPages*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		check(err)
		fd, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: childPages * 4096, Access: abi.AccessRead | abi.AccessWrite})
		check(err)
		files = append(files, os.NewFile(uintptr(fd), "share"))
	}
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), "KSHM_TEST_CHILD=holder")
	holder.ExtraFiles = files
	holder.Stdin = os.NewFile(3, "lifetime") // closed by the test
	out, err := holder.StdoutPipe()
	check(err)
	check(holder.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	check(err)
	if death == "passed" {
		for _, f := range files {
			f.Close() // only the grandchild has them now
		}
	}
	fmt.Println("ready")
	io.ReadFull(os.Stdin, make([]byte, 1))
	switch death {
	case "exit":
		os.Exit(0)
	case "panic":
		panic("as a program does")
	case "exec":
		for _, f := range files {
			unix.FcntlInt(f.Fd(), unix.F_SETFD, 0) // the new program inherits them
		}
		os.Setenv("KSHM_TEST_CHILD", "holder")
		check(unix.Exec("/proc/self/exe", []string{"holder"}, os.Environ()))
	default:
		time.Sleep(time.Hour) // until it is killed
	}
}

// owner is a child that holds shares, and what it prints.
type owner struct {
	*exec.Cmd
	lines *bufio.Reader
}

// startOwner returns a child that has shared, the pipe that tells it to die, and
// the one that keeps its own child.
func startOwner(t *testing.T, death string) (child owner, in io.WriteCloser, release *os.File) {
	t.Helper()
	child.Cmd = exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), "KSHM_TEST_CHILD=owner", "KSHM_TEST_DEATH="+death)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	lifetime, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	child.ExtraFiles = []*os.File{lifetime}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lifetime.Close()
	child.lines = bufio.NewReader(out)
	if line, err := child.lines.ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("child said %q, %v", line, err)
	}
	return child, in, release
}

// The share ends with the address space that made it, while a grandchild holds
// its descriptors: at once, and with nothing left.
func TestDeathOfTheOwner(t *testing.T) {
	for _, death := range []string{"kill", "exit", "panic", "exec", "passed"} {
		t.Run(death, func(t *testing.T) {
			dev := open(t, "probe")
			before, stops := pinsHeld(t), probeCountsNow(t, dev).Stops
			child, in, release := startOwner(t, death)
			lines := child.lines
			defer release.Close() // lets the grandchild go
			if held := pinsHeld(t) - before; held != childShares*childPages {
				t.Fatalf("%d pages pinned by a live child, want %d", held, childShares*childPages)
			}
			switch death {
			case "kill", "passed":
				child.Process.Kill()
				child.Process.Wait()
			case "exec":
				in.Write([]byte{0})
				if line, _ := lines.ReadString('\n'); strings.TrimSpace(line) != "holding" {
					t.Fatalf("after exec: %q", line)
				}
			default:
				in.Write([]byte{0})
				child.Process.Wait()
			}
			if held := pinsHeld(t) - before; held != 0 {
				t.Errorf("%d pages pinned after %s", held, death)
			}
			c := probeCountsNow(t, dev)
			if c.Stops != stops+childShares || c.Reason != kshm.EndExit {
				t.Errorf("%d stops, the last for %v", c.Stops-stops, c.Reason)
			}
			in.Close()
			child.Process.Kill()
			child.Process.Wait()
		})
	}
}

// passed is a share whose descriptor is in flight in a socket, and the socket.
func passed(t *testing.T) (s int, pair [2]int) {
	t.Helper()
	device := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(s), nil, 0); err != nil {
		t.Fatal(err)
	}
	return s, pair
}

// receive takes the descriptor out of the socket.
func receive(t *testing.T, socket int) int {
	t.Helper()
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors %v, %v", fds, err)
	}
	return fds[0]
}

// A descriptor that was passed on works, when nobody else has one, too; DONE
// wins over every copy of it.
func TestDescriptorPassing(t *testing.T) {
	atRest(t)
	before := pinsHeld(t)
	sent, pair := passed(t)
	unix.Close(sent) // the only copy is in flight
	if held := pinsHeld(t) - before; held != 1 {
		t.Errorf("%d pages pinned by a share in flight", held)
	}
	s := receive(t, pair[1])
	cmd, stats := abi.ShareCmd{Size: abi.SizeofShareCmd}, abi.Stats{Size: abi.SizeofStats}
	if _, err := rawIoctl(s, abi.IoctlKick, unsafe.Pointer(&cmd)); err != nil {
		t.Errorf("KICK by the receiver: %v", err)
	}
	fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, -1); err != nil || fds[0].Revents != unix.POLLIN {
		t.Errorf("poll by the receiver: %#x, %v", fds[0].Revents, err)
	}
	var events [8]byte
	if n, err := unix.Read(s, events[:]); n != 8 || err != nil || binary.NativeEndian.Uint64(events[:]) != 1 {
		t.Errorf("read by the receiver: %d, %v, %x", n, err, events)
	}
	if _, err := rawIoctl(s, abi.IoctlStats, unsafe.Pointer(&stats)); err != nil || stats.Kicks != 1 || stats.Reason != abi.Live {
		t.Errorf("STATS by the receiver: %+v, %v", stats, err)
	}
	// Again in flight in the socket and open here and as a dup: DONE ends it all.
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(s), nil, 0); err != nil {
		t.Fatal(err)
	}
	dup, err := unix.Dup(s)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := rawIoctl(dup, abi.IoctlDone, unsafe.Pointer(&cmd)); r != abi.EndDone || err != nil {
		t.Errorf("DONE: %d, %v", r, err)
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages pinned after DONE with three descriptors", held)
	}
	late := receive(t, pair[1])
	for _, fd := range []int{s, late} {
		fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		if _, err := unix.Poll(fds, 0); err != nil || fds[0].Revents != unix.POLLIN|unix.POLLHUP {
			t.Errorf("poll of an ended share: %#x, %v", fds[0].Revents, err)
		}
		if n, err := unix.Read(fd, make([]byte, 8)); n != 0 || err != nil {
			t.Errorf("read of an ended share: %d, %v", n, err)
		}
		if _, err := rawIoctl(fd, abi.IoctlKick, unsafe.Pointer(&cmd)); err != unix.ESHUTDOWN {
			t.Errorf("KICK of an ended share: %v", err)
		}
	}
	for _, fd := range []int{s, dup, late, pair[0], pair[1]} {
		unix.Close(fd)
	}
}

// A share whose only descriptor is in flight ends when the socket goes in which
// nobody will find it.
func TestDescriptorLostInFlight(t *testing.T) {
	dev := open(t, "probe")
	before := pinsHeld(t)
	s, pair := passed(t)
	unix.Close(s)
	unix.Close(pair[0])
	stops := probeCountsNow(t, dev).Stops
	if held := pinsHeld(t) - before; held != 1 {
		t.Errorf("%d pages pinned while the socket can be read", held)
	}
	unix.Close(pair[1])
	// Whether the kernel closes what is in flight at once is its own affair.
	for deadline := time.Now().Add(time.Minute); pinsHeld(t) != before && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages still pinned", held)
	}
	if c := probeCountsNow(t, dev); c.Stops != stops+1 || c.Reason != kshm.EndClosed {
		t.Errorf("%d stops, the last for %v", c.Stops-stops, c.Reason)
	}
}

// The last close ends a share that nobody said DONE to.
func TestCloseWithoutDone(t *testing.T) {
	dev := open(t, "probe")
	before := pinsHeld(t)
	device := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(s)
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages pinned after close", held)
	}
	if c := probeCountsNow(t, dev); c.Reason != kshm.EndClosed {
		t.Errorf("ended for %v", c.Reason)
	}
}

// What the program does to its mapping meanwhile is its own affair: the kernel
// stays on the pages that were there.
func TestMappingChangesWhileShared(t *testing.T) {
	dev := open(t, "probe")
	before := pinsHeld(t)
	mem, err := unix.Mmap(-1, 0, 2*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, "before")
	buf, err := kshm.Wrap(mem)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, &kshm.ShareOptions{Cookie: 12})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Munmap(mem); err != nil {
		t.Fatal(err)
	}
	if got := mustCommand(t, dev, probePeek, probeCommand{Cookie: 12, Length: 6}, 6); string(got) != "before" {
		t.Errorf("the kernel sees %q", got)
	}
	mustCommand(t, dev, probePoke, probeCommand{Cookie: 12, Length: 8192, Value: 1}, 0)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages still pinned", held)
	}
}

func TestMemlockLimit(t *testing.T) {
	if os.Getenv("KSHM_TEST_UNPRIVILEGED") == "" {
		atRest(t)
		// Without CAP_IPC_LOCK the limit counts. The child inherits an open
		// device, since the node is root's.
		device, err := os.OpenFile("/dev/kshm/probe", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		child := exec.Command("/proc/self/exe", "-test.run=^TestMemlockLimit$", "-test.count=1")
		child.Env = append(os.Environ(), "KSHM_TEST_UNPRIVILEGED=1")
		child.ExtraFiles = []*os.File{device}
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	dev, err := kshm.Open("/proc/self/fd/3")
	if err != nil {
		// The node cannot be opened again by this user: use the descriptor.
		memlockRaw(t, 3)
		return
	}
	dev.Close()
	t.Error("an unprivileged user opened the node")
}

func memlockRaw(t *testing.T, device int) {
	mem := mmap(t, 128<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 64 << 10, Access: abi.AccessRead}
	more := args
	more.Length++
	if _, err := rawShare(device, more); err != unix.EDQUOT {
		t.Errorf("over the limit: %v", err)
	}
	for range 3 { // the full limit is usable again each time
		s, err := rawShare(device, args)
		if err != nil {
			t.Fatal(err)
		}
		one := args
		one.Length = 1
		if _, err := rawShare(device, one); err != unix.EDQUOT {
			t.Errorf("one page more: %v", err)
		}
		unix.Close(s)
	}
}

// goneShares makes shares on a device that is about to go, and returns a check
// of what must hold once it has gone.
func goneShares(t *testing.T, name string) (check func()) {
	t.Helper()
	atRest(t)
	dev, err := kshm.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	before := pinsHeld(t)
	buf, err := dev.Alloc(1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	var shares []*kshm.Share
	for range 20 {
		s, err := dev.Share(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s)
	}
	waiting := make(chan error)
	go func() {
		_, err := shares[0].Wait(t.Context(), 0)
		waiting <- err
	}()
	return func() {
		t.Helper()
		if err := <-waiting; !errors.Is(err, kshm.ErrGone) {
			t.Errorf("Wait: %v", err)
		}
		for _, s := range shares {
			<-s.Done()
			if !errors.Is(s.Err(), kshm.ErrGone) || !errors.Is(s.Kick(), kshm.ErrGone) {
				t.Errorf("Err %v", s.Err())
			}
		}
		if held := pinsHeld(t) - before; held != 0 {
			t.Errorf("%d pages still pinned", held)
		}
		if _, err := dev.Share(buf, nil); !errors.Is(err, kshm.ErrGone) {
			t.Errorf("Share on the old descriptor: %v", err)
		}
		if _, err := kshm.Open(name); !errors.Is(err, kshm.ErrNotExist) {
			t.Errorf("Open: %v", err)
		}
		references := referencesTo(t, "kshm")
		for _, s := range shares {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(buf.Close(), dev.Close()); err != nil {
			t.Error(err)
		}
		// While they were open, they held the kit, and the kit alone.
		if n := references - referencesTo(t, "kshm"); n != len(shares)+1 {
			t.Errorf("%d shares and a device held kshm.ko %d times", len(shares), n)
		}
	}
}

// A device that is removed under live shares ends them; programs are told why.
func TestSurpriseRemoval(t *testing.T) {
	check := goneShares(t, "probe-removable")
	if err := os.WriteFile("/sys/class/misc/kshm-probe-removable/unbind", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	check()
}

// So does unloading the driver, which open descriptors never hold back.
func TestUnloadUnderLiveShares(t *testing.T) {
	check := goneShares(t, "digest")
	if err := unix.DeleteModule("digest", unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	check()
	module, err := os.Open("/modules/digest.ko")
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close()
	if err := unix.FinitModule(int(module.Fd()), "", 0); err != nil {
		t.Fatal(err)
	}
}

// A driver that is slow to stop does not keep a killed process: it is gone
// while stop() still runs, and the share ends later.
func TestDeathUnderSlowDriver(t *testing.T) {
	dev := open(t, "probe")
	before, stops := pinsHeld(t), probeCountsNow(t, dev).Stops
	child, _, release := startOwner(t, "kill")
	mustCommand(t, dev, probeSlowStop, probeCommand{Value: 300_000}, 0)
	child.Process.Kill()
	child.Process.Wait()
	if n := probeCountsNow(t, dev).Stops - stops; n != childShares-1 {
		t.Errorf("the process was gone after %d stops, want all %d but the slow one", n, childShares)
	}
	mustCommand(t, dev, probeSlowStop, probeCommand{}, 0) // no longer slow
	release.Close()
	for deadline := time.Now().Add(time.Minute); pinsHeld(t) != before; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d pages still pinned", pinsHeld(t)-before)
		}
	}
	if n := probeCountsNow(t, dev).Stops - stops; n != childShares {
		t.Errorf("%d stops, want %d", n, childShares)
	}
}
