package wasip1

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// waitAll is what one Wait with room for n answers.
func waitAll(t *testing.T, s *System, n int, deadline int64) []WaitEvent {
	t.Helper()
	out := make([]WaitEvent, n)
	return out[:s.Wait(out, deadline)]
}

// tokens are those of events, in order.
func tokens(events []WaitEvent) []uint64 {
	list := []uint64{}
	for _, ev := range events {
		list = append(list, ev.Token)
	}
	return list
}

func TestWatchErrnos(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	s := g.sys
	for _, tt := range []struct {
		name     string
		fd       uint64
		interest uint32
		errno    Errno
	}{
		{"a number that is not open", z.closed, ReadyRead, abi.EBADF},
		{"a number that is not open, to stop", z.closed, 0, abi.EBADF},
		{"hangups are told without being asked for", z.stream, ReadyRead | ReadyHangup, abi.EINVAL},
		{"an unknown bit", z.stream, 1 << 31, abi.EINVAL},
		{"a connection", z.stream, ReadyRead | ReadyWrite, 0},
		{"the same again", z.stream, ReadyRead | ReadyWrite, 0},
		{"less", z.stream, ReadyWrite, 0},
		{"none", z.stream, 0, 0},
		{"none again", z.stream, 0, 0},
		{"a listener", z.listener, ReadyRead, 0},
		{"a listener with another interest, which the kernel refuses to change", z.listener, ReadyRead | ReadyWrite, 0},
		{"a listener with the first again", z.listener, ReadyRead, 0},
		{"a file", z.file, ReadyRead, 0},
		{"the inbox", z.virtual, ReadyRead, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantErrno(t, s.Watch(uint32(tt.fd), tt.interest, 1), tt.errno)
		})
	}
}

func TestWaitReports(t *testing.T) {
	s := newSystem(t, Config{})
	idle, _ := stream(t, s, 0)
	some, peer := stream(t, s, 0)
	_, err := peer.WriteString("x")
	check(t, err)
	gone, peer := stream(t, s, 0)
	peer.Close()
	listener, addr := openListener(t, s)
	dial(t, addr)
	plain, _ := file(t, s, "")
	inbox := &fakeVirtual{ready: ReadyRead | ReadyWrite}
	virtual, errno := s.OpenVirtual(inbox)
	ok(t, errno)
	shut, _ := stream(t, s, 0)
	ok(t, s.SockShutdown(shut, sdflagRead))
	for _, tt := range []struct {
		name     string
		fd       uint32
		interest uint32
		want     uint32
	}{
		{"nothing of an idle connection that is watched for reading", idle, ReadyRead, 0},
		{"that an idle connection can be written", idle, ReadyRead | ReadyWrite, ReadyWrite},
		{"that something has come", some, ReadyRead, ReadyRead},
		{"that something has come, and that it can be written", some, ReadyRead | ReadyWrite, ReadyRead | ReadyWrite},
		{"only what is watched", some, ReadyWrite, ReadyWrite},
		{"a hangup, also to one who watches for writing", gone, ReadyWrite, ReadyWrite | ReadyHangup},
		{"a connection to be accepted", listener, ReadyRead, ReadyRead},
		{"a connection to be accepted, to one who watches for writing as well", listener, ReadyRead | ReadyWrite, ReadyRead},
		{"a file", plain, ReadyRead, ReadyRead},
		{"the inbox", virtual, ReadyRead, ReadyRead},
		{"the end of a direction that was shut down", shut, ReadyRead, ReadyRead},
		{"the end of a direction that was shut down once, with what else there is", shut, ReadyRead | ReadyWrite, ReadyRead | ReadyWrite},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok(t, s.Watch(tt.fd, tt.interest, 1<<63+5))
			for range 3 { // level-triggered
				got := waitAll(t, s, 8, 0)
				want := []WaitEvent{{Token: 1<<63 + 5, Fd: tt.fd, Ready: tt.want}}
				if tt.want == 0 {
					want = nil
				}
				if !slices.Equal(got, want) {
					t.Errorf("events %+v, want %+v", got, want)
				}
			}
			ok(t, s.Watch(tt.fd, 0, 0))
			if got := waitAll(t, s, 8, 0); len(got) != 0 {
				t.Errorf("events %+v of what is no longer watched", got)
			}
		})
	}
}

func TestShutdownOfAWatchedConnectionIsReported(t *testing.T) {
	s := newSystem(t, Config{})
	fd, peer := stream(t, s, 0)
	ok(t, s.Watch(fd, ReadyRead, 1))
	if got := waitAll(t, s, 2, 0); len(got) != 0 {
		t.Fatalf("events %+v", got)
	}
	ok(t, s.SockShutdown(fd, sdflagRead))
	_, err := peer.WriteString("x") // epoll finds it ready as well
	check(t, err)
	if got := waitAll(t, s, 2, 0); len(got) != 1 || got[0].Ready != ReadyRead {
		t.Errorf("events %+v, want one", got)
	}
	ok(t, s.FdClose(fd))
	if got := waitAll(t, s, 2, 0); len(got) != 0 {
		t.Errorf("events %+v of what is closed", got)
	}
}

func TestWaitDeadlines(t *testing.T) {
	s := newSystem(t, Config{})
	fd, _ := stream(t, s, 0)
	ok(t, s.Watch(fd, ReadyRead, 1))
	for _, d := range []time.Duration{0, 1, time.Millisecond, 20 * time.Millisecond} {
		start := time.Now()
		if n := s.Wait(make([]WaitEvent, 1), s.poller.Now()+int64(d)); n != 0 {
			t.Errorf("%d events", n)
		}
		if took := time.Since(start); took < d {
			t.Errorf("after %v, want %v", took, d)
		}
	}
}

// A worker that was woken for a connection should accept it before it does anything long.
func TestWaitTellsListenersFirst(t *testing.T) {
	s := newSystem(t, Config{})
	var want []uint64
	for i := range uint64(6) {
		fd, peer := stream(t, s, 0)
		_, err := peer.WriteString("x")
		check(t, err)
		ok(t, s.Watch(fd, ReadyRead, i))
		if i%2 == 0 {
			listener, addr := openListener(t, s)
			dial(t, addr)
			ok(t, s.Watch(listener, ReadyRead, 100+i))
			want = append(want, 100+i)
		}
	}
	virtual, errno := s.OpenVirtual(&fakeVirtual{ready: ReadyRead})
	ok(t, errno)
	ok(t, s.Watch(virtual, ReadyRead, 50))
	got := tokens(waitAll(t, s, 20, 0))
	if len(got) != 10 {
		t.Fatalf("events for %v", got)
	}
	first := got[:3]
	slices.Sort(first)
	if !slices.Equal(first, want) || got[9] != 50 {
		t.Errorf("events for %v: want %v first, and 50 last", got, want)
	}
}

// However few events a guest takes at a time, neither the inbox nor the sockets keep the other from it.
func TestWaitIsFair(t *testing.T) {
	for _, room := range []int{1, 2, 3, 5} {
		s := newSystem(t, Config{})
		const each = 4
		for i := range uint64(each) {
			fd, peer := stream(t, s, 0)
			_, err := peer.WriteString("x")
			check(t, err)
			ok(t, s.Watch(fd, ReadyRead, i))
			virtual, errno := s.OpenVirtual(&fakeVirtual{ready: ReadyRead})
			ok(t, errno)
			ok(t, s.Watch(virtual, ReadyRead, each+i))
		}
		times := map[uint64]int{}
		for range 40 {
			got := tokens(waitAll(t, s, room, soon(s)))
			if len(got) != room {
				t.Fatalf("room for %d: %d events", room, len(got))
			}
			for _, token := range got {
				times[token]++
			}
		}
		for i := range uint64(2 * each) {
			if fair := 40 * room / (2 * each); times[i] < fair/2 {
				t.Errorf("room for %d: descriptor %d told %d times of %v", room, i, times[i], times)
			}
		}
	}
}

// With room for one and the sockets' turn, a ready inbox must not have to wait for a socket.
func TestWaitForOneDoesNotSleepBesideAReadyInbox(t *testing.T) {
	s := newSystem(t, Config{})
	fd, _ := stream(t, s, 0)
	ok(t, s.Watch(fd, ReadyRead, 1))
	virtual, errno := s.OpenVirtual(&fakeVirtual{ready: ReadyRead})
	ok(t, errno)
	ok(t, s.Watch(virtual, ReadyRead, 2))
	a := newActor(t)
	for range 4 {
		var got []WaitEvent
		await(t, "the inbox", a.start(func() { got = waitAll(t, s, 1, Forever) }))
		if len(got) != 1 || got[0].Token != 2 {
			t.Errorf("events %+v", got)
		}
	}
}

func TestWaitServesSources(t *testing.T) {
	s := newSystem(t, Config{})
	b := newBell(t, s)
	a := newActor(t)
	inbox := &fakeVirtual{}
	virtual, errno := s.OpenVirtual(inbox)
	ok(t, errno)
	ok(t, s.Watch(virtual, ReadyRead, 2))
	var got []WaitEvent
	waited := a.start(func() { got = waitAll(t, s, 1, Forever) })
	a.asleep(t)
	b.ring(t, func() {})
	a.asleep(t)
	b.ring(t, func() { inbox.ready = ReadyRead })
	await(t, "the inbox", waited)
	if len(got) != 1 || got[0].Token != 2 {
		t.Errorf("events %+v", got)
	}
}

// A guest may use both ways of waiting, whatever its libraries do.
func TestWatchAndPollTogether(t *testing.T) {
	g := newGuest(t, Config{})
	s := g.sys
	watched, peer := stream(t, s, fdflagNonblock)
	ok(t, s.Watch(watched, ReadyRead, 1))
	polled, _ := stream(t, s, fdflagNonblock)
	_, err := peer.WriteString("x")
	check(t, err)
	g.pollFor(readable(polled, 1), after(time.Millisecond, 2))
	if got := tokens(waitAll(t, s, 4, 0)); !slices.Equal(got, []uint64{1}) {
		t.Errorf("events for %v after a poll for another descriptor", got)
	}
	g.pollFor(writable(watched, 1))
	if got := waitAll(t, s, 4, 0); len(got) != 1 || got[0].Ready != ReadyRead {
		t.Errorf("events %+v after a poll for writing", got)
	}
	// A watch ends while the poll has it out of epoll.
	g.pollFor(readable(polled, 1), after(time.Millisecond, 2))
	ok(t, s.Watch(watched, 0, 0))
	if got := waitAll(t, s, 4, 0); len(got) != 0 {
		t.Errorf("events %+v of what is no longer watched", got)
	}
	ok(t, s.Watch(watched, ReadyWrite, 3))
	if got := waitAll(t, s, 4, 0); len(got) != 1 || got[0] != (WaitEvent{Token: 3, Fd: watched, Ready: ReadyWrite}) {
		t.Errorf("events %+v", got)
	}
	// It is closed while the poll has it out of epoll.
	ok(t, s.Watch(watched, ReadyRead, 4))
	g.pollFor(readable(polled, 1), after(time.Millisecond, 2))
	ok(t, s.FdClose(watched))
	if got := waitAll(t, s, 4, 0); len(got) != 0 {
		t.Errorf("events %+v of what is closed", got)
	}
}

func TestBlockingCallsAndWatchTogether(t *testing.T) {
	s := newSystem(t, Config{})
	watched, peer := stream(t, s, fdflagNonblock)
	ok(t, s.Watch(watched, ReadyRead, 1))
	blocking, other := stream(t, s, 0)
	a := newActor(t)
	read := a.start(func() { _, _ = s.FdRead(blocking, vec(make([]byte, 1))) })
	a.asleep(t)
	_, err := peer.WriteString("x")
	check(t, err)
	a.asleep(t)
	_, err = other.WriteString("x")
	check(t, err)
	await(t, "the read returns", read)
	if got := tokens(waitAll(t, s, 4, 0)); !slices.Equal(got, []uint64{1}) {
		t.Errorf("events for %v", got)
	}
}

func TestARenumberedDescriptorIsToldByItsNewNumber(t *testing.T) {
	s := newSystem(t, Config{})
	first, _ := stream(t, s, 0)
	second, _ := stream(t, s, 0)
	ok(t, s.Watch(first, ReadyWrite, 1))
	ok(t, s.Watch(second, ReadyWrite, 2))
	ok(t, s.FdRenumber(second, first))
	if got := waitAll(t, s, 4, 0); len(got) != 1 || got[0] != (WaitEvent{Token: 2, Fd: first, Ready: ReadyWrite}) {
		t.Errorf("events %+v", got)
	}
}

func TestFindVirtual(t *testing.T) {
	s := newSystem(t, Config{})
	inbox := &fakeVirtual{}
	if _, found := s.FindVirtual(inbox); found {
		t.Error("found before it is open")
	}
	other, _ := stream(t, s, 0)
	fd, errno := s.OpenVirtual(inbox)
	ok(t, errno)
	ok(t, s.FdRenumber(fd, other))
	if n, found := s.FindVirtual(inbox); !found || n != other || s.IsVirtual(fd, inbox) || !s.IsVirtual(other, inbox) {
		t.Errorf("found %v at %d, want %d", found, n, other)
	}
	ok(t, s.FdClose(other))
	if _, found := s.FindVirtual(inbox); found {
		t.Error("found after it was closed")
	}
}

func TestAwaits(t *testing.T) {
	g := newGuest(t, Config{})
	s := g.sys
	inbox := &fakeVirtual{}
	fd, errno := s.OpenVirtual(inbox)
	ok(t, errno)
	other, errno := s.OpenVirtual(&fakeVirtual{})
	ok(t, errno)
	awaits := func(want uint32) {
		t.Helper()
		if got := s.Awaits(inbox); got != want {
			t.Errorf("awaits %d, want %d", got, want)
		}
	}
	awaits(0)
	ok(t, s.Watch(other, ReadyRead|ReadyWrite, 0))
	awaits(0)
	ok(t, s.Watch(fd, ReadyRead, 0))
	awaits(ReadyRead)
	b := newBell(t, s)
	a := newActor(t)
	polled := a.start(func() { g.pollFor(writable(fd, 1)) })
	a.asleep(t)
	b.ring(t, func() {
		awaits(ReadyRead | ReadyWrite)
		inbox.ready = ReadyWrite
	})
	await(t, "the poll ends", polled)
	s.Wait(make([]WaitEvent, 1), 0) // a wait for something else
	awaits(ReadyRead)
	ok(t, s.Watch(fd, 0, 0))
	awaits(0)
}

func TestWaitBitsAreThoseOfTheGuestABI(t *testing.T) {
	if ReadyRead != abi.WatchRead || ReadyWrite != abi.WatchWrite || ReadyHangup != abi.WatchHangup || ReadyError != abi.WatchError {
		t.Error("the numbers differ")
	}
	if mask := epollMask(ReadyRead | ReadyWrite); readyBits(mask|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 15 {
		t.Error("epoll's bits are not turned back")
	}
}
