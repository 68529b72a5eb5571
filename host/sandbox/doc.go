// Package sandbox locks a host process down, so that a guest that has broken out of Wasm finds itself in a cage that the
// kernel holds. Wasm is the first wall; this is the second.
//
//	master: clone with namespaces of its own ── LayerNamespaces
//	  │
//	Enter, before any byte of a guest is looked at
//	  │  descriptors   nothing inherited but the channel
//	  │  mounts        an empty read-only root with the compiled module and no more
//	  │  rlimits       no core dump, no files, so many descriptors and threads
//	  │  capabilities  none, in every thread
//	  │  landlock      no path outside, no TCP, no abstract socket, no signal outside
//	  │  dumpable      off
//	  │  seccomp 1     a list of calls; memory may still be made executable, and the compiled module be opened
//	  ▼
//	(the module is loaded)
//	  │
//	Seal, before the guest runs
//	  │  MDWE          what was writable never becomes executable
//	  │  seccomp 2     nothing becomes executable, nothing is opened
//	  │  self-test     what is denied is tried, and must fail
//	  ▼
//	(the guest runs)
//
// Each layer is there because another has holes. A socket keeps the network namespace that it was made in, so whoever
// holds a listener of the master's could use it to reach out of an empty namespace: seccomp denies connect, shutdown of
// reading, fast open. Seccomp cannot see paths: the root is empty. A kernel bug in one is not one in all.
//
// The package knows nothing of frames, guests or Wasm. Which layers there are is abi's; what this host has, Probe tells.
package sandbox
