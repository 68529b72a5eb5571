package wasip1

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// fullTest is a System that has as many connections as it may, and one more client.
type fullTest struct {
	*testGuest
	t        *testing.T
	listener uint32
	addr     string
	held     []uint32
	client   net.Conn // waits
}

func newFullTest(t *testing.T, c Config) *fullTest {
	t.Helper()
	f := &fullTest{testGuest: newGuest(t, c), t: t}
	f.listener, f.addr = openListener(t, f.sys)
	for range c.MaxConnections {
		fd, _ := connect(t, f.sys, f.listener, f.addr)
		f.held = append(f.held, fd)
	}
	f.client = dial(t, f.addr)
	return f
}

// release closes a held connection.
func (f *fullTest) release() {
	f.t.Helper()
	ok(f.t, f.sys.FdClose(f.held[0]))
	f.held = f.held[1:]
}

// serves fails the test unless fd is the waiting client's connection.
func (f *fullTest) serves(fd uint32) {
	f.t.Helper()
	_, errno := f.sys.FdWrite(fd, vec([]byte("x")))
	ok(f.t, errno)
	if _, err := io.ReadFull(f.client, make([]byte, 1)); err != nil {
		f.t.Error(err)
	}
}

// outside fails the test if a listener is in epoll.
func (f *fullTest) outside() {
	f.t.Helper()
	if n := len(f.sys.poller.listening.entries); n != 0 {
		f.t.Errorf("%d listeners are in epoll", n)
	}
}

// pause is a deadline that a wait for nothing meets.
func pause(s *System) int64 { return s.poller.Now() + int64(time.Millisecond) }

// waysToWait are how a guest waits for a connection. none says that within a millisecond there is none; take waits for
// one and accepts it.
var waysToWait = []struct {
	name string
	none func(f *fullTest) bool
	take func(f *fullTest) uint32
}{
	{
		"poll_oneoff",
		func(f *fullTest) bool {
			evs := f.pollFor(readable(f.listener, 1), after(time.Millisecond, 2))
			return len(evs) == 1 && evs[0].Type == eventClock
		},
		func(f *fullTest) uint32 {
			if evs := f.pollFor(readable(f.listener, 1), after(patience, 2)); len(evs) != 1 || evs[0].Type != eventFdRead {
				f.t.Fatalf("events %+v", evs)
			}
			return f.accept()
		},
	},
	{
		"watch, once, and wait",
		func(f *fullTest) bool {
			if f.sys.entryOf(f.listener).poll.watch == 0 {
				ok(f.t, f.sys.Watch(f.listener, ReadyRead, 7))
			}
			return len(waitAll(f.t, f.sys, 4, pause(f.sys))) == 0
		},
		func(f *fullTest) uint32 {
			if evs := waitAll(f.t, f.sys, 4, soon(f.sys)); len(evs) != 1 || evs[0].Token != 7 {
				f.t.Fatalf("events %+v", evs)
			}
			return f.accept()
		},
	},
	{
		"accept without waiting",
		func(f *fullTest) bool {
			_, errno := f.sys.SockAccept(f.listener, 0)
			return errno == abi.EAGAIN
		},
		func(f *fullTest) uint32 { return f.accept() },
	},
	{
		"a blocking accept",
		func(f *fullTest) bool { return true }, // see TestABlockingAcceptWaitsWhileFull
		func(f *fullTest) uint32 {
			ok(f.t, f.sys.FdFdstatSetFlags(f.listener, 0))
			fd, errno := f.sys.SockAccept(f.listener, 0)
			ok(f.t, errno)
			return fd
		},
	},
}

// accept takes the connection that is there.
func (f *fullTest) accept() uint32 {
	f.t.Helper()
	fd, errno := f.sys.SockAccept(f.listener, 0)
	if errno == abi.EAGAIN { // one a turn
		fd, errno = f.sys.SockAccept(f.listener, 0)
	}
	ok(f.t, errno)
	return fd
}

func TestAFullGuestTakesNoConnectionUntilOneIsClosed(t *testing.T) {
	for _, way := range waysToWait {
		t.Run(way.name, func(t *testing.T) {
			f := newFullTest(t, Config{MaxConnections: 2})
			for range 3 {
				if !way.none(f) {
					t.Fatal("a full guest is told of a connection")
				}
			}
			f.release()
			f.serves(way.take(f))
			dial(t, f.addr)
			if !way.none(f) {
				t.Error("full again, it is told of a connection")
			}
			if got := f.sys.figures; got.Accepted != 3 || got.Connections != 2 {
				t.Errorf("figures %+v", got)
			}
		})
	}
}

// A guest cannot close while it blocks, but what ends in the meantime must be seen all the same.
func TestABlockingAcceptWaitsWhileFull(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 1})
	b := newBell(t, f.sys)
	ok(t, f.sys.FdFdstatSetFlags(f.listener, 0))
	a := newActor(t)
	var fd uint32
	var errno Errno
	accepted := a.start(func() { fd, errno = f.sys.SockAccept(f.listener, 0) })
	for range 3 {
		a.asleep(t)
		b.ring(t, f.outside)
	}
	a.asleep(t)
	b.ring(t, f.release)
	await(t, "the accept returns", accepted)
	ok(t, errno)
	f.serves(fd)
}

// What a guest watches for the first time while it is full counts as well.
func TestAWatchThatBeginsWhileFull(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 1})
	late, addr := openListener(t, f.sys)
	f.client = dial(t, addr)
	ok(t, f.sys.Watch(late, ReadyRead, 9))
	if evs := waitAll(t, f.sys, 4, pause(f.sys)); len(evs) != 0 {
		t.Fatalf("events %+v", evs)
	}
	f.outside()
	f.release()
	if evs := waitAll(t, f.sys, 4, soon(f.sys)); len(evs) != 1 || evs[0].Token != 9 {
		t.Fatalf("events %+v", evs)
	}
	fd, errno := f.sys.SockAccept(late, 0)
	ok(t, errno)
	f.serves(fd)
}

// A watch that was set back while full stays so.
func TestAWatchThatEndsWhileFull(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 1})
	ok(t, f.sys.Watch(f.listener, ReadyRead, 1))
	waitAll(t, f.sys, 4, pause(f.sys))
	ok(t, f.sys.Watch(f.listener, 0, 0))
	f.release()
	if evs := waitAll(t, f.sys, 4, pause(f.sys)); len(evs) != 0 {
		t.Errorf("events %+v", evs)
	}
	f.outside()
}

// Connections that are served one at a time, without a wait in between, cost no epoll_ctl; a guest that sleeps while it
// is full takes its listener out once.
func TestAFullGuestCostsNoEpollCtl(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 1})
	p := f.sys.poller
	ok(t, f.sys.Watch(f.listener, ReadyRead, 1))
	waitAll(t, f.sys, 4, pause(f.sys))
	changes := p.changes
	for range 10 {
		waitAll(t, f.sys, 4, 0)
		waitAll(t, f.sys, 4, pause(f.sys))
		f.pollFor(readable(f.listener, 1), after(time.Microsecond, 2))
		_, _ = f.sys.SockAccept(f.listener, 0)
	}
	if p.changes != changes {
		t.Errorf("%d calls of epoll_ctl while it is full", p.changes-changes)
	}
	f.release()
	waitAll(t, f.sys, 4, soon(f.sys))
	if p.changes != changes+1 {
		t.Errorf("%d calls of epoll_ctl to have it back, want 1", p.changes-changes)
	}
	for range restAfter / 2 {
		accept(t, f.sys, f.listener)
		dial(t, f.addr)
		if evs := waitAll(t, f.sys, 4, soon(f.sys)); len(evs) != 1 {
			t.Fatalf("events %+v", evs)
		}
	}
	if p.changes != changes+1 {
		t.Errorf("%d calls of epoll_ctl for connections that end before the next wait", p.changes-changes-1)
	}
}

// The kernel wakes one of the workers that sleep with the listener in epoll: never one that is full, whatever it sleeps
// for, and however it came to be.
func TestAFullGuestLeavesTheWakeUpToASibling(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sleep func(f *fullTest)
	}{
		{"in a wait", func(f *fullTest) { f.sys.Wait(make([]WaitEvent, 1), Forever) }},
		{"in a poll", func(f *fullTest) { f.pollFor(readable(f.listener, 1), readable(f.held[0], 2)) }},
		{"in a read", func(f *fullTest) {
			ok(f.t, f.sys.FdFdstatSetFlags(f.held[0], 0))
			_, _ = f.sys.FdRead(f.held[0], vec(make([]byte, 1)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := newSystem(t, Config{MaxConnections: 1}), newSystem(t, Config{})
			b := newBell(t, first)
			f := &fullTest{testGuest: guestOf(t, first), t: t}
			f.listener, f.addr = openListener(t, first)
			shared := share(t, first, f.listener, second)
			// The first stands in the queue of waiters before the second, and has room when it enters.
			ok(t, first.Watch(f.listener, ReadyRead, 1))
			ok(t, second.Watch(shared, ReadyRead, 2))
			fd, client := connect(t, first, f.listener, f.addr)
			f.held = []uint32{fd}
			ok(t, first.Watch(fd, ReadyRead, 3))
			a1, a2 := newActor(t), newActor(t)
			slept := a1.start(func() { tt.sleep(f) })
			a1.asleep(t)
			for range 3 {
				var token uint64
				waited := waitForToken(a2, second, &token)
				a2.asleep(t)
				dial(t, f.addr)
				await(t, "the sibling is woken", waited)
				a2.do(func() { accept(t, second, shared) })
				a1.asleep(t)
				b.ring(t, first.poller.Nudge) // which must not bring it back
				a1.asleep(t)
			}
			b.ring(t, f.outside)
			_, err := client.Write([]byte("x"))
			check(t, err)
			await(t, "the sleeper wakes for its own", slept)
		})
	}
}

func TestANudgeBringsNothingToAFullGuest(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(f *fullTest)
	}{
		{"before it has slept", func(*fullTest) {}},
		{"after it has slept", func(f *fullTest) { waitAll(f.t, f.sys, 4, pause(f.sys)) }},
		{"while its listener rests", func(f *fullTest) { f.sys.poller.rest(f.sys.entryOf(f.listener)) }},
		{"while its listener is muted", func(f *fullTest) { f.sys.poller.mute(f.sys.entryOf(f.listener)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFullTest(t, Config{MaxConnections: 1})
			ok(t, f.sys.Watch(f.listener, ReadyRead, 7))
			tt.prepare(f)
			for range 3 {
				f.sys.poller.Nudge()
				f.outside()
				if evs := waitAll(t, f.sys, 4, pause(f.sys)); len(evs) != 0 {
					t.Errorf("events %+v", evs)
				}
			}
			f.release()
			if evs := waitAll(t, f.sys, 4, soon(f.sys)); len(evs) != 1 {
				t.Fatalf("events %+v", evs)
			}
			f.serves(f.accept())
		})
	}
}

// A rest or a mute that ends while the guest is full leaves the listener where it is, and one that does not delays it.
func TestRestsAndMutesOfAFullGuest(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(p *Poller, e *Entry)
	}{
		{"a light rest", func(p *Poller, e *Entry) { e.acc.began = p.Now() - int64(time.Second); e.acc.since = 1; p.rest(e) }},
		{"a deep rest", func(p *Poller, e *Entry) { e.acc.began = p.Now(); e.acc.since = restAfter; p.rest(e) }},
		{"a mute", func(p *Poller, e *Entry) { p.mute(e) }},
	} {
		for _, over := range []bool{true, false} {
			name := tt.name + " that goes on when there is room"
			if over {
				name = tt.name + " that is over before"
			}
			t.Run(name, func(t *testing.T) {
				f := newFullTest(t, Config{MaxConnections: 1})
				e := f.sys.entryOf(f.listener)
				ok(t, f.sys.Watch(f.listener, ReadyRead, 7))
				tt.begin(f.sys.poller, e)
				if over {
					e.poll.resumes = f.sys.poller.Now()
					for range 3 {
						if evs := waitAll(t, f.sys, 4, pause(f.sys)); len(evs) != 0 {
							t.Fatalf("events %+v", evs)
						}
					}
					if f.sys.poller.muted.has(e) || f.sys.poller.resting.has(e) {
						t.Error("it goes on")
					}
					f.outside()
				}
				f.release()
				if evs := waitAll(t, f.sys, 4, soon(f.sys)); len(evs) != 1 {
					t.Fatalf("events %+v", evs)
				}
				f.serves(f.accept())
			})
		}
	}
}

// A listener is back where it was, also when several were watched and one of them is closed meanwhile.
func TestEveryListenerOfAFullGuestComesBack(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 1})
	var addrs []string
	for i := range uint64(4) {
		fd, addr := openListener(t, f.sys)
		addrs = append(addrs, addr)
		ok(t, f.sys.Watch(fd, ReadyRead, i))
		if i == 2 {
			waitAll(t, f.sys, 4, pause(f.sys))
			ok(t, f.sys.FdClose(fd))
		}
	}
	waitAll(t, f.sys, 4, pause(f.sys))
	f.outside()
	f.release()
	for _, i := range []int{0, 1, 3} {
		dial(t, addrs[i])
		evs := waitAll(t, f.sys, 4, soon(f.sys))
		if len(evs) != 1 || evs[0].Token != uint64(i) {
			t.Fatalf("events %+v", evs)
		}
		accept(t, f.sys, evs[0].Fd)
	}
}

func TestOtherDescriptorsOfAFullGuestAreReady(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 1})
	fd, peer := pipe(t, f.sys, rightFdRead, 0)
	_, err := peer.WriteString("x")
	check(t, err)
	ok(t, f.sys.Watch(f.listener, ReadyRead, 1))
	ok(t, f.sys.Watch(fd, ReadyRead, 2))
	for range 3 {
		if evs := waitAll(t, f.sys, 1, soon(f.sys)); len(evs) != 1 || evs[0].Token != 2 {
			t.Errorf("events %+v", evs)
		}
		if evs := f.pollFor(readable(f.listener, 1), readable(fd, 2)); len(evs) != 1 || evs[0].Userdata != 2 {
			t.Errorf("events %+v", evs)
		}
	}
}

func TestWhatMakesRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(f *fullTest)
		full bool
	}{
		{"a close", func(f *fullTest) { f.release() }, false},
		{"one connection renumbered onto another", func(f *fullTest) { f.want(0, "fd_renumber", uint64(f.held[0]), uint64(f.held[1])) }, false},
		{"not a listener renumbered onto another", func(f *fullTest) {
			late, _ := openListener(f.t, f.sys)
			f.want(0, "fd_renumber", uint64(late), uint64(f.listener))
		}, true},
		{"not a shutdown", func(f *fullTest) { ok(f.t, f.sys.SockShutdown(f.held[0], sdflagRead|sdflagWrite)) }, true},
		{"not another descriptor's close", func(f *fullTest) {
			fd, _ := pipe(f.t, f.sys, rightFdRead, 0)
			ok(f.t, f.sys.FdClose(fd))
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFullTest(t, Config{MaxConnections: 2})
			tt.act(f)
			if f.sys.poller.full != tt.full {
				t.Errorf("full: %v", f.sys.poller.full)
			}
		})
	}
}

func TestConnectionsWithoutALimit(t *testing.T) {
	for _, most := range []int{0, -1} {
		s := newSystem(t, Config{MaxConnections: most})
		listener, addr := openListener(t, s)
		for range 20 {
			connect(t, s, listener, addr)
		}
	}
}

// What a drain has ended is the guest's until it closes it; and a drain takes no more connections, room or not.
func TestADrainOfAFullGuest(t *testing.T) {
	d := &drainTest{System: newSystem(t, Config{MaxConnections: 1}), t: t, idle: true}
	d.listener, d.addr = openListener(t, d.System)
	d.hurry()
	ok(t, d.Watch(d.listener, ReadyRead, 1))
	fd, client := d.request(true)
	dial(t, d.addr)
	go func() {
		wantEnd(t, client)
		client.Close()
	}()
	d.begin(brief, false)
	d.finish(0)
	if !d.entryOf(fd).drain.closed || !d.poller.full {
		t.Errorf("ended: %v, full: %v", d.entryOf(fd).drain.closed, d.poller.full)
	}
	ok(t, d.FdClose(fd))
	if d.poller.full {
		t.Error("a close makes no room")
	}
	d.poller.Nudge()
	if got := waitAll(t, d.System, 4, pause(d.System)); len(got) != 0 || len(d.poller.listening.entries) != 0 {
		t.Errorf("events %+v, %d listeners in epoll", got, len(d.poller.listening.entries))
	}
	_, errno := d.SockAccept(d.listener, 0)
	wantErrno(t, errno, abi.EAGAIN)
}

// An aware guest closes its connections itself: none of the closes brings a listener back.
func TestAnAwareDrainOfAFullGuest(t *testing.T) {
	d := &drainTest{System: newSystem(t, Config{MaxConnections: 1}), t: t, idle: true}
	d.listener, d.addr = openListener(t, d.System)
	ok(t, d.Watch(d.listener, ReadyRead, 1))
	fd, _ := d.request(true)
	waitAll(t, d.System, 4, pause(d.System))
	d.begin(long, true)
	ok(t, d.FdClose(fd))
	dial(t, d.addr)
	if got := waitAll(t, d.System, 4, pause(d.System)); len(got) != 0 {
		t.Errorf("events %+v", got)
	}
	d.finish(0)
}

// The two limits meet: the one of connections is asked first, so that a guest which is full does not hear EMFILE.
func TestAFullGuestWithAFullTable(t *testing.T) {
	f := newFullTest(t, Config{MaxConnections: 2, MaxFDs: 3})
	_, errno := f.sys.SockAccept(f.listener, 0)
	wantErrno(t, errno, abi.EAGAIN)
	f.release()
	f.serves(f.accept())
}
