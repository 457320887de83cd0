// SPDX-License-Identifier: MIT

package deps

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// winePackages are those that Wine needs without a screen. With freetype and
// no fonts, its programs wait for a desktop for ever; without it, they say so
// and go on.
var winePackages = regexp.MustCompile(`^(libwine|wine64|libc6|libgcc-s1|libunwind8|liblzma5|libz-mingw-w64)$`)

const (
	wineDLLs   = "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"
	wineDLLs32 = "usr/lib/x86_64-linux-gnu/wine/i386-windows"
)

// wineKeeps are Wine's images that services, drivers and Go programs load,
// directly or at the start of the system. A new system copies all there are:
// the other 700 would cost memory and time at every start.
var wineKeeps = strings.Fields(`
	advapi32.dll advpack.dll apisetschema.dll bcrypt.dll bcryptprimitives.dll cng.sys combase.dll coml2.dll comctl32.dll
	comdlg32.dll conhost.exe crypt32.dll gdi32.dll hal.dll imm32.dll kernel32.dll kernelbase.dll
	ksecdd.sys mountmgr.sys mpr.dll msvcrt.dll ncrypt.dll newdev.dll nsi.dll nsiproxy.sys ntdll.dll ntoskrnl.exe
	ole32.dll oleaut32.dll plugplay.exe powrprof.dll profapi.dll propsys.dll rpcrt4.dll rpcss.exe rsaenh.dll
	rundll32.exe sechost.dll services.exe setupapi.dll shcore.dll shell32.dll shlwapi.dll sspicli.dll start.exe
	svchost.exe ucrtbase.dll user32.dll userenv.dll uxtheme.dll version.dll win32u.dll wineboot.exe
	winedevice.exe winspool.drv wintrust.dll ws2_32.dll`)

// prepareWine does what the packages' own scripts would do on installation,
// and leaves out what is not needed.
func prepareWine(dir string) error {
	if err := mergeUsr(dir); err != nil {
		return err
	}
	if err := thinOut(filepath.Join(dir, wineDLLs)); err != nil {
		return err
	}
	return errors.Join(
		copyAsBuiltin(filepath.Join(dir, "usr/x86_64-w64-mingw32/lib/zlib1.dll"), filepath.Join(dir, wineDLLs, "zlib1.dll")),
		os.RemoveAll(filepath.Join(dir, wineDLLs32)))
}

// thinOut removes the images that are not kept.
func thinOut(dir string) error {
	for _, name := range wineKeeps {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("an image of Wine is not where it was: %w", err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !slices.Contains(wineKeeps, f.Name()) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyAsBuiltin copies a library with the mark, in its DOS header's stub, by
// which Wine knows its own.
func copyAsBuiltin(from, to string) error {
	const at, end = 64, 96
	image, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if len(image) < end {
		return fmt.Errorf("%s is too short for a library", from)
	}
	clear(image[at:end])
	copy(image[at:end], "Wine builtin DLL")
	return os.WriteFile(to, image, 0o644)
}
