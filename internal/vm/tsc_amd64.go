// SPDX-License-Identifier: MIT

package vm

import (
	"fmt"
	"sync"
	"time"
)

// rdtsc reads this processor's time stamp counter.
func rdtsc() uint64

// clockParameters tells an emulated kernel how fast its time stamp counter, the
// host's, counts. A kernel that measures this itself while the host is busy is
// wrong by factors, and its seconds are: threads that wait are taken for stuck.
var clockParameters = sync.OnceValue(func() []string {
	counts, times := stamp()
	time.Sleep(50 * time.Millisecond)
	moreCounts, moreTimes := stamp()
	kilohertz := (moreCounts - counts) * 1000 / uint64((moreTimes - times).Microseconds())
	return []string{fmt.Sprintf("tsc_early_khz=%d", kilohertz)}
})

var began = time.Now()

// stamp reads both clocks, together: the closest of several readings.
func stamp() (counter uint64, at time.Duration) {
	closest := time.Hour
	for range 100 {
		before := time.Since(began)
		c := rdtsc()
		if after := time.Since(began); after-before < closest {
			closest, counter, at = after-before, c, before
		}
	}
	return counter, at
}
