package host_test

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/internal/leaktest"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// What Node's cluster gets wrong, and what happens here. docs/api.md lists all of it, with the tests that are elsewhere.

// A connection that Node has handed to a worker that is stuck and then killed hangs for ever.
func TestNodeDefectAKilledStuckWorkerLeaksAConnection(t *testing.T) {
	const clients = 8
	c := start(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), 2, listen)
	c.await(master.EventListening, 2)
	worker(t, get(t, c.target(), "/"))
	before := leaktest.Descriptors()
	stuck, other := c.Workers()[0], c.Workers()[1]
	if err := stuck.Process().Kill(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ask := func() (all []*keepAlive) {
		for range clients {
			k := dial(t, c.target())
			k.begin(t, "/")
			all = append(all, k)
		}
		return all
	}
	asked := ask()
	if err := stuck.Process().Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	asked = append(asked, ask()...)
	for i, k := range asked {
		if got := k.answer(t); got != fmt.Sprint(other.ID()) {
			t.Errorf("client %d is served by worker %s", i, got)
		}
		k.Close()
	}
	c.await(master.EventDeath, 1)
	for end := time.Now().Add(patience); leaktest.Descriptors() >= before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // the dead worker's own must be closed, and nothing else open
			t.Fatalf("%d descriptors before the worker's end, %d after", before, leaktest.Descriptors())
		}
	}
}

// When every worker has as many connections as it may, Node's primary offers the next one round for ever.
func TestNodeDefectFullWorkersSpinTheMaster(t *testing.T) {
	const span, most = time.Second, 0.05
	c := start(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), 2, limited(abi.Limits{Connections: 1}))
	c.await(master.EventListening, 2)
	first, second := dial(t, c.target()), dial(t, c.target())
	first.ask(t)
	second.ask(t)
	var waiting []*keepAlive
	for range 3 {
		k := dial(t, c.target())
		k.begin(t, "/")
		waiting = append(waiting, k)
	}
	before := ownCPU(t)
	idleFor(t, c, span)
	if spent := ownCPU(t) - before; spent > time.Duration(most*float64(span)) {
		t.Errorf("the master used %v of CPU in %v", spent, span)
	}
	first.Close()
	for _, k := range waiting {
		k.answer(t)
		k.Close()
	}
}

// A worker of Node may name any descriptor of its primary and is given it.
func TestNodeDefectAWorkerNamesTheMastersDescriptors(t *testing.T) {
	ours, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	raw, err := ours.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		t.Fatal(err)
	}
	hello := hosttest.Guest(t, "guests/hello-c/hello.wasm")
	for _, n := range []int{fd, 0, 1, 2, 3, 1 << 20} {
		c := start(t, hello, 1, func(s *master.Settings) { s.Args = []string{fmt.Sprintf("fd:%d", n)} })
		if exit := c.await(master.EventDeath, 1).Exit; exit.Code == 0 || exit.Signal != 0 || exit.Fault != nil {
			t.Errorf("fd:%d: %v, want the guest's own exit", n, exit)
		}
		if c.count(master.EventListening) > 0 {
			t.Errorf("fd:%d was given", n)
		}
	}
	// One that the settings list is given, and shared.
	c := start(t, hello, 2, func(s *master.Settings) {
		s.Args, s.FDs = []string{fmt.Sprintf("fd:%d", fd)}, []int{fd}
	})
	for n := range 2 {
		if a := c.await(master.EventListening, n+1).Address; a.Fd != fd || a.String() != ours.Addr().String() {
			t.Errorf("listening says %v, descriptor %d", a, a.Fd)
		}
	}
	worker(t, get(t, ours.Addr().String(), "/"))
	c.disconnect()
}

// While every worker is stuck, Node's primary accepts; at the kill those connections are reset or hang.
func TestNodeDefectTheMasterAcceptsWhileEveryWorkerIsStuck(t *testing.T) {
	const workers, clients = 2, 20
	c, _ := supervised(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), supervisor.Policy{Workers: workers}, listen)
	stuck := c.Workers()
	for _, w := range stuck {
		if err := w.Process().Kill(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	before := leaktest.Descriptors()
	var asked []*keepAlive
	for range clients {
		k := dial(t, c.target())
		k.begin(t, "/")
		asked = append(asked, k)
	}
	asked[0].unanswered(t)
	time.Sleep(idleSpan) // the thing measured is that nothing happens
	if n := leaktest.Descriptors() - before; n != clients {
		t.Errorf("%d descriptors more, want the %d clients' own", n, clients)
	}
	for _, w := range stuck {
		if err := w.Process().Kill(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for i, k := range asked {
		if id := k.answer(t); id != "3" && id != "4" {
			t.Errorf("client %d is served by worker %s, want a replacement", i, id)
		}
		k.Close()
	}
}
