// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/windows"

	"kshm/internal/sys"
)

// devicePlace is where drivers are found.
const devicePlace = `\\.\kshm_*`

// deviceNames lists the names of devices that look like those of kshm drivers.
func deviceNames() []string {
	names := make([]uint16, 1<<16)
	for {
		n, err := windows.QueryDosDevice(nil, &names[0], uint32(len(names)))
		if err == windows.ERROR_INSUFFICIENT_BUFFER && len(names) < 1<<24 {
			names = make([]uint16, 2*len(names))
			continue
		}
		if err != nil {
			return nil
		}
		return kshmDevices(string(utf16.Decode(names[:n])))
	}
}

// kshmDevices picks from names, each of which ends with a zero.
func kshmDevices(names string) []string {
	var paths []string
	for name := range strings.SplitSeq(names, "\x00") {
		if strings.HasPrefix(strings.ToLower(name), servicePrefix) {
			paths = append(paths, `\\.\`+name)
		}
	}
	slices.Sort(paths)
	return paths
}

func (s *systemReport) survey() {
	v := windows.RtlGetVersion()
	s.Kernel = fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	s.Trust = driverTrust()
}

// driverTrust asks the system which drivers it loads.
func driverTrust() string {
	on, testSigning, hvci, err := sys.CodeIntegrity()
	words := []string{"signed by Microsoft (test signing is off)"}
	switch {
	case err != nil:
		return fmt.Sprintf("unknown: %v", err)
	case !on:
		words[0] = "anything (code integrity is off)"
	case testSigning:
		words[0] = "signed, by Microsoft or by a test certificate that is trusted here (test signing is on)"
	}
	if hvci {
		words = append(words, "fit for memory integrity (HVCI is on)")
	}
	return strings.Join(words, ", ")
}
