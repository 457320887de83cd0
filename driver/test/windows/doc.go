// SPDX-License-Identifier: MIT

// Package windows tests the Windows drivers and the Go client together, with
// the drivers loaded by the service manager: `make test-windows` runs it in
// Wine, and the same tests run on Windows.
package windows
