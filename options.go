// SPDX-License-Identifier: MIT

package kshm

import (
	"kshm/internal/abi"
	"kshm/ring"
)

// The optional parts of the ABI.
const (
	FeatureShareRead Features = abi.FeatureShareRead // ShareOptions.ReadOnly
	FeatureControl   Features = abi.FeatureControl   // Device.Control
	FeatureRings     Features = abi.FeatureRings     // ShareOptions.Rings
)

// AllocOptions are the choices of Device.Alloc. The zero value is the default.
type AllocOptions struct {
	// HugePages asks for memory in huge pages (2 MiB on amd64); the size is
	// rounded up to a whole number of them. The system's pool of huge pages
	// must hold enough of them.
	HugePages bool
}

// ShareOptions are the choices of Device.Share. The zero value is the default.
type ShareOptions struct {
	// ReadOnly keeps the kernel from writing to the memory. The program may
	// then share memory that it cannot write itself. On Windows it must not
	// be copy-on-write: the driver would not see the program's own copy.
	ReadOnly bool
	// Cookie is the program's own name for the share; the driver sees it.
	Cookie uint64
	// Rings is the geometry of the rings in the buffer, at most 8 groups:
	// the Groups of a ring.Layout.
	Rings []ring.Group
	// Event is the handle of an event object that the driver sets as well
	// (Windows). Leave it 0 elsewhere.
	Event uintptr
}

// Option is a choice of Open.
type Option func(*openConfig)

type openConfig struct {
	share, done ControlCode
	codes       bool
}

// WithCodes opens a driver of the classic recipe that is not built on kshm's
// kit: it takes the buffer with the code share and ends the share with the
// code done. Such a driver takes memory at any address (see WrapAny) of up to
// 4 GiB less a page. The code done names no share, so let a Device have one at
// a time. Windows only.
func WithCodes(share, done ControlCode) Option {
	return func(c *openConfig) { c.share, c.done, c.codes = share, done, true }
}
