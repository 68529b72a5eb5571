package wasip1

import "encoding/binary"

// Decoding and encoding for fd_*. What a call stores is checked to be writable before the call does anything that
// cannot be undone.

func fdClose(s *System, _ Memory, p []uint64) Errno    { return s.FdClose(u32(p[0])) }
func fdSync(s *System, _ Memory, p []uint64) Errno     { return s.FdSync(u32(p[0]), false) }
func fdDatasync(s *System, _ Memory, p []uint64) Errno { return s.FdSync(u32(p[0]), true) }
func fdRenumber(s *System, _ Memory, p []uint64) Errno { return s.FdRenumber(u32(p[0]), u32(p[1])) }

func fdFdstatGet(s *System, m Memory, p []uint64) Errno {
	b, errno := m.Bytes(u32(p[1]), fdstatSize)
	if errno != 0 {
		return errno
	}
	st, errno := s.FdFdstatGet(u32(p[0]))
	if errno != 0 {
		return errno
	}
	st.encode(b)
	return 0
}

func fdFdstatSetFlags(s *System, _ Memory, p []uint64) Errno {
	return s.FdFdstatSetFlags(u32(p[0]), u16(p[1]))
}

func fdFdstatSetRights(s *System, _ Memory, p []uint64) Errno {
	return s.FdFdstatSetRights(u32(p[0]), p[1], p[2])
}

func fdFilestatGet(s *System, m Memory, p []uint64) Errno {
	b, errno := m.Bytes(u32(p[1]), filestatSize)
	if errno != 0 {
		return errno
	}
	st, errno := s.FdFilestatGet(u32(p[0]))
	if errno != 0 {
		return errno
	}
	st.encode(b)
	return 0
}

func fdAdvise(s *System, _ Memory, p []uint64) Errno { return s.changeFile(u32(p[0]), rightFdAdvise) }

func fdAllocate(s *System, _ Memory, p []uint64) Errno {
	return s.changeFile(u32(p[0]), rightFdAllocate)
}

func fdFilestatSetSize(s *System, _ Memory, p []uint64) Errno {
	return s.changeFile(u32(p[0]), rightFdFilestatSetSize)
}

func fdFilestatSetTimes(s *System, _ Memory, p []uint64) Errno {
	return s.changeFile(u32(p[0]), rightFdFilestatSetTimes)
}

func fdPrestatGet(s *System, m Memory, p []uint64) Errno {
	tag, nameLen, errno := s.FdPrestatGet(u32(p[0]))
	if errno != 0 {
		return errno
	}
	b, errno := m.Bytes(u32(p[1]), prestatSize)
	if errno != 0 {
		return errno
	}
	clear(b)
	b[0] = tag
	binary.LittleEndian.PutUint32(b[4:], nameLen)
	return 0
}

func fdPrestatDirName(s *System, m Memory, p []uint64) Errno {
	b, errno := m.Bytes(u32(p[1]), u32(p[2]))
	if errno != 0 {
		return errno
	}
	return s.FdPrestatDirName(u32(p[0]), b)
}

func fdRead(s *System, m Memory, p []uint64) Errno {
	return s.vectored(m, p[0], p[1], p[2], p[3], (*System).FdRead)
}

func fdWrite(s *System, m Memory, p []uint64) Errno {
	return s.vectored(m, p[0], p[1], p[2], p[3], (*System).FdWrite)
}

// vectored is the shape of fd_read and fd_write: (fd, iovs, iovs_len, *size).
func (s *System) vectored(m Memory, fd, iovs, n, size uint64, do func(*System, uint32, Vectors) (uint32, Errno)) Errno {
	v, errno := s.vectors(m, u32(iovs), u32(n))
	if errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(size), 4); errno != 0 {
		return errno
	}
	done, errno := do(s, u32(fd), v)
	if errno != 0 {
		return errno
	}
	return m.PutU32(u32(size), done)
}

func fdPread(s *System, m Memory, p []uint64) Errno {
	return s.positionedCall(m, p, (*System).FdPread)
}

func fdPwrite(s *System, m Memory, p []uint64) Errno {
	return s.positionedCall(m, p, (*System).FdPwrite)
}

// positionedCall is the shape of fd_pread and fd_pwrite: (fd, iovs, iovs_len, offset, *size).
func (s *System) positionedCall(m Memory, p []uint64, do func(*System, uint32, Vectors, uint64) (uint32, Errno)) Errno {
	v, errno := s.vectors(m, u32(p[1]), u32(p[2]))
	if errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[4]), 4); errno != 0 {
		return errno
	}
	done, errno := do(s, u32(p[0]), v, p[3])
	if errno != 0 {
		return errno
	}
	return m.PutU32(u32(p[4]), done)
}

// fdReaddir: (fd, buf, buf_len, cookie, *size).
func fdReaddir(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[1]), u32(p[2])); errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[4]), 4); errno != 0 {
		return errno
	}
	return s.directory(u32(p[0]))
}

func fdSeek(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[3]), 8); errno != 0 {
		return errno
	}
	pos, errno := s.FdSeek(u32(p[0]), int64(p[1]), u8(p[2]))
	if errno != 0 {
		return errno
	}
	return m.PutU64(u32(p[3]), pos)
}

func fdTell(s *System, m Memory, p []uint64) Errno {
	pos, errno := s.FdTell(u32(p[0]))
	if errno != 0 {
		return errno
	}
	return m.PutU64(u32(p[1]), pos)
}
