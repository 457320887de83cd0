// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/cilium/ebpf"

	"kshm"
	"kshm/internal/sys"
)

// Object is an object in the kernel that waits for a share of another process.
// A privileged loader makes it and sends it over a Unix socket to a program
// that needs no capability.
type Object struct {
	t  *transport
	in *instance // nil: it was sent, or closed
}

// Load loads an object and attaches its hooks, as Open and a Share do
// together. Until the program that receives it shares memory, they do nothing.
func Load(spec *ebpf.CollectionSpec, o *Options) (*Object, error) {
	if o == nil {
		o = &Options{}
	}
	options := *o
	t, err := open(spec, options)
	if err != nil {
		return nil, openError(options.Name, err)
	}
	ob := &Object{t: t, in: t.spare}
	if ob.in.Maps[graceMap], err = newGraceMap(t.spec); err == nil { // the receiver could not make it
		err = t.attach(ob.in)
	}
	if err != nil {
		ob.Close()
		return nil, openError(options.Name, err)
	}
	return ob, nil
}

// Close removes an object that was not sent.
func (o *Object) Close() error {
	if o.in == nil {
		return nil
	}
	o.in = nil
	return o.t.Close()
}

// manifest says what the descriptors of a message are, in order: maps,
// programs, links.
type manifest struct {
	Name      string
	MinLength int
	Arena     uint64 // address
	Maps      []string
	Programs  []string
	Links     int
}

const maxManifest = 64 << 10

// Send gives the object away, to whoever reads the other end of the socket.
// Whoever that is may use the hooks' records, and make programs of the object
// run. The loader keeps nothing of it, so that it goes when its receiver dies;
// while nobody has received it, it lives as long as the socket.
func (o *Object) Send(c *net.UnixConn) error {
	if o.in == nil {
		return fmt.Errorf("%w: the object was sent or closed", kshm.ErrClosed)
	}
	m := manifest{Name: o.t.options.Name, MinLength: o.t.options.MinLength, Arena: o.t.arena.start(), Links: len(o.in.links)}
	var fds []int
	for name := range o.in.Maps {
		m.Maps = append(m.Maps, name)
	}
	for name := range o.in.Programs {
		m.Programs = append(m.Programs, name)
	}
	slices.Sort(m.Maps)
	slices.Sort(m.Programs)
	for _, name := range m.Maps {
		fds = append(fds, o.in.Maps[name].FD())
	}
	for _, name := range m.Programs {
		fds = append(fds, o.in.Programs[name].FD())
	}
	for _, l := range o.in.links {
		raw, ok := l.(interface{ FD() int })
		if !ok {
			return fmt.Errorf("%w: a hook of type %T has no descriptor", kshm.ErrNotSupported, l)
		}
		fds = append(fds, raw.FD())
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxManifest {
		return fmt.Errorf("%w: the names take %d bytes", kshm.ErrInvalid, len(text))
	}
	if _, _, err = c.WriteMsgUnix(text, syscall.UnixRights(fds...), nil); err != nil {
		return err
	}
	return o.Close()
}

// Receive takes an object that a loader sends, and returns it as a device for
// one share. The socket is a SEQPACKET or datagram one. The collection holds
// all maps and programs of the object; the device closes it.
func Receive(c *net.UnixConn) (*kshm.Device, *ebpf.Collection, error) {
	text, oob := make([]byte, maxManifest), make([]byte, syscall.CmsgSpace(4*253))
	n, oobn, flags, _, err := c.ReadMsgUnix(text, oob)
	if err != nil {
		return nil, nil, openError("", err)
	}
	files, err := descriptors(oob[:oobn])
	if err != nil {
		return nil, nil, openError("", err)
	}
	var m manifest
	if err = json.Unmarshal(text[:n], &m); err == nil && (flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 || m.Links < 0 || len(files) != len(m.Maps)+len(m.Programs)+m.Links) {
		err = errors.New("part of the message is missing")
	}
	if err != nil {
		closeAll(files)
		return nil, nil, openError("", fmt.Errorf("%w: no object was sent: %w", kshm.ErrInvalid, err))
	}
	t, err := adopt(m, files)
	if err != nil {
		return nil, nil, openError(m.Name, err)
	}
	return kshm.NewDevice(m.Name, t), t.spare.Collection, nil
}

func descriptors(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, message := range messages {
		fds, err := syscall.ParseUnixRights(&message)
		if err != nil {
			continue // something else
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "kshm object"))
		}
	}
	return files, nil
}

// adopt makes a transport of what was received, which it owns.
func adopt(m manifest, files []*os.File) (*transport, error) {
	defer closeAll(files) // the library has its own copies
	in := &instance{Collection: &ebpf.Collection{Maps: map[string]*ebpf.Map{}, Programs: map[string]*ebpf.Program{}}}
	err := in.adopt(m, files)
	if err == nil {
		err = in.complete()
	}
	if err == nil {
		err = in.look()
	}
	if err != nil {
		in.close()
		return nil, err
	}
	own, err := in.Maps[arenaMap].Clone()
	if err != nil {
		in.close()
		return nil, err
	}
	a, err := mapArena(own, m.Arena)
	if err != nil {
		own.Close()
		in.close()
		return nil, err
	}
	o := Options{Name: m.Name, MinLength: m.MinLength, MaxShares: 1}
	return &transport{options: o, arena: a, cpus: int(in.Maps[slotsMap].MaxEntries()) / levels, spare: in}, nil
}

func (in *instance) adopt(m manifest, files []*os.File) error {
	next := func() (fd int, err error) {
		fd, err = sys.Dup(int(files[0].Fd()))
		files = files[1:]
		return fd, err
	}
	for _, name := range m.Maps {
		fd, err := next()
		if err != nil {
			return err
		}
		if in.Maps[name], err = ebpf.NewMapFromFD(fd); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	for _, name := range m.Programs {
		fd, err := next()
		if err != nil {
			return err
		}
		if in.Programs[name], err = ebpf.NewProgramFromFD(fd); err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
	}
	for range m.Links {
		fd, err := next()
		if err != nil {
			return err
		}
		in.links = append(in.links, io.Closer(os.NewFile(uintptr(fd), "kshm hook")))
	}
	return nil
}

// complete tells whether all that a share needs is there.
func (in *instance) complete() error {
	for _, name := range []string{arenaMap, stateMap, slotsMap, inputsMap, doorbellMap} {
		if in.Maps[name] == nil {
			return fmt.Errorf("%w: no map %s was sent", kshm.ErrInvalid, name)
		}
	}
	if in.Programs[commandProgram] == nil {
		return fmt.Errorf("%w: no program %s was sent", kshm.ErrInvalid, commandProgram)
	}
	return nil
}
