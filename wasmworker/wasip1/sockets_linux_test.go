package wasip1

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

func newSystem(tb testing.TB, c Config) *System {
	tb.Helper()
	s, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// soon is a deadline that only a failing test meets.
func soon(s *System) int64 { return s.poller.Now() + int64(patience) }

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func wantErrno(tb testing.TB, got, want Errno) {
	tb.Helper()
	if got != want {
		tb.Errorf("errno %v, want %v", got, want)
	}
}

// ok fails the test unless errno is success.
func ok(tb testing.TB, errno Errno) {
	tb.Helper()
	if errno != 0 {
		tb.Fatalf("errno %v", errno)
	}
}

// listenTCP makes a listening socket as the master makes it, and tells its address.
func listenTCP(tb testing.TB) (fd int, addr string) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	check(tb, err)
	check(tb, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(tb, unix.Listen(fd, 1024))
	sa, err := unix.Getsockname(fd)
	check(tb, err)
	return fd, fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
}

// listenUnix is listenTCP for a unix socket.
func listenUnix(tb testing.TB) (fd int, path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	check(tb, err)
	check(tb, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	check(tb, unix.Listen(fd, 1024))
	return fd, path
}

// openListener gives s a new listener that is not preopened, and tells its address.
func openListener(tb testing.TB, s *System) (fd uint32, addr string) {
	tb.Helper()
	raw, addr := listenTCP(tb)
	fd, errno := s.OpenListener(raw, false, nil)
	ok(tb, errno)
	return fd, addr
}

// share gives s the listener behind fd of another System, as the master does.
func share(tb testing.TB, from *System, fd uint32, s *System) uint32 {
	tb.Helper()
	e, errno := from.table.get(fd)
	ok(tb, errno)
	shared, errno := s.OpenListener(dup(tb, e.fd), false, nil)
	ok(tb, errno)
	return shared
}

func dup(tb testing.TB, fd int) int {
	tb.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	check(tb, err)
	return n
}

// dial connects; deadlines keep a failing test from hanging.
func dial(tb testing.TB, addr string) net.Conn {
	tb.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	c, err := net.DialTimeout(network, addr, patience)
	check(tb, err)
	check(tb, c.SetDeadline(time.Now().Add(patience)))
	tb.Cleanup(func() { c.Close() })
	return c
}

// connect makes a connection that s has accepted, and the client's end of it.
func connect(tb testing.TB, s *System, listener uint32, addr string) (fd uint32, client net.Conn) {
	tb.Helper()
	client = dial(tb, addr)
	return acceptOne(tb, s, listener), client
}

// acceptOne accepts when a connection is there.
func acceptOne(tb testing.TB, s *System, listener uint32) uint32 {
	tb.Helper()
	e, errno := s.table.get(listener)
	ok(tb, errno)
	ok(tb, s.poller.waitFor(e, ReadyRead))
	fd, errno := s.SockAccept(listener, fdflagNonblock)
	ok(tb, errno)
	return fd
}

// stream gives s a connected socket and answers the peer's end, which blocks. It counts as accepted.
func stream(tb testing.TB, s *System, flags uint16) (fd uint32, peer *os.File) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(tb, err)
	peer = os.NewFile(uintptr(fds[1]), "peer")
	tb.Cleanup(func() { peer.Close() })
	return s.openAccepted(&Entry{inheriting: streamRights}, fds[0], flags), peer
}

// pipe gives s one end of a pipe: the end for reading when rights say so. The other end is answered, and blocks.
func pipe(tb testing.TB, s *System, rights uint64, flags uint16) (fd uint32, other *os.File) {
	tb.Helper()
	var fds [2]int
	check(tb, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	ours, theirs := fds[0], fds[1]
	if rights&rightFdWrite != 0 {
		ours, theirs = theirs, ours
	}
	other = os.NewFile(uintptr(theirs), "pipe")
	tb.Cleanup(func() { other.Close() })
	return openAs(s, KindPipe, ours, rights|rightPollFdReadwrite|rightFdFdstatSetFlags|rightFdFilestatGet, flags), other
}

// file gives s a regular file with all the rights that one can have.
func file(tb testing.TB, s *System, content string) (fd uint32, path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "file")
	check(tb, os.WriteFile(path, []byte(content), 0o600))
	raw, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	check(tb, err)
	fd = openAs(s, KindFile, raw, rightFdRead|rightFdWrite|rightFdSeek|rightFdTell|rightFdSync|rightFdDatasync|
		rightFdFdstatSetFlags|rightFdFilestatGet|rightPollFdReadwrite, 0)
	e, _ := s.table.get(fd)
	e.seekable, e.filetype = true, filetypeRegular
	return fd, path
}

func openAs(s *System, kind Kind, raw int, rights uint64, flags uint16) uint32 {
	e := s.entry()
	e.kind, e.fd, e.rights, e.flags = kind, raw, rights, flags
	return s.table.add(e)
}

// vec is vectors over bufs.
func vec(bufs ...[]byte) Vectors {
	v := make(Vectors, len(bufs))
	for i, b := range bufs {
		if len(b) > 0 {
			v[i].Base = &b[0]
		}
		v[i].SetLen(len(b))
	}
	return v
}

// actor runs a System on a thread of its own, as a worker process does.
type actor struct {
	tid   int
	calls chan func()
	ended chan struct{}
}

func newActor(tb testing.TB) *actor {
	a := &actor{calls: make(chan func()), ended: make(chan struct{})}
	started := make(chan int)
	go func() {
		defer close(a.ended)
		runtime.LockOSThread()
		started <- unix.Gettid()
		for call := range a.calls {
			call()
		}
	}()
	a.tid = <-started
	tb.Cleanup(func() {
		close(a.calls)
		select {
		case <-a.ended:
		case <-time.After(patience):
			tb.Error("the actor's call does not return")
		}
	})
	return a
}

// start begins call on the actor's thread; the channel is closed when it has returned.
func (a *actor) start(call func()) (returned chan struct{}) {
	returned = make(chan struct{})
	a.calls <- func() {
		defer close(returned)
		call()
	}
	return returned
}

// do is start and wait.
func (a *actor) do(call func()) { <-a.start(call) }

// asleep waits until the actor's thread sleeps in epoll_pwait2: neither a hook nor an event comes that late.
func (a *actor) asleep(tb testing.TB) {
	tb.Helper()
	in := fmt.Sprintf("%d ", unix.SYS_EPOLL_PWAIT2)
	eventually(tb, func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", a.tid))
		check(tb, err)
		return strings.HasPrefix(string(b), in)
	})
}

// eventually asks until the answer is true, for what no event tells.
func eventually(tb testing.TB, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			tb.Fatal("it does not happen")
		}
	}
}

// await fails the test when c is not closed soon.
func await(tb testing.TB, what string, c <-chan struct{}) {
	tb.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		tb.Fatalf("%s: it does not happen", what)
	}
}

// bell is a source of a test: ring wakes the System's wait, where do is called.
type bell struct {
	fd   int
	do   atomic.Pointer[func()]
	rung chan struct{}
}

func newBell(tb testing.TB, s *System) *bell {
	tb.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	check(tb, err)
	b := &bell{fd: fd, rung: make(chan struct{}, 1)}
	tb.Cleanup(func() { unix.Close(fd) })
	check(tb, s.poller.AddSource(fd, func(uint32) {
		var count [8]byte
		_, _ = unix.Read(fd, count[:])
		if do := b.do.Load(); do != nil {
			(*do)()
		}
		b.rung <- struct{}{}
	}))
	return b
}

// ring wakes the wait and calls do there; it returns after that.
func (b *bell) ring(tb testing.TB, do func()) {
	tb.Helper()
	b.start(tb, do)
	select {
	case <-b.rung:
	case <-time.After(patience):
		tb.Fatal("nobody waits")
	}
}

// start is ring without waiting for it.
func (b *bell) start(tb testing.TB, do func()) {
	tb.Helper()
	b.do.Store(&do)
	_, err := unix.Write(b.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	check(tb, err)
}

// bindLong is bind(2) with a path that fills sun_path: package unix leaves room for a zero.
func bindLong(fd int, path string) error {
	sa := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	for i := range path {
		sa.Path[i] = int8(path[i])
	}
	_, _, e := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	if e != 0 {
		return e
	}
	return nil
}
