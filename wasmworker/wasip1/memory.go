package wasip1

import (
	"encoding/binary"
	"unsafe"

	"github.com/tetratelabs/wazero/api"

	"github.com/wcluster/wcluster/abi"
)

// Memory is a guest's memory during one host call. A slice of it must not outlive the call: the guest may grow its
// memory, and with it move it.
type Memory struct{ api.Memory }

// Bytes is the guest's bytes from ptr on; EFAULT when they are not all inside.
func (m Memory) Bytes(ptr, n uint32) ([]byte, Errno) {
	b, ok := m.Read(ptr, n)
	if !ok {
		return nil, abi.EFAULT
	}
	return b, 0
}

// Records is the guest's array of n records of size bytes each from ptr on.
func (m Memory) Records(ptr, n, size uint32) ([]byte, Errno) {
	total := uint64(n) * uint64(size)
	if total > 1<<32-1 {
		return nil, abi.EFAULT
	}
	return m.Bytes(ptr, uint32(total))
}

// Writable answers EFAULT when n bytes from ptr on are not all inside: to be asked of an out-parameter before the call
// does something that cannot be undone.
func (m Memory) Writable(ptr, n uint32) Errno {
	_, errno := m.Bytes(ptr, n)
	return errno
}

// PutU32 stores v at ptr.
func (m Memory) PutU32(ptr, v uint32) Errno {
	if !m.WriteUint32Le(ptr, v) {
		return abi.EFAULT
	}
	return 0
}

// PutU64 stores v at ptr.
func (m Memory) PutU64(ptr uint32, v uint64) Errno {
	if !m.WriteUint64Le(ptr, v) {
		return abi.EFAULT
	}
	return 0
}

// vectors turns the guest's array of n iovecs at ptr into the kernel's, which point straight into guest memory. They
// may overlap and be empty. Beyond maxIovecs and maxTransfer they are left out: a short read or write.
func (s *System) vectors(m Memory, ptr, n uint32) (Vectors, Errno) {
	raw, errno := m.Records(ptr, n, iovecSize)
	if errno != 0 {
		return nil, errno
	}
	v := s.iovs[:min(n, maxIovecs)]
	left := maxTransfer
	for i := range v {
		rec := raw[i*iovecSize:]
		b, errno := m.Bytes(binary.LittleEndian.Uint32(rec), binary.LittleEndian.Uint32(rec[4:]))
		if errno != 0 {
			return nil, errno
		}
		v[i].Base = unsafe.SliceData(b)
		v[i].SetLen(min(len(b), left))
		left -= min(len(b), left)
	}
	return v, 0
}
