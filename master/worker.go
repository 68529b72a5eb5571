package master

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// Worker is a worker process and its channel. Cluster.Fork makes it. Its methods may be called from anywhere, handlers
// included, and at any time: on a worker that is gone they do nothing, or say so.
type Worker struct {
	id      uint32
	cluster *Cluster
	process *Process
	sandbox *sandbox
	group   *group // its cgroup, or nil
	started time.Time
	subs    handlers
	state   atomic.Uint32 // a State, as delivered

	conn    *ipc.Conn
	half    *ipc.FD // a second descriptor of the channel, for endChannel
	board   *board
	outputs [2]*output
	backlog *allowance
	listens atomic.Bool   // it has said listening
	gone    chan struct{} // closed when the process has ended
	closed  chan struct{} // closed when the reading goroutine has ended: nothing more comes
	timers  timers

	mu         sync.Mutex // guards the fields below; taken after Cluster.mu, before the dispatcher's
	phase      phase
	talk       conversation
	suicide    bool
	suicideSet bool
	fault      *Fault // the first one is the one that counts
	cut        int
	status     status
	ended      time.Time
	config     *config  // until it is sent
	early      [][]byte // messages sent before the configuration was
	sent       uint64   // bytes of messages sent, headers included
}

// config is what a worker is told once it has said hello, with the descriptors that go with it.
type config struct {
	body    *abi.Config
	fds     []*ipc.FD
	sandbox *sandbox

	moduleBytes int64
}

// Errors of Worker.Send.
var (
	// ErrQueueFull says that the guest has not taken enough of what was sent before: abi.InboxWindow bytes wait.
	ErrQueueFull = errors.New("queue full: the worker does not take its messages")

	// ErrMessageSize says that a message is longer than Settings.MaxMessage.
	ErrMessageSize = errors.New("message too long")

	// ErrDisconnected says that the worker's channel has closed.
	ErrDisconnected = errors.New("worker is disconnected")
)

// ID is the worker's number in its cluster; the first is 1, and none is given twice.
func (w *Worker) ID() uint32 { return w.id }

// UniqueID is ID, under its older name.
func (w *Worker) UniqueID() uint32 { return w.id }

// String is "worker 3", or "guest master".
func (w *Worker) String() string {
	if w.cluster.role != nil {
		return "guest master"
	}
	return fmt.Sprintf("worker %d", w.id)
}

// On calls h for every event of that kind of this worker, from the dispatcher, until off is called. Events that were
// delivered before are not repeated: to miss none, attach from a handler, or from Cluster.Do, in the same call that
// forks, or attach to the cluster.
func (w *Worker) On(kind EventKind, h Handler) (off func()) { return w.subs.on(kind, h, false) }

// Once is On for the next such event alone.
func (w *Worker) Once(kind EventKind, h Handler) (off func()) { return w.subs.on(kind, h, true) }

// State is where the worker stands, as the events delivered so far have told.
func (w *Worker) State() State { return State(w.state.Load()) }

// IsConnected is whether the disconnect event has not been delivered yet.
func (w *Worker) IsConnected() bool { return w.State() < StateDisconnected }

// IsDead is whether the exit event has been delivered, or is being.
func (w *Worker) IsDead() bool { return w.State() == StateDead }

// StartedAt is when the worker was forked.
func (w *Worker) StartedAt() time.Time { return w.started }

// Process is the worker's process.
func (w *Worker) Process() *Process { return w.process }

// Suicide is whether the worker leaves because it was told to or chose to: true from the moment when Disconnect or
// Destroy is called or its guest's own disconnect is heard of. For an accident it is set, to false, at disconnect;
// until then isSet is false.
func (w *Worker) Suicide() (suicide, isSet bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.suicide, w.suicideSet
}

// Send queues a message for the guest and returns at once; the message is copied. What was sent before the guest
// started waits for it. It answers ErrQueueFull when the guest lets too much wait (nothing was sent; try again later),
// ErrMessageSize, or ErrDisconnected. No error does not mean that the guest has taken or will take the message.
func (w *Worker) Send(message []byte) error {
	if limit := w.cluster.maxMessage(); len(message) > limit {
		return fmt.Errorf("send to %v: %w: %d bytes, at most %d", w, ErrMessageSize, len(message), limit)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.sendLocked(message); err != nil {
		return fmt.Errorf("send to %v: %w", w, err)
	}
	return nil
}

// Disconnect tells the worker to leave: it accepts no connections any more, finishes those it has within
// Settings.GracefulTimeout, closes its channel and exits with code 0. Suicide is true at once, and the disconnecting
// event follows. A worker that does not leave in time is killed. A second call does nothing.
func (w *Worker) Disconnect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.applyLocked(inAsked, Event{}) {
		return
	}
	w.setSuicideLocked(true)
	w.tellToLeaveLocked()
}

// Destroy kills the worker: SIGTERM, and SIGKILL if it lives 2 s later. Suicide is true at once.
func (w *Worker) Destroy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.phase.alive() {
		return
	}
	w.setSuicideLocked(true)
	_ = w.process.Kill(syscall.SIGTERM) // it may have ended meanwhile
	w.timers.after(&w.timers.kill, killGrace, func() { _ = w.process.Kill(syscall.SIGKILL) })
}

// Abort kills the worker with SIGKILL and lets its Exit carry a Fault with that reason and that one line of text,
// unless it has one already. Suicide is left alone: to a supervisor this is an accident.
func (w *Worker) Abort(reason abi.FaultReason, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abortLocked(reason, text)
}

// killGrace is how long a process may live on after SIGTERM, or after its channel has closed.
const killGrace = 2 * time.Second

func (w *Worker) abortLocked(reason abi.FaultReason, text string) {
	if !w.phase.alive() {
		return
	}
	if w.fault == nil {
		w.fault = &Fault{Reason: reason, Text: text}
	}
	_ = w.process.Kill(syscall.SIGKILL) // it may have ended meanwhile
}

func (w *Worker) setSuicideLocked(suicide bool) {
	if !w.suicideSet {
		w.suicide, w.suicideSet = suicide, true
	}
}

// applyLocked puts an input to the life table and posts the events it makes; it answers whether the input changed
// anything. It posts while the lock is held, so that events are queued in the order of their steps.
func (w *Worker) applyLocked(in input, e Event) bool {
	s := steps[w.phase][in]
	if !s.ok {
		return false
	}
	w.phase = s.next
	for _, kind := range s.emit {
		e := e
		e.Kind, e.Worker = kind, w
		if kind == EventExit || kind == EventDeath {
			e.Exit = w.exitLocked()
		}
		w.cluster.events.post(func() { w.deliver(e) })
	}
	return true
}

// exitLocked is told once, in exit and death alike.
func (w *Worker) exitLocked() *Exit {
	if w.status.exit == nil {
		if w.talk.phase == abi.PhaseGreeting && w.status.signal == 0 && w.fault == nil && !w.suicide {
			w.fault = &Fault{Reason: abi.FaultStart, Text: "the host process ended before it said anything; does its main begin with host.Init()?"}
		}
		w.status.exit = &Exit{
			Code: w.status.code, Signal: w.status.signal,
			Fault: w.fault, Suicide: w.suicide, Cut: w.cut, Duration: w.ended.Sub(w.started),
		}
	}
	return w.status.exit
}

// deliver runs in the dispatcher: the public view of the worker changes in step with its events.
func (w *Worker) deliver(e Event) {
	if s, ok := stateAfter(e.Kind); ok {
		w.state.Store(uint32(s))
	}
	switch e.Kind {
	case EventDisconnect:
		w.mu.Lock()
		w.setSuicideLocked(false)
		w.mu.Unlock()
	case EventExit:
		w.process.tell(e.Exit)
		w.cluster.remove(w)
	}
	w.subs.emit(e)
	w.cluster.subs.emit(e)
}

// timers are a worker's limits. They are stopped when its process has ended; what fires meanwhile finds it dead.
type timers struct {
	mu      sync.Mutex
	stopped bool
	hello   *time.Timer // until the first frame
	overdue *time.Timer // until it has left
	kill    *time.Timer // from SIGTERM to SIGKILL
	linger  *time.Timer // from the end of the channel to that of the process
}

// after starts a timer, once.
func (t *timers) after(slot **time.Timer, d time.Duration, f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *slot == nil && !t.stopped {
		*slot = time.AfterFunc(d, f)
	}
}

func (t *timers) cancel(slot **time.Timer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *slot != nil {
		(*slot).Stop()
	}
}

func (t *timers) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for _, slot := range []*time.Timer{t.hello, t.overdue, t.kill, t.linger} {
		if slot != nil {
			slot.Stop()
		}
	}
}
