// Command bench measures wcluster beside servers that do the same work, in one run.
//
//	go run ./bench              all servers, five repetitions
//	go run ./bench --quick      once and briefly: that it works, not what it measures
//
// What each figure means stands in README.md.
//
//	main ─► run ──► server: what to build, what to start
//	         │
//	         ├─► measure: one server, once ──► process: start, first answer, stop
//	         │                             ├─► proc: CPU, memory, connections, from /proc
//	         │                             └─► load: wrk
//	         ├─► wcluster: from fork to online
//	         ▼
//	       result ──► stats ──► report: table, JSON
//	         └──────► check: the limits
//
// One server runs at a time, and everything that the measuring process has as a descendant belongs to it: so whatever
// is still there after it was stopped is ended, however far it has forked away.
package main
