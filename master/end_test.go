package master

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestClusterDisconnectWaitsForEveryWorker(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	for range 3 {
		r.of(t, fork(t, c), EventListening)
	}
	a := c.Listeners()[0]
	returned := make(chan struct{})
	done := make(chan int, 2)
	tell := func() {
		<-returned // never synchronously
		exits := 0
		for _, l := range r.lines() {
			if strings.HasPrefix(l, "cluster death") {
				exits++
			}
		}
		if len(c.Listeners()) != 0 {
			t.Error("listeners are open at the end of Disconnect")
		}
		done <- exits
	}
	c.Disconnect(tell)
	c.Disconnect(tell)
	if _, err := c.Fork(); !errors.Is(err, ErrDisconnecting) {
		t.Errorf("fork while disconnecting: %v", err)
	}
	close(returned)
	if n := <-done; n != 3 {
		t.Errorf("done after %d deaths", n)
	}
	<-done
	if conn, err := net.Dial("tcp", net.JoinHostPort(a.Host, fmt.Sprint(a.Port))); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	// And again.
	r.of(t, fork(t, c), EventListening)
	visit(t, c.Listeners()[0])
	again := make(chan struct{})
	c.Disconnect(func() { close(again) })
	<-again
}

func TestDisconnectOfAnEmptyCluster(t *testing.T) {
	c := New()
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	<-done
	c.Close()
	<-c.Done()
	after := make(chan struct{})
	c.Disconnect(func() { close(after) })
	<-after
	if _, err := c.Fork(); err == nil {
		t.Error("fork after Close")
	}
	if c.Do(func() {}) {
		t.Error("Do after Close")
	}
	c.Close()
}

func TestCloseKillsAtOnceAndTellsIt(t *testing.T) {
	c := cluster(t, "spins", listenOn(tcp(0)))
	r := record(c)
	first, second := fork(t, c), fork(t, c)
	r.said(t, first, "ready")
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	c.Close()
	for _, w := range []*Worker{first, second} {
		if err := syscall.Kill(w.Process().Pid(), 0); err != syscall.ESRCH {
			t.Errorf("%v is there after Close: %v", w, err)
		}
	}
	<-done
	<-c.Done()
	if e := r.of(t, first, EventExit).Exit; e.Signal != syscall.SIGKILL {
		t.Errorf("exit %v", e)
	}
	if _, err := c.Fork(); !errors.Is(err, ErrClosed) {
		t.Errorf("fork after Close: %v", err)
	}
}

func TestCloseInAHandler(t *testing.T) {
	c := cluster(t, "good")
	c.On(EventOnline, func(Event) { c.Close() })
	fork(t, c)
	<-c.Done()
}

func TestSlowStartCanBeEnded(t *testing.T) {
	c := cluster(t, "slow-start")
	r := record(c)
	w := fork(t, c)
	send(t, w, "wake up")
	w.Abort(FaultStuck, "did not come online")
	if e := r.of(t, w, EventExit).Exit; e.Fault == nil || e.Fault.Text != "did not come online" {
		t.Errorf("exit %v", e)
	}
}
