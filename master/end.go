package master

import (
	"slices"
	"syscall"
	"time"
)

// outputGrace is how long exit waits for a worker's last lines to be handed on: they belong before it, but a taker
// that blocks must not keep exit for ever.
const outputGrace = 200 * time.Millisecond

// reap is the goroutine that waits for a worker's process, and then for everything else of it.
func (w *Worker) reap() {
	status, err := w.process.wait()
	if err != nil {
		status.code = -1
		w.Abort(FaultStuck, err.Error())
	}
	ended := time.Now()
	close(w.gone)
	w.timers.stop()
	w.backlog.waive()
	w.cluster.nudgeOthers(w)
	w.finishOutputs()

	w.mu.Lock()
	w.status, w.ended = status, ended
	if w.fault == nil {
		w.fault = w.blame(status)
	}
	w.applyLocked(inEnded, Event{})
	w.mu.Unlock()

	// The channel may be held open by a process that the worker has left behind. What it contains is still read; after
	// that comes the end.
	w.endChannel()
	<-w.closed
	w.half.Close()
	w.board.close()
	w.process.release()
	w.group.remove()
	w.cluster.reaped()
}

func (w *Worker) finishOutputs() {
	limit := time.NewTimer(outputGrace)
	defer limit.Stop()
	for _, o := range w.outputs {
		o.finish()
	}
	for _, o := range w.outputs {
		select {
		case <-o.done:
		case <-limit.C:
			return
		}
	}
}

func (c *Cluster) reaped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.changed.Broadcast()
}

// Disconnect lets every worker leave, and then closes every listening socket. Connections that wait to be accepted
// still are; new ones are not taken. done, if not nil, is called from the dispatcher, never by Disconnect itself, once
// every worker is gone and every socket is closed. A second call only adds its done. A Fork meanwhile answers
// ErrDisconnecting; afterwards the cluster can be used again.
func (c *Cluster) Disconnect(done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && c.ending == nil && len(c.workers) == 0 {
		c.postDone(done) // Close has done it all
		return
	}
	if c.ending == nil {
		c.ending = &ending{}
		go c.drain()
	}
	if done != nil {
		c.ending.done = append(c.ending.done, done)
	}
}

// postDone calls done from the dispatcher, or from a goroutine of its own if there is no dispatcher any more.
func (c *Cluster) postDone(done func()) {
	if done != nil && !c.events.post(done) {
		go done()
	}
}

// drain is the goroutine of a Disconnect.
func (c *Cluster) drain() {
	c.nudgeOthers(nil) // nobody will come and wake the one who was not woken
	c.registry.emptyQueues(c.accepts)
	for _, w := range c.Workers() {
		w.Disconnect()
	}
	c.mu.Lock()
	for len(c.workers) > 0 || c.forking > 0 || c.running > 0 {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.releaseListeners()

	c.mu.Lock()
	defer c.mu.Unlock()
	done := c.ending.done
	c.ending = nil
	c.changed.Broadcast()
	for _, f := range done {
		c.postDone(f)
	}
}

// accepts is whether some worker still takes connections.
func (c *Cluster) accepts() bool {
	return slices.ContainsFunc(c.Workers(), func(w *Worker) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.phase == phaseListening
	})
}

// Close kills every worker at once and closes everything. It waits until their processes are gone and no socket is
// open, but not for handlers: the events of these ends are still delivered, and Done tells when the last was. A
// second call does nothing. Every cluster that was set up must be closed, also after Disconnect.
func (c *Cluster) Close() {
	c.end()
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	for _, w := range c.workers {
		_ = w.process.Kill(syscall.SIGKILL) // it may have ended already
	}
	for c.forking > 0 || c.running > 0 {
		c.changed.Wait()
	}
	c.mu.Unlock()
	if !first {
		return
	}
	c.spawner.stop()
	c.releaseListeners()
	c.releaseModule()
	c.watch.stop()
	go c.settle()
}

// settle ends the dispatcher once it has told everything.
func (c *Cluster) settle() {
	c.mu.Lock()
	for len(c.workers) > 0 || c.ending != nil {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.events.stop()
}

// Done is closed when the cluster is closed and its last handler has returned.
func (c *Cluster) Done() <-chan struct{} { return c.events.done }
