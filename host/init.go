package host

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/host/sandbox"
)

// RoleVariable is the environment variable that makes a process a host.
const RoleVariable = "WCLUSTER_ROLE"

// channel is the descriptor of the socketpair to the master.
const channel = 3

// timerSlack is how late a guest's timers may be.
const timerSlack = 50 * time.Microsecond

// roles are what a host process can be.
var roles = map[string]func() int{
	"worker":  runWorker,
	"compile": runCompiler,
	"probe":   runProber,
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
	if err := sandbox.CloseInherited(channel + 1); err != nil {
		fmt.Fprintln(os.Stderr, "wcluster: close what was inherited:", err)
		os.Exit(1)
	}
	// The guest's thread for the life of the process: it runs Wasm and makes the system calls.
	runtime.LockOSThread()
	// The master has given this process a large timer slack, for the threads of the Go runtime: this thread wants Linux's
	// usual one, so that a guest's timers are as exact as anywhere. Not to get it would make them late by 5 ms.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack.Nanoseconds()), 0, 0, 0)
	os.Exit(run())
}
