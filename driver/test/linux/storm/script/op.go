// SPDX-License-Identifier: MIT

// Package script describes what the actors of a storm do: the kinds of
// operations, endless streams of them that a seed determines, finite scripts
// that can be written down and read back, and a shrinker that looks for the
// shortest script that still shows a fault. It knows nothing of kernels.
package script

// MaxArgs is the most arguments that an operation has.
const MaxArgs = 7

// An Op is one operation of one actor. Arg holds numbers below the limits that
// Kinds gives; what they stand for is up to whoever performs it.
type Op struct {
	Kind Kind
	Arg  [MaxArgs]uint32
}

// A Kind says what an operation does.
type Kind uint8

// The kinds of operations. Memory is named by area and page, descriptors by
// slot, and shares of anybody by their cookie; all of these are tables of the
// process, so that its lanes pull things away from under each other.
const (
	Map Kind = iota
	Unmap
	Protect
	Advise
	Remap
	Scribble
	Truncate
	Share
	BadShare
	BadCall
	Done
	Kick
	Stats
	Info
	Read
	Wait
	Close
	Dup
	Send
	Receive
	Tell
	Produce
	Count
	Exchange
	Feed
	Open
	Fork
	Signal
	Kill
	User
	Limit
	Pause
	CPU
	Memory
	Tasks
	Reclaim
	Unload
	Reload
	Caps
	Rest
	NumKinds
)

// Sizes of the tables that arguments index.
const (
	Areas    = 24 // of memory, per process
	Pages    = 64 // in an area
	Slots    = 16 // for descriptors of shares, per process
	Devices  = 8  // descriptors of devices, per process
	Cookies  = 32 // that shares have in common
	Sockets  = 4  // between processes
	MaxLanes = 8  // threads of a process
	MaxProcs = 16 // processes of a storm at once
	Noise    = 1 << 12
)

// A Spec describes a kind.
type Spec struct {
	Name string
	Args []Arg
	// How often it comes, relative to the others, in the stream of an ordinary
	// process and in that of the process that makes the weather.
	Weight, Weather int
}

// An Arg is an argument of a kind: a number below Limit.
type Arg struct {
	Name  string
	Limit uint32
}

// Kinds describes all kinds of operations.
var Kinds = [NumKinds]Spec{
	Map:      {"map", []Arg{{"area", Areas}, {"pages", Pages}, {"how", 8}}, 60, 0},
	Unmap:    {"unmap", []Arg{{"area", Areas}, {"page", Pages}, {"pages", Pages}}, 12, 0},
	Protect:  {"protect", []Arg{{"area", Areas}, {"page", Pages}, {"pages", Pages}, {"how", 4}}, 12, 0},
	Advise:   {"advise", []Arg{{"area", Areas}, {"page", Pages}, {"pages", Pages}, {"how", 16}}, 20, 0},
	Remap:    {"remap", []Arg{{"area", Areas}, {"to", Areas}, {"pages", Pages}}, 8, 0},
	Scribble: {"scribble", []Arg{{"area", Areas}, {"word", Pages * 512}, {"words", 64}, {"noise", Noise}}, 80, 0},
	Truncate: {"truncate", []Arg{{"page", Pages}, {"pages", Pages}, {"how", 3}}, 6, 0},
	Share: {"share", []Arg{{"area", Areas}, {"page", 4}, {"length", 48 * 4096}, {"slot", Slots}, {"device", Devices},
		{"cookie", Cookies}, {"how", 8}}, 130, 0},
	BadShare: {"badshare", []Arg{{"area", Areas}, {"device", Devices}, {"field", 12}, {"noise", Noise}}, 30, 0},
	BadCall:  {"badcall", []Arg{{"slot", Slots}, {"device", Devices}, {"command", 16}, {"noise", Noise}}, 30, 0},
	Done:     {"done", []Arg{{"slot", Slots}}, 50, 0},
	Kick:     {"kick", []Arg{{"slot", Slots}}, 220, 0},
	Stats:    {"stats", []Arg{{"slot", Slots}}, 90, 0},
	Info:     {"info", []Arg{{"device", Devices}}, 30, 0},
	Read:     {"read", []Arg{{"slot", Slots}}, 90, 0},
	Wait:     {"wait", []Arg{{"slot", Slots}, {"ms", 3}}, 30, 0},
	Close:    {"close", []Arg{{"slot", Slots}}, 50, 0},
	Dup:      {"dup", []Arg{{"slot", Slots}, {"to", Slots}}, 20, 0},
	Send:     {"send", []Arg{{"slot", Slots}, {"socket", Sockets}}, 15, 0},
	Receive:  {"receive", []Arg{{"socket", Sockets}, {"slot", Slots}}, 15, 0},
	Tell:     {"tell", []Arg{{"device", Devices}, {"code", 8}, {"cookie", Cookies}, {"value", 4}, {"context", 3}}, 60, 0},
	Produce:  {"produce", []Arg{{"device", Devices}, {"cookie", Cookies}, {"ring", 3}, {"records", 300}, {"size", 32}, {"context", 4}}, 30, 0},
	Count:    {"count", []Arg{{"device", Devices}, {"cookie", Cookies}}, 5, 0},
	Exchange: {"exchange", []Arg{{"length", 8 * 4096}, {"value", 256}}, 8, 0},
	Feed:     {"feed", []Arg{{"area", Areas}, {"page", 4}, {"what", 4}, {"records", 32}, {"slot", Slots}}, 30, 0},
	Open:     {"open", []Arg{{"device", Devices}}, 12, 0},
	Fork:     {"fork", []Arg{{"area", Areas}, {"device", Devices}, {"slot", Slots}, {"how", 8}, {"calls", 4}}, 0, 0},
	Signal:   {"signal", []Arg{{"lane", MaxLanes}}, 8, 0},
	Kill:     {"kill", []Arg{{"process", MaxProcs}}, 0, 0},
	User:     {"user", []Arg{{"who", 3}}, 6, 0},
	Limit:    {"limit", []Arg{{"files", 4}}, 2, 0},
	Pause:    {"pause", []Arg{{"us", 200}}, 10, 0},

	CPU:     {"cpu", []Arg{{"online", 2}}, 0, 4},
	Memory:  {"memory", []Arg{{"limit", 5}}, 0, 20},
	Tasks:   {"tasks", []Arg{{"limit", 3}}, 0, 20},
	Reclaim: {"reclaim", []Arg{{"how", 4}}, 0, 10},
	Unload:  {"unload", []Arg{{"how", 2}}, 0, 20},
	Reload:  {"reload", []Arg{{"driver", 2}}, 0, 10},
	Caps:    {"caps", []Arg{{"which", 3}, {"value", 3}}, 0, 20},
	Rest:    {"rest", []Arg{{"ms", 60}}, 0, 100},
}
