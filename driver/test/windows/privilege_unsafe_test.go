// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"kshm/internal/sys"
)

// What STOP asks for.
const loadDriver = "SeLoadDriverPrivilege"

// adjust gives the privilege of this process these attributes.
func adjust(t testing.TB, attributes uint32) {
	t.Helper()
	var token windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ADJUST_PRIVILEGES, &token); err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	set := windows.Tokenprivileges{PrivilegeCount: 1}
	set.Privileges[0] = windows.LUIDAndAttributes{Luid: luid(t), Attributes: attributes}
	if err := windows.AdjustTokenPrivileges(token, false, &set, 0, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func luid(t testing.TB) (l windows.LUID) {
	t.Helper()
	name, err := windows.UTF16PtrFromString(loadDriver)
	if err != nil {
		t.Fatal(err)
	}
	if err := windows.LookupPrivilegeValue(nil, name, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// enabled says whether the privilege of this process is turned on.
func enabled(t testing.TB) bool {
	t.Helper()
	buf := make([]uint64, 1024)
	var n uint32
	err := windows.GetTokenInformation(windows.GetCurrentProcessToken(), windows.TokenPrivileges, (*byte)(unsafe.Pointer(&buf[0])), uint32(8*len(buf)), &n)
	if err != nil {
		t.Fatal(err)
	}
	all := (*windows.Tokenprivileges)(unsafe.Pointer(&buf[0])).AllPrivileges()
	want := luid(t)
	i := slices.IndexFunc(all, func(p windows.LUIDAndAttributes) bool { return p.Luid == want })
	if i < 0 {
		t.Fatalf("%s is not held", loadDriver)
	}
	return all[i].Attributes&windows.SE_PRIVILEGE_ENABLED != 0
}

// A privilege that is held is turned off until it is asked for.
func TestEnablePrivilege(t *testing.T) {
	adjust(t, 0)
	if enabled(t) {
		t.Fatal("it cannot be turned off")
	}
	if err := sys.EnablePrivilege(loadDriver); err != nil {
		t.Fatal(err)
	}
	if !enabled(t) {
		t.Error("it is still turned off")
	}
}
