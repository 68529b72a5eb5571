// Package master runs a cluster: it forks worker processes that each run one instance of a Wasm module, owns every
// listening socket, hands the sockets to the workers that ask, and tells what happens to whom.
//
//	           Fork, Send, Disconnect                          handlers (On)
//	                    │                                            ▲
//	                    ▼                                            │ one at a time, in order
//	Cluster ──► Worker ──► link ══ socketpair ══ host process     dispatcher
//	   │           │         └── frames: gate ► life table ──────────┤
//	   │           ├── process: pidfd ──────────► life table ────────┘
//	   │           └── output: lines ──► Settings.Output
//	   ├── registry: listening sockets, by address
//	   ├── spawner: one locked thread that forks
//	   └── watch: scoreboards; nudges the others when a worker computes
//
// # Use
//
// A program that embeds a cluster re-executes itself as its workers, so its main begins with host.Init() of package
// host, which takes over in a worker and returns at once elsewhere; or Settings.Host names a wcluster binary.
//
//	func main() {
//		host.Init()
//		c := master.New()
//		defer c.Close()
//		c.SetupMaster(master.Settings{Exec: "app.wasm"})
//		c.On(master.EventOnline, func(e master.Event) { log.Println("online:", e.Worker.ID()) })
//		c.Fork()
//		...
//	}
//
// # Events
//
// One goroutine, the dispatcher, calls every handler, in the order in which things happened, and holds no lock while
// it does: a handler may call anything of this package. A handler that takes long delays the others, and holds up the
// channel of a worker that keeps sending meanwhile, and no other's. A handler that panics ends the program like any
// panic in a goroutine: nothing is recovered, because a half-run handler leaves a cluster that nobody understands.
//
// For each worker: fork, online, listening (one per socket), disconnecting, disconnect, exit, death, in this order and
// each at most once; the worker's own handlers run just before the cluster's. Whatever a worker had written into its
// channel before it ended is delivered before disconnect. death is an alias of exit.
//
// # Trust
//
// A worker process may be in a hostile guest's hands. What comes from it is checked against bounds and against the
// state of the conversation; what breaks the rules ends that worker alone, with the reason in Exit.Fault. The package
// reads module bytes only to hash and copy them: a sandboxable child compiles.
//
// The package may not know: Wasm, the host's inner life, policy (package supervisor keeps workers alive).
package master
