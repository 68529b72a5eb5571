package host

import (
	"os"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// drain lets the guest finish what it has, and then ends the process: at the master's wish or the guest's own. A guest
// that reads its inbox is told and ends its connections itself, and is not ended while it waits for room to send what it
// still has to say; for any other the connections are ended at a quiet moment of each.
func (w *worker) drain() {
	if w.sys.Draining() {
		return
	}
	aware := w.left || w.machine.Aware()
	if aware && !w.left && !w.machine.Inbox.Put(abi.RecordDisconnect, 0, 0, nil) {
		aware = false // an inbox that full is not being read
	}
	w.sys.Drain(w.graceful(), aware, func() bool {
		return !aware || (w.left || w.machine.Told()) && !w.machine.AwaitsRoom()
	}, w.drained)
}

// drained ends the process after a drain that left cut connections open.
func (w *worker) drained(cut int) {
	if w.control(abi.KindDrained, abi.Drained{Cut: cut}) == nil {
		_ = w.link.drainOut(farewell) // the master may be gone: then nobody waits for it
	}
	os.Exit(0)
}

// Leave is the guest's own disconnect: as if the master had asked, but by its own wish. A second call changes nothing.
func (w *worker) Leave() wasip1.Errno {
	if w.left {
		return 0
	}
	w.left = true
	if err := w.control(abi.KindLeaving, nil); err != nil {
		w.broken(err)
	}
	w.flush()
	w.drain()
	return 0
}

// Destroy is the guest's own destroy: it ends this process with code 0, by its own wish, and what it has open with it.
// What it has sent before still leaves.
func (w *worker) Destroy() {
	if !w.left {
		w.left = true
		if err := w.control(abi.KindLeaving, nil); err != nil {
			w.broken(err)
		}
	}
	w.drained(int(w.board.Figures.Connections))
}
