package host_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

const mebibyte = 1 << 20

// limited is listen with limits for the guests.
func limited(limits abi.Limits) func(*master.Settings) {
	return func(s *master.Settings) {
		listen(s)
		s.Limits = limits
	}
}

// servers are the ways in which a guest that has many connections at once waits for them.
func servers(t *testing.T) []struct{ name, module string } {
	return []struct{ name, module string }{
		{"C on the host's own wait", hosttest.Guest(t, "guests/hello-c/hello.wasm")},
		{"C with poll", hosttest.Guest(t, "guests/poll-c/poll.wasm")},
		{"Go with net/http", hosttest.GoGuest(t, "guests/hello-go")},
	}
}

func TestAGuestThatDiesOfItsMemoryLimit(t *testing.T) {
	c := start(t, guest(t, "oom"), 1, limited(abi.Limits{Memory: 16 * mebibyte}))
	exit := c.await(master.EventExit, 1).Exit
	if exit.Code != 1 || exit.Signal != 0 || exit.Suicide {
		t.Errorf("%v, suicide %v; want exit code 1 by accident", exit, exit.Suicide)
	}
	f := exit.Fault
	if f == nil || f.Reason != abi.FaultLimit || f.Text != "memory limit: more than 16 MiB was refused, then: unreachable" ||
		!strings.Contains(f.Stack, "_start") {
		t.Errorf("fault %+v", f)
	}
}

func TestAModuleLargerThanItsMemoryLimit(t *testing.T) {
	c := start(t, guest(t, "moody"), 1, limited(abi.Limits{Memory: abi.PageSize}))
	exit := c.await(master.EventExit, 1).Exit
	f := exit.Fault
	if exit.Code != 1 || f == nil || f.Reason != abi.FaultLimit || !strings.HasPrefix(f.Text, "memory limit: the module begins with ") ||
		!strings.HasSuffix(f.Text, " MiB, the limit is 0.0625 MiB; raise --memory") {
		t.Errorf("%v, fault %+v", exit, f)
	}
}

// A guest that was refused memory and lives on is no fault; one that dies of it is replaced, and no client but its own
// notices.
func TestAWorkerThatDiesOfItsMemoryLimitIsReplaced(t *testing.T) {
	c, _ := supervised(t, guest(t, "moody"), supervisor.Policy{Workers: 2}, limited(abi.Limits{Memory: 32 * mebibyte}))
	l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker"}, 4)
	l.reach(t, 100)
	// It takes a MiB at a time, and what it begins with keeps the last one from fitting.
	if got := get(t, c.target(), "/grow"); !strings.Contains(got, "\n31 MiB in worker ") {
		t.Errorf("a guest that takes all it can get answers %q", got)
	}
	l.reach(t, l.answered.Load()+100)
	if n := len(c.Workers()); n != 2 {
		t.Fatalf("%d workers are left of 2", n)
	}
	if _, err := dial(t, c.target()).Write([]byte("GET /oom HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	exit := c.await(master.EventExit, 1).Exit
	if f := exit.Fault; f == nil || f.Reason != abi.FaultLimit || !strings.HasPrefix(f.Text, "memory limit: more than 32 MiB was refused, then: ") {
		t.Errorf("%v, fault %+v", exit, f)
	}
	l.reach(t, l.answered.Load()+100)
	c.await(master.EventListening, 3)
	l.reach(t, l.answered.Load()+100)
	l.finish()
	l.report(t)
}

// ask does a request on a connection that is kept, and answers who served it.
func (k *keepAlive) ask(t *testing.T) string {
	t.Helper()
	k.begin(t, "/")
	return k.answer(t)
}

func (k *keepAlive) begin(t *testing.T, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

func (k *keepAlive) answer(t *testing.T) string {
	t.Helper()
	resp, err := http.ReadResponse(k.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return worker(t, "HTTP/1.1 "+resp.Status+"\r\n\r\n"+string(b))
}

// unanswered fails the test if something has come on the connection.
func (k *keepAlive) unanswered(t *testing.T) {
	t.Helper()
	_ = k.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := k.in.Peek(1); !isTimeout(err) {
		t.Errorf("a connection beyond the limit is served: %v", err)
	}
	_ = k.SetReadDeadline(time.Now().Add(patience))
}

// holding waits until the workers have so many connections, and fails the test if one has more than most.
func (c *cluster) holding(sum, most uint64) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		open := uint64(0)
		for _, w := range c.Workers() {
			n := w.Figures().Connections
			if n > most {
				c.t.Errorf("%v has %d connections, at most %d", w, n, most)
			}
			open += n
		}
		if open == sum {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the workers have %d connections, want %d", open, sum)
		}
	}
}

// When every worker is full, the next connection waits, at no cost, for the first that is closed.
func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	for _, tc := range servers(t) {
		t.Run(tc.name, func(t *testing.T) {
			c := start(t, tc.module, 2, limited(abi.Limits{Connections: 1}))
			c.await(master.EventListening, 2)
			first, second := dial(t, c.target()), dial(t, c.target())
			a, b := first.ask(t), second.ask(t)
			if a == b {
				t.Fatalf("worker %s has both connections", a)
			}
			third := dial(t, c.target())
			third.begin(t, "/")
			idleFor(t, c, idleSpan)
			third.unanswered(t)
			c.holding(2, 1)
			if got := second.ask(t); got != b {
				t.Errorf("a full worker's own client is served by %s, not by %s", got, b)
			}
			first.Close()
			if got := third.answer(t); got != a {
				t.Errorf("worker %s has room, and %s serves", a, got)
			}
			third.Close()
			for range 20 { // one after the other
				if got := worker(t, get(t, c.target(), "/")); got != a {
					t.Errorf("worker %s has room, and %s serves", a, got)
				}
			}
			c.holding(1, 1)
			second.Close()
			c.disconnect()
		})
	}
}

// As many clients as there is room for, and some more that come again and again: all are served, and no worker has more
// than it may.
func TestALoadOnFullWorkers(t *testing.T) {
	for _, tc := range servers(t) {
		t.Run(tc.name, func(t *testing.T) {
			c := start(t, tc.module, 2, limited(abi.Limits{Connections: 4}))
			c.await(master.EventListening, 2)
			l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker"}, 32)
			for n := int64(1); n <= 20; n++ {
				l.reach(t, 100*n)
				for _, w := range c.Workers() {
					if open := w.Figures().Connections; open > 4 {
						t.Fatalf("%v has %d connections, at most 4", w, open)
					}
				}
			}
			l.finish()
			l.report(t)
			c.holding(0, 4)
			idleFor(t, c, idleSpan)
			c.disconnect()
		})
	}
}

// A guest that blocks in accept cannot close what it holds. When one of two such workers ends, the connection that
// waited is its replacement's.
func TestAConnectionThatWaitsIsTheReplacements(t *testing.T) {
	c, _ := supervised(t, guest(t, "moody"), supervisor.Policy{Workers: 2}, limited(abi.Limits{Connections: 1}))
	for n := range uint64(2) {
		dial(t, c.target()).begin(t, "/hold")
		c.holding(n+1, 1)
	}
	third := dial(t, c.target())
	third.begin(t, "/")
	idleFor(t, c, idleSpan)
	third.unanswered(t)
	if err := c.Workers()[0].Process().Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := third.answer(t); got != "3" {
		t.Errorf("worker %s serves", got)
	}
}

// A guest without descriptors serves the connections that it has, does not spin for those that wait, and takes them when
// there is room again.
func TestAGuestWithoutDescriptorsRecovers(t *testing.T) {
	const held = 6
	for _, tc := range servers(t) {
		t.Run(tc.name, func(t *testing.T) {
			// Standard streams, a listener, the inbox of a guest that has one, and fewer connections than there are clients.
			const limit = 3 + 1 + 1 + held/2
			c := start(t, tc.module, 1, limited(abi.Limits{FDs: limit}))
			c.await(master.EventListening, 1)
			var clients []*keepAlive
			for range held {
				k := dial(t, c.target())
				k.begin(t, "/")
				clients = append(clients, k)
			}
			clients[0].answer(t)
			before := ticks(t, c)
			time.Sleep(shortage) // the thing measured is that nothing happens
			if spent := time.Duration(ticks(t, c)-before) * 10 * time.Millisecond; spent > time.Duration(spinning*float64(shortage)) {
				t.Errorf("without descriptors it used %v of CPU in %v", spent, shortage)
			}
			if open := c.Workers()[0].Figures().Connections; open < held/2 || open > held/2+1 {
				t.Errorf("it has %d connections with %d descriptors", open, limit)
			}
			clients[held-1].unanswered(t)
			clients[0].Close()
			for _, k := range clients[1:] { // nothing is lost: each in its turn
				k.answer(t)
				k.Close()
			}
			c.holding(0, held)
			c.disconnect()
		})
	}
}

func TestALimitOfDescriptorsThatIsTooSmallToStart(t *testing.T) {
	for _, tc := range []struct {
		fds  int
		text string // "": it starts
	}{
		{1, "descriptor limit: the guest is given 4 descriptors at its start, the limit is 1; raise --max-fds"},
		{3, "descriptor limit: the guest is given 4 descriptors at its start, the limit is 3; raise --max-fds"},
		{4, ""},
	} {
		c := start(t, guest(t, "moody"), 1, limited(abi.Limits{FDs: tc.fds}))
		if tc.text == "" {
			c.await(master.EventListening, 1)
			continue
		}
		exit := c.await(master.EventExit, 1).Exit
		if f := exit.Fault; exit.Code != 1 || f == nil || f.Reason != abi.FaultLimit || f.Text != tc.text {
			t.Errorf("%v, fault %+v; want %q", exit, f, tc.text)
		}
	}
}
