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

// rejoin moves a listener to the end of its socket's queue of waiters. Adding it looks at the socket anew, so that
// also finds a connection that another worker was woken for and died before it took it.
func (p *Poller) rejoin(e *Entry) {
	e.acc.since = 0
	bits := e.poll.added
	if bits == 0 {
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

// Nudge looks at every listener again that the guest waits for.
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
