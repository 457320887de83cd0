// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A Census counts the pages that are pinned for long now, over the whole
// system. Its error says why that cannot be known.
type Census func() (int64, error)

// SystemCensus asks the running kernel. The counters are kept per processor;
// writing stat_refresh sums them up, which takes root.
func SystemCensus() (int64, error) {
	if runtime.GOOS == "windows" {
		return 0, errors.New("programs cannot see on Windows how many pages are locked")
	}
	err := os.WriteFile("/proc/sys/vm/stat_refresh", []byte("1"), 0)
	if errors.Is(err, fs.ErrPermission) {
		return 0, errors.New("only root may read the system's count of pinned pages")
	}
	if err != nil {
		return 0, fmt.Errorf("this system does not count pinned pages: %w", err)
	}
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0, err
	}
	return parseCensus(string(b))
}

func parseCensus(vmstat string) (int64, error) {
	count := map[string]int64{"nr_foll_pin_acquired": 0, "nr_foll_pin_released": 0}
	found := 0
	for line := range strings.Lines(vmstat) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, ok := count[name]; ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/vmstat: %s: %w", name, err)
			}
			count[name] = n
			found++
		}
	}
	if found != len(count) {
		return 0, errors.New("this kernel does not count pinned pages: /proc/vmstat has no nr_foll_pin")
	}
	return count["nr_foll_pin_acquired"] - count["nr_foll_pin_released"], nil
}

// A pinProof follows the count of pinned pages through the life of a share.
type pinProof struct {
	census Census
	before int64
	err    error // why nothing can be proven
}

func beginPinProof(census Census) *pinProof {
	p := &pinProof{census: census}
	p.before, p.err = census()
	return p
}

// shared checks that the count sees the pages of the share: a count that stays
// zero whatever happens would prove nothing later.
func (p *pinProof) shared(pages int64) {
	if p.err != nil {
		return
	}
	now, err := p.census()
	if err == nil && now-p.before != pages {
		err = fmt.Errorf("%d pages were pinned for a share of %d: somebody else pins pages at the same time", now-p.before, pages)
	}
	p.err = err
}

// settleTime is how long others get to give back what they pinned meanwhile.
const settleTime = 2 * time.Second

// leaked returns how many pages are still pinned, or nil if that is unknown.
func (p *pinProof) leaked() *int64 {
	for end := time.Now().Add(settleTime); p.err == nil; time.Sleep(10 * time.Millisecond) {
		var now int64
		now, p.err = p.census()
		if n := now - p.before; p.err == nil && (n == 0 || time.Now().After(end)) {
			return &n
		}
	}
	return nil
}
