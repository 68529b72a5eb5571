package wasmworker

import (
	"encoding/binary"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// Inbox holds the records that the guest has not taken yet, one after the other in one buffer:
//
//	{kind u32, from u32, cost u32, len u32, body} …
//
// so that a message costs a copy and no allocation. cost is what the record counts for in the master's window: the frame
// that it came in, or nothing. The master sends no more than abi.InboxWindow bytes ahead; what goes beyond breaks the
// protocol.
type Inbox struct {
	buf      []byte
	head     int
	board    *Board
	writable func() bool // the outbox has room
}

const inboxHead = 16

// maxInbox bounds what may wait: the window, a message that went into an empty one, and control records.
const maxInbox = abi.InboxWindow + abi.MaxMessageLimit + 1<<16

var _ wasip1.Virtual = (*Inbox)(nil)

// Ready implements wasip1.Virtual: readable with a record, writable when a message could be sent.
func (b *Inbox) Ready() uint32 {
	bits := uint32(0)
	if !b.Empty() {
		bits |= wasip1.ReadyRead
	}
	if b.writable() {
		bits |= wasip1.ReadyWrite
	}
	return bits
}

// Empty says whether no record waits.
func (b *Inbox) Empty() bool { return b.head == len(b.buf) }

// Put appends a record; false: the inbox holds all it may.
func (b *Inbox) Put(kind, from, cost uint32, body []byte) bool {
	if len(b.buf)-b.head+inboxHead+len(body) > maxInbox {
		return false
	}
	// Records move to the front only when that frees half of the buffer: each is moved once, not for every new one.
	if b.head > len(b.buf)/2 && len(b.buf)+inboxHead+len(body) > cap(b.buf) {
		b.buf = b.buf[:copy(b.buf, b.buf[b.head:])]
		b.head = 0
	}
	b.buf = binary.LittleEndian.AppendUint32(b.buf, kind)
	b.buf = binary.LittleEndian.AppendUint32(b.buf, from)
	b.buf = binary.LittleEndian.AppendUint32(b.buf, cost)
	b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(len(body)))
	b.buf = append(b.buf, body...)
	return true
}

// Peek answers the first record without taking it; its body is valid until the next Put or Take.
func (b *Inbox) Peek() (kind, from uint32, body []byte) {
	rec := b.buf[b.head:]
	n := binary.LittleEndian.Uint32(rec[12:])
	return binary.LittleEndian.Uint32(rec), binary.LittleEndian.Uint32(rec[4:]), rec[inboxHead : inboxHead+n]
}

// Take removes the first record.
func (b *Inbox) Take() {
	kind, _, body := b.Peek()
	if kind == abi.RecordMessage {
		b.board.MessagesIn++
	}
	b.board.Consumed += uint64(binary.LittleEndian.Uint32(b.buf[b.head+8:]))
	b.head += inboxHead + len(body)
	if b.Empty() {
		b.buf, b.head = b.buf[:0], 0
		if cap(b.buf) > keepInbox {
			b.buf = nil
		}
	}
}

// keepInbox is the largest empty buffer that is held on to.
const keepInbox = 1 << 20
