// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"kshm/internal/deps"
)

func newDriverCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "driver",
		Short: "Install, start, stop and remove a driver on Windows",
		Long: `Drives the service manager of Windows for a driver NAME, whose service is called
kshm_NAME. It takes an administrator, and a driver whose signature the system
trusts: docs/windows.md says how to get there on a test machine.

The status is 0 if the driver is as asked, be it that it was so before; 2 if the
command was called wrongly; 3 if this machine or user lacks something: it is not
Windows, the user is no administrator, the driver is not installed, or its
signature is not trusted; 1 for any other failure.`,
	}
	var endShares bool
	stop := driverVerb("stop NAME", "Unload a driver",
		"Unloads the driver as soon as no program has its device open, and gives up\nafter 30 seconds. --end-shares ends all its shares first, so that programs let go.",
		1, func(args []string) error { return stopDriver(args[0], endShares) })
	stop.Flags().BoolVar(&endShares, "end-shares", false, "end the shares of all programs first")
	c.AddCommand(
		driverVerb("install NAME PATH", "Make a driver image known to the system",
			"Registers the image at PATH as a driver that is started on demand. The image\nstays where it is, and has to.",
			2, func(args []string) error { return installDriver(args[0], args[1]) }),
		driverVerb("start NAME", "Load a driver", "Loads the driver.",
			1, func(args []string) error { return startDriver(args[0]) }),
		stop,
		driverVerb("remove NAME", "Forget a driver", "Unregisters the driver, which is not loaded. The image stays.",
			1, func(args []string) error { return removeDriver(args[0]) }),
	)
	return c
}

func driverVerb(use, short, long string, n int, run func(args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != n {
				return usageError{fmt.Errorf("%d arguments, want %s", len(args), use)}
			}
			if args[0] == "" || strings.ContainsAny(args[0], `\/ "`) {
				return usageError{fmt.Errorf("%q is no driver's name", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := run(args); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", args[0], driverDone[c.Name()])
			return nil
		},
	}
}

// driverDone says what holds after each verb.
var driverDone = map[string]string{
	"install": "installed, not started",
	"start":   "running",
	"stop":    "stopped",
	"remove":  "removed",
}

// driverLacks says what the machine or the user lacks for a verb on a driver.
func driverLacks(name, why string, err error) error {
	return &deps.UnavailableError{What: "the driver " + name, Why: why, Err: err}
}

// imagePath is the path of an image as the service manager wants it.
func imagePath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", usageError{err}
	}
	return abs, checkImage(abs)
}
