package wasip1

import (
	"time"

	"golang.org/x/sys/unix"
)

// A drain lets a guest's connections finish and keeps new ones away. A guest that knows of it closes its connections
// itself. For one that cannot know, the System looks for a quiet moment of each connection, in which nothing is under
// way that a client could miss: the guest has written since it last read, nothing is unread or unsent, and for some
// time nothing was written. Then it says so to the client (SHUT_WR), reads what comes to the end, and lets the guest
// find the end as well.
const (
	drainTick  = int64(10 * time.Millisecond)
	quietEarly = int64(time.Second)           // no write for so long, in the first half of the drain: a streaming handler pauses
	quietLate  = int64(10 * time.Millisecond) // in the second half
	endWithin  = int64(time.Second)           // after SHUT_WR, the client has so long to close
)

// drain is the System's part of a drain.
type drain struct {
	on         bool
	aware      bool // the guest ends its connections itself
	start, end int64
	idle       func() bool
	done       func(cut int)
	scratch    []byte
}

// drainState is what a connection keeps for a drain.
type drainState struct {
	accepted  bool  // came through a listener: outbound connections do not count
	received  bool  // the guest has read something
	wrote     bool  // the guest has written since it last read
	lastWrite int64 // kept while a drain is on
	shutRead  bool  // the guest reads the end from here on
	ended     bool  // SHUT_WR was sent by the drain
	endedAt   int64
	closed    bool // the client has closed as well, or its time is over
}

// Drain begins a drain that lasts until no accepted connection is left and idle answers true, or for timeout
// nanoseconds. Then done is called, once, from within a wait, with the number of connections still open. aware says that
// the guest ends its connections itself.
func (s *System) Drain(timeout int64, aware bool, idle func() bool, done func(cut int)) {
	if s.drain.on {
		return
	}
	now := s.poller.Now()
	s.drain = drain{on: true, aware: aware, start: now, end: now + timeout, idle: idle, done: done, scratch: make([]byte, 4096)}
	s.poller.ticking = true
	for _, e := range s.poller.slots {
		if e != nil && e.kind == KindListener {
			// Never ready again, rather than an error: a server that cannot accept would give up.
			e.acc.closed = true
			s.poller.set(e, 0)
		}
	}
}

// Draining says whether a drain is on.
func (s *System) Draining() bool { return s.drain.on }

// tickDrain does a drain's work and answers when it wants to be called again.
func (s *System) tickDrain(now int64) int64 {
	d := &s.drain
	if !d.on || d.done == nil {
		return Forever
	}
	open := 0
	for _, e := range s.poller.slots {
		if e == nil || !e.drain.accepted || e.drain.closed {
			continue
		}
		if !d.aware {
			s.drainOne(e, now)
		}
		if !e.drain.closed {
			open++
		}
	}
	if open == 0 && d.idle() || now >= d.end {
		done := d.done
		d.done = nil
		done(open)
		return Forever
	}
	return now + drainTick
}

// drainOne brings one connection of an unaware guest nearer to its end.
func (s *System) drainOne(e *Entry, now int64) {
	if !e.drain.ended {
		if !s.quiet(e, now) {
			return
		}
		_ = unix.Shutdown(e.fd, unix.SHUT_WR) // an error means that the client is gone already
		e.drain.ended, e.drain.endedAt = true, now
	}
	for {
		n, _, err := unix.Recvfrom(e.fd, s.drain.scratch, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN && now-e.drain.endedAt < endWithin {
			return
		}
		if err != nil || n == 0 || now-e.drain.endedAt >= endWithin {
			break
		}
	}
	e.drain.closed, e.drain.shutRead = true, true
	if bits := e.poll.watch; bits != 0 {
		s.poller.need(e, bits) // the end is to be found
	}
}

// quiet says that nothing is under way on e that its client could miss.
func (s *System) quiet(e *Entry, now int64) bool {
	pause := quietEarly
	if now-s.drain.start >= (s.drain.end-s.drain.start)/2 {
		pause = quietLate
	}
	if e.drain.received && !e.drain.wrote || now-max(e.drain.lastWrite, s.drain.start) < pause {
		return false
	}
	unread, err := unix.IoctlGetInt(e.fd, unix.TIOCINQ) // FIONREAD
	if err != nil || unread > 0 {
		return false
	}
	unsent, err := unix.IoctlGetInt(e.fd, unix.TIOCOUTQ) // SIOCOUTQ
	return err == nil && unsent == 0
}

// forgetConnection takes a connection that the guest closes out of the figures.
func (s *System) forgetConnection(e *Entry) {
	if e.drain.accepted {
		s.figures.Connections--
	}
}
