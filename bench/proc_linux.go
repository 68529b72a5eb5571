package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc: USER_HZ is 100 on every Linux, whatever the kernel's own clock (proc(5), stat).
const tick = 10 * time.Millisecond

// processStat is what is read of /proc/PID/stat.
type processStat struct {
	pid, parent int
	name        string
	state       byte
}

// parseProcessStat reads "PID (NAME) STATE PPID …". The name is whatever the process chose, spaces and parentheses
// included: it ends at the last parenthesis.
func parseProcessStat(line string) (processStat, error) {
	id, rest, ok := strings.Cut(line, " (")
	end := strings.LastIndex(rest, ") ")
	if !ok || end < 0 {
		return processStat{}, fmt.Errorf("read process status %q: no name in parentheses", line)
	}
	pid, err := strconv.Atoi(id)
	fields := strings.Fields(rest[end+2:])
	if err != nil || len(fields) < 2 || len(fields[0]) != 1 {
		return processStat{}, fmt.Errorf("read process status %q: not PID (NAME) STATE PPID", line)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return processStat{}, fmt.Errorf("read parent in process status: %w", err)
	}
	return processStat{pid: pid, parent: parent, name: rest[:end], state: fields[0][0]}, nil
}

// processes lists what runs now. Processes that end meanwhile are left out.
func processes() ([]processStat, error) {
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w; /proc must be mounted", err)
	}
	var all []processStat
	for _, e := range dir {
		if e.Name()[0] < '0' || e.Name()[0] > '9' {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		p, err := parseProcessStat(string(line))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// descendants lists the children of pid, their children and so on, those that wait to be reaped included.
func descendants(pid int) ([]processStat, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var found []processStat
	for parents := []int{pid}; len(parents) > 0; parents = parents[1:] {
		for _, p := range all {
			if p.parent == parents[0] {
				found = append(found, p)
				parents = append(parents, p.pid)
			}
		}
	}
	return found, nil
}

// pids of processes, sorted.
func pids(list []processStat) []int {
	var ids []int
	for _, p := range list {
		ids = append(ids, p.pid)
	}
	slices.Sort(ids)
	return ids
}

// cpuTime is what a process has used, in user mode and in the kernel, with threads that have ended. It is read from the
// process's CPU clock, to the nanosecond; /proc/PID/stat has ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	// clock_getcpuclockid(3): the complement of the pid, three bits of flags; 2 is CPUCLOCK_SCHED of a whole process.
	clock := int32(^pid)<<3 | 2
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, os.NewSyscallError("clock_gettime", err))
	}
	return time.Duration(t.Nano()), nil
}

// cpuTimes is cpuTime of all of them.
func cpuTimes(ids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range ids {
		t, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// memory of a process, in bytes.
type memory struct {
	Pid int   `json:"pid"`
	RSS int64 `json:"rss"`
	PSS int64 `json:"pss,omitempty"` // 0: the kernel does not tell us
}

// memoryOf reads RSS, which is open to all, and PSS, which a process may keep to itself.
func memoryOf(pid int) (memory, error) {
	m := memory{Pid: pid}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil {
		m.RSS, err = parseKilobytes(status, "VmRSS")
	}
	if err != nil {
		return m, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		m.PSS, err = parseKilobytes(rollup, "Pss")
	}
	if err != nil {
		return m, fmt.Errorf("read shares of memory of process %d: %w", pid, err)
	}
	return m, nil
}

// memories is memoryOf each of them.
func memories(ids []int) ([]memory, error) {
	var all []memory
	for _, pid := range ids {
		m, err := memoryOf(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// parseKilobytes finds the line "Key:   123 kB", as /proc/PID/status and smaps_rollup have it, and answers bytes.
func parseKilobytes(text []byte, key string) (int64, error) {
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) != 3 || f[0] != key+":" || f[2] != "kB" {
			continue
		}
		kb, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", key, err)
		}
		return kb * 1024, nil
	}
	return 0, fmt.Errorf("read %s: no such line", key)
}

// machineBusy is the CPU time that all processes, interrupts and other virtual machines have taken from this one.
func machineBusy() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read CPU time of the machine: %w", err)
	}
	return parseMachineBusy(string(stat))
}

// parseMachineBusy reads "cpu  user nice system idle iowait irq softirq steal guest guest_nice". The last two are in
// user and nice already.
func parseMachineBusy(stat string) (time.Duration, error) {
	const idle, iowait, steal = 4, 5, 8
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) <= steal || f[0] != "cpu" {
		return 0, fmt.Errorf("read CPU time of the machine: %q is no line of cpu", line)
	}
	var sum time.Duration
	for i := 1; i <= steal; i++ {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time of the machine: %w", err)
		}
		if i != idle && i != iowait {
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// sockets counts the descriptors of a process that are sockets.
func sockets(pid int) (int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("count sockets of process %d: %w", pid, err)
	}
	n := 0
	for _, e := range list {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n, nil
}
