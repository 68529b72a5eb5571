package wasip1

// A guest may be allowed only so many accepted connections at once. While it has them its listeners are silent: accept
// answers EAGAIN, or waits, and no wait sleeps with a listener in epoll (see stepAside), so that the kernel wakes a
// sibling for the next connection, or keeps it in the backlog. The first one that is closed makes room: a blocking accept
// and a poll_oneoff ask anew, and what is watched stands on the stale roster, which the next Wait mends.
//
// Only the guest's own close counts. What a drain has ended is the guest's until then.

// gainConnection counts a connection that was accepted.
func (s *System) gainConnection() {
	s.figures.Accepted++
	s.figures.Connections++
	s.connections++
	s.judgeFull()
}

// loseConnection takes e out of the count, if it is a connection that was accepted.
func (s *System) loseConnection(e *Entry) {
	if e.drain.accepted {
		s.figures.Connections--
		s.connections--
		s.judgeFull()
	}
}

func (s *System) judgeFull() {
	s.poller.full = s.maxConnections > 0 && s.connections >= s.maxConnections
}
