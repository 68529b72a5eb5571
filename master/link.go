package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// helloTimeout bounds the time from the fork to the worker's first frame, which it sends before anything else.
const helloTimeout = 30 * time.Second

// read is the goroutine that takes a worker's frames. It ends with the channel: closed by the worker, closed by its
// end, or because it broke the protocol.
func (w *Worker) read() {
	err := w.converse()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
	case errors.Is(err, io.ErrUnexpectedEOF):
		// Inside a frame: a worker that is killed while it sends leaves that behind. One that lives on has lingered.
	case errors.Is(err, abi.ErrFrame), errors.Is(err, ipc.ErrTruncated), errors.Is(err, ipc.ErrStuck):
		w.Abort(abi.FaultProtocol, "broke the protocol: "+err.Error())
	default: // not its fault: this process has no memory, for one
		w.Abort(abi.FaultHost, "the master lost its channel: "+err.Error())
	}
	w.closeChannel()
	w.mu.Lock()
	w.talk.over = true
	if w.config != nil {
		ipc.CloseAll(w.config.fds) // it never said hello
	}
	w.applyLocked(inClosed, Event{})
	if w.phase.alive() {
		w.timers.after(&w.timers.linger, killGrace, w.lingered)
	}
	w.mu.Unlock()
	close(w.closed)
}

// lingered ends a process that goes on without its channel: nobody could tell it anything any more.
func (w *Worker) lingered() {
	w.Abort(FaultOverdue, fmt.Sprintf("closed its channel but did not exit within %v", killGrace))
}

func (w *Worker) converse() error {
	var pace pacer
	for {
		f, err := w.conn.Receive()
		if err != nil {
			return err
		}
		if f.Kind != abi.KindMessage {
			w.wait(pace.delay(time.Now()))
		}
		if err := w.take(&f); err != nil {
			f.Close()
			return err
		}
	}
}

// wait slows the reading down, while there is somebody to slow down.
func (w *Worker) wait(d time.Duration) {
	if d == 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.gone:
	}
}

// take is the table of what each kind does. An error is a violation.
func (w *Worker) take(f *ipc.Frame) error {
	w.mu.Lock()
	err := w.talk.permit(f)
	w.mu.Unlock()
	if err != nil {
		return err
	}
	switch f.Kind {
	case abi.KindHello:
		return w.takeHello(f)
	case abi.KindOnline:
		return w.takeOnline()
	case abi.KindListen:
		return w.answerListen(f)
	case abi.KindListening:
		return w.takeListening(f)
	case abi.KindMessage:
		return w.takeMessage(f)
	case abi.KindLeaving:
		return w.takeLeaving()
	case abi.KindPong:
		return w.takePong(f)
	case abi.KindFault:
		return w.takeFault(f)
	case abi.KindDrained:
		return w.takeDrained(f)
	case abi.KindRequest:
		return w.answerRequest(f)
	case abi.KindPost:
		return w.takePost(f)
	default:
		return violation("%v", f.Kind) // not reached: the gate has refused it
	}
}

// takeHello checks that the worker is of our build; then it is told who it is, and only then gets a descriptor.
func (w *Worker) takeHello(f *ipc.Frame) error {
	if err := ipc.CheckHello(*f); err != nil {
		return err
	}
	w.timers.cancel(&w.timers.hello)
	w.mu.Lock()
	defer w.mu.Unlock()
	config := w.config
	w.config = nil
	if err := w.conn.Control(abi.KindConfig, 0, config.body, config.fds...); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	w.talk.phase = abi.PhaseStarting
	for _, m := range w.early {
		if err := w.conn.Message(m); err != nil {
			return fmt.Errorf("send what waited: %w", err)
		}
	}
	w.early = nil
	return nil
}

// takeOnline lets a worker begin that is locked down as it was told to be. That is looked at here, after it says that it is
// ready and before it is told of: its process waits for nobody, but a guest that runs in a cage that does not hold is ended.
func (w *Worker) takeOnline() error {
	if err := w.sandbox.verify(w.process.Pid()); err != nil && !w.waitedFor() {
		w.Abort(abi.FaultSandbox, "is not locked down: "+err.Error())
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.talk.phase = abi.PhaseOnline
	w.applyLocked(inOnline, Event{})
	if w.talk.goodbye {
		w.tellToLeaveLocked()
	}
	return nil
}

// waitedFor is whether the process has ended and been taken off the kernel's table.
func (w *Worker) waitedFor() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// tellToLeaveLocked sends disconnect, once the worker can have it, and sets its time limit.
func (w *Worker) tellToLeaveLocked() {
	w.limitLeavingLocked()
	if w.talk.phase != abi.PhaseOnline {
		w.talk.goodbye = true
		return
	}
	w.talk.phase = abi.PhaseDisconnecting
	w.tellLocked(abi.KindDisconnect)
}

// limitLeavingLocked kills a worker that does not leave in time. The worker cuts what is left at the graceful timeout by
// itself; this is for one that cannot.
func (w *Worker) limitLeavingLocked() {
	limit := w.cluster.settingsNow().GracefulTimeout
	w.timers.after(&w.timers.overdue, limit+killGrace, func() {
		w.Abort(FaultOverdue, fmt.Sprintf("did not leave within %v", limit+killGrace))
	})
}

// tellLocked sends a control frame without a body. A worker that lets control frames pile up is ended.
func (w *Worker) tellLocked(kind abi.Kind) {
	if err := w.conn.Control(kind, 0, nil); err != nil && !errors.Is(err, os.ErrClosed) {
		w.abortLocked(abi.FaultProtocol, fmt.Sprintf("send %v: %v", kind, err))
	}
}

// nudge asks an online worker to look at its listeners.
func (w *Worker) nudge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.talk.phase == abi.PhaseOnline && !w.talk.over {
		w.tellLocked(abi.KindNudge)
	}
}

// answerListen is the other end of the host's listen: it answers each request, with the socket or with an errno.
func (w *Worker) answerListen(f *ipc.Frame) error {
	var l abi.Listen
	if err := ipc.Decode(*f, &l); err != nil {
		return err
	}
	done, socket := w.listen(&l)
	var fds []*ipc.FD
	if done.Errno == abi.Success {
		fds = []*ipc.FD{socket}
	}
	return w.conn.Control(abi.KindListenDone, f.Seq, done, fds...)
}

func (w *Worker) listen(l *abi.Listen) (abi.ListenDone, *ipc.FD) {
	if errno := w.mayListen(l); errno != abi.Success {
		return abi.ListenDone{Errno: errno}, nil
	}
	key := keyOf(l.Address, l.Flags&abi.ListenIPv6Only != 0)
	w.mu.Lock()
	nth := w.talk.opens[key]
	w.mu.Unlock()
	if wantsAnyPort(l.Address) {
		key.index = nth
	}
	socket, fd, err := w.cluster.registry.acquire(key, l.Backlog)
	if err != nil {
		return abi.ListenDone{Errno: errnoOf(err)}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if wantsAnyPort(l.Address) {
		key.index = 0
		w.talk.opens[key] = nth + 1
	}
	w.talk.grants = append(w.talk.grants, grant{socket.address, socket.told})
	return abi.ListenDone{Address: socket.address}, fd
}

func (w *Worker) takeListening(f *ipc.Frame) error {
	var l abi.Listening
	if err := ipc.Decode(*f, &l); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	told, err := w.talk.granted(l.Address)
	if err != nil {
		return err
	}
	w.listens.Store(true)
	w.applyLocked(inListening, Event{Address: told})
	return nil
}

// takeMessage waits when the dispatcher holds too much of this worker already: then only its channel backs up.
func (w *Worker) takeMessage(f *ipc.Frame) error {
	cost := len(f.Body) + messageCost
	w.backlog.take(cost)
	e := Event{Kind: EventMessage, Worker: w, Message: slices.Clone(f.Body)}
	w.cluster.events.post(func() {
		w.deliver(e)
		w.backlog.give(cost)
	})
	return nil
}

// takeLeaving hears that the guest called disconnect or destroy itself.
func (w *Worker) takeLeaving() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.talk.phase = abi.PhaseDisconnecting
	if w.applyLocked(inLeaving, Event{}) {
		w.setSuicideLocked(true)
		w.limitLeavingLocked()
	}
	return nil
}

func (w *Worker) takePong(f *ipc.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer, err := w.talk.asked(f.Seq)
	if err != nil {
		return err
	}
	close(answer)
	return nil
}

func (w *Worker) takeFault(f *ipc.Frame) error {
	var fault abi.Fault
	if err := ipc.Decode(*f, &fault); err != nil {
		return err
	}
	fault.Clip()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.talk.over = true
	if w.fault == nil {
		w.fault = &fault
	}
	return nil
}

func (w *Worker) takeDrained(f *ipc.Frame) error {
	var d abi.Drained
	if err := ipc.Decode(*f, &d); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.talk.phase != abi.PhaseDisconnecting {
		return violation("drained, but nobody told the worker to finish")
	}
	if d.Cut < 0 {
		return violation("drained with %d connections cut", d.Cut)
	}
	w.talk.over = true
	w.cut = d.Cut
	return nil
}

// sendLocked queues a message. The window is kept by what the guest says it has taken; a guest that lies about it fills
// the channel's own queue, which is bounded as well.
func (w *Worker) sendLocked(message []byte) error {
	if !w.phase.connected() || !w.phase.alive() {
		return ErrDisconnected
	}
	size := uint64(abi.HeaderSize + len(message))
	if !w.windowTakes(size) {
		return ErrQueueFull
	}
	if w.config != nil {
		w.early = append(w.early, slices.Clone(message))
		w.sent += size
		return nil
	}
	switch err := w.conn.Message(message); {
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

// windowTakes is whether the guest has taken enough of what was sent before. The caller holds the lock.
func (w *Worker) windowTakes(size uint64) bool {
	waiting := int64(w.sent - w.board.consumed()) // below 0 is a lie
	return waiting <= 0 || uint64(waiting)+size <= abi.InboxWindow
}

// channelQueue is how many bytes may wait for the channel: a full window, or one message that is larger, behind a
// configuration.
func channelQueue(maxMessage int) int {
	return max(abi.InboxWindow, maxMessage+abi.HeaderSize) + abi.MaxControl
}

// Ping asks the worker's process for an answer and waits for it; it answers how long that took. A guest that computes
// keeps its process from answering; one that waits does not. The error is ctx's when the answer did not come in time,
// ErrDisconnected when it never will.
func (w *Worker) Ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	answer, err := w.ask()
	if err != nil {
		return 0, fmt.Errorf("ping %v: %w", w, err)
	}
	select {
	case <-answer:
		return time.Since(start), nil
	case <-w.closed:
		return 0, fmt.Errorf("ping %v: %w", w, ErrDisconnected)
	case <-ctx.Done():
		return 0, fmt.Errorf("ping %v: %w", w, ctx.Err())
	}
}

// ask sends a ping. Its seq stays on the list until the answer comes, also when nobody waits for it any more.
func (w *Worker) ask() (<-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.talk.over || !w.phase.connected():
		return nil, ErrDisconnected
	case w.talk.phase != abi.PhaseOnline && w.talk.phase != abi.PhaseDisconnecting:
		return nil, errors.New("not online yet")
	case len(w.talk.pings) >= maxPings:
		return nil, errTooManyPings
	}
	w.talk.lastPing++
	if w.talk.lastPing == 0 { // 0 is no seq
		w.talk.lastPing = 1
	}
	answer := make(chan struct{})
	w.talk.pings[w.talk.lastPing] = answer
	if err := w.conn.Control(abi.KindPing, w.talk.lastPing, nil); err != nil {
		return nil, err
	}
	return answer, nil
}
