package master

import (
	"fmt"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// blame says why the kernel has ended a worker, where the master can know it: it set the limit. nil: it cannot.
//
// The kernel holds RLIMIT_CPU against ticks, each of which counts whole for whoever runs when it comes (account_process_tick),
// and answers waitid with what was really used. On a machine that others use as well the second is less, by a
// lot: half of the limit, and a SIGKILL, are taken for it.
func (w *Worker) blame(s status) *Fault {
	limit := w.cluster.settingsNow().CPUTime
	switch {
	case w.suicide:
		return nil // it was this program that sent the signal
	case s.signal == syscall.SIGKILL && limit > 0 && s.cpu >= limit/2:
		return &Fault{Reason: abi.FaultLimit, Text: fmt.Sprintf("cpu-time limit: it has used %v of CPU, at most %v; raise --cpu-time", s.cpu.Round(time.Millisecond), limit)}
	case s.signal == syscall.SIGKILL && w.group.ranOut():
		return &Fault{Reason: abi.FaultLimit, Text: fmt.Sprintf("memory limit: the process needed more than its cgroup has for a guest of %d MiB; raise --memory", w.cluster.settingsNow().Limits.Memory>>20)}
	case s.signal == syscall.SIGSYS && w.sandbox.has(abi.LayerSeccomp):
		return &Fault{Reason: abi.FaultSandbox, Text: "did what the sandbox does not forgive: no honest guest gets there; --sandbox=log would name the call in the kernel's log"}
	default:
		return nil
	}
}
