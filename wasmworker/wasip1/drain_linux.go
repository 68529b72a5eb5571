package wasip1

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// A drain lets a guest's connections finish and keeps new ones away. A guest that knows of it closes its connections
// itself. For one that cannot know, the System looks for a quiet moment of each connection, in which nothing is under
// way that a client could miss: the guest has written since it last read, nothing is unread or unsent, and for some
// time nothing was written. Then it says so to the client (SHUT_WR), reads what comes to the end, and lets the guest
// find the end as well:
//
//	open ──quiet: SHUT_WR──► ending ──the client's end, or 1 s──► closed
//
// While it is ending the guest hears nothing of the connection: a request that comes now is lost, and its client, who
// finds the end in place of an answer, knows it.
const (
	drainTick  = int64(10 * time.Millisecond)
	quietEarly = int64(time.Second)           // no write for so long, in the first half of the drain: a streaming handler pauses
	quietLate  = int64(10 * time.Millisecond) // in the second half
	endWithin  = int64(time.Second)           // after SHUT_WR, the client has so long to close

	// drainReads bounds what is read of one connection in one tick: a client that floods keeps nobody waiting.
	drainReads = 16
)

// drain is the System's part of a drain.
type drain struct {
	on         bool
	aware      bool // the guest ends its connections itself
	start, end int64
	next       int64 // the next tick
	idle       func() bool
	done       func(cut int)
	scratch    Vectors // for what nobody reads; not s.iovs, which a call that waits may be using
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

func (d *drainState) ending() bool { return d.ended && !d.closed }

// Drain begins a drain that lasts until no accepted connection is left and idle answers true, or for timeout
// nanoseconds. Then done is called, once, from within a wait, with the number of connections still open. aware says that
// the guest ends its connections itself.
func (s *System) Drain(timeout int64, aware bool, idle func() bool, done func(cut int)) {
	if s.drain.on {
		return
	}
	now := s.poller.Now()
	scratch := make([]byte, 16<<10)
	s.drain = drain{
		on: true, aware: aware, start: now, end: later(now, uint64(max(timeout, 0))), idle: idle, done: done,
		scratch: Vectors{{Base: &scratch[0], Len: uint64(len(scratch))}},
	}
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
	switch {
	case !d.on || d.done == nil:
		return Forever
	case now < d.next:
		return d.next
	}
	open := 0
	for _, e := range s.poller.slots {
		if e == nil || !e.drain.accepted {
			continue
		}
		if !d.aware && !e.drain.closed {
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
	d.next = min(now+drainTick, d.end)
	return d.next
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
	if now-e.drain.endedAt < endWithin && !s.readToEnd(e) {
		return
	}
	e.drain.closed, e.drain.shutRead = true, true
	// The end is to be found, by this wait or a later one.
	s.poller.woken = true
	s.poller.noteKnown(e)
	s.poller.shed(e, e.poll.added)
}

// readToEnd throws away what the client still sends, and says whether it has ended its side.
func (s *System) readToEnd(e *Entry) bool {
	for range drainReads {
		n, errno := receiveOnce(e.fd, s.drain.scratch, unix.MSG_DONTWAIT)
		switch {
		case errno == abi.EAGAIN:
			return false
		case errno != 0 || n == 0:
			return true
		}
	}
	return false
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
	// What a guest has shut its ears to is not a request.
	if unread, err := unix.IoctlGetInt(e.fd, unix.TIOCINQ); !e.drain.shutRead && (err != nil || unread > 0) { // FIONREAD
		return false
	}
	unsent, err := unix.IoctlGetInt(e.fd, unix.TIOCOUTQ) // SIOCOUTQ
	return err == nil && unsent == 0
}
