package ipc

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// readSize is what one recvmsg asks for: the kernel's own default for a socket's buffer is 208 KiB, and beyond
// 64 KiB a larger read saves no measurable time.
const readSize = 64 << 10

// patience is how often in a row a Reader or a Writer must find its large buffer needless before it gives it back: a
// stream of large frames then allocates nothing, and a single one is not paid for ever.
const patience = 64

// A Frame is what Reader.Next hands out.
type Frame struct {
	abi.Header
	Body []byte // valid until the next call of Fill
	FDs  []*FD  // the receiver's own, to close or take; the slice itself is valid until the next call of Next
}

// Close closes the frame's descriptors: for a receiver that does not want them.
func (f *Frame) Close() { CloseAll(f.FDs) }

// Reader cuts frames out of what recvmsg returns and gives each its descriptors. The peer is hostile: what breaks the
// protocol makes Fill or Next answer an error that wraps abi.ErrFrame, and the Reader is then only good for Close.
type Reader struct {
	peer       abi.Side // who sends
	maxMessage uint32
	maxWaiting int // descriptors that may have come before the frame they belong to is complete

	buf        []byte
	start, end int    // buf[start:end] is read and not yet handed out
	at         uint64 // offset of buf[start] in the stream
	needless   int    // times in a row that makeRoom saw a buffer larger than needed
	failed     error  // of a recvmsg that broke the protocol

	groups  []group // of descriptors that no frame has claimed, oldest first
	waiting []*FD   // what the groups hold, in their order
	claimed []*FD   // backing of the last Frame's FDs

	msg unix.Msghdr
	iov unix.Iovec
	oob [unix.SizeofCmsghdr + 4*abi.MaxFDs + 8]byte
}

// group is the descriptors of one recvmsg. Writer gives them to the kernel beside the first byte of their frame, and the
// kernel ends a recvmsg with the segment whose descriptors it hands over: so a group belongs to one frame, which
// begins before until, and no other group does.
type group struct {
	until uint64 // offset in the stream where the recvmsg ended
	n     int
	lost  bool // MSG_CTRUNC: there were more than n
}

// NewReader reads what peer sends; maxMessage bounds the body of a message in bytes.
func NewReader(peer abi.Side, maxMessage uint32) *Reader {
	return &Reader{
		peer: peer, maxMessage: maxMessage,
		// Those of a frame whose body is still coming, and those of the next, when its first bytes came with the last
		// ones of the body.
		maxWaiting: 2 * abi.MaxFrameFDs(peer),
		buf:        make([]byte, readSize),
	}
}

// SetMaxMessage sets the bound of a message's body, once the configuration is known.
func (r *Reader) SetMaxMessage(n uint32) { r.maxMessage = n }

// Fill does one recvmsg on socket, which must be non-blocking. It answers
//   - nil when Next may have a frame; without reading when it already had one, so that nothing can pile up;
//   - unix.EAGAIN when nothing is there;
//   - io.EOF at the end, also when the peer died; inside a frame, an error of abi.ErrFrame and io.ErrUnexpectedEOF;
//   - ErrTruncated when descriptors were lost for want of room in this process's table: once, the bytes are kept and
//     reading may go on;
//   - an error of abi.ErrFrame when the peer sent what is no frame, or more descriptors than its frames may carry.
//
// It invalidates the Body of every Frame handed out before.
func (r *Reader) Fill(socket int) error {
	var h abi.Header
	size, err := r.front(&h)
	if err != nil || size > 0 && size <= r.end-r.start {
		return err
	}
	r.makeRoom(size)
	r.iov.Base = &r.buf[r.end]
	r.iov.SetLen(len(r.buf) - r.end)
	r.msg = unix.Msghdr{Iov: &r.iov, Control: &r.oob[0]}
	r.msg.SetIovlen(1)
	r.msg.SetControllen(len(r.oob))
	for {
		// RawSyscall: the socket is non-blocking, so the scheduler need not hear of it.
		n, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(socket), uintptr(unsafe.Pointer(&r.msg)),
			unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch e {
		case 0:
			return r.took(int(n))
		case unix.EINTR:
		case unix.EAGAIN:
			return unix.EAGAIN
		case unix.ECONNRESET: // the peer died with unread data in its queue, and all it had sent has been read
			return r.eof()
		default:
			return os.NewSyscallError("recvmsg", e)
		}
	}
}

// took accounts for n bytes and the control messages of the recvmsg that read them.
func (r *Reader) took(n int) error {
	r.end += n
	got, err := r.takeFDs()
	if err != nil {
		r.failed = err
		return err
	}
	lost := r.msg.Flags&unix.MSG_CTRUNC != 0
	if got > 0 || lost {
		r.groups = append(r.groups, group{until: r.at + uint64(r.end-r.start), n: got, lost: lost})
	}
	switch {
	case len(r.waiting) > r.maxWaiting, lost && r.maxWaiting == 0:
		r.failed = fmt.Errorf("%w: descriptors that no frame of the %v has", abi.ErrFrame, r.peer)
		return r.failed
	case lost:
		return ErrTruncated
	case n == 0:
		return r.eof()
	}
	return nil
}

func (r *Reader) eof() error {
	if left := r.end - r.start; left > 0 {
		return fmt.Errorf("%w: truncated frame: %w after %d bytes of it", abi.ErrFrame, io.ErrUnexpectedEOF, left)
	}
	return io.EOF
}

// takeFDs moves the received descriptors into waiting, all of them, before any check: an error must not leak one.
func (r *Reader) takeFDs() (n int, err error) {
	rest := r.oob[:r.msg.Controllen]
	for len(rest) >= unix.SizeofCmsghdr {
		head, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return n, fmt.Errorf("%w: control message: %w", abi.ErrFrame, err)
		}
		rest = next
		if head.Level != unix.SOL_SOCKET || head.Type != unix.SCM_RIGHTS {
			continue // nothing that would have to be closed
		}
		for ; len(data) >= 4; data = data[4:] {
			r.waiting = append(r.waiting, NewFD(int(int32(binary.NativeEndian.Uint32(data)))))
			n++
		}
	}
	return n, nil
}

// Next cuts the next complete frame. ok is false when more bytes are needed first: call Fill. A frame that lost
// descriptors to MSG_CTRUNC comes with those that arrived, fewer than its header says, after Fill has reported it.
func (r *Reader) Next() (f Frame, ok bool, err error) {
	size, err := r.front(&f.Header)
	if err != nil || size == 0 || size > r.end-r.start {
		return Frame{}, false, err
	}
	if f.Header.FDs > 0 {
		if err := r.claim(int(f.Header.FDs)); err != nil {
			return Frame{}, false, fmt.Errorf("%w: %v: %w", abi.ErrFrame, f.Kind, err)
		}
		f.FDs = r.claimed
	}
	end := r.start + size
	f.Body = r.buf[r.start+abi.HeaderSize : end : end]
	r.start = end
	r.at += uint64(size)
	return f, true, nil
}

// front judges what the buffer begins with, and decodes its header to h. size is that of the frame, header included, or 0
// while the header is not all there.
func (r *Reader) front(h *abi.Header) (size int, err error) {
	if r.failed != nil {
		return 0, r.failed
	}
	if len(r.groups) > 0 && r.groups[0].until <= r.at {
		return 0, fmt.Errorf("%w: %d descriptors that belong to no frame", abi.ErrFrame, r.groups[0].n)
	}
	if r.end-r.start < abi.HeaderSize {
		return 0, nil
	}
	*h, err = abi.DecodeHeader(r.buf[r.start:], r.peer, r.maxMessage)
	return abi.HeaderSize + int(h.Length), err
}

// claim moves the oldest group, which must be of n descriptors, to claimed. It is this frame's: an earlier frame would have
// claimed it or front complained. A peer that announces descriptors with one frame and sends them with a later one finds
// that out there.
func (r *Reader) claim(n int) error {
	if len(r.groups) == 0 {
		return fmt.Errorf("%d descriptors announced, none came", n)
	}
	g := r.groups[0]
	if g.n != n && !(g.lost && g.n < n) {
		return fmt.Errorf("%d descriptors announced, %d came", n, g.n)
	}
	r.claimed = append(r.claimed[:0], r.waiting[:g.n]...)
	r.waiting = r.waiting[:copy(r.waiting, r.waiting[g.n:])]
	r.groups = r.groups[:copy(r.groups, r.groups[1:])]
	return nil
}

// makeRoom makes buf[end:] worth reading into: what is left moves to the front, and the buffer grows only for a frame
// whose header has passed the checks of DecodeHeader, so a peer cannot make it larger than its longest frame and
// one readSize. size is that of the frame in front, or 0 while it is unknown.
func (r *Reader) makeRoom(size int) {
	want := len(r.buf)
	switch {
	case size > len(r.buf):
		want = size + readSize // so that the next frame's start comes along with this one's end
		r.needless = 0
	case size > readSize, r.end > readSize:
		r.needless = 0
	case len(r.buf) > readSize:
		if r.needless++; r.needless >= patience {
			want = readSize // what is left fits: it is less than size, or than a header
		}
	}
	left := r.buf[r.start:r.end]
	if want != len(r.buf) {
		r.buf = make([]byte, want)
	}
	r.start, r.end = 0, copy(r.buf, left)
}

// Close closes the descriptors that no frame has claimed.
func (r *Reader) Close() {
	CloseAll(r.waiting)
	r.waiting, r.groups = nil, nil
}
