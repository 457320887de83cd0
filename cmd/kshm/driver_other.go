// SPDX-License-Identifier: MIT

//go:build !windows

package main

import "runtime"

func notHere(name string) error {
	why := "there is no service manager on " + runtime.GOOS
	if runtime.GOOS == "linux" {
		why = "drivers are modules on Linux: use modprobe or insmod, and rmmod"
	}
	return driverLacks(name, why, nil)
}

func installDriver(name, path string) error {
	if _, err := imagePath(path); err != nil {
		return err
	}
	return notHere(name)
}

func startDriver(name string) error { return notHere(name) }

func stopDriver(name string, _ bool) error { return notHere(name) }

func removeDriver(name string) error { return notHere(name) }
