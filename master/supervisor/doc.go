// Package supervisor keeps the workers of a cluster alive. It is policy: everything it does, it does through the public
// API of package master, and a program with other wishes can do without it.
//
//	events of the cluster ─┐            ┌─► Fork, Abort, Ping
//	timer ─────────────────┼─► core ────┼─► Note, to the log
//	Shutdown, Stop ────────┘            └─► Result, to Wait
//
// The core is a state machine that is told the time and answers what is to be done; one goroutine feeds it. All time is
// monotonic.
//
// Each worker has a slot. When the worker ends, the slot gets another one after a delay, which doubles with every
// worker that does not live for 10 s; or none any more, if the policy says so or the worker left by choice (suicide).
// When restarts come too fast, the cluster is degraded: they go on one at a time and ever more slowly, who is left
// serves, and the log gets one line in a while. A quiet period ends that. A worker that had worked before it ended is
// replaced at once and counts for nothing, also in a degraded cluster: an operator may kill as many as he likes.
package supervisor
