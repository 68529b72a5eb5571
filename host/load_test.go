package host_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is a number of clients that ask as fast as they are answered, and keep account of each request: it was answered
// right and whole, or refused before it was sent, or it failed.
type load struct {
	target, path, body string
	keep               bool // keep the connection for the next request
	again              bool // go on when a connection could not be made

	stop     atomic.Bool
	wg       sync.WaitGroup
	answered atomic.Int64
	refused  atomic.Int64
	unmade   atomic.Int64 // connections; also counted as refused

	mu      sync.Mutex
	failed  []failure
	slowest time.Duration // of the answers since the last call of pace
}

// failure is a request that was sent and not answered.
type failure struct {
	worker string // who had answered before on this connection; "": nobody
	err    error
}

func (f failure) String() string {
	if f.worker == "" {
		return fmt.Sprintf("the first request of a connection: %v", f.err)
	}
	return fmt.Sprintf("a later request of a connection to worker %s: %v", f.worker, f.err)
}

// dialPatience bounds an attempt to connect: the master drops new connections when it ends, and then nobody answers.
const dialPatience = 300 * time.Millisecond

func startLoad(l *load, clients int) *load {
	for range clients {
		l.wg.Go(l.client)
	}
	return l
}

// reach waits until n requests have been answered.
func (l *load) reach(t *testing.T, n int64) {
	t.Helper()
	const limit = 4 * patience // some tests want hundreds of thousands
	for deadline := time.Now().Add(limit); l.answered.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests answered in %v, and %d were awaited", l.answered.Load(), limit, n)
		}
	}
}

// finish stops the clients after their current request.
func (l *load) finish() {
	l.stop.Store(true)
	l.wg.Wait()
}

func (l *load) client() {
	for !l.stop.Load() {
		conn, err := net.DialTimeout("tcp", l.target, dialPatience)
		if err != nil {
			l.refused.Add(1)
			l.unmade.Add(1)
			if l.again {
				continue
			}
			return
		}
		l.converse(conn)
		conn.Close()
	}
}

// converse asks on one connection until it is to be closed.
func (l *load) converse(conn net.Conn) {
	in := bufio.NewReader(conn)
	worker := ""
	for first := true; !l.stop.Load(); first = false {
		if !first {
			// An answer that does not say "close" promises that the next request will be read, unless the end came
			// before it is sent: then it has been refused.
			if ended(conn) {
				l.refused.Add(1)
				return
			}
		}
		began := time.Now()
		body, more, err := l.ask(conn, in)
		if err != nil {
			l.mu.Lock()
			l.failed = append(l.failed, failure{worker, err})
			l.mu.Unlock()
			return
		}
		l.answer(time.Since(began))
		_, worker, _ = strings.Cut(strings.TrimSpace(body), "worker ")
		if !more {
			return
		}
	}
}

// ended says whether the server has closed the connection, without waiting.
func ended(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Microsecond))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	n, err := conn.Read(make([]byte, 1))
	return n > 0 || err != nil && !isTimeout(err)
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func (l *load) answer(took time.Duration) {
	l.answered.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
}

// pace answers how long the slowest answer since the last call took.
func (l *load) pace() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.slowest
	l.slowest = 0
	return took
}

// failures answers those since the last call.
func (l *load) failures() []failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.failed
	l.failed = nil
	return all
}

func (l *load) ask(conn net.Conn, in *bufio.Reader) (body string, more bool, err error) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	connection := ""
	if !l.keep {
		connection = "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\n%s\r\n", l.path, connection); err != nil {
		return "", false, err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", false, err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(b), l.body) {
		return "", false, fmt.Errorf("status %d, body %q", resp.StatusCode, b)
	}
	return string(b), l.keep && !resp.Close, nil
}

// report fails the test for each request that failed.
func (l *load) report(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failed) > 0 {
		t.Errorf("%d of %d requests failed (%d refused before they were sent); the first: %v", len(l.failed),
			l.answered.Load()+int64(len(l.failed)), l.refused.Load(), l.failed[0])
	}
	if l.answered.Load() == 0 {
		t.Error("no request was answered at all")
	}
}
