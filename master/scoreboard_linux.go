package master

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// Figures are what a worker says of itself on its scoreboard, read without asking it. They are its own word: a hostile
// worker may write anything.
type Figures struct {
	Calls       uint64    // host calls that the guest has made
	Activity    abi.State // what its thread is doing
	Connections uint64    // open now
	Accepted    uint64    // connections ever accepted
	BytesIn     uint64    // read from connections
	BytesOut    uint64    // written to connections
	MessagesIn  uint64    // messages that the guest has taken
	MessagesOut uint64    // messages that the guest has sent
	Memory      uint64    // bytes of guest memory

	// Paused is the master's own word: the worker's channel is not read at the moment, because handlers have not yet
	// taken what it sent before. A paused worker cannot be heard answering a Ping.
	Paused bool
}

// Figures is a snapshot of the worker's scoreboard; after its end, of the last state.
func (w *Worker) Figures() Figures {
	f := w.board.figures()
	f.Paused = w.backlog.isPaused()
	return f
}

// board is the master's read-only mapping of a worker's scoreboard.
type board struct {
	mu   sync.Mutex // guards page: nil after close
	page []byte
	last Figures // after close
}

// newBoard makes a scoreboard: the mapping, and the descriptor for the worker, which can write to the page but not
// resize it. A page that is truncated under its reader would end the reader by SIGBUS.
func newBoard() (*board, *ipc.FD, error) {
	fd, err := newMemfd("scoreboard")
	if err != nil {
		return nil, nil, err
	}
	page, err := mapBoard(fd)
	if err != nil {
		fd.Close()
		return nil, nil, fmt.Errorf("make scoreboard: %w", err)
	}
	return &board{page: page}, fd, nil
}

func mapBoard(fd *ipc.FD) ([]byte, error) {
	if err := unix.Ftruncate(fd.Int(), abi.ScoreboardSize); err != nil {
		return nil, os.NewSyscallError("ftruncate", err)
	}
	if err := seal(fd, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, err
	}
	page, err := unix.Mmap(fd.Int(), 0, abi.ScoreboardSize, unix.PROT_READ, unix.MAP_SHARED)
	return page, os.NewSyscallError("mmap", err)
}

// loadLocked reads a field. Native byte order: both Linux ports of this program are little-endian.
func (b *board) loadLocked(offset int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b.page[offset])))
}

func (b *board) figures() Figures {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.page == nil {
		return b.last
	}
	return Figures{
		Calls:       b.loadLocked(abi.BoardCalls),
		Activity:    abi.State(b.loadLocked(abi.BoardState)),
		Connections: b.loadLocked(abi.BoardConnections),
		Accepted:    b.loadLocked(abi.BoardAccepted),
		BytesIn:     b.loadLocked(abi.BoardBytesIn),
		BytesOut:    b.loadLocked(abi.BoardBytesOut),
		MessagesIn:  b.loadLocked(abi.BoardMessagesIn),
		MessagesOut: b.loadLocked(abi.BoardMessagesOut),
		Memory:      b.loadLocked(abi.BoardMemory),
	}
}

// pulse is the little of figures that is read often.
func (b *board) pulse() (calls uint64, state abi.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.page == nil {
		return b.last.Calls, b.last.Activity
	}
	return b.loadLocked(abi.BoardCalls), abi.State(b.loadLocked(abi.BoardState))
}

// consumed is how many bytes of messages the guest has taken.
func (b *board) consumed() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.page == nil {
		return 0
	}
	return b.loadLocked(abi.BoardConsumed)
}

// close keeps the last figures and gives the page back.
func (b *board) close() {
	last := b.figures()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.page == nil {
		return
	}
	b.last = last
	_ = unix.Munmap(b.page) // our own mapping: nothing to do about an error
	b.page = nil
}
