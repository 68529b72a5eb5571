package ipc

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// connPair is the two ends of a channel, both driven by goroutines.
func connPair(tb testing.TB, maxMessage uint32, queue int) (master, worker *Conn) {
	tb.Helper()
	m, w, err := Pair()
	if err != nil {
		tb.Fatal(err)
	}
	if master, err = NewConn(m, abi.Worker, maxMessage, queue); err != nil {
		tb.Fatal(err)
	}
	if worker, err = NewConn(w, abi.Master, maxMessage, queue); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		master.Close()
		worker.Close()
		master.Release()
		worker.Release()
	})
	return master, worker
}

var sizes = []int{16, 100, 1 << 10, 64 << 10, 1 << 20}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dKiB", n>>10)
	default:
		return fmt.Sprintf("%dB", n)
	}
}

// BenchmarkConnOneWay sends as fast as the other end receives; one operation is one message received. The sender stays
// at most three batches ahead, and so waits for the receiver instead of asking a full queue again and again.
func BenchmarkConnOneWay(b *testing.B) {
	for _, size := range sizes {
		b.Run(sizeName(size), func(b *testing.B) {
			from, to := connPair(b, abi.DefaultMaxMessage, 4<<20)
			batch := max(1, (1<<20)/(size+abi.HeaderSize))
			received := make(chan struct{}, 3)
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for i := range b.N {
					if i%batch == 0 {
						received <- struct{}{}
					}
					if err := from.Message(body); err != nil {
						b.Error(err)
						from.Close() // so that nobody waits for more
						return
					}
				}
			}()
			for i := range b.N {
				if _, err := to.Receive(); err != nil {
					b.Fatal(err)
				}
				if i%batch == batch-1 {
					<-received
				}
			}
		})
	}
}

// BenchmarkConnRoundTrip sends a message there and back, one at a time.
func BenchmarkConnRoundTrip(b *testing.B) {
	for _, size := range sizes {
		b.Run(sizeName(size), func(b *testing.B) {
			near, far := connPair(b, abi.DefaultMaxMessage, 4<<20)
			go func() {
				for {
					f, err := far.Receive()
					if err != nil || far.Message(f.Body) != nil {
						return
					}
				}
			}()
			body := make([]byte, size)
			b.SetBytes(2 * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := near.Message(body); err != nil {
					b.Fatal(err)
				}
				if _, err := near.Receive(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWire queues a batch, flushes it and reads it, in one thread: the cost of a frame without any waiting.
func BenchmarkWire(b *testing.B) {
	for _, size := range sizes {
		b.Run(sizeName(size), func(b *testing.B) {
			m, w, err := Pair()
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			defer w.Close()
			out, in := NewWriter(8<<20), NewReader(abi.Master, abi.DefaultMaxMessage)
			body := make([]byte, size)
			batch := max(1, 64<<10/(size+abi.HeaderSize))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch {
				for range batch {
					if err := out.Message(body); err != nil {
						b.Fatal(err)
					}
				}
				for got := 0; got < batch; {
					if err := out.Flush(m.Int()); err != nil && err != unix.EAGAIN {
						b.Fatal(err)
					}
					if err := in.Fill(w.Int()); err != nil {
						b.Fatal(err)
					}
					for {
						_, ok, err := in.Next()
						if err != nil {
							b.Fatal(err)
						}
						if !ok {
							break
						}
						got++
					}
				}
			}
		})
	}
}

// BenchmarkWireFD passes a descriptor with each frame.
func BenchmarkWireFD(b *testing.B) {
	defer func(kept *birthLog) { births = kept }(births)
	births = nil // a stack for every FD is the tests' affair
	m, w, err := Pair()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	defer w.Close()
	out, in := NewWriter(8<<20), NewReader(abi.Master, abi.DefaultMaxMessage)
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	b.ReportAllocs()
	for b.Loop() {
		n, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			b.Fatal(err)
		}
		if err := out.Control(abi.KindListenDone, 1, nil, NewFD(n)); err != nil {
			b.Fatal(err)
		}
		if err := out.Flush(m.Int()); err != nil {
			b.Fatal(err)
		}
		if err := in.Fill(w.Int()); err != nil {
			b.Fatal(err)
		}
		f, ok, err := in.Next()
		if !ok || err != nil || len(f.FDs) != 1 {
			b.Fatal(f, ok, err)
		}
		f.Close()
	}
}
