package wasip1

import (
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// waitForToken waits, on the actor's thread, for one event.
func waitForToken(a *actor, s *System, token *uint64) (waited chan struct{}) {
	*token = 0
	return a.start(func() {
		var out [1]WaitEvent
		if s.Wait(out[:], Forever) == 1 {
			*token = out[0].Token
		}
	})
}

// Eight listeners, shared by two workers: each connection is accepted, once, by either.
func TestListenersSharedByTwoWorkers(t *testing.T) {
	const listeners, clients = 8, 200
	first, second := newSystem(t, Config{}), newSystem(t, Config{})
	var addrs []string
	for i := range uint64(listeners) {
		fd, addr := openListener(t, first)
		addrs = append(addrs, addr)
		ok(t, first.Watch(fd, ReadyRead, i))
		ok(t, second.Watch(share(t, first, fd, second), ReadyRead, i))
	}
	var ends []func()
	accepted := make(chan int, clients)
	for id, s := range []*System{first, second} {
		a := newActor(t)
		b := newBell(t, s)
		stop := false
		plain, errno := s.OpenVirtual(&wakeable{stop: &stop})
		ok(t, errno)
		ok(t, s.Watch(plain, ReadyRead, 99))
		served := a.start(func() {
			out := make([]WaitEvent, 4)
			for !stop {
				for _, ev := range out[:s.Wait(out, Forever)] {
					if ev.Token == 99 {
						continue
					}
					if fd, errno := s.SockAccept(ev.Fd, fdflagNonblock); errno == 0 {
						_ = s.FdClose(fd)
						accepted <- id
					}
				}
			}
		})
		ends = append(ends, func() {
			b.ring(t, func() { stop = true })
			await(t, "the worker ends", served)
		})
	}
	for i := range clients {
		dial(t, addrs[i%listeners]).Close()
	}
	counts := [2]int{}
	for range clients {
		select {
		case id := <-accepted:
			counts[id]++
		case <-time.After(patience):
			t.Fatalf("%v connections of %d accepted", counts, clients)
		}
	}
	for _, end := range ends {
		end()
	}
	t.Logf("accepted: %v", counts)
}

// wakeable is ready once stop is set.
type wakeable struct{ stop *bool }

func (w *wakeable) Ready() uint32 {
	if *w.stop {
		return ReadyRead
	}
	return 0
}

// The first hazard of EPOLLEXCLUSIVE: a worker that was woken for a connection ends before it accepts. No other hears of
// the connection until it is nudged.
func TestNudgeFindsAStrandedConnection(t *testing.T) {
	first, err := New(Config{})
	check(t, err)
	second := newSystem(t, Config{})
	b := newBell(t, second)
	listener, addr := openListener(t, first)
	ok(t, first.Watch(listener, ReadyRead, 1))
	shared := share(t, first, listener, second)
	ok(t, second.Watch(shared, ReadyRead, 2))
	a1, a2 := newActor(t), newActor(t)
	var token1, token2 uint64
	waited1 := waitForToken(a1, first, &token1)
	a1.asleep(t)
	waited2 := waitForToken(a2, second, &token2)
	a2.asleep(t)
	dial(t, addr)
	// The kernel wakes one; here always the first, which has stood longer in the queue.
	await(t, "the first worker is woken", waited1)
	a2.asleep(t)
	select {
	case <-waited2:
		t.Skip("this kernel has woken both: nothing can strand")
	default:
	}
	first.Close()
	b.ring(t, second.poller.Nudge)
	await(t, "the second worker finds the connection", waited2)
	if token2 != 2 {
		t.Errorf("token %d", token2)
	}
	_, errno := second.SockAccept(shared, 0)
	ok(t, errno)
}

// A worker that sleeps for something else must not swallow the wake-up for a connection.
func TestASleeperForSomethingElseStepsAside(t *testing.T) {
	sleepFor := map[string]func(t *testing.T, s *System, listener, conn uint32){
		"a blocking read": func(_ *testing.T, s *System, _, conn uint32) {
			_, _ = s.FdRead(conn, vec(make([]byte, 1)))
		},
		"a poll without the listener": func(t *testing.T, s *System, _, conn uint32) {
			guestOf(t, s).pollFor(readable(conn, 1))
		},
		"a source alone": func(_ *testing.T, s *System, _, _ uint32) {
			for !s.Draining() { // what ends it, here
				s.poller.WaitOnce(Forever)
			}
		},
		"a wait that does not watch the listener": func(t *testing.T, s *System, _, conn uint32) {
			ok(t, s.Watch(conn, ReadyRead, 1))
			s.Wait(make([]WaitEvent, 1), Forever)
		},
	}
	for name, sleep := range sleepFor {
		t.Run(name, func(t *testing.T) {
			first, second := newSystem(t, Config{}), newSystem(t, Config{})
			b := newBell(t, first)
			raw, addr := listenTCP(t)
			listener, errno := first.OpenListener(raw, true, nil)
			ok(t, errno)
			shared := share(t, first, listener, second)
			// The first has waited for a connection before, so its listener stands in epoll.
			g := guestOf(t, first)
			g.pollFor(readable(listener, 1), after(0, 2))
			ok(t, first.FdFdstatSetFlags(listener, 0))
			conn, peer := stream(t, first, 0)
			a1, a2 := newActor(t), newActor(t)
			slept := a1.start(func() { sleep(t, first, listener, conn) })
			a1.asleep(t)
			ok(t, second.Watch(shared, ReadyRead, 2))
			var token uint64
			waited := waitForToken(a2, second, &token)
			a2.asleep(t)
			dial(t, addr)
			await(t, "the idle worker is woken", waited)
			b.ring(t, func() { first.Drain(int64(time.Hour), true, func() bool { return false }, func(int) {}) })
			_, err := peer.WriteString("x")
			check(t, err)
			await(t, "the sleeper wakes for its own", slept)
		})
	}
}

// What a poll or a blocking call takes out of epoll, a watch has back at the next Wait: also a listener.
func TestAWatchedListenerComesBackAfterASleepForSomethingElse(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	ok(t, s.Watch(listener, ReadyRead, 1))
	g := guestOf(t, s)
	conn, _ := stream(t, s, 0)
	g.pollFor(readable(conn, 1), after(time.Millisecond, 2))
	if s.poller.listening.has(s.table.entries[listener]) {
		t.Error("the listener is in epoll during a poll without it")
	}
	a := newActor(t)
	var token uint64
	waited := waitForToken(a, s, &token)
	a.asleep(t)
	dial(t, addr)
	await(t, "the watch reports", waited)
	if token != 1 {
		t.Errorf("token %d", token)
	}
}

// accept takes a connection that is there.
func accept(t *testing.T, s *System, listener uint32) {
	t.Helper()
	fd, errno := s.SockAccept(listener, 0)
	if errno == abi.EAGAIN { // one a turn
		fd, errno = s.SockAccept(listener, 0)
	}
	ok(t, errno)
	ok(t, s.FdClose(fd))
}

// A listener that rests lightly is out of epoll, and back when there is nothing else to do: at the end of the queue.
func TestAListenerRestsAfterABatch(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	ok(t, s.Watch(listener, ReadyRead, 1))
	e, _ := s.table.get(listener)
	for i := range 4 * restAfter {
		dial(t, addr)
		if got := waitAll(t, s, 4, soon(s)); len(got) != 1 {
			t.Fatalf("events %+v", got)
		}
		accept(t, s, listener)
		e.acc.began -= int64(time.Second) // no burst, however fast this test is
		want := (i + 1) % restAfter
		if rests := want == 0; e.acc.since != want || (e.poll.added == 0) != rests || s.poller.resting.has(e) != rests {
			t.Fatalf("%d accepts since it joined, want %d; asked for %d", e.acc.since, want, e.poll.added)
		}
	}
}

// In a burst a listener rests also while there is nothing else to do, and takes more each time that nobody else helps.
func TestAListenerRestsDeeplyInABurst(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	ok(t, s.Watch(listener, ReadyRead, 1))
	e, _ := s.table.get(listener)
	batches := []int{restAfter, restAfter, restAfter, 2 * restAfter, 4 * restAfter}
	for range 9*restAfter + 1 {
		dial(t, addr)
	}
	for _, batch := range batches {
		if got := waitAll(t, s, 4, soon(s)); len(got) != 1 {
			t.Fatalf("events %+v", got)
		}
		for range batch {
			accept(t, s, listener)
			e.acc.began = s.poller.Now() // a burst, however slow this machine is
		}
		if !s.poller.resting.has(e) || !e.acc.deep {
			t.Fatalf("after %d accepts: deep %v, next batch %d", batch, e.acc.deep, e.acc.batch())
		}
		var out [4]WaitEvent
		e.poll.resumes += int64(time.Hour)
		if n := s.Wait(out[:], s.poller.Now()+restDeeply/2); n != 0 {
			t.Errorf("a listener that rests deeply is reported: %+v", out[:n])
		}
		e.poll.resumes -= int64(time.Hour)
	}
	if got := waitAll(t, s, 4, soon(s)); len(got) != 1 {
		t.Fatalf("events after the rest: %+v", got)
	}
}

// While a listener rests, what else is ready comes first, but not for longer than a listener may rest.
func TestARestingListenerComesBackInTime(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	ok(t, s.Watch(listener, ReadyRead, 1))
	busy, peer := stream(t, s, 0)
	ok(t, s.Watch(busy, ReadyRead, 2))
	_, err := peer.WriteString("x") // and nobody reads it: there is always something else to do
	check(t, err)
	for range restAfter {
		dial(t, addr)
		accept(t, s, listener)
	}
	dial(t, addr)
	began := s.poller.Now()
	for {
		var out [4]WaitEvent
		n := s.Wait(out[:], Forever)
		if n == 0 {
			t.Fatal("a wait for ever ends with nothing")
		}
		if out[0].Token == 1 {
			break
		}
	}
	if took := s.poller.Now() - began; took < restDeeply/2 {
		t.Errorf("it came back after %d ns", took)
	}
}
