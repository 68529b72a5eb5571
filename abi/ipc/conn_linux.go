package ipc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// Conn is a channel for goroutines: the master's end. One goroutine reads; any may write. Waiting happens in the Go
// runtime's poller, so that no thread is held by an idle channel.
//
//	Message, Control ─► queued ═(swap when flying is empty)═► flying ─► send goroutine ─► socket
//
// Two Writers, so that senders go on queueing while the kernel copies: what collects meanwhile is the next batch.
type Conn struct {
	file *os.File // owns the descriptor; kept so that a collection cannot close it
	raw  syscall.RawConn

	// The reading goroutine's own. The functions are made once, because a function handed to raw would be allocated anew
	// for every call.
	in      *Reader
	filled  error
	fill    func(fd uintptr) bool // waits
	fillNow func(fd uintptr)

	mu     sync.Mutex // guards what follows
	more   sync.Cond  // something was queued, or closed or ending has changed
	queued *Writer
	closed bool  // by Close
	ending bool  // by CloseWrite
	broken error // why sending has failed; EPIPE when the peer is gone

	flying *Writer       // the sending goroutine's own, but for the swap, which happens under mu
	dead   chan struct{} // closed when the sending goroutine has ended
}

// NewConn takes over fd, the socketpair end that Pair made, and starts a goroutine that sends; it ends with Close.
// peer is the other side, maxMessage the bound of a message's body, queue the bytes of messages that may wait.
func NewConn(fd *FD, peer abi.Side, maxMessage uint32, queue int) (*Conn, error) {
	// The descriptor is non-blocking, so os.NewFile registers it with the poller.
	file := os.NewFile(uintptr(fd.Take()), "channel")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("use channel: %w", err)
	}
	c := &Conn{
		file: file, raw: raw,
		in:     NewReader(peer, maxMessage),
		queued: NewWriter(queue),
		flying: NewWriter(queue),
		dead:   make(chan struct{}),
	}
	c.more.L = &c.mu
	c.queued.SetMaxMessage(maxMessage)
	c.flying.SetMaxMessage(maxMessage)
	c.fillNow = func(fd uintptr) { c.filled = c.in.Fill(int(fd)) }
	c.fill = func(fd uintptr) bool {
		c.fillNow(fd)
		return c.filled != unix.EAGAIN
	}
	go c.send()
	return c, nil
}

// Message queues a message: see Writer.Message. It answers os.ErrClosed after Close and CloseWrite, and once the peer is
// known to be gone.
func (c *Conn) Message(body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.takesLocked(); err != nil {
		return err
	}
	err := c.queued.Message(body)
	c.more.Signal()
	return err
}

// Post is Message between the master role and a worker: see Writer.Post.
func (c *Conn) Post(worker uint32, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.takesLocked(); err != nil {
		return err
	}
	err := c.queued.Post(worker, body)
	c.more.Signal()
	return err
}

// takesLocked says why a message cannot be queued, if so.
func (c *Conn) takesLocked() error {
	switch {
	case c.closed, c.ending, c.goneLocked():
		return os.ErrClosed
	default:
		return c.broken
	}
}

// Control queues a control frame and owns fds, also on error: see Writer.Control. It answers os.ErrClosed after Close and
// CloseWrite. For a peer that is gone it drops the frame as the socket would, which is no error: the peer may have said
// something before it left, and who reads that on will hear of the end in its place.
func (c *Conn) Control(kind abi.Kind, seq uint32, v any, fds ...*FD) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed, c.ending:
		CloseAll(fds)
		return os.ErrClosed
	case c.goneLocked():
		CloseAll(fds)
		return nil
	case c.broken != nil:
		CloseAll(fds)
		return c.broken
	}
	err := c.queued.Control(kind, seq, v, fds...)
	c.more.Signal()
	return err
}

func (c *Conn) goneLocked() bool { return errors.Is(c.broken, unix.EPIPE) }

// Queued is how many bytes wait to be sent.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued.waiting().bytes
}

// send flushes what is queued and ends with Close, after CloseWrite, or when the peer is gone.
func (c *Conn) send() {
	defer close(c.dead)
	var err error
	flush := func(fd uintptr) bool {
		for err = nil; err == nil && c.flying.Queued() > 0; {
			err = c.flying.flushSome(int(fd))
			c.account()
		}
		return err != unix.EAGAIN
	}
	for err == nil && c.swap() {
		if waitErr := c.raw.Write(flush); waitErr != nil {
			err = waitErr
		}
	}
	c.drop(err)
	switch {
	case err == nil:
		_ = c.shutdown(unix.SHUT_WR) // answers an error after Close, which does as much
	case errors.Is(err, unix.EPIPE):
		// Reading finds out by itself, after what the peer sent before it left.
	default:
		_ = c.shutdown(unix.SHUT_RDWR) // so that a Receive that waits hears of it
	}
}

// drop closes what will never be sent, because of err or because the channel is closed.
func (c *Conn) drop(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
	c.flying.Close()
	c.queued.Close()
}

// swap waits for something to send and takes all of it. It answers false when there will be nothing more.
func (c *Conn) swap() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queued.Queued() == 0 && !c.closed && !c.ending {
		c.more.Wait()
	}
	if c.queued.Queued() == 0 {
		return false
	}
	c.queued, c.flying = c.flying, c.queued
	c.queued.ahead = c.flying.waiting() // which has nothing ahead of it: that has just been sent
	return true
}

// account makes what has been sent room for more.
func (c *Conn) account() {
	c.mu.Lock()
	c.queued.ahead = c.flying.waiting()
	c.mu.Unlock()
}

// Receive waits for the next frame. Its Body is valid until the next call; its FDs are the caller's. It answers io.EOF
// at the end, ErrTruncated when descriptors of a frame still to come were lost, an error of abi.ErrFrame when the peer
// broke the protocol, os.ErrClosed after Close, the error that ended sending if that was not the peer's leaving.
// Only one goroutine may call it.
func (c *Conn) Receive() (Frame, error) {
	for {
		f, ok, err := c.in.Next()
		if err != nil || ok {
			return f, err
		}
		if err := c.raw.Read(c.fill); err != nil {
			return Frame{}, c.why(err)
		}
		if c.filled != nil {
			return Frame{}, c.why(c.filled)
		}
	}
}

// TryReceive is Receive that answers unix.EAGAIN instead of waiting.
func (c *Conn) TryReceive() (Frame, error) {
	for {
		f, ok, err := c.in.Next()
		if err != nil || ok {
			return f, err
		}
		if err := c.raw.Control(c.fillNow); err != nil {
			return Frame{}, c.why(err)
		}
		if c.filled != nil {
			return Frame{}, c.why(c.filled)
		}
	}
}

// why puts the cause in the place of what reading met: after Close that is an error of package internal/poll, and after a
// failure to send a false end.
func (c *Conn) why(err error) error {
	if err == unix.EAGAIN || err == ErrTruncated {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return os.ErrClosed
	case c.broken != nil && !c.goneLocked():
		return c.broken
	}
	return err
}

// CloseWrite tells the peer that nothing more will come, once it has got what is queued; what it sends can still be
// received. It answers os.ErrClosed after Close.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.ending = true
	c.more.Signal()
	return nil
}

func (c *Conn) shutdown(how int) error {
	var err error
	ctlErr := c.raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), how) })
	if ctlErr != nil {
		return ctlErr
	}
	return os.NewSyscallError("shutdown", err)
}

// Close ends the channel and drops what is queued; a Receive that waits answers os.ErrClosed. The reading goroutine calls
// Release when it has stopped. A second call waits for the first.
func (c *Conn) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.more.Signal()
		c.mu.Unlock()
		_ = c.file.Close() // wakes both waits; the number is released whatever close(2) says
	} else {
		c.mu.Unlock()
	}
	<-c.dead
}

// Release closes descriptors that came for no frame. For the reading goroutine, after its last Receive.
func (c *Conn) Release() { c.in.Close() }
