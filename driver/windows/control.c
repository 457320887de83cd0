// SPDX-License-Identifier: MIT
/*
 * control.c - the control codes other than SHARE and WAIT, and the rules of all commands.
 *
 * Every refusal is an error status, never a warning (0x8...): with a warning, the I/O manager
 * posts a completion packet although the request never pended.
 */
#include "kit.h"

/* What every command begins with. */
struct command {
	kshm_u32 size;
	kshm_u32 flags;
};

BOOLEAN KshmIsZero(const UCHAR *From, const UCHAR *To)
{
	while (From < To)
		if (*From++ != 0)
			return FALSE;
	return TRUE;
}

/*
 * What a driver's callback says, as it may go out: a request that is completed here must not
 * say that it pends, and a warning would post a completion packet.
 */
NTSTATUS KshmVerdict(NTSTATUS Status)
{
	if (Status == STATUS_PENDING || (!NT_SUCCESS(Status) && !NT_ERROR(Status)))
		return STATUS_INTERNAL_ERROR;
	return Status;
}

/*
 * The command in the request's in-buffer. Size is what version 1.0 knows, Room what the answer
 * takes. A longer command is taken if it asks for nothing that the kit does not know.
 */
NTSTATUS KshmCommand(PIRP Irp, ULONG Size, ULONG Room, ULONG Tail, PVOID *Command)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	ULONG length = stack->Parameters.DeviceIoControl.InputBufferLength;
	const struct command *command = Irp->AssociatedIrp.SystemBuffer;
	const UCHAR *bytes = Irp->AssociatedIrp.SystemBuffer;

	if (length < Size || command->size < Size || command->size > length ||
	    length - command->size > Tail)
		return STATUS_INFO_LENGTH_MISMATCH;
	if (command->flags != 0 || !KshmIsZero(bytes + Size, bytes + command->size))
		return STATUS_INVALID_PARAMETER;
	if (stack->Parameters.DeviceIoControl.OutputBufferLength < Room)
		return STATUS_BUFFER_TOO_SMALL;
	*Command = Irp->AssociatedIrp.SystemBuffer;
	return STATUS_SUCCESS;
}

ULONG64 KshmNanoseconds(VOID)
{
	LARGE_INTEGER frequency;
	ULONG64 count = (ULONG64)KeQueryPerformanceCounter(&frequency).QuadPart;
	ULONG64 hz = (ULONG64)frequency.QuadPart;

	return count / hz * 1000000000 + count % hz * 1000000000 / hz;
}

static NTSTATUS KshmInfo(PKSHM_DEVICE Device, PIRP Irp)
{
	const KSHM_DRIVER *driver = Device->Driver;
	struct kshm_info *info;
	NTSTATUS status;
	ULONG i;

	status = KshmCommand(Irp, sizeof(*info), sizeof(*info), 0, (PVOID *)&info);
	if (!NT_SUCCESS(status))
		return status;
	RtlZeroMemory(info, sizeof(*info));
	info->size = sizeof(*info);
	info->abi_major = KSHM_ABI_MAJOR;
	info->abi_minor = KSHM_ABI_MINOR;
	info->features = KSHM_FEATURE_SHARE_READ;
	if (driver->Control != NULL)
		info->features |= KSHM_FEATURE_CONTROL;
	if (driver->MaxRings != 0)
		info->features |= KSHM_FEATURE_RINGS;
	info->min_length = KshmMinLength(driver);
	info->max_length = KshmMaxLength(driver);
	info->max_user_bytes = KshmMaxUserBytes(driver);
	info->max_open_shares = KshmMaxOpenShares(driver);
	info->max_user_shares = KshmMaxUserShares(driver);
	info->page_size = PAGE_SIZE;
	info->driver_version = driver->Version;
	for (i = 0; i < KSHM_NAME_SIZE - 1 && driver->Name[i] != 0; i++)
		info->driver_name[i] = (char)driver->Name[i];
	Irp->IoStatus.Information = sizeof(*info);
	return STATUS_SUCCESS;
}

/* The share that a command names, with a reference. */
static NTSTATUS KshmNamed(PKSHM_DEVICE Device, PIRP Irp, ULONG Size, ULONG Room,
			  PKSHM_BODY *Body)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	struct kshm_share_cmd *command; /* STATS begins with the same fields */
	NTSTATUS status;

	status = KshmCommand(Irp, Size, Room, 0, (PVOID *)&command);
	if (!NT_SUCCESS(status))
		return status;
	*Body = KshmFind(Device, stack->FileObject->FsContext, command->share);
	return *Body != NULL ? STATUS_SUCCESS : STATUS_NOT_FOUND;
}

/* The reason of the end goes to the out-buffer, if there is one: a kshm_u32. */
static NTSTATUS KshmDone(PKSHM_DEVICE Device, PIRP Irp)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	ULONG room = stack->Parameters.DeviceIoControl.OutputBufferLength != 0
			     ? sizeof(kshm_u32)
			     : 0;
	PKSHM_BODY body;
	NTSTATUS status;

	status = KshmNamed(Device, Irp, sizeof(struct kshm_share_cmd), room, &body);
	if (!NT_SUCCESS(status))
		return status;
	KshmEnd(body, KSHM_END_DONE);
	KshmWaitGone(body);
	if (room != 0)
		*(kshm_u32 *)Irp->AssociatedIrp.SystemBuffer = body->Reason;
	Irp->IoStatus.Information = room;
	KshmRelease(body);
	return STATUS_SUCCESS;
}

static NTSTATUS KshmKick(PKSHM_DEVICE Device, PIRP Irp)
{
	PKSHM_BODY body;
	NTSTATUS status;

	status = KshmNamed(Device, Irp, sizeof(struct kshm_share_cmd), 0, &body);
	if (!NT_SUCCESS(status))
		return status;
	if (KshmRundownEnter(&body->Calls)) {
		InterlockedIncrement64(&body->Kicks);
		if (Device->Driver->Kick != NULL)
			status = KshmVerdict(Device->Driver->Kick(&body->Share));
		else
			KshmQueue(&body->Share);
		KshmRundownExit(&body->Calls);
	} else {
		status = STATUS_FILE_CLOSED;
	}
	KshmRelease(body);
	return status;
}

static NTSTATUS KshmStats(PKSHM_DEVICE Device, PIRP Irp)
{
	struct kshm_stats *stats = Irp->AssociatedIrp.SystemBuffer;
	ULONG room = IoGetCurrentIrpStackLocation(Irp)
			     ->Parameters.DeviceIoControl.OutputBufferLength;
	struct kshm_ring_counters rings[2];
	PKSHM_BODY body;
	NTSTATUS status;
	KIRQL irql;

	status = KshmNamed(Device, Irp, KSHM_STATS_1_0, KSHM_STATS_1_0, &body);
	if (!NT_SUCCESS(status))
		return status;
	if (room > stats->size)
		room = stats->size;
	if (room > sizeof(*stats))
		room = sizeof(*stats);
	RtlZeroMemory(stats, room);
	stats->size = room;
	stats->share = body->Share.Cookie;
	stats->access = body->Share.Access;
	stats->length = body->Share.Length;
	stats->map_ns = body->MapTime;
	KeAcquireSpinLock(&Device->Lock, &irql);
	stats->reason = body->Reason;
	stats->pinned = body->Charged;
	stats->corrupt_offset = body->CorruptOffset;
	stats->corrupt_why = body->CorruptWhy;
	KshmRingStats(body, rings);
	KeReleaseSpinLock(&Device->Lock, irql);
	stats->kicks = InterlockedCompareExchange64(&body->Kicks, 0, 0);
	stats->events = InterlockedCompareExchange64(&body->Events, 0, 0);
	stats->wakes = InterlockedCompareExchange64(&body->Wakes, 0, 0);
	RtlCopyMemory(stats->rings, rings, room - KSHM_STATS_1_0);
	Irp->IoStatus.Information = room;
	KshmRelease(body);
	return STATUS_SUCCESS;
}

/* Access to the device is not enough: who may unload the driver may stop it. */
static NTSTATUS KshmStop(PIRP Irp)
{
	if (IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.InputBufferLength !=
	    0)
		return STATUS_INFO_LENGTH_MISMATCH;
	if (!KshmMayUnload())
		return STATUS_PRIVILEGE_NOT_HELD;
	KshmRevokeAll();
	return STATUS_SUCCESS;
}

static NTSTATUS KshmOwnCode(PKSHM_DEVICE Device, PIRP Irp)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	ULONG code = stack->Parameters.DeviceIoControl.IoControlCode;
	ULONG in = stack->Parameters.DeviceIoControl.InputBufferLength;
	ULONG room = stack->Parameters.DeviceIoControl.OutputBufferLength;
	PUCHAR buffer = Irp->AssociatedIrp.SystemBuffer;
	ULONG length = room;
	NTSTATUS status;

	if (Device->Driver->Control == NULL || (code & 3) != KSHM_METHOD_BUFFERED)
		return STATUS_INVALID_DEVICE_REQUEST;
	/* The system clears nothing: what the driver leaves alone must not tell of others. */
	if (room > in)
		RtlZeroMemory(buffer + in, room - in);
	status = KshmVerdict(Device->Driver->Control(code, buffer, in, &length));
	if (!NT_SUCCESS(status))
		return status;
	Irp->IoStatus.Information = length <= room ? length : room;
	return STATUS_SUCCESS;
}

NTSTATUS KshmControl(PKSHM_DEVICE Device, PIRP Irp)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

	PAGED_CODE();
	if (IoIs32bitProcess(Irp))
		return STATUS_NOT_SUPPORTED;
	switch (stack->Parameters.DeviceIoControl.IoControlCode) {
	case KSHM_CTL_SHARE:
		return KshmShare(Device, Irp, KSHM_ACCESS_READ | KSHM_ACCESS_WRITE);
	case KSHM_CTL_SHARE_READ:
		return KshmShare(Device, Irp, KSHM_ACCESS_READ);
	case KSHM_CTL_DONE:
		return KshmDone(Device, Irp);
	case KSHM_CTL_INFO:
		return KshmInfo(Device, Irp);
	case KSHM_CTL_KICK:
		return KshmKick(Device, Irp);
	case KSHM_CTL_STATS:
		return KshmStats(Device, Irp);
	case KSHM_CTL_WAIT:
		return KshmWait(Device, Irp);
	case KSHM_CTL_STOP:
		return KshmStop(Irp);
	default:
		return KshmOwnCode(Device, Irp);
	}
}
