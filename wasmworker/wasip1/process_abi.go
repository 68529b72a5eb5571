package wasip1

import (
	"encoding/binary"

	"github.com/wcluster/wcluster/abi"
)

// Decoding and encoding for args_*, environ_*, clock_*, random_get, sched_yield and proc_raise.

func argsGet(s *System, m Memory, p []uint64) Errno {
	return putStrings(m, s.args, u32(p[0]), u32(p[1]))
}

func argsSizesGet(s *System, m Memory, p []uint64) Errno {
	return putSizes(m, s.args, u32(p[0]), u32(p[1]))
}

func environGet(s *System, m Memory, p []uint64) Errno {
	return putStrings(m, s.env, u32(p[0]), u32(p[1]))
}

func environSizesGet(s *System, m Memory, p []uint64) Errno {
	return putSizes(m, s.env, u32(p[0]), u32(p[1]))
}

// sizeOf is how many bytes the strings take with their zeros.
func sizeOf(list []string) uint32 {
	bytes := 0
	for _, str := range list {
		bytes += len(str) + 1
	}
	return uint32(bytes)
}

// putSizes stores how many strings there are and how many bytes they take.
func putSizes(m Memory, list []string, count, size uint32) Errno {
	if errno := m.Writable(size, 4); errno != 0 {
		return errno
	}
	if errno := m.PutU32(count, uint32(len(list))); errno != 0 {
		return errno
	}
	return m.PutU32(size, sizeOf(list))
}

// putStrings stores the strings one after the other at buf, each with a zero, and a pointer to each at ptrs.
func putStrings(m Memory, list []string, ptrs, buf uint32) Errno {
	pointers, errno := m.Records(ptrs, uint32(len(list)), 4)
	if errno != 0 {
		return errno
	}
	bytes, errno := m.Bytes(buf, sizeOf(list))
	if errno != 0 {
		return errno
	}
	at := 0
	for i, str := range list {
		binary.LittleEndian.PutUint32(pointers[4*i:], buf+uint32(at)) // inside bytes: it cannot wrap
		at += copy(bytes[at:], str)
		bytes[at] = 0
		at++
	}
	return 0
}

func clockResGet(s *System, m Memory, p []uint64) Errno {
	res, errno := s.ClockResolution(u32(p[0]))
	if errno != 0 {
		return errno
	}
	return m.PutU64(u32(p[1]), res)
}

// clockTimeGet takes a precision as its second parameter: how late the answer may be. It is never late.
func clockTimeGet(s *System, m Memory, p []uint64) Errno {
	now, errno := s.ClockTime(u32(p[0]))
	if errno != 0 {
		return errno
	}
	return m.PutU64(u32(p[2]), now)
}

func randomGet(s *System, m Memory, p []uint64) Errno {
	b, errno := m.Bytes(u32(p[0]), u32(p[1]))
	if errno != 0 {
		return errno
	}
	return s.Random(b)
}

func schedYield(s *System, _ Memory, _ []uint64) Errno { return s.Yield() }

// procRaise has nothing to deliver to: a guest has no signal handlers that a host could call.
func procRaise(*System, Memory, []uint64) Errno { return abi.ENOTSUP }
