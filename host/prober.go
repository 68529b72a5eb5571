package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/host/sandbox"
)

// runProber is the role "probe": it puts on every layer of the sandbox that it can, answers how that went, and ends.
func runProber() int {
	return errand(abi.KindProbe, abi.KindProbed, func(ipc.Frame) (any, error) {
		return abi.Probed{Layers: sandbox.Probe(ownsNamespace())}, nil
	})
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
