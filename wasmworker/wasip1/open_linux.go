package wasip1

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// OpenStdio makes Linux descriptor n, which the System never closes, descriptor n of the guest: 0, 1 and 2, in order,
// before anything else is opened.
func (s *System) OpenStdio(n int) error {
	var st unix.Stat_t
	if err := unix.Fstat(n, &st); err != nil {
		return fmt.Errorf("open descriptor %d: %w", n, os.NewSyscallError("fstat", err))
	}
	e := s.entry()
	// When the guest closes its number, ours stays: else a later accept would be given 1 or 2, and what the Go runtime
	// writes when it panics would go to a client.
	e.fd, e.neverClose = n, true
	e.filetype, e.kind = filetypeOf(st.Mode)
	e.seekable = e.kind == KindFile
	e.rights = rightFdFdstatSetFlags | rightFdFilestatGet | rightPollFdReadwrite | rightFdSync | rightFdDatasync
	if n == 0 {
		e.rights |= rightFdRead
	} else {
		e.rights |= rightFdWrite
	}
	if e.kind == KindPipe && s.poller.set(e, ReadyRead|ReadyWrite) != 0 {
		e.kind = KindFile // epoll refuses /dev/null
		e.seekable = true
	}
	s.poller.set(e, 0)
	if e.seekable {
		// Without these rights wasi-libc's isatty takes a character device for a terminal.
		e.rights |= rightFdSeek | rightFdTell
	}
	s.table.add(e)
	return nil
}

// filetypeOf tells what fstat's mode is for the guest, and how it is waited for.
func filetypeOf(mode uint32) (filetype uint8, kind Kind) {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return filetypeRegular, KindFile
	case unix.S_IFDIR:
		return filetypeDirectory, KindFile
	case unix.S_IFCHR:
		return filetypeCharDevice, KindPipe
	case unix.S_IFBLK:
		return filetypeBlockDevice, KindFile
	case unix.S_IFSOCK:
		return filetypeSocketStream, KindPipe
	default:
		return filetypeUnknown, KindPipe // a fifo: preview 1 has no type for it
	}
}

// OpenListener gives the guest a listening stream socket, whose descriptor fd the System owns from here on, also on
// error. waited is called once, when the guest first waits for a connection; nil: never. A preopened listener was there
// when the guest started, and is blocking until the guest shows that it can wait (see fd_fdstat_get); any other is
// non-blocking from the start. EMFILE: the table is full; EINVAL: the open file description is blocking, so that an
// accept for which another process was faster would stop this one.
func (s *System) OpenListener(fd int, preopened bool, waited func()) (uint32, Errno) {
	errno := s.Room()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); errno == 0 && (err != nil || flags&unix.O_NONBLOCK == 0) {
		errno = abi.EINVAL
	}
	if errno != 0 {
		unix.Close(fd)
		return 0, errno
	}
	e := s.entry()
	e.kind, e.fd, e.filetype, e.preopened = KindListener, fd, filetypeSocketStream, preopened
	e.rights = rightFdRead | rightFdWrite | rightFdFdstatSetFlags | rightFdFilestatGet | rightPollFdReadwrite |
		rightSockAccept | rightSockShutdown
	e.inheriting = streamRights
	e.acc.auto, e.acc.waited = preopened, waited
	e.acc.closed = s.drain.on
	if !preopened {
		e.flags = fdflagNonblock
	}
	return s.table.add(e), 0
}

// OpenVirtual gives the guest a descriptor that v stands behind. EMFILE: the table is full.
func (s *System) OpenVirtual(v Virtual) (uint32, Errno) {
	if errno := s.Room(); errno != 0 {
		return 0, errno
	}
	e := s.entry()
	e.kind, e.fd, e.virtual, e.filetype = KindVirtual, -1, v, filetypeUnknown
	e.rights = rightPollFdReadwrite | rightFdFdstatSetFlags
	e.flags = fdflagNonblock
	return s.table.add(e), 0
}

// IsVirtual says whether fd is a descriptor that v stands behind.
func (s *System) IsVirtual(fd uint32, v Virtual) bool {
	e, errno := s.table.get(fd)
	return errno == 0 && e.kind == KindVirtual && e.virtual == v
}

// FindVirtual answers the number of a descriptor that v stands behind: the guest may have renumbered it.
func (s *System) FindVirtual(v Virtual) (fd uint32, found bool) {
	for n := range s.table.entries {
		if s.IsVirtual(uint32(n), v) {
			return uint32(n), true
		}
	}
	return 0, false
}

// Awaits is what the guest waits for, or watches, at the descriptors that v stands behind.
func (s *System) Awaits(v Virtual) (bits uint32) {
	for _, e := range s.table.entries {
		if e != nil && e.kind == KindVirtual && e.virtual == v {
			bits |= e.poll.watch
			if e.poll.turn == s.poller.seq {
				bits |= e.poll.want
			}
		}
	}
	return bits
}
