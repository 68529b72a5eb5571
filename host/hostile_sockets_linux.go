//go:build hostile

package host

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// socketAttacks make sockets of their own. Some would be of no use in an empty network namespace; abstract ones of the
// unix domain, vsock and netlink's oddities have been ways out of one.
var socketAttacks = []attack{
	{"socket-inet", "socket", "a way out", asks(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)},
	{"socket-inet6", "socket", "a way out", asks(unix.SYS_SOCKET, unix.AF_INET6, unix.SOCK_STREAM, 0)},
	{"socket-multipath", "socket", "a way out that Landlock does not see", asks(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)},
	{"socket-datagram", "socket", "a way out", asks(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, 0)},
	{"socket-raw", "socket", "packets of its own making", asks(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{"socket-packet", "socket", "everybody's packets", asks(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0)},
	{"socket-unix", "socket", "the machine's daemons", asks(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)},
	{"socket-netlink", "socket", "the kernel's network", asks(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, 0)},
	{"socket-audit", "socket", "the audit log", asks(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)},
	{"socket-vsock", "socket", "the machine's hypervisor", asks(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	{"socket-kernel-crypto", "socket", "the kernel's ciphers, and their bugs", asks(unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	{"socket-express", "socket", "packets past the stack", asks(unix.SYS_SOCKET, unix.AF_XDP, unix.SOCK_RAW, 0)},
	{"socket-bluetooth", "socket", "rarely used parts of the kernel", asks(unix.SYS_SOCKET, unix.AF_BLUETOOTH, unix.SOCK_RAW, 0)},
	{"socket-pair", "socketpair", "a place to keep descriptors in", func(p *prisoner) error {
		return ask(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, p.room(8))
	}},
	{"bind-anything", "bind", "an address", func(p *prisoner) error {
		return ask(unix.SYS_BIND, stdin, p.address(), addressSize)
	}},
	{"receive-many", "recvmmsg", "messages past the host", func(p *prisoner) error {
		return ask(unix.SYS_RECVMMSG, channel, p.message(nil), 1, unix.MSG_DONTWAIT, 0)
	}},
	{"accept-old", "accept", "a connection that is inherited", func(p *prisoner) error {
		return ask(unix.SYS_ACCEPT, stdin, 0, 0)
	}},
}

// connectionAttacks use a connection that the guest has accepted, which is in the host's network namespace as well. Each
// takes the next that comes.
var connectionAttacks = []attack{
	{"disconnect-connection", "connect", "a socket of the host's network that is free", onConnection(func(p *prisoner, fd int) error {
		return ask(unix.SYS_CONNECT, uintptr(fd), p.nowhere(), addressSize)
	})},
	{"connect-connection", "connect", "a way out", onConnection(func(p *prisoner, fd int) error {
		return ask(unix.SYS_CONNECT, uintptr(fd), p.address(), addressSize)
	})},
	{"listen-on-connection", "listen", "a port of the host's", onConnection(func(_ *prisoner, fd int) error {
		return ask(unix.SYS_LISTEN, uintptr(fd), 1)
	})},
	{"bind-connection", "bind", "a port of the host's", onConnection(func(p *prisoner, fd int) error {
		return ask(unix.SYS_BIND, uintptr(fd), p.address(), addressSize)
	})},
	{"shutdown-connection-reading", "shutdown", "a socket that is free", onConnection(func(_ *prisoner, fd int) error {
		return ask(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_RD)
	})},
	{"shutdown-connection", "shutdown", "a socket that is free", onConnection(func(_ *prisoner, fd int) error {
		return ask(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_RDWR)
	})},
	{"half-close-connection", "shutdown", "nothing: a guest may end what it sends", onConnection(func(_ *prisoner, fd int) error {
		return ask(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR)
	})},
	{"fast-open-connection", "sendto", "a way out, after a half-close", onConnection(func(p *prisoner, fd int) error {
		return each(
			func() error {
				return ask(unix.SYS_SENDTO, uintptr(fd), p.room(1), 1, unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, p.address(), addressSize)
			},
			func() error {
				_ = ask(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR)
				return ask(unix.SYS_SENDTO, uintptr(fd), p.room(1), 1, unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, p.address(), addressSize)
			},
		)
	})},
	{"repair-connection", "setsockopt", "a connection to anywhere", onConnection(func(p *prisoner, fd int) error {
		return p.set(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, p.number(1), 4)
	})},
	{"smuggle-in-connection", "sendmsg", "descriptors in a TCP connection", onConnection(func(p *prisoner, fd int) error {
		return ask(unix.SYS_SENDMSG, uintptr(fd), p.message(p.rights), unix.MSG_OOB|unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL)
	})},
	{"answer-connection", "write", "nothing: that is what it is for", onConnection(func(p *prisoner, fd int) error {
		return ask(unix.SYS_WRITE, uintptr(fd), p.text("HTTP/1.1 204 \r\n\r\n"), 17)
	})},
}

func onConnection(try func(*prisoner, int) error) func(*prisoner) error {
	return func(p *prisoner) error {
		const milliseconds = 10_000
		ready := []unix.PollFd{{Fd: int32(p.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, milliseconds); err != nil {
			return err
		}
		fd, _, err := unix.Accept4(p.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			return fmt.Errorf("no connection: %w", err)
		}
		return try(p, fd)
	}
}

// channelAttacks use the socket to the master.
var channelAttacks = []attack{
	{"smuggle", "sendmsg", "descriptors in the master, or a master without room for any", func(p *prisoner) error {
		frame := abi.Header{Kind: abi.KindMessage}.AppendTo(nil)
		return ask(unix.SYS_SENDMSG, channel, p.message(func(m *unix.Msghdr) {
			m.Iov.Base = &frame[0]
			m.Iov.SetLen(len(frame))
			p.rights(m)
		}), unix.MSG_NOSIGNAL)
	}},
	{"impersonate", "sendmsg", "to be another process (SCM_CREDENTIALS)", func(p *prisoner) error {
		b := unix.UnixCredentials(&unix.Ucred{Pid: int32(p.sibling)})
		return ask(unix.SYS_SENDMSG, channel, p.message(func(m *unix.Msghdr) {
			m.Control = &b[0]
			m.SetControllen(len(b))
		}), unix.MSG_NOSIGNAL)
	}},
	{"allow-rights", "setsockopt", "descriptors from whoever sends some", func(p *prisoner) error {
		return p.set(channel, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, p.number(1), 4)
	}},
	{"want-credentials", "setsockopt", "who sends what", func(p *prisoner) error {
		return p.set(channel, unix.SOL_SOCKET, unix.SO_PASSCRED, p.number(1), 4)
	}},
	{"connect-channel", "connect", "another daemon on the channel's socket", func(p *prisoner) error {
		return ask(unix.SYS_CONNECT, channel, p.bytes([]byte{unix.AF_UNIX, 0, 0, 'x', 109: 0}), 4)
	}},
	{"shutdown-channel", "shutdown", "a master that cannot say anything any more", asks(unix.SYS_SHUTDOWN, channel, unix.SHUT_RD)},
	{"blocking-channel", "fcntl", "a master that hangs (its end has flags of its own)", asks(unix.SYS_FCNTL, channel, unix.F_SETFL, 0)},
	{"descriptor-of-master", "getsockopt", "a descriptor of the master's process", func(p *prisoner) error {
		return ask(unix.SYS_GETSOCKOPT, channel, unix.SOL_SOCKET, unix.SO_PEERPIDFD, p.room(4), p.number(4))
	}},
}

// rights puts the listener's descriptor into a message (SCM_RIGHTS).
func (p *prisoner) rights(m *unix.Msghdr) {
	b := unix.UnixRights(p.listener)
	m.Control = &b[0]
	m.SetControllen(len(b))
}
