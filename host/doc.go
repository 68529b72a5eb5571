// Package host is the worker process: one guest, its link to the master, and its end.
//
//	master ══ frames ══ link ─► inbox, listen answers, ping, disconnect
//	                      ▲                                    │
//	                      └── poller (wasip1) ◄── guest (wasmworker) on the same, locked thread
//
// A program that embeds package master calls Init first in its main: in a worker, which is that same program executed
// again, Init takes over and never returns.
//
// The package knows frames and the machine; it knows nothing of the cluster's policy or of other workers.
package host
