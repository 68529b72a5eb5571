package wasip1

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// receive reads from a connection; flags are MSG_PEEK or 0. Without room for a byte it reads nothing, as read(2).
func (s *System) receive(e *Entry, v Vectors, flags int) (uint32, Errno) {
	if v.total() == 0 {
		return 0, 0
	}
	for {
		n, errno := s.receiveNow(e, v, flags)
		if errno != abi.EAGAIN || e.nonblocking() {
			return n, errno
		}
		if errno := s.poller.waitFor(e, ReadyRead); errno != 0 {
			return 0, errno
		}
	}
}

// receiveNow reads what is there, or says EAGAIN.
func (s *System) receiveNow(e *Entry, v Vectors, flags int) (uint32, Errno) {
	switch {
	case e.drain.shutRead:
		return 0, 0
	case e.drain.ending():
		return 0, abi.EAGAIN // a request that comes too late is not the guest's any more
	}
	n, errno := receiveOnce(e.fd, v, flags|unix.MSG_DONTWAIT)
	if n > 0 && flags&unix.MSG_PEEK == 0 {
		e.drain.received, e.drain.wrote = true, false
		s.figures.BytesIn += uint64(n)
	}
	return n, errno
}

// receiveOnce is recvfrom for one vector, the usual case, and recvmsg for more.
func receiveOnce(fd int, v Vectors, flags int) (uint32, Errno) {
	for {
		var n uintptr
		var e syscall.Errno
		if len(v) == 1 {
			n, _, e = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(v[0].Base)), uintptr(v[0].Len), uintptr(flags), 0, 0)
		} else {
			m := unix.Msghdr{Iov: unsafe.SliceData(v)}
			m.SetIovlen(len(v))
			n, _, e = unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), uintptr(flags))
		}
		if e == 0 {
			return uint32(n), 0
		}
		if e != unix.EINTR {
			return 0, fromLinux(e)
		}
	}
}

// send writes to a connection.
func (s *System) send(e *Entry, v Vectors) (uint32, Errno) {
	if e.drain.ended {
		return 0, abi.EPIPE
	}
	n, errno := sendOnce(e.fd, v)
	if errno == abi.EAGAIN && !e.nonblocking() || errno == 0 && !e.nonblocking() && uint64(n) < v.total() {
		n, errno = s.sendRest(e, v, n)
	}
	if errno == 0 && n > 0 {
		e.drain.wrote = true
		if s.drain.on {
			e.drain.lastWrite = s.poller.Now()
		}
		s.figures.BytesOut += uint64(n)
	}
	return n, errno
}

// sendRest waits for a blocking connection to take what is left of v after n bytes. It is apart from send so that the
// usual case allocates nothing.
func (s *System) sendRest(e *Entry, v Vectors, n uint32) (uint32, Errno) {
	rest, errno := s.writeAll(e, v.advance(uint64(n)), func(v Vectors) (uint32, Errno) {
		if e.drain.ended {
			return 0, abi.EPIPE
		}
		return sendOnce(e.fd, v)
	})
	if errno != 0 && n > 0 {
		return n, 0
	}
	return n + rest, errno
}

// sendOnce is sendto for one vector and sendmsg for more. MSG_NOSIGNAL: a guest gets EPIPE, never SIGPIPE.
func sendOnce(fd int, v Vectors) (uint32, Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	for {
		var n uintptr
		var e syscall.Errno
		if len(v) == 1 {
			n, _, e = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(v[0].Base)), uintptr(v[0].Len), flags, 0, 0)
		} else {
			m := unix.Msghdr{Iov: unsafe.SliceData(v)}
			m.SetIovlen(len(v))
			n, _, e = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), flags)
		}
		if e == 0 {
			return uint32(n), 0
		}
		if e != unix.EINTR {
			return 0, fromLinux(e)
		}
	}
}

// SockRecv is FdRead with flags. PEEK leaves the bytes where they are; WAITALL on a blocking connection waits until
// all of v is filled or the connection ends. roflags is 0: only a datagram could be truncated.
func (s *System) SockRecv(fd uint32, v Vectors, riflags uint16) (n uint32, roflags uint16, errno Errno) {
	e, errno := s.stream(fd, rightFdRead)
	switch {
	case errno != 0:
		return 0, 0, errno
	case riflags&^(riflagPeek|riflagWaitall) != 0:
		return 0, 0, abi.EINVAL
	}
	flags := 0
	if riflags&riflagPeek != 0 {
		flags = unix.MSG_PEEK
	}
	n, errno = s.receive(e, v, flags)
	for last := n; riflags == riflagWaitall && !e.nonblocking() && last > 0; n += last {
		if v = v.advance(uint64(last)); v.total() == 0 {
			break
		}
		// An error after some bytes is left for the next call, which meets it again.
		last, _ = s.receive(e, v, 0)
	}
	return n, 0, errno
}

// SockSend is FdWrite on a socket. Preview 1 knows no flags: EINVAL for any.
func (s *System) SockSend(fd uint32, v Vectors, siflags uint16) (uint32, Errno) {
	e, errno := s.stream(fd, rightFdWrite)
	switch {
	case errno != 0:
		return 0, errno
	case siflags != 0:
		return 0, abi.EINVAL
	}
	return s.send(e, v)
}

// SockShutdown ends one or both directions of a connection. A listener answers ENOTSUP: shutting it down would do so
// for every process that shares it.
func (s *System) SockShutdown(fd uint32, how uint8) Errno {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return errno
	case e.kind == KindListener:
		return abi.ENOTSUP
	case e.kind != KindStream:
		return abi.ENOTSOCK
	case e.rights&rightSockShutdown == 0:
		return abi.ENOTCAPABLE
	case how == 0 || how&^(sdflagRead|sdflagWrite) != 0:
		return abi.EINVAL
	}
	if how&sdflagRead != 0 {
		// A bit of ours: SHUT_RD does nothing on the wire, and a sandboxed worker may only call SHUT_WR.
		e.drain.shutRead = true
		s.poller.noteKnown(e)
	}
	if how&sdflagWrite != 0 {
		return errnoOf(unix.Shutdown(e.fd, unix.SHUT_WR))
	}
	return 0
}

// stream finds fd, which must be a connection: ENOTSOCK, or ENOTCONN for a listener.
func (s *System) stream(fd uint32, rights uint64) (*Entry, Errno) {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return nil, errno
	case e.kind == KindListener:
		return nil, abi.ENOTCONN
	case e.kind != KindStream:
		return nil, abi.ENOTSOCK
	case e.rights&rights != rights:
		return nil, abi.ENOTCAPABLE
	}
	return e, 0
}
