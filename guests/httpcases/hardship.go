package httpcases

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// Garbage sends n connections of damaged requests, made from seed. Each has to end, by an answer or without one, and
// after each the server has to serve others as before.
func Garbage(t *testing.T, addr string, seed uint64, n int) {
	b := newBarrier(t, addr)
	cases := Cases()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		sent := garbage(r, cases)
		if err := b.feed(r, sent); err != nil {
			t.Fatalf("seed %d, connection %d, sent %q: %v", seed, i, shorten(string(sent)), err)
		}
	}
}

// garbage is noise, or a few of the table's requests with some bytes changed, dropped or doubled.
func garbage(r *rand.Rand, cases []Case) []byte {
	if r.IntN(10) == 0 {
		noise := make([]byte, r.IntN(2000))
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		return noise
	}
	var g []byte
	for range 1 + r.IntN(3) {
		g = append(g, cases[r.IntN(len(cases))].Request...)
	}
	const special = "\r\n\t :,;0123456789abcdefHTTP/1.\x00\x7f\xff"
	for range r.IntN(6) {
		if len(g) == 0 {
			break
		}
		at := r.IntN(len(g))
		switch r.IntN(3) {
		case 0:
			g[at] = special[r.IntN(len(special))]
		case 1:
			g = append(g[:at], g[at+1:]...)
		case 2:
			end := min(len(g), at+r.IntN(40))
			g = append(g[:end:end], g[at:]...)
		}
	}
	return g
}

// feed sends g in a few writes and waits for the end. How much is answered depends on the damage; that the answers
// are answers does not.
func (b *barrier) feed(r *rand.Rand, g []byte) error {
	conn, err := dial(b.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for len(g) > 0 {
		n := 1 + r.IntN(len(g))
		if _, err := conn.Write(g[:n]); err != nil {
			break // the server has ended it
		}
		g = g[n:]
	}
	conn.CloseWrite() // fails when the server was first
	got, err := io.ReadAll(conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		return fmt.Errorf("no end after %q", shorten(string(got)))
	}
	if len(got) > 0 && !bytes.HasPrefix(got, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("answered %q", shorten(string(got)))
	}
	return b.pass()
}

// SlowReader pipelines more than any socket buffer holds the answers of, and reads none of them until others were
// served meanwhile. Then it gets all.
func SlowReader(t *testing.T, addr string) {
	const requests = 100_000
	b := newBarrier(t, addr)
	conn, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Repeat(get, requests))
		if err == nil {
			err = conn.CloseWrite()
		}
		sent <- err
	}()
	for range 1000 {
		if err := b.pass(); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(got), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat(hello(workerOf(string(got))), requests); string(got) != want {
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
}
