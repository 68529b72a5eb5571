package master

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

func tcp(port uint16) abi.Address { return abi.Address{Network: "tcp", Host: "127.0.0.1", Port: port} }

func listenOn(all ...abi.Address) func(*Settings) {
	return func(s *Settings) {
		for _, a := range all {
			s.Listen = append(s.Listen, Listener{Address: a})
		}
	}
}

// visit connects and answers what the worker says: its id.
func visit(t testing.TB, a abi.Address) string {
	t.Helper()
	network, where := "tcp", net.JoinHostPort(a.Host, fmt.Sprint(a.Port))
	if a.Network == "unix" {
		network, where = "unix", a.Path
	}
	conn, err := net.DialTimeout(network, where, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestALifeIsToldInOrder(t *testing.T) {
	c, r := recorded(t, "good", listenOn(tcp(0)))
	var w *Worker
	var err error
	forked := make(chan struct{})
	c.Do(func() {
		defer close(forked)
		if w, err = c.Fork(); err == nil {
			r.follow(w)
			if w.State() != StateForked || !w.IsConnected() || w.IsDead() || c.Worker(w.ID()) != w {
				t.Errorf("after Fork: %v", w.State())
			}
		}
	})
	<-forked
	if err != nil {
		t.Fatal(err)
	}
	// Membership and state change in step with the events.
	check := func(kind EventKind, want State, member bool) {
		w.On(kind, func(e Event) {
			if e.Worker.State() != want || (c.Worker(e.Worker.ID()) == e.Worker) != member {
				t.Errorf("at %v: state %v, in Workers %t", kind, e.Worker.State(), c.Worker(e.Worker.ID()) != nil)
			}
		})
	}
	check(EventOnline, StateOnline, true)
	check(EventListening, StateListening, true)
	check(EventDisconnecting, StateDisconnecting, true)
	check(EventDisconnect, StateDisconnected, true)
	check(EventExit, StateDead, false)
	check(EventDeath, StateDead, false)
	r.of(t, w, EventListening)
	if _, isSet := w.Suicide(); isSet {
		t.Error("suicide is set in a living worker")
	}
	w.Disconnect()
	w.Disconnect()
	if suicide, isSet := w.Suicide(); !suicide || !isSet {
		t.Error("suicide is not set at once")
	}
	r.event(t, EventDeath, 1)
	want := []string{
		"cluster setup",
		"worker fork", "cluster fork",
		"worker online", "cluster online",
		"worker listening tcp4", "cluster listening tcp4",
		"worker disconnecting", "cluster disconnecting",
		"worker disconnect", "cluster disconnect",
		"worker exit 0 0 true", "cluster exit 0 0 true",
		"worker death 0 0 true", "cluster death 0 0 true",
	}
	if got := r.lines(); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if w.IsConnected() || !w.IsDead() || w.Process().ExitCode() != 0 || w.Process().Signal() != 0 {
		t.Error("a dead worker does not say so")
	}
	if err := w.Send(nil); !errors.Is(err, ErrDisconnected) {
		t.Errorf("send to the dead: %v", err)
	}
	if err := w.Process().Kill(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill the dead: %v", err)
	}
	w.Disconnect()
	w.Destroy()
	w.Abort(FaultStuck, "")
}

// The table of DESIGN.md, section 6.
func TestEveryWayToEnd(t *testing.T) {
	tests := []struct {
		name    string
		act     func(t *testing.T, w *Worker)
		code    int
		signal  syscall.Signal
		suicide bool
		fault   abi.FaultReason
	}{
		{"the guest exits", func(t *testing.T, w *Worker) { send(t, w, "exit 42") }, 42, 0, false, ""},
		{"the guest traps", func(t *testing.T, w *Worker) { send(t, w, "trap") }, 1, 0, false, abi.FaultTrap},
		{"killed from outside", func(t *testing.T, w *Worker) { syscall.Kill(w.Process().Pid(), syscall.SIGKILL) }, -1, syscall.SIGKILL, false, ""},
		{"Process.Kill", func(t *testing.T, w *Worker) { w.Process().Kill(syscall.SIGTERM) }, -1, syscall.SIGTERM, false, ""},
		{"Destroy", func(t *testing.T, w *Worker) { w.Destroy() }, -1, syscall.SIGTERM, true, ""},
		{"Disconnect", func(t *testing.T, w *Worker) { w.Disconnect() }, 0, 0, true, ""},
		{"the guest's own disconnect", func(t *testing.T, w *Worker) { send(t, w, "leave 0") }, 0, 0, true, ""},
		{"Abort", func(t *testing.T, w *Worker) { w.Abort(FaultStuck, "stuck: a test") }, -1, syscall.SIGKILL, false, FaultStuck},
	}
	c := cluster(t, "good")
	r := record(c)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := fork(t, c)
			r.of(t, w, EventOnline)
			tt.act(t, w)
			e := r.of(t, w, EventExit).Exit
			if e.Code != tt.code || e.Signal != tt.signal || e.Suicide != tt.suicide || e.Duration <= 0 {
				t.Errorf("exit %+v", e)
			}
			if (e.Fault == nil) != (tt.fault == "") || e.Fault != nil && e.Fault.Reason != tt.fault {
				t.Errorf("fault %+v, want reason %q", e.Fault, tt.fault)
			}
			if tt.fault == abi.FaultTrap && (e.Fault.Text != "unreachable" || e.Fault.Stack != "main\n_start") {
				t.Errorf("fault %+v", e.Fault)
			}
			if suicide, isSet := w.Suicide(); suicide != tt.suicide || !isSet {
				t.Errorf("suicide %t, set %t", suicide, isSet)
			}
			if r.of(t, w, EventDeath).Exit != e {
				t.Error("death tells another exit")
			}
			if len(c.Workers()) != 0 {
				t.Error("a dead worker is in Workers")
			}
		})
	}
}

func TestDisconnectThenDestroyEndsBySignal(t *testing.T) {
	c := cluster(t, "ignores-disconnect")
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventOnline)
	w.Disconnect()
	w.Destroy()
	if e := r.of(t, w, EventExit).Exit; e.Signal != syscall.SIGTERM || !e.Suicide {
		t.Errorf("exit %+v", e)
	}
}

func TestDestroyOfAWorkerThatIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	c := parallelCluster(t, "ignores-term")
	r := record(c)
	w := fork(t, c)
	r.said(t, w, "ready")
	w.Destroy()
	e := r.of(t, w, EventExit).Exit
	if e.Signal != syscall.SIGKILL || !e.Suicide || e.Duration < killGrace {
		t.Errorf("exit %+v", e)
	}
}

func TestAWorkerThatDoesNotLeaveIsKilled(t *testing.T) {
	t.Parallel()
	c := parallelCluster(t, "ignores-disconnect", func(s *Settings) { s.GracefulTimeout = time.Millisecond })
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventOnline)
	w.Disconnect()
	e := r.of(t, w, EventExit).Exit
	if e.Signal != syscall.SIGKILL || !e.Suicide || e.Fault == nil || e.Fault.Reason != FaultOverdue {
		t.Errorf("exit %+v", e)
	}
}

func TestDisconnectBeforeOnlineWaitsForIt(t *testing.T) {
	c := cluster(t, "good")
	r := record(c)
	w := fork(t, c)
	w.Disconnect()
	e := r.of(t, w, EventExit).Exit
	if e.Code != 0 || !e.Suicide {
		t.Errorf("exit %+v", e)
	}
	for _, line := range r.lines() {
		if line == "cluster online" {
			t.Error("online was told after disconnecting")
		}
	}
}

func TestCutConnectionsAreCounted(t *testing.T) {
	c := cluster(t, "good")
	r := record(c)
	w := fork(t, c)
	send(t, w, "leave 7")
	if e := r.of(t, w, EventExit).Exit; e.Cut != 7 || !e.Suicide {
		t.Errorf("exit %+v", e)
	}
}

func TestGuestArgumentsAndEnvironment(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0), tcp(0)), func(s *Settings) {
		s.Args = []string{"--use", "https"}
		s.Env = []string{"A=1", "B=2", "NODE_WORKER_ID=99"}
		s.Listen[1].Name = "admin"
	})
	r := record(c)
	w := fork(t, c, "B=3", "C=4")
	send(t, w, "args")
	if got := r.said(t, w, "good.wasm"); got != "good.wasm\n--use\nhttps" {
		t.Errorf("args %q", got)
	}
	send(t, w, "env")
	want := "A=1\nB=3\nNODE_WORKER_ID=1\nC=4\nWCLUSTER_WORKER_ID=1\nLISTEN_FDS=2\nLISTEN_FDNAMES=listen0:admin"
	if got := r.said(t, w, "A=1"); got != want {
		t.Errorf("env %q, want %q", got, want)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.Process().Pid()))
	if err != nil || string(environ) != "WCLUSTER_ROLE=worker\x00GOMAXPROCS=2\x00" {
		t.Errorf("environment of the process: %q, %v", environ, err)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", w.Process().Pid()))
	if err != nil || string(cmdline) != "wcluster: worker 1 (good.wasm)\x00" {
		t.Errorf("command line of the process: %q, %v", cmdline, err)
	}
	if group, err := syscall.Getpgid(w.Process().Pid()); err != nil || group != w.Process().Pid() {
		t.Errorf("process group %d, %v", group, err)
	}
	for _, bad := range []string{"", "A", "=1", "A=\x00"} {
		if _, err := c.Fork(bad); err == nil {
			t.Errorf("fork with environment entry %q", bad)
		}
	}
	if _, err := c.Fork("BIG=" + strings.Repeat("x", abi.MaxControl)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("fork with a huge environment: %v", err)
	}
	if len(c.Workers()) != 1 {
		t.Errorf("workers %v", c.Workers())
	}
}

func TestAFailingSpawnEmitsNothing(t *testing.T) {
	c := cluster(t, "good")
	if _, err := c.Prepare(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	c.settingsNow().Host = "/nonexistent/wcluster"
	r := record(c)
	before := openFDs()
	for range 10 {
		if _, err := c.Fork(); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("fork: %v", err)
		}
	}
	if after := openFDs(); after > before {
		t.Errorf("descriptors: %d before, %d after", before, after)
	}
	if len(c.Workers()) != 0 || slices.Contains(r.lines(), "cluster fork") {
		t.Error("a failed fork was told")
	}
}

// TestForkAndKillLeavesNothingBehind kills a hundred workers, one after the other; WCLUSTER_SOAK makes it a thousand.
func TestForkAndKillLeavesNothingBehind(t *testing.T) {
	const warmUp, most = 10, 512 << 10 // bytes that the heap may grow by: a thousand cycles were seen to add 40 kB
	cycles := 100
	switch {
	case os.Getenv("WCLUSTER_SOAK") != "":
		cycles = 1000
	case testing.Short():
		cycles = 20
	}
	c := cluster(t, "good", listenOn(tcp(0)))
	exits := make(chan *Worker, 1)
	c.On(EventListening, func(e Event) { e.Worker.Process().Kill(syscall.SIGKILL) })
	c.On(EventExit, func(e Event) { exits <- e.Worker })
	cycle := func() {
		fork(t, c)
		w := <-exits
		<-w.closed
	}
	for range warmUp {
		cycle()
	}
	fds, goroutines, heap := openFDs(), runtime.NumGoroutine(), heapInUse()
	for range cycles {
		cycle()
	}
	if !eventually(func() bool { return openFDs() <= fds && runtime.NumGoroutine() <= goroutines }) {
		t.Errorf("descriptors %d → %d, goroutines %d → %d", fds, openFDs(), goroutines, runtime.NumGoroutine())
	}
	if !eventually(func() bool { return len(childrenOf(t, os.Getpid())) == 0 }) {
		t.Errorf("children left, zombies among them: %v", childrenOf(t, os.Getpid()))
	}
	if after := heapInUse(); after > heap+most {
		t.Errorf("the heap has grown from %d to %d bytes in %d cycles", heap, after, cycles)
	}
}

// heapInUse is the size of what is reachable.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and cleanups held in the first one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func childrenOf(t testing.TB, pid int) []string {
	t.Helper()
	var all []string
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err == nil {
			all = append(all, strings.Fields(string(text))...)
		}
	}
	return all
}
