package wasip1

import (
	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// streamRights are what an accepted connection may do.
const streamRights = rightFdRead | rightFdWrite | rightFdFdstatSetFlags | rightFdFilestatGet | rightPollFdReadwrite |
	rightSockShutdown

// SockAccept accepts a connection from listener fd; flags may hold NONBLOCK for the new descriptor. A blocking listener
// waits. EAGAIN: none there, or the guest has as many as it may, or one has been accepted since the last wait, and the
// next one is left to the siblings; EMFILE: no room, tried before a connection is taken that would be lost; ENOTSOCK,
// EINVAL as accept(2).
func (s *System) SockAccept(fd uint32, flags uint16) (uint32, Errno) {
	e, errno := s.get(fd, 0)
	switch {
	case errno != 0:
		return 0, errno
	case flags&^fdflagNonblock != 0:
		return 0, abi.EINVAL
	case e.kind == KindStream:
		return 0, abi.EINVAL // accept(2) on a socket that does not listen
	case e.kind != KindListener:
		return 0, abi.ENOTSOCK
	case e.rights&rightSockAccept == 0:
		return 0, abi.ENOTCAPABLE
	}
	s.awaits(e)
	for {
		n, errno := s.acceptOnce(e)
		if errno == 0 {
			return s.openAccepted(e, n, flags), 0
		}
		if errno != abi.EAGAIN || e.nonblocking() {
			return 0, errno
		}
		if errno := s.poller.waitFor(e, ReadyRead); errno != 0 {
			return 0, errno
		}
	}
}

// acceptOnce takes one connection, or says EAGAIN.
func (s *System) acceptOnce(e *Entry) (int, Errno) {
	if s.poller.silent(e) {
		return 0, abi.EAGAIN
	}
	if e.acc.took {
		e.acc.took = false
		return 0, abi.EAGAIN
	}
	if !s.table.room() {
		s.poller.mute(e)
		return 0, abi.EMFILE
	}
	for {
		n, _, en := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(e.fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch en {
		case 0:
			e.acc.took = true
			s.poller.accepted(e)
			return int(n), 0
		case unix.EINTR, unix.ECONNABORTED,
			// Errors of the connection that would have been accepted, accept(2) says: like ECONNABORTED.
			unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.ENETUNREACH:
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			s.poller.mute(e)
			return 0, fromLinux(en)
		default:
			return 0, fromLinux(en)
		}
	}
}

// openAccepted gives the guest a connection that came through listener.
func (s *System) openAccepted(listener *Entry, fd int, flags uint16) uint32 {
	e := s.entry()
	e.kind, e.fd, e.filetype, e.flags = KindStream, fd, filetypeSocketStream, flags
	e.rights = listener.inheriting
	e.drain.accepted = true
	s.gainConnection()
	return s.table.add(e)
}

// awaits notes that the guest waits for e: the first time on a listener is when it is truly listening.
func (s *System) awaits(e *Entry) {
	if waited := e.acc.waited; waited != nil {
		e.acc.waited = nil
		waited()
	}
}
