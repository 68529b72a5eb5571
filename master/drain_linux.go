package master

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// When a cluster disconnects, connections that wait in a backlog must not be reset. So the door is closed first: a
// filter on each TCP listener drops new SYNs (a client tries again and finds, after the end, that nobody listens), and
// the file of each unix socket is removed. Workers go on accepting until the queues are empty; only then are they told
// to leave.

const (
	// drainPoll is how often the queues are looked at, drainLimit for how long at most: workers that do not accept for
	// a second will not do so in the next either.
	drainPoll  = time.Millisecond
	drainLimit = time.Second

	// drainQuiet is how many looks in a row must find the queues empty: the last packet of a handshake that was under
	// way may still come.
	drainQuiet = 3
)

// noNewConnections is a classic BPF program (socket(7), SO_ATTACH_FILTER) that sees a segment from its TCP header on:
//
//	ldb [13]            the flags
//	jset #2, drop       SYN
//	ret #-1             keep all of it
//	drop: ret #0
//
// Connections accepted from now on inherit it, which does no harm: none of their segments carries a SYN.
var noNewConnections = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 2, Jt: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// closeDoor lets no new connection into the queue. An adopted socket is left alone: it lives on with its other owner,
// who would be deaf for ever after, and whose connections wait rather than be reset.
func (s *socket) closeDoor() error {
	switch {
	case s.adopted:
		return nil
	case s.told.AddressType == "unix":
		if s.unlink != nil {
			s.unlink()
		}
		return nil
	}
	program := unix.SockFprog{Len: uint16(len(noNewConnections)), Filter: &noNewConnections[0]}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(s.fd.Int(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program))
}

// waiting is how many connections wait to be accepted; for a unix socket, which does not tell, 1 for some.
func (s *socket) waiting() int {
	if s.adopted {
		return 0
	}
	if s.told.AddressType == "unix" {
		return readable(s.fd.Int())
	}
	info, err := unix.GetsockoptTCPInfo(s.fd.Int(), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked) // for a socket that listens: sk_ack_backlog (tcp_get_info in net/ipv4/tcp.c)
}

// readable is 1 if the socket has something to accept now.
func readable(fd int) int {
	if pollNow(fd, unix.POLLIN)&unix.POLLIN == 0 {
		return 0
	}
	return 1
}

// pollNow is what poll(2) says of a descriptor, without waiting.
func pollNow(fd int, events int16) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, 0)
		switch {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return 0
		default:
			return p[0].Revents
		}
	}
}

// emptyQueues closes the doors and waits until nothing waits behind them, while somebody accepts.
func (r *registry) emptyQueues(accepting func() bool) {
	r.refuse()
	r.each(func(s *socket) { _ = s.closeDoor() }) // without the filter the drain is only less gentle
	if !accepting() {
		return
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	quiet := 0
	for start := time.Now(); quiet < drainQuiet && time.Since(start) < drainLimit && accepting(); <-tick.C {
		waiting := 0
		r.each(func(s *socket) { waiting += s.waiting() })
		if quiet++; waiting > 0 {
			quiet = 0
		}
	}
}
