# SPDX-License-Identifier: MIT
#
# The checklist of docs/windows.md, on a Windows machine: trusts the test
# certificate, loads the drivers, and runs the tests of driver/test/windows. It
# takes an administrator, and test signing turned on.
#
#   checklist.ps1 -Files build\windows              what `make windows-files` made
#   checklist.ps1 -Files build\windows -Verifier    under Driver Verifier as well
#
# -Verifier turns on those of its options that need no restart, for the two
# drivers, until the end. The status is the number of failed points.
#
# Nothing of this has run on Windows yet.
param(
	[Parameter(Mandatory)] [string]$Files,
	[switch]$Verifier
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$Files = (Resolve-Path $Files).Path
$kshm = Join-Path $Files 'kshm.exe'
$drivers = 'digest.sys', 'loop.sys', 'mydriver.sys'
$failed = 0

# Point runs one point of the checklist; a program's status other than 0 fails it.
function Point([string]$Name, [scriptblock]$Body) {
	Write-Host "== $Name"
	try {
		$global:LASTEXITCODE = 0
		& $Body | Out-Host
		if ($LASTEXITCODE -ne 0) { throw "status $LASTEXITCODE" }
	} catch {
		Write-Host "FAILED: ${Name}: $_"
		$script:failed++
	}
}

# Run runs a program, which fails the point wherever in it the program stands.
function Run([string]$Program) {
	& $Program @args
	if ($LASTEXITCODE -ne 0) { throw "$Program ${args}: status $LASTEXITCODE" }
}

Point 'an administrator' {
	$me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
	if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { throw 'run as administrator' }
}

Point 'test signing is on' {
	$info = & $kshm info --json | ConvertFrom-Json
	Write-Host "drivers must be $($info.trust)"
	if ($info.trust -notmatch 'test signing is on') { throw 'bcdedit /set testsigning on, and restart' }
}

Point 'the state of memory integrity (HVCI), for the record' {
	$guard = Get-CimInstance -Namespace root\Microsoft\Windows\DeviceGuard -ClassName Win32_DeviceGuard
	Write-Host "running: $(2 -in $guard.SecurityServicesRunning); configured: $(2 -in $guard.SecurityServicesConfigured)"
}

Point 'trust the certificate of the test' {
	foreach ($store in 'Root', 'TrustedPublisher') {
		Import-Certificate -FilePath (Join-Path $Files 'test.cer') -CertStoreLocation "Cert:\LocalMachine\$store" | Out-Null
	}
}

if ($Verifier) {
	Point 'Driver Verifier, options that need no restart' {
		# Special pool 1, IRQL 2, pool tracking 8, I/O 10, deadlocks 20, DMA 80,
		# security 100, miscellaneous 800. Windows 11 and Server 2025 take fewer:
		# deadlocks 20, DMA 80, forced pending 200, IRP log 400.
		$flags = if ([Environment]::OSVersion.Version.Build -ge 22000) { '0x6a0' } else { '0x9bb' }
		Run verifier.exe /volatile /flags $flags
		foreach ($driver in $drivers) { Run verifier.exe /volatile /adddriver $driver }
	}
}

# The 32-bit client, the descriptor, CloseHandle with a pended share, a
# duplicated handle, threads that exit, large pages and events are tests, too.
Point 'the tests of driver/test/windows' {
	$env:KSHM_WINDOWS_DRIVERS = $Files
	Push-Location $PSScriptRoot
	try { Run (Join-Path $Files 'kit.test.exe') '-test.v' '-test.count=1' '-test.timeout=15m' } finally { Pop-Location }
}

Point 'the life of a driver by the command line' {
	Run $kshm driver install mydriver (Join-Path $Files 'mydriver.sys')
	Run $kshm driver start mydriver
	Run (Join-Path $Files 'recipe.exe')
	foreach ($verb in 'stop', 'remove') { Run $kshm driver $verb mydriver }
}

if ($Verifier) {
	Point 'Driver Verifier has watched the drivers' {
		$watched = verifier.exe /query | Out-String
		Write-Host $watched
		foreach ($driver in $drivers) {
			if (-not $watched.Contains($driver)) { throw "$driver has not been watched" }
		}
	}

	Point 'few resources, at random: refusals, and nothing left behind' {
		Run verifier.exe /volatile /flags 0x4
		$env:KSHM_WINDOWS_DRIVERS = $Files
		$env:KSHM_LOW_RESOURCES = 'on'
		Push-Location $PSScriptRoot
		try { Run (Join-Path $Files 'kit.test.exe') '-test.v' '-test.run=^TestLowResources$' '-test.count=1' } finally { Pop-Location }
	}
	verifier.exe /volatile /flags 0
	foreach ($driver in $drivers) { verifier.exe /volatile /removedriver $driver }
}

Write-Host "$failed points failed"
exit $failed
