package wasip1

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// Figures count what passed through a System. They lie where the owner wants them: on a shared page, for instance. Only
// the System's thread stores.
type Figures struct {
	Connections uint64 // accepted and open now
	Accepted    uint64 // ever accepted
	BytesIn     uint64 // read from stream sockets
	BytesOut    uint64 // written to stream sockets
}

// Config is what a System needs to know.
type Config struct {
	Args    []string
	Env     []string // K=V
	Figures *Figures // nil: nowhere

	MaxFDs         int // open at once, the standard streams included; 0, or more than MaxFDs: MaxFDs
	MaxConnections int // accepted and open at once; 0: as many as there is room for
}

// System is preview 1 for one guest, without Wasm: methods take Go values, descriptors and slices of guest memory, and
// answer errnos. One thread uses it; see the package comment.
type System struct {
	args, env []string
	figures   *Figures
	table     table
	pool      []*Entry // closed entries, to be used again
	poller    *Poller
	drain     drain

	connections    int // accepted and open
	maxConnections int // 0: no limit

	subs      []Subscription // poll_oneoff's, kept between calls
	clocks    []int          // where in subs the clocks are
	constants []*Entry       // those among subs whose readiness epoll does not know
	iovs      []unix.Iovec   // a vectored call's, kept between calls
	local     [128]byte      // text of an address

	wallTime func() int64 // CLOCK_REALTIME in nanoseconds
}

// New makes a System with an empty table. The guest's strings must not hold zero bytes, since it finds them
// zero-terminated.
func New(c Config) (*System, error) {
	for _, s := range append(append([]string(nil), c.Args...), c.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, fmt.Errorf("set arguments and environment: %q holds a zero byte", s)
		}
	}
	p, err := NewPoller()
	if err != nil {
		return nil, err
	}
	s := &System{
		args: c.Args, env: c.Env, figures: c.Figures, poller: p,
		table: table{limit: MaxFDs}, maxConnections: c.MaxConnections,
		iovs: make([]unix.Iovec, maxIovecs),

		wallTime: func() int64 { return time.Now().UnixNano() },
	}
	if c.MaxFDs > 0 {
		s.table.limit = min(c.MaxFDs, MaxFDs)
	}
	if s.figures == nil {
		s.figures = new(Figures)
	}
	p.tick = s.tick
	return s, nil
}

// Close closes every descriptor of the guest.
func (s *System) Close() {
	for fd, e := range s.table.entries {
		if e != nil {
			s.table.remove(uint32(fd))
			s.release(e)
		}
	}
	s.poller.Close()
}

// Poller is where this System waits.
func (s *System) Poller() *Poller { return s.poller }

// Room answers EMFILE when the guest's table is full: to be asked before something is obtained that would be lost.
func (s *System) Room() Errno {
	if !s.table.room() {
		return abi.EMFILE
	}
	return 0
}

// entry takes an entry from the pool and gives it a place in the poller.
func (s *System) entry() *Entry {
	var e *Entry
	if n := len(s.pool); n > 0 {
		e = s.pool[n-1]
		s.pool = s.pool[:n-1]
		*e = Entry{}
	} else {
		e = &Entry{}
	}
	s.poller.attach(e)
	return e
}

// release closes what stands behind e, which has left the table, and pools it.
func (s *System) release(e *Entry) {
	s.loseConnection(e)
	s.poller.detach(e)
	if e.fd >= 0 && !e.neverClose {
		// Linux has released the number even when close(2) reports an error: there is none to act on.
		_ = unix.Close(e.fd)
	}
	e.fd, e.virtual, e.acc.waited = -1, nil, nil
	s.pool = append(s.pool, e)
}

// tick does what is due by the clock and answers when the next thing is.
func (s *System) tick(now int64) int64 {
	return earlier(s.poller.unmute(now), s.tickDrain(now))
}

// earlier is the deadline that comes first.
func earlier(a, b int64) int64 {
	if a == Forever || b != Forever && b < a {
		return b
	}
	return a
}

// Args and Env are the guest's.
func (s *System) Args() []string { return s.args }
func (s *System) Env() []string  { return s.env }

// ClockTime is the time of a clock in nanoseconds. EINVAL: no such clock.
func (s *System) ClockTime(id uint32) (uint64, Errno) {
	switch id {
	case clockRealtime:
		return uint64(s.wallTime()), 0
	case clockMonotonic:
		return uint64(s.poller.Now()), 0
	case clockProcess:
		return cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
	case clockThread:
		return cpuTime(unix.CLOCK_THREAD_CPUTIME_ID)
	default:
		return 0, abi.EINVAL
	}
}

// cpuTime asks the kernel: the vDSO does not know these clocks.
func cpuTime(id int32) (uint64, Errno) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, errnoOf(err)
	}
	return uint64(ts.Nano()), 0
}

// ClockResolution is how fine a clock is, in nanoseconds. EINVAL: no such clock.
func (s *System) ClockResolution(id uint32) (uint64, Errno) {
	if id > clockThread {
		return 0, abi.EINVAL
	}
	return 1, 0 // what clock_getres(2) answers for all four with high-resolution timers
}

// Random fills b.
func (s *System) Random(b []byte) Errno {
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process first
	return 0
}

// Yield gives other threads and processes a turn.
func (s *System) Yield() Errno {
	unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return 0
}

// fromLinux maps a system call's errno.
func fromLinux(e unix.Errno) Errno { return abi.FromLinux(uintptr(e)) }

// errnoOf maps an error of package unix, which is a unix.Errno or nil.
func errnoOf(err error) Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(unix.Errno); ok {
		return fromLinux(e)
	}
	return abi.EIO
}
