package wasip1

import (
	"slices"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// The guest finds the end of an ended connection, however it waits.
func TestTheGuestFindsTheEnd(t *testing.T) {
	for name, wait := range map[string]func(t *testing.T, d *drainTest, fd uint32){
		"in a blocking read": func(t *testing.T, d *drainTest, fd uint32) {
			ok(t, d.FdFdstatSetFlags(fd, 0))
		},
		"by poll_oneoff": func(t *testing.T, d *drainTest, fd uint32) {
			if evs := guestOf(t, d.System).pollFor(readable(fd, 1)); len(evs) != 1 || evs[0].Errno != 0 {
				t.Errorf("events %+v", evs)
			}
		},
		"by wait": func(t *testing.T, d *drainTest, fd uint32) {
			ok(t, d.Watch(fd, ReadyRead, 1))
			if got := tokens(waitAll(t, d.System, 4, soon(d.System))); !slices.Equal(got, []uint64{1}) {
				t.Errorf("events for %v", got)
			}
		},
	} {
		for _, closes := range []bool{true, false} {
			title := name + ", when the client closes"
			if !closes {
				title = name + ", when the client's time is over"
			}
			t.Run(title, func(t *testing.T) {
				d := newDrainTest(t)
				d.idle = false
				fd, client := d.request(true)
				d.hurry()
				d.begin(brief, false)
				if closes {
					go func() {
						wantEnd(t, client)
						client.Close()
					}()
				}
				wait(t, d, fd)
				if n, errno := d.FdRead(fd, vec(make([]byte, 1))); n != 0 || errno != 0 {
					t.Errorf("the guest reads %d bytes, %v; want the end", n, errno)
				}
				_, errno := d.FdWrite(fd, vec([]byte("x")))
				wantErrno(t, errno, abi.EPIPE)
				if !closes {
					wantEnd(t, client)
				}
				ok(t, d.FdClose(fd))
				d.idle = true
				d.finish(0)
			})
		}
	}
}

// A request that comes after the end was sent is not the guest's: its client finds the end in place of an answer, and no
// reset.
func TestALateRequestMeetsTheEnd(t *testing.T) {
	d := newDrainTest(t)
	d.hurry()
	fd, client := d.request(true)
	d.begin(brief, false)
	e, _ := d.table.get(fd)
	for !e.drain.ended {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	_, err := client.Write([]byte("late"))
	check(t, err)
	_, errno := d.FdRead(fd, vec(make([]byte, 10)))
	wantErrno(t, errno, abi.EAGAIN)
	if evs := guestOf(t, d.System).pollFor(readable(fd, 1), writable(fd, 2), after(time.Millisecond, 3)); len(evs) != 1 {
		t.Errorf("events %+v while the end is under way", evs)
	}
	_, errno = d.FdWrite(fd, vec([]byte("x")))
	wantErrno(t, errno, abi.EPIPE)
	wantEnd(t, client)
	client.Close()
	d.finish(0)
}

// A client that floods must not keep the worker in one tick.
func TestAFloodingClientKeepsNobodyWaiting(t *testing.T) {
	d := newDrainTest(t)
	d.hurry()
	fd, client := d.request(true)
	d.begin(brief, false)
	e, _ := d.table.get(fd)
	for !e.drain.ended {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	go func() {
		flood := make([]byte, 1<<20)
		for {
			if _, err := client.Write(flood); err != nil {
				return
			}
		}
	}()
	longest := time.Duration(0)
	for d.done == 0 {
		start := time.Now()
		d.poller.WaitOnce(d.poller.Now() + drainTick)
		longest = max(longest, time.Since(start))
	}
	if longest > time.Second/2 {
		t.Errorf("a tick took %v", longest)
	}
}

func TestAnAwareGuestEndsItsConnectionsItself(t *testing.T) {
	d := newDrainTest(t)
	fd, client := d.request(true)
	d.begin(long, true)
	for range 5 {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	wantOpen(t, client)
	d.say(fd, client, "last")
	d.answer(fd, client, "Connection: close")
	if d.done != 0 {
		t.Error("done while a connection is open")
	}
	ok(t, d.FdClose(fd))
	wantEnd(t, client)
	d.finish(0)
}

func TestAGuestMayCloseDuringADrain(t *testing.T) {
	for _, tt := range []struct {
		name string
		when func(e *Entry) bool
	}{
		{"before the end was sent", func(*Entry) bool { return true }},
		{"while it is under way", func(e *Entry) bool { return e.drain.ended }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDrainTest(t)
			d.hurry()
			fd, client := d.request(true)
			d.begin(brief, false)
			e, _ := d.table.get(fd)
			for !tt.when(e) {
				d.poller.WaitOnce(d.poller.Now() + drainTick)
			}
			ok(t, d.FdClose(fd))
			wantEnd(t, client)
			d.finish(0)
			if d.figures.Connections != 0 {
				t.Errorf("%d connections open", d.figures.Connections)
			}
		})
	}
}

func TestOutboundConnectionsDoNotCount(t *testing.T) {
	d := newDrainTest(t)
	fd, _ := stream(t, d.System, 0)
	e, _ := d.table.get(fd)
	e.drain.accepted = false
	d.figures.Connections--
	d.begin(long, false)
	d.finish(0)
}

// Listeners are never ready again: an error would make a server give up.
func TestListenersOfADrain(t *testing.T) {
	d := newDrainTest(t)
	d.idle = false
	g := guestOf(t, d.System)
	b := newBell(t, d.System)
	ok(t, d.Watch(d.listener, ReadyRead, 1))
	g.pollFor(readable(d.listener, 1), after(0, 2))
	dial(t, d.addr)
	d.begin(long, false)
	raw, addr := listenTCP(t)
	late, errno := d.OpenListener(raw, false, nil)
	ok(t, errno)
	dial(t, addr)
	for _, listener := range []uint32{d.listener, late} {
		ok(t, d.Watch(listener, ReadyRead, 1))
		if got := waitAll(t, d.System, 4, d.poller.Now()+int64(time.Millisecond)); len(got) != 0 {
			t.Errorf("events %+v", got)
		}
		if evs := g.pollFor(readable(listener, 1), after(time.Millisecond, 2)); len(evs) != 1 || evs[0].Type != eventClock {
			t.Errorf("events %+v", evs)
		}
		_, errno := d.SockAccept(listener, 0)
		wantErrno(t, errno, abi.EAGAIN)
		d.poller.Nudge()
		_, errno = d.SockAccept(listener, 0)
		wantErrno(t, errno, abi.EAGAIN)
	}
	// One that blocks waits to the end.
	ok(t, d.FdFdstatSetFlags(d.listener, 0))
	a := newActor(t)
	accepted := a.start(func() { _, errno = d.SockAccept(d.listener, 0) })
	a.asleep(t)
	b.ring(t, d.poller.Nudge)
	a.asleep(t)
	b.ring(t, func() { d.entryOf(d.listener).acc.closed = false }) // what no drain does
	await(t, "the accept returns", accepted)
	ok(t, errno)
}

func (s *System) entryOf(fd uint32) *Entry { return s.table.entries[fd] }

// A guest that waits without sleeping is served too, and not at every look.
func TestADrainGoesOnUnderAGuestThatOnlyLooks(t *testing.T) {
	d := newDrainTest(t)
	d.hurry()
	_, client := d.request(true)
	d.begin(brief, false)
	go func() {
		wantEnd(t, client)
		client.Close()
	}()
	looks, ticks := 0, 0
	tick := d.poller.tick
	d.poller.tick = func(now int64) int64 {
		before := d.drain.next
		next := tick(now)
		if d.drain.next != before {
			ticks++
		}
		return next
	}
	for end := time.Now().Add(patience); d.done == 0 && time.Now().Before(end); looks++ {
		d.poller.WaitOnce(0)
	}
	if d.done != 1 || d.cut != 0 || ticks > 2+int(d.took/time.Duration(drainTick)) {
		t.Errorf("done %d times with %d cut, %d ticks in %d looks and %v", d.done, d.cut, ticks, looks, d.took)
	}
}

// A drain may begin while a blocking call holds the vectors of the System.
func TestADrainDoesNotDisturbABlockingRead(t *testing.T) {
	d := newDrainTest(t)
	d.hurry()
	g := guestOf(t, d.System)
	b := newBell(t, d.System)
	a := newActor(t)
	_, idle := connect(t, d.System, d.listener, d.addr)
	fd, client := connect(t, d.System, d.listener, d.addr)
	ok(t, d.FdFdstatSetFlags(fd, 0))
	d.entryOf(fd).drain.received = true // a request is under way: it is not ended
	g.iovec(iovsAt, dataAt, 100)
	var errno Errno
	read := a.start(func() { errno = g.call("fd_read", uint64(fd), iovsAt, 1, sizeAt) })
	a.asleep(t)
	b.ring(t, func() { d.begin(brief, false) })
	wantEnd(t, idle)
	_, err := idle.Write([]byte("late, and thrown away"))
	check(t, err)
	a.asleep(t)
	_, err = client.Write([]byte("rest"))
	check(t, err)
	await(t, "the read returns", read)
	if got := g.text(dataAt); errno != 0 || got != "rest" {
		t.Errorf("the guest reads %q, %v", got, errno)
	}
}

func TestDrainOfAUnixSocket(t *testing.T) {
	s := newSystem(t, Config{})
	raw, path := listenUnix(t)
	listener, errno := s.OpenListener(raw, false, nil)
	ok(t, errno)
	d := &drainTest{System: s, t: t, idle: true, listener: listener, addr: path}
	d.hurry()
	_, client := d.request(true)
	go func() {
		wantEnd(t, client)
		client.Close()
	}()
	d.begin(brief, false)
	d.finish(0)
}
