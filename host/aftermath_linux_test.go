package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What there must be after an attack: the same processes, the same listener, the same files.

// adoptOrphans makes this process the parent of processes that workers leave behind (PR_SET_CHILD_SUBREAPER(2const)).
func adoptOrphans(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// awaitChildren waits until the children of this process are those.
func awaitChildren(t *testing.T, want []int) {
	t.Helper()
	var have []int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if have = children(t); slices.Equal(have, want) {
			return
		}
	}
	t.Errorf("this process has children %v, want %v", have, want)
}

// children are the processes whose parent is this one, in order.
func children(t *testing.T) (all []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name is in parentheses and may hold anything; the state and the parent follow.
		after := string(text[strings.LastIndexByte(string(text), ')')+1:])
		if fields := strings.Fields(after); fields[1] == strconv.Itoa(os.Getpid()) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, pid)
		}
	}
	slices.Sort(all)
	return all
}

// listenerState is what workers could have changed of a listening socket of this process.
func listenerState(t *testing.T, target string) string {
	t.Helper()
	fd := ownListener(t, target)
	var state []string
	for _, option := range []struct {
		name       string
		level, opt int
	}{
		{"listens", unix.SOL_SOCKET, unix.SO_ACCEPTCONN},
		{"send buffer", unix.SOL_SOCKET, unix.SO_SNDBUF},
		{"receive buffer", unix.SOL_SOCKET, unix.SO_RCVBUF},
		{"reuse port", unix.SOL_SOCKET, unix.SO_REUSEPORT},
		{"mark", unix.SOL_SOCKET, unix.SO_MARK},
		{"no delay", unix.IPPROTO_TCP, unix.TCP_NODELAY},
		{"defer accept", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
		{"fast open", unix.IPPROTO_TCP, unix.TCP_FASTOPEN},
		{"transparent", unix.IPPROTO_IP, unix.IP_TRANSPARENT},
	} {
		n, err := unix.GetsockoptInt(fd, option.level, option.opt)
		state = append(state, fmt.Sprint(option.name, " ", n, " ", err))
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	state = append(state, fmt.Sprintf("flags %#x %v", flags, err))
	owner, err := unix.FcntlInt(uintptr(fd), unix.F_GETOWN, 0)
	state = append(state, fmt.Sprint("owner ", owner, " ", err))
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	state = append(state, fmt.Sprint("queue of ", info.Sacked)) // of a listener, that is what listen(2) was told
	return strings.Join(state, ", ")
}

// ownListener is the descriptor of this process that listens on an address. It is the cluster's, and only looked at.
func ownListener(t *testing.T, target string) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || listens == 0 {
			continue
		}
		address, err := unix.Getsockname(fd)
		if in4, ok := address.(*unix.SockaddrInet4); err == nil && ok && strings.HasSuffix(target, ":"+strconv.Itoa(in4.Port)) {
			return fd
		}
	}
	t.Fatalf("nothing in this process listens on %s", target)
	return -1
}

// filesIn are the files below a directory, with what a change would show in.
func filesIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprint(path, " ", info.Mode(), " ", info.Size(), " ", info.ModTime()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// evidence is the name of whatever an attack makes, as in host/hostile_files_linux.go.
const evidence = "wcluster-hostile"

// noEvidence looks for what attacks would have made, where they would have.
func noEvidence(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"/", "/code", "/dev/shm", "/dev/mqueue", ".", os.TempDir()} {
		if _, err := os.Lstat(filepath.Join(dir, evidence)); err == nil {
			t.Errorf("there is a file %s in %s", evidence, dir)
		}
	}
}
