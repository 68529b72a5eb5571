package host_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// trace is everything that a worker's handlers and its cluster's are told of it, each event a line: who was told, the
// event with its arguments, and what the worker says of itself meanwhile: its state, whether it is in Workers, and
// whether its suicide is set and to what.
type trace struct {
	*cluster
	worker *master.Worker

	lock  sync.Mutex
	lines []string
}

// traceOf forks a worker whose every event is traced. The handlers are attached before the first can come.
func traceOf(t *testing.T, c *cluster) *trace {
	t.Helper()
	tr := &trace{cluster: c}
	forked := make(chan error)
	c.Do(func() {
		w, err := c.Fork()
		tr.worker = w
		for kind := master.EventFork; err == nil && kind <= master.EventDeath; kind++ {
			w.On(kind, func(e master.Event) { tr.note("worker", e) })
			off := c.On(kind, func(e master.Event) { tr.note("cluster", e) })
			t.Cleanup(off)
		}
		forked <- err
	})
	if err := <-forked; err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *trace) note(who string, e master.Event) {
	if e.Worker != tr.worker {
		return
	}
	what := e.Kind.String()
	switch e.Kind {
	case master.EventListening:
		what += fmt.Sprintf("(%s, %s)", e.Address.Address, e.Address.AddressType)
	case master.EventMessage:
		what += fmt.Sprintf("(%q)", e.Message)
	case master.EventExit, master.EventDeath:
		what += fmt.Sprintf("(%d, %v)", e.Exit.Code, signalOf(e.Exit))
	}
	member := "gone"
	if tr.cluster.Worker(e.Worker.ID()) == e.Worker {
		member = "in"
	}
	flag := "unset"
	if suicide, isSet := e.Worker.Suicide(); isSet {
		flag = fmt.Sprint(suicide)
	}
	tr.line(who, what, e.Worker.State().String(), member, flag)
}

func (tr *trace) line(words ...string) {
	tr.lock.Lock()
	defer tr.lock.Unlock()
	tr.lines = append(tr.lines, strings.Join(words, " "))
}

func signalOf(e *master.Exit) string {
	switch e.Signal {
	case 0:
		return "none"
	case syscall.SIGKILL:
		return "SIGKILL"
	case syscall.SIGTERM:
		return "SIGTERM"
	}
	return e.Signal.String()
}

// told waits for an event of the worker to have been told to everybody.
func (tr *trace) told(kind master.EventKind) {
	tr.t.Helper()
	tr.until(fmt.Sprintf("%v of %v", kind, tr.worker), func() bool {
		for _, e := range tr.events {
			if e.Kind == kind && e.Worker == tr.worker {
				return true
			}
		}
		return false
	})
	handled := make(chan struct{})
	tr.Do(func() { close(handled) }) // tr.events is the first handler's: here the last has returned
	<-handled
}

// spelled is a golden trace, each line of which stands for two: the worker's handlers, and just after them the
// cluster's. A line that begins with "=" stands for itself.
func spelled(golden string) (lines []string) {
	for line := range strings.Lines(strings.TrimSpace(golden)) {
		line = strings.Join(strings.Fields(line), " ")
		if own, ok := strings.CutPrefix(line, "= "); ok {
			lines = append(lines, own)
			continue
		}
		lines = append(lines, "worker "+line, "cluster "+line)
	}
	return lines
}

// order makes a guest that obeys do what a word says.
func order(word string) func(*trace) {
	return func(tr *trace) {
		tr.told(master.EventOnline)
		if err := tr.worker.Send([]byte(word)); err != nil {
			tr.t.Error(err)
		}
	}
}

// serving waits until the worker listens, and does what it says.
func serving(act func(*trace)) func(*trace) {
	return func(tr *trace) {
		tr.told(master.EventListening)
		act(tr)
	}
}

// held is serving, with a connection that keeps a worker from leaving by itself.
func held(act func(*trace)) func(*trace) {
	return serving(func(tr *trace) {
		k := dial(tr.t, tr.target())
		k.begin(tr.t, "/hold")
		tr.holding(1, 1)
		act(tr)
	})
}

// lives are the ways of a worker's life: the rows of the table in docs/api.md.
var lives = []struct {
	name, guest string
	act         func(*trace)
	want        string
}{
	{
		"the guest exits 42", "obey", order("exit 42"), `
		fork                        forked         in    unset
		online                      online         in    unset
		disconnect                  disconnected   in    false
		exit(42, none)              dead           gone  false
		death(42, none)             dead           gone  false`,
	},
	{
		"the guest exits while it listens", "moody", serving(func(tr *trace) { dial(tr.t, tr.target()).begin(tr.t, "/exit") }), `
		fork                        forked         in    unset
		online                      online         in    unset
		listening(127.0.0.1, tcp4)  listening      in    unset
		disconnect                  disconnected   in    false
		exit(7, none)               dead           gone  false
		death(7, none)              dead           gone  false`,
	},
	{
		"the guest traps", "obey", order("trap"), `
		fork                        forked         in    unset
		online                      online         in    unset
		disconnect                  disconnected   in    false
		exit(1, none)               dead           gone  false
		death(1, none)              dead           gone  false`,
	},
	{
		"SIGKILL from outside", "moody", serving(func(tr *trace) { syscall.Kill(tr.worker.Process().Pid(), syscall.SIGKILL) }), `
		fork                        forked         in    unset
		online                      online         in    unset
		listening(127.0.0.1, tcp4)  listening      in    unset
		disconnect                  disconnected   in    false
		exit(-1, SIGKILL)           dead           gone  false
		death(-1, SIGKILL)          dead           gone  false`,
	},
	{
		"the master's destroy", "moody", serving(func(tr *trace) { tr.worker.Destroy() }), `
		fork                        forked         in    unset
		online                      online         in    unset
		listening(127.0.0.1, tcp4)  listening      in    unset
		disconnect                  disconnected   in    true
		exit(-1, SIGTERM)           dead           gone  true
		death(-1, SIGTERM)          dead           gone  true`,
	},
	{
		"the master's disconnect", "moody", serving(func(tr *trace) { tr.worker.Disconnect() }), `
		fork                        forked         in    unset
		online                      online         in    unset
		listening(127.0.0.1, tcp4)  listening      in    unset
		disconnecting               disconnecting  in    true
		disconnect                  disconnected   in    true
		exit(0, none)               dead           gone  true
		death(0, none)              dead           gone  true`,
	},
	{
		"the master's disconnect, then its destroy", "moody", held(func(tr *trace) {
			tr.worker.Disconnect()
			tr.told(master.EventDisconnecting)
			tr.worker.Destroy()
		}), `
		fork                        forked         in    unset
		online                      online         in    unset
		listening(127.0.0.1, tcp4)  listening      in    unset
		disconnecting               disconnecting  in    true
		disconnect                  disconnected   in    true
		exit(-1, SIGTERM)           dead           gone  true
		death(-1, SIGTERM)          dead           gone  true`,
	},
	{
		"the guest's own disconnect", "obey", order("disconnect"), `
		fork                        forked         in    unset
		online                      online         in    unset
		disconnecting               disconnecting  in    true
		disconnect                  disconnected   in    true
		exit(0, none)               dead           gone  true
		death(0, none)              dead           gone  true`,
	},
	{
		"the guest's own destroy", "obey", order("destroy"), `
		fork                        forked         in    unset
		online                      online         in    unset
		disconnecting               disconnecting  in    true
		disconnect                  disconnected   in    true
		exit(0, none)               dead           gone  true
		death(0, none)              dead           gone  true`,
	},
	{
		"the cluster's disconnect", "moody", serving(func(tr *trace) {
			done := make(chan struct{})
			tr.Disconnect(func() { tr.line("done"); close(done) })
			<-done
		}), `
		fork                        forked         in    unset
		online                      online         in    unset
		listening(127.0.0.1, tcp4)  listening      in    unset
		disconnecting               disconnecting  in    true
		disconnect                  disconnected   in    true
		exit(0, none)               dead           gone  true
		death(0, none)              dead           gone  true
		= done`,
	},
}

// TestTraceOfALife holds every way of a worker's life to its exact events, with real workers, again and again.
// WCLUSTER_SOAK makes it many times.
func TestTraceOfALife(t *testing.T) {
	runs := 3
	if soaking() {
		runs = 200
	}
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			var change func(*master.Settings)
			if life.guest == "moody" {
				change = listen
			}
			for range runs {
				c := start(t, guest(t, life.guest), 0, change)
				tr := traceOf(t, c)
				life.act(tr)
				tr.told(master.EventDeath)
				tr.lock.Lock()
				got := strings.Join(tr.lines, "\n")
				tr.lock.Unlock()
				if want := strings.Join(spelled(life.want), "\n"); got != want {
					t.Fatalf("events:\n%s\nwant:\n%s", got, want)
				}
				if len(c.Workers()) != 0 || !tr.worker.IsDead() || tr.worker.IsConnected() {
					t.Errorf("%v is not gone", tr.worker)
				}
				c.Close()
				<-c.Done()
			}
		})
	}
}

// TestTraceOfAFailedFork: whoever cannot fork is told so by Fork's answer, and by no event.
func TestTraceOfAFailedFork(t *testing.T) {
	cases := []struct {
		name   string
		change func(t *testing.T, s *master.Settings)
	}{
		{"no such host", func(t *testing.T, s *master.Settings) { s.Host = filepath.Join(t.TempDir(), "none") }},
		{"no such module", func(t *testing.T, s *master.Settings) { s.Exec = filepath.Join(t.TempDir(), "none.wasm") }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := &cluster{Cluster: master.New(), t: t}
			c.cond = sync.NewCond(&c.mu)
			for kind := master.EventSetup; kind <= master.EventDeath; kind++ {
				c.On(kind, c.note)
			}
			s := master.Settings{
				Exec: guest(t, "obey"), Host: hosttest.Binary(t), CacheDir: hosttest.CacheDir(t), Sandbox: hosttest.Sandbox(),
			}
			tc.change(t, &s)
			if err := c.SetupMaster(s); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if w, err := c.Fork(); w != nil || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("fork: %v, %v", w, err)
				}
			}
			if _, err := c.Prepare(context.Background(), nil); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("prepare: %v", err)
			}
			if len(c.Workers()) != 0 {
				t.Errorf("workers %v", c.Workers())
			}
			c.Close()
			<-c.Done()
			if len(c.events) != 1 || c.events[0].Kind != master.EventSetup {
				t.Errorf("events %v, want setup alone", c.told())
			}
		})
	}
}
