package wasip1

// Decoding for path_*. No directory is ever open, so each call checks what it was given, memory first, and then answers
// EBADF for a descriptor that is not open and ENOTDIR for one that is.

// pathAt checks a directory and the path below it.
func (s *System) pathAt(m Memory, fd, path, n uint64) Errno {
	if errno := m.Writable(u32(path), u32(n)); errno != 0 {
		return errno
	}
	return s.directory(u32(fd))
}

// pathOne is (fd, path, path_len).
func pathOne(s *System, m Memory, p []uint64) Errno { return s.pathAt(m, p[0], p[1], p[2]) }

// pathAfterFlags is (fd, lookupflags, path, path_len, …).
func pathAfterFlags(s *System, m Memory, p []uint64) Errno { return s.pathAt(m, p[0], p[2], p[3]) }

// pathFilestatGet is (fd, lookupflags, path, path_len, *filestat).
func pathFilestatGet(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[4]), filestatSize); errno != 0 {
		return errno
	}
	return s.pathAt(m, p[0], p[2], p[3])
}

// pathLink is (old_fd, old_flags, old_path, old_len, new_fd, new_path, new_len).
func pathLink(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[5]), u32(p[6])); errno != 0 {
		return errno
	}
	return s.pathAt(m, p[0], p[2], p[3])
}

// pathOpen is (fd, lookupflags, path, path_len, oflags, rights, inheriting, fdflags, *fd).
func pathOpen(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[8]), 4); errno != 0 {
		return errno
	}
	return s.pathAt(m, p[0], p[2], p[3])
}

// pathReadlink is (fd, path, path_len, buf, buf_len, *size).
func pathReadlink(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[3]), u32(p[4])); errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[5]), 4); errno != 0 {
		return errno
	}
	return s.pathAt(m, p[0], p[1], p[2])
}

// pathRename is (old_fd, old_path, old_len, new_fd, new_path, new_len).
func pathRename(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[4]), u32(p[5])); errno != 0 {
		return errno
	}
	return s.pathAt(m, p[0], p[1], p[2])
}

// pathSymlink is (target, target_len, fd, path, path_len).
func pathSymlink(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[0]), u32(p[1])); errno != 0 {
		return errno
	}
	return s.pathAt(m, p[2], p[3], p[4])
}
