package wasip1

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// drainTest is a System with a listener and a drain that is or was on.
type drainTest struct {
	*System
	t        *testing.T
	listener uint32
	addr     string

	began time.Time
	idle  bool
	done  int // times that done was called
	cut   int
	took  time.Duration
}

func newDrainTest(t *testing.T) *drainTest {
	t.Helper()
	d := &drainTest{System: newSystem(t, Config{}), t: t, idle: true}
	d.listener, d.addr = openListener(t, d.System)
	return d
}

// hurry lets a drain's time run faster: by so much more in each tick of 10 ms.
const hurry = 19 * drainTick

func (d *drainTest) hurry() {
	d.poller.tick = func(now int64) int64 {
		s := d.System
		if now < s.drain.next {
			return s.tick(now)
		}
		s.drain.start -= hurry
		s.drain.end -= hurry
		for _, e := range s.table.entries {
			if e != nil {
				e.drain.lastWrite -= hurry
				e.drain.endedAt -= hurry
			}
		}
		return s.tick(now)
	}
}

// begin begins the drain.
func (d *drainTest) begin(timeout time.Duration, aware bool) {
	d.began = time.Now()
	d.Drain(int64(timeout), aware, func() bool { return d.idle }, func(cut int) {
		d.done++
		d.cut, d.took = cut, time.Since(d.began)
	})
}

// finish waits, as a guest that sleeps, until the drain is over, and a little longer.
func (d *drainTest) finish(cut int) {
	d.t.Helper()
	for end := time.Now().Add(patience); d.done == 0; {
		if time.Now().After(end) {
			d.t.Fatal("the drain does not end")
		}
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	for range 5 {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	if d.done != 1 || d.cut != cut {
		d.t.Errorf("done was called %d times with %d connections cut, want once with %d", d.done, d.cut, cut)
	}
}

// request makes a connection on which the guest has read a request and, if it answers, written an answer.
func (d *drainTest) request(answer bool) (fd uint32, client net.Conn) {
	d.t.Helper()
	fd, client = connect(d.t, d.System, d.listener, d.addr)
	d.say(fd, client, "request")
	if answer {
		d.answer(fd, client, "answer")
	}
	return fd, client
}

func (d *drainTest) say(fd uint32, client net.Conn, text string) {
	d.t.Helper()
	_, err := client.Write([]byte(text))
	check(d.t, err)
	e, _ := d.table.get(fd)
	ok(d.t, d.poller.waitFor(e, ReadyRead))
	buf := make([]byte, 100)
	if n, errno := d.FdRead(fd, vec(buf)); string(buf[:n]) != text || errno != 0 {
		d.t.Fatalf("the guest reads %q, %v", buf[:n], errno)
	}
}

func (d *drainTest) answer(fd uint32, client net.Conn, text string) {
	d.t.Helper()
	_, errno := d.FdWrite(fd, vec([]byte(text)))
	ok(d.t, errno)
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(client, buf); err != nil || string(buf) != text {
		d.t.Fatalf("the client reads %q, %v", buf, err)
	}
}

// wantEnd fails the test unless the client reads the end, and no reset.
func wantEnd(t *testing.T, client net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(client); len(b) != 0 || err != nil {
		t.Errorf("the client reads %q, %v; want the end", b, err)
	}
}

// wantOpen fails the test unless the client would have to wait for something to read.
func wantOpen(t *testing.T, client net.Conn) {
	t.Helper()
	check(t, client.SetReadDeadline(time.Now().Add(time.Millisecond)))
	if n, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client reads %d bytes, %v; want nothing yet", n, err)
	}
	check(t, client.SetReadDeadline(time.Now().Add(patience)))
}

const (
	short = 60 * time.Millisecond // over soon
	brief = 4 * time.Second       // over soon, in a hurry
	long  = time.Hour             // ends only by what the drain is for
)

func TestDrainWithoutConnections(t *testing.T) {
	for _, aware := range []bool{false, true} {
		d := newDrainTest(t)
		if d.Draining() {
			t.Error("draining before the drain")
		}
		d.begin(long, aware)
		if !d.Draining() || d.done != 0 {
			t.Error("done is called from within Drain")
		}
		d.begin(long, aware) // a second changes nothing
		d.finish(0)
	}
}

func TestDrainWaitsUntilTheOwnerIsIdle(t *testing.T) {
	d := newDrainTest(t)
	d.idle = false
	d.begin(long, true)
	for range 5 {
		d.poller.WaitOnce(d.poller.Now() + drainTick)
	}
	if d.done != 0 {
		t.Error("done before idle")
	}
	d.idle = true
	d.finish(0)
}

func TestDrainTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{math.MinInt64, 0, 1, short} {
		d := newDrainTest(t)
		d.idle = false
		d.request(false)
		d.begin(timeout, false)
		d.finish(1)
		if d.took < timeout {
			t.Errorf("after %v, want %v", d.took, timeout)
		}
	}
	d := newDrainTest(t)
	d.begin(math.MaxInt64, false) // does not overflow into the past
	d.idle = false
	d.poller.WaitOnce(d.poller.Now() + drainTick)
	if d.done != 0 {
		t.Error("done at once")
	}
}

func TestDrainRules(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(d *drainTest) net.Conn
		cut  int
	}{
		{"a connection that the guest has answered is ended", func(d *drainTest) net.Conn {
			_, client := d.request(true)
			return client
		}, 0},
		{"one whose answer is under way is left alone", func(d *drainTest) net.Conn {
			_, client := d.request(false)
			return client
		}, 1},
		{"one on which nothing has come is ended", func(d *drainTest) net.Conn {
			_, client := connect(d.t, d.System, d.listener, d.addr)
			return client
		}, 0},
		{"one with a request that the guest has not read is left alone", func(d *drainTest) net.Conn {
			_, client := d.request(true)
			_, err := client.Write([]byte("unread"))
			check(d.t, err)
			return client
		}, 1},
		{"one whose client has not taken all of the answer is left alone", func(d *drainTest) net.Conn {
			fd, client := d.request(true)
			check(d.t, client.(*net.TCPConn).SetReadBuffer(4096))
			full(d.t, d.System, fd)
			return client
		}, 1},
		{"a look at a request does not begin an answer", func(d *drainTest) net.Conn {
			fd, client := d.request(true)
			_, err := client.Write([]byte("x"))
			check(d.t, err)
			e, _ := d.table.get(fd)
			ok(d.t, d.poller.waitFor(e, ReadyRead))
			_, _, errno := d.SockRecv(fd, vec(make([]byte, 1)), riflagPeek)
			ok(d.t, errno)
			_, errno = d.FdRead(fd, vec(make([]byte, 1)))
			ok(d.t, errno)
			d.answer(fd, client, "answer")
			_, errno = d.FdRead(fd, vec(make([]byte, 1)))
			wantErrno(d.t, errno, abi.EAGAIN)
			return client
		}, 0},
		{"nothing written is no answer", func(d *drainTest) net.Conn {
			fd, client := d.request(false)
			_, errno := d.FdWrite(fd, vec(nil))
			ok(d.t, errno)
			return client
		}, 1},
		{"what a guest has shut its ears to is not waited for", func(d *drainTest) net.Conn {
			fd, client := d.request(true)
			ok(d.t, d.SockShutdown(fd, sdflagRead))
			_, err := client.Write([]byte("unread"))
			check(d.t, err)
			return client
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDrainTest(t)
			d.hurry()
			client := tt.open(d)
			go func() { // the client closes when it finds the end
				_, _ = io.Copy(io.Discard, &onceEmpty{client, tt.cut > 0})
				if tt.cut == 0 {
					client.Close()
				}
			}()
			d.begin(brief, false)
			d.finish(tt.cut)
			client.Close()
		})
	}
}

// onceEmpty reads nothing when a client is to be one that does not read.
type onceEmpty struct {
	net.Conn
	deaf bool
}

func (r *onceEmpty) Read(b []byte) (int, error) {
	if r.deaf {
		return 0, io.EOF
	}
	return r.Conn.Read(b)
}

func TestADrainIsPatientInItsFirstHalf(t *testing.T) {
	d := newDrainTest(t)
	fd, client := d.request(true)
	d.begin(long, false)
	d.poller.WaitOnce(d.poller.Now() + int64(300*time.Millisecond))
	wantOpen(t, client)
	d.answer(fd, client, "more") // a streaming handler pauses
	wrote := time.Now()
	end := make(chan time.Time, 1)
	go func() {
		_, _ = client.Read(make([]byte, 1))
		end <- time.Now()
		client.Close()
	}()
	d.finish(0)
	if pause := (<-end).Sub(wrote); pause < time.Duration(quietEarly) {
		t.Errorf("ended %v after a write, want %v", pause, time.Duration(quietEarly))
	}
}

func TestABusyConnectionIsEndedAtItsFirstQuietMoment(t *testing.T) {
	d := newDrainTest(t)
	d.hurry()
	fd, client := d.request(true)
	const requests = 20
	d.begin(brief, false)
	for range requests { // no pause in which it could end
		d.say(fd, client, "request")
		d.answer(fd, client, "answer")
		d.poller.WaitOnce(0)
	}
	go func() {
		wantEnd(t, client)
		client.Close()
	}()
	d.finish(0)
}

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

func TestTheSecondHalfIsLessPatient(t *testing.T) {
	s := newSystem(t, Config{})
	fd, peer := stream(t, s, 0)
	e := s.entryOf(fd)
	s.drain = drain{on: true, start: 1e15, end: 1e15 + 100e9}
	for _, tt := range []struct {
		name  string
		now   int64 // after the start
		wrote int64
		want  bool
	}{
		{"a pause of a second has not passed since the drain began", 1e9 - 1, 0, false},
		{"it has", 1e9, 0, true},
		{"it has not since the last write", 30e9, 29e9 + 1, false},
		{"it has since the last write", 30e9, 29e9, true},
		{"up to the half", 50e9 - 1, 49e9, false},
		{"then 10 ms do", 50e9, 50e9 - 10e6, true},
		{"and less does not", 50e9, 50e9 - 10e6 + 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.drain.lastWrite = s.drain.start + tt.wrote
			if got := s.quiet(e, s.drain.start+tt.now); got != tt.want {
				t.Errorf("quiet: %v", got)
			}
		})
	}
	s.drain = drain{}
	peer.Close()
}
