package host_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// count is how many events of a kind have been told.
func (c *cluster) count(kind master.EventKind) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// received waits until the workers have read so many bytes from their connections.
func (c *cluster) received(n uint64) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		sum := uint64(0)
		for _, w := range c.Workers() {
			sum += w.Figures().BytesIn
		}
		if sum == n {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the workers have read %d bytes, want %d", sum, n)
		}
	}
}

func (k *keepAlive) write(t *testing.T, text string) {
	t.Helper()
	if _, err := k.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// Node's callback comes at the first exit, whoever is left.
func TestNodeDefectDisconnectIsDoneAtTheFirstExit(t *testing.T) {
	const workers, drain = 3, 800 * time.Millisecond
	c := start(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), workers, listen)
	c.await(master.EventListening, workers)
	k := dial(t, c.target())
	const request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n"
	const half = len(request) / 2
	k.write(t, request[:half])
	c.holding(1, 1)
	c.received(uint64(half))
	began := time.Now()
	done := make(chan int, 1)
	c.Disconnect(func() {
		if left := len(c.Workers()) + len(c.Listeners()); left > 0 {
			t.Errorf("%d workers and listeners are left when it is done", left)
		}
		done <- c.count(master.EventDeath)
	})
	c.await(master.EventDeath, workers-1)
	// The thing measured is that nothing happens.
	select {
	case n := <-done:
		t.Fatalf("done after %d of %d workers' ends", n, workers)
	case <-time.After(time.Until(began.Add(drain))):
	}
	if n := len(c.Workers()); n != 1 {
		t.Errorf("%d workers are left, want the one that drains", n)
	}
	k.write(t, request[half:])
	k.answer(t)
	select {
	case n := <-done:
		if n != workers {
			t.Errorf("done after %d of %d workers' ends", n, workers)
		}
	case <-time.After(patience):
		t.Fatal("it is never done")
	}
	if last := c.await(master.EventExit, workers).Exit; last.Code != 0 || !last.Suicide || last.Cut != 0 || last.Duration < drain {
		t.Errorf("the one that drained ended with %v after %v, %d connections cut", last, last.Duration, last.Cut)
	}
}

// done is never called by Disconnect itself, not even when there is nothing to wait for, and each one once, in order.
func TestDisconnectWithoutWorkersIsDoneLater(t *testing.T) {
	c := start(t, guest(t, "obey"), 0, listen)
	for round := range 3 {
		var called []int
		all := make(chan struct{})
		// done comes from the dispatcher, which is here: whatever has been called by now was called by Disconnect.
		c.Do(func() {
			for i := range 3 {
				c.Disconnect(func() {
					if called = append(called, i); len(called) == 3 {
						close(all)
					}
				})
			}
			c.Disconnect(nil)
			if len(called) > 0 {
				t.Errorf("round %d: done was called synchronously", round)
			}
		})
		select {
		case <-all:
		case <-time.After(patience):
			t.Fatal("it is never done")
		}
		c.Do(func() {
			if !slices.Equal(called, []int{0, 1, 2}) {
				t.Errorf("round %d: done was called in the order %v", round, called)
			}
		})
	}
	// From elsewhere: a done that waits for Disconnect to return would wait for ever if Disconnect waited for it.
	returned, done := make(chan struct{}), make(chan struct{})
	c.Disconnect(func() { <-returned; close(done) })
	close(returned)
	<-done
}

// Whatever forks and destroys meanwhile: done is called once, nobody is left at the end, and each worker's exit is told
// once.
func TestDisconnectAmidForksAndDestroys(t *testing.T) {
	rounds := 5
	if soaking() {
		rounds = 100
	}
	const forkers, forks = 3, 4
	c := start(t, guest(t, "obey"), 2, nil)
	var lock sync.Mutex
	forked := map[*master.Worker]bool{}
	for _, w := range c.Workers() {
		forked[w] = true
	}
	for range rounds {
		var busy sync.WaitGroup
		for range forkers {
			busy.Go(func() {
				for range forks {
					w, err := c.Fork()
					if err != nil {
						if !errors.Is(err, master.ErrDisconnecting) {
							t.Errorf("fork: %v", err)
						}
						continue
					}
					lock.Lock()
					forked[w] = true
					lock.Unlock()
				}
			})
		}
		busy.Go(func() {
			for range forks {
				for _, w := range c.Workers() {
					w.Destroy()
				}
			}
		})
		const calls = 2
		done := make(chan struct{}, 2*calls) // room for what must not come
		for range calls {
			busy.Go(func() { c.Disconnect(func() { done <- struct{}{} }) })
		}
		busy.Wait()
		c.disconnect() // also those who were forked between the end of one and the beginning of the next
		if n := len(c.Workers()); n != 0 {
			t.Fatalf("%d workers are left", n)
		}
		told := make(chan struct{})
		c.Do(func() { close(told) }) // whatever done is due has been called before
		<-told
		if len(done) != calls {
			t.Fatalf("%d calls of done for %d of Disconnect", len(done), calls)
		}
		if _, err := c.Fork(); err != nil {
			t.Fatalf("fork after the end of a Disconnect: %v", err)
		}
		lock.Lock()
		forked[c.Workers()[0]] = true
		lock.Unlock()
	}
	c.disconnect()
	ends := map[*master.Worker]int{}
	for _, e := range c.events {
		if e.Kind == master.EventExit {
			ends[e.Worker]++
			if !e.Exit.Suicide {
				t.Errorf("%v ended with %v by accident", e.Worker, e.Exit)
			}
		}
	}
	for w := range forked {
		if ends[w] != 1 {
			t.Errorf("%d exits of %v", ends[w], w)
		}
	}
	if len(ends) != len(forked) {
		t.Errorf("%d workers ended of %d", len(ends), len(forked))
	}
}
