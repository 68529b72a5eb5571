package host_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// These tests run real workers: the host binary, real guests, and package master above them.

// patience is how long a test waits for what must come; only a failing test waits so long.
const patience = 20 * time.Second

func TestMain(m *testing.M) { hosttest.Main(m) }

// cluster is a master whose events are kept in order.
type cluster struct {
	*master.Cluster
	t *testing.T

	mu     sync.Mutex
	cond   *sync.Cond
	events []master.Event
	output []string
}

// start forks n workers of module and waits for nothing. change may adjust the settings.
func start(t *testing.T, module string, n int, change func(*master.Settings)) *cluster {
	t.Helper()
	c := &cluster{Cluster: master.New(), t: t}
	c.cond = sync.NewCond(&c.mu)
	t.Cleanup(c.Close)
	for kind := master.EventSetup; kind <= master.EventDeath; kind++ {
		c.On(kind, c.note)
	}
	s := master.Settings{
		Exec: module, Host: hosttest.Binary(t), CacheDir: hosttest.CacheDir(t),
		GracefulTimeout: 10 * time.Second,
		Sandbox:         hosttest.Sandbox(),
		Output:          c.noteOutput,
	}
	if change != nil {
		change(&s)
	}
	if err := c.SetupMaster(s); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prepare(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := c.Fork(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) note(e master.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	c.cond.Broadcast()
}

func (c *cluster) noteOutput(l master.OutputLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.output = append(c.output, string(l.Text))
	c.cond.Broadcast()
}

// until waits until ok, which is called with the lock held, answers true.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	timer := time.AfterFunc(patience, c.cond.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patience)
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: did not come within %v; events: %v; output: %q", what, patience, c.told(), c.output)
		}
		c.cond.Wait()
	}
}

func (c *cluster) told() (list []string) {
	for _, e := range c.events {
		line := fmt.Sprint(e.Kind, " ", e.Worker)
		if e.Exit != nil {
			line += " " + e.Exit.String()
		}
		list = append(list, line)
	}
	return list
}

// await waits for the n-th event of a kind, counted from 1, and answers it.
func (c *cluster) await(kind master.EventKind, n int) (found master.Event) {
	c.t.Helper()
	c.until(fmt.Sprintf("event %v number %d", kind, n), func() bool {
		seen := 0
		for _, e := range c.events {
			if e.Kind == kind {
				if seen++; seen == n {
					found = e
					return true
				}
			}
		}
		return false
	})
	return found
}

// disconnect disconnects all and waits until every worker is gone.
func (c *cluster) disconnect() {
	c.t.Helper()
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	select {
	case <-done:
	case <-time.After(patience):
		c.t.Fatalf("disconnect: workers are left after %v: %v", patience, c.Workers())
	}
}

// listen is a preopened listener on a port of the system's choice.
func listen(s *master.Settings) {
	s.Listen = []master.Listener{{Name: "http", Address: abi.Address{Network: "tcp", Host: "127.0.0.1"}}}
}

// target is where the first preopened listener is.
func (c *cluster) target() string {
	a := c.Listeners()[0]
	return net.JoinHostPort(a.Host, fmt.Sprint(a.Port))
}

// get does one request on a connection of its own and answers the whole response.
func get(t *testing.T, address, path string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", path)
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("read response: %v after %q", err, b)
	}
	return string(b)
}

// worker finds "hello from worker N" in a response.
func worker(t *testing.T, response string) string {
	t.Helper()
	_, rest, ok := strings.Cut(response, "hello from worker ")
	if !ok || !strings.HasPrefix(response, "HTTP/1.1 200") && !strings.HasPrefix(response, "HTTP/1.0 200") {
		t.Fatalf("unexpected response: %q", response)
	}
	id, _, _ := strings.Cut(rest, "\n")
	return id
}

// keepAlive is a client that keeps its connection.
type keepAlive struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, address string) *keepAlive {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &keepAlive{conn, bufio.NewReader(conn)}
}
