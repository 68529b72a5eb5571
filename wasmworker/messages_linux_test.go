package wasmworker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// Where the guests of these tests keep things: errnos from 0 on, a record, a buffer.
const (
	recordAt = 1024
	bufferAt = 2048
)

// script runs a guest whose steps are calls, and answers what each has answered.
func script(tb testing.TB, prepare func(r *rig), steps func(a *assembly) []string) (*rig, []wasip1.Errno) {
	tb.Helper()
	n := 0
	r := newRig(tb, start(func(a *assembly) string {
		body := ""
		for i, step := range steps(a) {
			body += put(int32(4*i), step)
			n++
		}
		return body
	}))
	if prepare != nil {
		prepare(r)
	}
	r.runOK()
	return r, r.errnos(0, uint32(n))
}

func wantErrnos(tb testing.TB, got []wasip1.Errno, want ...wasip1.Errno) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Errorf("answers %v, want %v", got, want)
	}
}

// record is what receive has stored.
type record struct{ Kind, From, Len, Fd uint32 }

func (r *rig) record() (rec record) {
	b := r.mem(recordAt, abi.RecordSize)
	_, _ = binary.Decode(b, binary.LittleEndian, &rec)
	return rec
}

func TestWhoAmI(t *testing.T) {
	_, got := script(t, nil, func(a *assembly) []string {
		return []string{invoke(a.wcluster("version", "")), invoke(a.wcluster("worker_id", "")), invoke(a.wcluster("cpus", ""))}
	})
	wantErrnos(t, got, abi.Version, 7, 3)
}

func TestSend(t *testing.T) {
	r, got := script(t, nil, func(a *assembly) []string {
		send := a.wcluster("send", "iiii")
		a.data = "hello"
		return []string{
			callWith(send, 0, dataAt, 5, -1),
			callWith(send, 0, dataAt, 0, -1),
			callWith(send, 1, dataAt, 5, -1),
			callWith(send, -1, dataAt, 5, -1),
			callWith(send, 0, dataAt, 5, 0),
			callWith(send, 0, 65536, 1, -1),
			callWith(send, 0, 65536, 0, -1),
			callWith(send, 0, -1, -1, -1),
		}
	})
	wantErrnos(t, got, 0, 0, abi.EPERM, abi.EPERM, abi.ENOTSUP, abi.EFAULT, 0, abi.EFAULT)
	if len(r.sent) != 3 || string(r.sent[0]) != "hello" || len(r.sent[1]) != 0 || r.board.MessagesOut != 3 {
		t.Errorf("sent %q, counted %d", r.sent, r.board.MessagesOut)
	}
	for _, errno := range []wasip1.Errno{abi.EAGAIN, abi.EMSGSIZE, abi.EPIPE} {
		r, got := script(t, func(r *rig) { r.sendErr = errno }, func(a *assembly) []string {
			return []string{callWith(a.wcluster("send", "iiii"), 0, dataAt, 5, -1)}
		})
		wantErrnos(t, got, errno)
		if r.board.MessagesOut != 0 || r.machine.unsent != 0 {
			t.Error("a message that was refused is counted")
		}
	}
}

func TestReceive(t *testing.T) {
	r, got := script(t, func(r *rig) {
		r.message("hello")
		r.message("")
		r.machine.Inbox.Put(abi.RecordDisconnect, 0, 0, nil)
	}, func(a *assembly) []string {
		receive := a.wcluster("receive", "iii")
		return []string{
			callWith(receive, bufferAt, 4, recordAt), // too small: it stays
			callWith(receive, 65535, 2, recordAt),
			callWith(receive, bufferAt, 5, 65536-15),
			callWith(receive, bufferAt, 5, recordAt),
			callWith(receive, bufferAt, 0, recordAt),
			callWith(receive, bufferAt, 0, recordAt),
			callWith(receive, bufferAt, 100, recordAt),
		}
	})
	wantErrnos(t, got, abi.EMSGSIZE, abi.EFAULT, abi.EFAULT, 0, 0, 0, abi.EAGAIN)
	if string(r.mem(bufferAt, 5)) != "hello" || r.record() != (record{Kind: abi.RecordDisconnect, Fd: 1<<32 - 1}) {
		t.Errorf("received %q, then %+v", r.mem(bufferAt, 5), r.record())
	}
	if r.board.MessagesIn != 2 || r.board.Consumed != 2*abi.HeaderSize+5 || !r.machine.Told() {
		t.Errorf("%d messages of %d bytes taken; told: %v", r.board.MessagesIn, r.board.Consumed, r.machine.Told())
	}
}

func TestAMessageThatDoesNotFitTellsItsLength(t *testing.T) {
	r, got := script(t, func(r *rig) { r.message("hello") }, func(a *assembly) []string {
		return []string{callWith(a.wcluster("receive", "iii"), bufferAt, 4, recordAt)}
	})
	wantErrnos(t, got, abi.EMSGSIZE)
	if r.record() != (record{Kind: abi.RecordMessage, Len: 5, Fd: 1<<32 - 1}) || r.machine.Inbox.Empty() || r.board.MessagesIn != 0 {
		t.Errorf("record %+v; %d messages taken", r.record(), r.board.MessagesIn)
	}
}

func TestInboxDescriptor(t *testing.T) {
	r, got := script(t, nil, func(a *assembly) []string {
		inbox, closeFD, watch := a.wcluster("inbox", "i"), a.wasi("fd_close", "i"), a.wcluster("watch", "iiI")
		return []string{
			callWith(inbox, 65536-3),
			callWith(inbox, recordAt),
			callWith(inbox, recordAt+4), // the same
			i32(recordAt) + load + i32(3) + i64(5) + invoke(watch),
			i32(recordAt) + load + invoke(closeFD),
			i32(recordAt) + load + invoke(closeFD),
			callWith(inbox, recordAt+8),
		}
	})
	wantErrnos(t, got, abi.EFAULT, 0, 0, 0, 0, abi.EBADF, 0)
	if r.u32(recordAt) != r.u32(recordAt+4) {
		t.Error("a second inbox is open beside the first")
	}
	if !r.machine.Aware() {
		t.Error("a guest with an inbox is aware")
	}
}

func TestAwareness(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps func(a *assembly) []string
		want  bool
	}{
		{"a guest that does nothing", func(*assembly) []string { return nil }, false},
		{"a guest that has closed its inbox", func(a *assembly) []string {
			return []string{callWith(a.wcluster("inbox", "i"), recordAt), i32(recordAt) + load + invoke(a.wasi("fd_close", "i"))}
		}, false},
		{"a guest that has renumbered its inbox", func(a *assembly) []string {
			inbox, listen, renumber := a.wcluster("inbox", "i"), a.wcluster("listen", "iiiii"), a.wasi("fd_renumber", "ii")
			a.data = "tcp://127.0.0.1:0"
			return []string{
				callWith(listen, dataAt, 17, 0, 0, recordAt+4),
				callWith(inbox, recordAt),
				i32(recordAt) + load + i32(recordAt+4) + load + invoke(renumber),
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, got := script(t, nil, tt.steps)
			if slices.ContainsFunc(got, func(e wasip1.Errno) bool { return e != 0 }) {
				t.Errorf("answers %v", got)
			}
			if r.machine.Aware() != tt.want {
				t.Errorf("aware: %v", !tt.want)
			}
		})
	}
}

func TestAwaitsRoom(t *testing.T) {
	for _, interest := range []int32{int32(abi.WatchRead), int32(abi.WatchWrite)} {
		r, got := script(t, nil, func(a *assembly) []string {
			inbox, watch := a.wcluster("inbox", "i"), a.wcluster("watch", "iiI")
			return []string{callWith(inbox, recordAt), i32(0) + i32(interest) + i64(0) + invoke(watch)}
		})
		wantErrnos(t, got, 0, 0)
		if r.machine.AwaitsRoom() != (interest == int32(abi.WatchWrite)) {
			t.Errorf("interest %d: awaits room: %v", interest, r.machine.AwaitsRoom())
		}
	}
}

func TestListen(t *testing.T) {
	r, got := script(t, nil, func(a *assembly) []string {
		listen := a.wcluster("listen", "iiiii")
		a.data = "tcp://127.0.0.1:80"
		return []string{
			callWith(listen, dataAt, 18, 5, 2, recordAt),
			callWith(listen, dataAt, 18, -1, 0, recordAt+4),
			callWith(listen, dataAt, 3, 0, 0, recordAt), // no address
			callWith(listen, dataAt, 0, 0, 0, recordAt),
			callWith(listen, 0, abi.MaxSpec+1, 0, 0, recordAt),
			callWith(listen, dataAt, 18, 0, 1, recordAt), // unknown flags
			callWith(listen, dataAt, 18, 0, -1, recordAt),
			callWith(listen, 65530, 18, 0, 0, recordAt),
			callWith(listen, dataAt, 18, 0, 0, 65536-3),
		}
	})
	wantErrnos(t, got, 0, 0, abi.EINVAL, abi.EINVAL, abi.EINVAL, abi.EINVAL, abi.EINVAL, abi.EFAULT, abi.EFAULT)
	if len(r.listened) != 2 || r.listened[0] != (abi.Address{Network: "tcp", Host: "127.0.0.1", Port: 80}) || r.opened != 2 || r.backlog != 1<<16-1 {
		t.Errorf("asked for %+v with backlog %d, opened %d", r.listened, r.backlog, r.opened)
	}
	if r.u32(recordAt) == r.u32(recordAt+4) {
		t.Error("two listeners have one number")
	}
	for _, errno := range []wasip1.Errno{abi.EADDRINUSE, abi.EACCES, abi.ECANCELED} {
		r, got := script(t, func(r *rig) { r.refuse = errno }, func(a *assembly) []string {
			a.data = "unix:///run/a.sock"
			return []string{callWith(a.wcluster("listen", "iiiii"), dataAt, 18, 0, 0, recordAt)}
		})
		wantErrnos(t, got, errno)
		if r.opened != 0 {
			t.Error("opened although it was refused")
		}
	}
}

// The master must not be asked for a socket that could not be handed out.
func TestListenWithAFullTableAsksNobody(t *testing.T) {
	r, got := script(t, func(r *rig) {
		for r.sys.Room() == 0 {
			if _, errno := r.sys.OpenVirtual(&Inbox{}); errno != 0 {
				t.Fatal(errno)
			}
		}
	}, func(a *assembly) []string {
		a.data = "tcp://:80"
		return []string{callWith(a.wcluster("listen", "iiiii"), dataAt, 9, 0, 0, recordAt)}
	})
	wantErrnos(t, got, abi.EMFILE)
	if len(r.listened) != 0 {
		t.Error("the master was asked")
	}
}

func TestAddresses(t *testing.T) {
	r, got := script(t, nil, func(a *assembly) []string {
		listen, local, peer := a.wcluster("listen", "iiiii"), a.wcluster("local_address", "iiii"), a.wcluster("peer_address", "iiii")
		a.data = "tcp://:80"
		return []string{
			callWith(listen, dataAt, 9, 0, 0, recordAt),
			callWith(local, 0, bufferAt, 3, recordAt),
			callWith(local, 0, bufferAt, 100, recordAt),
			callWith(peer, 0, bufferAt, 100, recordAt+4),
			callWith(local, 99, bufferAt, 100, recordAt+4),
			callWith(local, 0, 65530, 100, recordAt+4),
			callWith(local, 0, bufferAt, 100, 65536-3),
		}
	})
	wantErrnos(t, got, 0, abi.ERANGE, 0, abi.ENOTCONN, abi.EBADF, abi.EFAULT, abi.EFAULT)
	text := string(r.mem(bufferAt, r.u32(recordAt)))
	if _, err := abi.ParseAddress(text); err != nil {
		t.Error(err)
	}
}

func TestWaitAndWatch(t *testing.T) {
	r, got := script(t, func(r *rig) { r.message("x") }, func(a *assembly) []string {
		inbox, watch, wait := a.wcluster("inbox", "i"), a.wcluster("watch", "iiI"), a.wcluster("wait", "iiIi")
		waitFor := func(events, most int32, timeout int64, n int32) string {
			return i32(events) + i32(most) + i64(timeout) + i32(n) + invoke(wait)
		}
		return []string{
			waitFor(bufferAt, 0, 0, recordAt),
			waitFor(bufferAt, 1, -2, recordAt),
			waitFor(bufferAt, 1, -1<<63, recordAt),
			waitFor(65536-15, 1, 0, recordAt),
			waitFor(65536-16, 2, 0, recordAt),
			waitFor(bufferAt, 1, 0, 65536-3),
			waitFor(bufferAt, 1, 0, recordAt),
			waitFor(bufferAt, 1, 1000, recordAt),
			callWith(inbox, recordAt),
			i32(0) + i32(8) + i64(0) + invoke(watch),
			i32(5) + i32(1) + i64(0) + invoke(watch),
			i32(0) + i32(1) + i64(-2) + invoke(watch),
			waitFor(bufferAt, 1, -1, recordAt),
			waitFor(bufferAt, -1, 1<<63-1, recordAt), // so many do not fit memory: the most there can be do
		}
	})
	wantErrnos(t, got, abi.EINVAL, abi.EINVAL, abi.EINVAL, abi.EFAULT, abi.EFAULT, abi.EFAULT, 0, 0, 0, abi.EINVAL, abi.EBADF, 0, 0, 0)
	want := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0}
	if r.u32(recordAt) != 1 || !bytes.Equal(r.mem(bufferAt, abi.EventSize), want) {
		t.Errorf("%d events: %x, want %x", r.u32(recordAt), r.mem(bufferAt, abi.EventSize), want)
	}
}

func TestDisconnect(t *testing.T) {
	r, got := script(t, nil, func(a *assembly) []string {
		disconnect := a.wcluster("disconnect", "i")
		return []string{callWith(disconnect, 0), callWith(disconnect, 1), callWith(disconnect, -1)}
	})
	wantErrnos(t, got, 0, abi.EPERM, abi.EPERM)
	if r.left != 1 {
		t.Errorf("left %d times", r.left)
	}
}

func TestDestroy(t *testing.T) {
	r, got := script(t, nil, func(a *assembly) []string {
		destroy := a.wcluster("destroy", "i")
		return []string{callWith(destroy, 1), callWith(destroy, -1), callWith(destroy, 0)}
	})
	wantErrnos(t, got, abi.EPERM, abi.EPERM, 0)
	if r.destroyed != 1 {
		t.Errorf("destroyed %d times", r.destroyed)
	}
}

func TestInboxIsBounded(t *testing.T) {
	var board Board
	b := &Inbox{board: &board, writable: func() bool { return false }}
	if b.Ready() != 0 {
		t.Error("ready without a record or room")
	}
	body := make([]byte, 1<<20)
	n := 0
	for b.Put(abi.RecordMessage, 0, uint32(abi.HeaderSize+len(body)), body) {
		n++
	}
	if held := n * (inboxHead + len(body)); held > maxInbox || held+inboxHead+len(body) <= maxInbox {
		t.Errorf("%d bytes held, at most %d", held, maxInbox)
	}
	if b.Ready() != wasip1.ReadyRead {
		t.Error("not readable")
	}
	for range n {
		b.Take()
	}
	if !b.Empty() || b.buf != nil || board.MessagesIn != uint64(n) {
		t.Errorf("empty: %v; %d bytes kept; %d counted", b.Empty(), cap(b.buf), board.MessagesIn)
	}
	if b.Put(abi.RecordMessage, 0, 0, make([]byte, maxInbox-inboxHead+1)) || !b.Put(abi.RecordMessage, 0, 0, make([]byte, maxInbox-inboxHead)) {
		t.Error("the bound is off by one")
	}
}

func TestInboxKeepsOrder(t *testing.T) {
	var board Board
	b := &Inbox{board: &board, writable: func() bool { return true }}
	put, took := 0, 0
	for round := range 2000 {
		for range round % 7 {
			b.Put(abi.RecordMessage, uint32(put), 0, fmt.Appendf(nil, "message %d", put))
			put++
		}
		for range round % 5 {
			if b.Empty() {
				break
			}
			if _, from, body := b.Peek(); from != uint32(took) || string(body) != fmt.Sprintf("message %d", took) {
				t.Fatalf("record %d is %q from %d", took, body, from)
			}
			b.Take()
			took++
		}
	}
	for ; !b.Empty(); took++ {
		b.Take()
	}
	if took != put {
		t.Errorf("%d taken of %d", took, put)
	}
}

// A deep inbox must not be moved for each message that comes and goes.
func TestADeepInboxIsMovedSeldom(t *testing.T) {
	var board Board
	b := &Inbox{board: &board, writable: func() bool { return true }}
	body := make([]byte, 100)
	for len(b.buf) < 4<<20 {
		b.Put(abi.RecordMessage, 0, uint32(abi.HeaderSize+len(body)), body)
	}
	moved := 0
	for range 200_000 {
		before := b.head
		b.Take()
		b.Put(abi.RecordMessage, 0, uint32(abi.HeaderSize+len(body)), body)
		if b.head < before {
			moved++
		}
	}
	if moved > 10 {
		t.Errorf("moved %d times", moved)
	}
	if cap(b.buf) > 4*(4<<20) {
		t.Errorf("%d bytes for 4 MiB", cap(b.buf))
	}
}
