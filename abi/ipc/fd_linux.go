package ipc

import (
	"errors"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// FD owns one file descriptor. Exactly one of Close and Take ends it. Not safe for concurrent use.
type FD struct {
	n int // -1 once ended
}

// NewFD takes over descriptor n. After TrackLeaks it remembers where, so that a leak names its line.
func NewFD(n int) *FD {
	if births != nil {
		births.add(n)
	}
	return &FD{n: n}
}

// Int lends the number for one call; it must not outlive the FD.
func (f *FD) Int() int { return f.n }

// Take gives the number away: its new owner closes it.
func (f *FD) Take() int {
	n := f.n
	f.n = -1
	if births != nil {
		births.remove(n)
	}
	return n
}

// Dup makes a second descriptor for the same open file description, close-on-exec.
func (f *FD) Dup() (*FD, error) {
	n, err := unix.FcntlInt(uintptr(f.n), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return NewFD(n), nil
}

// Close closes the descriptor; a second call does nothing. There is no error to act on: Linux has released the number
// even when close(2) reports one.
func (f *FD) Close() {
	if f == nil || f.n < 0 {
		return
	}
	_ = unix.Close(f.Take())
}

// CloseAll closes every one of fds.
func CloseAll(fds []*FD) {
	for _, f := range fds {
		f.Close()
	}
}

// births maps an open FD to the stack that made it; nil unless TrackLeaks was called.
var births *birthLog

// TrackLeaks makes every FD made from here on remember the stack that made it. For a package's TestMain, before
// anything else.
func TrackLeaks() { births = &birthLog{stacks: map[int]string{}} }

type birthLog struct {
	mu     sync.Mutex
	stacks map[int]string
}

func (b *birthLog) add(n int) {
	buf := make([]byte, 2048)
	buf = buf[:runtime.Stack(buf, false)]
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stacks[n] = string(buf)
}

func (b *birthLog) remove(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.stacks, n)
}

// Leaked lists the stacks that made the FDs still open: for a package's TestMain. Empty without TrackLeaks.
func Leaked() []string {
	if births == nil {
		return nil
	}
	births.mu.Lock()
	defer births.mu.Unlock()
	var all []string
	for _, s := range births.stacks {
		all = append(all, s)
	}
	return all
}

// Pair makes the channel between a master and a worker: a stream socketpair, close-on-exec and non-blocking, so that
// neither end ever waits inside the other's pace.
func Pair() (master, worker *FD, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return NewFD(p[0]), NewFD(p[1]), nil
}

// ErrTruncated says that descriptors were lost on the way because this process had no room for them (MSG_CTRUNC).
var ErrTruncated = errors.New("descriptors lost: too many open files in the receiver")
