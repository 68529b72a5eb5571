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
	s.awaits(e)
	if e.constant() {
		if e.poll.watch == 0 {
			p.virtual = append(p.virtual, e)
		}
	} else if !e.silent() {
		if errno := p.set(e, interest); errno != 0 {
			return errno
		}
	}
	e.poll.watch, e.poll.token = interest, token
	e.number = fd
	return 0
}

// unwatch makes Wait forget e.
func (p *Poller) unwatch(e *Entry) {
	if e.poll.watch == 0 {
		return
	}
	e.poll.watch = 0
	p.virtual = without(p.virtual, e)
	if e.poll.stale {
		e.poll.stale = false
		p.stale = without(p.stale, e)
	}
}

func without(list []*Entry, e *Entry) []*Entry {
	for i := range list {
		if list[i] == e {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// Wait stores up to len(out) watched descriptors that are ready, and waits for the first of them until deadline, which
// may be Forever. It answers how many there are; 0 means that the deadline came. Listeners come first: a worker that was
// woken for a connection should accept it before it does anything long.
func (s *System) Wait(out []WaitEvent, deadline int64) int {
	p := s.poller
	for {
		p.mendStale()
		n := 0
		if len(out) > 1 || !p.yielded {
			n = p.reportVirtual(out)
		}
		p.yielded = n == len(out)
		if p.yielded {
			return n
		}
		if n > 0 {
			p.turn(0, len(out)-n)
		} else {
			p.turn(deadline, len(out))
		}
		n = p.reportFound(out, n)
		if n == 0 { // a source may have filled the inbox
			n = p.reportVirtual(out)
		}
		if n > 0 || p.expired(deadline) {
			return n
		}
	}
}

// mendStale registers again what a poll_oneoff or a blocking call in between had to take out of epoll.
func (p *Poller) mendStale() {
	for _, e := range p.stale {
		e.poll.stale = false
		if !e.silent() {
			p.set(e, e.poll.watch)
		}
	}
	p.stale = p.stale[:0]
}

func (p *Poller) reportVirtual(out []WaitEvent) int {
	n := 0
	for _, e := range p.virtual {
		if n == len(out) {
			break
		}
		if bits := e.constantReady() & e.poll.watch; bits != 0 {
			out[n] = WaitEvent{Token: e.poll.token, Fd: e.number, Ready: bits}
			n++
		}
	}
	return n
}

// reportFound appends what the last turn found to out[:n].
func (p *Poller) reportFound(out []WaitEvent, n int) int {
	listeners := n
	for _, f := range p.found {
		e := f.e
		if e.silent() {
			p.shed(e, 0)
			continue
		}
		bits := f.bits & (e.poll.watch | readyPeer)
		if e.poll.watch == 0 || bits == 0 {
			p.shed(e, e.poll.watch)
			continue
		}
		out[n] = WaitEvent{Token: e.poll.token, Fd: e.number, Ready: bits}
		if e.kind == KindListener {
			out[n], out[listeners] = out[listeners], out[n]
			listeners++
		}
		n++
	}
	return n
}
