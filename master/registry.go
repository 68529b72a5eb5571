package master

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// registry owns the listening sockets of a cluster. The first asker for a key binds, later ones share. A socket stays
// open, whoever dies, until the cluster disconnects: clients wait in its backlog while a worker is replaced.
type registry struct {
	mu      sync.Mutex // guards the fields below
	sockets map[socketKey]*socket
	refuses bool // the cluster disconnects: nothing new

	watch *watch // is told of every socket; set before use
}

// socketKey is what makes two requests mean the same socket.
type socketKey struct {
	address  abi.Address
	ipv6Only bool
	index    uint32 // for port 0: this worker's n-th open of it
	preopen  uint32 // for port 0 as well: 1 and up are the preopened ones
}

// keyOf is the key of an address. tcp6 is IPv6 alone, as in package net, with or without the flag.
func keyOf(a abi.Address, ipv6Only bool) socketKey {
	return socketKey{address: a, ipv6Only: ipv6Only || a.Network == "tcp6"}
}

// socket is a listening socket of the registry.
type socket struct {
	fd       *ipc.FD
	address  abi.Address      // as bound: a port in place of 0, an IP address in place of ""
	told     ListeningAddress // for events
	backlog  int              // as asked for, to make it anew
	ipv6Only bool             // likewise
	lost     bool             // it was sabotaged, and could not be made anew so far
	adopted  bool             // another owner keeps it open as well: only our descriptor goes
	unlink   func()           // removes the file of a unix socket, if it is still ours; or nil
}

// maxSockets bounds the sockets of a cluster, and so what a guest that keeps asking can make the master hold.
const maxSockets = 1024

func newRegistry() *registry { return &registry{sockets: map[socketKey]*socket{}} }

// acquire answers the socket of a key and a new descriptor of it, which is the caller's. A bind that fails leaves
// nothing behind, so that a later request tries again.
func (r *registry) acquire(k socketKey, backlog int) (*socket, *ipc.FD, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.getLocked(k, backlog)
	if err != nil {
		return nil, nil, err
	}
	fd, err := r.dupLocked(s)
	if err != nil {
		return nil, nil, err
	}
	return s, fd, nil
}

// hold is acquire for the master itself: no descriptor.
func (r *registry) hold(k socketKey, backlog int) (*socket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.getLocked(k, backlog)
}

func (r *registry) getLocked(k socketKey, backlog int) (*socket, error) {
	if r.refuses {
		return nil, syscall.ECANCELED
	}
	if s := r.sockets[k]; s != nil {
		return s, nil
	}
	if len(r.sockets) >= maxSockets {
		return nil, syscall.EMFILE
	}
	s, err := listen(k.address, k.ipv6Only, backlog)
	if err != nil {
		return nil, err
	}
	s.backlog, s.ipv6Only = backlog, k.ipv6Only
	if err := r.watch.follow(s.fd); err != nil {
		s.close()
		return nil, err
	}
	r.sockets[k] = s
	return s, nil
}

// dup makes a descriptor of s for a worker.
func (r *registry) dup(s *socket) (*ipc.FD, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dupLocked(s)
}

func (r *registry) dupLocked(s *socket) (*ipc.FD, error) {
	if s.dead() {
		if err := r.renewLocked(s); err != nil {
			return nil, listenError(s.address, err)
		}
	}
	return s.fd.Dup()
}

// each calls f for every socket, with the lock held: none is closed meanwhile.
func (r *registry) each(f func(*socket)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sockets {
		f(s)
	}
}

// anyWaiting is whether a connection waits to be accepted somewhere.
func (r *registry) anyWaiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sockets {
		if readable(s.fd.Int()) > 0 {
			return true
		}
	}
	return false
}

// refuse lets every further request fail with ECANCELED.
func (r *registry) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = true
}

// reset closes every socket and takes requests again.
func (r *registry) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sockets {
		r.watch.forget(s.fd)
		s.close()
	}
	clear(r.sockets)
	r.refuses = false
}

func (s *socket) close() {
	if s.unlink != nil {
		s.unlink()
	}
	s.fd.Close()
}

// errnoOf is what a guest is told of an error.
func errnoOf(err error) abi.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return abi.FromLinux(uintptr(e))
	}
	return abi.EIO
}

// listenError says in one line why a preopened listener cannot be had, and what to do.
func listenError(a abi.Address, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && a.Network == "unix":
		hint = " (another program listens there; choose another path)"
	case errors.Is(err, syscall.EADDRINUSE):
		hint = " (another program listens there; choose another port, or port 0 for any)"
	case errors.Is(err, syscall.EACCES) && a.Network != "unix" && a.Port > 0 && a.Port < 1024:
		hint = " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = " (no interface of this machine has that address)"
	case errors.Is(err, syscall.EAFNOSUPPORT):
		hint = " (this machine has no IPv6)"
	case errors.Is(err, syscall.EBADF):
		hint = " (no such descriptor is open)"
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		hint = " (the descriptor must be a stream socket, bound or listening)"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Errorf("listen on %v: %w%s", a, errno, hint)
	}
	return fmt.Errorf("listen on %v: %w", a, err)
}
