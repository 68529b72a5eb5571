package master

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi/ipc"
)

// watch waits for connections on all listeners of a cluster, without taking any: an epoll instance, itself in the
// runtime's poller. Each listener is armed for one event (EPOLLONESHOT), so that a busy cluster wakes the master once
// per look and not once per connection. A plain waiter does not use up the wake-up that EPOLLEXCLUSIVE gives to one
// worker (__wake_up_common counts exclusive waiters alone).
type watch struct {
	cluster *Cluster
	done    chan struct{}
	asleep  atomic.Bool

	mu       sync.Mutex // guards the fields below
	file     *os.File   // the epoll instance; nil until the first listener
	raw      syscall.RawConn
	followed map[int]struct{} // descriptors of listeners
	stopped  bool
}

func newWatch(c *Cluster) *watch {
	return &watch{cluster: c, done: make(chan struct{}), followed: map[int]struct{}{}}
}

// armed are the events of a listener: a connection waits; or what only a socket has that does not listen any more. See
// sabotage.go.
const armed = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLONESHOT

// follow watches a listener until forget. The goroutine starts with the first.
func (w *watch) follow(fd *ipc.FD) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return ErrClosed
	}
	if w.file == nil {
		if err := w.openLocked(); err != nil {
			return err
		}
		go w.run()
	}
	if err := w.controlLocked(unix.EPOLL_CTL_ADD, fd.Int()); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	w.followed[fd.Int()] = struct{}{}
	return nil
}

func (w *watch) openLocked() error {
	n, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(n, true); err != nil { // what os.NewFile wants to see before it uses the poller
		unix.Close(n)
		return os.NewSyscallError("fcntl", err)
	}
	w.file = os.NewFile(uintptr(n), "watch")
	if w.raw, err = w.file.SyscallConn(); err != nil {
		w.file.Close()
		w.file = nil
		return fmt.Errorf("use epoll: %w", err)
	}
	return nil
}

// controlLocked answers a bare errno. The descriptor of the epoll instance is lent for the one call.
func (w *watch) controlLocked(op, fd int) error {
	var err error
	ctlErr := w.raw.Control(func(epfd uintptr) {
		err = unix.EpollCtl(int(epfd), op, fd, &unix.EpollEvent{Events: armed, Fd: int32(fd)})
	})
	if ctlErr != nil {
		return unix.EBADF
	}
	return err
}

// forget ends the watching of a listener. It must come before its close: the workers' descriptors keep the socket
// alive, and an epoll instance goes on reporting a number that has been closed.
func (w *watch) forget(fd *ipc.FD) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.followed[fd.Int()]; !ok {
		return
	}
	delete(w.followed, fd.Int())
	_ = w.controlLocked(unix.EPOLL_CTL_DEL, fd.Int()) // EBADF after stop: the whole instance is gone
}

// sleep waits until some listener has a connection; false after stop.
func (w *watch) sleep() bool {
	w.mu.Lock()
	for fd := range w.followed {
		_ = w.controlLocked(unix.EPOLL_CTL_MOD, fd) // cannot fail for what is in the set
	}
	raw := w.raw
	w.mu.Unlock()
	w.asleep.Store(true)
	defer w.asleep.Store(false)
	var events [16]unix.EpollEvent
	err := raw.Read(func(epfd uintptr) bool {
		n, err := unix.EpollWait(int(epfd), events[:], 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	return err == nil
}

// stop ends the goroutine and waits for its end.
func (w *watch) stop() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	w.stopped = true
	file := w.file
	w.mu.Unlock()
	if file == nil {
		return
	}
	_ = file.Close()
	<-w.done
}
