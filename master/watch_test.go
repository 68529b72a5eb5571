package master

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

func TestALostWorkerIsSeenOncePerEpisode(t *testing.T) {
	now := time.Now()
	g := &glance{since: now}
	at := func(ms int, calls uint64, state abi.State) (moved, lost bool) {
		return g.look(calls, state, now.Add(time.Duration(ms)*time.Millisecond))
	}
	steps := []struct {
		ms          int
		calls       uint64
		state       abi.State
		moved, lost bool
	}{
		{0, 1, abi.StateWaiting, true, false},
		{5, 1, abi.StateWaiting, false, false},
		{100, 1, abi.StateWaiting, false, false}, // waiting is not lost, however long
		{105, 2, abi.StateGuest, true, false},
		{108, 2, abi.StateGuest, false, false},
		{110, 2, abi.StateGuest, false, true},
		{200, 2, abi.StateGuest, false, false}, // once
		{205, 3, abi.StateGuest, true, false},
		{210, 3, abi.StateGuest, false, true}, // and once more
		{215, 3, abi.StateFile, false, false},
		{300, 3, abi.StateFile, false, false}, // the kernel holds it, not its guest
	}
	for _, s := range steps {
		if moved, lost := at(s.ms, s.calls, s.state); moved != s.moved || lost != s.lost {
			t.Errorf("at %d ms: moved %t, lost %t", s.ms, moved, lost)
		}
	}
}

func TestAStrandedConnectionIsRescuedAndAFullGuestIsNotPestered(t *testing.T) {
	var s stranding
	now := time.Now()
	var nudges []int
	for ms := 0; ms < 5000; ms += 5 {
		if s.look(true, now.Add(time.Duration(ms)*time.Millisecond)) {
			nudges = append(nudges, ms)
		}
	}
	if want := []int{0, 20, 60, 140, 300, 620, 1260, 2260, 3260, 4260}; !slices.Equal(nudges, want) {
		t.Errorf("nudges at %v ms, want %v", nudges, want)
	}
	s.look(false, now)
	if s != (stranding{}) {
		t.Error("it remembers what is over")
	}
}

// A connection that nobody was woken for is not forgotten, though nobody is lost.
func TestWhoeverWaitsIsNudgedWhenAConnectionWaitsToo(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventListening)
	send(t, w, "deaf")
	r.said(t, w, "deaf")
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.Listeners()[0].Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.said(t, w, "nudged")
}

// The hazard: a worker is woken for a connection and computes; nobody accepts. The others are nudged.
func TestOthersAreNudgedWhenAWorkerComputesAndAConnectionWaits(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	busy, other := fork(t, c), fork(t, c)
	for _, w := range []*Worker{busy, other} {
		r.of(t, w, EventListening)
		send(t, w, "deaf")
		r.said(t, w, "deaf")
	}
	send(t, busy, "compute 3000")
	r.said(t, busy, "computing")
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.Listeners()[0].Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	r.said(t, other, "nudged")
	if took := time.Since(start); took > time.Second {
		t.Errorf("nudged after %v", took)
	}
}

func TestOthersAreNudgedWhenAWorkerDies(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	dying, other := fork(t, c), fork(t, c)
	r.of(t, dying, EventListening)
	r.of(t, other, EventListening)
	dying.Process().Kill(syscall.SIGKILL)
	r.said(t, other, "nudged")
}

func TestAnIdleClusterCostsNothing(t *testing.T) {
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	w := fork(t, c)
	r.of(t, w, EventListening)
	// A connection that is accepted at once may not even be noticed; one that waits is, and keeps the watch awake.
	visit(t, c.Listeners()[0])
	if !eventually(func() bool { return watchIsAsleep(c) }) {
		t.Error("the watch does not go back to sleep")
	}
	send(t, w, "deaf")
	r.said(t, w, "deaf")
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.Listeners()[0].Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !eventually(func() bool { return !watchIsAsleep(c) }) {
		t.Error("a connection that waits does not wake the watch")
	}
}

func watchIsAsleep(c *Cluster) bool { return c.watch.asleep.Load() }
