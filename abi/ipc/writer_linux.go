package ipc

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

const (
	// maxControlQueue bounds control frames that wait for a peer which does not read. The largest legitimate backlog is
	// a Config and a few answers; a peer that lets more pile up is to be ended.
	maxControlQueue = 4 * abi.MaxControl

	// maxQueuedFDs bounds the descriptors that wait with them: each is an entry in this process's table, and a worker
	// that asks for sockets and never reads the answers must not fill it.
	maxQueuedFDs = 2 * abi.MaxFDs

	// writeSize bounds what one sendmsg is asked to take. The socket's buffer holds less, but a peer that reads meanwhile
	// would keep the kernel at it, and RawSyscall the scheduler waiting, for as long as the queue is long.
	writeSize = 256 << 10

	// keepBuffer is the largest empty buffer that a Writer holds on to without patience.
	keepBuffer = 256 << 10
)

var (
	// ErrFull says that the queue holds its limit: the message was not taken.
	ErrFull = errors.New("queue full")

	// ErrTooLarge says that a message is larger than the peer would accept: it was not taken and never will be.
	ErrTooLarge = errors.New("message too large")

	// ErrStuck says that control frames pile up because the peer has stopped reading.
	ErrStuck = errors.New("the peer does not read its channel")
)

// Writer queues frames and sends as many as the socket takes in each system call.
type Writer struct {
	limit      int    // bytes of messages that may wait
	maxMessage uint32 // what the peer accepts
	ahead      load   // what waits elsewhere and leaves before anything queued here

	buf      []byte // queued bytes from start on
	start    int    // buf[:start] has gone
	sent     uint64 // bytes ever sent; the stream offset of buf[start]
	rides    []ride // descriptors in order of their offset
	fds      int    // descriptors in rides
	needless int    // times in a row that a large buffer drained and had not been needed

	msg unix.Msghdr
	iov unix.Iovec
	oob [unix.SizeofCmsghdr + 4*abi.MaxFDs + 8]byte
}

// ride is a set of descriptors that leave with the byte at offset at.
type ride struct {
	at  uint64
	fds []*FD
}

// load is what waits to be sent.
type load struct{ bytes, fds int }

// NewWriter queues at most limit bytes of messages.
func NewWriter(limit int) *Writer {
	return &Writer{limit: limit, maxMessage: abi.MaxMessageLimit}
}

// SetMaxMessage sets the bound of a message's body, once the configuration is known; abi.MaxMessageLimit before.
func (w *Writer) SetMaxMessage(n uint32) { w.maxMessage = n }

// Queued is how many bytes wait to be sent.
func (w *Writer) Queued() int { return len(w.buf) - w.start }

func (w *Writer) waiting() load {
	return load{bytes: w.ahead.bytes + w.Queued(), fds: w.ahead.fds + w.fds}
}

// Message queues a message. It answers ErrTooLarge when the peer would not accept it, and ErrFull when the queue holds its
// limit; a message larger than the whole limit is taken when nothing else waits.
func (w *Writer) Message(body []byte) error { return w.message(abi.KindMessage, nil, body) }

// Post is Message between the master role and a worker.
func (w *Writer) Post(worker uint32, body []byte) error {
	var head [abi.PostHead]byte
	binary.LittleEndian.PutUint32(head[:], worker)
	return w.message(abi.KindPost, head[:], body)
}

func (w *Writer) message(kind abi.Kind, head, body []byte) error {
	if len(body) > int(w.maxMessage) {
		return ErrTooLarge
	}
	size := abi.HeaderSize + len(head) + len(body)
	if q := w.waiting().bytes; q > 0 && q+size > w.limit {
		return ErrFull
	}
	w.push(abi.Header{Kind: kind, Length: uint32(len(head) + len(body))}, head, body)
	return nil
}

// Control queues a control frame with v as JSON, or with no body when v is nil. The Writer owns fds from here on, also
// when it answers an error: it closes them once the kernel has its own reference. It answers ErrStuck when too much
// waits already, and an error of abi.ErrFrame, instead of having the peer find it, when the frame is none of its kind.
func (w *Writer) Control(kind abi.Kind, seq uint32, v any, fds ...*FD) error {
	if err := w.control(kind, seq, v, fds); err != nil {
		CloseAll(fds)
		return err
	}
	return nil
}

func (w *Writer) control(kind abi.Kind, seq uint32, v any, fds []*FD) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return fmt.Errorf("encode %v: %w", kind, err)
		}
	}
	h := abi.Header{Kind: kind, Length: uint32(len(body)), FDs: uint16(min(len(fds), abi.MaxFDs+1)), Seq: seq}
	if err := h.Check(abi.Master|abi.Worker, 0); err != nil {
		return fmt.Errorf("encode %v: %w", kind, err)
	}
	now := w.waiting()
	most := maxControlQueue + max(w.limit, abi.HeaderSize+int(w.maxMessage)) // beside the messages that may wait
	if now.bytes+abi.HeaderSize+len(body) > most || now.fds+len(fds) > maxQueuedFDs {
		return ErrStuck
	}
	if len(fds) > 0 {
		w.rides = append(w.rides, ride{at: w.sent + uint64(w.Queued()), fds: fds})
		w.fds += len(fds)
	}
	w.push(h, nil, body)
	return nil
}

// push appends a frame; its body comes in two parts, of which the first may be nil.
func (w *Writer) push(h abi.Header, head, body []byte) {
	size := abi.HeaderSize + len(head) + len(body)
	// Moving what waits pays when it is no more than what has gone; else the buffer grows, or a slow peer would have
	// the whole queue moved for every frame.
	if len(w.buf)+size > cap(w.buf) && w.start >= w.Queued() {
		w.buf = w.buf[:copy(w.buf, w.buf[w.start:])]
		w.start = 0
	}
	w.buf = slices.Grow(w.buf, size)
	w.buf = append(append(h.AppendTo(w.buf), head...), body...)
}

// Flush sends what the socket takes, which must be non-blocking. It answers nil when nothing waits any more and
// unix.EAGAIN when the socket is full; EPIPE means that the peer is gone.
func (w *Writer) Flush(socket int) error {
	for w.Queued() > 0 {
		if err := w.flushSome(socket); err != nil {
			return err
		}
	}
	return nil
}

// flushSome is one step of Flush, for when something waits.
func (w *Writer) flushSome(socket int) error {
	n, err := w.sendOnce(socket)
	if err != nil {
		return err
	}
	w.start += n
	w.sent += uint64(n)
	if w.Queued() == 0 {
		w.drained()
	}
	return nil
}

// drained empties the buffer, and gives back one that had to grow and then was not needed for some time.
func (w *Writer) drained() {
	switch {
	case cap(w.buf) <= keepBuffer, len(w.buf) > cap(w.buf)/4:
		w.needless = 0
	case len(w.buf) > 0:
		w.needless++
	}
	w.buf, w.start = w.buf[:0], 0
	if w.needless >= patience {
		w.buf, w.iov.Base, w.needless = nil, nil, 0
	}
}

// sendOnce does one sendmsg: up to the next frame with descriptors, or from it.
func (w *Writer) sendOnce(socket int) (int, error) {
	part := w.buf[w.start:]
	riding := len(w.rides) > 0 && w.rides[0].at == w.sent
	next := 0
	if riding {
		next = 1
	}
	if len(w.rides) > next {
		part = part[:w.rides[next].at-w.sent]
	}
	part = part[:min(len(part), writeSize)]
	w.iov.Base = &part[0]
	w.iov.SetLen(len(part))
	w.msg = unix.Msghdr{Iov: &w.iov}
	w.msg.SetIovlen(1)
	if riding {
		w.msg.Control = &w.oob[0]
		w.msg.SetControllen(w.putRights(w.rides[0].fds))
	}
	n, err := sendmsg(socket, &w.msg)
	if err == nil && riding {
		// The first byte has gone and the descriptors with it, however few bytes followed.
		w.fds -= len(w.rides[0].fds)
		CloseAll(w.rides[0].fds)
		w.rides = slices.Delete(w.rides, 0, 1)
	}
	return n, err
}

func sendmsg(socket int, m *unix.Msghdr) (int, error) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(socket), uintptr(unsafe.Pointer(m)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, unix.EAGAIN
		case unix.ECONNRESET: // EPIPE's other face: the peer died with unread data in its queue
			return 0, os.NewSyscallError("sendmsg", unix.EPIPE)
		default:
			return 0, os.NewSyscallError("sendmsg", e)
		}
	}
}

// putRights writes the SCM_RIGHTS message for fds to oob and answers its length, see cmsg(3).
func (w *Writer) putRights(fds []*FD) int {
	head := (*unix.Cmsghdr)(unsafe.Pointer(&w.oob[0]))
	head.Level, head.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	head.SetLen(unix.CmsgLen(4 * len(fds)))
	data := w.oob[unix.CmsgLen(0):]
	for i, f := range fds {
		binary.NativeEndian.PutUint32(data[4*i:], uint32(f.Int()))
	}
	return unix.CmsgSpace(4 * len(fds))
}

// Close drops what waits and closes its descriptors.
func (w *Writer) Close() {
	for _, r := range w.rides {
		CloseAll(r.fds)
	}
	w.rides, w.fds, w.ahead = nil, 0, load{}
	w.buf, w.start, w.iov.Base = nil, 0, nil
}
