// SPDX-License-Identifier: MIT

package kshmtest

import (
	"fmt"

	"kshm"
)

// Status is the result of a request, an NTSTATUS. As an error it stays
// reachable inside the errors of package kshm.
type Status uint32

// The statuses that the model and its drivers use, with their Windows numbers.
const (
	StatusSuccess               Status = 0x00000000
	StatusPending               Status = 0x00000103
	StatusDeviceBusy            Status = 0x80000011
	StatusInvalidParameter      Status = 0xC000000D
	StatusInvalidDeviceRequest  Status = 0xC0000010
	StatusAccessDenied          Status = 0xC0000022
	StatusDataError             Status = 0xC000003E
	StatusQuotaExceeded         Status = 0xC0000044
	StatusInsufficientResources Status = 0xC000009A
	StatusNotSupported          Status = 0xC00000BB
	StatusProcessIsTerminating  Status = 0xC000010A
	StatusCancelled             Status = 0xC0000120
	StatusFileClosed            Status = 0xC0000128
	StatusInvalidBufferSize     Status = 0xC0000206
	StatusNotFound              Status = 0xC0000225
	StatusRequestAborted        Status = 0xC0000240
	StatusDeviceRemoved         Status = 0xC00002B6
)

var statuses = map[Status]struct {
	name string
	err  error // what package kshm calls it
}{
	StatusSuccess:               {"STATUS_SUCCESS", nil},
	StatusPending:               {"STATUS_PENDING", nil},
	StatusDeviceBusy:            {"STATUS_DEVICE_BUSY", kshm.ErrLimit},
	StatusInvalidParameter:      {"STATUS_INVALID_PARAMETER", kshm.ErrInvalid},
	StatusInvalidDeviceRequest:  {"STATUS_INVALID_DEVICE_REQUEST", kshm.ErrNotSupported},
	StatusAccessDenied:          {"STATUS_ACCESS_DENIED", kshm.ErrPermission},
	StatusDataError:             {"STATUS_DATA_ERROR", kshm.ErrCorrupt},
	StatusQuotaExceeded:         {"STATUS_QUOTA_EXCEEDED", kshm.ErrLimit},
	StatusInsufficientResources: {"STATUS_INSUFFICIENT_RESOURCES", kshm.ErrLimit},
	StatusNotSupported:          {"STATUS_NOT_SUPPORTED", kshm.ErrNotSupported},
	StatusProcessIsTerminating:  {"STATUS_PROCESS_IS_TERMINATING", kshm.ErrOrphaned},
	StatusCancelled:             {"STATUS_CANCELLED", kshm.ErrCancelled},
	StatusFileClosed:            {"STATUS_FILE_CLOSED", kshm.ErrClosed},
	StatusInvalidBufferSize:     {"STATUS_INVALID_BUFFER_SIZE", kshm.ErrRange},
	StatusNotFound:              {"STATUS_NOT_FOUND", kshm.ErrInvalid},
	StatusRequestAborted:        {"STATUS_REQUEST_ABORTED", kshm.ErrRevoked},
	StatusDeviceRemoved:         {"STATUS_DEVICE_REMOVED", kshm.ErrGone},
}

// Failed says whether the status is a warning or an error.
func (s Status) Failed() bool { return s >= 0x80000000 }

func (s Status) Error() string {
	if k, ok := statuses[s]; ok {
		return k.name
	}
	return fmt.Sprintf("NTSTATUS %#08x", uint32(s))
}

// err is the status for the program: nil, or a sentinel of package kshm and
// the status itself.
func (s Status) err() error {
	if !s.Failed() {
		return nil
	}
	if k := statuses[s]; k.err != nil {
		return fmt.Errorf("%w: %w", k.err, s)
	}
	return s
}

// reasonStatus is what a pended SHARE request completes with for each reason;
// any other reason is a revocation.
var reasonStatus = map[kshm.Reason]Status{
	kshm.EndDone:      StatusSuccess,
	kshm.EndClosed:    StatusFileClosed,
	kshm.EndExit:      StatusProcessIsTerminating,
	kshm.EndRevoked:   StatusRequestAborted,
	kshm.EndGone:      StatusDeviceRemoved,
	kshm.EndCorrupt:   StatusDataError,
	kshm.EndCancelled: StatusCancelled,
}

// reason reads the status of a completed SHARE request backwards.
func (s Status) reason() kshm.Reason {
	for r, status := range reasonStatus {
		if s == status {
			return r
		}
	}
	return kshm.EndRevoked
}
