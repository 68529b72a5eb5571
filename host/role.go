package host

import (
	"encoding/binary"
	"fmt"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// Request asks the master for what only it can do, for a guest in the master role, and waits for the answer; the channel
// and nothing else is served meanwhile.
func (w *worker) Request(r *abi.Request) *abi.Result {
	w.asked++
	w.result = nil
	if err := w.link.out.Control(abi.KindRequest, w.asked, r); err != nil {
		w.broken(err)
	}
	for w.result == nil {
		w.poller.WaitOnce(wasip1.Forever) // flushes first
	}
	return w.result
}

// takeResult keeps the master's answer to Request.
func (w *worker) takeResult(f ipc.Frame) {
	var done abi.Result
	err := ipc.Decode(f, &done)
	if err == nil && (f.Seq != w.asked || w.result != nil) {
		err = fmt.Errorf("%w: a result that nobody asked for", abi.ErrFrame)
	}
	if err != nil {
		w.broken(err)
	}
	w.result = &done
}

// Post queues a message for a worker.
func (w *worker) Post(worker uint32, body []byte) wasip1.Errno {
	if uint64(len(body)) > uint64(w.config.MaxMessage) {
		return abi.EMSGSIZE
	}
	if w.link.out.Post(worker, body) != nil {
		return abi.EAGAIN
	}
	if w.link.out.Queued() >= flushAt {
		w.flush()
	}
	return 0
}

// takePost puts a worker's message into the inbox.
func (w *worker) takePost(f ipc.Frame) {
	from, message, ok := abi.CutPost(f.Body)
	if !ok {
		w.broken(fmt.Errorf("%w: post of %d bytes", abi.ErrFrame, len(f.Body)))
	}
	w.put(abi.RecordMessage, from, costOf(&f), message)
}

// takeEvent puts an event into the inbox, as the record that the guest reads.
func (w *worker) takeEvent(f ipc.Frame) {
	var e abi.Event
	if err := ipc.Decode(f, &e); err != nil {
		w.broken(err)
	}
	var body []byte
	switch e.Kind {
	case abi.RecordSetup:
		body = e.Setup.Text()
	case abi.RecordFork:
		body = binary.LittleEndian.AppendUint32(nil, uint32(e.Pid))
	case abi.RecordListening:
		body = []byte(e.Address)
	case abi.RecordDisconnecting, abi.RecordDisconnected:
		body = appendFlag(nil, e.Suicide)
	case abi.RecordExit, abi.RecordDeath:
		body = binary.LittleEndian.AppendUint32(body, uint32(int32(e.Code)))
		body = binary.LittleEndian.AppendUint32(body, uint32(e.Signal))
		body = append(appendFlag(body, e.Suicide), e.Fault...)
	}
	w.put(e.Kind, e.Worker, abi.EventCost, body)
}

func appendFlag(b []byte, set bool) []byte {
	flag := uint32(0)
	if set {
		flag = 1
	}
	return binary.LittleEndian.AppendUint32(b, flag)
}

func (w *worker) put(kind, from, cost uint32, body []byte) {
	if !w.machine.Inbox.Put(kind, from, cost, body) {
		w.broken(fmt.Errorf("%w: more than the inbox holds", abi.ErrFrame))
	}
}
