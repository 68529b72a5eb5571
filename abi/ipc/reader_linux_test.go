package ipc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// drain fills and cuts until nothing is there, and passes each frame to got, which owns its descriptors.
func drain(r *Reader, socket *FD, got func(Frame)) error {
	for {
		f, ok, err := r.Next()
		if err != nil {
			return err
		}
		if ok {
			got(f)
			continue
		}
		switch err := r.Fill(socket.Int()); err {
		case nil:
		case unix.EAGAIN:
			return nil
		default:
			return err
		}
	}
}

// batch is seven frames, four of them with descriptors: each piece has the bytes of one sendmsg of an honest Writer.
type batch struct {
	bytes  []byte
	starts []int   // of the frames
	fds    [][]*FD // of each frame
}

func newBatch(tb testing.TB) batch {
	var b batch
	files := newFiles(tb, 6)
	for _, f := range []struct {
		kind abi.Kind
		fds  int
		body string
	}{
		{abi.KindMessage, 0, "a"},
		{abi.KindListenDone, 1, "{}"},
		{abi.KindConfig, 3, "cfg"},
		{abi.KindPing, 0, ""},
		{abi.KindListenDone, 1, ""},
		{abi.KindMessage, 0, "message"},
		{abi.KindCompile, 1, "c"},
	} {
		b.starts = append(b.starts, len(b.bytes))
		b.bytes = append(b.bytes, frame(f.kind, f.fds, f.body)...)
		b.fds = append(b.fds, files[:f.fds])
		files = files[f.fds:]
	}
	return b
}

// send sends bytes[from:to] as an honest Writer would, each frame's descriptors beside its first byte.
func (b batch) send(tb testing.TB, socket *FD, from, to int) {
	for from < to {
		end := to
		var fds []*FD
		for i, start := range b.starts {
			switch {
			case len(b.fds[i]) == 0:
			case start == from:
				fds = b.fds[i]
			case start > from:
				end = min(end, start)
			}
		}
		sendRaw(tb, socket, b.bytes[from:end], fds...)
		from = end
	}
}

// checker tells whether what comes is the batch, frame by frame.
func (b batch) checker(tb testing.TB) (check func(Frame), done func() bool) {
	inodes := make([][]uint64, len(b.fds))
	for i, fds := range b.fds {
		for _, f := range fds {
			inodes[i] = append(inodes[i], inode(tb, f))
		}
	}
	var next int
	check = func(f Frame) {
		i := next
		next++
		if i >= len(b.starts) {
			tb.Fatalf("frame %d came: %+v", i, f)
		}
		end := len(b.bytes)
		if i+1 < len(b.starts) {
			end = b.starts[i+1]
		}
		if got := append(f.Header.AppendTo(nil), f.Body...); !bytes.Equal(got, b.bytes[b.starts[i]:end]) {
			tb.Fatalf("frame %d is %q, want %q", i, got, b.bytes[b.starts[i]:end])
		}
		var got []uint64
		for _, fd := range f.FDs {
			got = append(got, inode(tb, fd))
		}
		f.Close()
		if !slices.Equal(got, inodes[i]) {
			tb.Fatalf("frame %d has the files %v, want %v", i, got, inodes[i])
		}
	}
	return check, func() bool {
		all := next == len(b.starts)
		next = 0
		return all
	}
}

func TestFramesInOneBatch(t *testing.T) {
	master, worker := newPair(t)
	b := newBatch(t)
	check, done := b.checker(t)
	r := NewReader(abi.Master, 100)
	b.send(t, master, 0, len(b.bytes))
	if err := drain(r, worker, check); err != nil || !done() {
		t.Fatal("the batch did not come:", err)
	}
}

func TestReceivedDescriptorsAreNotInherited(t *testing.T) {
	master, worker := newPair(t)
	sendRaw(t, master, frame(abi.KindListenDone, 1, ""), newFiles(t, 1)[0])
	err := drain(NewReader(abi.Master, 100), worker, func(f Frame) {
		flags, err := unix.FcntlInt(uintptr(f.FDs[0].Int()), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
		f.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

// The batch is cut at every two places, and read after each piece or in one go at the end.
func TestFramesSplitEverywhere(t *testing.T) {
	master, worker := newPair(t)
	b := newBatch(t)
	check, done := b.checker(t)
	r := NewReader(abi.Master, 100)
	splits := 0
	for first := 1; first < len(b.bytes); first++ {
		for second := first; second < len(b.bytes); second++ {
			for _, pieces := range []bool{true, false} {
				from := 0
				for _, to := range []int{first, second, len(b.bytes)} {
					b.send(t, master, from, to)
					from = to
					if pieces || to == len(b.bytes) {
						if err := drain(r, worker, check); err != nil {
							t.Fatalf("cut at %d and %d, read in pieces %v: %v", first, second, pieces, err)
						}
					}
				}
				if !done() {
					t.Fatalf("cut at %d and %d, read in pieces %v: not all of it came", first, second, pieces)
				}
				splits++
			}
		}
	}
	t.Logf("%d splits of %d bytes", splits, len(b.bytes))
}

func TestFramesByteByByte(t *testing.T) {
	master, worker := newPair(t)
	b := newBatch(t)
	check, done := b.checker(t)
	r := NewReader(abi.Master, 100)
	for i := range b.bytes {
		b.send(t, master, i, i+1)
		if err := drain(r, worker, check); err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	if !done() {
		t.Fatal("not all of it came")
	}
}

// hostile is what a peer may send to do harm. Each piece is one sendmsg, and is read before the next is sent.
var hostile = []struct {
	name   string
	peer   abi.Side
	pieces []piece
	end    bool   // the peer then closes
	frames int    // that come before the error
	want   string // in the error
}{
	{
		"a worker sends a descriptor", abi.Worker,
		[]piece{{frame(abi.KindMessage, 0, "x"), 1}},
		false, 0, "descriptors that no frame of the worker has",
	}, {
		"a worker sends as many descriptors as fit", abi.Worker,
		[]piece{{[]byte("x"), abi.MaxFDs}},
		false, 0, "descriptors that no frame of the worker has",
	}, {
		"a worker announces a descriptor", abi.Worker,
		[]piece{{frame(abi.KindMessage, 1, "x"), 0}},
		false, 0, "message with 1 descriptors, at most 0",
	}, {
		"a descriptor comes beside a frame without any", abi.Master,
		[]piece{{frame(abi.KindMessage, 0, "x"), 1}},
		false, 1, "1 descriptors that belong to no frame",
	}, {
		"a descriptor comes beside a part of a frame without any", abi.Master,
		[]piece{{frame(abi.KindMessage, 0, "xy")[:13], 1}, {[]byte("y"), 0}},
		false, 1, "1 descriptors that belong to no frame",
	}, {
		"two frames share one sendmsg's descriptors", abi.Master,
		[]piece{{append(frame(abi.KindListenDone, 1, ""), frame(abi.KindListenDone, 1, "")...), 2}},
		false, 0, "listen-done: 1 descriptors announced, 2 came",
	}, {
		"fewer descriptors come than announced", abi.Master,
		[]piece{{frame(abi.KindConfig, 3, "x"), 2}},
		false, 0, "config: 3 descriptors announced, 2 came",
	}, {
		"no descriptor comes", abi.Master,
		[]piece{{frame(abi.KindListenDone, 1, "x"), 0}},
		false, 0, "listen-done: 1 descriptors announced, none came",
	}, {
		"descriptors come too late", abi.Master,
		[]piece{{frame(abi.KindListenDone, 1, "x"), 0}, {frame(abi.KindMessage, 0, "x"), 1}},
		false, 0, "listen-done: 1 descriptors announced, none came",
	}, {
		"descriptors pile up beside a header that is never complete", abi.Master,
		[]piece{{[]byte("\x01"), 100}, {[]byte("\x00"), 100}},
		false, 0, "descriptors that no frame of the master has",
	}, {
		"an unknown kind", abi.Worker,
		[]piece{{frame(200, 0, ""), 0}},
		false, 0, "unknown kind 200",
	}, {
		"a kind of the other side", abi.Worker,
		[]piece{{frame(abi.KindConfig, 0, ""), 0}},
		false, 0, "config is never sent by the worker",
	}, {
		"a flag", abi.Worker,
		[]piece{{abi.Header{Kind: abi.KindOnline, Flags: 1}.AppendTo(nil), 0}},
		false, 0, "online with flags 0x1",
	}, {
		"a message beyond the limit", abi.Worker,
		[]piece{{abi.Header{Kind: abi.KindMessage, Length: 101}.AppendTo(nil), 0}},
		false, 0, "message of 101 bytes, at most 100",
	}, {
		"a length of 4 GiB", abi.Worker,
		[]piece{{abi.Header{Kind: abi.KindMessage, Length: 1<<32 - 1}.AppendTo(nil), 0}},
		false, 0, "message of 4294967295 bytes",
	}, {
		"another protocol", abi.Worker,
		[]piece{{[]byte("GET / HTTP/1.1\r\n\r\n"), 0}},
		false, 0, "unknown kind 47",
	}, {
		"garbage behind good frames", abi.Worker,
		[]piece{{append(bytes.Repeat(frame(abi.KindMessage, 0, "x"), 3), bytes.Repeat([]byte{0xff}, 12)...), 0}},
		false, 3, "unknown kind 255",
	}, {
		"the end inside a header", abi.Worker,
		[]piece{{frame(abi.KindMessage, 0, "x")[:11], 0}},
		true, 0, "truncated frame: unexpected EOF after 11 bytes of it",
	}, {
		"the end inside a body", abi.Worker,
		[]piece{{append(frame(abi.KindMessage, 0, "x"), frame(abi.KindMessage, 0, "xyz")[:14]...), 0}},
		true, 1, "truncated frame: unexpected EOF after 14 bytes of it",
	}, {
		"the end inside a frame whose descriptors have come", abi.Master,
		[]piece{{frame(abi.KindConfig, 2, "xyz")[:14], 2}},
		true, 0, "truncated frame: unexpected EOF",
	},
}

type piece struct {
	b   []byte
	fds int
}

func TestReaderEndsAHostilePeer(t *testing.T) {
	file := newFiles(t, 1)[0]
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			before := openDescriptors(t)
			there, here, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			r := NewReader(tt.peer, 100)
			frames := 0
			count := func(f Frame) { frames++; f.Close() }
			for i, p := range tt.pieces {
				sendRaw(t, there, p.b, slices.Repeat([]*FD{file}, p.fds)...)
				if i < len(tt.pieces)-1 || tt.end {
					if err = drain(r, here, count); err != nil {
						break
					}
				}
			}
			if tt.end {
				there.Close()
			}
			if err == nil {
				err = drain(r, here, count)
			}
			if !errors.Is(err, abi.ErrFrame) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want an ErrFrame with %q", err, tt.want)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) != tt.end {
				t.Errorf("%v is an unexpected end: %v", err, !tt.end)
			}
			if frames != tt.frames {
				t.Errorf("%d frames came, want %d", frames, tt.frames)
			}
			if again := drain(r, here, count); again == nil || !errors.Is(again, abi.ErrFrame) {
				t.Errorf("asked again: %v, want an error that stays", again)
			}
			r.Close()
			here.Close()
			there.Close()
			if after := openDescriptors(t); after != before {
				t.Errorf("%d descriptors are open, %d were before", after, before)
			}
		})
	}
}

func TestReaderAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		unread bool // the peer dies with something unread, so that the kernel reports a reset
	}{
		{"the peer closes", false},
		{"the peer dies and has not read everything", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			master, worker := newPair(t)
			if tt.unread {
				sendRaw(t, worker, []byte("never read"))
			}
			sendRaw(t, master, frame(abi.KindMessage, 0, "last words"))
			master.Close()
			r := NewReader(abi.Master, 100)
			var got []string
			err := drain(r, worker, func(f Frame) { got = append(got, string(f.Body)) })
			if err != io.EOF || !slices.Equal(got, []string{"last words"}) {
				t.Errorf("%q, %v", got, err)
			}
			if err := r.Fill(worker.Int()); err != io.EOF {
				t.Errorf("asked again: %v", err)
			}
		})
	}
}

func TestFillReportsWhatIsNoSocket(t *testing.T) {
	r := NewReader(abi.Master, 100)
	if err := r.Fill(newFiles(t, 1)[0].Int()); !errors.Is(err, unix.ENOTSOCK) || !strings.Contains(err.Error(), "recvmsg") {
		t.Error(err)
	}
}

func TestBodiesStayValidUntilFill(t *testing.T) {
	master, worker := newPair(t)
	r := NewReader(abi.Master, 1<<20)
	for i := range 10 {
		sendRaw(t, master, frame(abi.KindMessage, 0, strings.Repeat(fmt.Sprint(i), 1000)))
	}
	if err := r.Fill(worker.Int()); err != nil {
		t.Fatal(err)
	}
	var bodies [][]byte
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if cap(f.Body) != len(f.Body) {
			t.Error("an append to the body would reach into the next frame")
		}
		bodies = append(bodies, f.Body)
	}
	for i, b := range bodies {
		if string(b) != strings.Repeat(fmt.Sprint(i), 1000) {
			t.Errorf("body %d has changed", i)
		}
	}
	if len(bodies) != 10 {
		t.Errorf("%d bodies", len(bodies))
	}
}

// A Fill that finds a whole frame reads nothing, so a caller that fills again and again cannot make the buffer overflow.
func TestFillWaitsForNext(t *testing.T) {
	master, worker := newPair(t)
	r := NewReader(abi.Master, 1<<20)
	msg := frame(abi.KindMessage, 0, strings.Repeat("x", 500))
	for range 100 {
		sendRaw(t, master, msg)
		for range 3 {
			if err := r.Fill(worker.Int()); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := 0
	if err := drain(r, worker, func(Frame) { n++ }); err != nil || n != 100 {
		t.Errorf("%d messages, %v", n, err)
	}
}

func TestBufferGrowsForAFrameAndShrinksLater(t *testing.T) {
	master, worker := newPair(t)
	const large = 500 << 10
	r, w := NewReader(abi.Master, large), NewWriter(1<<20)
	exchange := func(size int) {
		t.Helper()
		if err := w.Message(bytes.Repeat([]byte{byte(size)}, size)); err != nil {
			t.Fatal(err)
		}
		for got := false; !got; {
			if err := w.Flush(master.Int()); err != nil && err != unix.EAGAIN {
				t.Fatal(err)
			}
			err := drain(r, worker, func(f Frame) {
				got = true
				if len(f.Body) != size || bytes.Count(f.Body, []byte{byte(size)}) != size {
					t.Fatalf("a body of %d bytes came wrong", size)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	exchange(large)
	if grown := len(r.buf); grown < large || grown > large+abi.HeaderSize+readSize {
		t.Errorf("the reader's buffer has %d bytes after a frame of %d", grown, large)
	}
	if cap(w.buf) < large {
		t.Errorf("the writer gave %d bytes back at once", large)
	}
	for range 2 * patience {
		exchange(10)
	}
	if len(r.buf) != readSize || cap(w.buf) > keepBuffer {
		t.Errorf("the buffers still have %d and %d bytes", len(r.buf), cap(w.buf))
	}
	exchange(large)
}

// A header that lies about a huge body costs what its kind allows and no more, however often.
func TestBufferIsBoundedByTheLongestFrame(t *testing.T) {
	master, worker := newPair(t)
	r := NewReader(abi.Worker, 100)
	sendRaw(t, master, abi.Header{Kind: abi.KindFault, Length: abi.MaxControl}.AppendTo(nil))
	for range 1000 {
		sendRaw(t, master, []byte("x"))
		if err := drain(r, worker, func(Frame) {}); err != nil {
			t.Fatal(err)
		}
	}
	if most := abi.HeaderSize + abi.MaxControl + readSize; len(r.buf) > most {
		t.Errorf("%d bytes, at most %d", len(r.buf), most)
	}
}
