package wasip1

import "github.com/wcluster/wcluster/abi"

// Errno is what every function of preview 1 answers; 0 is success.
type Errno = abi.Errno

// Kind says what stands behind a guest's descriptor.
type Kind uint8

const (
	// KindListener is a listening stream socket, shared with other processes: never shut down, its options never set.
	KindListener Kind = 1 + iota
	// KindStream is a connected stream socket.
	KindStream
	// KindPipe is a pipe or a terminal: epoll knows it, reads and writes may be short.
	KindPipe
	// KindFile is what epoll refuses: a regular file, /dev/null. It is always ready.
	KindFile
	// KindVirtual has no descriptor: its Virtual says when it is ready.
	KindVirtual
)

// Virtual is a descriptor of the surrounding process, such as the inbox: the guest can wait for it and close it, and
// reads and writes it through calls of its own.
type Virtual interface {
	// Ready answers ReadyRead and ReadyWrite as they are now. It is asked before each wait.
	Ready() uint32
}

// Entry is one open descriptor of the guest. Closed entries are pooled and used again.
type Entry struct {
	kind    Kind
	fd      int    // -1 for a virtual one
	number  uint32 // what the guest calls it
	virtual Virtual

	filetype   uint8
	flags      uint16 // fdflags
	rights     uint64
	inheriting uint64
	seekable   bool
	preopened  bool // was there when the guest started
	neverClose bool // a standard stream of the process: the guest loses it, the process keeps it
	patient    bool // the kernel knows no RWF_NOWAIT for it

	places [rosters]int32 // on each roster, from 1; 0: not on it
	poll   pollState
	acc    acceptState
	drain  drainState
}

// acceptState is what a listener keeps beside its descriptor.
type acceptState struct {
	auto   bool   // becomes NONBLOCK when the guest first asks fd_fdstat_get about it, subscribes to it or watches it
	took   bool   // has accepted since the last wait: a second accept in one turn is left to the siblings
	since  int    // accepts since the listener was last added to epoll
	began  int64  // when the first of them was
	deep   bool   // it rests for all of its time
	deeps  int    // deep rests in a row
	waited func() // called when the guest first waits for a connection, then nil
	closed bool   // takes no more connections: the process drains
}

// Kind is what stands behind the descriptor.
func (e *Entry) Kind() Kind { return e.kind }

// FD lends the Linux descriptor for one call; it must not outlive the entry.
func (e *Entry) FD() int { return e.fd }

// constant says that epoll does not know e.
func (e *Entry) constant() bool { return e.kind == KindFile || e.kind == KindVirtual }

// known is the readiness that needs no epoll: all of a constant entry's, and that a connection has an end to be read.
func (e *Entry) known() uint32 {
	switch {
	case e.kind == KindVirtual:
		return e.virtual.Ready()
	case e.kind == KindFile:
		return ReadyRead | ReadyWrite
	case e.drain.shutRead:
		return ReadyRead
	}
	return 0
}

func (e *Entry) nonblocking() bool { return e.flags&fdflagNonblock != 0 }
func (e *Entry) socket() bool      { return e.kind == KindListener || e.kind == KindStream }
