// Package wasmworker is the Wasm machine of a worker process: wazero, the guest's memory, and what the guest imports.
//
//	guest ─► counted ─┬─► "wasi_snapshot_preview1": package wasip1 ─► System, Poller
//	                  ├─► "wcluster": imports.go ─► Services (listen, send, …), Inbox, Poller
//	                  └─► "env": abort, for AssemblyScript
//
// One thread, locked by its owner, runs everything here. A host call reads and writes guest memory in place and
// allocates nothing. The package does not know what Services are made of: no process, no master, no frames.
package wasmworker
