package master

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// defaultBacklog is what a queue of connections may hold unless the asker says otherwise. The kernel clamps it, as any
// other number, to net.core.somaxconn, whose default is the same since Linux 5.4.
const defaultBacklog = 4096

// listen makes a listening socket. Its errors wrap a syscall.Errno.
func listen(a abi.Address, ipv6Only bool, backlog int) (*socket, error) {
	if backlog <= 0 || backlog > defaultBacklog {
		backlog = defaultBacklog
	}
	switch a.Network {
	case "fd":
		return adopt(a.Fd, backlog)
	case "unix":
		return listenUnix(a.Path, backlog)
	default:
		return listenTCP(a, ipv6Only, backlog)
	}
}

// listenTCP binds all addresses of a host-less "tcp" as one dual-stack IPv6 socket, or as an IPv4 one where the machine
// has no IPv6.
func listenTCP(a abi.Address, ipv6Only bool, backlog int) (*socket, error) {
	ip, err := hostOf(a)
	if err != nil {
		return nil, err
	}
	s, err := bindTCP(a.Network, netip.AddrPortFrom(ip, a.Port), ipv6Only, backlog)
	if a.Network == "tcp" && a.Host == "" && !ipv6Only && (err == unix.EAFNOSUPPORT || err == unix.EADDRNOTAVAIL) {
		s, err = bindTCP(a.Network, netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port), false, backlog)
	}
	return s, err
}

func hostOf(a abi.Address) (netip.Addr, error) {
	switch {
	case a.Host != "":
		ip, err := netip.ParseAddr(a.Host)
		if err != nil {
			return ip, unix.EINVAL
		}
		if a.Network == "tcp6" {
			return ip, nil // an IPv4-mapped one is for bind to refuse
		}
		return ip.Unmap(), nil
	case a.Network == "tcp4":
		return netip.IPv4Unspecified(), nil
	default:
		return netip.IPv6Unspecified(), nil
	}
}

// sockaddr is an address as bind(2) takes it, with its family.
func sockaddr(at netip.AddrPort) (unix.Sockaddr, int, error) {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, unix.AF_INET, nil
	}
	zone, err := zoneOf(at.Addr())
	if err != nil {
		return nil, 0, err
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16(), ZoneId: zone}, unix.AF_INET6, nil
}

func bindTCP(network string, at netip.AddrPort, ipv6Only bool, backlog int) (*socket, error) {
	addr, family, err := sockaddr(at)
	if err != nil {
		return nil, err
	}
	fd, err := newSocket(family)
	if err != nil {
		return nil, err
	}
	if err := bindAndListen(fd, family, addr, ipv6Only, backlog); err != nil {
		fd.Close()
		return nil, err
	}
	return describe(fd, network)
}

func newSocket(family int) (*ipc.FD, error) {
	// IPPROTO 0 is TCP here, never MPTCP, which Landlock does not see.
	n, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return ipc.NewFD(n), nil
}

func bindAndListen(fd *ipc.FD, family int, at unix.Sockaddr, ipv6Only bool, backlog int) error {
	// SO_REUSEADDR: a restart must not wait for the connections of the last run to leave TIME_WAIT.
	if err := unix.SetsockoptInt(fd.Int(), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		only := 0
		if ipv6Only {
			only = 1
		}
		if err := unix.SetsockoptInt(fd.Int(), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd.Int(), at); err != nil {
		return err
	}
	return unix.Listen(fd.Int(), backlog)
}

// zoneOf is the index of an address's zone, which names an interface or is the index itself.
func zoneOf(ip netip.Addr) (uint32, error) {
	if ip.Zone() == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(ip.Zone(), 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(ip.Zone())
	if err != nil {
		return 0, unix.ENODEV
	}
	return uint32(i.Index), nil
}

// describe finishes a socket that listens: what the kernel says where. On an error the descriptor is closed.
func describe(fd *ipc.FD, network string) (*socket, error) {
	name, err := unix.Getsockname(fd.Int())
	if err != nil {
		fd.Close()
		return nil, err
	}
	s := &socket{fd: fd, told: ListeningAddress{Fd: -1}}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		s.inet(network, "tcp4", netip.AddrFrom4(name.Addr), name.Port)
	case *unix.SockaddrInet6:
		s.inet(network, "tcp6", netip.AddrFrom16(name.Addr), name.Port)
	case *unix.SockaddrUnix:
		s.address = abi.Address{Network: "unix", Path: name.Name}
		s.told.AddressType, s.told.Address, s.told.Port = "unix", name.Name, -1
	default:
		fd.Close()
		return nil, unix.EAFNOSUPPORT
	}
	return s, nil
}

func (s *socket) inet(network, kind string, ip netip.Addr, port int) {
	if network == "" {
		network = kind
	}
	s.address = abi.Address{Network: network, Host: ip.String(), Port: uint16(port)}
	s.told.AddressType, s.told.Address, s.told.Port = kind, ip.String(), port
}

// listenUnix binds a path, or a name in the abstract namespace when it begins with "@". The socket file of a server that
// has died is replaced: nobody answers at it.
func listenUnix(path string, backlog int) (*socket, error) {
	fd, err := newSocket(unix.AF_UNIX)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd.Int(), &unix.SockaddrUnix{Name: path})
	if err == unix.EADDRINUSE && !strings.HasPrefix(path, "@") && isStale(path) {
		if err = unix.Unlink(path); err == nil || err == unix.ENOENT {
			err = unix.Bind(fd.Int(), &unix.SockaddrUnix{Name: path})
		}
	}
	if err == nil {
		err = unix.Listen(fd.Int(), backlog)
	}
	if err != nil {
		fd.Close()
		return nil, err
	}
	s, err := describe(fd, "")
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(path, "@") {
		s.unlink = unlinker(path)
	}
	return s, nil
}

// isStale is whether path is a socket that nobody listens on. A full backlog (EAGAIN) is somebody.
func isStale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	fd, err := newSocket(unix.AF_UNIX)
	if err != nil {
		return false
	}
	defer fd.Close()
	return unix.Connect(fd.Int(), &unix.SockaddrUnix{Name: path}) == unix.ECONNREFUSED
}

// unlinker removes a socket's file, unless somebody else has put another one in its place. A second call does nothing.
func unlinker(path string) func() {
	ours, err := os.Lstat(path)
	absolute, absErr := filepath.Abs(path)
	if err != nil || absErr != nil {
		return nil
	}
	done := false
	return func() {
		now, err := os.Lstat(absolute)
		if done || err != nil || !os.SameFile(ours, now) {
			return
		}
		done = true
		_ = os.Remove(absolute) // best effort at the end: the next start replaces a stale file
	}
}

// adopt listens on a descriptor of this process, which remains its owner's. An adopted socket that its owner left in
// blocking mode is made non-blocking, once: a worker could otherwise be held in accept.
func adopt(n, backlog int) (*socket, error) {
	dup, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	fd := ipc.NewFD(dup)
	if err := prepareAdopted(fd, backlog); err != nil {
		fd.Close()
		return nil, err
	}
	s, err := describe(fd, "")
	if err != nil {
		return nil, err
	}
	s.adopted = true
	s.told.Fd = n
	return s, nil
}

func prepareAdopted(fd *ipc.FD, backlog int) error {
	kind, err := unix.GetsockoptInt(fd.Int(), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM {
		return unix.EPROTOTYPE
	}
	listens, err := unix.GetsockoptInt(fd.Int(), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if listens == 0 {
		if err := unix.Listen(fd.Int(), backlog); err != nil {
			return err
		}
	}
	return unix.SetNonblock(fd.Int(), true)
}
