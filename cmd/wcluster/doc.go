// Command wcluster runs a Wasm module in several worker processes that share listening sockets. docs/cli.md is its
// manual.
//
// It turns flags and environment into the settings of package master and the policy of package supervisor, and what
// they tell into lines and an exit code. It decides nothing else.
//
//	argv, WCLUSTER_… ─► flags ─► master.Settings, supervisor.Policy
//	                                  │
//	        signals ──► run ──────────┤
//	                                  ▼
//	        events, output ─► reporter (text or JSON) ─► lines ─► stdout, stderr
//
// A file is a command, or one concern of run. They are for Linux; main_other.go is what other systems get.
package main
