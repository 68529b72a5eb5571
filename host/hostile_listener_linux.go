//go:build hostile

package host

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listenerAttacks use the listening socket that all workers share. It was made in the host's network namespace and stays
// there: what it can be made to connect to is outside.
var listenerAttacks = []attack{
	{"unlisten-by-connect", "connect", "an end of listening for everybody", func(p *prisoner) error {
		return ask(unix.SYS_CONNECT, uintptr(p.listener), p.nowhere(), addressSize)
	}},
	{"connect-listener", "connect", "a way out, through a socket of the host's network", func(p *prisoner) error {
		return each(
			func() error { return ask(unix.SYS_CONNECT, uintptr(p.listener), p.nowhere(), addressSize) },
			func() error { return ask(unix.SYS_CONNECT, uintptr(p.listener), p.address(), addressSize) },
		)
	}},
	{"shutdown-listener-reading", "shutdown", "an end of listening for everybody", onListener(unix.SYS_SHUTDOWN, unix.SHUT_RD)},
	{"shutdown-listener", "shutdown", "an end of listening for everybody", onListener(unix.SYS_SHUTDOWN, unix.SHUT_RDWR)},
	{"shutdown-listener-writing", "shutdown", "an end of listening for everybody", onListener(unix.SYS_SHUTDOWN, unix.SHUT_WR)},
	{"listen-shorter", "listen", "a queue in which nobody finds room", onListener(unix.SYS_LISTEN, 0)},
	{"bind-listener", "bind", "another address", func(p *prisoner) error {
		return ask(unix.SYS_BIND, uintptr(p.listener), p.address(), addressSize)
	}},
	{"fast-open", "sendto", "a way out without connect", func(p *prisoner) error {
		return ask(unix.SYS_SENDTO, uintptr(p.listener), p.room(1), 1, unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, p.address(), addressSize)
	}},
	{"fast-open-hidden", "sendto", "the same, with a bit in the upper half that the kernel does not look at", func(p *prisoner) error {
		return ask(unix.SYS_SENDTO, uintptr(p.listener), p.room(1), 1, 1<<32|unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, p.address(), addressSize)
	}},
	{"fast-open-message", "sendmsg", "a way out without connect", func(p *prisoner) error {
		return ask(unix.SYS_SENDMSG, uintptr(p.listener), p.message(p.to127), unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL)
	}},
	{"fast-open-messages", "sendmmsg", "a way out without connect", func(p *prisoner) error {
		return ask(unix.SYS_SENDMMSG, uintptr(p.listener), p.message(p.to127), 1, unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL)
	}},
	{"send-to-address", "sendto", "a way out without connect", func(p *prisoner) error {
		return ask(unix.SYS_SENDTO, uintptr(p.listener), p.room(1), 1, unix.MSG_NOSIGNAL, p.address(), addressSize)
	}},
	{"filter-listener", "setsockopt", "connections that nobody gets", func(p *prisoner) error {
		return p.set(p.listener, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, p.words(1, uint64(p.words(0x6))), 16)
	}},
	{"reuse-port", "setsockopt", "a listener of its own on the same port", setsOne(unix.SOL_SOCKET, unix.SO_REUSEPORT)},
	{"reuse-port-program", "setsockopt", "a choice of who gets which connection", setsOne(unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF)},
	{"linger", "setsockopt", "answers that are cut off", func(p *prisoner) error {
		return p.set(p.listener, unix.SOL_SOCKET, unix.SO_LINGER, p.words(1), 8)
	}},
	{"small-buffer", "setsockopt", "slow answers for everybody", setsOne(unix.SOL_SOCKET, unix.SO_SNDBUF)},
	{"priority-mark", "setsockopt", "another route", setsOne(unix.SOL_SOCKET, unix.SO_MARK)},
	{"bind-to-device", "setsockopt", "another network", func(p *prisoner) error {
		return p.set(p.listener, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, p.text("lo"), 3)
	}},
	{"repair", "setsockopt", "a connection that never was", setsOne(unix.IPPROTO_TCP, unix.TCP_REPAIR)},
	{"defer-accept", "setsockopt", "connections that nobody hears of", setsOne(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT)},
	{"fast-open-queue", "setsockopt", "data before the handshake", setsOne(unix.IPPROTO_TCP, unix.TCP_FASTOPEN)},
	{"fast-open-connect", "setsockopt", "a connect that sends", setsOne(unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT)},
	{"upper-protocol", "setsockopt", "kernel TLS under everybody's connections", func(p *prisoner) error {
		return p.set(p.listener, unix.IPPROTO_TCP, unix.TCP_ULP, p.text("tls"), 3)
	}},
	{"ip-options", "setsockopt", "a route of its own choice", setsOne(unix.IPPROTO_IP, unix.IP_OPTIONS)},
	{"ip-transparent", "setsockopt", "another's address", setsOne(unix.IPPROTO_IP, unix.IP_TRANSPARENT)},
	{"ip-number-of-keepalive", "setsockopt", "what TCP_KEEPIDLE's number means to another level", setsOne(unix.IPPROTO_IP, unix.TCP_KEEPIDLE)},
	{"clear-nonblock", "fcntl", "siblings that hang in accept", func(p *prisoner) error {
		return ask(unix.SYS_FCNTL, uintptr(p.listener), unix.F_SETFL, 0)
	}},
	{"set-flags-again", "fcntl", "flags of a description that is shared", func(p *prisoner) error {
		flags, err := askFor(unix.SYS_FCNTL, uintptr(p.listener), unix.F_GETFL)
		if err != nil {
			return err
		}
		return ask(unix.SYS_FCNTL, uintptr(p.listener), unix.F_SETFL, flags)
	}},
	{"nonblock-by-ioctl", "ioctl", "siblings that hang in accept", onListenerNumber(unix.SYS_IOCTL, fionbio)},
	{"async-by-ioctl", "ioctl", "signals on input", onListenerNumber(unix.SYS_IOCTL, fioasync)},
	{"interfaces", "ioctl", "the host's addresses", func(p *prisoner) error {
		return ask(unix.SYS_IOCTL, uintptr(p.listener), unix.SIOCGIFCONF, p.room(16))
	}},
	{"routes", "ioctl", "the host's network by the socket that is in it", func(p *prisoner) error {
		return ask(unix.SYS_IOCTL, uintptr(p.listener), unix.SIOCADDRT, p.room(256))
	}},
	{"namespace-of-socket", "ioctl", "the host's network namespace", func(p *prisoner) error {
		return ask(unix.SYS_IOCTL, uintptr(p.listener), unix.SIOCGSKNS, 0)
	}},
	{"type-into-terminal", "ioctl", "a command in the shell of whoever started the master", func(p *prisoner) error {
		return ask(unix.SYS_IOCTL, stdin, unix.TIOCSTI, p.text("x"))
	}},
	{"firewall", "getsockopt", "the host's firewall", func(p *prisoner) error {
		const info = 64 // IPT_SO_GET_INFO
		return ask(unix.SYS_GETSOCKOPT, uintptr(p.listener), unix.IPPROTO_IP, info, p.room(128), p.number(84))
	}},
	{"take-wake-ups", "epoll_pwait", "connections that nobody is woken for", takeWakeUps},
	{"duplicate", "dup", "a descriptor that nobody has counted", onListener(unix.SYS_DUP)},
	{"duplicate-3", "dup3", "another socket in the channel's place", onListener(unix.SYS_DUP3, channel, 0)},
	{"duplicate-by-fcntl", "fcntl", "a descriptor that nobody has counted", onListener(unix.SYS_FCNTL, unix.F_DUPFD, 0)},
	{"duplicate-closing", "fcntl", "a descriptor that nobody has counted", onListener(unix.SYS_FCNTL, unix.F_DUPFD_CLOEXEC, 0)},
	{"keep-over-exec", "fcntl", "a descriptor in another program", onListener(unix.SYS_FCNTL, unix.F_SETFD, 0)},
	{"lock", "fcntl", "a lock that others wait for", func(p *prisoner) error {
		return ask(unix.SYS_FCNTL, stdin, unix.F_SETLK, p.words(unix.F_WRLCK, 0, 0, 0))
	}},
	{"lease", "fcntl", "a lease that others wait for", asks(unix.SYS_FCNTL, stdin, unix.F_SETLEASE, unix.F_WRLCK)},
	{"large-pipe", "fcntl", "the user's room for pipes", asks(unix.SYS_FCNTL, stdout, unix.F_SETPIPE_SZ, 1<<20)},
}

const (
	fionbio  = 0x5421 // FIONBIO and FIOASYNC of ioctl_tty(2)
	fioasync = 0x5452
)

func onListener(call uintptr, args ...uintptr) func(*prisoner) error {
	return func(p *prisoner) error { return ask(call, append([]uintptr{uintptr(p.listener)}, args...)...) }
}

// onListenerNumber is onListener with a pointer to 0 at the end.
func onListenerNumber(call, request uintptr) func(*prisoner) error {
	return func(p *prisoner) error { return ask(call, uintptr(p.listener), request, p.number(0)) }
}

// setsOne sets an option of the listener to 1.
func setsOne(level, option uintptr) func(*prisoner) error {
	return func(p *prisoner) error { return p.set(p.listener, level, option, p.number(1), 4) }
}

func (p *prisoner) set(fd int, level, option, value, size uintptr) error {
	return ask(unix.SYS_SETSOCKOPT, uintptr(fd), level, option, value, size)
}

// takeWakeUps waits for connections for a while and accepts none: with EPOLLEXCLUSIVE the kernel wakes nobody else for those
// that it is woken for.
func takeWakeUps(p *prisoner) error {
	ep := findPoller()
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, p.listener, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE}); err != nil {
		return err
	}
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		var events [8]unix.EpollEvent
		if _, err := unix.EpollWait(ep, events[:], 1); err != nil && err != unix.EINTR {
			return err
		}
	}
	return nil
}

// findPoller looks for the epoll instance that has the channel: the other is the Go runtime's.
func findPoller() int {
	for fd := channel + 1; fd < 64; fd++ {
		if unix.EpollCtl(fd, unix.EPOLL_CTL_MOD, channel, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}) == nil {
			return fd
		}
	}
	return -1
}

// to127 addresses a message.
func (p *prisoner) to127(m *unix.Msghdr) {
	name := &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 9 << 8, Addr: [4]byte{127, 0, 0, 1}}
	m.Name, m.Namelen = (*byte)(unsafe.Pointer(name)), unix.SizeofSockaddrInet4
}
