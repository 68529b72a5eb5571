package wasip1

import (
	"time"

	"golang.org/x/sys/unix"
)

// After some accepts a listener rests: it is out of epoll for a moment, and then added again. EPOLLEXCLUSIVE wakes the
// first in the socket's queue of waiters; going to its end now and then is what spreads connections evenly over the
// workers (max/min 1.0 to 1.12 over four of them; 3 to 5 with plain epoll).
//
// A light rest ends as soon as there is nothing else to do. When connections come all at once, that is too soon: the
// siblings have been woken for them as well, and have no CPU yet. A batch of accepts that was faster than any server
// serves connections is such a burst, and the rest after it is a deep one, of its full time. If the burst is still there
// after some of them, the siblings have enough to do themselves, or there are none, and batches grow.
const (
	restAfter  = 8   // accepts in a batch
	growAfter  = 3   // deep rests in a row before batches grow, to twice their size each time
	largeBatch = 256 // up to this

	restLightly = int64(2 * time.Millisecond)
	restDeeply  = int64(2 * time.Millisecond)
	burstPace   = int64(20 * time.Microsecond) // an accept in a burst takes less than this
	burstOver   = int64(20 * time.Millisecond) // a batch that begins so long after the last one is not of the same burst
)

// setListener is set for an EPOLLEXCLUSIVE entry, which the kernel refuses to modify: it is taken out and added.
func (p *Poller) setListener(e *Entry, bits uint32) Errno {
	if e.poll.added != 0 {
		p.ctl(unix.EPOLL_CTL_DEL, e, 0, 0)
		p.listening.drop(e)
	}
	if bits == 0 || p.resting.has(e) {
		return 0
	}
	errno := p.ctl(unix.EPOLL_CTL_ADD, e, bits, unix.EPOLLEXCLUSIVE)
	if errno == 0 {
		p.listening.add(e)
	}
	return errno
}

// stepAside takes the listeners out of epoll that the wait is not for. The kernel gives the wake-up of EPOLLEXCLUSIVE to
// one process whose thread sleeps in epoll: asleep for something else, this one would swallow it, and the connection
// would wait though siblings are idle.
func (p *Poller) stepAside() {
	for i := len(p.listening.entries) - 1; i >= 0; i-- {
		if e := p.listening.entries[i]; p.wanted(e) == 0 {
			p.shed(e, 0)
		}
	}
}

// rejoin moves a listener to the end of its socket's queue of waiters. Adding it looks at the socket anew, so that
// also finds a connection that another worker was woken for and died before it took it.
func (p *Poller) rejoin(e *Entry) {
	e.acc.since = 0
	bits := e.poll.added
	if bits == 0 {
		return
	}
	if p.silent(e) {
		p.shed(e, 0)
		return
	}
	p.set(e, 0)
	if p.set(e, bits) != 0 {
		p.mute(e) // no memory just now
	}
}

// accepted notes that e has given a connection, and has it rest when a batch is full.
func (p *Poller) accepted(e *Entry) {
	a := &e.acc
	if a.since == 0 {
		a.began = p.Now()
		if a.began-e.poll.resumes > burstOver {
			a.deeps = 0
		}
	}
	if a.since++; a.since >= a.batch() {
		p.rest(e)
	}
}

// batch is after how many accepts a listener rests.
func (a *acceptState) batch() int {
	return min(restAfter<<max(a.deeps-growAfter+1, 0), largeBatch)
}

// rest leaves a listener to the siblings for a moment.
func (p *Poller) rest(e *Entry) {
	a, now := &e.acc, p.Now()
	a.deep = now-a.began < int64(a.since)*burstPace
	a.since = 0
	if a.deep {
		e.poll.resumes, a.deeps = now+restDeeply, min(a.deeps+1, largeBatch)
	} else {
		e.poll.resumes, a.deeps = now+restLightly, 0
	}
	p.shed(e, 0)
	p.resting.add(e)
}

// resume ends the rest of listeners that rested long enough, and of those that rest lightly when there is nothing else
// to do. It answers when the next one's rest ends.
func (p *Poller) resume(idle bool) (next int64) {
	next = Forever
	now := p.Now()
	for i := len(p.resting.entries) - 1; i >= 0; i-- {
		e := p.resting.entries[i]
		if now < e.poll.resumes && (e.acc.deep || !idle) {
			next = earlier(next, e.poll.resumes)
			continue
		}
		p.resting.drop(e)
		if p.need(e, p.wanted(e)) != 0 {
			p.mute(e) // no memory just now
			continue
		}
		p.shed(e, e.poll.added) // what is watched beside this wait
	}
	return next
}

// Nudge looks at every listener again that the guest waits for, and may accept from.
func (p *Poller) Nudge() {
	for _, e := range p.resting.entries {
		e.poll.resumes = 0
	}
	p.resume(true)
	for _, e := range p.slots {
		if e != nil && e.kind == KindListener {
			p.rejoin(e)
		}
	}
}
