package host

import (
	"fmt"
	"os"
	"runtime"
)

// RoleVariable is the environment variable that makes a process a host.
const RoleVariable = "WCLUSTER_ROLE"

// channel is the descriptor of the socketpair to the master.
const channel = 3

// roles are what a host process can be.
var roles = map[string]func() int{
	"worker":  runWorker,
	"compile": runCompiler,
}

// Init takes over when this process was started as a host by a master, and then ends the process; otherwise it returns
// at once. It belongs first in the main of every program that embeds package master, before flags are parsed or
// anything is opened.
func Init() {
	role := os.Getenv(RoleVariable)
	if role == "" {
		return
	}
	run, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "wcluster: %s=%q is no role: it is set by the master for its workers; unset it\n", RoleVariable, role)
		os.Exit(2)
	}
	// The guest's thread for the life of the process: it runs Wasm and makes the system calls.
	runtime.LockOSThread()
	os.Exit(run())
}
