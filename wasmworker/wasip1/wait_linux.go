package wasip1

import "github.com/wcluster/wcluster/abi"

// WaitEvent is one ready descriptor that Wait answers.
type WaitEvent struct {
	Token uint64
	Fd    uint32
	Ready uint32
}

// Watch sets what Wait reports for fd: ReadyRead, ReadyWrite, both, or 0 to stop. Readiness is level-triggered: Wait
// reports it for as long as it lasts. It answers EBADF, EINVAL for unknown bits, and what epoll_ctl(2) answers when the
// kernel has no room (ENOSPC, ENOMEM).
func (s *System) Watch(fd, interest uint32, token uint64) Errno {
	e, errno := s.table.get(fd)
	if errno != 0 {
		return errno
	}
	if interest&^(ReadyRead|ReadyWrite) != 0 {
		return abi.EINVAL
	}
	p := s.poller
	if interest == 0 {
		p.unwatch(e)
		return p.set(e, 0)
	}
	e.learnNonblock()
	s.awaits(e)
	switch {
	case e.constant():
	case p.silent(e):
		p.stale.add(e)
	default:
		if errno := p.set(e, interest); errno != 0 {
			return errno
		}
	}
	e.poll.watch, e.poll.token = interest, token
	p.noteKnown(e)
	return 0
}

// unwatch makes Wait forget e.
func (p *Poller) unwatch(e *Entry) {
	e.poll.watch = 0
	p.known.drop(e)
	p.stale.drop(e)
}

// noteKnown makes Wait ask e itself, if it is watched and knows something that epoll does not.
func (p *Poller) noteKnown(e *Entry) {
	if e.poll.watch != 0 && (e.constant() || e.known() != 0) {
		p.known.add(e)
	}
}

// Wait stores up to len(out) watched descriptors that are ready, and waits for the first of them until deadline, which
// may be Forever. It answers how many there are, each once; 0 means that the deadline came. Listeners come first: a
// worker that was woken for a connection should accept it before it does anything long. What is ready without epoll,
// such as the inbox, comes last and gets up to half of the places, or every second Wait where there is only one: neither
// it nor the sockets can keep the other from the guest.
func (s *System) Wait(out []WaitEvent, deadline int64) int {
	p := s.poller
	p.begin(true)
	for {
		p.round++
		p.mendStale()
		known := p.countKnown(max(len(out)/2, 1))
		limit := len(out) - known
		if len(out) == 1 && p.yielded {
			limit = 1
		}
		n := 0
		if limit > 0 {
			until := deadline
			if known > 0 {
				until = 0
			}
			p.turn(until, limit)
			n = p.reportFound(out)
		}
		p.yielded = n == 0
		n = p.reportKnown(out, n)
		if n > 0 || p.expired(deadline) {
			return n
		}
	}
}

// mendStale registers again what a poll_oneoff or a blocking call in between had to take out of epoll. The listeners of a
// guest that is full remain to be mended until it has room; what else is silent comes back by itself.
func (p *Poller) mendStale() {
	for i := len(p.stale.entries) - 1; i >= 0; i-- {
		e := p.stale.entries[i]
		if p.full && e.kind == KindListener {
			continue
		}
		p.stale.drop(e)
		if !p.silent(e) && p.set(e, e.poll.watch) != 0 {
			p.mute(e) // no memory just now
		}
	}
}

// countKnown is how many watched entries are ready without epoll; it does not count beyond most.
func (p *Poller) countKnown(most int) int {
	n := 0
	for _, e := range p.known.entries {
		if n == most {
			break
		}
		if e.known()&p.wanted(e) != 0 {
			n++
		}
	}
	return n
}

// reportFound stores what the last turn found.
func (p *Poller) reportFound(out []WaitEvent) int {
	listeners := 0
	for n, f := range p.found {
		e := f.e
		e.poll.said = p.round
		out[n] = WaitEvent{Token: e.poll.token, Fd: e.number, Ready: f.bits | e.known()&e.poll.watch}
		if e.kind == KindListener {
			out[n], out[listeners] = out[listeners], out[n]
			listeners++
		}
	}
	return len(p.found)
}

// reportKnown appends to out[:n] what is ready without epoll, beginning where the last Wait stopped.
func (p *Poller) reportKnown(out []WaitEvent, n int) int {
	for range p.known.entries {
		if n == len(out) {
			break
		}
		p.nextKnown = (p.nextKnown + 1) % len(p.known.entries)
		e := p.known.entries[p.nextKnown]
		if bits := e.known() & p.wanted(e); bits != 0 && e.poll.said != p.round {
			out[n] = WaitEvent{Token: e.poll.token, Fd: e.number, Ready: bits}
			n++
		}
	}
	return n
}
