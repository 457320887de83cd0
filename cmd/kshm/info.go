// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kshm"
	"kshm/internal/abi"
	"kshm/internal/deps"
)

func newInfoCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "info [NAME]",
		Short: "Show the drivers of this machine, their versions and limits",
		Long: `Lists the devices of kshm drivers with what each driver says about itself, and
what this user may lock. NAME, or the path of a device, asks one driver alone;
the status is 3 if there is none of that name or it cannot be opened.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("one name at most, not %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			s := surveySystem()
			var err error
			if len(args) == 1 {
				s.Devices = []deviceReport{askDevice(args[0])}
				err = s.Devices[0].unavailable()
			} else {
				s.Devices = askDevices(deviceNames())
			}
			if err != nil && !asJSON {
				return err
			}
			return errors.Join(s.print(c.OutOrStdout(), asJSON), err)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// A systemReport is all that `kshm info` says.
type systemReport struct {
	OS         string         `json:"os"`
	Kernel     string         `json:"kernel,omitempty"`
	LibraryABI string         `json:"library_abi"`
	Module     *bool          `json:"module_loaded,omitempty"` // kshm.ko, on Linux
	Memlock    *uint64        `json:"memlock_bytes"`           // null: no limit, or unknown
	MemlockFor string         `json:"memlock,omitempty"`       // the same in words
	Trust      string         `json:"trust,omitempty"`         // which drivers Windows loads
	Devices    []deviceReport `json:"devices"`
}

// A deviceReport is a driver, or why it cannot be asked.
type deviceReport struct {
	Name          string   `json:"name"`
	Error         string   `json:"error,omitempty"`
	KernelSide    string   `json:"kernel_side,omitempty"`
	Driver        string   `json:"driver,omitempty"`
	DriverVersion uint32   `json:"driver_version,omitempty"`
	ABI           string   `json:"abi,omitempty"`
	Features      []string `json:"features,omitempty"`
	PageSize      int      `json:"page_size,omitempty"`
	MinLength     uint64   `json:"min_length,omitempty"`
	MaxLength     uint64   `json:"max_length,omitempty"`
	MaxUserBytes  uint64   `json:"max_user_bytes,omitempty"`
	MaxOpenShares uint32   `json:"max_open_shares,omitempty"`
	MaxUserShares uint32   `json:"max_user_shares,omitempty"`
	err           error
}

func surveySystem() systemReport {
	s := systemReport{OS: runtime.GOOS, LibraryABI: fmt.Sprintf("%d.%d", abi.Major, abi.Minor)}
	s.survey()
	return s
}

// memlock reads this process's limit of locked memory from the texts of
// /proc/self/limits and status.
func memlock(limits, status string) (bytes *uint64, words string) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "CapEff:")
		caps, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		const ipcLock = 1 << 14
		if ok && err == nil && caps&ipcLock != 0 {
			return nil, "no limit (CAP_IPC_LOCK)"
		}
	}
	for line := range strings.Lines(limits) {
		value, ok := strings.CutPrefix(line, "Max locked memory")
		fields := strings.Fields(value)
		if !ok || len(fields) == 0 {
			continue
		}
		if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
			return &n, humanize.IBytes(n) + " (RLIMIT_MEMLOCK)"
		}
		return nil, "no limit (RLIMIT_MEMLOCK)"
	}
	return nil, "unknown"
}

// askDevices asks every device of the paths.
func askDevices(paths []string) []deviceReport {
	reports := []deviceReport{}
	for _, path := range paths {
		d := askDevice(path)
		d.Name = path[strings.LastIndexAny(path, `/\`)+1:]
		reports = append(reports, d)
	}
	return reports
}

func askDevice(name string) deviceReport {
	d := deviceReport{Name: name}
	dev, err := kshm.Open(name)
	if err != nil {
		d.err, d.Error = err, err.Error()
		return d
	}
	defer dev.Close()
	i := dev.Info()
	d.KernelSide, d.Driver, d.DriverVersion = i.KernelSide, i.Driver, i.DriverVersion
	d.ABI, d.Features = fmt.Sprintf("%d.%d", i.Major, i.Minor), featureNames(i.Features)
	d.PageSize, d.MinLength, d.MaxLength = i.PageSize, i.MinLength, i.MaxLength
	d.MaxUserBytes, d.MaxOpenShares, d.MaxUserShares = i.MaxUserBytes, i.MaxOpenShares, i.MaxUserShares
	return d
}

// unavailable is nil, or says that the environment lacks the driver.
func (d *deviceReport) unavailable() error {
	if d.err == nil {
		return nil
	}
	return &deps.UnavailableError{What: "the driver " + d.Name, Why: d.Error, Err: d.err}
}

func featureNames(f kshm.Features) []string {
	names := []string{}
	for _, k := range []struct {
		bit  kshm.Features
		name string
	}{{kshm.FeatureShareRead, "read-only shares"}, {kshm.FeatureControl, "codes of its own"}, {kshm.FeatureRings, "rings"}} {
		if f&k.bit != 0 {
			names = append(names, k.name)
		}
		f &^= k.bit
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("unknown %#x", uint64(f)))
	}
	return names
}

func (s *systemReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "system\t%s\n", strings.TrimSpace(s.OS+" "+s.Kernel))
	fmt.Fprintf(t, "library\tABI %s\n", s.LibraryABI)
	if s.Module != nil {
		fmt.Fprintf(t, "module kshm\t%s\n", map[bool]string{true: "loaded", false: "not loaded"}[*s.Module])
	}
	if s.MemlockFor != "" {
		fmt.Fprintf(t, "this user may lock\t%s\n", s.MemlockFor)
	}
	if s.Trust != "" {
		fmt.Fprintf(t, "drivers must be\t%s\n", s.Trust)
	}
	if len(s.Devices) == 0 {
		fmt.Fprintf(t, "drivers\tnone in %s\n", devicePlace)
	}
	for _, d := range s.Devices {
		d.print(t)
	}
	return t.Flush()
}

func (d *deviceReport) print(t io.Writer) {
	fmt.Fprintf(t, "\n%s\t", d.Name)
	if d.err != nil {
		fmt.Fprintf(t, "%s\n", d.Error)
		return
	}
	fmt.Fprintf(t, "driver %s %d, ABI %s, %s\n", d.Driver, d.DriverVersion, d.ABI, d.KernelSide)
	fmt.Fprintf(t, "  features\t%s\n", strings.Join(d.Features, ", "))
	fmt.Fprintf(t, "  a share\t%s to %s bytes, from a multiple of %d on\n", humanize.Comma(int64(d.MinLength)), humanize.Comma(int64(d.MaxLength)), d.PageSize)
	fmt.Fprintf(t, "  a user\t%s bytes in %s shares over all drivers\n", humanize.Comma(int64(d.MaxUserBytes)), humanize.Comma(int64(d.MaxUserShares)))
	fmt.Fprintf(t, "  an open device\t%s shares\n", humanize.Comma(int64(d.MaxOpenShares)))
}
