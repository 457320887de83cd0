// SPDX-License-Identifier: MIT

package sys

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// A status means what it does in its place.
func TestVerdicts(t *testing.T) {
	for _, row := range []struct {
		judge    func(error) error
		status   windows.NTStatus
		sentinel error
		what     string // of the error
	}{
		{openError, windows.STATUS_NO_SUCH_DEVICE, os.ErrNotExist, "no such device"},
		{openError, windows.STATUS_ACCESS_DENIED, os.ErrPermission, "security descriptor"},
		{reopenError, windows.STATUS_NO_SUCH_DEVICE, ErrGone, "removed"},
		{reopenError, windows.STATUS_OBJECT_NAME_NOT_FOUND, ErrGone, "removed"},
		{reopenError, windows.STATUS_DELETE_PENDING, ErrGone, "removed"},
		{reopenError, windows.STATUS_ACCESS_DENIED, os.ErrPermission, "security descriptor"},
		{shareError, windows.STATUS_ACCESS_DENIED, os.ErrPermission, "event"},
		{controlError, windows.STATUS_PRIVILEGE_NOT_HELD, os.ErrPermission, "privilege"},
	} {
		checkVerdict(t, row.judge(row.status), row.status, row.sentinel, row.what)
	}
}

func checkVerdict(t *testing.T, err error, status windows.NTStatus, sentinel error, what string) {
	t.Helper()
	if !errors.Is(err, sentinel) || !errors.Is(err, status) || !strings.Contains(err.Error(), what) {
		t.Errorf("%v is judged: %v; want %v, and %q in it", status, err, sentinel, what)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Remedy == "" {
		t.Errorf("%v: no remedy", status)
	}
}

// The open of its own that a share has is judged as an open, once.
func TestShareOnADeviceThatIsGone(t *testing.T) {
	d, err := OpenDevice(`\\.\MountPointManager`)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.path = `\\.\kshm_gone`
	mem, err := virtualAlloc(4096, false)
	if err != nil {
		t.Fatal(err)
	}
	defer virtualFree(mem)
	_, err = d.Share(mem, newArgs())
	checkVerdict(t, err, windows.STATUS_OBJECT_NAME_NOT_FOUND, ErrGone, "removed")
}
