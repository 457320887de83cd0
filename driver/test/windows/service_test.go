// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// The services are there for the whole run. A test that stops one starts it
// again.
var digest, loop, mydriver *driver

func TestMain(m *testing.M) {
	// A child of a test uses the drivers that its parent has loaded.
	if os.Getenv("KSHM_CONFORMANCE_CHILD") != "" || os.Getenv(childEnv) != "" {
		os.Exit(m.Run())
	}
	status, err := withDrivers(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "drivers:", err)
		status = 1
	}
	os.Exit(status)
}

func withDrivers(run func() int) (status int, err error) {
	dir := os.Getenv("KSHM_WINDOWS_DRIVERS")
	if dir == "" {
		return 0, errors.New("KSHM_WINDOWS_DRIVERS does not name the folder of the driver images")
	}
	manager, err := mgr.Connect()
	if err != nil {
		return 0, err
	}
	defer manager.Disconnect()
	for _, d := range []struct {
		to    **driver
		image string
	}{{&digest, digestImage}, {&loop, loopImage}, {&mydriver, "mydriver.sys"}} {
		loaded, err := load(manager, filepath.Join(dir, d.image))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", d.image, err)
		}
		*d.to = loaded
		defer func() { err = errors.Join(err, loaded.remove()) }()
	}
	return run(), nil
}

// driver is a driver's service.
type driver struct{ service *mgr.Service }

func load(manager *mgr.Mgr, image string) (*driver, error) {
	name := "kshm_test_" + filepath.Base(image)
	s, err := manager.CreateService(name, image, mgr.Config{
		ServiceType: windows.SERVICE_KERNEL_DRIVER, StartType: mgr.StartManual, ErrorControl: mgr.ErrorNormal})
	if err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	d := &driver{s}
	if err := d.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start: %w", err), s.Delete(), s.Close())
	}
	return d, nil
}

func (d *driver) start() error {
	if err := d.service.Start(); err != nil {
		return err
	}
	return d.await(svc.Running)
}

// stop unloads the driver.
func (d *driver) stop() error {
	if _, err := d.service.Control(svc.Stop); err != nil {
		return err
	}
	return d.await(svc.Stopped)
}

func (d *driver) await(want svc.State) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		status, err := d.service.Query()
		if err != nil || status.State == want {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("state is %d, not %d", status.State, want)
		}
	}
}

func (d *driver) remove() error {
	return errors.Join(d.stop(), d.service.Delete(), d.service.Close())
}

// reload unloads the driver, which holds nothing, and loads it again.
func (d *driver) reload(t *testing.T) {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Fatal("stop:", err)
	}
	if err := d.start(); err != nil {
		t.Fatal("start:", err)
	}
}
