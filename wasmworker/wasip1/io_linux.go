package wasip1

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// maxIovecs is how many vectors one call takes: IOV_MAX of Linux. maxTransfer is how many bytes: MAX_RW_COUNT of Linux.
// A guest that passes more gets a short read or write, which it must expect anyway.
const (
	maxIovecs   = 1024
	maxTransfer = 1<<31 - 4096
)

// Vectors are slices of guest memory, as readv(2) and writev(2) take them. They are valid during one call.
type Vectors []unix.Iovec

// total is how many bytes they hold, at most maxTransfer.
func (v Vectors) total() uint64 {
	var n uint64
	for i := range v {
		n += v[i].Len
	}
	return n
}

// advance drops the first n bytes.
func (v Vectors) advance(n uint64) Vectors {
	for len(v) > 0 && n >= v[0].Len {
		n -= v[0].Len
		v = v[1:]
	}
	if n > 0 {
		v[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(v[0].Base), n))
		v[0].Len -= n
	}
	return v
}

// FdRead reads from fd. It waits when nothing is there, unless fd is NONBLOCK: then EAGAIN. 0 bytes is the end.
func (s *System) FdRead(fd uint32, v Vectors) (uint32, Errno) {
	e, errno := s.get(fd, rightFdRead)
	if errno != 0 {
		return 0, errno
	}
	switch e.kind {
	case KindStream:
		return s.receive(e, v, 0)
	case KindPipe, KindFile:
		return s.readFile(e, v)
	case KindListener:
		return 0, abi.ENOTCONN
	default:
		return 0, abi.EINVAL
	}
}

// FdWrite writes to fd. A blocking fd takes all of it, waiting as long as that needs; a NONBLOCK one what it can, or
// EAGAIN.
func (s *System) FdWrite(fd uint32, v Vectors) (uint32, Errno) {
	e, errno := s.get(fd, rightFdWrite)
	if errno != 0 {
		return 0, errno
	}
	switch e.kind {
	case KindStream:
		return s.send(e, v)
	case KindPipe, KindFile:
		return s.writeFile(e, v)
	case KindListener:
		return 0, abi.ENOTCONN
	default:
		return 0, abi.EINVAL
	}
}

func (s *System) readFile(e *Entry, v Vectors) (uint32, Errno) {
	for {
		n, errno := s.fileCall(unix.SYS_PREADV2, e, ReadyRead, v)
		if errno != abi.EAGAIN || e.nonblocking() || e.kind == KindFile {
			return n, errno
		}
		if errno := s.poller.waitFor(e, ReadyRead); errno != 0 {
			return 0, errno
		}
	}
}

func (s *System) writeFile(e *Entry, v Vectors) (uint32, Errno) {
	return s.writeAll(e, v, func(v Vectors) (uint32, Errno) { return s.fileCall(unix.SYS_PWRITEV2, e, ReadyWrite, v) })
}

// Flags of preadv2(2) and pwritev2(2).
const (
	rwfNowait = 0x8
	rwfAppend = 0x10
)

// fileCall does preadv2 or pwritev2 on a file or pipe, where it stands. A pipe never makes the thread wait, whatever its
// O_NONBLOCK says, which belongs to others as well: EAGAIN. Where the kernel cannot do that, as for a terminal, the
// thread waits only if epoll was wrong.
func (s *System) fileCall(nr uintptr, e *Entry, bits uint32, v Vectors) (uint32, Errno) {
	flags := uintptr(0)
	switch {
	case e.kind == KindFile && bits == ReadyWrite && e.flags&fdflagAppend != 0:
		flags = rwfAppend
	case e.kind == KindPipe && !e.patient:
		flags = rwfNowait
	case e.kind == KindPipe && !s.poller.readyNow(e, bits):
		return 0, abi.EAGAIN
	}
	n, errno := s.fileCallOnce(nr, e.fd, v, ^uintptr(0), flags)
	if errno == abi.ENOTSUP && flags == rwfNowait {
		e.patient = true
		return s.fileCall(nr, e, bits, v)
	}
	return n, errno
}

// fileCallOnce is preadv2 or pwritev2. Syscall, since the kernel may make the thread wait for a disk. The offset's low
// half goes into the fourth argument, and all of it fits there on a 64-bit kernel; -1 is where the file stands.
func (s *System) fileCallOnce(nr uintptr, fd int, v Vectors, offset, flags uintptr) (uint32, Errno) {
	s.poller.BeforeFile()
	defer s.poller.AfterFile()
	for {
		n, _, e := syscall.Syscall6(nr, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(v))), uintptr(len(v)), offset, 0, flags)
		if e == 0 {
			return uint32(n), 0
		}
		if e != unix.EINTR {
			return 0, fromLinux(e)
		}
	}
}

// writeAll repeats put until all of v is written: what a blocking descriptor means. A NONBLOCK one gets one try. An
// error after some bytes is kept for the next call, which meets it again.
func (s *System) writeAll(e *Entry, v Vectors, put func(Vectors) (uint32, Errno)) (uint32, Errno) {
	var done uint32
	for {
		n, errno := put(v)
		if errno == 0 {
			done += n
			if e.nonblocking() || n == 0 {
				return done, 0
			}
			if v = v.advance(uint64(n)); v.total() == 0 {
				return done, 0
			}
			continue
		}
		if errno == abi.EAGAIN && !e.nonblocking() && e.kind != KindFile {
			errno = s.poller.waitFor(e, ReadyWrite)
		}
		switch {
		case errno == 0:
		case done > 0:
			return done, 0
		default:
			return 0, errno
		}
	}
}

// FdPread reads at an offset. ESPIPE: fd is a stream.
func (s *System) FdPread(fd uint32, v Vectors, offset uint64) (uint32, Errno) {
	return s.positioned(unix.SYS_PREADV2, fd, rightFdRead|rightFdSeek, v, offset)
}

// FdPwrite writes at an offset. ESPIPE: fd is a stream.
func (s *System) FdPwrite(fd uint32, v Vectors, offset uint64) (uint32, Errno) {
	return s.positioned(unix.SYS_PWRITEV2, fd, rightFdWrite|rightFdSeek, v, offset)
}

func (s *System) positioned(nr uintptr, fd uint32, rights uint64, v Vectors, offset uint64) (uint32, Errno) {
	e, errno := s.seekable(fd, rights)
	switch {
	case errno != 0:
		return 0, errno
	case offset > 1<<63-1:
		return 0, abi.EINVAL
	}
	return s.fileCallOnce(nr, e.fd, v, uintptr(offset), 0)
}

// seekable finds fd for a call that needs a position. ESPIPE comes before the rights, as a stream never has them.
func (s *System) seekable(fd uint32, rights uint64) (*Entry, Errno) {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return nil, errno
	case !e.seekable:
		return nil, abi.ESPIPE
	case e.rights&rights != rights:
		return nil, abi.ENOTCAPABLE
	}
	return e, 0
}

// FdSeek moves the position of fd and answers the new one. whence: 0 from the start, 1 from here, 2 from the end.
func (s *System) FdSeek(fd uint32, offset int64, whence uint8) (uint64, Errno) {
	e, errno := s.seekable(fd, rightFdSeek)
	switch {
	case errno != 0:
		return 0, errno
	case whence > 2:
		return 0, abi.EINVAL
	}
	n, err := unix.Seek(e.fd, offset, int(whence))
	return uint64(n), errnoOf(err)
}

// FdTell answers the position of fd.
func (s *System) FdTell(fd uint32) (uint64, Errno) {
	e, errno := s.seekable(fd, rightFdTell)
	if errno != 0 {
		return 0, errno
	}
	n, err := unix.Seek(e.fd, 0, 1)
	return uint64(n), errnoOf(err)
}

// FdSync flushes fd; data alone leaves out times and the like. EINVAL: fd is not a file.
func (s *System) FdSync(fd uint32, dataAlone bool) Errno {
	rights, nr := uint64(rightFdSync), uintptr(unix.SYS_FSYNC)
	if dataAlone {
		rights, nr = rightFdDatasync, unix.SYS_FDATASYNC
	}
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return errno
	case e.fd < 0 || e.socket():
		return abi.EINVAL
	case e.rights&rights == 0:
		return abi.ENOTCAPABLE
	}
	s.poller.BeforeFile()
	defer s.poller.AfterFile()
	_, _, en := syscall.Syscall(nr, uintptr(e.fd), 0, 0)
	return fromLinux(en)
}

// FdFilestatGet answers what the kernel knows of fd.
func (s *System) FdFilestatGet(fd uint32) (Filestat, Errno) {
	e, errno := s.get(fd, 0)
	if errno != 0 {
		return Filestat{}, errno
	}
	if e.fd < 0 {
		return Filestat{Filetype: e.filetype, Nlink: 1}, 0
	}
	if e.rights&rightFdFilestatGet == 0 {
		return Filestat{}, abi.ENOTCAPABLE
	}
	var st unix.Stat_t
	if err := unix.Fstat(e.fd, &st); err != nil {
		return Filestat{}, errnoOf(err)
	}
	return Filestat{
		Dev: uint64(st.Dev), Ino: st.Ino, Filetype: e.filetype, Nlink: uint64(st.Nlink), Size: uint64(st.Size),
		Atim: uint64(st.Atim.Nano()), Mtim: uint64(st.Mtim.Nano()), Ctim: uint64(st.Ctim.Nano()),
	}, 0
}

// changeFile answers a call that changes or advises about a file's contents or times. No descriptor that a guest can
// have is a file it may do that to, so what remains is to say which rule stands against it.
func (s *System) changeFile(fd uint32, rights uint64) Errno {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return errno
	case !e.seekable && rights&(rightFdAdvise|rightFdAllocate) != 0:
		return abi.ESPIPE // posix_fadvise(2), posix_fallocate(3)
	case e.rights&rights == 0:
		return abi.ENOTCAPABLE
	}
	return abi.ENOTSUP
}
