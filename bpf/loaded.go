// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Loaded lists what objects built on kshm.bpf.h have in the kernel, of all
// processes: "map 7 kshm_arena", "program 9 kshm_kick", "link 3". It takes
// CAP_SYS_ADMIN.
func Loaded() ([]string, error) {
	return loaded(func(ebpf.MapID) bool { return true })
}

// LoadedBy lists the same of one process: the maps that it has descriptors of,
// the programs that use its arenas, and their links.
func LoadedBy(pid int) ([]string, error) {
	held, err := mapsOf(pid)
	if err != nil {
		return nil, err
	}
	return loaded(func(id ebpf.MapID) bool { return held[id] })
}

// mapsOf finds the maps that a process has descriptors of: proc_pid_fdinfo(5).
func mapsOf(pid int) (map[ebpf.MapID]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the maps of process %d: %w", pid, err)
	}
	held := map[ebpf.MapID]bool{}
	for _, f := range files {
		info, _ := os.ReadFile(filepath.Join(dir, f.Name())) // it may be closed by now
		for line := range strings.Lines(string(info)) {
			var id ebpf.MapID
			if n, _ := fmt.Sscanf(line, "map_id: %d", &id); n == 1 {
				held[id] = true
			}
		}
	}
	return held, nil
}

func loaded(counts func(ebpf.MapID) bool) ([]string, error) {
	var all []string
	arenas := map[ebpf.MapID]bool{}
	id, err := ebpf.MapGetNextID(0)
	for ; err == nil; id, err = ebpf.MapGetNextID(id) {
		if !counts(id) {
			continue
		}
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue // it has gone meanwhile
		}
		if info, err := m.Info(); err == nil && strings.HasPrefix(info.Name, "kshm_") {
			all = append(all, fmt.Sprintf("map %d %s", id, info.Name))
			arenas[id] = info.Name == arenaMap
		}
		m.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list maps: %w", err)
	}
	programs, names, err := programsOf(arenas)
	if err != nil {
		return nil, err
	}
	all = append(all, names...)
	links, err := linksOf(programs)
	for tries := 0; errors.Is(err, syscall.EAGAIN) && tries < 1000; tries++ { // somebody makes one just now
		time.Sleep(time.Millisecond)
		links, err = linksOf(programs)
	}
	all = append(all, links...)
	slices.Sort(all)
	return all, err
}

// linksOf finds the links of these programs.
func linksOf(programs map[ebpf.ProgramID]bool) (names []string, err error) {
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		if info, err := links.Link.Info(); err == nil && programs[info.Program] {
			names = append(names, fmt.Sprintf("link %d", info.ID))
		}
	}
	return names, links.Err()
}

// programsOf finds the programs that use one of the arenas.
func programsOf(arenas map[ebpf.MapID]bool) (ids map[ebpf.ProgramID]bool, names []string, err error) {
	ids = map[ebpf.ProgramID]bool{}
	id, err := ebpf.ProgramGetNextID(0)
	for ; err == nil; id, err = ebpf.ProgramGetNextID(id) {
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue
		}
		if info, err := p.Info(); err == nil {
			maps, _ := info.MapIDs()
			if slices.ContainsFunc(maps, func(m ebpf.MapID) bool { return arenas[m] }) {
				ids[id] = true
				names = append(names, fmt.Sprintf("program %d %s", id, info.Name))
			}
		}
		p.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("list programs: %w", err)
	}
	return ids, names, nil
}
