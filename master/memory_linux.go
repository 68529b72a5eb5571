package master

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// A guest's linear memory is bounded by its process, which refuses to let it grow. What else a guest makes its process
// hold, a table of a hundred million entries for one, is not: so the master looks at how much of each worker is in memory,
// everywhere, also where no cgroup could bound it.

const (
	// memoryTick is how often. What a worker can take in that time is what the machine must have to spare.
	memoryTick = 200 * time.Millisecond

	// memorySpare is what a worker may hold beside its guest's memory: the Go runtime, buffers, an inbox of 4 MiB and a
	// message of the largest size in each direction.
	memorySpare = 64 << 20

	// memoryPerByte of the module is its native code, 3.9 times as large, while it is being loaded.
	memoryPerByte = 10
)

// watchMemory starts the goroutine that looks, with the first worker; it ends with the cluster.
func (c *Cluster) watchMemory(moduleBytes int64) {
	limit := c.settingsNow().Limits.Memory
	if limit == 0 {
		return
	}
	c.memory.Do(func() { go c.lookAtMemory(limit, memoryBound(limit, moduleBytes)) })
}

// memoryBound is what a process may hold whose guest may have limit bytes; 0 for no limit.
func memoryBound(limit, moduleBytes int64) int64 {
	if limit == 0 {
		return 0
	}
	return limit + memorySpare + memoryPerByte*moduleBytes
}

func (c *Cluster) lookAtMemory(limit, most int64) {
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.life.Done():
			return
		}
		for _, w := range c.Workers() {
			if held, err := residentBytes(w.process.Pid()); err == nil && held > most {
				w.Abort(abi.FaultLimit, fmt.Sprintf("memory limit: the process holds %d MiB, %d more than the guest's own %d MiB; raise --memory",
					held>>20, (held-limit)>>20, limit>>20))
			}
		}
	}
}

// residentBytes is how much of a process is in memory: the second field of proc_pid_statm(5). A process that is gone, but
// not waited for, has none.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("parse statm %q", text)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}
