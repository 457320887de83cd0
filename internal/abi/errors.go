// SPDX-License-Identifier: MIT

package abi

import "errors"

// ErrCorrupt is the one value behind kshm.ErrCorrupt and ring.ErrCorrupt.
var ErrCorrupt = errors.New("shared memory is corrupt")
