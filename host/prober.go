package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/host/sandbox"
)

// runProber is the role "probe": it puts on every layer of the sandbox that it can, answers how that went, and ends.
func runProber() int {
	l, err := newLink(channel)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wcluster:", err)
		return 1
	}
	f, err := l.receive()
	if err == nil && f.Kind != abi.KindProbe {
		f.Close()
		err = fmt.Errorf("%w: %v where probe was expected", abi.ErrFrame, f.Kind)
	}
	if err == nil {
		err = l.out.Control(abi.KindProbed, 0, abi.Probed{Layers: sandbox.Probe(ownsNamespace())})
	}
	if err == nil {
		err = l.drainOut(farewell)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wcluster:", err)
		return 1
	}
	return 0
}

// ownsNamespace is whether this process was given a user namespace: then it has the capability to make mounts there, which
// an ordinary process of root has as well, but whoever started it would not want it to use.
func ownsNamespace() bool {
	master, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", unix.Getppid()))
	if err != nil {
		// It may not be read from inside of a namespace, which is an answer too.
		return true
	}
	own, err := os.Readlink("/proc/self/ns/user")
	return err == nil && own != master
}
