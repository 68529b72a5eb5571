package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// These tests look at workers from outside, with the kernel's eyes.

// TestEveryThreadIsLockedDown: those that a worker starts with, those that the runtime makes under load, and those that a
// guest makes.
func TestEveryThreadIsLockedDown(t *testing.T) {
	hosttest.AsEachUser(t, hostileParts, func(t *testing.T) {
		c := hostile(t, 2, nil)
		c.Do(func() {
			if _, err := c.Fork(c.orders(manyThreads)...); err != nil {
				t.Error(err)
			}
		})
		many := c.await(master.EventOnline, 3).Worker
		if err := many.Send([]byte("begin")); err != nil {
			t.Fatal(err)
		}
		if said := string(c.await(master.EventMessage, 1).Message); said != "clone: 40 threads" {
			t.Fatalf("the worker that makes threads says %q", said)
		}
		l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", again: true}, 2)
		for n := range 5 {
			l.reach(t, int64(100*n))
			for _, w := range c.Workers() {
				seen := lookAtThreads(t, w.Process().Pid())
				if least := 40; w == many && seen < least {
					t.Errorf("%v has %d threads, and made %d", w, seen, least)
				}
			}
		}
		l.finish()
		l.report(t)
	})
}

// lookAtThreads looks at each thread of a process and answers how many there are.
func lookAtThreads(t *testing.T, pid int) (n int) {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(all) == 0 {
		t.Fatalf("find the threads of %d: %v", pid, err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		have := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			have[key] = strings.TrimSpace(value)
		}
		for key, want := range map[string]string{
			"Seccomp": "2", "Seccomp_filters": "2", "NoNewPrivs": "1",
			"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
		} {
			if have[key] != want {
				t.Errorf("%s has %s %q, want %q", path, key, have[key], want)
			}
		}
	}
	return n
}

// TestWhatIsInsideTheSandbox: a worker has an empty root with its code, no descriptor that it does not need, no memory that
// is writable and executable, and namespaces of its own.
func TestWhatIsInsideTheSandbox(t *testing.T) {
	hosttest.AsEachUser(t, hostileParts, func(t *testing.T) {
		c := hostile(t, 2, nil)
		l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", again: true}, 2)
		l.reach(t, 200)
		l.finish() // what is open from here on is no connection
		l.report(t)
		listener := linkOf(t, "self", ownListener(t, c.target()))
		namespaces := map[string]int{}
		for _, pid := range c.pids() {
			lookAtRoot(t, pid)
			lookAtMounts(t, pid)
			lookAtDescriptors(t, pid, listener)
			lookAtMemory(t, pid)
			for _, kind := range []string{"user", "net", "mnt", "ipc", "uts", "cgroup"} {
				name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
				ours, ourErr := os.Readlink("/proc/self/ns/" + kind)
				if err != nil || ourErr != nil || name == ours || namespaces[name] != 0 {
					t.Errorf("process %d is in %s (%v), this one in %s (%v), and process %d as well", pid, name, err, ours, ourErr, namespaces[name])
				}
				namespaces[name] = pid
			}
		}
	})
}

func lookAtRoot(t *testing.T, pid int) {
	t.Helper()
	root := fmt.Sprintf("/proc/%d/root", pid)
	all, err := os.ReadDir(root)
	if err != nil || len(all) != 1 || all[0].Name() != "code" {
		t.Errorf("the root of process %d holds %v (%v), want code alone", pid, all, err)
	}
	// Not even who owns it all may write: the mounts are read-only.
	for _, dir := range []string{root, root + "/code"} {
		if err := os.WriteFile(dir+"/"+evidence, nil, 0o600); !errors.Is(err, syscall.EROFS) {
			t.Errorf("write to %s: %v, want %v", dir, err, syscall.EROFS)
		}
	}
	for _, link := range []string{"root", "cwd"} {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link)); err != nil || to != "/" {
			t.Errorf("the %s of process %d is %s (%v)", link, pid, to, err)
		}
	}
}

// lookAtMounts wants two: the root and the code.
func lookAtMounts(t *testing.T, pid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line) // proc_pid_mountinfo(5): the fifth is the mount point, the sixth are its options
		points = append(points, fields[4])
		for _, option := range []string{"ro", "nosuid", "nodev", "noexec"} {
			if !slices.Contains(strings.Split(fields[5], ","), option) {
				t.Errorf("process %d has %s mounted %s, without %s", pid, fields[4], fields[5], option)
			}
		}
	}
	if slices.Sort(points); !slices.Equal(points, []string{"/", "/code"}) {
		t.Errorf("process %d has mounts %q", pid, points)
	}
}

// lookAtDescriptors waits until what is left of the load is closed.
func lookAtDescriptors(t *testing.T, pid int, listener string) {
	t.Helper()
	var have []string
	want := []string{
		"/dev/null", "an epoll instance", "an epoll instance", "an eventfd", "pipe", "pipe", "the channel", "the listener",
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if have = descriptors(t, pid, listener); slices.Equal(have, want) {
			return
		}
	}
	t.Errorf("process %d has %q, want %q", pid, have, want)
}

// descriptors are those of a process, in words, in order.
func descriptors(t *testing.T, pid int, listener string) (have []string) {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, entry.Name()))
		kind, _, _ := strings.Cut(to, ":[")
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue // closed meanwhile
		case err != nil:
			t.Fatal(err)
		case to == listener:
			to = "the listener"
		case entry.Name() == "3" && kind == "socket":
			to = "the channel"
		case kind == "pipe":
			to = kind
		case to == "anon_inode:[eventpoll]":
			to = "an epoll instance"
		case to == "anon_inode:[eventfd]":
			to = "an eventfd"
		}
		have = append(have, to)
	}
	slices.Sort(have)
	return have
}

// linkOf is what a descriptor of a process is, such as socket:[4711].
func linkOf(t *testing.T, process string, fd int) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%s/fd/%d", process, fd))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// lookAtMemory wants no page that can be written and executed (proc_pid_maps(5)).
func lookAtMemory(t *testing.T, pid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil || len(text) == 0 {
		t.Fatalf("read the map of process %d: %v", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if rights := strings.Fields(line)[1]; strings.Contains(rights, "w") && strings.Contains(rights, "x") {
			t.Errorf("process %d has a page to write and execute: %s", pid, line)
		}
	}
}

// TestTheCompilerIsLockedDown looks at the process that compiles while it does: it has been handed the module by then.
func TestTheCompilerIsLockedDown(t *testing.T) {
	c := master.New()
	t.Cleanup(c.Close)
	err := c.SetupMaster(master.Settings{
		Exec: hosttest.GoGuest(t, "guests/hello-go"), Host: hosttest.Binary(t), CacheDir: t.TempDir(), Sandbox: abi.SandboxStrict,
	})
	if err != nil {
		t.Fatal(err)
	}
	prepared := make(chan error, 1)
	go func() {
		_, err := c.Prepare(t.Context(), nil)
		prepared <- err
	}()
	for {
		select {
		case err := <-prepared:
			var prepare *master.PrepareError
			if errors.As(err, &prepare) && prepare.Op == master.StepSandbox {
				t.Skip(err)
			}
			t.Fatalf("the module was compiled (%v), and nobody was seen to be locked down meanwhile", err)
		case <-time.After(time.Millisecond):
		}
		if pid := compiler(); pid != 0 && lockedDown(pid) {
			break
		}
	}
	if err := <-prepared; err != nil {
		t.Error(err)
	}
}

// compiler is the child of this process that compiles, or 0.
func compiler() int {
	all, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range all {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			name, _ := os.ReadFile("/proc/" + word + "/cmdline")
			if pid, err := strconv.Atoi(word); err == nil && strings.HasPrefix(string(name), "wcluster: compile ") {
				return pid
			}
		}
	}
	return 0
}

// lockedDown is whether every thread has a filter, no privileges to gain and no capability.
func lockedDown(pid int) bool {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		for _, line := range []string{"\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n", "\nCapEff:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n"} {
			if !strings.Contains(string(text), line) {
				return false
			}
		}
	}
	return len(all) > 0
}
