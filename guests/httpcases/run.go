// Package httpcases judges an HTTP server from outside: a table of conversations, byte for byte, each of them also
// split between any two bytes. The native server and hello.wasm, under any number of workers, must all pass it.
//
// It is for tests, as net/http/httptest is; the answers are those of guests/hello-c.
package httpcases

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long a server may be silent before the test gives up on it.
const patience = 10 * time.Second

// splitAll is the longest request that is split at every byte. A longer one is split at that many at either end, and
// now and then between.
const splitAll = 300

// Run holds the server at addr to every case. A split is certain to be one only for a single worker: the client knows
// that the first part was read because requests on another connection, sent later, were answered.
func Run(t *testing.T, addr string) {
	b := newBarrier(t, addr)
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { b.run(t, c) })
	}
}

func (b *barrier) run(t *testing.T, c Case) {
	b.try(t, c, c.Request)
	if c.Whole {
		return
	}
	for _, at := range splits(len(c.Request)) {
		b.try(t, c, c.Request[:at], c.Request[at:])
		if t.Failed() {
			t.Fatalf("split at byte %d of %d", at, len(c.Request))
		}
	}
	if len(c.Request) <= splitAll {
		b.try(t, c, strings.Split(c.Request, "")...)
	}
}

func splits(n int) []int {
	var all []int
	for at := 1; at < n; at++ {
		if n <= splitAll || at < splitAll/2 || n-at < splitAll/2 || at%997 == 0 {
			all = append(all, at)
		}
	}
	return all
}

// try sends the parts one after the other and compares all that comes back.
func (b *barrier) try(t *testing.T, c Case, parts ...string) {
	t.Helper()
	got, err := b.exchange(parts, c.Closes)
	if err != nil {
		t.Fatalf("after %q: %v", shorten(got), err)
	}
	var want strings.Builder
	for _, a := range c.Want {
		want.WriteString(a(workerOf(got)))
	}
	if got != want.String() {
		t.Fatalf("got  %q\nwant %q", shorten(got), shorten(want.String()))
	}
}

// exchange returns all that the server answers. If the server is not the one to close, the client closes its side at
// the end, and whatever the server wanted to say has to be said before it follows.
func (b *barrier) exchange(parts []string, serverCloses bool) (string, error) {
	conn, err := dial(b.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	for i, part := range parts {
		if i > 0 {
			if err := b.settle(); err != nil {
				return "", err
			}
		}
		if _, err := io.WriteString(conn, part); err != nil && !serverCloses {
			return "", fmt.Errorf("write part %d: %w", i, err)
		}
	}
	if !serverCloses {
		if err := conn.CloseWrite(); err != nil {
			return "", fmt.Errorf("close write: %w", err)
		}
	}
	got, err := io.ReadAll(conn)
	return string(got), err
}

func dial(addr string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(patience))
}

var workerField = regexp.MustCompile(`X-Worker: (\d+)\r\n`)

// workerOf is the worker's number, as the first answer says it.
func workerOf(answers string) string {
	if m := workerField.FindStringSubmatch(answers); m != nil {
		return m[1]
	}
	return "?"
}

func shorten(s string) string {
	if len(s) <= 600 {
		return s
	}
	return fmt.Sprintf("%s…(%d bytes)…%s", s[:300], len(s), s[len(s)-300:])
}

// A barrier is a connection whose answers prove that the server has been through its event loop.
type barrier struct {
	addr string
	conn *net.TCPConn
}

func newBarrier(t *testing.T, addr string) *barrier {
	t.Helper()
	conn, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &barrier{addr, conn}
}

// settle returns when the server has read all that was sent before. An answer proves that what was ready before its
// question was served at the latest in the same turn of the event loop, but not in which order within it; so it takes
// a turn to be accepted in, one to be read in, and one that proves the other two over.
func (b *barrier) settle() error {
	for range 3 {
		if err := b.pass(); err != nil {
			return err
		}
	}
	return nil
}

// pass asks once and waits for the answer.
func (b *barrier) pass() error {
	if err := b.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(b.conn, get); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	var answer []byte
	buf := make([]byte, 512)
	for !strings.HasSuffix(string(answer), hello(workerOf(string(answer)))) {
		n, err := b.conn.Read(buf)
		if err != nil {
			return fmt.Errorf("barrier: after %q: %w", answer, err)
		}
		answer = append(answer, buf[:n]...)
	}
	return nil
}
