package wasip1

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A wait is begin, then subscribe for each entry that it is for, then turns until what they find is enough. Wait is for
// all that is watched and subscribes nothing.

// begin starts a wait: for what is watched, or for what will be subscribed.
func (p *Poller) begin(watching bool) {
	p.seq++
	p.watching = watching
}

// subscribe makes the wait be for bits of e as well.
func (p *Poller) subscribe(e *Entry, bits uint32) {
	if e.poll.turn != p.seq {
		e.poll.turn, e.poll.want, e.poll.ready, e.poll.errno = p.seq, 0, 0, 0
	}
	e.poll.want |= bits
}

// wanted is what the wait is for at e.
func (p *Poller) wanted(e *Entry) uint32 {
	switch {
	case p.silent(e):
		return 0
	case p.watching:
		return e.poll.watch
	case e.poll.turn == p.seq:
		return e.poll.want
	}
	return 0
}

// turn waits once: until something happens or deadline comes; a deadline of 0 only looks. The entries that the wait is
// for and that are ready, at most limit, are in p.found afterwards; sources have been served. It may return early with
// nothing.
func (p *Poller) turn(deadline int64, limit int) {
	p.found, p.woken = p.found[:0], false
	limit = min(limit, len(p.events))
	for {
		n := p.next(deadline, limit)
		served := p.serve(n)
		shed := p.sift(n)
		if served || shed < limit {
			return
		}
		// A whole batch of what nobody waits for: it is out of epoll now, and what is wanted may stand behind it.
		deadline = 0
	}
}

// next is how many events there are. After EINTR there are none, and the caller computes its timeout anew.
func (p *Poller) next(deadline int64, limit int) int {
	if len(p.resting.entries) > 0 {
		p.resume(false)
		if n, _ := p.look(limit); n > 0 || deadline == 0 {
			return n
		}
		// Nothing else to do. A wait that ends too soon for its caller is begun again.
		deadline = earlier(deadline, p.resume(true))
	}
	var n int
	var errno unix.Errno
	if deadline == 0 {
		n, errno = p.look(limit)
	} else {
		n, errno = p.sleep(deadline, limit)
	}
	if errno != 0 && errno != unix.EINTR {
		panic(os.NewSyscallError("epoll_pwait2", errno)) // our own descriptor and buffer: going on would spin
	}
	return n
}

// serve calls the sources among the n events. They come before the entries, because what they do may close some.
func (p *Poller) serve(n int) (served bool) {
	for i := range p.events[:n] {
		if ev := &p.events[i]; ev.Fd < 0 {
			served = true
			p.sources[-1-ev.Fd].ready(readyBits(ev.Events))
		}
	}
	return served
}

// sift puts those of the n events that the wait is for into p.found, takes the others out of epoll, and answers how many
// others there were.
func (p *Poller) sift(n int) (shed int) {
	for i := range p.events[:n] {
		ev := &p.events[i]
		if ev.Fd < 0 {
			continue
		}
		e := p.slots[ev.Fd]
		if e == nil || e.poll.gen != uint32(ev.Pad) {
			continue // closed by now, and its place perhaps another's
		}
		e.acc.took = false
		want := p.wanted(e)
		bits := readyBits(ev.Events) & (want | readyPeer)
		if want == 0 || bits == 0 {
			p.shed(e, want)
			shed++
			continue
		}
		p.found = append(p.found, found{e, bits})
	}
	return shed
}

// runTick does what is due, and answers when the next thing is.
func (p *Poller) runTick(now int64) int64 {
	if !p.ticking {
		return Forever
	}
	p.ticking = false
	next := p.tick(now)
	p.ticking = p.ticking || next != Forever
	return next
}

// look asks epoll without waiting.
func (p *Poller) look(limit int) (int, unix.Errno) {
	if p.ticking {
		p.runTick(p.Now())
	}
	var zero unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(limit), uintptr(unsafe.Pointer(&zero)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// sleep waits in epoll. Syscall, never RawSyscall: a collection would wait for this thread as long as the thread waits
// for the kernel (measured: 247 s).
func (p *Poller) sleep(deadline int64, limit int) (int, unix.Errno) {
	p.stepAside()
	p.BeforeWait()
	defer p.AfterWait()
	now := p.Now()
	deadline = earlier(deadline, p.runTick(now))
	if p.woken {
		deadline = now
	}
	var ts unix.Timespec
	timeout := uintptr(0)
	if deadline != Forever {
		ts = unix.NsecToTimespec(max(deadline-now, 0))
		timeout = uintptr(unsafe.Pointer(&ts))
	}
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(limit), timeout, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// expired says whether deadline has come.
func (p *Poller) expired(deadline int64) bool {
	return deadline != Forever && p.Now() >= deadline
}

// waitFor waits until e is ready for one of bits, which blocking calls on sockets and pipes are made of.
func (p *Poller) waitFor(e *Entry, bits uint32) Errno {
	p.begin(false)
	p.subscribe(e, bits)
	for p.silent(e) || e.known()&bits == 0 {
		if errno := p.need(e, p.wanted(e)); errno != 0 {
			return errno
		}
		if p.turn(Forever, len(p.events)); len(p.found) > 0 {
			break
		}
	}
	return 0
}

// readyNow says whether e is ready for one of bits, without waiting.
func (p *Poller) readyNow(e *Entry, bits uint32) bool {
	p.begin(false)
	p.subscribe(e, bits)
	if p.need(e, p.wanted(e)) != 0 {
		return false
	}
	p.turn(0, len(p.events))
	return len(p.found) > 0
}

// WaitOnce serves the sources and waits until something happens or deadline comes: for calls of the surrounding process
// that wait for a source, in a loop.
func (p *Poller) WaitOnce(deadline int64) {
	p.begin(false)
	p.turn(deadline, len(p.events))
}
