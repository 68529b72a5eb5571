package host

import (
	"fmt"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// Listen asks the master for a listening socket and waits for the answer; the channel and nothing else is served
// meanwhile. ECANCELED: the worker is leaving. Otherwise what the master's bind or its rules answered.
func (w *worker) Listen(addr abi.Address, backlog int, flags uint32) (int, func(), wasip1.Errno) {
	if w.sys.Draining() {
		return -1, nil, abi.ECANCELED
	}
	w.asked++
	w.answered = nil
	if err := w.link.out.Control(abi.KindListen, w.asked, abi.Listen{Address: addr, Backlog: backlog, Flags: flags}); err != nil {
		w.broken(err)
	}
	for w.answered == nil {
		w.poller.WaitOnce(wasip1.Forever) // flushes first
	}
	done := w.answered
	if done.Errno != 0 {
		return -1, nil, done.Errno
	}
	asked := -1
	if addr.Network == "fd" {
		asked = addr.Fd
	}
	opened := func() { w.listening(abi.Listening{Address: done.Address, Fd: asked}) }
	return w.socket, opened, 0
}

// takeAnswer keeps the master's answer to Listen.
func (w *worker) takeAnswer(f ipc.Frame) {
	var done abi.ListenDone
	err := ipc.Decode(f, &done)
	switch {
	case err != nil:
	case f.Seq != w.asked || w.answered != nil:
		err = fmt.Errorf("%w: an answer that nobody asked for", abi.ErrFrame)
	case (done.Errno == 0) != (len(f.FDs) == 1):
		err = fmt.Errorf("%w: listen answered with errno %v and %d descriptors", abi.ErrFrame, done.Errno, len(f.FDs))
	}
	if err != nil {
		f.Close()
		w.broken(err)
	}
	w.answered, w.socket = &done, -1
	if done.Errno == 0 {
		w.socket = f.FDs[0].Take()
	}
}

// listening tells the master that the guest waits on a socket for the first time.
func (w *worker) listening(l abi.Listening) {
	if err := w.control(abi.KindListening, l); err != nil {
		w.broken(err)
	}
	w.flush()
}

// Send queues a message for the master.
func (w *worker) Send(body []byte) wasip1.Errno {
	if uint64(len(body)) > uint64(w.config.MaxMessage) {
		return abi.EMSGSIZE
	}
	if w.link.out.Message(body) != nil {
		return abi.EAGAIN
	}
	if w.link.out.Queued() >= flushAt {
		w.flush()
	}
	return 0
}
