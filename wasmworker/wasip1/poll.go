package wasip1

import (
	"math"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// maxSubscriptions bounds one poll_oneoff: each descriptor for reading and for writing, and some clocks.
const maxSubscriptions = 2*MaxFDs + 64

// wallCheck is how often a wait for a time of day looks at the clock: one that is set wakes nobody.
const wallCheck = int64(time.Second)

// Poll waits until at least one of s.subs, which the ABI layer has filled, has come, and then calls emit for each that
// has, in order. A subscription that cannot be waited for has come at once, with its errno in the event. The events
// are for the guest; Poll itself answers EINVAL for none or too many subscriptions.
func (s *System) Poll(emit func(ev Event)) Errno {
	if len(s.subs) == 0 || len(s.subs) > maxSubscriptions {
		return abi.EINVAL
	}
	p := s.poller
	p.begin(false)
	ready := s.subscribe()
	for {
		deadline := s.nextDue()
		if ready {
			deadline = 0
		}
		p.turn(deadline, len(p.events))
		for _, f := range p.found {
			f.e.poll.ready |= f.bits
			ready = true
		}
		// There may be none to report after all: the clock has been set back, or what woke the poller is not ours.
		if (ready || p.woken || p.expired(deadline) || s.anyKnown()) && s.report(emit) > 0 {
			return 0
		}
		ready = false
	}
}

// subscribe begins to wait for every subscription, and answers whether one has come, or cannot come, already.
func (s *System) subscribe() (ready bool) {
	s.clocks, s.constants = s.clocks[:0], s.constants[:0]
	for i := range s.subs {
		sub := &s.subs[i]
		if sub.Tag == eventClock {
			sub.due, sub.errno = s.clockDeadline(sub)
			s.clocks = append(s.clocks, i)
			ready = ready || sub.errno != 0
		} else if s.subscribeFd(sub) {
			ready = true
		}
	}
	return ready
}

// nextDue is when the first clock among the subscriptions comes: Forever when there is none, 0 when one has come.
func (s *System) nextDue() int64 {
	first := Forever
	for _, i := range s.clocks {
		sub := &s.subs[i]
		if sub.errno != 0 {
			continue
		}
		if sub.wall() {
			sub.due, _ = s.clockDeadline(sub)
			first = earlier(first, min(sub.due, s.poller.Now()+wallCheck))
			continue
		}
		first = earlier(first, sub.due)
	}
	return first
}

// subscribeFd begins to wait for one descriptor and answers whether it is ready, or wrong, at once.
func (s *System) subscribeFd(sub *Subscription) bool {
	e, errno := s.get(sub.Fd, rightPollFdReadwrite)
	if errno != 0 {
		return true
	}
	e.learnNonblock()
	s.awaits(e)
	bits := subscribedBits(sub)
	s.poller.subscribe(e, bits)
	switch {
	case e.known()&bits != 0:
		return true
	case e.constant():
		s.constants = append(s.constants, e)
		return false
	case s.poller.silent(e):
		return false
	}
	if errno := s.poller.need(e, bits); errno != 0 {
		e.poll.errno = errno
		return true
	}
	return false
}

func subscribedBits(sub *Subscription) uint32 {
	if sub.Tag == eventFdRead {
		return ReadyRead
	}
	return ReadyWrite
}

// anyKnown says whether something has become ready that epoll does not know: a source may have filled the inbox.
func (s *System) anyKnown() bool {
	for _, e := range s.constants {
		if e.known()&e.poll.want != 0 {
			return true
		}
	}
	return false
}

// report emits an event for each subscription that has come, and answers how many.
func (s *System) report(emit func(ev Event)) (count int) {
	now := s.poller.Now()
	for i := range s.subs {
		sub := &s.subs[i]
		ev := Event{Userdata: sub.Userdata, Type: sub.Tag}
		come := false
		if sub.Tag == eventClock {
			ev.Errno = sub.errno
			come = sub.errno != 0 || s.clockCome(sub, now)
		} else {
			come = s.reportFd(sub, &ev)
		}
		if come {
			emit(ev)
			count++
		}
	}
	return count
}

// clockCome judges a time of day by the clock it was given on, which may have been set since the wait began.
func (s *System) clockCome(sub *Subscription, now int64) bool {
	if sub.wall() {
		return uint64(s.wallTime()) >= sub.Timeout
	}
	return now >= sub.due
}

// reportFd fills ev for a descriptor's subscription and answers whether it has come.
func (s *System) reportFd(sub *Subscription, ev *Event) bool {
	e, errno := s.get(sub.Fd, rightPollFdReadwrite)
	if errno == 0 {
		errno = e.poll.errno
	}
	if errno != 0 {
		ev.Errno = errno
		return true
	}
	bits := subscribedBits(sub)
	ready := e.poll.ready | e.known()
	if ready&(bits|readyPeer) == 0 {
		return false
	}
	// How much there is would cost an ioctl per event, and no libc asks: 1 says "some".
	ev.Nbytes = 1
	if ready&ReadyHangup != 0 {
		ev.Flags = eventHangup
	}
	return true
}

// clockDeadline turns a clock subscription into a deadline of the poller, 0 when it has come already. The CPU clocks do
// not run while the process waits, so a time on them that has not come never would: ENOTSUP. EINVAL: no such clock, or
// unknown flags.
func (s *System) clockDeadline(sub *Subscription) (int64, Errno) {
	if sub.Flags&^subclockAbsolute != 0 {
		return 0, abi.EINVAL
	}
	clock, errno := s.ClockTime(sub.Clock)
	if errno != 0 {
		return 0, errno
	}
	left := sub.Timeout
	if sub.Flags&subclockAbsolute != 0 {
		if sub.Timeout <= clock {
			return 0, 0
		}
		left = sub.Timeout - clock
	}
	switch {
	case left == 0:
		return 0, 0
	case sub.Clock == clockProcess || sub.Clock == clockThread:
		return 0, abi.ENOTSUP
	}
	return later(s.poller.Now(), left), 0
}

// later is a time after now, at most what 63 bits hold: 292 years.
func later(now int64, by uint64) int64 {
	if by > uint64(math.MaxInt64-now) {
		return math.MaxInt64
	}
	return now + int64(by)
}
