package wasip1

import (
	"io"
	"net"
	"strings"
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

func TestSockRecv(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	g.iovec(iovsAt, dataAt, 8)
	runCases(t, g, "sock_recv", []fdCase{
		{"a number that is not open", z.closed, p(iovsAt, 1, 0, sizeAt, 8), abi.EBADF},
		{"a listener has no peer", z.listener, p(iovsAt, 1, 0, sizeAt, 8), abi.ENOTCONN},
		{"a pipe is no socket", z.reader, p(iovsAt, 1, 0, sizeAt, 8), abi.ENOTSOCK},
		{"a file is no socket", z.file, p(iovsAt, 1, 0, sizeAt, 8), abi.ENOTSOCK},
		{"the inbox is no socket", z.virtual, p(iovsAt, 1, 0, sizeAt, 8), abi.ENOTSOCK},
		{"nothing is there", z.stream, p(iovsAt, 1, 0, sizeAt, 8), abi.EAGAIN},
		{"nothing is there to see", z.stream, p(iovsAt, 1, riflagPeek, sizeAt, 8), abi.EAGAIN},
		{"WAITALL does not make a NONBLOCK connection wait", z.stream, p(iovsAt, 1, riflagWaitall, sizeAt, 8), abi.EAGAIN},
		{"no room for a byte", z.stream, p(iovsAt, 0, 0, sizeAt, 8), 0},
		{"an unknown flag", z.stream, p(iovsAt, 1, 4, sizeAt, 8), abi.EINVAL},
		{"a flag beyond 16 bits", z.stream, p(iovsAt, 1, 1<<16, sizeAt, 8), abi.EINVAL},
		{"iovecs past the end", z.stream, p(memorySize-7, 1, 0, sizeAt, 8), abi.EFAULT},
		{"a size past the end", z.stream, p(iovsAt, 1, 0, memorySize-3, 8), abi.EFAULT},
		{"flags past the end", z.stream, p(iovsAt, 1, 0, sizeAt, memorySize-1), abi.EFAULT},
	})
	_, err := z.peer.WriteString("hello")
	check(t, err)
	for _, flags := range []uint64{riflagPeek, riflagPeek | riflagWaitall, 0} {
		copy(g.mem[8:], "xx")
		g.want(0, "sock_recv", z.stream, iovsAt, 1, flags, sizeAt, 8)
		if g.u32(sizeAt) != 5 || string(g.mem[dataAt:dataAt+5]) != "hello" || g.mem[8] != 0 || g.mem[9] != 0 {
			t.Errorf("flags %d: %d bytes %q, answers %x", flags, g.u32(sizeAt), g.mem[dataAt:dataAt+5], g.mem[8:10])
		}
	}
	if g.sys.figures.BytesIn != 5 {
		t.Errorf("%d bytes in; what was only looked at does not count", g.sys.figures.BytesIn)
	}
	g.want(0, "fd_fdstat_set_rights", z.stream, rightFdWrite, 0)
	g.want(abi.ENOTCAPABLE, "sock_recv", z.stream, iovsAt, 1, 0, sizeAt, 8)
}

func TestWaitall(t *testing.T) {
	for _, tt := range []struct {
		name string
		want string
		end  bool
	}{
		{"waits until all of the buffers are full", "hello world", false},
		{"or the connection ends", "hello wo", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSystem(t, Config{})
			a := newActor(t)
			fd, peer := stream(t, s, 0)
			first, second := make([]byte, 7), make([]byte, 4)
			var n uint32
			var errno Errno
			received := a.start(func() { n, _, errno = s.SockRecv(fd, vec(first, second), riflagWaitall) })
			for _, part := range []string{"hel", "lo w", "o"} {
				a.asleep(t)
				_, err := peer.WriteString(part)
				check(t, err)
			}
			a.asleep(t)
			if tt.end {
				peer.Close()
			} else {
				_, err := peer.WriteString("rld!")
				check(t, err)
			}
			await(t, "it returns", received)
			if got := (string(first) + string(second))[:n]; got != tt.want || errno != 0 {
				t.Errorf("received %q, %v; want %q", got, errno, tt.want)
			}
		})
	}
}

func TestSockSend(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	copy(g.mem[dataAt:], "hello")
	g.iovec(iovsAt, dataAt, 2)
	g.iovec(iovsAt+8, dataAt+2, 3)
	runCases(t, g, "sock_send", []fdCase{
		{"a number that is not open", z.closed, p(iovsAt, 1, 0, sizeAt), abi.EBADF},
		{"a listener has no peer", z.listener, p(iovsAt, 1, 0, sizeAt), abi.ENOTCONN},
		{"a pipe is no socket", z.writer, p(iovsAt, 1, 0, sizeAt), abi.ENOTSOCK},
		{"a file is no socket", z.file, p(iovsAt, 1, 0, sizeAt), abi.ENOTSOCK},
		{"the inbox is no socket", z.virtual, p(iovsAt, 1, 0, sizeAt), abi.ENOTSOCK},
		{"there are no flags", z.stream, p(iovsAt, 1, 1, sizeAt), abi.EINVAL},
		{"no flags beyond 16 bits either", z.stream, p(iovsAt, 1, 1<<16, sizeAt), abi.EINVAL},
		{"iovecs past the end", z.stream, p(memorySize-7, 1, 0, sizeAt), abi.EFAULT},
		{"a size past the end", z.stream, p(iovsAt, 1, 0, memorySize-3), abi.EFAULT},
		{"one vector", z.stream, p(iovsAt, 1, 0, sizeAt), 0},
		{"two vectors", z.stream, p(iovsAt, 2, 0, sizeAt), 0},
	})
	if g.u32(sizeAt) != 5 || g.sys.figures.BytesOut != 7 {
		t.Errorf("sent %d bytes, %d in all", g.u32(sizeAt), g.sys.figures.BytesOut)
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(z.peer, got); err != nil || string(got) != "hehello" {
		t.Errorf("%q, %v", got, err)
	}
	z.peer.Close()
	g.want(abi.EPIPE, "sock_send", z.stream, iovsAt, 1, 0, sizeAt)
	g.want(0, "fd_fdstat_set_rights", z.stream, rightFdRead, 0)
	g.want(abi.ENOTCAPABLE, "sock_send", z.stream, iovsAt, 1, 0, sizeAt)
}

func TestAResetIsToldOnce(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	fd, client := connect(t, s, listener, addr)
	check(t, client.(*net.TCPConn).SetLinger(0))
	client.Close()
	e, _ := s.table.get(fd)
	ok(t, s.poller.waitFor(e, ReadyRead))
	_, errno := s.FdRead(fd, vec(make([]byte, 1)))
	wantErrno(t, errno, abi.ECONNRESET)
	_, errno = s.FdWrite(fd, vec(make([]byte, 1)))
	wantErrno(t, errno, abi.EPIPE)
}

func TestSockShutdown(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	g.iovec(iovsAt, dataAt, 5)
	runCases(t, g, "sock_shutdown", []fdCase{
		{"a number that is not open", z.closed, p(sdflagRead), abi.EBADF},
		{"a listener is shared with others", z.listener, p(sdflagRead | sdflagWrite), abi.ENOTSUP},
		{"a pipe is no socket", z.reader, p(sdflagRead), abi.ENOTSOCK},
		{"the inbox is no socket", z.virtual, p(sdflagRead), abi.ENOTSOCK},
		{"no direction", z.stream, p(0), abi.EINVAL},
		{"an unknown direction", z.stream, p(4), abi.EINVAL},
		{"a direction beyond 8 bits", z.stream, p(1<<8 | sdflagRead), abi.EINVAL},
		{"for reading", z.stream, p(sdflagRead), 0},
		{"for reading again", z.stream, p(sdflagRead), 0},
	})
	_, err := z.peer.WriteString("late")
	check(t, err)
	g.want(0, "fd_read", z.stream, iovsAt, 1, sizeAt)
	if g.u32(sizeAt) != 0 {
		t.Error("what comes after the end is read")
	}
	g.want(0, "fd_write", z.stream, iovsAt, 1, sizeAt)
	g.want(0, "sock_shutdown", z.stream, sdflagWrite)
	g.want(abi.EPIPE, "fd_write", z.stream, iovsAt, 1, sizeAt)
	if got, err := io.ReadAll(z.peer); len(got) != 5 || err != nil {
		t.Errorf("the peer reads %d bytes, %v", len(got), err)
	}
	z.peer.Close()
	g.want(0, "fd_fdstat_set_rights", z.stream, 0, 0)
	g.want(abi.ENOTCAPABLE, "sock_shutdown", z.stream, sdflagRead)
}

func TestAddresses(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	fd, client := connect(t, s, listener, addr)
	raw, path := listenUnix(t)
	unixListener, errno := s.OpenListener(raw, false, nil)
	ok(t, errno)
	unixFD, _ := connect(t, s, unixListener, path)
	reader, _ := pipe(t, s, rightFdRead, 0)
	for _, tt := range []struct {
		name   string
		get    func(uint32) ([]byte, Errno)
		fd     uint32
		want   string
		errno  Errno
		prefix bool
	}{
		{"a listener's own", s.LocalAddress, listener, "tcp://" + addr, 0, false},
		{"a listener has no peer", s.PeerAddress, listener, "", abi.ENOTCONN, false},
		{"a connection's own", s.LocalAddress, fd, "tcp://" + addr, 0, false},
		{"a connection's peer", s.PeerAddress, fd, "tcp://" + client.LocalAddr().String(), 0, false},
		{"a path", s.LocalAddress, unixListener, "unix://" + path, 0, false},
		{"a peer without a name", s.PeerAddress, unixFD, "unix://", 0, false},
		{"a pipe is no socket", s.LocalAddress, reader, "", abi.ENOTSOCK, false},
		{"a number that is not open", s.LocalAddress, 1000, "", abi.EBADF, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, errno := tt.get(tt.fd)
			if string(got) != tt.want || errno != tt.errno {
				t.Errorf("%q, %v; want %q, %v", got, errno, tt.want, tt.errno)
			}
		})
	}
}

func TestTextOfAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		sa   unix.Sockaddr
		want string
	}{
		{"IPv4", &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, "tcp://127.0.0.1:"},
		{"IPv6", &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, "tcp://[::1]:"},
		{"an abstract name", &unix.SockaddrUnix{Name: "@wcluster-test"}, "unix://@wcluster-test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			family := unix.AF_INET
			switch tt.sa.(type) {
			case *unix.SockaddrInet6:
				family = unix.AF_INET6
			case *unix.SockaddrUnix:
				family = unix.AF_UNIX
			}
			raw, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			check(t, err)
			if err := unix.Bind(raw, tt.sa); err != nil {
				unix.Close(raw)
				t.Skip("bind:", err)
			}
			s := newSystem(t, Config{})
			fd, errno := s.OpenListener(raw, false, nil)
			ok(t, errno)
			got, errno := s.LocalAddress(fd)
			if errno != 0 || !strings.HasPrefix(string(got), tt.want) {
				t.Errorf("%q, %v; want %q…", got, errno, tt.want)
			}
		})
	}
}

// Whoever connects to a unix socket chooses the name of its own: 108 bytes of path, for which the kernel tells a size that
// counts a zero byte nobody has room for.
func TestAPeerWithTheLongestPath(t *testing.T) {
	s := newSystem(t, Config{})
	raw, path := listenUnix(t)
	listener, errno := s.OpenListener(raw, false, nil)
	ok(t, errno)
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(client)
	t.Chdir(t.TempDir())
	name := strings.Repeat("p", 108)
	check(t, bindLong(client, name))
	check(t, unix.Connect(client, &unix.SockaddrUnix{Name: path}))
	fd := acceptOne(t, s, listener)
	got, errno := s.PeerAddress(fd)
	if string(got) != "unix://"+name || errno != 0 {
		t.Errorf("%q, %v", got, errno)
	}
}
