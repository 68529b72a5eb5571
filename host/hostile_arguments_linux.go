//go:build hostile

package host

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Arguments of raw system calls, as addresses of memory that neither moves nor is freed: it is on the heap, where Go does
// not move anything, and the prisoner holds on to it.

// text is a string with its zero byte.
func (p *prisoner) text(s string) uintptr { return p.bytes(append([]byte(s), 0)) }

// room is n zero bytes.
func (p *prisoner) room(n int) uintptr { return p.bytes(make([]byte, n)) }

// number is an int32, as socket options are.
func (p *prisoner) number(n int32) uintptr {
	return p.bytes(binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

// words are 64-bit numbers in a row, as in many structs of the kernel.
func (p *prisoner) words(all ...uint64) uintptr {
	var b []byte
	for _, w := range all {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return p.bytes(b)
}

func (p *prisoner) bytes(b []byte) uintptr {
	p.kept = append(p.kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// address is a sockaddr_in of 127.0.0.1, port 9, where nobody is.
func (p *prisoner) address() uintptr {
	return p.bytes([]byte{unix.AF_INET, 0, 0, 9, 127, 0, 0, 1, 15: 0})
}

const addressSize = 16

// nowhere is a sockaddr of AF_UNSPEC: to connect to it ends what a socket was.
func (p *prisoner) nowhere() uintptr { return p.room(addressSize) }

// message is a msghdr of one byte.
func (p *prisoner) message(change func(*unix.Msghdr)) uintptr {
	data := []byte{0}
	iov := &unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	m := &unix.Msghdr{Iov: iov}
	m.SetIovlen(1)
	if change != nil {
		change(m)
	}
	p.kept = append(p.kept, m)
	return uintptr(unsafe.Pointer(m))
}

// page is a fresh page of memory. It is mapped, not allocated: it may be unmapped or made something else.
func page() (uintptr, error) {
	return askFor(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, minus(1), 0)
}

const pageSize = 4096

// here is AT_FDCWD, and the standard streams are what is open.
const (
	stdin  = 0
	stdout = 1
)

var here = minus(-unix.AT_FDCWD)
