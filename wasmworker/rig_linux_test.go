package wasmworker

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// rig is a machine with services that a test can look at.
type rig struct {
	tb      testing.TB
	machine *Machine
	board   Board
	sys     *wasip1.System

	sent      [][]byte
	flushed   int // messages that had been sent at the last flush
	flushes   int
	left      int
	destroyed int
	requests  []abi.Request
	result    abi.Result
	sendErr   wasip1.Errno
	full      bool // the outbox is

	listened []abi.Address
	flags    uint32
	backlog  int
	refuse   wasip1.Errno
	opened   int
}

// newRig makes a machine for a module, which is loaded but does not run yet.
func newRig(tb testing.TB, module []byte) *rig {
	tb.Helper()
	r := rigOf(tb, Config{ID: 7, CPUs: 3, Module: module})
	if err := r.machine.Load(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return r
}

func rigOf(tb testing.TB, c Config) *rig {
	tb.Helper()
	r := &rig{tb: tb}
	sys, err := wasip1.New(wasip1.Config{Args: []string{"app"}, MaxFDs: 100, Figures: &r.board.Figures})
	if err != nil {
		tb.Fatal(err)
	}
	r.sys = sys
	tb.Cleanup(sys.Close)
	c.Board = &r.board
	r.machine = New(c, sys, Services{
		Listen: r.listen,
		Send: func(body []byte) wasip1.Errno {
			if r.sendErr == 0 {
				r.sent = append(r.sent, slices.Clone(body))
			}
			return r.sendErr
		},
		Writable: func() bool { return !r.full },
		Flush:    func() { r.flushes, r.flushed = r.flushes+1, len(r.sent) },
		Leave:    func() wasip1.Errno { r.left++; return 0 },
		Destroy:  func() { r.destroyed++ },
		Request:  r.request,
		Post:     r.post,
	})
	tb.Cleanup(r.machine.Close)
	return r
}

func (r *rig) listen(addr abi.Address, backlog int, flags uint32) (int, func(), wasip1.Errno) {
	r.listened, r.backlog, r.flags = append(r.listened, addr), backlog, flags
	if r.refuse != 0 {
		return -1, nil, r.refuse
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.tb.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		r.tb.Fatal(err)
	}
	return fd, func() { r.opened++ }, 0
}

func (r *rig) run() Result { return r.machine.Run(context.Background()) }

// runOK runs a guest that is to end well.
func (r *rig) runOK() {
	r.tb.Helper()
	if result := r.run(); result.Code != 0 || result.Fault != nil {
		r.tb.Fatalf("ended with %d, %+v", result.Code, result.Fault)
	}
}

// mem is the guest's memory; it stays readable after the guest's end.
func (r *rig) mem(ptr, n uint32) []byte {
	r.tb.Helper()
	b, ok := r.machine.callback.module.Memory().Read(ptr, n)
	if !ok {
		r.tb.Fatalf("memory at %d is out of range", ptr)
	}
	return b
}

func (r *rig) u32(ptr uint32) uint32 { return binary.LittleEndian.Uint32(r.mem(ptr, 4)) }

// errnos are n results that the guest has stored from ptr on.
func (r *rig) errnos(ptr, n uint32) []wasip1.Errno {
	list := make([]wasip1.Errno, n)
	for i := range list {
		list[i] = wasip1.Errno(r.u32(ptr + 4*uint32(i)))
	}
	return list
}

// message puts a message into the inbox.
func (r *rig) message(body string) {
	if !r.machine.Inbox.Put(abi.RecordMessage, 0, uint32(abi.HeaderSize+len(body)), []byte(body)) {
		r.tb.Fatal("the inbox is full")
	}
}

func (r *rig) request(q *abi.Request) *abi.Result {
	r.requests = append(r.requests, *q)
	return &r.result
}

func (r *rig) post(worker uint32, body []byte) wasip1.Errno {
	r.sent = append(r.sent, abi.AppendPost(nil, worker, body))
	return r.sendErr
}
