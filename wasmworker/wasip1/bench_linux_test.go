package wasip1

import (
	"context"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fast calls an import with nothing around it.
func (g *testGuest) fast(name string, params ...uint64) func() {
	call := g.functions[name].Call
	module := g.module
	return func() {
		copy(g.stack[:], params)
		call(context.Background(), module, g.stack[:])
		if g.stack[0] != 0 {
			g.tb.Fatalf("%s answers %v", name, Errno(g.stack[0]))
		}
	}
}

// hotPaths are the calls that a busy guest makes, each as one operation of the guest and what its peer does about it.
var hotPaths = []struct {
	name string
	path func(tb testing.TB, g *testGuest) (call, peer func())
}{
	{"clock_time_get", func(_ testing.TB, g *testGuest) (call, peer func()) {
		return g.fast("clock_time_get", clockMonotonic, 0, sizeAt), nil
	}},
	{"random_get", func(_ testing.TB, g *testGuest) (call, peer func()) { return g.fast("random_get", dataAt, 8), nil }},
	{"fd_fdstat_get", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, _ := stream(tb, g.sys, fdflagNonblock)
		return g.fast("fd_fdstat_get", uint64(fd), dataAt), nil
	}},
	{"fd_read", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		return g.fast("fd_read", uint64(fd), iovsAt, 1, sizeAt), writer(tb, other, 32)
	}},
	{"fd_read of two vectors", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		return g.fast("fd_read", uint64(fd), iovsAt, 2, sizeAt), writer(tb, other, 64)
	}},
	{"fd_read, blocking", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		g.sys.entryOf(fd).flags = 0
		return g.fast("fd_read", uint64(fd), iovsAt, 1, sizeAt), writer(tb, other, 32)
	}},
	{"fd_write", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		return g.fast("fd_write", uint64(fd), iovsAt, 1, sizeAt), drainer(other)
	}},
	{"fd_write, blocking", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		g.sys.entryOf(fd).flags = 0
		return g.fast("fd_write", uint64(fd), iovsAt, 2, sizeAt), drainer(other)
	}},
	{"fd_write to a pipe", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := pipe(tb, g.sys, rightFdWrite, 0)
		g.iovec(iovsAt, dataAt, 64)
		return g.fast("fd_write", uint64(fd), iovsAt, 1, sizeAt), drainer(int(other.Fd()))
	}},
	{"sock_recv", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		return g.fast("sock_recv", uint64(fd), iovsAt, 1, 0, sizeAt, 8), writer(tb, other, 32)
	}},
	{"sock_send", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, other := rawStream(tb, g)
		return g.fast("sock_send", uint64(fd), iovsAt, 1, 0, sizeAt), drainer(other)
	}},
	{"sock_accept and fd_close", func(tb testing.TB, g *testGuest) (call, peer func()) {
		raw, addr := listenUnix(tb)
		listener, errno := g.sys.OpenListener(raw, false, nil)
		ok(tb, errno)
		accept, again := g.fast("sock_accept", uint64(listener), 0, sizeAt), g.fast("fd_close", 1)
		e := g.sys.entryOf(listener)
		return func() {
			e.acc.took = false // as after a wait
			accept()
			again()
		}, dialer(tb, addr)
	}},
	{"sock_accept and fd_close, one connection at a time", func(tb testing.TB, g *testGuest) (call, peer func()) {
		raw, addr := listenUnix(tb)
		listener, errno := g.sys.OpenListener(raw, false, nil)
		ok(tb, errno)
		g.sys.maxConnections = 1
		accept, again := g.fast("sock_accept", uint64(listener), 0, sizeAt), g.fast("fd_close", 1)
		e := g.sys.entryOf(listener)
		return func() {
			e.acc.took = false // as after a wait
			accept()
			again()
		}, dialer(tb, addr)
	}},
	{"poll_oneoff of one ready connection", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, _ := stream(tb, g.sys, fdflagNonblock)
		g.subscribe(0, writable(fd, 1))
		return g.fast("poll_oneoff", subsAt, eventsAt, 1, countAt), nil
	}},
	{"poll_oneoff of 64 connections, one ready, and a clock", func(tb testing.TB, g *testGuest) (call, peer func()) {
		for i := range uint32(64) {
			fd, other := stream(tb, g.sys, fdflagNonblock)
			g.subscribe(i, readable(fd, 1))
			if i == 0 {
				_, err := other.WriteString("x")
				check(tb, err)
			}
		}
		g.subscribe(64, after(patience, 2))
		return g.fast("poll_oneoff", subsAt, eventsAt, 65, countAt), nil
	}},
	{"poll_oneoff for a microsecond", func(_ testing.TB, g *testGuest) (call, peer func()) {
		g.subscribe(0, after(1000, 2))
		return g.fast("poll_oneoff", subsAt, eventsAt, 1, countAt), nil
	}},
	{"wait, one of 64 connections ready", func(tb testing.TB, g *testGuest) (call, peer func()) {
		for i := range 64 {
			fd, other := stream(tb, g.sys, fdflagNonblock)
			ok(tb, g.sys.Watch(fd, ReadyRead, 1))
			if i == 0 {
				_, err := other.WriteString("x")
				check(tb, err)
			}
		}
		out := make([]WaitEvent, 64)
		return func() {
			if g.sys.Wait(out, Forever) != 1 {
				tb.Fatal("not one event")
			}
		}, nil
	}},
	{"wait beside a ready inbox", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, errno := g.sys.OpenVirtual(&fakeVirtual{ready: ReadyRead})
		ok(tb, errno)
		ok(tb, g.sys.Watch(fd, ReadyRead, 1))
		out := make([]WaitEvent, 64)
		return func() {
			if g.sys.Wait(out, Forever) != 1 {
				tb.Fatal("not one event")
			}
		}, nil
	}},
	{"watch, another interest", func(tb testing.TB, g *testGuest) (call, peer func()) {
		fd, _ := stream(tb, g.sys, fdflagNonblock)
		interest := ReadyRead
		return func() {
			ok(tb, g.sys.Watch(fd, interest, 1))
			interest ^= ReadyRead | ReadyWrite
		}, nil
	}},
	{"peer_address", func(tb testing.TB, g *testGuest) (call, peer func()) {
		listener, addr := openListener(tb, g.sys)
		fd, _ := connect(tb, g.sys, listener, addr)
		return func() {
			if _, errno := g.sys.PeerAddress(fd); errno != 0 {
				tb.Fatal(errno)
			}
		}, nil
	}},
}

// rawStream is stream with a bare peer, and two iovecs of 32 bytes.
func rawStream(tb testing.TB, g *testGuest) (fd uint32, peer int) {
	fd, other := stream(tb, g.sys, fdflagNonblock)
	g.iovec(iovsAt, dataAt, 32)
	g.iovec(iovsAt+8, dataAt+64, 32)
	return fd, int(other.Fd())
}

// batch is after how many calls the peer has its turn, so that a benchmark is about the calls.
const batch = 64

// writer writes what so many calls read, size bytes each.
func writer(tb testing.TB, fd, size int) func() {
	b := make([]byte, batch*size)
	return func() {
		if _, err := unix.Write(fd, b); err != nil {
			tb.Fatal(err)
		}
	}
}

// drainer reads what so many calls have written before, if any have.
func drainer(fd int) func() {
	b := make([]byte, 64<<10)
	return func() {
		poll := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		for ready(&poll) {
			_, _ = unix.Read(fd, b)
		}
	}
}

func ready(poll *unix.PollFd) bool {
	var now unix.Timespec
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n == 1
}

// dialer connects as many clients as so many calls accept, and closes those before.
func dialer(tb testing.TB, path string) func() {
	sa := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	for i := range path {
		sa.Path[i] = int8(path[i])
	}
	size := unsafe.Offsetof(sa.Path) + uintptr(len(path)) + 1
	var clients [batch]uintptr
	hangUp := func() {
		for i, fd := range clients {
			if fd != 0 {
				unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
				clients[i] = 0
			}
		}
	}
	tb.Cleanup(hangUp)
	return func() {
		hangUp()
		for i := range clients {
			clients[i], _, _ = unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if _, _, e := unix.RawSyscall(unix.SYS_CONNECT, clients[i], uintptr(unsafe.Pointer(&sa)), size); e != 0 {
				tb.Fatal(e)
			}
		}
	}
}

// A host call must allocate nothing: a collection would stop the one thread there is.
func TestHotPathsAllocateNothing(t *testing.T) {
	for _, hp := range hotPaths {
		t.Run(hp.name, func(t *testing.T) {
			call, peer := hp.path(t, newGuest(t, Config{}))
			allocs := testing.AllocsPerRun(4, func() {
				if peer != nil {
					peer()
				}
				for range batch {
					call()
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations in %d calls", allocs, batch)
			}
		})
	}
}

func BenchmarkHostCall(b *testing.B) {
	for _, hp := range hotPaths {
		b.Run(hp.name, func(b *testing.B) {
			call, peer := hp.path(b, newGuest(b, Config{}))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%batch == 0 && peer != nil {
					b.StopTimer()
					peer()
					b.StartTimer()
				}
				call()
			}
		})
	}
}

// BenchmarkIdleConnections is a wait beside thousands of connections on which nothing happens.
func BenchmarkIdleConnections(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s, active := idleConnections(b, n)
			out := make([]WaitEvent, 64)
			ok(b, s.Watch(active, ReadyWrite, 1))
			changes := s.poller.changes
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if s.Wait(out, Forever) != 1 {
					b.Fatal("not one event")
				}
			}
			b.ReportMetric(float64(s.poller.changes-changes)/float64(b.N), "epoll_ctl/op")
		})
	}
}

// idleConnections is n watched descriptors for which nothing comes (eventfds, of which a process may have 10,000 without
// their peers), and a connection.
func idleConnections(tb testing.TB, n int) (s *System, active uint32) {
	tb.Helper()
	s = newSystem(tb, Config{})
	for i := range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		check(tb, err)
		ok(tb, s.Watch(openAs(s, KindStream, fd, streamRights, fdflagNonblock), ReadyRead, uint64(100+i)))
	}
	active, _ = stream(tb, s, fdflagNonblock)
	return s, active
}

// Ten thousand idle connections cost nothing but their places.
func TestTenThousandIdleConnections(t *testing.T) {
	s, active := idleConnections(t, 10_000)
	ok(t, s.Watch(active, ReadyWrite, 1))
	changes := s.poller.changes
	out := make([]WaitEvent, 64)
	const waits = 1000
	fastest := time.Hour // the others tell of what else the machine does
	for range waits {
		start := time.Now()
		if s.Wait(out, Forever) != 1 {
			t.Fatal("not one event")
		}
		fastest = min(fastest, time.Since(start))
	}
	if fastest > 100*time.Microsecond {
		t.Errorf("%v for a wait", fastest)
	}
	if s.poller.changes != changes {
		t.Errorf("%d calls of epoll_ctl in %d waits", s.poller.changes-changes, waits)
	}
}
