package master

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi/ipc"
)

// cgroups is a part of the cgroup v2 tree in which workers get a group each. Only there the kernel shares out CPU time
// (cgroup-v2.rst, "CPU"). It must be delegated to this process: systemd does so with Delegate=yes.
//
//	<own>                    this process's group: no process may stay here once controllers are on below it
//	<own>/wcluster-<pid>     this process
//	<own>/worker-<pid>-<id>  a worker: cpu.max, memory.max, pids.max
type cgroups struct {
	dir    string // <own>
	master string // name of this process's new group
}

const (
	// cpuPeriod is the span in which a worker's share of CPU time is given out, in microseconds: the kernel's default.
	cpuPeriod = 100_000

	// groupThreads bounds a worker's threads where a cgroup can; its own rlimit is lower.
	groupThreads = 256
)

// openCgroups finds the part that is this process's own and makes it ready. The error says what is missing and what to do.
func openCgroups() (*cgroups, error) {
	dir, err := findGroup()
	if err != nil {
		return nil, err
	}
	return delegated(dir, os.Getpid())
}

func findGroup() (string, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	return ownGroup(groups, mounts)
}

// hasCPU answers the controllers of a group, which the one for CPU time is among.
func hasCPU(dir string) ([]string, error) {
	have, err := words(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(have, "cpu") {
		return nil, fmt.Errorf("the cgroup %s has no cpu controller; it must be delegated (systemd: Delegate=cpu memory pids)", dir)
	}
	return have, nil
}

// CanLimitCPU says why Settings.CPU would have no effect for this process, or nil. It changes nothing.
func CanLimitCPU() error {
	dir, err := findGroup()
	if err != nil {
		return err
	}
	if _, err := hasCPU(dir); err != nil {
		return err
	}
	if unix.Access(dir, unix.W_OK) != nil {
		return fmt.Errorf("the cgroup %s is not this user's; it must be delegated (systemd: Delegate=yes)", dir)
	}
	return nil
}

var errNoCgroup = errors.New("no cgroup v2 here; run on a system that uses it, under systemd-run --user --scope -p Delegate=yes for instance")

// ownGroup is the directory of this process's group: where the v2 tree is mounted (proc_pid_mountinfo(5)), and the path in
// it (cgroups(7): the line "0::").
func ownGroup(groups, mounts []byte) (string, error) {
	path := ""
	for line := range bytes.Lines(groups) {
		if p, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			path = string(bytes.TrimSpace(p))
		}
	}
	for line := range bytes.Lines(mounts) {
		before, after, ok := strings.Cut(string(line), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 1 || kind[0] != "cgroup2" {
			continue
		}
		root, at := fields[3], fields[4]
		below, err := filepath.Rel(root, path)
		if path == "" || err != nil || below == ".." || strings.HasPrefix(below, "../") {
			return "", errNoCgroup
		}
		return filepath.Join(at, below), nil
	}
	return "", errNoCgroup
}

// delegated takes over dir, if it may: this process goes to a group of its own below, and the controllers are switched on
// for what is made beside it.
func delegated(dir string, pid int) (*cgroups, error) {
	have, err := hasCPU(dir)
	if err != nil {
		return nil, err
	}
	g := &cgroups{dir: dir, master: fmt.Sprintf("wcluster-%d", pid)}
	own := filepath.Join(dir, g.master)
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("the cgroup %s is not this user's: %w; it must be delegated (systemd: Delegate=yes)", dir, bare(err))
	}
	if err := put(filepath.Join(own, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
		_ = os.Remove(own)
		return nil, fmt.Errorf("move to cgroup %s: %w", own, bare(err))
	}
	for _, controller := range []string{"cpu", "memory", "pids"} {
		if slices.Contains(have, controller) {
			if err := put(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller); err != nil && controller == "cpu" {
				return nil, fmt.Errorf("switch on cpu below cgroup %s: %w; no other process may be in it", dir, bare(err))
			}
		}
	}
	return g, nil
}

func words(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []string
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		all = append(all, strings.Fields(s.Text())...)
	}
	return all, nil
}

func put(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// worker makes a worker's group: cpus is how many CPUs it may use in the mean, memory its bound in bytes or 0. The
// descriptor is for the fork, which puts the process into it.
func (g *cgroups) worker(id uint32, cpus float64, memory int64) (*group, *ipc.FD, error) {
	w := &group{dir: filepath.Join(g.dir, fmt.Sprintf("worker-%s-%d", strings.TrimPrefix(g.master, "wcluster-"), id))}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("make cgroup: %w", err)
	}
	limits := [][2]string{{"cpu.max", fmt.Sprintf("%d %d", int64(cpus*cpuPeriod), cpuPeriod)}, {"pids.max", strconv.Itoa(groupThreads)}}
	if memory > 0 {
		limits = append(limits, [2]string{"memory.max", strconv.FormatInt(memory, 10)})
	}
	for _, l := range limits {
		if err := put(filepath.Join(w.dir, l[0]), l[1]); err != nil && !(errors.Is(err, os.ErrNotExist) && l[0] != "cpu.max") {
			w.remove()
			return nil, nil, fmt.Errorf("limit cgroup: %w", err)
		}
	}
	n, err := unix.Open(w.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		w.remove()
		return nil, nil, &os.PathError{Op: "open", Path: w.dir, Err: err}
	}
	return w, ipc.NewFD(n), nil
}

// group is a worker's cgroup. A nil one is none.
type group struct{ dir string }

// remove takes the group away, once its process is gone.
func (w *group) remove() {
	if w != nil {
		_ = os.Remove(w.dir) // what is left is empty, and goes with the unit that it was delegated to
	}
}

// ranOut is whether the kernel has ended the process because it wanted more memory than memory.max.
func (w *group) ranOut() bool {
	if w == nil {
		return false
	}
	all, err := words(filepath.Join(w.dir, "memory.events"))
	i := slices.Index(all, "oom_kill")
	return err == nil && i >= 0 && i+1 < len(all) && all[i+1] != "0"
}
