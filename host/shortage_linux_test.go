package host_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// shortage is how long what runs out of descriptors is watched, and spinning the share of a CPU that it must not use.
const (
	shortage = time.Second
	spinning = 0.05
)

// A worker without descriptors serves the connections that it has, does not spin for those that wait, and takes them when
// there is room again.
func TestAWorkerWithoutDescriptorsRecovers(t *testing.T) {
	const held = 8
	for _, tc := range []struct{ name, module string }{
		{"C on the host's own wait", hosttest.Guest(t, "guests/hello-c/hello.wasm")},
		{"C with poll", hosttest.Guest(t, "guests/poll-c/poll.wasm")},
		{"Go with net/http", hosttest.GoGuest(t, "guests/hello-go")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := start(t, tc.module, 1, listen)
			c.await(master.EventListening, 1)
			worker(t, get(t, c.target(), "/"))
			pid := c.Workers()[0].Process().Pid()
			// Fewer than the clients below: some connections are accepted and some wait.
			room := uint64(highestDescriptor(t, pid) + 1 + held/2)
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: room, Max: room}, nil); err != nil {
				t.Fatal(err)
			}
			var clients []*keepAlive
			for range held {
				clients = append(clients, dial(t, c.target()))
			}
			rests(t, "the worker", func() time.Duration { return time.Duration(ticks(t, c)) * 10 * time.Millisecond })
			for _, k := range clients {
				k.Close()
			}
			if got := worker(t, get(t, c.target(), "/")); got != "1" {
				t.Errorf("worker %s answered", got)
			}
			c.disconnect()
		})
	}
}

// A master without descriptors cannot replace a worker: it says so, tries again at leisure, and does it when there is
// room again. Whoever is left serves meanwhile.
func TestAMasterWithoutDescriptorsRecovers(t *testing.T) {
	c := start(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), 0, listen)
	notes := make(chan supervisor.Note, 100)
	s, err := supervisor.New(c.Cluster, supervisor.Policy{Workers: 2}, func(n supervisor.Note) { notes <- n })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(); s.Wait() })
	c.await(master.EventListening, 2)
	client := dial(t, c.target())

	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	if err := c.Workers()[0].Process().Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for n := range notes {
		if n.Kind == supervisor.NoteForkError {
			if text := n.String(); !strings.Contains(text, "too many open files") || !strings.Contains(text, "trying again in") {
				t.Errorf("note %q", text)
			}
			break
		}
	}
	rests(t, "the master", func() time.Duration { return ownCPU(t) })
	if left := len(c.Workers()); left != 1 {
		t.Fatalf("%d workers are left", left)
	}
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	c.await(master.EventListening, 3)
}

// highestDescriptor is the largest number of an open descriptor of a process.
func highestDescriptor(t *testing.T, pid int) (highest int) {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			highest = max(highest, n)
		}
	}
	return highest
}

// rests asserts that what is short of descriptors does not spin. One that does spins every time; what other tests have left
// to be done shows once.
func rests(t *testing.T, who string, used func() time.Duration) {
	t.Helper()
	const looks = 3
	least := shortage
	for range looks {
		before := used()
		time.Sleep(shortage) // the thing measured is that nothing happens
		if least = min(least, used()-before); least <= time.Duration(spinning*float64(shortage)) {
			return
		}
	}
	t.Errorf("without descriptors %s used %v of CPU in %v, the least of %d times", who, least, shortage, looks)
}

// ownCPU is what this process has used.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
