package master

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// answerRequest is the other end of a guest master's request. The guest waits for the answer, so this goroutine may too.
func (w *Worker) answerRequest(f *ipc.Frame) error {
	var r abi.Request
	if err := ipc.Decode(*f, &r); err != nil {
		return err
	}
	return w.conn.Control(abi.KindResult, f.Seq, w.cluster.role.do(&r))
}

// do does what a guest master asks for, as far as it may.
func (g *GuestMaster) do(r *abi.Request) (done abi.Result) {
	switch r.Op {
	case abi.OpSetup:
		if r.Setup == nil {
			return abi.Result{Errno: abi.EINVAL}
		}
		return g.refusal(g.setup(r.Setup))
	case abi.OpSettings:
		s := g.cluster.settings.Load()
		if s == nil {
			return abi.Result{Setup: g.setupNow(&g.settings)}
		}
		return abi.Result{Setup: g.setupNow(&s.Settings)}
	case abi.OpFork:
		w, err := g.fork(r.Env)
		if err != nil {
			return g.refusal(err)
		}
		return abi.Result{ID: w.ID(), Pid: w.Process().Pid()}
	case abi.OpDisconnectAll:
		g.cluster.Disconnect(func() { g.tell(abi.Event{Kind: abi.RecordDisconnected}) })
		return abi.Result{}
	}
	w := g.cluster.Worker(r.Target)
	if w == nil {
		return abi.Result{Errno: abi.ESRCH}
	}
	switch r.Op {
	case abi.OpDisconnect:
		w.Disconnect()
	case abi.OpDestroy:
		w.Destroy()
	case abi.OpKill:
		if r.Signal < 1 || r.Signal > maxSignal {
			return abi.Result{Errno: abi.EINVAL}
		}
		if err := w.Process().Kill(syscall.Signal(r.Signal)); err != nil {
			return abi.Result{Errno: abi.ESRCH}
		}
	default:
		return abi.Result{Errno: abi.ENOTSUP}
	}
	return abi.Result{}
}

// maxSignal is the largest number of a signal: _NSIG of Linux.
const maxSignal = 64

// refusal is the answer that tells of err.
func (g *GuestMaster) refusal(err error) abi.Result {
	if err == nil {
		return abi.Result{}
	}
	if g.role.Errors != nil {
		g.role.Errors(err)
	}
	done := abi.Result{Errno: abi.EIO, Error: err.Error()}
	var prepare *PrepareError
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrSetup):
		done.Errno = abi.EEXIST
	case errors.Is(err, errUnnamed):
		done.Errno = abi.ENOENT
	case errors.Is(err, errTooMany):
		done.Errno = abi.EAGAIN
	case errors.Is(err, ErrDisconnecting), errors.Is(err, ErrClosed):
		done.Errno = abi.ECANCELED
	case errors.As(err, &errno):
		done.Errno = errnoOf(err)
	case errors.As(err, &prepare):
		done.Errno = abi.ENOEXEC
	default: // what the guest has said is wrong
		done.Errno = abi.EINVAL
	}
	if len(done.Error) > abi.MaxFaultText {
		done.Error = done.Error[:abi.MaxFaultText]
	}
	return done
}

// takePost passes a message on to a worker. One that is gone, or whose queue is full, does not get it: the guest has been
// told of the first, and the second is what Worker.Send answers, which a guest does not wait for.
func (w *Worker) takePost(f *ipc.Frame) error {
	to, message, ok := abi.CutPost(f.Body)
	if !ok {
		return violation("post of %d bytes", len(f.Body))
	}
	if target := w.cluster.role.cluster.Worker(to); target != nil {
		target.sendPatiently(message)
	}
	return nil
}

// takeTime is how long a worker may leave a full window of messages untouched while a guest master, which is held up by
// that, has more for it.
const takeTime = 10 * time.Second

// sendPatiently is Send that waits for room. The guest master waits meanwhile, and with it its wish to destroy that very
// worker: so one that takes nothing is stuck, and ended as such.
func (w *Worker) sendPatiently(message []byte) {
	consumed, since := w.board.consumed(), time.Now()
	w.patiently(func() error {
		err := w.sendLocked(message)
		if now := w.board.consumed(); now != consumed {
			consumed, since = now, time.Now()
		}
		if errors.Is(err, ErrQueueFull) && time.Since(since) > takeTime {
			w.abortLocked(FaultStuck, fmt.Sprintf("took none of the messages that the guest master sent it for %v", takeTime))
			return ErrDisconnected
		}
		return err
	})
}

// patiently calls send, with the lock held, until it answers another error than ErrQueueFull, or the process has ended.
func (w *Worker) patiently(send func() error) {
	const shortest, longest = time.Millisecond / 4, 20 * time.Millisecond
	for pause := shortest; ; pause = min(2*pause, longest) {
		w.mu.Lock()
		err := send()
		w.mu.Unlock()
		if !errors.Is(err, ErrQueueFull) {
			return
		}
		select {
		case <-w.gone:
			return
		case <-time.After(pause):
		}
	}
}

// forward tells the guest of an event of its cluster. It runs in that cluster's dispatcher, and waits while the guest does
// not take what it is told: then only its own workers wait.
func (g *GuestMaster) forward(e Event) {
	if e.Kind == EventMessage {
		g.pass(e.Worker.ID(), e.Message)
		return
	}
	told := abi.Event{Kind: recordOf(e.Kind)}
	if e.Worker != nil {
		told.Worker = e.Worker.ID()
		told.Suicide, _ = e.Worker.Suicide()
	}
	switch e.Kind {
	case EventSetup:
		told.Setup = g.setupNow(e.Settings)
	case EventFork:
		told.Pid = e.Worker.Process().Pid()
	case EventListening:
		told.Address = e.Address.spec()
	case EventExit, EventDeath:
		told.Code, told.Signal = e.Exit.Code, int(e.Exit.Signal)
		if e.Exit.Fault != nil {
			told.Fault = shortened(e.Exit.Fault.Text)
		}
	}
	g.tell(told)
}

// maxTold bounds the text of a fault in an event, in bytes, so that an event is no longer than it counts for.
const maxTold = 512

func shortened(text string) string {
	if len(text) <= maxTold {
		return text
	}
	return strings.ToValidUTF8(text[:maxTold], "")
}

// tell sends an event, and waits for room.
func (g *GuestMaster) tell(e abi.Event) {
	w := g.worker
	w.patiently(func() error {
		if !w.windowTakes(eventCost) {
			return ErrQueueFull
		}
		return w.queuedLocked(eventCost, w.conn.Control(abi.KindEvent, 0, e))
	})
}

// eventCost is what an event counts for in the guest's window, whatever its length: see abi.EventCost.
const eventCost = abi.EventCost

// pass sends the guest a message of a worker, and waits for room.
func (g *GuestMaster) pass(from uint32, message []byte) {
	w := g.worker
	size := uint64(abi.HeaderSize + abi.PostHead + len(message))
	w.patiently(func() error {
		if !w.windowTakes(size) {
			return ErrQueueFull
		}
		return w.queuedLocked(size, w.conn.Post(from, message))
	})
}

// queuedLocked counts what was queued without an error, and names the error.
func (w *Worker) queuedLocked(size uint64, err error) error {
	switch {
	case errors.Is(err, ipc.ErrFull):
		return ErrQueueFull
	case errors.Is(err, os.ErrClosed):
		return ErrDisconnected
	case err != nil:
		return err
	}
	w.sent += size
	return nil
}

// recordOf is the record that tells a guest of such an event.
func recordOf(k EventKind) uint32 {
	switch k {
	case EventSetup:
		return abi.RecordSetup
	case EventFork:
		return abi.RecordFork
	case EventOnline:
		return abi.RecordOnline
	case EventListening:
		return abi.RecordListening
	case EventDisconnecting:
		return abi.RecordDisconnecting
	case EventDisconnect:
		return abi.RecordDisconnected
	case EventExit:
		return abi.RecordExit
	default:
		return abi.RecordDeath
	}
}
