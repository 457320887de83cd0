// SPDX-License-Identifier: MIT
/*
 * recipe.c - a client straight from the recipe, for driver/samples/mydriver. It prints "ok", or
 * the step that went wrong, and the system's error.
 */
#include <windows.h>
#include <winioctl.h>
#include <stdio.h>

#define SHARE CTL_CODE(FILE_DEVICE_UNKNOWN, 1, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)
#define DONE CTL_CODE(FILE_DEVICE_UNKNOWN, 2, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define POKE CTL_CODE(FILE_DEVICE_UNKNOWN, 3, METHOD_BUFFERED, FILE_ANY_ACCESS)

static int wrong(const char *step)
{
	printf("%s: error %lu\n", step, GetLastError());
	return 1;
}

/* A request that does not stay pending. */
static BOOL call(HANDLE device, DWORD code)
{
	OVERLAPPED o = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
	DWORD n;
	BOOL ok = DeviceIoControl(device, code, NULL, 0, NULL, 0, NULL, &o) ||
		  GetLastError() == ERROR_IO_PENDING;

	ok = ok && GetOverlappedResult(device, &o, &n, TRUE);
	CloseHandle(o.hEvent);
	return ok;
}

static BOOL share(HANDLE device, OVERLAPPED *o, char *memory, DWORD size)
{
	ResetEvent(o->hEvent);
	return !DeviceIoControl(device, SHARE, NULL, 0, memory, size, NULL, o) &&
	       GetLastError() == ERROR_IO_PENDING;
}

int main(void)
{
	OVERLAPPED pended = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
	static char memory[1000]; /* at any address, of any length */
	HANDLE device, event;
	DWORD n, i;

	device = CreateFileW(L"\\\\.\\mydriver", GENERIC_READ | GENERIC_WRITE, 0, NULL,
			     OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
	if (device == INVALID_HANDLE_VALUE)
		return wrong("open");
	event = OpenEventW(SYNCHRONIZE, FALSE, L"Global\\MyDriverEvent");
	if (event == NULL)
		return wrong("event");
	WaitForSingleObject(event, 0); /* what another program left */

	if (!share(device, &pended, memory + 1, sizeof(memory) - 1))
		return wrong("share");
	if (!call(device, POKE) || WaitForSingleObject(event, 10000) != WAIT_OBJECT_0)
		return wrong("poke");
	if (WaitForSingleObject(pended.hEvent, 0) != WAIT_TIMEOUT)
		return wrong("the share does not pend");
	if (!call(device, DONE))
		return wrong("done");
	if (!GetOverlappedResult(device, &pended, &n, FALSE) || n != sizeof(memory) - 1)
		return wrong("the end of the share");
	for (i = 0; i < sizeof(memory); i++)
		if (memory[i] != (i != 0))
			return wrong("the memory");
	if (call(device, DONE))
		return wrong("done twice is not refused");

	if (!share(device, &pended, memory, sizeof(memory)) || !CancelIoEx(device, &pended))
		return wrong("share, to be cancelled");
	if (GetOverlappedResult(device, &pended, &n, TRUE) ||
	    GetLastError() != ERROR_OPERATION_ABORTED)
		return wrong("the cancelled share");
	puts("ok");
	return 0;
}
