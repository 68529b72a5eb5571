package wasmworker

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tetratelabs/wazero/experimental"
)

// linearMemory reserves address space for the largest size that the module and the limit allow and makes as much of it
// usable as the guest has asked for. Growing neither copies nor moves, and the Go heap, whose collections scale with what
// it holds, never sees guest memory.
type linearMemory struct {
	all  []byte // PROT_NONE from used on
	used uint64
	size *uint64 // where the size is told
	made bool    // it has its first size

	limit *memoryLimit
}

var _ experimental.LinearMemory = (*linearMemory)(nil)

// reserve takes address space, which costs no memory: MAP_NORESERVE and PROT_NONE. It panics when there is none: wazero
// has no other way to be told, and instantiate recovers.
func reserve(maximum uint64, size *uint64, limit *memoryLimit) experimental.LinearMemory {
	maximum = min(maximum, limit.bytes)
	if maximum == 0 {
		return &linearMemory{size: size, limit: limit}
	}
	all, err := unix.Mmap(-1, 0, int(maximum), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		panic(fmt.Errorf("reserve %d bytes of address space: %w", maximum, os.NewSyscallError("mmap", err)))
	}
	return &linearMemory{all: all, size: size, limit: limit}
}

// Reallocate makes the first size bytes usable. nil: it would be more than the limit, or the kernel has no room;
// memory.grow then answers -1. It panics when that is so for the first size, as reserve does.
func (m *linearMemory) Reallocate(size uint64) []byte {
	switch {
	case size > m.limit.bytes && !m.made:
		panic(&initialError{wants: size, limit: m.limit.bytes})
	case size > m.limit.bytes:
		m.limit.refused = true
		return nil
	case size > uint64(len(m.all)):
		return nil
	}
	if size > m.used {
		err := unix.Mprotect(m.all[m.used:pageUp(size, uint64(len(m.all)))], unix.PROT_READ|unix.PROT_WRITE)
		switch {
		case err != nil && !m.made:
			panic(fmt.Errorf("make %d bytes usable: %w", size, os.NewSyscallError("mprotect", err)))
		case err != nil:
			return nil
		}
		m.used = size
	}
	m.made = true
	*m.size = size
	return m.all[:size:size]
}

// pageUp rounds size, a multiple of 64 KiB in all but odd modules, up to a page of the kernel.
func pageUp(size, limit uint64) uint64 {
	page := uint64(unix.Getpagesize())
	return min((size+page-1)/page*page, limit)
}

// Free gives everything back.
func (m *linearMemory) Free() {
	if m.all != nil {
		_ = unix.Munmap(m.all)
		m.all = nil
	}
}
