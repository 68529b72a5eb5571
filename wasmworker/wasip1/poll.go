package wasip1

import (
	"math"

	"github.com/wcluster/wcluster/abi"
)

// maxSubscriptions bounds one poll_oneoff: each descriptor for reading and for writing, and some clocks.
const maxSubscriptions = 2*MaxFDs + 64

// Poll waits until at least one of s.subs, which the ABI layer has filled, has come, and then calls emit for each that
// has, in order. A subscription that cannot be waited for has come at once, with its errno in the event. The events
// are for the guest; Poll itself answers EINVAL for none or too many subscriptions.
func (s *System) Poll(emit func(ev Event)) Errno {
	if len(s.subs) == 0 || len(s.subs) > maxSubscriptions {
		return abi.EINVAL
	}
	p := s.poller
	p.seq++
	deadline, ready := s.subscribe()
	for {
		if ready {
			p.turn(0, len(p.events))
		} else {
			p.turn(deadline, len(p.events))
		}
		if p.gather() {
			ready = true
		}
		if ready || p.expired(deadline) || s.anyVirtualReady() {
			break
		}
	}
	s.report(emit)
	return 0
}

// subscribe tells the poller of every descriptor that s.subs names, and answers the earliest deadline and whether
// something has come already.
func (s *System) subscribe() (deadline int64, ready bool) {
	deadline = Forever
	s.due = s.due[:0]
	s.constants = s.constants[:0]
	for i := range s.subs {
		sub := &s.subs[i]
		s.due = append(s.due, Forever)
		if sub.Tag == eventClock {
			due, errno := s.clockDeadline(sub)
			if errno != 0 {
				ready = true
				continue
			}
			s.due[i] = due
			deadline = earlier(deadline, due)
			continue
		}
		if s.subscribeFd(sub) {
			ready = true
		}
	}
	return deadline, ready || deadline == 0
}

// subscribeFd tells the poller of one descriptor and answers whether it is ready, or wrong, at once.
func (s *System) subscribeFd(sub *Subscription) bool {
	e, errno := s.get(sub.Fd, rightPollFdReadwrite)
	if errno != 0 {
		return true
	}
	e.learnNonblock()
	s.awaits(e)
	bits := subscribedBits(sub)
	if e.poll.turn != s.poller.seq {
		e.poll.turn, e.poll.want, e.poll.ready = s.poller.seq, 0, 0
	}
	e.poll.want |= bits
	switch {
	case e.constant():
		s.constants = append(s.constants, e)
		return e.constantReady()&bits != 0
	case e.drain.shutRead && bits&ReadyRead != 0:
		e.poll.ready |= ReadyRead // the end is there to be read
		return true
	case e.silent():
		return false
	}
	if errno := s.poller.need(e, bits); errno != 0 {
		e.poll.ready |= ReadyError
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

// gather moves what the last turn found into the entries of this poll, takes what nobody waits for out of epoll, and
// answers whether something of this poll has come.
func (p *Poller) gather() bool {
	any := false
	for _, f := range p.found {
		e := f.e
		if e.poll.turn != p.seq || e.silent() {
			p.shed(e, 0)
			continue
		}
		if f.bits&(e.poll.want|readyPeer) == 0 {
			p.shed(e, e.poll.want)
			continue
		}
		e.poll.ready |= f.bits
		any = true
	}
	return any
}

func (s *System) anyVirtualReady() bool {
	for _, e := range s.constants {
		if e.constantReady()&e.poll.want != 0 {
			return true
		}
	}
	return false
}

// report emits an event for each subscription that has come.
func (s *System) report(emit func(ev Event)) {
	now := s.poller.Now()
	for i := range s.subs {
		sub := &s.subs[i]
		ev := Event{Userdata: sub.Userdata, Type: sub.Tag}
		if sub.Tag == eventClock {
			if s.due[i] == Forever {
				_, ev.Errno = s.clockDeadline(sub)
				if ev.Errno == 0 {
					continue
				}
			} else if now < s.due[i] {
				continue
			}
			emit(ev)
			continue
		}
		if s.reportFd(sub, &ev) {
			emit(ev)
		}
	}
}

// reportFd fills ev for a descriptor's subscription and answers whether it has come.
func (s *System) reportFd(sub *Subscription, ev *Event) bool {
	e, errno := s.get(sub.Fd, rightPollFdReadwrite)
	if errno != 0 {
		ev.Errno = errno
		return true
	}
	bits := subscribedBits(sub)
	ready := e.poll.ready
	if e.constant() {
		ready = e.constantReady()
	}
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
	now := s.poller.Now()
	if left > uint64(math.MaxInt64-now) {
		return math.MaxInt64, 0 // in 292 years
	}
	return now + int64(left), 0
}
