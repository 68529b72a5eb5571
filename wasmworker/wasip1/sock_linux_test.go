package wasip1

import (
	"io"
	"net"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

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
