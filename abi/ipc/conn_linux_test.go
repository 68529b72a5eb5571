package ipc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

const queue = 1 << 20

// newConns is a channel with a Conn at each end.
func newConns(t *testing.T) (master, worker *ipc.Conn) {
	t.Helper()
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	return newConn(t, m, abi.Worker), newConn(t, w, abi.Master)
}

func newConn(t *testing.T, fd *ipc.FD, peer abi.Side) *ipc.Conn {
	t.Helper()
	c, err := ipc.NewConn(fd, peer, abi.DefaultMaxMessage, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		c.Release()
	})
	return c
}

// newFile is a descriptor to give away.
func newFile(t *testing.T) *ipc.FD {
	t.Helper()
	n, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return ipc.NewFD(n)
}

func TestConnSendersAtOnce(t *testing.T) {
	const senders, each = 8, 2000
	master, worker := newConns(t)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				if i%500 == 0 {
					if err := master.Control(abi.KindListenDone, uint32(s+1), nil, newFile(t)); err != nil {
						t.Error(err)
					}
				}
				body := binary.LittleEndian.AppendUint32([]byte{byte(s)}, uint32(i))
				for {
					err := master.Message(body)
					if err == nil {
						break
					}
					if err != ipc.ErrFull {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	var next [senders]uint32
	fds := 0
	for n := 0; n < senders*each; {
		f, err := worker.Receive()
		if err != nil {
			t.Fatal(err)
		}
		fds += len(f.FDs)
		f.Close()
		if f.Kind != abi.KindMessage {
			continue
		}
		n++
		s, i := f.Body[0], binary.LittleEndian.Uint32(f.Body[1:])
		if i != next[s] {
			t.Fatalf("message %d of sender %d, want %d", i, s, next[s])
		}
		next[s]++
	}
	wg.Wait()
	if want := senders * each / 500; fds != want {
		t.Errorf("%d descriptors came, want %d", fds, want)
	}
}

// Both ends send large messages at once: neither may wait for the other to read first.
func TestConnLargeMessagesBothWays(t *testing.T) {
	master, worker := newConns(t)
	const n = 20
	var wg sync.WaitGroup
	for i, c := range []*ipc.Conn{master, worker} {
		body := func(i, k int) []byte { return bytes.Repeat([]byte{byte(i*n + k)}, abi.DefaultMaxMessage) }
		wg.Go(func() {
			for k := range n {
				for {
					err := c.Message(body(i, k))
					if err == nil {
						break
					}
					if err != ipc.ErrFull {
						t.Error(err)
						return
					}
				}
			}
		})
		wg.Go(func() {
			for k := range n {
				f, err := c.Receive()
				if err != nil || !bytes.Equal(f.Body, body(1-i, k)) {
					t.Errorf("message %d of %d bytes is wrong, or %v", k, len(f.Body), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := master.Message(make([]byte, abi.DefaultMaxMessage+1)); err != ipc.ErrTooLarge {
		t.Errorf("a larger one: %v", err)
	}
}

func TestConnCloseWakesReceive(t *testing.T) {
	master, _ := newConns(t)
	received := make(chan error)
	go func() {
		_, err := master.Receive()
		received <- err
	}()
	master.Close()
	if err := <-received; err != os.ErrClosed {
		t.Errorf("Receive answers %v", err)
	}
}

func TestConnAfterClose(t *testing.T) {
	master, _ := newConns(t)
	master.Close()
	master.Close()
	file := newFile(t)
	for name, err := range map[string]error{
		"Message":    master.Message([]byte("x")),
		"Control":    master.Control(abi.KindListenDone, 1, nil, file),
		"CloseWrite": master.CloseWrite(),
		"Receive":    second(master.Receive()),
		"TryReceive": second(master.TryReceive()),
	} {
		if err != os.ErrClosed {
			t.Errorf("%s answers %v", name, err)
		}
	}
	if file.Int() >= 0 {
		t.Error("Control left the descriptor open")
	}
	if n := master.Queued(); n != 0 {
		t.Errorf("%d bytes are queued", n)
	}
}

func second[T any](_ T, err error) error { return err }

// Close comes at any moment: while others close, queue, send and receive. For the race detector.
func TestConnCloseWhileInUse(t *testing.T) {
	for range 50 {
		master, worker := newConns(t)
		var wg sync.WaitGroup
		for _, c := range []*ipc.Conn{master, worker} {
			wg.Go(func() {
				for {
					if _, err := c.Receive(); err != nil {
						c.Release()
						return
					}
				}
			})
			wg.Go(func() {
				for {
					if err := c.Message(make([]byte, 1000)); err != nil && err != ipc.ErrFull {
						return
					}
				}
			})
			wg.Go(func() {
				for range 10 {
					_ = c.Queued()
				}
				c.Close()
			})
			wg.Go(c.Close)
		}
		wg.Wait()
	}
}

// A Conn whose peer reads nothing has a queue in both of its Writers. Close drops both, with their descriptors.
func TestConnCloseDropsWhatIsQueued(t *testing.T) {
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	master := newConn(t, m, abi.Worker)
	fill(t, master)
	var files []*ipc.FD
	for i := range 3 {
		files = append(files, newFile(t))
		if err := master.Control(abi.KindListenDone, uint32(i+1), nil, files[i]); err != nil {
			t.Fatal(err)
		}
	}
	master.Close()
	for i, f := range files {
		if f.Int() >= 0 {
			t.Errorf("descriptor %d is open", i)
		}
	}
}

// fill queues messages until the socket and the queue are full.
func fill(t *testing.T, c *ipc.Conn) {
	t.Helper()
	for full := 0; full < 1000; {
		switch err := c.Message(make([]byte, 1000)); err {
		case nil:
			full = 0
		case ipc.ErrFull:
			full++
		default:
			t.Fatal(err)
		}
		if n := c.Queued(); n > queue {
			t.Fatalf("%d bytes are queued, at most %d", n, queue)
		}
	}
}

func TestConnQueueEmptiesWhenThePeerReads(t *testing.T) {
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	master := newConn(t, m, abi.Worker)
	fill(t, master)
	if err := master.Control(abi.KindDisconnect, 0, nil); err != nil {
		t.Errorf("a control frame behind a full queue: %v", err)
	}
	worker := newConn(t, w, abi.Master)
	for {
		f, err := worker.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == abi.KindDisconnect {
			break
		}
	}
	if n := master.Queued(); n != 0 {
		t.Errorf("%d bytes are queued", n)
	}
}

// Who never has more under way than half the queue holds is never refused: what has been sent counts no longer, though
// the same flush goes on with what is left.
func TestConnQueueForgetsWhatHasBeenSent(t *testing.T) {
	master, worker := newConns(t)
	const size, batch = 1000, queue / 4 / 1000
	received := make(chan struct{}, 2) // batches under way
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 100 * batch {
			if i%batch == 0 {
				received <- struct{}{}
			}
			if err := master.Message(make([]byte, size)); err != nil {
				t.Errorf("message %d: %v", i, err)
				master.Close()
				return
			}
		}
	})
	for i := range 100 * batch {
		if _, err := worker.Receive(); err != nil {
			t.Error(err)
			break
		}
		if i%batch == batch-1 {
			<-received
		}
	}
	wg.Wait()
}

// What a worker said before it died is heard, then the end; who sends it a message is told.
func TestConnPeerDies(t *testing.T) {
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	master := newConn(t, m, abi.Worker)
	out := ipc.NewWriter(queue)
	for i := range 3 {
		if err := out.Message(fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Flush(w.Int()); err != nil {
		t.Fatal(err)
	}
	if err := master.Message([]byte("never read")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var got []string
	for {
		f, err := master.Receive()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		got = append(got, string(f.Body))
	}
	if want := []string{"0", "1", "2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for err == nil || err == ipc.ErrFull {
		err = master.Message([]byte("x"))
	}
	if err != os.ErrClosed {
		t.Errorf("Message answers %v", err)
	}
	file := newFile(t)
	if err := master.Control(abi.KindListenDone, 1, nil, file); err != nil || file.Int() >= 0 {
		t.Errorf("Control answers %v, and the descriptor is %d", err, file.Int())
	}
	if second(master.Receive()) != io.EOF {
		t.Error("the end is not the end")
	}
}

// A failure to send that is not the peer's doing ends the channel, and the reading goroutine hears why.
func TestConnSendingFails(t *testing.T) {
	master, worker := newConns(t)
	received := make(chan error)
	go func() { received <- second(master.Receive()) }()
	file := newFile(t)
	file.Close()
	if err := master.Control(abi.KindListenDone, 1, nil, file); err != nil {
		t.Fatal(err)
	}
	if err := <-received; !errors.Is(err, unix.EBADF) {
		t.Errorf("Receive answers %v, want EBADF", err)
	}
	if err := master.Message([]byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("Message answers %v, want EBADF", err)
	}
	file = newFile(t)
	if err := master.Control(abi.KindListenDone, 1, nil, file); !errors.Is(err, unix.EBADF) || file.Int() >= 0 {
		t.Errorf("Control answers %v, want EBADF, and the descriptor is %d", err, file.Int())
	}
	if err := second(worker.Receive()); err != io.EOF {
		t.Errorf("the peer's Receive answers %v", err)
	}
}

func TestConnCloseWrite(t *testing.T) {
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	master := newConn(t, m, abi.Worker)
	fill(t, master)
	queued := master.Queued()
	if queued == 0 {
		t.Fatal("nothing is queued")
	}
	if err := master.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := master.Message([]byte("x")); err != os.ErrClosed {
		t.Errorf("a message after CloseWrite: %v", err)
	}
	worker := newConn(t, w, abi.Master)
	came := 0
	for {
		f, err := worker.Receive()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		came += abi.HeaderSize + len(f.Body)
	}
	if came < queued {
		t.Errorf("%d bytes came, but %d were queued", came, queued)
	}
	if err := worker.Message([]byte("back")); err != nil {
		t.Fatal(err)
	}
	if f, err := master.Receive(); err != nil || string(f.Body) != "back" {
		t.Errorf("the other direction: %q, %v", f.Body, err)
	}
}

func TestConnTryReceive(t *testing.T) {
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	master := newConn(t, m, abi.Worker)
	if _, err := master.TryReceive(); err != unix.EAGAIN {
		t.Errorf("nothing is there: %v", err)
	}
	out := ipc.NewWriter(queue)
	if err := errors.Join(out.Message([]byte("x")), out.Flush(w.Int())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if f, err := master.TryReceive(); err != nil || string(f.Body) != "x" {
		t.Errorf("a message is there: %q, %v", f.Body, err)
	}
	if _, err := master.TryReceive(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}

func TestConnHearsGarbage(t *testing.T) {
	m, w, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	master := newConn(t, m, abi.Worker)
	if _, err := unix.Write(w.Int(), []byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := master.Receive(); !errors.Is(err, abi.ErrFrame) {
		t.Error(err)
	}
}
