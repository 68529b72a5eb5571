package host_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

func TestExitTellsHowTheGuestEnded(t *testing.T) {
	cases := []struct {
		guest string
		code  int
		text  string   // part of the fault's text; "" for no fault
		stack []string // functions that the Wasm stack names
	}{
		{guest: "exit42", code: 42},
		{guest: "trap", code: 1, text: "unreachable", stack: []string{"_start"}},
		{guest: "oom", code: 1, text: "unreachable"},
		{guest: "env", code: 0},
	}
	for _, tc := range cases {
		t.Run(tc.guest, func(t *testing.T) {
			c := start(t, guest(t, tc.guest), 1, nil)
			exit := c.await(master.EventDeath, 1).Exit
			if exit.Code != tc.code || exit.Signal != 0 || exit.Suicide {
				t.Errorf("%v, suicide %v; want exit code %d by accident", exit, exit.Suicide, tc.code)
			}
			if (exit.Fault != nil) != (tc.text != "") {
				t.Fatalf("fault %+v, want %q", exit.Fault, tc.text)
			}
			if exit.Fault == nil {
				return
			}
			if exit.Fault.Reason != abi.FaultTrap || !strings.Contains(exit.Fault.Text, tc.text) {
				t.Errorf("fault %+v, want a trap with %q", exit.Fault, tc.text)
			}
			for _, name := range tc.stack {
				if !strings.Contains(exit.Fault.Stack, name) {
					t.Errorf("the Wasm stack does not name %s:\n%s", name, exit.Fault.Stack)
				}
			}
		})
	}
}

func guest(t *testing.T, name string) string {
	return hosttest.Guest(t, "testdata/guests/"+name+"/"+name+".wasm")
}

func TestGuestSeesItsArgumentsAndEnvironmentAlone(t *testing.T) {
	t.Setenv("SECRET_OF_THE_USER", "1")
	c := start(t, guest(t, "env"), 0, func(s *master.Settings) {
		s.Args, s.Env = []string{"--flag", "two words"}, []string{"GREETING=hello"}
	})
	if _, err := c.Fork("EXTRA=one"); err != nil {
		t.Fatal(err)
	}
	c.await(master.EventDeath, 1)
	for _, want := range []string{"env.wasm", "--flag", "two words", "GREETING=hello", "EXTRA=one", "WCLUSTER_WORKER_ID=1", "NODE_WORKER_ID=1"} {
		if !slices.ContainsFunc(c.output, func(l string) bool { return strings.Contains(l, want) }) {
			t.Errorf("the guest was not given %q: %q", want, c.output)
		}
	}
	if strings.Contains(strings.Join(c.output, " "), "SECRET") {
		t.Errorf("the guest sees the user's environment: %q", c.output)
	}
}

func TestMessagesGoBothWaysInOrder(t *testing.T) {
	for _, name := range []string{"echo-messages", "callback"} {
		t.Run(name, func(t *testing.T) {
			c := start(t, guest(t, name), 1, nil)
			w := c.await(master.EventOnline, 1).Worker
			const n = 500
			for i := range n {
				if err := w.Send(fmt.Appendf(nil, "message %d", i)); err != nil {
					t.Fatal(err)
				}
			}
			c.await(master.EventMessage, n)
			i := 0
			for _, e := range c.events {
				if e.Kind != master.EventMessage {
					continue
				}
				if want := fmt.Sprintf("echo:message %d", i); string(e.Message) != want {
					t.Fatalf("message %d is %q, want %q", i, e.Message, want)
				}
				i++
			}
			c.disconnect()
			if exit := c.await(master.EventExit, 1).Exit; exit.Code != 0 || !exit.Suicide {
				t.Errorf("after disconnect: %v, suicide %v", exit, exit.Suicide)
			}
		})
	}
}

func TestLargeMessageArrivesWhole(t *testing.T) {
	c := start(t, guest(t, "echo-messages"), 1, nil)
	w := c.await(master.EventOnline, 1).Worker
	body := bytes.Repeat([]byte("0123456789abcdef"), (abi.DefaultMaxMessage-16)/16)
	if err := w.Send(body); err != nil {
		t.Fatal(err)
	}
	got := c.await(master.EventMessage, 1).Message
	if !bytes.Equal(got, append([]byte("echo:"), body...)) {
		t.Errorf("%d bytes came back of %d", len(got), len(body))
	}
	if err := w.Send(make([]byte, abi.DefaultMaxMessage+1)); err == nil {
		t.Error("a message above the bound was taken")
	}
}

func TestListenOnPortZeroGivesEveryWorkerTheSamePorts(t *testing.T) {
	c := start(t, guest(t, "listen0"), 2, nil)
	c.await(master.EventMessage, 4)
	ports := func(id uint32) (list []string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, e := range c.events {
			if e.Kind == master.EventMessage && e.Worker.ID() == id {
				list = append(list, string(e.Message))
			}
		}
		return list
	}
	first := ports(1)
	if !slices.Equal(first, ports(2)) || first[0] == first[1] {
		t.Fatalf("worker 1 listens on %v, worker 2 on %v", first, ports(2))
	}
	// A worker that comes later finds them too.
	if _, err := c.Fork(); err != nil {
		t.Fatal(err)
	}
	c.await(master.EventMessage, 6)
	if !slices.Equal(first, ports(3)) {
		t.Errorf("worker 3 listens on %v, the others on %v", ports(3), first)
	}
	if got := c.await(master.EventListening, 1); !strings.Contains(first[0]+first[1], fmt.Sprint(got.Address.Port)) {
		t.Errorf("listening says %v, the guests %v", got.Address, first)
	}
	conn := dial(t, strings.TrimPrefix(first[0], "tcp://"))
	if b, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(b), "w") {
		t.Errorf("answer %q: %v", b, err)
	}
	c.disconnect()
}

func TestEventsComeInOrderEachOnce(t *testing.T) {
	c := start(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), 1, listen)
	c.await(master.EventListening, 1)
	c.disconnect()
	c.await(master.EventDeath, 1)
	var got []string
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		got = append(got, e.Kind.String())
	}
	want := []string{"setup", "fork", "online", "listening", "disconnecting", "disconnect", "exit", "death"}
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestWorkerThatNeverReadsItsInboxStillLeaves(t *testing.T) {
	c := start(t, guest(t, "hog"), 1, nil)
	w := c.await(master.EventOnline, 1).Worker
	sent := 0
	for w.Send(make([]byte, 64<<10)) == nil {
		if sent++; sent > 10*abi.InboxWindow/(64<<10) {
			t.Fatal("what is sent to a guest that takes nothing has no bound")
		}
	}
	began := time.Now()
	c.disconnect()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("disconnect took %v", took)
	}
}

// The guest's own disconnect and its own destroy look alike to the master; what was sent before either arrives.
func TestAGuestEndsByItsOwnWish(t *testing.T) {
	for _, word := range []string{"disconnect", "destroy"} {
		t.Run(word, func(t *testing.T) {
			c := start(t, guest(t, "obey"), 1, nil)
			w := c.await(master.EventOnline, 1).Worker
			for _, m := range []string{"last words", word} {
				if err := w.Send([]byte(m)); err != nil {
					t.Fatal(err)
				}
			}
			exit := c.await(master.EventDeath, 1).Exit
			if exit.Code != 0 || exit.Signal != 0 || exit.Fault != nil || !exit.Suicide || exit.Cut != 0 {
				t.Errorf("%v, suicide %v, %d cut; want exit code 0 by its own wish", exit, exit.Suicide, exit.Cut)
			}
			got := c.kinds(w)
			want := []master.EventKind{
				master.EventFork, master.EventOnline, master.EventMessage, master.EventDisconnecting,
				master.EventDisconnect, master.EventExit, master.EventDeath,
			}
			if !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		})
	}
}

// kinds are the events of w so far.
func (c *cluster) kinds(w *master.Worker) (kinds []master.EventKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Worker == w {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}
