// SPDX-License-Identifier: MIT

// Package alarms has the test that the alarms of the debug kernels ring: a
// module commits one bug for each, and each has to be noticed by its name.
// Without it, a clean run on such a kernel would prove nothing.
package alarms
