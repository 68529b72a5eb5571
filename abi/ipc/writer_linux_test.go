package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

func TestWriterBounds(t *testing.T) {
	const limit = 1000
	full := func(w *Writer) {
		for w.Message(make([]byte, 88)) == nil { // 100 with its header
		}
	}
	for _, tt := range []struct {
		name string
		do   func(w *Writer, file *FD) error
		want error
	}{
		{"messages up to the limit are taken", func(w *Writer, _ *FD) error {
			for range 9 {
				if err := w.Message(make([]byte, 88)); err != nil {
					return err
				}
			}
			return w.Message(make([]byte, 88))
		}, nil},
		{"a message beyond the limit is not", func(w *Writer, _ *FD) error {
			full(w)
			if w.Queued() != limit {
				return fmt.Errorf("%d bytes are queued", w.Queued())
			}
			return w.Message(nil)
		}, ErrFull},
		{"a message that would cross the limit is not", func(w *Writer, _ *FD) error {
			if err := w.Message(make([]byte, 500)); err != nil {
				return err
			}
			return w.Message(make([]byte, 500))
		}, ErrFull},
		{"a message larger than the limit is taken by an empty queue", func(w *Writer, _ *FD) error {
			return w.Message(make([]byte, 5000))
		}, nil},
		{"and fills it", func(w *Writer, _ *FD) error {
			if err := w.Message(make([]byte, 5000)); err != nil {
				return err
			}
			return w.Message(nil)
		}, ErrFull},
		{"a message that the peer would not accept is not taken", func(w *Writer, _ *FD) error {
			return w.Message(make([]byte, 10_001))
		}, ErrTooLarge},
		{"a control frame is taken by a full queue", func(w *Writer, _ *FD) error {
			full(w)
			return w.Control(abi.KindDisconnect, 0, nil)
		}, nil},
		{"control frames of their own limit are taken behind the largest message", func(w *Writer, _ *FD) error {
			if err := w.Message(make([]byte, 10_000)); err != nil {
				return err
			}
			for w.Queued() < maxControlQueue {
				if err := w.Control(abi.KindConfig, 0, configOf(t, abi.MaxControl-abi.HeaderSize)); err != nil {
					return err
				}
			}
			return nil
		}, nil},
		{"control frames that pile up say that the peer is stuck", func(w *Writer, _ *FD) error {
			full(w)
			for range maxControlQueue/abi.HeaderSize + 10_000 {
				if err := w.Control(abi.KindPing, 1, nil); err != nil {
					return err
				}
			}
			return nil
		}, ErrStuck},
		{"descriptors that pile up say that the peer is stuck", func(w *Writer, file *FD) error {
			for i := 0; ; i++ {
				if i > maxQueuedFDs {
					return nil
				}
				dup, err := file.Dup()
				if err != nil {
					return err
				}
				if err := w.Control(abi.KindListenDone, 1, abi.ListenDone{}, dup); err != nil {
					if i != maxQueuedFDs {
						return fmt.Errorf("frame %d: %w", i, err)
					}
					return err
				}
			}
		}, ErrStuck},
		{"a control frame beyond its kind's bound is not taken", func(w *Writer, _ *FD) error {
			return w.Control(abi.KindListening, 0, abi.Listening{Address: abi.Address{Path: strings.Repeat("x", abi.MaxSmallControl)}})
		}, abi.ErrFrame},
		{"a body for a kind without one is not taken", func(w *Writer, _ *FD) error {
			return w.Control(abi.KindNudge, 0, abi.Drained{})
		}, abi.ErrFrame},
		{"a message is no control frame", func(w *Writer, _ *FD) error {
			return w.Control(abi.KindMessage, 0, "text")
		}, abi.ErrFrame},
		{"an answer without a seq is not taken", func(w *Writer, _ *FD) error {
			return w.Control(abi.KindPong, 0, nil)
		}, abi.ErrFrame},
		{"more descriptors than the kind may have are not taken", func(w *Writer, file *FD) error {
			a, _ := file.Dup()
			b, _ := file.Dup()
			return w.Control(abi.KindListenDone, 1, abi.ListenDone{}, a, b)
		}, abi.ErrFrame},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := newFiles(t, 1)[0]
			before := openDescriptors(t)
			w := NewWriter(limit)
			w.SetMaxMessage(10_000)
			if err := tt.do(w, file); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			w.Close()
			if after := openDescriptors(t); after != before {
				t.Errorf("%d descriptors are open, %d were before", after, before)
			}
		})
	}
}

// configOf is a configuration whose JSON has that many bytes.
func configOf(t *testing.T, size int) abi.Config {
	t.Helper()
	empty, err := json.Marshal(abi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return abi.Config{Name: strings.Repeat("x", size-len(empty))}
}

func TestControlReportsWhatIsNoJSON(t *testing.T) {
	file := newFiles(t, 1)[0]
	w := NewWriter(1000)
	err := w.Control(abi.KindListenDone, 1, func() {}, file)
	if err == nil || !strings.Contains(err.Error(), "encode listen-done") || w.Queued() != 0 || file.Int() >= 0 {
		t.Errorf("%v, %d bytes queued, descriptor %d", err, w.Queued(), file.Int())
	}
}

func TestFlushToNobody(t *testing.T) {
	for _, unread := range []bool{false, true} {
		master, worker := newPair(t)
		w := NewWriter(1000)
		if err := w.Message([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if unread { // which the peer leaves behind, so that the kernel has a reset to report
			sendRaw(t, master, []byte("x"))
		}
		worker.Close()
		if err := w.Flush(master.Int()); !errors.Is(err, unix.EPIPE) || !strings.Contains(err.Error(), "sendmsg") {
			t.Errorf("something unread: %v: %v", unread, err)
		}
	}
}

// The smallest buffer that the kernel allows takes a frame in many pieces. Descriptors are in the middle of the queue, and
// more is queued while half of it has gone.
func TestPartialWrites(t *testing.T) {
	master, worker := newPair(t)
	if err := unix.SetsockoptInt(master.Int(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
		t.Fatal(err)
	}
	files := newFiles(t, 40)
	var inodes []uint64
	w, r := NewWriter(1<<30), NewReader(abi.Master, 1<<20)
	type sent struct{ size, fds int }
	var want, got []sent
	queue := func(size, fds int) {
		var err error
		if fds == 0 {
			err = w.Message(bytes.Repeat([]byte{byte(size)}, size))
		} else {
			for _, f := range files[:fds] {
				inodes = append(inodes, inode(t, f))
			}
			name := strings.Repeat("n", size)
			err = w.Control(abi.KindConfig, 0, abi.Config{Name: name}, slices.Clone(files[:fds])...)
			files = files[fds:]
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, sent{size, fds})
	}
	check := func(f Frame) {
		size := len(f.Body)
		if f.Kind == abi.KindConfig {
			var c abi.Config
			if err := Decode(f, &c); err != nil {
				t.Fatal(err)
			}
			size = len(c.Name)
		} else if bytes.Count(f.Body, []byte{byte(size)}) != size {
			t.Fatalf("a message of %d bytes came wrong", size)
		}
		for _, fd := range f.FDs {
			if inode(t, fd) != inodes[0] {
				t.Fatal("a frame has another's descriptor")
			}
			inodes = inodes[1:]
		}
		got = append(got, sent{size, len(f.FDs)})
		f.Close()
	}

	queue(20_000, 0)
	queue(50_000, 3)
	queue(0, 1)
	queue(1, 1)
	queue(100_000, 0)
	blocked := 0
	for round := 0; w.Queued() > 0 || round < 20; round++ {
		if round < 20 { // while the head of the queue is in pieces
			queue(7000+round, round%3)
			queue(10, 0)
		}
		switch err := w.Flush(master.Int()); err {
		case nil:
		case unix.EAGAIN:
			blocked++
		default:
			t.Fatal(err)
		}
		if err := drain(r, worker, check); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("came\n%v\nwant\n%v", got, want)
	}
	if blocked < 20 {
		t.Errorf("the socket was full only %d times", blocked)
	}
	if len(w.rides) != 0 || w.fds != 0 || len(r.waiting) != 0 || len(r.groups) != 0 {
		t.Errorf("left: %d rides with %d descriptors, %d waiting in %d groups", len(w.rides), w.fds, len(r.waiting), len(r.groups))
	}
}

// The queue of a peer that reads as slowly as frames come has a constant length, and so must have its buffer.
func TestBufferOfASlowPeerStaysBounded(t *testing.T) {
	master, worker := newPair(t)
	const queued = 1 << 20
	w, r := NewWriter(queued), NewReader(abi.Master, 1<<20)
	for range 10_000 {
		for w.Message(make([]byte, 1000)) == nil {
		}
		if err := w.Flush(master.Int()); err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		if err := r.Fill(worker.Int()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if cap(w.buf) > 4*queued {
			t.Fatalf("a buffer of %d bytes for a queue of %d", cap(w.buf), queued)
		}
	}
}

func TestWriterCloseClosesWhatIsQueued(t *testing.T) {
	w := NewWriter(1000)
	files := newFiles(t, 2)
	for i, f := range files {
		if err := w.Control(abi.KindListenDone, uint32(i+1), nil, f); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	for _, f := range files {
		if f.Int() >= 0 {
			t.Error("a descriptor is still open")
		}
	}
	if w.Queued() != 0 {
		t.Errorf("%d bytes are queued", w.Queued())
	}
	w.Close()
}

// In the steady state neither end allocates: not for a message, whatever its size.
func TestMessagesDoNotAllocate(t *testing.T) {
	for _, size := range sizes {
		t.Run(sizeName(size), func(t *testing.T) {
			master, worker := newPair(t)
			w, r := NewWriter(4<<20), NewReader(abi.Master, abi.DefaultMaxMessage)
			body := make([]byte, size)
			exchange := func() {
				if err := w.Message(body); err != nil {
					t.Fatal(err)
				}
				for {
					if err := w.Flush(master.Int()); err != nil && err != unix.EAGAIN {
						t.Fatal(err)
					}
					if err := r.Fill(worker.Int()); err != nil {
						t.Fatal(err)
					}
					if _, ok, err := r.Next(); ok || err != nil {
						return
					}
				}
			}
			for range 2 * patience {
				exchange()
			}
			if n := testing.AllocsPerRun(3*patience, exchange); n != 0 {
				t.Errorf("%v allocations a message", n)
			}
		})
	}
}
