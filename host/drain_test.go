package host_test

import (
	"os"
	"testing"
	"time"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// TestNoRequestFailsWhenTheClusterDisconnects ends clusters under load. WCLUSTER_SOAK makes it many.
func TestNoRequestFailsWhenTheClusterDisconnects(t *testing.T) {
	rounds := 2
	if os.Getenv("WCLUSTER_SOAK") != "" {
		rounds = 20
	}
	cases := []struct {
		name, module, path, body string
		keep                     bool
	}{
		{"an aware guest and clients that keep their connections", "guests/hello-c/hello.wasm", "/", "hello from worker", true},
		{"an aware guest and a connection per request", "guests/hello-c/hello.wasm", "/", "hello from worker", false},
		{"an unaware guest and a connection per request", "", "/", "hello from worker", false},
		{"an unaware guest that pauses in the middle of its answer", "", "/slow", "", false},
		{"an ordinary C program with a blocking accept", "guests/accept-c/accept.wasm", "/", "hello from worker", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for range rounds {
				module := tc.module
				if module == "" {
					module = hosttest.GoGuest(t, "guests/hello-go")
				} else {
					module = hosttest.Guest(t, module)
				}
				c := start(t, module, 2, listen)
				c.await(master.EventListening, 2)
				l := startLoad(&load{target: c.target(), path: tc.path, body: tc.body, keep: tc.keep}, 16)
				l.reach(t, 32)
				c.disconnect()
				l.finish()
				l.report(t)
				for n := range 2 {
					if exit := c.await(master.EventExit, n+1).Exit; exit.Code != 0 || exit.Cut != 0 {
						t.Errorf("worker ended with %v, %d connections cut", exit, exit.Cut)
					}
				}
				c.Close()
			}
		})
	}
}

// TestBusyKeepAliveClientIsLetGo has clients that never pause and a server that cannot know: each is let go at a quiet
// moment in the second half of the graceful timeout.
func TestBusyKeepAliveClientIsLetGo(t *testing.T) {
	const graceful = 4 * time.Second
	c := start(t, hosttest.GoGuest(t, "guests/hello-go"), 2, func(s *master.Settings) {
		listen(s)
		s.GracefulTimeout = graceful
	})
	c.await(master.EventListening, 2)
	l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", keep: true}, 4)
	l.reach(t, 100)
	began := time.Now()
	c.disconnect()
	took := time.Since(began)
	l.finish()
	if took > graceful+time.Second {
		t.Errorf("disconnect took %v with a graceful timeout of %v", took, graceful)
	}
	t.Logf("disconnected after %v; %d requests answered, %d cut short", took, l.answered.Load(), len(l.failed))
}

// TestMessagesOfALeavingGuestArrive has a guest with more to say than the channel takes, because handlers are slow, when
// it is told to leave.
func TestMessagesOfALeavingGuestArrive(t *testing.T) {
	c := start(t, hosttest.Guest(t, "guests/count-c/count.wasm"), 1, listen)
	c.await(master.EventListening, 1)
	hold := make(chan struct{})
	c.Once(master.EventMessage, func(master.Event) { <-hold })
	l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", keep: true}, 4)
	// The channel, the master's queue for this worker and the worker's outbox hold 4 MiB each at the most; a message and
	// its header are 35 bytes.
	const enough = 3 * (4 << 20) / 35
	l.reach(t, enough*5/4)
	gone := make(chan struct{})
	c.Disconnect(func() { close(gone) })
	l.finish()
	l.report(t)
	close(hold)
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the worker did not leave")
	}
	c.await(master.EventMessage, int(l.answered.Load()))
}
