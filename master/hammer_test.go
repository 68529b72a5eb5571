package master

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// Everything at once, from several goroutines; then each worker's events must be in order, each once.
func TestHammer(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := cluster(t, "good", listenOn(tcp(0)))
	r := record(c)
	var hammers sync.WaitGroup
	for i := range uint64(4) {
		hammers.Go(func() {
			random := rand.New(rand.NewPCG(seed, i))
			for range 40 {
				hammer(t, c, random)
			}
		})
	}
	hammers.Wait()
	done := make(chan struct{})
	c.Disconnect(func() { close(done) })
	<-done
	told := map[*Worker][]EventKind{}
	for _, e := range r.until(t, "everything", func([]Event) bool { return true }) {
		if e.Worker != nil && e.Kind != EventMessage {
			told[e.Worker] = append(told[e.Worker], e.Kind)
		}
	}
	for w, kinds := range told {
		if !slices.IsSorted(kinds) || len(slices.Compact(slices.Clone(kinds))) != len(kinds) {
			t.Errorf("%v: %v", w, kinds)
		}
		if kinds[0] != EventFork || !slices.Equal(kinds[len(kinds)-3:], []EventKind{EventDisconnect, EventExit, EventDeath}) {
			t.Errorf("%v: %v", w, kinds)
		}
	}
	if len(told) == 0 || len(c.Workers()) != 0 {
		t.Errorf("%d workers were told of, %d are left", len(told), len(c.Workers()))
	}
}

func hammer(t *testing.T, c *Cluster, random *rand.Rand) {
	workers := c.Workers()
	if len(workers) < 3 || random.IntN(4) == 0 && len(workers) < 8 {
		if _, err := c.Fork(); err != nil {
			t.Error(err)
		}
		return
	}
	w := workers[random.IntN(len(workers))]
	switch random.IntN(10) {
	case 0:
		w.Disconnect()
	case 1:
		w.Destroy()
	case 2:
		w.Process().Kill(syscall.SIGKILL)
	case 3:
		w.Send([]byte(fmt.Sprintf("exit %d", random.IntN(3))))
	case 4:
		w.Send([]byte("leave 0"))
	case 5:
		w.Ping(t.Context())
	case 6:
		w.On(EventExit, func(Event) {})()
	case 7:
		w.Figures()
	default:
		if err := w.Send([]byte("echo x")); err != nil && !errors.Is(err, ErrDisconnected) {
			t.Error(err)
		}
	}
}
