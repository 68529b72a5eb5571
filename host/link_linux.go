package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

const (
	// outboxLimit bounds the messages that wait to leave: send then answers EAGAIN.
	outboxLimit = 4 << 20

	// flushAt is how many queued bytes leave at once instead of at the next wait.
	flushAt = 64 << 10

	// farewell bounds how long an ending worker waits for its last frames to leave.
	farewell = 2 * time.Second
)

// errMasterGone says that the channel has ended: the master is dead or has closed it. The worker ends at once.
var errMasterGone = errors.New("the master has closed the channel")

// link is this process's end of the channel. It is driven from one thread: before the guest runs it waits in poll(2),
// afterwards the guest's poller serves it.
type link struct {
	socket int
	in     *ipc.Reader
	out    *ipc.Writer
}

// newLink takes over the channel's descriptor and exchanges hellos.
func newLink(socket int) (*link, error) {
	kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || kind != unix.AF_UNIX {
		return nil, fmt.Errorf("descriptor %d is not a channel to a master: %s is set by the master for its workers; unset it", socket, RoleVariable)
	}
	l := &link{socket: socket, in: ipc.NewReader(abi.Master, abi.DefaultMaxMessage), out: ipc.NewWriter(outboxLimit)}
	if err := l.out.Control(abi.KindHello, 0, ipc.OurHello()); err != nil {
		return nil, err
	}
	if err := l.drainOut(farewell); err != nil {
		return nil, err
	}
	f, err := l.receive()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return l, ipc.CheckHello(f)
}

// receive waits for the next frame: only before the guest runs.
func (l *link) receive() (ipc.Frame, error) {
	for {
		f, ok, err := l.in.Next()
		if err != nil || ok {
			return f, err
		}
		if err := l.fill(); err != nil {
			if err != unix.EAGAIN {
				return f, err
			}
			if err := l.await(unix.POLLIN, -1); err != nil {
				return f, err
			}
		}
	}
}

// fill reads from the channel, and names the end of it.
func (l *link) fill() error {
	err := l.in.Fill(l.socket)
	if err == io.EOF {
		return errMasterGone
	}
	return err
}

// drainOut waits until everything queued has left, for at most limit.
func (l *link) drainOut(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := l.out.Flush(l.socket)
		if err != unix.EAGAIN {
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("send to the master: it has not read for %v", limit)
		}
		if err := l.await(unix.POLLOUT, int(left.Milliseconds())+1); err != nil {
			return err
		}
	}
}

// await waits in poll(2), milliseconds long or for ever with -1.
func (l *link) await(events int16, milliseconds int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(l.socket), Events: events}}, milliseconds)
		if err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
	}
}
