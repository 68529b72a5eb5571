package wasip1

import "github.com/wcluster/wcluster/abi"

// get finds fd and checks that it has every right of rights.
func (s *System) get(fd uint32, rights uint64) (*Entry, Errno) {
	e, errno := s.table.get(fd)
	if errno != 0 {
		return nil, errno
	}
	if e.rights&rights != rights {
		return nil, abi.ENOTCAPABLE
	}
	return e, 0
}

// FdClose closes fd.
func (s *System) FdClose(fd uint32) Errno {
	if _, errno := s.table.get(fd); errno != 0 {
		return errno
	}
	s.release(s.table.remove(fd))
	return 0
}

// FdRenumber makes to what from is, and closes from and what to was. Both must be open: to is never a number that the
// guest made up, so that the table cannot be grown at will.
func (s *System) FdRenumber(from, to uint32) Errno {
	if _, errno := s.table.get(from); errno != 0 {
		return errno
	}
	if _, errno := s.table.get(to); errno != 0 {
		return errno
	}
	if from != to {
		s.release(s.table.move(from, to))
	}
	return 0
}

// FdFdstatGet answers what fd is. A preopened listener that was blocking turns non-blocking here: a guest that asks can
// wait for readiness (Go's net package hangs otherwise), one that never asks wants a blocking accept (C, Rust).
func (s *System) FdFdstatGet(fd uint32) (Fdstat, Errno) {
	e, errno := s.table.get(fd)
	if errno != 0 {
		return Fdstat{}, errno
	}
	e.learnNonblock()
	return Fdstat{Filetype: e.filetype, Flags: e.flags, Rights: e.rights, Inheriting: e.inheriting}, 0
}

// learnNonblock makes a preopened listener non-blocking the first time that the guest shows it can wait.
func (e *Entry) learnNonblock() {
	if e.acc.auto {
		e.acc.auto = false
		e.flags |= fdflagNonblock
	}
}

// FdFdstatSetFlags sets the flags of fd: NONBLOCK on all, APPEND and the SYNC family on files alone. It is the table's
// bit that changes, never the open file description, which others may share.
func (s *System) FdFdstatSetFlags(fd uint32, flags uint16) Errno {
	e, errno := s.get(fd, rightFdFdstatSetFlags)
	switch {
	case errno != 0:
		return errno
	case flags&^(fdflagAppend|fdflagDsync|fdflagNonblock|fdflagRsync|fdflagSync) != 0:
		return abi.EINVAL
	case flags&(fdflagDsync|fdflagRsync|fdflagSync) != 0:
		return abi.ENOTSUP
	case flags&fdflagAppend != 0 && e.kind != KindFile:
		return abi.EINVAL
	}
	e.acc.auto = false
	e.flags = flags
	return 0
}

// FdFdstatSetRights takes rights away. ENOTCAPABLE: one was asked for that fd does not have.
func (s *System) FdFdstatSetRights(fd uint32, rights, inheriting uint64) Errno {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return errno
	case rights&^e.rights != 0, inheriting&^e.inheriting != 0:
		return abi.ENOTCAPABLE
	}
	e.rights, e.inheriting = rights, inheriting
	return 0
}

// FdPrestatGet answers the tag and the length of the name of a preopened descriptor. EBADF: fd is not one, which ends
// a libc's search for preopened directories.
func (s *System) FdPrestatGet(fd uint32) (tag uint8, nameLen uint32, errno Errno) {
	e, errno := s.table.get(fd)
	if errno != 0 {
		return 0, 0, errno
	}
	if !e.preopened {
		return 0, 0, abi.EBADF
	}
	return prestatSocket, 0, 0
}

// FdPrestatDirName stores the name of a preopened descriptor in buf. A socket's is empty: it fits any buffer. Zig asks
// for it without looking at the tag.
func (s *System) FdPrestatDirName(fd uint32, buf []byte) Errno {
	_, _, errno := s.FdPrestatGet(fd)
	return errno
}

// directory finds fd, which must be a directory that paths can start from. Sockets, pipes and the standard streams
// never are: ENOTDIR.
func (s *System) directory(fd uint32) Errno {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return errno
	case e.filetype != filetypeDirectory:
		return abi.ENOTDIR
	}
	return abi.ENOTCAPABLE
}
