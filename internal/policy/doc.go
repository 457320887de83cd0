// SPDX-License-Identifier: MIT

// Package policy holds the rules of the repository that no compiler checks, as
// tests: what imports what, where unsafe code may be, licences, length of
// files, documentation. Each test says how to put right what it finds.
package policy
