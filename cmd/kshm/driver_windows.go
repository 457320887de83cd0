// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"kshm"
	"kshm/internal/abi"
	"kshm/internal/sys"
)

// servicePrefix makes the name of a driver's service of the driver's name, as
// the kit does for its device.
const servicePrefix = "kshm_"

// driverPatience is how long a driver may take to load, or to unload once
// nobody uses it.
const driverPatience = 30 * time.Second

// serviceTroubles are the refusals that a user can do something about.
var serviceTroubles = map[windows.Errno]string{
	windows.ERROR_ACCESS_DENIED:          "run as administrator",
	windows.ERROR_SERVICE_DOES_NOT_EXIST: "it is not installed; use kshm driver install NAME PATH",
	windows.ERROR_FILE_NOT_FOUND:         "its image is gone; remove the driver and install it again",
	windows.ERROR_PATH_NOT_FOUND:         "the folder of its image is gone; remove the driver and install it again",
	windows.ERROR_INVALID_IMAGE_HASH:     "the system does not trust its signature; on a test machine with Secure Boot off: bcdedit /set testsigning on, restart, and certutil -addstore Root test.cer",
	windows.ERROR_DRIVER_BLOCKED:         "a policy of the system blocks it",
	windows.ERROR_SERVICE_DISABLED:       "its service is disabled; remove the driver and install it again",
}

// explainService adds what can be done about an error of the service manager.
func explainService(name string, err error) error {
	number, ok := errors.AsType[windows.Errno](err)
	if why := serviceTroubles[number]; ok && why != "" {
		return driverLacks(name, fmt.Sprintf("%s (%v)", why, number), err)
	}
	if ok && number == windows.ERROR_SERVICE_MARKED_FOR_DELETE {
		return fmt.Errorf("the driver %s is being removed; close what shows or holds its service: %w", name, err)
	}
	return err
}

// withService calls f with the driver's service.
func withService(name string, access uint32, f func(*mgr.Service) error) error {
	manager, err := connect(windows.SC_MANAGER_CONNECT)
	if err != nil {
		return explainService(name, err)
	}
	defer manager.Disconnect()
	text, err := windows.UTF16PtrFromString(servicePrefix + name)
	if err != nil {
		return usageError{err}
	}
	h, err := windows.OpenService(manager.Handle, text, access|windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return explainService(name, err)
	}
	s := &mgr.Service{Name: servicePrefix + name, Handle: h}
	defer s.Close()
	return explainService(name, f(s))
}

// connect asks for no more rights than are needed, so that a refusal is about
// what was asked for.
func connect(access uint32) (*mgr.Mgr, error) {
	h, err := windows.OpenSCManager(nil, nil, access)
	if err != nil {
		return nil, err
	}
	return &mgr.Mgr{Handle: h}, nil
}

func installDriver(name, path string) error {
	image, err := imagePath(path)
	if err != nil {
		return err
	}
	manager, err := connect(windows.SC_MANAGER_CONNECT | windows.SC_MANAGER_CREATE_SERVICE)
	if err != nil {
		return explainService(name, err)
	}
	defer manager.Disconnect()
	err = createService(manager, name, image)
	if errors.Is(err, windows.ERROR_SERVICE_EXISTS) {
		return fmt.Errorf("the driver %s is installed already; remove it first", name)
	}
	return explainService(name, err)
}

// createService is not Mgr.CreateService, which puts a path with spaces in
// quotes: the kernel, which opens the image, knows no quotes.
func createService(manager *mgr.Mgr, name, image string) error {
	var words [3]*uint16
	for i, word := range []string{servicePrefix + name, "kshm driver " + name, image} {
		var err error
		if words[i], err = windows.UTF16PtrFromString(word); err != nil {
			return usageError{err}
		}
	}
	h, err := windows.CreateService(manager.Handle, words[0], words[1], windows.SERVICE_QUERY_STATUS,
		windows.SERVICE_KERNEL_DRIVER, windows.SERVICE_DEMAND_START, windows.SERVICE_ERROR_NORMAL, words[2], nil, nil, nil, nil, nil)
	if err != nil {
		return err
	}
	return windows.CloseServiceHandle(h)
}

func startDriver(name string) error {
	return withService(name, windows.SERVICE_START, func(s *mgr.Service) error {
		if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return err
		}
		return await(s, svc.Running)
	})
}

func stopDriver(name string, endShares bool) error {
	return withService(name, windows.SERVICE_STOP, func(s *mgr.Service) error {
		if err := endAll(name, endShares); err != nil {
			return err
		}
		_, err := s.Control(svc.Stop)
		if err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) && !unloading(s) {
			return err
		}
		err = await(s, svc.Stopped)
		if errors.Is(err, errNotYet) {
			return fmt.Errorf("%w: programs still have the device of %s open, and it unloads when the last one lets go: close them (--end-shares would have to come before a plain stop: the device cannot be opened any more)", err, name)
		}
		return err
	})
}

// unloading says whether a driver has been asked to unload, and has done so or
// waits for its last handle; it is then not asked again.
func unloading(s *mgr.Service) bool {
	status, err := s.Query()
	return err == nil && status.State != svc.Running
}

// endAll asks the driver to end its shares, if it is loaded.
func endAll(name string, wanted bool) error {
	if !wanted {
		return nil
	}
	// The driver asks for it, and even an administrator has it turned off.
	if err := sys.EnablePrivilege("SeLoadDriverPrivilege"); err != nil {
		return err
	}
	dev, err := kshm.Open(name)
	if errors.Is(err, kshm.ErrNotExist) || errors.Is(err, kshm.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = dev.Control(context.Background(), kshm.ControlCode(abi.CtlStop), nil, nil)
	return errors.Join(err, dev.Close())
}

func removeDriver(name string) error {
	return withService(name, windows.DELETE, func(s *mgr.Service) error {
		status, err := s.Query()
		if err != nil {
			return err
		}
		if status.State != svc.Stopped {
			return fmt.Errorf("the driver %s is loaded; stop it first", name)
		}
		return s.Delete()
	})
}

var errNotYet = fmt.Errorf("not within %v", driverPatience)

func await(s *mgr.Service, want svc.State) error {
	for deadline := time.Now().Add(driverPatience); ; time.Sleep(20 * time.Millisecond) {
		status, err := s.Query()
		if err != nil || status.State == want {
			return err
		}
		if time.Now().After(deadline) {
			return errNotYet
		}
	}
}
