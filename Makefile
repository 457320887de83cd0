# SPDX-License-Identifier: MIT
#
# Every job of the project. Needs Go and make; whatever else a job needs is
# fetched into build/deps, without root and without changing the machine.
# Where that cannot be done, a job says in one line what is missing; with
# CI=true that is a failure.

KERNELS  := 6.1 6.12
# A folder's module is called as the folder, but for two.
MODULES  := driver/linux driver/samples/digest driver/samples/loop driver/test/linux/probe driver/test/linux/rival
MODULE_NAMES := $(patsubst loop,kshm_loop,$(notdir $(MODULES:linux=kshm)))
KERNEL_C := driver/linux/*.[ch] driver/samples/*/*_linux.[ch] driver/test/linux/*/*.[ch]
WINDOWS_C := $(wildcard $(addprefix driver/,windows/*.[ch] samples/mydriver/*.[ch] samples/*/*_windows.[ch] \
	test/nt/shim/*.[ch] test/nt/shim/*/*.[ch] test/windows/recipe/*.[ch]))

# What programs import, and what needs the modules loaded.
LIBRARY   := . ./ring ./kshmtest ./internal/sys ./internal/abi
KERNEL_GO := ./driver/test/linux ./driver/test/linux/storm ./cmd/kshm/internal/demo ./examples/hello

DEPS := go run ./internal/cmd/deps
WITH := $(DEPS) with
COMPILERS := cc mingw osslsigncode

STATICCHECK = $(shell go tool -n -modfile=go.tool.mod staticcheck)

VERBOSE   := # -v tells what each test has to say

FUZZTIME  = $(if $(FUZZSECONDS),$(shell expr $(FUZZSECONDS) / $(words $(FUZZERS)))s,30s)
FUZZERS   = $(shell grep -rEo --include=*_test.go --exclude-dir=build '^func Fuzz[A-Za-z0-9_]*' . | sed 's,/[^/]*:func ,:,')

.PHONY: help demo test test-full generate check-generated lint fuzz clean
.NOTPARALLEL:

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

demo: ## share memory with a driver in a real kernel, and watch
	@go build -o build/kshm ./cmd/kshm
	@build/kshm demo

test: check-generated lint test-go test-c proof test-vm test-windows test-bpf ## everything below, in at most 15 minutes

# Rung 1: anywhere. Tests of C code, and of how the Windows drivers are built,
# take part where there are compilers.
.PHONY: test-go
test-go: ## rung 1: the Go tests, anywhere
	$(WITH) -try $(COMPILERS) -- go test ./...

# What the race detector can look at; the rest runs compilers and what they make.
IN_GO = $(shell go list ./... | grep -v -e /driver/ -e /driverbuild)

# Rung 2: the race detector over Go; ASAN, UBSAN and TSAN over the C that
# runs in user mode.
.PHONY: test-c
test-c: ## rung 2: race detector, and the C code under sanitizers
	$(WITH) $(COMPILERS) -- go test ./ring ./driver/test/...
	$(WITH) $(COMPILERS) -- go test -race $(IN_GO)

# The model of the ring in every state, and its seeded bugs, which must be found.
.PHONY: proof
proof: ## rung 2: the ring's protocol, checked exhaustively
	$(WITH) cc spin -- go run ./proof

# Rung 3: stock Debian kernels in QEMU. Fails on a splat in the kernel log, a
# leaked pin or a module that does not unload, too.
.PHONY: test-vm in-vm modules
test-vm: ## rung 3: the modules and the Go package in stock kernels
	$(WITH) perl sparse qemu $(KERNELS:%=kernel-%) -- $(MAKE) --no-print-directory in-vm

in-vm: modules build/vmrun
	KSHM_VM=$(firstword $(KERNELS)) go test -count=1 ./internal/vm ./cmd/kshm
	KSHM_VM=$(firstword $(KERNELS)) go test -count=1 -run '^TestRunIn$$' ./internal/bench
	$(foreach k,$(KERNELS),$(call run-in-vm,$(k)))
	GOARCH=386 $(call in,$(firstword $(KERNELS))) -run '$(ROWS_ON_386)' ./driver/test/linux
	go build -o build/kshm ./cmd/kshm
	build/kshm demo --json

modules:
	$(DEPS) build-module -strict -sparse -kernel 6.1 $(MODULES)
	$(DEPS) build-module -strict -kernel 6.12 $(MODULES)

.PHONY: build/vmrun # go knows what is up to date
build/vmrun:
	go build -o $@ ./internal/cmd/vmrun

# What go test runs a kernel's tests with; $(2) is more for vmrun.
in = $(if $(findstring arm64,$(1)),GOARCH=arm64) CGO_ENABLED=0 go test -tags kernel -count=1 -exec "$(CURDIR)/build/vmrun -kernel $(1) $(2) -hugepages 16 $(call with-modules,$(1))"

# The modules, loaded; and those of drivers that tests load again as files.
with-modules = $(foreach m,digest kshm_loop,-file $(CURDIR)/build/$(1)/$(m).ko:/modules/$(m).ko) $(patsubst %,-module $(CURDIR)/build/$(1)/%.ko,$(MODULE_NAMES))

STORM_TIME_6.1  := 15s
STORM_TIME_6.12 := 60s

# Machines for every row of docs/conformance.md. The second has memory that pins
# must move out of.
ROWS    := -mem 3072 -kmod brd -kmod vfat -kmod nls_cp437 -kmod nls_ascii
MOVABLE := -append movablecore=512M
ROWS_ON_386 := ^Test(Conformance|KernelSees.*|ReadOnlyShare|ShareRefuses.*|ShareTakes.*|LongCommands|ForeignDescriptors|ControlRefusals|Setuid.*|DeathOfTheOwner)$$

define run-in-vm
KSHM_ROWS=1 KSHM_STORM_TIME=$(STORM_TIME_$(1)) $(call in,$(1),$(ROWS)) -skip '^TestMovableMemory$$' $(KERNEL_GO)
KSHM_ROWS=1 $(call in,$(1),$(MOVABLE)) -run '^TestMovableMemory$$' ./driver/test/linux

endef

# All kernels of Debian, with all the tests, and all of them as a 386 program.
MORE_KERNELS := 6.1-rt 6.12-trixie 7.2 6.1-arm64
LONG_RUN     := -v -timeout 55m
ALL_KERNELS  := $(KERNELS) $(MORE_KERNELS)
.PHONY: $(ALL_KERNELS:%=test-kernel-%) test-386
$(ALL_KERNELS:%=test-kernel-%): test-kernel-%: build/vmrun
	$(WITH) perl qemu kernel-$* -- $(DEPS) build-module -strict -kernel $* $(MODULES)
	$(call every-row,$*)

test-386: build/vmrun ## the tests as a 386 program in a 64-bit kernel
	$(WITH) perl qemu kernel-6.1 -- $(DEPS) build-module -strict -kernel 6.1 $(MODULES)
	$(call every-row,6.1,GOARCH=386)

define every-row
$(2) KSHM_ROWS=1 $(call in,$(1),-timeout 55m $(ROWS)) $(LONG_RUN) -skip '^TestMovableMemory$$' ./driver/test/linux
$(2) KSHM_ROWS=1 $(call in,$(1),$(MOVABLE)) -v -run '^TestMovableMemory$$' ./driver/test/linux
endef

# The system calls of a long run, which are as many as those of a short one.
.PHONY: test-calls
test-calls: build/vmrun ## ten million records through a ring, without a system call
	$(WITH) perl qemu kernel-6.12 -- $(DEPS) build-module -strict -kernel 6.12 $(MODULES)
	$(call in,6.12,-timeout 55m) $(LONG_RUN) -run '^Test(CallsAreCounted|NoSystemCallInSteadyState)$$' ./driver/test/linux -records 10000000
	$(call in,6.12,-smp 8) $(LONG_RUN) -run '^Test(EightProducers|OneCPUIsManyContexts)$$' -count=10 ./driver/test/linux

# User-mode Linux, compiled from source once: what boots it, and the rings.
.PHONY: test-uml
test-uml: build/vmrun ## the virtual machine's own tests and the rings' in user-mode Linux
	$(DEPS) build-module -strict -kernel uml-7.2 $(MODULES)
	KSHM_VM=uml-7.2 go test -count=1 -v -timeout 30m ./internal/vm ./internal/bench -run '^Test(ExitStatus|SignalStatus|Faults|RunIn)$$'
	$(call in,uml-7.2) -v -run '^Test(RingEcho|RingSleepWake|ShareRefusesBadRings|EightProducers|Rival.*|Conformance)$$' ./driver/test/linux

# What a share costs, beside io_uring and bare pinning. Numbers for docs/ want a
# machine that does nothing else; the short form is a test.
.PHONY: bench-share test-share-cost
COST_MODULES := driver/linux driver/test/linux/probe
share-cost = CGO_ENABLED=0 go test -tags kernel -count=1 -v -exec "$(CURDIR)/build/vmrun -kernel 6.12 -mem $(1) -module $(CURDIR)/build/6.12/kshm.ko -module $(CURDIR)/build/6.12/probe.ko" ./internal/bench/sharecost -run '^TestCost$$'
bench-share: build/vmrun ## measure what a share costs beside io_uring, for docs/cost.md
	$(WITH) perl qemu kernel-6.12 -- $(DEPS) build-module -strict -kernel 6.12 $(COST_MODULES)
	$(call share-cost,4096 -hugepages 512 -collect $(CURDIR)/build/sharecost.json:/tmp/sharecost.json) -report /tmp/sharecost.json
	go run ./internal/cmd/sharecost build/sharecost.json > build/cost.md && mv build/cost.md docs/cost.md

test-share-cost: build/vmrun
	$(WITH) perl qemu kernel-6.12 -- $(DEPS) build-module -strict -kernel 6.12 $(COST_MODULES)
	$(call share-cost,1024 -hugepages 16)

# The seeded bugs first, to see that the analyzers can find some.
.PHONY: analyze
analyze: ## sparse, clang's analyzer and Coccinelle over the modules
	$(WITH) perl sparse bpf-clang coccinelle source-6.12 -- go test -count=1 ./internal/cmd/analyze -seeded
	$(WITH) perl sparse bpf-clang coccinelle source-6.12 -- go run ./internal/cmd/analyze $(MODULES)

# A storm on one kernel, which may be one of those below:
# make storm KERNEL=6.12 STORM="-seed 7 -ops 1000000 -kills 1000"
.PHONY: storm
KERNEL := 6.12
STORM  := -for 10m
storm: build/vmrun ## everything at once, killed again and again: KERNEL=6.12 STORM="-seed 7 -for 10m"
	$(WITH) perl qemu -- $(DEPS) build-module -strict -kernel $(KERNEL) $(MODULES)
	CGO_ENABLED=0 go build -o build/storm ./driver/test/linux/storm
	build/vmrun -kernel $(KERNEL) -timeout 58m -hugepages 16 -log build/storm-$(KERNEL).log $(call with-modules,$(KERNEL)) build/storm $(STORM)

.PHONY: test-shrinker
test-shrinker: build/vmrun ## seeded bugs that a storm finds, and shrinks to a short script
	$(WITH) perl qemu kernel-6.12 -- $(DEPS) build-module -strict -kernel 6.12 $(MODULES)
	$(call in,6.12,-timeout 55m) -v -timeout 55m -run '^TestShrinker' ./driver/test/linux/storm -seeded

# Kernels made to find bugs, compiled from source once, which takes an hour:
# first the bugs of a broken module, each of which they must find, and then the
# tests, in which they must find nothing.
# They do not trace system calls, have neither a disk nor kprobes, and want their
# memory themselves.
DEBUG_TESTS := -v -timeout 60m -skip '^Test(CallsAreCounted|NoSystemCallInSteadyState|FileOnDisk|Gibibyte|MovableMemory|CloseDuringLateRevoke)$$' ./driver/test/linux
DEBUG_KERNELS := debug-uml-7.2 debug-6.12 kcsan-6.12
.PHONY: test-debug test-kcsan test-faults $(DEBUG_KERNELS:%=modules-%) $(DEBUG_KERNELS:%=alarms-%) $(DEBUG_KERNELS:%=rows-%)
test-debug: alarms-debug-6.12 rows-debug-6.12 ## memory, locks, contexts: the tests in a kernel that checks them
test-kcsan: alarms-kcsan-6.12 rows-kcsan-6.12 ## data races: the tests in a kernel that looks for them

$(DEBUG_KERNELS:%=alarms-%): alarms-%: modules-%
	KSHM_ALARMS=$* go test -count=1 -v -timeout 60m ./driver/test/linux/alarms

$(DEBUG_KERNELS:%=rows-%): rows-%: modules-% build/vmrun
	KSHM_ROWS=1 $(call in,$*,-timeout 58m) $(DEBUG_TESTS)

test-faults: modules-debug-6.12 build/vmrun ## every call, made to fail at each point of its way
	$(call in,debug-6.12) -v -timeout 60m ./driver/test/linux -run '^TestFaults$$' -faults

$(DEBUG_KERNELS:%=modules-%): modules-%:
	$(WITH) perl qemu -- $(DEPS) build-module -strict -kernel $* $(MODULES)

.PHONY: drivers
drivers: ## build the Windows drivers into build/windows, signed for tests
	$(WITH) mingw osslsigncode -- go run ./internal/cmd/windrv

# Rung 4: the drivers and the Go client in Wine, as the service manager loads
# them. Wine gives a driver a copy of the memory; the test build, digest_test_
# section.sys with the build tag kshm_test_section, shares a named section.
.PHONY: test-windows in-wine
test-windows: ## rung 4: the Windows drivers and the Go client, in Wine
	$(WITH) mingw osslsigncode wine -- $(MAKE) --no-print-directory in-wine

in-wine: windows-clients
	GOOS=windows go build -tags kshm_test_section -o build/windows/kshm.exe ./cmd/kshm
	go build -o build/winerun ./internal/cmd/winerun
	GOOS=windows go test $(VERBOSE) -tags kernel,kshm_test_section -count=1 -timeout 10m -exec "$(CURDIR)/build/winerun -drivers $(CURDIR)/build/windows" ./driver/test/windows ./internal/sys

# Rung 5: eBPF on the running kernel, where rights and version allow: else the
# tests say in one line what is missing. A kernel that has no arenas says so.
.PHONY: test-bpf
test-bpf: build/vmrun ## rung 5: eBPF programs in the running kernel
	go test -count=1 ./bpf/loop ./bpf/live ./examples/bpf
	go test -count=1 -v -run '^Test(LiveHooks|Kill|KillReceiver|TwoRings|WithoutRights|KernelVersion|Handover)$$' ./bpf -live 10000000 -kills 50 -kicks 10000
	$(WITH) qemu kernel-6.1 -- env CGO_ENABLED=0 go test -count=1 -exec "$(CURDIR)/build/vmrun -kernel 6.1" -v -run '^Test(KernelVersion|WithoutRights)$$' ./bpf

# What the tests take besides themselves.
.PHONY: windows-clients windows-files
windows-clients:
	go run ./internal/cmd/windrv
	x86_64-w64-mingw32-gcc -std=c11 -O2 -Wall -Wextra -Werror -o build/windows/recipe.exe driver/test/windows/recipe/recipe.c
	GOOS=windows go build -o build/windows/classic.exe ./examples/classic

windows-files: windows-clients ## what driver/test/windows/checklist.ps1 takes to a Windows machine
	GOOS=windows go build -o build/windows/kshm.exe ./cmd/kshm
	GOOS=windows GOARCH=386 go build -o build/windows/kshm32.exe ./cmd/kshm
	GOOS=windows go test -c -tags kernel -o build/windows/kit.test.exe ./driver/test/windows

# PARTS names some of them; see "go run ./internal/cmd/testfull -list".
test-full: ## rung 6: the long forms, part by part; what has passed stays passed
	go run ./internal/cmd/testfull -run '$(PARTS)'

generate: ## write internal/abi/zabi.go from driver/include, and compile the eBPF objects
	$(WITH) cc -- go generate ./...
	$(WITH) bpf-clang -- go run ./internal/cmd/genbpf

check-generated: ## fail if it is not what generate would write
	cd internal/abi && go run ../cmd/deps with -try cc -- go run generate.go -check
	$(WITH) bpf-clang -- go run ./internal/cmd/genbpf -check

CLANG_FORMAT = $(WITH) bpf-clang -- env kshm-clang-format --style=file:driver/windows/.clang-format

.PHONY: format-windows
format-windows: ## put the C for Windows into its form
	$(CLANG_FORMAT) -i $(WINDOWS_C)

lint: ## vet for every system, staticcheck, checkpatch over Linux's C, clang-format over Windows's
	go vet ./...
	go vet -tags kernel $(KERNEL_GO) ./internal/bench/sharecost
	GOARCH=386 go vet $(LIBRARY)
	GOOS=darwin go vet $(LIBRARY)
	GOOS=windows go vet ./...
	GOOS=windows go vet -tags kernel,kshm_test_section ./internal/sys ./driver/test/windows
	GOOS=windows GOARCH=arm64 go vet ./...
	GOOS=windows GOARCH=arm64 go vet -tags kernel ./driver/test/windows
	GOOS=windows GOARCH=386 go vet $(LIBRARY)
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags kernel $(KERNEL_GO) ./internal/bench/sharecost
	$(DEPS) checkpatch $(KERNEL_C)
	$(CLANG_FORMAT) --dry-run -Werror $(WINDOWS_C)

fuzz: ## fuzz what reads bytes of another side: FUZZTIME=30s each, or FUZZSECONDS=60 for all
	$(foreach f,$(FUZZERS),$(call run-fuzzer,$(f)))

define run-fuzzer
go test $(VERBOSE) -run '^$$' -fuzz '^$(lastword $(subst :, ,$(1)))$$' -fuzztime $(FUZZTIME) $(firstword $(subst :, ,$(1)))

endef

.PHONY: bench
bench: ## docs/performance.md anew, on an idle machine: some minutes, and user-mode Linux to build once
	$(WITH) cc -- go run ./cmd/kshm bench --machine uml,native,qemu --document docs/performance.md

clean: ## remove what was built; keep what was fetched
	rm -rf $(filter-out build/deps,$(wildcard build/*))
