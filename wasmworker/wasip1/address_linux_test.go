package wasip1

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

func TestAddresses(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	fd, client := connect(t, s, listener, addr)
	raw, path := listenUnix(t)
	unixListener, errno := s.OpenListener(raw, false, nil)
	ok(t, errno)
	unixFD, _ := connect(t, s, unixListener, path)
	reader, _ := pipe(t, s, rightFdRead, 0)
	for _, tt := range []struct {
		name   string
		get    func(uint32) ([]byte, Errno)
		fd     uint32
		want   string
		errno  Errno
		prefix bool
	}{
		{"a listener's own", s.LocalAddress, listener, "tcp://" + addr, 0, false},
		{"a listener has no peer", s.PeerAddress, listener, "", abi.ENOTCONN, false},
		{"a connection's own", s.LocalAddress, fd, "tcp://" + addr, 0, false},
		{"a connection's peer", s.PeerAddress, fd, "tcp://" + client.LocalAddr().String(), 0, false},
		{"a path", s.LocalAddress, unixListener, "unix://" + path, 0, false},
		{"a peer without a name", s.PeerAddress, unixFD, "unix://", 0, false},
		{"a pipe is no socket", s.LocalAddress, reader, "", abi.ENOTSOCK, false},
		{"a number that is not open", s.LocalAddress, 1000, "", abi.EBADF, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, errno := tt.get(tt.fd)
			if string(got) != tt.want || errno != tt.errno {
				t.Errorf("%q, %v; want %q, %v", got, errno, tt.want, tt.errno)
			}
		})
	}
}

func TestTextOfAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		sa   unix.Sockaddr
		want string
	}{
		{"IPv4", &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, "tcp://127.0.0.1:"},
		{"IPv6", &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, "tcp://[::1]:"},
		{"an abstract name", &unix.SockaddrUnix{Name: "@wcluster-test"}, "unix://@wcluster-test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			family := unix.AF_INET
			switch tt.sa.(type) {
			case *unix.SockaddrInet6:
				family = unix.AF_INET6
			case *unix.SockaddrUnix:
				family = unix.AF_UNIX
			}
			raw, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			check(t, err)
			if err := unix.Bind(raw, tt.sa); err != nil {
				unix.Close(raw)
				t.Skip("bind:", err)
			}
			s := newSystem(t, Config{})
			fd, errno := s.OpenListener(raw, false, nil)
			ok(t, errno)
			got, errno := s.LocalAddress(fd)
			if errno != 0 || !strings.HasPrefix(string(got), tt.want) {
				t.Errorf("%q, %v; want %q…", got, errno, tt.want)
			}
		})
	}
}

// Whoever connects to a unix socket chooses the name of its own: 108 bytes of path, for which the kernel tells a size that
// counts a zero byte nobody has room for.
func TestAPeerWithTheLongestPath(t *testing.T) {
	s := newSystem(t, Config{})
	raw, path := listenUnix(t)
	listener, errno := s.OpenListener(raw, false, nil)
	ok(t, errno)
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(client)
	t.Chdir(t.TempDir())
	name := strings.Repeat("p", 108)
	check(t, bindLong(client, name))
	check(t, unix.Connect(client, &unix.SockaddrUnix{Name: path}))
	fd := acceptOne(t, s, listener)
	got, errno := s.PeerAddress(fd)
	if string(got) != "unix://"+name || errno != 0 {
		t.Errorf("%q, %v", got, errno)
	}
}
