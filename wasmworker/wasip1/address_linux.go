package wasip1

import (
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// LocalAddress and PeerAddress answer the text of a socket's address, such as "tcp://127.0.0.1:8000" or
// "unix:///run/app.sock"; it is valid until the next call. ENOTSOCK: fd is no socket; ENOTCONN: it has no peer.
func (s *System) LocalAddress(fd uint32) ([]byte, Errno) { return s.address(unix.SYS_GETSOCKNAME, fd) }

// PeerAddress is LocalAddress for the far end.
func (s *System) PeerAddress(fd uint32) ([]byte, Errno) { return s.address(unix.SYS_GETPEERNAME, fd) }

func (s *System) address(nr uintptr, fd uint32) ([]byte, Errno) {
	e, errno := s.table.get(fd)
	switch {
	case errno != 0:
		return nil, errno
	case !e.socket():
		return nil, abi.ENOTSOCK
	}
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, en := unix.RawSyscall(nr, uintptr(e.fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if en != 0 {
		return nil, fromLinux(en)
	}
	return appendAddress(s.local[:0], &sa, size), 0
}

// appendAddress appends the text of sa, of which size bytes are filled. An unnamed unix socket is "unix://".
func appendAddress(b []byte, sa *unix.RawSockaddrAny, size uint32) []byte {
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return appendHostPort(b, netip.AddrFrom4(in.Addr), in.Port)
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return appendHostPort(b, netip.AddrFrom16(in.Addr).Unmap(), in.Port)
	case unix.AF_UNIX:
		path := (*unix.RawSockaddrUnix)(unsafe.Pointer(sa)).Path
		b = append(b, "unix://"...)
		// A path of 108 bytes has no room for its zero, and the size counts it all the same (unix(7), BUGS).
		for i, c := range path[:min(max(int(size)-2, 0), len(path))] {
			switch {
			case c != 0:
				b = append(b, byte(c))
			case i == 0:
				b = append(b, '@') // an abstract name
			default:
				return b
			}
		}
		return b
	default:
		return append(b, "unknown:"...)
	}
}

// appendHostPort appends "tcp://host:port"; port is in network byte order.
func appendHostPort(b []byte, ip netip.Addr, port uint16) []byte {
	b = append(b, "tcp://"...)
	if ip.Is6() {
		b = append(ip.AppendTo(append(b, '[')), ']')
	} else {
		b = ip.AppendTo(b)
	}
	return strconv.AppendUint(append(b, ':'), uint64(port>>8|port<<8), 10)
}
