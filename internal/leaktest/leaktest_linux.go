// Package leaktest fails the tests of a package when they leave something open behind.
package leaktest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi/ipc"
)

// grace is how long an end that happens elsewhere, in another goroutine or process, may take.
const grace = 2 * time.Second

// Main is the whole of a package's TestMain: it runs the tests, fails when an ipc.FD is still open, with the stack that
// made it, when /proc/self/fd has grown, or when a goroutine is still in one of functions, such as "ipc.(*Conn).send",
// and exits.
func Main(m *testing.M, functions ...string) { os.Exit(Run(m, functions...)) }

// Run is Main that answers the exit code: for a TestMain that has more to do.
func Run(m *testing.M, functions ...string) int {
	ipc.TrackLeaks()
	startPoller()
	before := descriptors()
	code := m.Run()
	if leaks := settled(before, functions); code == 0 && len(leaks) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: the tests left open:\n%s\n", strings.Join(leaks, "\n"))
		return 1
	}
	return code
}

// startPoller makes the runtime open its epoll and event descriptors, which it keeps for ever.
func startPoller() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	r.Close()
	w.Close()
}

// settled answers what is open and was not before, once that no longer changes for the better.
func settled(before map[string]string, functions []string) (leaks []string) {
	_ = eventually(func() bool {
		leaks = append(ipc.Leaked(), goroutines(functions)...)
		for n, to := range descriptors() {
			if before[n] != to {
				leaks = append(leaks, fmt.Sprintf("descriptor %s: %s", n, to))
			}
		}
		return len(leaks) == 0
	})
	slices.Sort(leaks)
	return leaks
}

// descriptors maps the number of each open descriptor to what it is, such as "socket:[4711]".
func descriptors() map[string]string {
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic(err)
	}
	open := map[string]string{}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err == nil { // else it was the directory, while it was read
			open[filepath.Base(link)] = to
		}
	}
	return open
}

// Descriptors is how many descriptors the process has open.
func Descriptors() int { return len(descriptors()) }

// NoGoroutine fails the test when, after a grace, a goroutine is still in one of functions.
func NoGoroutine(tb testing.TB, functions ...string) {
	tb.Helper()
	var left []string
	if !eventually(func() bool { left = goroutines(functions); return len(left) == 0 }) {
		tb.Errorf("still running:\n%s", strings.Join(left, "\n\n"))
	}
}

// goroutines answers the stacks of those that are in one of functions.
func goroutines(functions []string) (in []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if slices.ContainsFunc(functions, func(f string) bool { return strings.Contains(stack, f+"(") }) {
			in = append(in, stack)
		}
	}
	return in
}

// eventually asks until the answer is true or the grace is over. It asks again and again because neither a closed
// descriptor nor an ended goroutine is an event that anything could wait for.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(grace); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
