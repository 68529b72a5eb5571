// Package wasip1 is WASI preview 1 (wasi_snapshot_preview1), thin over Linux.
//
//	guest ─► module.go, *_abi.go: decode, call, encode    (Wasm types, guest memory; no system calls)
//	           └─► System: fd.go, sock.go, poll.go, …       (descriptors and errnos; no Wasm)
//	                 └─► *_linux.go: accept4, epoll, …      (system calls; no WASI types but Errno)
//
// One thread does everything: it runs the guest, and inside a host call it makes the system call itself, straight
// between the kernel and guest memory. Whatever waits, waits in the Poller, one epoll instance that also holds the
// sources of the surrounding process (its channel to the master), so that a guest which waits never keeps those from
// being served. Nothing here changes an open file description that others may share: no F_SETFL, no shutdown of a
// listener. Non-blocking is a bit of the table entry, and blocking is emulated by waiting in the Poller.
//
// The package knows nothing of clusters, workers or messages.
package wasip1
