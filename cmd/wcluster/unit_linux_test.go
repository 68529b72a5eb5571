package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/leaktest"
	"github.com/wcluster/wcluster/master"
)

func TestListeners(t *testing.T) {
	for _, c := range []struct{ spec, name, address string }{
		{"tcp://:80", "", "tcp://:80"},
		{"http=tcp://:80", "http", "tcp://:80"},
		{"a_B-9=unix:///run/x.sock", "a_B-9", "unix:///run/x.sock"},
		{"unix:///run/a=b.sock", "", "unix:///run/a=b.sock"},
		{"x=unix://@a=b", "x", "unix://@a=b"},
		{"fd:3", "", "fd:3"},
		{"s=fd:3", "s", "fd:3"},
	} {
		var l listeners
		if err := l.Set(c.spec); err != nil || l[0].Name != c.name || l[0].Address.String() != c.address {
			t.Errorf("%q: %v, %v", c.spec, l, err)
		}
	}
	for _, spec := range []string{"", "=tcp://:80", "a.b=tcp://:80", "http=", "http=:80"} {
		var l listeners
		if err := l.Set(spec); err == nil {
			t.Errorf("%q: %v", spec, l)
		}
	}
	var many listeners
	for range abi.MaxPreopens {
		if err := many.Set(anyPort); err != nil {
			t.Fatal(err)
		}
	}
	if err := many.Set(anyPort); err == nil {
		t.Error("there is no bound")
	}
}

func TestEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, ünïcode": "plain text, ünïcode",
		"two\nlines":          `two\nlines`,
		"\x1b[2Jcleared":      `\x1b[2Jcleared`,
		"quote \" backslash":  `quote " backslash`,
	} {
		if got := oneLine(in); got != want {
			t.Errorf("oneLine(%q) is %q, want %q", in, got, want)
		}
		if got := escaped([]byte(in)); got != want {
			t.Errorf("escaped(%q) is %q, want %q", in, got, want)
		}
	}
	if got, want := oneLine("\x9b2J"), "\uFFFD2J"; got != want {
		t.Errorf("oneLine is %q, want %q", got, want)
	}
	if got, want := escaped([]byte("\xff\x00 \\n")), `\xff\x00 \\n`; got != want {
		t.Errorf("escaped is %q, want %q", got, want)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 14_200: "14 kB", 9_100_000: "9.1 MB", 4 << 30: "4.3 GB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	prepare := func(op master.Step, reason abi.Reason, err error) error {
		return fmt.Errorf("wrapped: %w", &master.PrepareError{Op: op, Reason: reason, Err: err})
	}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{context.Canceled, 0},
		{prepare(master.StepCompile, "", context.Canceled), 0},
		{usage(errors.New("x")), 2},
		{prepare(master.StepCompile, abi.ReasonComponent, errors.New("x")), 65},
		{prepare(master.StepCompile, abi.ReasonInternal, errors.New("x")), 70},
		{prepare(master.StepCompile, "", errors.New("x")), 70},
		{prepare(master.StepCompile, "", syscall.ENOSPC), 71},
		{prepare(master.StepRead, "", fs.ErrNotExist), 66},
		{prepare(master.StepRead, "", syscall.EACCES), 77},
		{prepare(master.StepListen, "", syscall.EADDRINUSE), 69},
		{prepare(master.StepListen, "", syscall.EACCES), 77},
		{prepare(master.StepListen, "", syscall.EMFILE), 71},
		{os.NewSyscallError("fork", syscall.EAGAIN), 71},
		{errors.New("x"), 70},
		{&exitError{42, errSaid}, 42},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

// TestExitText: a stack is bounded, and nothing in it can move a terminal's cursor.
func TestExitText(t *testing.T) {
	code := 1
	x := exitRecord{Code: &code, Fault: "un\nreachable", Cut: 2, Stack: strings.Repeat("f()\n", 99) + "\x1b[2J"}
	lines := strings.Split(x.text(), "\n")
	if lines[0] != `exited with code 1: un\nreachable; 2 connections cut` {
		t.Errorf("the line is %q", lines[0])
	}
	if len(lines) != 1+maxFrames+1 || lines[1] != "    f()" || lines[len(lines)-1] != "    … and 68 frames more" {
		t.Errorf("the stack is %q", lines[1:])
	}
	x = exitRecord{Signal: "SIGKILL", Reason: "stuck", Fault: "stuck: no host call for 30s"}
	if got, want := x.text(), "killed by SIGKILL: stuck: no host call for 30s"; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
}

// gate is a file that takes nothing until it is opened, and fails when it is told to.
type gate struct {
	open    chan struct{}
	started chan struct{} // a write has come
	failed  chan struct{} // a write has failed

	mu   sync.Mutex
	got  strings.Builder
	fail bool
}

func (g *gate) Write(b []byte) (int, error) {
	select {
	case g.started <- struct{}{}:
	default:
	}
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail {
		g.failed <- struct{}{}
		return 0, io.ErrClosedPipe
	}
	return g.got.Write(b)
}

func (g *gate) setFail(fail bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = fail
}

func newGate() (*gate, *lines) {
	g := &gate{open: make(chan struct{}), started: make(chan struct{}, 1), failed: make(chan struct{}, 1)}
	return g, newLines(g, func(lost uint64) []byte { return fmt.Appendf(nil, "lost %d\n", lost) })
}

// TestLinesBlocked: nobody takes the lines; saying them waits for nobody, and what finds no room is counted.
func TestLinesBlocked(t *testing.T) {
	g, l := newGate()
	l.say([]byte("first\n"))
	<-g.started
	for range queuedLines + 7 {
		l.say([]byte("more\n"))
	}
	put := make(chan struct{})
	go func() {
		l.put([]byte("put\n"))
		close(put)
	}()
	close(g.open)
	<-put
	l.close(nil)
	got := g.got.String()
	if n := strings.Count(got, "more\n"); n != queuedLines {
		t.Errorf("%d lines came, want %d", n, queuedLines)
	}
	if !strings.Contains(got, "put\n") || !strings.Contains(got, "lost 7\n") {
		t.Errorf("missing in %q", got[len(got)-100:])
	}
	l.say([]byte("too late\n"))
	leaktest.NoGoroutine(t, "(*lines).run")
}

// TestLinesFail: what a full disk or a closed pipe swallows is counted, and told when there is room again.
func TestLinesFail(t *testing.T) {
	g, l := newGate()
	close(g.open)
	g.setFail(true)
	for range 3 {
		l.say([]byte("swallowed\n"))
		<-g.failed
	}
	g.setFail(false)
	l.say([]byte("heard\n"))
	l.close(nil)
	if got, want := g.got.String(), "heard\nlost 3\n"; got != want {
		t.Errorf("written is %q, want %q", got, want)
	}
}

// TestLinesLimit: nobody ever takes the lines, and somebody wants the end.
func TestLinesLimit(t *testing.T) {
	g, l := newGate()
	l.say([]byte("first\n"))
	<-g.started
	limit := make(chan struct{})
	close(limit)
	l.close(limit)
	close(g.open)
	<-l.done
}
