// SPDX-License-Identifier: MIT

package deps

import "regexp"

// A Component is a tool made of Debian packages.
type Component struct {
	Name    string         // its folder under Root, and its name in packages.lock
	Suite   string         // "bookworm", "bookworm-backports", "trixie", "sid"
	Arch    string         // Debian's name of the processor that it is for, "" for amd64
	Roots   []string       // packages to resolve; their dependencies come with them
	Keep    *regexp.Regexp // if set, only packages with a matching name are fetched
	Entered bool           // a kernel whose modules are built inside the unpacked folder, as its root
	prepare func(dir string) error
}

// The components. Another one is a line here and an entry in packages.lock,
// which `go run ./internal/cmd/deps lock NAME` writes.
var (
	// Not bookworm's own 7.2: two of its processors see each other's changes of
	// code too late, so kernel 6.12, which patches itself, dies now and then.
	QEMU = Component{Name: "qemu", Suite: "bookworm-backports", Roots: []string{"qemu-system-x86"}}

	// A kernel comes with its headers, so that the two always match.
	Kernel61 = Component{Name: "kernel-6.1", Suite: "bookworm", Keep: kernelPackages,
		Roots: []string{"linux-image-cloud-amd64", "linux-headers-cloud-amd64"}, prepare: relocateHeaders}
	Kernel612 = Component{Name: "kernel-6.12", Suite: "bookworm-backports", Keep: kernelPackages,
		Roots: []string{"linux-image-cloud-amd64", "linux-headers-cloud-amd64"}, prepare: relocateHeaders}

	// Real-time: spinning locks sleep, and interrupts run in threads.
	Kernel61RT = Component{Name: "kernel-6.1-rt", Suite: "bookworm", Keep: kernelPackages,
		Roots: []string{"linux-image-rt-amd64", "linux-headers-rt-amd64"}, prepare: relocateHeaders}

	// Kernels of later suites want the compiler that they were built with, so
	// they come with it, as whole systems to be entered for building modules.
	Kernel612Trixie = Component{Name: "kernel-6.12-trixie", Suite: "trixie", Entered: true,
		Roots: append(buildTools, "linux-image-cloud-amd64", "linux-headers-cloud-amd64"), prepare: prepareSystem}
	Kernel72 = Component{Name: "kernel-7.2", Suite: "sid", Entered: true,
		Roots: append(buildTools, "linux-image-cloud-amd64", "linux-headers-cloud-amd64"), prepare: prepareSystem}

	// Another processor, emulated: its kernel, whose modules are compiled here.
	Kernel61ARM64 = Component{Name: "kernel-6.1-arm64", Suite: "bookworm", Arch: "arm64", Keep: kernelPackages,
		Roots: []string{"linux-image-cloud-arm64:arm64", "linux-headers-cloud-arm64:arm64"}, prepare: relocateHeaders}
	QEMUARM    = Component{Name: "qemu-arm", Suite: "bookworm-backports", Roots: []string{"qemu-system-arm"}}
	CrossARM64 = Component{Name: "cross-arm64", Suite: "bookworm", Roots: []string{"gcc-12-aarch64-linux-gnu"}, Keep: notCLibrary}

	// Toolchain compiles kernel modules where the machine has no gcc or make.
	// It runs on the machine's own C library.
	Toolchain = Component{Name: "toolchain", Suite: "bookworm",
		Roots: []string{"gcc-12", "make", "libelf1"}, Keep: notCLibrary}

	// CLibrary is what Toolchain needs to make programs: headers, and the C
	// library to link with.
	CLibrary = Component{Name: "c-library", Suite: "bookworm",
		Roots: []string{"libc6-dev"}, Keep: regexp.MustCompile(`^(libc6|libc6-dev|linux-libc-dev|libcrypt1|libcrypt-dev|libgcc-s1)$`)}

	// Mingw compiles Windows drivers, and Osslsigncode signs them.
	Mingw        = Component{Name: "mingw", Suite: "bookworm", Roots: []string{"gcc-mingw-w64-x86-64-win32"}, Keep: notCLibrary}
	Osslsigncode = Component{Name: "osslsigncode", Suite: "bookworm", Roots: []string{"osslsigncode"}, Keep: notCLibrary}

	// Perl is what a minimal system's perl lacks to run the kernel's scripts.
	Perl = Component{Name: "perl", Suite: "bookworm",
		Roots: []string{"perl"}, Keep: regexp.MustCompile(`^(perl-modules-|libperl)`)}

	// Sparse and Checkpatch are the kernel's static checkers.
	Sparse     = Component{Name: "sparse", Suite: "bookworm", Roots: []string{"sparse"}, Keep: regexp.MustCompile(`^sparse$`)}
	Checkpatch = Component{Name: "checkpatch", Suite: "bookworm", Roots: []string{"linux-source-6.1"},
		Keep: regexp.MustCompile(`^linux-source-`), prepare: keepCheckpatch}

	// Coccinelle looks for the patterns of bugs that the kernel collects. Its
	// scripts want Python.
	Coccinelle = Component{Name: "coccinelle", Suite: "bookworm", Roots: []string{"coccinelle", "libpython3.11"},
		Keep: regexp.MustCompile(`^(coccinelle|libpcre3|libexpat1|zlib1g|libpython3\.11.*|python3\.11.*)$`)}

	// Clang compiles eBPF programs, and formats C; what it makes is committed, so
	// its version is.
	Clang = Component{Name: "bpf-clang", Suite: "bookworm", Roots: []string{"clang-19", "llvm-19", "clang-format-19", "linux-libc-dev"},
		Keep: regexp.MustCompile(`^(clang-19|llvm-19|clang-format-19|libllvm19|libclang-cpp19|libclang-common-19-dev|linux-libc-dev|libedit2|libbsd0|libmd0|libffi8|libxml2|libicu72|liblzma5|libz3-4|libzstd1|zlib1g|libtinfo6)$`)}

	// Sources of kernels that no distribution builds: debug kernels, and a
	// kernel that runs as a program. KernelBuild is what building one takes on
	// top of Toolchain.
	Source612   = Component{Name: "source-6.12", Suite: "bookworm-backports", Roots: []string{"linux-source-6.12"}, Keep: sourcePackage}
	Source72    = Component{Name: "source-7.2", Suite: "sid", Roots: []string{"linux-source-7.2"}, Keep: sourcePackage}
	KernelBuild = Component{Name: "build-kernel", Suite: "bookworm", Roots: []string{"bison", "flex", "bc", "libelf-dev", "xz-utils"}, Keep: notCLibrary}

	// Spin, Herdtools and CBMC check the proofs of the ring. The last two are
	// not in bookworm as they are needed, and come with their C library.
	Spin      = Component{Name: "spin", Suite: "bookworm", Roots: []string{"spin"}, Keep: regexp.MustCompile(`^spin$`)}
	Herdtools = Component{Name: "herdtools7", Suite: "sid", Roots: []string{"herdtools7"}, Keep: programLibraries("herdtools7")}
	CBMC      = Component{Name: "cbmc", Suite: "trixie", Roots: []string{"cbmc"}, Keep: programLibraries("cbmc")}

	// Wine runs Windows programs and drivers; bookworm's does not run what Go
	// 1.26 makes. It comes as a small system to be entered with chroot, since
	// it starts programs of its own by their absolute paths.
	Wine = Component{Name: "wine", Suite: "trixie", Roots: []string{"wine64"}, Keep: winePackages, prepare: prepareWine}
)

// notCLibrary leaves out the C library itself: a tool that runs on the machine's
// own loader has to run on the library that belongs to it.
var notCLibrary = regexp.MustCompile(`^(?:[^l]|lib[^c]|libc[^6])`)

// programLibraries keeps a program and the libraries that programs are linked
// with, the C library first of all.
func programLibraries(program string) *regexp.Regexp {
	return regexp.MustCompile(`^(` + regexp.QuoteMeta(program) + `|libc6|libgcc-s1|libstdc\+\+6|libgmp10|minisat|zlib1g)$`)
}

// buildTools are what building a module takes besides the compiler, and what
// packages of a whole system need not name: its essential ones.
var buildTools = []string{"make", "perl", "dash", "coreutils", "sed", "grep", "mawk", "findutils", "diffutils"}

var sourcePackage = regexp.MustCompile(`^linux-source-`)

var kernelPackages = regexp.MustCompile(`^linux-(image-\d|headers-\d|kbuild-\d)`)

// Components lists every component.
func Components() []Component {
	return []Component{QEMU, Kernel61, Kernel612, Kernel61RT, Kernel612Trixie, Kernel72, Kernel61ARM64, QEMUARM, CrossARM64, Toolchain, CLibrary, Mingw, Osslsigncode, Perl, Sparse, Checkpatch, Coccinelle, Clang,
		Source612, Source72, KernelBuild, Spin, Herdtools, CBMC, Wine}
}

// Lookup returns the component of that name.
func Lookup(name string) (Component, bool) {
	for _, c := range Components() {
		if c.Name == name {
			return c, true
		}
	}
	return Component{}, false
}
