// Package abi holds the two treaties of wcluster as pure data.
//
// The guest ABI is what a Wasm module imports from the module "wcluster"; ABI.md is its reference. The frame
// protocol is what the master and a worker process say to each other over a socketpair; PROTOCOL.md draws it.
//
//	guest ──(guest ABI)── wasmworker ── host ──(frames)── master
//
// Nothing here touches a descriptor or a process: the package imports no os, net or syscall, so that a guest
// compiled for wasip1 can import it as well. The frames' wire on Linux is package abi/ipc.
package abi

// Protocol is the version of the frame protocol; both ends must agree exactly.
const Protocol = 1

// Version is the version of the guest ABI, what the import version() answers.
const Version = 1

// Build names this release of the master and the worker; both ends of a channel must be of one build.
const Build = "0.1.0"

// Engine names the Wasm engine and its release: compiled code is valid for exactly one. A test of package
// wasmworker holds it against the module that is really linked.
const Engine = "wazero-v1.12.0"
