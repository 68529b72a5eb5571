package wasip1

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a descriptor is ready for, as Watch takes it and Wait answers it.
const (
	ReadyRead   uint32 = 1 << 0
	ReadyWrite  uint32 = 1 << 1
	ReadyHangup uint32 = 1 << 2 // answered only
	ReadyError  uint32 = 1 << 3 // answered only

	readyPeer = ReadyHangup | ReadyError // epoll reports these whether asked or not
)

// Forever is a deadline that never comes. Deadlines are in nanoseconds of Poller.Now.
const Forever = int64(-1)

// rejoinAfter is after how many accepts a listener is taken out of epoll and added again. EPOLLEXCLUSIVE wakes the
// first in the socket's queue of waiters; going to its end now and then is what spreads connections evenly over the
// workers (max/min 1.0 to 1.12 over four of them; 3 to 5 with plain epoll).
const rejoinAfter = 8

// pollState is what the Poller keeps for an entry.
type pollState struct {
	slot  uint32
	gen   uint32
	added uint32 // ready bits that the kernel has been asked for; 0: not in epoll

	watch uint32 // set by Watch, reported by Wait
	token uint64
	stale bool // watched, but not with all of watch in added: to be mended before the next Wait

	turn  uint64 // the poll_oneoff that subscribed last
	want  uint32 // what it wants
	ready uint32 // what it has found
}

// source is a descriptor of the surrounding process.
type source struct {
	fd    int
	ready func(bits uint32)
}

// found is what one epoll_pwait2 said about an entry.
type found struct {
	e    *Entry
	bits uint32
}

// Poller waits: for the guest's descriptors, for the sources of the surrounding process, and for time. One epoll
// instance holds them all, with an interest per entry that changes only when it must: what nobody waits for any more
// stays registered until it fires, and is taken out then.
type Poller struct {
	// BeforeWait and AfterWait are called around each wait that may sleep.
	BeforeWait, AfterWait func()

	// BeforeFile and AfterFile are called around each call on a file, which may last.
	BeforeFile, AfterFile func()

	// tick does what is due by the clock; it answers when it wants to be called again at the latest, or Forever. It is
	// called before each wait while ticking is set.
	tick    func(now int64) int64
	ticking bool

	ep      int
	slots   []*Entry
	free    []uint32
	sources []source
	found   []found
	events  [128]unix.EpollEvent
	seq     uint64
	stale   []*Entry
	virtual []*Entry // watched virtual entries
	yielded bool     // the last Wait for one event answered a virtual entry
	start   time.Time
	base    int64 // CLOCK_MONOTONIC at start
}

// NewPoller makes the epoll instance.
func NewPoller() (*Poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		unix.Close(ep)
		return nil, os.NewSyscallError("clock_gettime", err)
	}
	nothing := func() {}
	return &Poller{
		BeforeWait: nothing, AfterWait: nothing,
		BeforeFile: nothing, AfterFile: nothing,
		ep: ep, start: time.Now(), base: ts.Nano(),
	}, nil
}

// Close closes the epoll instance.
func (p *Poller) Close() { unix.Close(p.ep) }

// Now is CLOCK_MONOTONIC in nanoseconds, through the vDSO.
func (p *Poller) Now() int64 { return p.base + int64(time.Since(p.start)) }

// AddSource makes every wait serve fd, which stays the caller's: ready is called with the bits that fired, between the
// guest's own events. It must not wait.
func (p *Poller) AddSource(fd int, ready func(bits uint32)) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1 - int32(len(p.sources))}
	if err := unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	p.sources = append(p.sources, source{fd: fd, ready: ready})
	return nil
}

// SetSource changes what a source waits for.
func (p *Poller) SetSource(fd int, bits uint32) error {
	for i := range p.sources {
		if p.sources[i].fd == fd {
			ev := unix.EpollEvent{Events: epollMask(bits), Fd: -1 - int32(i)}
			return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.ep, unix.EPOLL_CTL_MOD, fd, &ev))
		}
	}
	return fmt.Errorf("set source: descriptor %d is none", fd)
}

func epollMask(bits uint32) uint32 {
	var m uint32
	if bits&ReadyRead != 0 {
		m |= unix.EPOLLIN
	}
	if bits&ReadyWrite != 0 {
		m |= unix.EPOLLOUT
	}
	return m
}

func readyBits(mask uint32) uint32 {
	var b uint32
	if mask&unix.EPOLLIN != 0 {
		b |= ReadyRead
	}
	if mask&unix.EPOLLOUT != 0 {
		b |= ReadyWrite
	}
	if mask&unix.EPOLLHUP != 0 {
		b |= ReadyHangup
	}
	if mask&unix.EPOLLERR != 0 {
		b |= ReadyError
	}
	return b
}

// attach gives e a slot, whose number and generation epoll hands back.
func (p *Poller) attach(e *Entry) {
	if n := len(p.free); n > 0 {
		e.poll.slot = p.free[n-1]
		p.free = p.free[:n-1]
		p.slots[e.poll.slot] = e
	} else {
		e.poll.slot = uint32(len(p.slots))
		p.slots = append(p.slots, e)
	}
}

// detach forgets e, before its descriptor is closed. A listener lives on in other processes, so it must leave epoll
// first: closing our copy would leave epoll reporting a dead number. A connection is ours alone and leaves by itself.
func (p *Poller) detach(e *Entry) {
	if e.poll.added != 0 && e.kind != KindStream {
		p.set(e, 0)
	}
	p.unwatch(e)
	p.slots[e.poll.slot] = nil
	p.free = append(p.free, e.poll.slot)
}

// set makes the kernel's interest in e exactly bits.
func (p *Poller) set(e *Entry, bits uint32) Errno {
	if e.poll.added == bits || e.fd < 0 {
		return 0
	}
	ev := unix.EpollEvent{Events: epollMask(bits), Fd: int32(e.poll.slot), Pad: int32(e.poll.gen)}
	op := unix.EPOLL_CTL_MOD
	switch {
	case bits == 0:
		op = unix.EPOLL_CTL_DEL
	case e.poll.added == 0:
		op = unix.EPOLL_CTL_ADD
	}
	if e.kind == KindListener {
		ev.Events |= unix.EPOLLEXCLUSIVE
	}
	if errno := p.ctl(op, e.fd, &ev); errno != 0 {
		return errno
	}
	e.poll.added = bits
	return 0
}

func (p *Poller) ctl(op, fd int, ev *unix.EpollEvent) Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.ep), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0)
	return fromLinux(e)
}

// need makes the kernel report at least bits for e.
func (p *Poller) need(e *Entry, bits uint32) Errno {
	if e.poll.added&bits == bits {
		return 0
	}
	return p.set(e, e.poll.added|bits)
}

// shed takes e out of epoll but for what keep says, after it fired for something that nobody waits for.
func (p *Poller) shed(e *Entry, keep uint32) {
	p.set(e, e.poll.added&keep)
	if e.poll.watch&^e.poll.added != 0 && !e.poll.stale {
		e.poll.stale = true
		p.stale = append(p.stale, e)
	}
}

// rejoin moves a listener to the end of its socket's queue of waiters. Adding it looks at the socket anew, so that
// also finds a connection that another worker was woken for and died before it took it.
func (p *Poller) rejoin(e *Entry) {
	if bits := e.poll.added; bits != 0 {
		p.set(e, 0)
		p.set(e, bits)
	}
	e.acc.since = 0
}

// Nudge looks at every listener again.
func (p *Poller) Nudge() {
	for _, e := range p.slots {
		if e != nil && e.kind == KindListener {
			p.rejoin(e)
		}
	}
}

// turn is one epoll_pwait2: until something happens or deadline comes; a deadline of 0 only looks. What it found about
// entries is in p.found afterwards; sources have been served. It may return early with nothing.
func (p *Poller) turn(deadline int64, limit int) {
	p.found = p.found[:0]
	var n uintptr
	if deadline == 0 {
		n = p.look(limit)
	} else {
		n = p.sleep(deadline, limit)
	}
	for i := range p.events[:n] {
		ev := &p.events[i]
		bits := readyBits(ev.Events)
		if ev.Fd >= 0 {
			// The generation tells an entry from a later one in its slot.
			if e := p.slots[ev.Fd]; e != nil && e.poll.gen == uint32(ev.Pad) {
				e.acc.took = false
				p.found = append(p.found, found{e, bits})
			}
			continue
		}
		p.sources[-1-ev.Fd].ready(bits)
	}
}

// runTick does what is due, and answers when the next thing is.
func (p *Poller) runTick(now int64) int64 {
	if !p.ticking {
		return Forever
	}
	next := p.tick(now)
	p.ticking = next != Forever
	return next
}

// look asks epoll without waiting. RawSyscall: nothing here can block, so the scheduler need not hear of it.
func (p *Poller) look(limit int) uintptr {
	if p.ticking {
		p.runTick(p.Now())
	}
	var zero unix.Timespec
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(min(limit, len(p.events))), uintptr(unsafe.Pointer(&zero)), 0, 0)
	if e != 0 {
		return 0
	}
	return n
}

// sleep waits in epoll. Syscall, never RawSyscall: a collection would wait for this thread as long as the thread waits
// for the kernel (measured: 247 s).
func (p *Poller) sleep(deadline int64, limit int) uintptr {
	p.BeforeWait()
	defer p.AfterWait()
	now := p.Now()
	deadline = earlier(deadline, p.runTick(now))
	var ts unix.Timespec
	timeout := uintptr(0)
	if deadline != Forever {
		ts = unix.NsecToTimespec(max(deadline-now, 0))
		timeout = uintptr(unsafe.Pointer(&ts))
	}
	n, _, e := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(min(limit, len(p.events))), timeout, 0, 0)
	if e != 0 { // EINTR: the caller computes its timeout anew
		return 0
	}
	return n
}

// expired says whether deadline has come.
func (p *Poller) expired(deadline int64) bool {
	return deadline != Forever && p.Now() >= deadline
}

// waitFor waits until e is ready for one of bits, which blocking calls on sockets and pipes are made of. Deadline may
// be Forever.
func (p *Poller) waitFor(e *Entry, bits uint32, deadline int64) Errno {
	for {
		if !e.silent() {
			if errno := p.need(e, bits); errno != 0 {
				return errno
			}
		}
		p.turn(deadline, len(p.events))
		ready := false
		for _, f := range p.found {
			if f.e == e && f.bits&(bits|readyPeer) != 0 {
				ready = true
				continue
			}
			p.shed(f.e, 0)
		}
		if ready || p.expired(deadline) {
			return 0
		}
	}
}

// WaitOnce serves the sources and waits until something happens or deadline comes: for calls of the surrounding process
// that wait for a source, in a loop.
func (p *Poller) WaitOnce(deadline int64) {
	p.turn(deadline, len(p.events))
	for _, f := range p.found {
		p.shed(f.e, 0)
	}
}
