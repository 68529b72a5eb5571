package master

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi/ipc"
)

// endChannel lets the reading goroutine come to an end of file after what the channel holds now: shutdown(SHUT_RD) on
// our own end of a unix socket lets queued bytes be read, and then the end (unix_stream_read_generic), even if
// another process still has the other end open.
func (w *Worker) endChannel() {
	_ = unix.Shutdown(w.half.Int(), unix.SHUT_RD) // ENOTCONN: it has ended already
}

// closeChannel closes our end, so that the worker sees it: half keeps the socket open beyond a close alone. For the
// reading goroutine, when it has ended.
func (w *Worker) closeChannel() {
	w.conn.Close()
	w.conn.Release()
	_ = unix.Shutdown(w.half.Int(), unix.SHUT_RDWR) // as above
}

// newPipe makes the pipe of one of a worker's outputs, both ends non-blocking before the fork: afterwards the worker
// shares its end's flags with nobody, but the sandbox forbids it to change them.
func newPipe() (read *os.File, write *ipc.FD, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	return os.NewFile(uintptr(p[0]), "output"), ipc.NewFD(p[1]), nil
}
