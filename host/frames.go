package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// fillsPerTurn bounds how long a flood on the channel keeps the guest waiting; the poller comes back for the rest.
const fillsPerTurn = 4

// serve is the channel's part in each wait: it sends what waits, and handles what came.
func (w *worker) serve(bits uint32) {
	if bits&wasip1.ReadyWrite != 0 {
		w.flush()
	}
	w.handleAll()
	if bits&^wasip1.ReadyWrite == 0 {
		return
	}
	for range fillsPerTurn {
		err := w.link.fill()
		switch {
		case err == unix.EAGAIN:
			return
		case errors.Is(err, errMasterGone):
			w.orphaned()
		case err != nil:
			// Lost descriptors included: whoever waits for one would wait for ever.
			w.broken(err)
		}
		w.handleAll()
	}
}

// handleAll handles every frame that has been read whole.
func (w *worker) handleAll() {
	for {
		f, ok, err := w.link.in.Next()
		if err != nil {
			w.broken(err)
		}
		if !ok {
			return
		}
		w.handle(f)
	}
}

// handle does what one frame asks.
func (w *worker) handle(f ipc.Frame) {
	switch f.Kind {
	case abi.KindMessage:
		w.put(abi.RecordMessage, 0, costOf(&f), f.Body)
	case abi.KindListenDone:
		w.takeAnswer(f)
	case abi.KindResult:
		w.takeResult(f)
	case abi.KindEvent:
		w.takeEvent(f)
	case abi.KindPost:
		w.takePost(f)
	case abi.KindDisconnect:
		w.drain()
	case abi.KindNudge:
		w.poller.Nudge()
	case abi.KindPing:
		if err := w.link.out.Control(abi.KindPong, f.Seq, nil); err != nil {
			w.broken(err)
		}
		w.flush()
	default:
		f.Close()
		w.broken(fmt.Errorf("%w: unexpected %v", abi.ErrFrame, f.Kind))
	}
}

// costOf is what a frame counts for in the master's window.
func costOf(f *ipc.Frame) uint32 { return uint32(abi.HeaderSize + len(f.Body)) }
