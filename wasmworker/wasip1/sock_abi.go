package wasip1

import "github.com/wcluster/wcluster/abi"

// Decoding and encoding for sock_* and poll_oneoff.

func sockAccept(s *System, m Memory, p []uint64) Errno {
	if errno := m.Writable(u32(p[2]), 4); errno != 0 {
		return errno // before a connection is taken that could not be handed out
	}
	fd, errno := s.SockAccept(u32(p[0]), u16(p[1]))
	if errno != 0 {
		return errno
	}
	return m.PutU32(u32(p[2]), fd)
}

// sockRecv: (fd, iovs, iovs_len, riflags, *size, *roflags).
func sockRecv(s *System, m Memory, p []uint64) Errno {
	v, errno := s.vectors(m, u32(p[1]), u32(p[2]))
	if errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[4]), 4); errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[5]), 2); errno != 0 {
		return errno
	}
	n, roflags, errno := s.SockRecv(u32(p[0]), v, u16(p[3]))
	if errno != 0 {
		return errno
	}
	m.WriteUint16Le(u32(p[5]), roflags)
	return m.PutU32(u32(p[4]), n)
}

// sockSend: (fd, iovs, iovs_len, siflags, *size).
func sockSend(s *System, m Memory, p []uint64) Errno {
	v, errno := s.vectors(m, u32(p[1]), u32(p[2]))
	if errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[4]), 4); errno != 0 {
		return errno
	}
	n, errno := s.SockSend(u32(p[0]), v, u16(p[3]))
	if errno != 0 {
		return errno
	}
	return m.PutU32(u32(p[4]), n)
}

func sockShutdown(s *System, _ Memory, p []uint64) Errno {
	return s.SockShutdown(u32(p[0]), u8(p[1]))
}

// pollOneoff: (*subscriptions, *events, n, *nevents). The guest may let the two arrays overlap: every subscription is
// read before the first event is written.
func pollOneoff(s *System, m Memory, p []uint64) Errno {
	n := u32(p[2])
	if n == 0 || n > maxSubscriptions {
		return abi.EINVAL
	}
	in, errno := m.Records(u32(p[0]), n, subscriptionSize)
	if errno != 0 {
		return errno
	}
	out, errno := m.Records(u32(p[1]), n, eventSize)
	if errno != 0 {
		return errno
	}
	if errno := m.Writable(u32(p[3]), 4); errno != 0 {
		return errno
	}
	if errno := s.decodeSubscriptions(in, int(n)); errno != 0 {
		return errno
	}
	count := uint32(0)
	errno = s.Poll(func(ev Event) {
		ev.encode(out[count*eventSize:])
		count++
	})
	if errno != 0 {
		return errno
	}
	return m.PutU32(u32(p[3]), count)
}

// decodeSubscriptions fills s.subs from n records. EINVAL: a tag that preview 1 does not know.
func (s *System) decodeSubscriptions(in []byte, n int) Errno {
	if cap(s.subs) < n {
		s.subs = make([]Subscription, n+n/2)
	}
	s.subs = s.subs[:n]
	for i := range s.subs {
		s.subs[i].decode(in[i*subscriptionSize:])
		if s.subs[i].Tag > eventFdWrite {
			return abi.EINVAL
		}
	}
	return 0
}
