package wasip1

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

func TestSockAcceptErrnos(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "sock_accept", []fdCase{
		{"a number that is not open", z.closed, p(0, 0), abi.EBADF},
		{"a connection does not listen", z.stream, p(0, 0), abi.EINVAL},
		{"a pipe is no socket", z.reader, p(0, 0), abi.ENOTSOCK},
		{"a file is no socket", z.file, p(0, 0), abi.ENOTSOCK},
		{"the inbox is no socket", z.virtual, p(0, 0), abi.ENOTSOCK},
		{"no connection is there", z.listener, p(0, 0), abi.EAGAIN},
		{"NONBLOCK for the connection", z.listener, p(fdflagNonblock, 0), abi.EAGAIN},
		{"another flag", z.listener, p(fdflagAppend, 0), abi.EINVAL},
		{"a flag beyond 16 bits", z.listener, p(1<<16|fdflagNonblock, 0), abi.EINVAL},
		{"a pointer past the end", z.listener, p(0, memorySize-3), abi.EFAULT},
	})
	g.want(0, "fd_fdstat_set_rights", z.listener, 0, 0)
	g.want(abi.ENOTCAPABLE, "sock_accept", z.listener, 0, 0)
}

func TestSockAcceptWithABadPointerTakesNothing(t *testing.T) {
	g := newGuest(t, Config{})
	listener, addr := openListener(t, g.sys)
	client := dial(t, addr)
	e, _ := g.sys.table.get(listener)
	ok(t, g.sys.poller.waitFor(e, ReadyRead))
	for _, bad := range []uint64{memorySize - 3, memorySize, 1<<32 - 1, 1<<32 - 4} {
		g.want(abi.EFAULT, "sock_accept", uint64(listener), 0, bad)
	}
	if g.sys.figures.Accepted != 0 {
		t.Error("a connection was taken")
	}
	g.want(0, "sock_accept", uint64(listener), 0, memorySize-4)
	fd := g.u32(memorySize - 4)
	_, errno := g.sys.FdWrite(fd, vec([]byte("hello")))
	ok(t, errno)
	var got [5]byte
	_, err := io.ReadFull(client, got[:])
	check(t, err)
}

func TestAcceptedConnection(t *testing.T) {
	var figures Figures
	s := newSystem(t, Config{Figures: &figures})
	listener, addr := openListener(t, s)
	for i, flags := range []uint16{0, fdflagNonblock} {
		dial(t, addr)
		e, _ := s.table.get(listener)
		ok(t, s.poller.waitFor(e, ReadyRead))
		fd, errno := s.SockAccept(listener, flags)
		ok(t, errno)
		st, errno := s.FdFdstatGet(fd)
		ok(t, errno)
		if st.Flags != flags || st.Filetype != filetypeSocketStream || st.Rights != streamRights {
			t.Errorf("fdstat %+v", st)
		}
		if figures.Accepted != uint64(i+1) || figures.Connections != uint64(i+1) {
			t.Errorf("figures %+v", figures)
		}
		conn, _ := s.table.get(fd)
		if flags, err := unix.FcntlInt(uintptr(conn.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x, %v: a child would inherit the connection", flags, err)
		}
	}
	ok(t, s.FdClose(listener+1))
	if figures.Accepted != 2 || figures.Connections != 1 {
		t.Errorf("figures %+v after a close", figures)
	}
}

// With EPOLLEXCLUSIVE one accept per turn is what spreads a burst over the workers.
func TestASecondAcceptInOneTurnIsLeftToTheSiblings(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	for range 4 {
		dial(t, addr)
	}
	accept := func(want Errno) {
		t.Helper()
		_, errno := s.SockAccept(listener, 0)
		wantErrno(t, errno, want)
	}
	accept(0)
	accept(abi.EAGAIN) // without looking
	accept(0)          // a guest that does not wait in between is not held up for long
	ok(t, s.Watch(listener, ReadyRead, 0))
	var out [1]WaitEvent
	if s.Wait(out[:], soon(s)) != 1 {
		t.Fatal("the listener is not ready")
	}
	accept(0)
	accept(abi.EAGAIN)
	if s.Wait(out[:], soon(s)) != 1 {
		t.Fatal("the listener is not ready")
	}
	accept(0)
	accept(abi.EAGAIN)
	accept(abi.EAGAIN) // there is none
}

func TestBlockingAccept(t *testing.T) {
	s := newSystem(t, Config{})
	raw, addr := listenTCP(t)
	listener, errno := s.OpenListener(raw, true, nil)
	ok(t, errno)
	b := newBell(t, s)
	a := newActor(t)
	var fd uint32
	for i := range 3 * restAfter {
		accepted := a.start(func() { fd, errno = s.SockAccept(listener, 0) })
		if i < 2 {
			a.asleep(t)
			b.ring(t, func() {})
			a.asleep(t)
		}
		dial(t, addr)
		await(t, "the accept returns", accepted)
		if errno != 0 || fd != uint32(i+1) {
			t.Fatalf("connection %d, %v", fd, errno)
		}
	}
	// Several at once: each accept after the first waits for a turn of its own, and not for a client.
	dial(t, addr)
	dial(t, addr)
	for range 2 {
		a.do(func() { _, errno = s.SockAccept(listener, 0) })
		ok(t, errno)
	}
}

// A preopened listener is blocking until its guest shows that it can wait.
func TestAPreopenedListenerBecomesNonblocking(t *testing.T) {
	for _, tt := range []struct {
		name string
		show func(g *testGuest)
		want bool
	}{
		{"not by itself", func(*testGuest) {}, false},
		{"when asked what it is, as Go does", func(g *testGuest) { g.want(0, "fd_fdstat_get", 0, 0) }, true},
		{"when subscribed to", func(g *testGuest) {
			g.subscribe(0, Subscription{Tag: eventFdRead, Fd: 0})
			g.subscribe(1, Subscription{Tag: eventClock, Clock: clockMonotonic})
			g.poll(2)
		}, true},
		{"when watched", func(g *testGuest) { ok(g.tb, g.sys.Watch(0, ReadyRead, 0)) }, true},
		{"when it is set to", func(g *testGuest) { g.want(0, "fd_fdstat_set_flags", 0, fdflagNonblock) }, true},
		{"not after it was set to block", func(g *testGuest) {
			g.want(0, "fd_fdstat_set_flags", 0, 0)
			g.want(0, "fd_fdstat_get", 0, 0)
			ok(g.tb, g.sys.Watch(0, ReadyRead, 0))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(t, Config{})
			raw, _ := listenTCP(t)
			_, errno := g.sys.OpenListener(raw, true, nil)
			ok(t, errno)
			tt.show(g)
			e, _ := g.sys.table.get(0)
			if e.nonblocking() != tt.want {
				t.Errorf("non-blocking: %v", e.nonblocking())
			}
		})
	}
}

func TestOpenListenerRefuses(t *testing.T) {
	s := newSystem(t, Config{MaxFDs: 1})
	raw, _ := listenTCP(t)
	check(t, unix.SetNonblock(raw, false))
	_, errno := s.OpenListener(raw, false, nil)
	wantErrno(t, errno, abi.EINVAL)
	_, errno = s.OpenListener(raw, false, nil) // closed by now
	wantErrno(t, errno, abi.EINVAL)
	raw, _ = listenTCP(t)
	_, errno = s.OpenListener(raw, false, nil)
	ok(t, errno)
	wantErrno(t, s.Room(), abi.EMFILE)
	raw, _ = listenTCP(t)
	_, errno = s.OpenListener(raw, false, nil)
	wantErrno(t, errno, abi.EMFILE)
	_, errno = s.OpenVirtual(&fakeVirtual{})
	wantErrno(t, errno, abi.EMFILE)
}

func TestWaitedIsCalledOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait func(g *testGuest)
	}{
		{"accept", func(g *testGuest) { g.want(abi.EAGAIN, "sock_accept", 0, 0, 0) }},
		{"watch", func(g *testGuest) { ok(g.tb, g.sys.Watch(0, ReadyRead, 0)) }},
		{"poll_oneoff", func(g *testGuest) {
			g.subscribe(0, Subscription{Tag: eventFdRead, Fd: 0})
			g.subscribe(1, Subscription{Tag: eventClock, Clock: clockMonotonic})
			g.poll(2)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(t, Config{})
			raw, _ := listenTCP(t)
			times := 0
			_, errno := g.sys.OpenListener(raw, false, func() { times++ })
			ok(t, errno)
			g.want(0, "fd_fdstat_get", 0, 0)
			if times != 0 {
				t.Error("to ask what it is is not to wait")
			}
			tt.wait(g)
			tt.wait(g)
			if times != 1 {
				t.Errorf("called %d times", times)
			}
		})
	}
}

// No room is found out before a connection is taken that would be lost, and the listener is left alone for a while: a
// server that tries again at once would spin.
func TestAFullTableMutesTheListener(t *testing.T) {
	s := newSystem(t, Config{MaxFDs: 2})
	listener, addr := openListener(t, s)
	first, _ := connect(t, s, listener, addr)
	client := dial(t, addr)
	ok(t, s.Watch(listener, ReadyRead, 7))
	var out [4]WaitEvent
	if s.Wait(out[:], soon(s)) != 1 {
		t.Fatal("the listener is not ready")
	}
	_, errno := s.SockAccept(listener, 0)
	wantErrno(t, errno, abi.EMFILE)
	_, errno = s.SockAccept(listener, 0)
	wantErrno(t, errno, abi.EAGAIN)
	if n := s.Wait(out[:], 0); n != 0 {
		t.Errorf("%d events while it is muted", n)
	}
	ok(t, s.FdClose(first))
	before := s.poller.Now()
	if s.Wait(out[:], soon(s)) != 1 || out[0].Token != 7 {
		t.Fatal("the listener is not ready again")
	}
	if muted := s.poller.Now() - before; muted > int64(patience)/2 || muted < muteFor/10 {
		t.Errorf("ready again after %d ms", muted/1e6)
	}
	fd, errno := s.SockAccept(listener, 0)
	ok(t, errno)
	_, errno = s.FdWrite(fd, vec([]byte("x")))
	ok(t, errno)
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestABlockingAcceptGoesOnAfterAMute(t *testing.T) {
	s := newSystem(t, Config{MaxFDs: 2})
	raw, addr := listenTCP(t)
	listener, errno := s.OpenListener(raw, true, nil)
	ok(t, errno)
	first, _ := connect(t, s, listener, addr)
	a := newActor(t)
	dial(t, addr)
	for errno = abi.EAGAIN; errno != abi.EMFILE; {
		a.do(func() { _, errno = s.SockAccept(listener, 0) })
	}
	accepted := a.start(func() { _, errno = s.SockAccept(listener, 0) })
	a.asleep(t)
	await(t, "it is no longer muted", accepted)
	wantErrno(t, errno, abi.EMFILE)
	ok(t, s.FdClose(first))
	a.do(func() { _, errno = s.SockAccept(listener, 0) })
	ok(t, errno)
}

func TestPollingGoesOnAfterAMute(t *testing.T) {
	g := newGuest(t, Config{MaxFDs: 2})
	s := g.sys
	listener, addr := openListener(t, s)
	first, _ := connect(t, s, listener, addr)
	dial(t, addr)
	e, _ := s.table.get(listener)
	ok(t, s.poller.waitFor(e, ReadyRead))
	_, errno := s.SockAccept(listener, 0)
	wantErrno(t, errno, abi.EMFILE)
	ok(t, s.FdClose(first))
	g.subscribe(0, Subscription{Tag: eventFdRead, Fd: listener})
	g.subscribe(1, Subscription{Tag: eventClock, Clock: clockMonotonic, Timeout: uint64(patience)})
	if evs := g.poll(2); len(evs) != 1 || evs[0].Type != eventFdRead {
		t.Errorf("events %+v", evs)
	}
}

// The process's own limit is met like the table's.
func TestAProcessWithoutDescriptorsMutesTheListener(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	dial(t, addr)
	e, _ := s.table.get(listener)
	ok(t, s.poller.waitFor(e, ReadyRead))
	var was unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}))
	_, errno := s.SockAccept(listener, 0)
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
	wantErrno(t, errno, abi.EMFILE)
	if !s.poller.muted.has(e) {
		t.Error("not muted")
	}
	ok(t, s.poller.waitFor(e, ReadyRead))
	_, errno = s.SockAccept(listener, 0)
	ok(t, errno)
}
