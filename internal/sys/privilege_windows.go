// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// EnablePrivilege turns a privilege of the process on; a token holds most of
// its own turned off. One that it does not hold is no error: whoever asks for
// it refuses.
func EnablePrivilege(name string) error {
	utf16, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	on := windows.Tokenprivileges{PrivilegeCount: 1}
	on.Privileges[0].Attributes = windows.SE_PRIVILEGE_ENABLED
	if err := windows.LookupPrivilegeValue(nil, utf16, &on.Privileges[0].Luid); err != nil {
		return fmt.Errorf("privilege %s: %w", name, err)
	}
	var token windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ADJUST_PRIVILEGES, &token); err != nil {
		return fmt.Errorf("the process's token: %w", err)
	}
	defer token.Close()
	if err := windows.AdjustTokenPrivileges(token, false, &on, 0, nil, nil); err != nil {
		return fmt.Errorf("enable %s: %w", name, err)
	}
	return nil
}
