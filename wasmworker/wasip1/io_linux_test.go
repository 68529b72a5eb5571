package wasip1

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// Where the tests of vectored calls keep things in guest memory.
const (
	sizeAt = 0
	iovsAt = 16
	dataAt = 1024
)

func TestFdRead(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	g.iovec(iovsAt, dataAt, 8)
	runCases(t, g, "fd_read", []fdCase{
		{"a number that is not open", z.closed, p(iovsAt, 1, sizeAt), abi.EBADF},
		{"a listener", z.listener, p(iovsAt, 1, sizeAt), abi.ENOTCONN},
		{"the inbox", z.virtual, p(iovsAt, 1, sizeAt), abi.ENOTCAPABLE},
		{"the writing end of a pipe", z.writer, p(iovsAt, 1, sizeAt), abi.ENOTCAPABLE},
		{"a connection on which nothing has come", z.stream, p(iovsAt, 1, sizeAt), abi.EAGAIN},
		{"a pipe in which nothing is", z.reader, p(iovsAt, 1, sizeAt), abi.EAGAIN},
		{"nothing from a connection on which nothing has come", z.stream, p(iovsAt, 0, sizeAt), 0},
		{"iovecs past the end", z.stream, p(memorySize-4, 1, sizeAt), abi.EFAULT},
		{"more iovecs than fit 32 bits", z.stream, p(iovsAt, 1<<29, sizeAt), abi.EFAULT},
		{"a size past the end", z.stream, p(iovsAt, 1, past), abi.EFAULT},
		{"a file", z.file, p(iovsAt, 1, sizeAt), 0},
	})
	if g.u32(sizeAt) != 8 || string(g.mem[dataAt:dataAt+8]) != "01234567" {
		t.Errorf("read %d bytes: %q", g.u32(sizeAt), g.mem[dataAt:dataAt+8])
	}
	g.want(0, "fd_read", z.file, iovsAt, 1, sizeAt)
	g.want(0, "fd_read", z.file, iovsAt, 1, sizeAt)
	if g.u32(sizeAt) != 0 {
		t.Error("no end of the file")
	}
	for _, from := range []struct {
		fd    uint64
		other *os.File
	}{{z.stream, z.peer}, {z.reader, z.toReader}} {
		_, err := from.other.WriteString("hello")
		check(t, err)
		g.want(0, "fd_read", from.fd, iovsAt, 1, sizeAt)
		if g.u32(sizeAt) != 5 || string(g.mem[dataAt:dataAt+5]) != "hello" {
			t.Errorf("read %d bytes: %q", g.u32(sizeAt), g.mem[dataAt:dataAt+5])
		}
		from.other.Close()
		g.want(0, "fd_read", from.fd, iovsAt, 1, sizeAt)
		if g.u32(sizeAt) != 0 {
			t.Error("no end of the stream")
		}
	}
}

func TestFdReadOfBadVectorsTakesNothing(t *testing.T) {
	g := newGuest(t, Config{})
	fd, peer := stream(t, g.sys, fdflagNonblock)
	_, err := peer.WriteString("hello")
	check(t, err)
	g.iovec(iovsAt, dataAt, 3)
	for _, bad := range [][2]uint32{{memorySize, 1}, {memorySize - 1, 2}, {1<<32 - 1, 1}, {0, memorySize + 1}, {1<<32 - 1, 1<<32 - 1}, {memorySize + 1, 0}} {
		g.iovec(iovsAt+8, bad[0], bad[1])
		g.want(abi.EFAULT, "fd_read", uint64(fd), iovsAt, 2, sizeAt)
		g.want(abi.EFAULT, "sock_recv", uint64(fd), iovsAt, 2, 0, sizeAt, 8)
	}
	g.iovec(iovsAt+8, dataAt+3, 2)
	g.want(0, "fd_read", uint64(fd), iovsAt, 2, sizeAt)
	if got := string(g.mem[dataAt : dataAt+5]); got != "hello" {
		t.Errorf("%q is left of %q", got, "hello")
	}
}

func TestVectorsMayOverlapAndBeEmpty(t *testing.T) {
	g := newGuest(t, Config{})
	fd, peer := stream(t, g.sys, fdflagNonblock)
	g.iovec(iovsAt, memorySize, 0)
	g.iovec(iovsAt+8, dataAt, 3)
	g.iovec(iovsAt+16, 0, 0)
	g.iovec(iovsAt+24, dataAt+2, 3)
	copy(g.mem[dataAt:], "abcde")
	g.want(0, "fd_write", uint64(fd), iovsAt, 4, sizeAt)
	var got [6]byte
	_, err := io.ReadFull(peer, got[:])
	check(t, err)
	if string(got[:]) != "abccde" || g.u32(sizeAt) != 6 {
		t.Errorf("wrote %q, %d bytes", got, g.u32(sizeAt))
	}
	_, err = peer.WriteString("123456")
	check(t, err)
	g.want(0, "fd_read", uint64(fd), iovsAt, 4, sizeAt)
	if got := string(g.mem[dataAt : dataAt+5]); got != "12456" || g.u32(sizeAt) != 6 {
		t.Errorf("read %q, %d bytes", got, g.u32(sizeAt))
	}
}

func TestMoreVectorsThanTheKernelTakesAreAShortWrite(t *testing.T) {
	g := newGuest(t, Config{})
	fd, peer := stream(t, g.sys, fdflagNonblock)
	for i := range uint32(maxIovecs + 1) {
		g.iovec(2048+8*i, dataAt, 1)
	}
	g.want(0, "fd_write", uint64(fd), 2048, maxIovecs+1, sizeAt)
	if g.u32(sizeAt) != maxIovecs {
		t.Errorf("wrote %d bytes, want %d", g.u32(sizeAt), maxIovecs)
	}
	_, err := io.ReadFull(peer, make([]byte, maxIovecs))
	check(t, err)
}

// Vectors that overlap can hold more than 32 bits count.
func TestTheBytesOfOneCallAreBounded(t *testing.T) {
	s := newSystem(t, Config{})
	big := make([]byte, 64<<20)
	g := &testGuest{tb: t, sys: s, mem: big}
	for i := range uint32(maxIovecs) {
		g.iovec(8*i, 0, uint32(len(big)))
	}
	v, errno := s.vectors(Memory{&fakeMemory{b: big}}, 0, maxIovecs)
	ok(t, errno)
	if v.total() != maxTransfer {
		t.Errorf("%d bytes, want %d", v.total(), maxTransfer)
	}
}

func TestFdWrite(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	copy(g.mem[dataAt:], "hello")
	g.iovec(iovsAt, dataAt, 5)
	runCases(t, g, "fd_write", []fdCase{
		{"a number that is not open", z.closed, p(iovsAt, 1, sizeAt), abi.EBADF},
		{"a listener", z.listener, p(iovsAt, 1, sizeAt), abi.ENOTCONN},
		{"the inbox", z.virtual, p(iovsAt, 1, sizeAt), abi.ENOTCAPABLE},
		{"the reading end of a pipe", z.reader, p(iovsAt, 1, sizeAt), abi.ENOTCAPABLE},
		{"iovecs past the end", z.stream, p(memorySize-4, 1, sizeAt), abi.EFAULT},
		{"a size past the end writes nothing", z.stream, p(iovsAt, 1, past), abi.EFAULT},
		{"nothing", z.stream, p(iovsAt, 0, sizeAt), 0},
		{"a connection", z.stream, p(iovsAt, 1, sizeAt), 0},
		{"a pipe", z.writer, p(iovsAt, 1, sizeAt), 0},
		{"a file", z.file, p(iovsAt, 1, sizeAt), 0},
	})
	if g.u32(sizeAt) != 5 {
		t.Errorf("wrote %d bytes", g.u32(sizeAt))
	}
	for _, from := range []*os.File{z.peer, z.fromWriter} {
		var got [6]byte
		if n, err := from.Read(got[:]); err != nil || string(got[:n]) != "hello" {
			t.Errorf("read %q, %v", got[:n], err)
		}
		from.Close()
	}
	if got, _ := os.ReadFile(z.path); string(got) != "hello56789" {
		t.Errorf("the file holds %q", got)
	}
	// EPIPE, and no SIGPIPE, which would end the process.
	g.want(abi.EPIPE, "fd_write", z.stream, iovsAt, 1, sizeAt)
	g.want(abi.EPIPE, "fd_write", z.writer, iovsAt, 1, sizeAt)
}

func TestAppend(t *testing.T) {
	s := newSystem(t, Config{})
	fd, path := file(t, s, "0123456789")
	_, errno := s.FdWrite(fd, vec([]byte("a")))
	ok(t, errno)
	ok(t, s.FdFdstatSetFlags(fd, fdflagAppend))
	_, errno = s.FdWrite(fd, vec([]byte("end")))
	ok(t, errno)
	if got, _ := os.ReadFile(path); string(got) != "a123456789end" {
		t.Errorf("the file holds %q", got)
	}
	if pos, errno := s.FdTell(fd); pos != 13 || errno != 0 {
		t.Errorf("position %d, %v", pos, errno)
	}
}

// full fills what the guest writes into and answers what fits no more.
func full(t *testing.T, s *System, fd uint32) {
	t.Helper()
	chunk := bytes.Repeat([]byte("x"), 8192)
	for {
		n, errno := s.FdWrite(fd, vec(chunk))
		if errno == abi.EAGAIN {
			return
		}
		ok(t, errno)
		if n == 0 {
			t.Fatal("wrote nothing, without an errno")
		}
	}
}

// The open file descriptions of these pipes are blocking, and shared: it is the guest's flag that counts.
func TestNonblockIsTheGuestsFlag(t *testing.T) {
	s := newSystem(t, Config{})
	reader, _ := pipe(t, s, rightFdRead, fdflagNonblock)
	_, errno := s.FdRead(reader, vec(make([]byte, 1)))
	wantErrno(t, errno, abi.EAGAIN)
	writer, _ := pipe(t, s, rightFdWrite, fdflagNonblock)
	full(t, s, writer)
	conn, _ := stream(t, s, fdflagNonblock)
	full(t, s, conn)
}

// A terminal knows no RWF_NOWAIT: it is asked through epoll.
func TestTerminal(t *testing.T) {
	s := newSystem(t, Config{})
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	check(t, err)
	defer unix.Close(master)
	check(t, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	// TIOCGPTPEER opens the other side without a path to it.
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Skip("no pseudo-terminals here:", errno)
	}
	fd := openAs(s, KindPipe, int(peer), rightFdRead|rightFdWrite|rightPollFdReadwrite, fdflagNonblock)
	line := make([]byte, 16)
	_, guestErrno := s.FdRead(fd, vec(line))
	wantErrno(t, guestErrno, abi.EAGAIN)
	n, guestErrno := s.FdWrite(fd, vec([]byte("hi")))
	if n != 2 || guestErrno != 0 {
		t.Errorf("wrote %d bytes, %v", n, guestErrno)
	}
	e, _ := s.table.get(fd)
	e.flags = 0
	a := newActor(t)
	read := a.start(func() { n, guestErrno = s.FdRead(fd, vec(line)) })
	a.asleep(t)
	_, err = unix.Write(master, []byte("line\n"))
	check(t, err)
	await(t, "the line is read", read)
	if string(line[:n]) != "line\n" || guestErrno != 0 {
		t.Errorf("read %q, %v", line[:n], guestErrno)
	}
}

func TestBlockingReadWaits(t *testing.T) {
	for name, open := range map[string]func(*testing.T, *System) (uint32, *os.File){
		"a connection": func(t *testing.T, s *System) (uint32, *os.File) { return stream(t, s, 0) },
		"a pipe":       func(t *testing.T, s *System) (uint32, *os.File) { return pipe(t, s, rightFdRead, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, Config{})
			b := newBell(t, s)
			a := newActor(t)
			fd, other := open(t, s)
			buf := make([]byte, 10)
			var n uint32
			var errno Errno
			read := a.start(func() { n, errno = s.FdRead(fd, vec(buf)) })
			a.asleep(t)
			b.ring(t, func() {}) // the surrounding process is served, and it goes on waiting
			a.asleep(t)
			_, err := other.WriteString("hello")
			check(t, err)
			await(t, "the read returns", read)
			if string(buf[:n]) != "hello" || errno != 0 {
				t.Errorf("read %q, %v", buf[:n], errno)
			}
			read = a.start(func() { n, errno = s.FdRead(fd, vec(buf)) })
			a.asleep(t)
			other.Close()
			await(t, "the end is read", read)
			if n != 0 || errno != 0 {
				t.Errorf("read %d bytes, %v", n, errno)
			}
		})
	}
}

func TestBlockingWriteTakesAll(t *testing.T) {
	for name, open := range map[string]func(*testing.T, *System) (uint32, *os.File){
		"a connection": func(t *testing.T, s *System) (uint32, *os.File) { return stream(t, s, 0) },
		"a pipe":       func(t *testing.T, s *System) (uint32, *os.File) { return pipe(t, s, rightFdWrite, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, Config{})
			a := newActor(t)
			fd, other := open(t, s)
			part := strings.Repeat("0123456789", 50_000)
			bufs := vec([]byte(part), nil, []byte("between"), []byte(part))
			var n uint32
			var errno Errno
			wrote := a.start(func() { n, errno = s.FdWrite(fd, bufs) })
			a.asleep(t)
			want := part + "between" + part
			got := make([]byte, len(want))
			_, err := io.ReadFull(other, got)
			check(t, err)
			await(t, "the write returns", wrote)
			if string(got) != want || n != uint32(len(want)) || errno != 0 {
				t.Errorf("wrote %d bytes of %d, %v", n, len(want), errno)
			}
			// An error after some bytes is left for the next call.
			wrote = a.start(func() { n, errno = s.FdWrite(fd, vec([]byte(want))) })
			a.asleep(t)
			other.Close()
			await(t, "the write ends", wrote)
			if n == 0 || n >= uint32(len(want)) || errno != 0 {
				t.Errorf("wrote %d bytes of %d, %v", n, len(want), errno)
			}
			a.do(func() { n, errno = s.FdWrite(fd, vec([]byte(want))) })
			if n != 0 || errno != abi.EPIPE && errno != abi.ECONNRESET {
				t.Errorf("wrote %d bytes, %v; want EPIPE", n, errno)
			}
		})
	}
}

func TestFdPreadAndFdPwrite(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	g.iovec(iovsAt, dataAt, 4)
	for _, function := range []string{"fd_pread", "fd_pwrite"} {
		runCases(t, g, function, []fdCase{
			{"a number that is not open", z.closed, p(iovsAt, 1, 0, sizeAt), abi.EBADF},
			{"a connection", z.stream, p(iovsAt, 1, 0, sizeAt), abi.ESPIPE},
			{"a pipe", z.reader, p(iovsAt, 1, 0, sizeAt), abi.ESPIPE},
			{"the inbox", z.virtual, p(iovsAt, 1, 0, sizeAt), abi.ESPIPE},
			{"a negative offset", z.file, p(iovsAt, 1, 1<<64-1, sizeAt), abi.EINVAL},
			{"the smallest negative offset", z.file, p(iovsAt, 1, 1<<63, sizeAt), abi.EINVAL},
			{"iovecs past the end", z.file, p(memorySize-4, 1, 0, sizeAt), abi.EFAULT},
			{"a size past the end", z.file, p(iovsAt, 1, 0, past), abi.EFAULT},
			{"a file", z.file, p(iovsAt, 1, 6, sizeAt), 0},
		})
		if got := string(g.mem[dataAt : dataAt+4]); got != "6789" {
			t.Errorf("%s: %q", function, got)
		}
	}
	g.want(0, "fd_pread", z.file, iovsAt, 1, 1<<40, sizeAt)
	if g.u32(sizeAt) != 0 {
		t.Error("something is read far behind the end")
	}
	if pos, _ := g.sys.FdTell(uint32(z.file)); pos != 0 {
		t.Errorf("the position has moved to %d", pos)
	}
	g.want(0, "fd_fdstat_set_rights", z.file, rightFdRead, 0)
	g.want(abi.ENOTCAPABLE, "fd_pread", z.file, iovsAt, 1, 0, sizeAt)
}

func TestFdSeekAndFdTell(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	minus := func(n int64) uint64 { return uint64(-n) }
	for _, tt := range []struct {
		name   string
		fd     uint64
		offset uint64
		whence uint64
		errno  Errno
		pos    uint64
	}{
		{"from the start", z.file, 4, 0, 0, 4},
		{"from here, backwards", z.file, minus(3), 1, 0, 1},
		{"from the end", z.file, minus(1), 2, 0, 9},
		{"behind the end", z.file, 1000, 0, 0, 1000},
		{"before the start", z.file, minus(1), 0, abi.EINVAL, 1000},
		{"whence after the last", z.file, 0, 3, abi.EINVAL, 1000},
		{"whence is not cut to a byte", z.file, 0, 256, abi.EINVAL, 1000},
		{"a connection", z.stream, 0, 0, abi.ESPIPE, 0},
		{"a listener", z.listener, 0, 0, abi.ESPIPE, 0},
		{"a pipe", z.reader, 0, 0, abi.ESPIPE, 0},
		{"a number that is not open", z.closed, 0, 0, abi.EBADF, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g.tb = t
			g.want(tt.errno, "fd_seek", tt.fd, tt.offset, tt.whence, 0)
			if tt.errno == 0 && g.u64(0) != tt.pos {
				t.Errorf("position %d, want %d", g.u64(0), tt.pos)
			}
			told := tt.errno
			if told == abi.EINVAL {
				told = 0
			}
			g.want(told, "fd_tell", tt.fd, 8)
			if told == 0 && g.u64(8) != tt.pos {
				t.Errorf("told position %d, want %d", g.u64(8), tt.pos)
			}
		})
	}
	g.tb = t
	g.want(abi.EFAULT, "fd_seek", z.file, 0, 0, memorySize-7)
	g.want(abi.EFAULT, "fd_tell", z.file, memorySize-7)
	g.want(0, "fd_tell", z.file, 0)
	if g.u64(0) != 1000 {
		t.Errorf("a seek with a bad pointer has moved to %d", g.u64(0))
	}
	g.want(0, "fd_fdstat_set_rights", z.file, rightFdRead, 0)
	g.want(abi.ENOTCAPABLE, "fd_seek", z.file, 0, 0, 0)
	g.want(abi.ENOTCAPABLE, "fd_tell", z.file, 0)
}
