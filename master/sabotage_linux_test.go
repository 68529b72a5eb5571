package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// A listener that one worker has ended for everybody is made anew, and whoever shared it is ended.
func TestASabotagedListenerIsMadeAnew(t *testing.T) {
	elsewhere, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	port := elsewhere.Addr().(*net.TCPAddr).Port
	path := filepath.Join(t.TempDir(), "app.sock")
	for _, tt := range []struct{ name, listen, how string }{
		{"shutdown of a TCP listener", "tcp://127.0.0.1:0", "shutdown"},
		{"shutdown of a dual-stack listener", "tcp://:0", "shutdown"},
		{"a TCP listener that is disconnected", "tcp://127.0.0.1:0", "disconnect"},
		{"a TCP listener that is connected elsewhere", "tcp://127.0.0.1:0", fmt.Sprintf("connect %d", port)},
		{"shutdown of a unix socket", "unix://" + path, "shutdown"},
		{"shutdown of an abstract socket", fmt.Sprintf("unix://@wcluster-sabotage-%d", os.Getpid()), "shutdown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster(t, "good", listenOn(address(t, tt.listen)))
			r := record(c)
			offender, sibling := fork(t, c), fork(t, c)
			r.of(t, offender, EventListening)
			r.of(t, sibling, EventListening)
			before := c.Listeners()[0]
			send(t, offender, "sabotage "+tt.how)
			for _, w := range []*Worker{offender, sibling} {
				e := r.of(t, w, EventExit).Exit
				if e.Signal != syscall.SIGKILL || e.Suicide || e.Fault == nil || e.Fault.Reason != abi.FaultSandbox || !strings.Contains(e.Fault.Text, "ended the listening on") {
					t.Errorf("%v ended with %v, suicide %v", w, e, e.Suicide)
				}
			}
			third := fork(t, c)
			r.of(t, third, EventListening)
			if after := c.Listeners()[0]; after != before {
				t.Errorf("it listens on %v, before on %v", after, before)
			}
			if got := visit(t, c.Listeners()[0]); got != "3" {
				t.Errorf("worker %q answered", got)
			}
			// The watch is not busy with it any more.
			if !eventually(func() bool { return len(c.registry.dead()) == 0 }) {
				t.Error("the listener is still dead")
			}
		})
	}
}

// What cannot be made anew, because the address has gone, is an error of the next fork, which says so.
func TestAListenerThatCannotBeMadeAnewFailsTheFork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "app.sock")
	c := cluster(t, "good", listenOn(address(t, "unix://"+path)))
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventListening)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	send(t, w, "sabotage shutdown")
	r.of(t, w, EventExit)
	if !eventually(func() bool { return len(c.registry.dead()) == 0 }) {
		t.Error("it is not given up")
	}
	if _, err := c.Fork(); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), path) {
		t.Errorf("fork answers %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.of(t, fork(t, c), EventListening)
	if got := visit(t, c.Listeners()[0]); got != "3" {
		t.Errorf("worker %q answered", got)
	}
}

// A socket of another owner's is not the master's to make anew; it can listen again.
func TestAnAdoptedListenerListensAgain(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := cluster(t, "good", listenOn(abi.Address{Network: "fd", Fd: int(file.Fd())}))
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventListening)
	send(t, w, "sabotage shutdown")
	r.of(t, w, EventExit)
	r.of(t, fork(t, c), EventListening)
	if got := visit(t, c.Listeners()[0]); got != "2" {
		t.Errorf("worker %q answered", got)
	}
	if n, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || n != 1 {
		t.Errorf("SO_ACCEPTCONN is %d: %v", n, err)
	}
}
