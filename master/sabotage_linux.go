package master

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// Whoever holds a listening socket can end its listening for everybody: shutdown(2) for reading, or connect(2) to
// AF_UNSPEC. The sandbox denies both, and a guest cannot ask for either; a worker that has done it was taken over by its guest
// where there was no sandbox, or one with a hole. So all that share the socket are ended, since nobody knows which it was,
// and the socket is made anew.

const (
	// mendTick and mendLimit bound how often and how long a bind is tried: the address is free when the killed are gone.
	mendTick  = 5 * time.Millisecond
	mendLimit = 2 * time.Second
)

// mendListeners looks for sockets that do not listen any more and makes them anew. For the watch's goroutine alone.
func (c *Cluster) mendListeners() {
	for _, s := range c.registry.dead() {
		why := fmt.Sprintf("somebody has ended the listening on %s, which no guest can: all workers that share it are ended", s.told)
		for _, w := range c.Workers() {
			w.Abort(abi.FaultSandbox, why)
		}
		c.mend(s)
	}
}

func (c *Cluster) mend(s *socket) {
	tick := time.NewTicker(mendTick)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < mendLimit; {
		err := c.registry.renew(s)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		select {
		case <-tick.C:
		case <-c.life.Done():
			return
		}
	}
	c.registry.lose(s)
}

// dead are the sockets that do not listen any more. The kernel wakes whoever waits for one that ceases to.
func (r *registry) dead() (all []*socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sockets {
		if !s.lost && s.dead() {
			all = append(all, s)
		}
	}
	return all
}

// dead is whether a socket does not listen: TCP has left the state; a unix socket is still in it, but shut.
func (s *socket) dead() bool {
	if s.fd.Int() < 0 {
		return true // renew has closed it, and has not got another
	}
	listens, err := unix.GetsockoptInt(s.fd.Int(), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && (listens == 0 || pollNow(s.fd.Int(), unix.POLLRDHUP)&(unix.POLLHUP|unix.POLLRDHUP) != 0)
}

// renew puts a new socket in the place of one that is dead, with the same address. What another owner keeps open as well is
// made to listen again, if it can be.
func (r *registry) renew(s *socket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renewLocked(s)
}

func (r *registry) renewLocked(s *socket) error {
	if !s.dead() { // a Disconnect may have come and closed it, and its number may be another's
		return nil
	}
	if s.adopted {
		return s.listenAgain()
	}
	r.watch.forget(s.fd)
	if s.unlink != nil {
		s.unlink()
	}
	s.fd.Close() // first: an abstract name is free when its last descriptor is closed
	fresh, err := listen(s.address, s.ipv6Only, s.backlog)
	if err != nil {
		return err
	}
	if err := r.watch.follow(fresh.fd); err != nil {
		fresh.close()
		return err
	}
	s.fd, s.unlink, s.lost = fresh.fd, fresh.unlink, false
	return nil
}

// listenAgain is for a socket that is not ours to replace. One that was bound to any port has lost it, and is bound to the
// same; for any other that fails, and changes nothing.
func (s *socket) listenAgain() error {
	if ip, err := netip.ParseAddr(s.told.Address); err == nil {
		if at, _, err := sockaddr(netip.AddrPortFrom(ip, uint16(s.told.Port))); err == nil {
			_ = unix.Bind(s.fd.Int(), at)
		}
	}
	return unix.Listen(s.fd.Int(), defaultBacklog)
}

// lose gives up on a socket until somebody wants it, which tries again: the fork says what is wrong.
func (r *registry) lose(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.lost = true
	r.watch.forget(s.fd)
}
