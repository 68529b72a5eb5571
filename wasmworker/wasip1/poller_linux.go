package wasip1

import (
	"fmt"
	"os"
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

// muteFor is how long a descriptor is left alone after something failed for want of descriptors or memory. A listener
// would be ready again at once, and most servers would try again at once.
const muteFor = int64(50 * time.Millisecond)

// pollState is what the Poller keeps for an entry.
type pollState struct {
	slot    uint32
	gen     uint32 // of the slot: tells an entry from an earlier one in its place
	added   uint32 // ready bits that the kernel has been asked for; 0: not in epoll
	resumes int64  // when muted, until when

	watch uint32 // set by Watch, reported by Wait
	token uint64
	said  uint64 // the round of Wait that reported it last

	turn  uint64 // the wait that subscribed last
	want  uint32 // what it wants
	ready uint32 // what it has found
	errno Errno  // why epoll did not take it
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
// stays registered until it fires, and is taken out then. Listeners are the exception; see stepAside.
type Poller struct {
	// BeforeWait and AfterWait are called around each wait that may sleep.
	BeforeWait, AfterWait func()

	// BeforeFile and AfterFile are called around each call on a file, which may last.
	BeforeFile, AfterFile func()

	// tick does what is due by the clock; it answers when it wants to be called again at the latest, or Forever. It is
	// called before each wait while ticking is set. It sets woken when it has made something ready: the wait is over.
	tick    func(now int64) int64
	ticking bool
	woken   bool

	ep      int
	slots   []*Entry
	free    []uint32
	gen     uint32
	sources []source
	found   []found
	events  [128]unix.EpollEvent

	seq       uint64 // the wait under way, or the last one
	watching  bool   // it is a Wait
	round     uint64 // of Wait's loop
	yielded   bool   // the last Wait for one event answered what is known without epoll
	nextKnown int    // where the next Wait begins to look at what is known

	stale     roster
	known     roster
	listening roster
	muted     roster
	resting   roster

	full bool // the guest has as many connections as it may: no listener is ready

	changes uint64 // calls of epoll_ctl
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
	p := &Poller{
		BeforeWait: nothing, AfterWait: nothing,
		BeforeFile: nothing, AfterFile: nothing,
		ep: ep, start: time.Now(), base: ts.Nano(),
		stale: roster{which: onStale}, known: roster{which: onKnown},
		listening: roster{which: onListening}, muted: roster{which: onMuted},
		resting: roster{which: onResting},
	}
	// Kernels before 5.11 do not have epoll_pwait2: better to hear of it now than in each wait.
	if _, errno := p.look(1); errno != 0 {
		p.Close()
		return nil, os.NewSyscallError("epoll_pwait2", errno)
	}
	return p, nil
}

// Close closes the epoll instance.
func (p *Poller) Close() {
	if p.ep >= 0 {
		unix.Close(p.ep)
		p.ep = -1
	}
}

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
	p.gen++
	e.poll.gen = p.gen
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
	if e.kind != KindStream {
		p.set(e, 0)
	}
	p.unwatch(e)
	p.muted.drop(e)
	p.resting.drop(e)
	p.slots[e.poll.slot] = nil
	p.free = append(p.free, e.poll.slot)
}

// set makes the kernel's interest in e exactly bits.
func (p *Poller) set(e *Entry, bits uint32) Errno {
	if e.poll.added == bits || e.fd < 0 {
		return 0
	}
	if e.kind == KindListener {
		return p.setListener(e, bits)
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case bits == 0:
		op = unix.EPOLL_CTL_DEL
	case e.poll.added == 0:
		op = unix.EPOLL_CTL_ADD
	}
	return p.ctl(op, e, bits, 0)
}

// ctl is epoll_ctl(2). What could not be taken out was not there.
func (p *Poller) ctl(op int, e *Entry, bits, flags uint32) Errno {
	p.changes++
	ev := unix.EpollEvent{Events: epollMask(bits) | flags, Fd: int32(e.poll.slot), Pad: int32(e.poll.gen)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.ep), uintptr(op), uintptr(e.fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 && bits != 0 {
		return fromLinux(errno)
	}
	e.poll.added = bits
	return 0
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
	if e.poll.watch&^e.poll.added != 0 {
		p.stale.add(e)
	}
}

// silent says that e must not be reported ready for now, whatever the kernel says.
func (p *Poller) silent(e *Entry) bool {
	return p.full && e.kind == KindListener || e.acc.closed || e.places[onMuted] != 0 || e.drain.ending()
}

// mute keeps e from being ready for a while.
func (p *Poller) mute(e *Entry) {
	p.shed(e, 0)
	p.resting.drop(e)
	p.muted.add(e)
	e.poll.resumes = p.Now() + muteFor
	p.ticking = true
}

// unmute lets entries be ready again whose time has come, and answers when the next one's does.
func (p *Poller) unmute(now int64) int64 {
	next := Forever
	for i := len(p.muted.entries) - 1; i >= 0; i-- {
		e := p.muted.entries[i]
		if now >= e.poll.resumes {
			p.muted.drop(e)
			if errno := p.need(e, p.wanted(e)); errno == 0 {
				p.shed(e, e.poll.added) // what is watched beside this wait
				continue
			}
			p.muted.add(e)
			e.poll.resumes = now + muteFor
		}
		next = earlier(next, e.poll.resumes)
	}
	return next
}
