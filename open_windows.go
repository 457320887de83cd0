// SPDX-License-Identifier: MIT

package kshm

import (
	"fmt"
	"strings"

	"kshm/internal/sys"
)

const (
	devicePrefix = `\\.\`
	kitPrefix    = `\\.\kshm_`
)

func openTransport(name string, c openConfig) (Transport, error) {
	path := name
	switch {
	case strings.Contains(name, `\`):
	case c.codes:
		path = devicePrefix + name // a stranger's driver has a name of its own
	default:
		path = kitPrefix + name
	}
	d, err := sys.OpenDevice(path)
	if err != nil {
		return nil, err
	}
	if c.codes {
		return newClassicTransport(d, name, c), nil
	}
	return newKernelTransport(d, "Windows driver")
}

// classicTransport drives a driver of the recipe with the driver's own codes.
// It differs from the kit's in what the recipe does not have.
type classicTransport struct {
	kernelTransport
	share, done uint32
}

func newClassicTransport(d *sys.Device, name string, c openConfig) *classicTransport {
	info := Info{KernelSide: "Windows driver", Driver: strings.TrimPrefix(name, devicePrefix),
		Features: FeatureControl, PageSize: 1, MinLength: 1, MaxLength: sys.MaxClassic}
	if c.share.Method() == MethodInDirect {
		info.Features |= FeatureShareRead
	}
	return &classicTransport{kernelTransport{d, info}, uint32(c.share), uint32(c.done)}
}

func (t *classicTransport) Share(mem []byte, o ShareOptions) (Session, error) {
	switch {
	case len(o.Rings) > 0, o.Cookie != 0:
		return nil, fmt.Errorf("%w: the classic recipe has neither rings nor cookies", ErrNotSupported)
	case o.ReadOnly != (t.info.Features&FeatureShareRead != 0):
		return nil, fmt.Errorf("%w: the method of the share code decides what the kernel may do: ReadOnly goes with METHOD_IN_DIRECT", ErrNotSupported)
	}
	s, err := t.device.ShareClassic(mem, t.share, t.done, o.Event)
	if err != nil {
		return nil, err
	}
	return &kernelSession{s}, nil
}
