// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
)

// needs skips a test for which this machine is not made. Where KSHM_ROWS says
// that it is, as make test-vm does, what is missing is a failure.
func needs(t *testing.T, have bool, what string) {
	t.Helper()
	if have {
		return
	}
	if os.Getenv("KSHM_ROWS") != "" {
		t.Fatalf("this machine has no %s", what)
	}
	t.Skipf("this machine has no %s; make test-vm starts one that has", what)
}

// A gibibyte is as good as a page.
func TestGibibyte(t *testing.T) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 30
	needs(t, uint64(info.Totalram)*uint64(info.Unit) > 5*size/2, "memory for a share of 1 GiB, which is more than 2.5 GiB")
	dev := open(t, "probe")
	before := pinsHeld(t)
	s, buf := share(t, dev, size, &kshm.ShareOptions{Cookie: 31})
	if held := pinsHeld(t) - before; held != size/os.Getpagesize() {
		t.Errorf("%d pages pinned", held)
	}
	for _, at := range []int{0, size/2 - 1, size - 1} {
		buf.Bytes()[at] = byte(at>>20) + 1
		if got := peek(t, dev, 31, uint64(at)); got != byte(at>>20)+1 {
			t.Errorf("byte %d: the kernel sees %d", at, got)
		}
		mustCommand(t, dev, probePoke, probeCommand{Cookie: 31, Offset: uint64(at), Value: 'k', Length: 1}, 0)
		if buf.Bytes()[at] != 'k' {
			t.Errorf("byte %d: the program sees %d", at, buf.Bytes()[at])
		}
	}
	st, err := s.Stats()
	t.Logf("pinned in %v, mapped in %v, %v", st.PinTime, st.MapTime, err)
}

// Memory that a file system on a disk holds is refused, with a remedy. A private
// mapping of the file that has been written is the program's own memory.
func TestFileOnDisk(t *testing.T) {
	file := fileOnDisk(t)
	dev := open(t, "probe")
	for name, c := range map[string]struct {
		prot, flags int
		readOnly    bool
	}{
		"shared":       {unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED, false},
		"shared, read": {unix.PROT_READ, unix.MAP_SHARED, true},
		"to be read":   {unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED, true},
	} {
		mem, err := unix.Mmap(int(file.Fd()), 0, 8192, c.prot, c.flags)
		if err != nil {
			t.Fatal(err)
		}
		_ = mem[0] // it is in the page cache
		buf, err := kshm.Wrap(mem)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dev.Share(buf, &kshm.ShareOptions{ReadOnly: c.readOnly})
		var op *kshm.OpError
		if !errors.Is(err, kshm.ErrMemory) || !errors.As(err, &op) || op.Remedy == "" {
			t.Errorf("%s: %v", name, err)
		}
		unix.Munmap(mem)
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	mem[0] = 'p'
	wrapAndShare(t, dev, mem, 32)
	if got := peek(t, dev, 32, 0); got != 'p' {
		t.Errorf("the kernel sees %d", got)
	}
}

// fileOnDisk is a file of two pages in a FAT file system on a RAM disk.
func fileOnDisk(t *testing.T) *os.File {
	t.Helper()
	const name = "/dev/ram0"
	disk, err := os.OpenFile(name, os.O_RDWR, 0)
	needs(t, err == nil, fmt.Sprintf("RAM disk (%v)", err))
	defer disk.Close()
	if _, err := disk.WriteAt(fatHeader(), 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = unix.Mount(name, dir, "vfat", 0, "")
	needs(t, err == nil, fmt.Sprintf("FAT file system (%v)", err))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if _, err := file.Write(bytes.Repeat([]byte{'f'}, 8192)); err != nil {
		t.Fatal(err)
	}
	return file
}

const fatSectors = 8192

// fatHeader is the boot sector and the beginning of the table of an empty FAT16
// file system of 4 MiB: 32 sectors of table, 16 entries in the root.
func fatHeader() []byte {
	b := make([]byte, 2*512)
	copy(b, "\xeb\x3c\x90kshmtest")
	le := binary.LittleEndian
	le.PutUint16(b[11:], 512) // bytes of a sector
	b[13] = 1                 // sectors of a cluster
	le.PutUint16(b[14:], 1)   // reserved sectors: this one
	b[16] = 1                 // tables
	le.PutUint16(b[17:], 16)  // entries of the root
	le.PutUint16(b[19:], fatSectors)
	b[21] = 0xf8 // a fixed disk
	le.PutUint16(b[22:], 32)
	b[38] = 0x29
	copy(b[43:], "KSHM       FAT16   ")
	copy(b[510:], "\x55\xaa")
	copy(b[512:], "\xf8\xff\xff\xff")
	return b
}

// Memory in a zone that must stay movable moves out of it before it is pinned,
// with what it holds.
func TestMovableMemory(t *testing.T) {
	zone := movableZone(t)
	needs(t, zone.pages > 0, "movable zone")
	dev := open(t, "probe")
	mem := mmap(t, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	for at := 0; at < len(mem); at += 4096 {
		binary.NativeEndian.PutUint64(mem[at:], uint64(at)^0x6b73686d)
	}
	before := zone.count(t, mem)
	if before == 0 {
		t.Fatalf("no page of the buffer is in the movable zone of %d pages: there is nothing to see", zone.pages)
	}
	wrapAndShare(t, dev, mem, 33)
	if n := zone.count(t, mem); n != 0 {
		t.Errorf("%d pinned pages are in the movable zone", n)
	}
	for at := 0; at < len(mem); at += 4096 {
		want := binary.NativeEndian.AppendUint64(nil, uint64(at)^0x6b73686d)
		if at%(64<<10) == 0 {
			if got := mustCommand(t, dev, probePeek, probeCommand{Cookie: 33, Offset: uint64(at), Length: 8}, 8); !bytes.Equal(got, want) {
				t.Errorf("offset %d: the kernel sees %x, want %x", at, got, want)
			}
		}
		if !bytes.Equal(mem[at:at+8], want) {
			t.Errorf("offset %d: the program sees %x, want %x", at, mem[at:at+8], want)
		}
	}
	t.Logf("%d of %d pages had to move", before, len(mem)/4096)
}

// zone is a range of page frames.
type zone struct{ first, pages uint64 }

var movableText = regexp.MustCompile(`(?s)zone +Movable\n.*?spanned +(\d+).*?managed +(\d+).*?start_pfn: +(\d+)`)

func movableZone(t *testing.T) (z zone) {
	t.Helper()
	text, err := os.ReadFile("/proc/zoneinfo")
	if err != nil {
		t.Fatal(err)
	}
	m := movableText.FindStringSubmatch(string(text))
	if m == nil || m[2] == "0" {
		return z
	}
	z.pages, _ = strconv.ParseUint(m[1], 10, 64)
	z.first, _ = strconv.ParseUint(m[3], 10, 64)
	return z
}

// count is how many pages of mem lie in the zone.
func (z zone) count(t *testing.T, mem []byte) (n int) {
	t.Helper()
	file, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	entries := make([]byte, len(mem)/4096*8)
	if _, err := file.ReadAt(entries, int64(addressOf(mem)/4096*8)); err != nil {
		t.Fatal(err)
	}
	const present, frame = 1 << 63, 1<<55 - 1
	for at := 0; at < len(entries); at += 8 {
		e := binary.NativeEndian.Uint64(entries[at:])
		if e&present == 0 || e&frame == 0 {
			t.Fatalf("page %d: %#x is no frame", at/8, e)
		}
		if pfn := e & frame; pfn >= z.first && pfn < z.first+z.pages {
			n++
		}
	}
	return n
}
